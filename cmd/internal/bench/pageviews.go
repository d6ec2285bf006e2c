package bench

// The page views are those of a small company's website, as the snippet writes
// them: a visit that begins with a campaign or a search, further pages of it,
// and documents that were read long.

const origin = "https://www.voorbeeld-techniek.nl"

// pageView is one page with where its visitor came from; an empty referrer is
// a visit that was typed or opened from a mail program.
type pageView struct{ page, referrer string }

func pageViews() []pageView {
	const (
		google   = "https://www.google.nl/"
		bing     = "https://www.bing.com/"
		linkedin = "https://www.linkedin.com/"
	)
	return []pageView{
		{"/", google},
		{"/", ""},
		{"/diensten", origin + "/"},
		{"/diensten/procesautomatisering", origin + "/diensten"},
		{"/diensten/onderhoud-op-locatie", google},
		{"/over-ons", origin + "/"},
		{"/over-ons/team", origin + "/over-ons"},
		{"/contact", origin + "/diensten/procesautomatisering"},
		{"/contact?utm_source=nieuwsbrief&utm_medium=email&utm_campaign=najaar-2026", ""},
		{"/?utm_source=google&utm_medium=cpc&utm_campaign=merk&utm_term=procesautomatisering&gclid=EAIaIQobChMI8Zn7kq2zigMVq5GDBx0uNAEREAAYASAAEgJ", google},
		{"/?utm_source=linkedin&utm_medium=social&utm_campaign=vacatures", linkedin},
		{"/cases", origin + "/"},
		{"/cases/koeltechniek-in-de-haven-van-rotterdam", origin + "/cases"},
		{"/cases/energie-besparen-met-frequentieregelaars", bing},
		{"/kennisbank/wat-kost-een-schakelkast-en-waar-let-u-op-bij-de-keuze", google},
		{"/kennisbank/atex-zones-uitgelegd", google},
		{"/kennisbank/atex-zones-uitgelegd#zone-2", origin + "/kennisbank"},
		{"/kennisbank?pagina=3&sorteer=datum", origin + "/kennisbank"},
		{"/vacatures/servicemonteur-regio-eindhoven", linkedin},
		{"/vacatures", origin + "/over-ons/team"},
		{"/en/services/process-automation", "https://www.google.com/"},
		{"/de/leistungen/prozessautomatisierung", "https://www.google.de/"},
		{"/offerte-aanvragen?product=frequentieregelaar&aantal=12", origin + "/diensten"},
		{"/privacy", origin + "/contact"},
	}
}

// browser is what a browser says of itself.
type browser struct{ agent, languages, hints string }

func browsers() []browser {
	const chromeHints = `Sec-Ch-Ua: "Chromium";v="141", "Google Chrome";v="141", "Not?A_Brand";v="24"` + "\r\n" +
		"Sec-Ch-Ua-Mobile: ?0\r\n" + `Sec-Ch-Ua-Platform: "Windows"` + "\r\n"
	return []browser{
		{"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36", "nl-NL,nl;q=0.9,en-US;q=0.8,en;q=0.7", chromeHints},
		{"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36 Edg/141.0.0.0", "nl", chromeHints},
		{"Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Mobile/15E148 Safari/604.1", "nl-NL,nl;q=0.9", ""},
		{"Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0", "en-GB,en;q=0.5", ""},
		{"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Safari/605.1.15", "de-DE,de;q=0.9", ""},
	}
}
