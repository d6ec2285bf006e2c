package source_test

import (
	"strings"
	"testing"

	"github.com/metiva-io/metiva/enrich/source"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

const (
	direct   = metivav1.Channel_CHANNEL_DIRECT
	internal = metivav1.Channel_CHANNEL_INTERNAL
	referral = metivav1.Channel_CHANNEL_REFERRAL
	search   = metivav1.Channel_CHANNEL_ORGANIC_SEARCH
	social   = metivav1.Channel_CHANNEL_ORGANIC_SOCIAL
	video    = metivav1.Channel_CHANNEL_ORGANIC_VIDEO
	shopping = metivav1.Channel_CHANNEL_ORGANIC_SHOPPING
	mail     = metivav1.Channel_CHANNEL_EMAIL
	ai       = metivav1.Channel_CHANNEL_AI_ASSISTANT
	none     = metivav1.Channel_CHANNEL_UNASSIGNED
)

func tables(tb testing.TB, spam ...string) *source.Tables {
	tb.Helper()
	t, err := source.NewTables(spam)
	if err != nil {
		tb.Fatal(err)
	}
	return t
}

// TestReferrers: what a referrer alone says, on a page of www.voorbeeld.nl.
func TestReferrers(t *testing.T) {
	t.Parallel()
	tab := tables(t)
	for referrer, want := range map[string]source.Answer{
		"":                                       {Channel: direct},
		"www.voorbeeld.nl":                       {Channel: internal},
		"voorbeeld.nl":                           {Channel: internal},
		"shop.voorbeeld.nl":                      {Channel: internal},
		"voorbeeld-shop.nl":                      {Channel: internal}, // the site's own
		"voorbeeld.be":                           {Channel: referral, Source: "voorbeeld.be"},
		"nietvoorbeeld.nl":                       {Channel: referral, Source: "nietvoorbeeld.nl"},
		"www.google.nl":                          {Channel: search, Source: "google"},
		"www.google.com":                         {Channel: search, Source: "google"},
		"google.com":                             {Channel: search, Source: "google"},
		"docs.google.com":                        {Channel: referral, Source: "docs.google.com"},
		"news.google.com":                        {Channel: referral, Source: "google news"},
		"mail.google.com":                        {Channel: mail, Source: "gmail"},
		"gemini.google.com":                      {Channel: ai, Source: "gemini"},
		"com.google.android.gm":                  {Channel: mail, Source: "gmail"},
		"www.bing.com":                           {Channel: search, Source: "bing"},
		"cn.bing.com":                            {Channel: search, Source: "bing"},
		"edgeservices.bing.com":                  {Channel: ai, Source: "copilot"},
		"duckduckgo.com":                         {Channel: search, Source: "duckduckgo"},
		"www.ecosia.org":                         {Channel: search, Source: "ecosia"},
		"www.startpage.com":                      {Channel: search, Source: "startpage"},
		"nl.search.yahoo.com":                    {Channel: search, Source: "yahoo"},
		"search.brave.com":                       {Channel: search, Source: "brave search"},
		"startgoogle.startpagina.nl":             {Channel: search, Source: "startpagina"},
		"www.startpagina.nl":                     {Channel: referral, Source: "startpagina"},
		"boekhouden.startpagina.nl":              {Channel: referral, Source: "startpagina"},
		"www.nu.nl":                              {Channel: referral, Source: "nu.nl"},
		"tweakers.net":                           {Channel: referral, Source: "tweakers"},
		"www.marktplaats.nl":                     {Channel: shopping, Source: "marktplaats"},
		"www.beslist.nl":                         {Channel: shopping, Source: "beslist.nl"},
		"www.linkedin.com":                       {Channel: social, Source: "linkedin"},
		"lnkd.in":                                {Channel: social, Source: "linkedin"},
		"com.linkedin.android":                   {Channel: social, Source: "linkedin"},
		"l.facebook.com":                         {Channel: social, Source: "facebook"},
		"lm.facebook.com":                        {Channel: social, Source: "facebook"},
		"t.co":                                   {Channel: social, Source: "x"},
		"l.instagram.com":                        {Channel: social, Source: "instagram"},
		"www.youtube.com":                        {Channel: video, Source: "youtube"},
		"chatgpt.com":                            {Channel: ai, Source: "chatgpt"},
		"www.perplexity.ai":                      {Channel: ai, Source: "perplexity"},
		"claude.ai":                              {Channel: ai, Source: "claude"},
		"copilot.microsoft.com":                  {Channel: ai, Source: "copilot"},
		"eur01.safelinks.protection.outlook.com": {Channel: mail, Source: "outlook"},
		"deref-gmx.net":                          {Channel: mail, Source: "gmx"},
		"deref-web.de":                           {Channel: mail, Source: "web.de"},
		"noai.duckduckgo.com":                    {Channel: search, Source: "duckduckgo"},
		"teams.cloud.microsoft":                  {Channel: referral, Source: "microsoft teams"},
		"l.messenger.com":                        {Channel: social, Source: "messenger"},
		"webmail.bedrijf.nl":                     {Channel: mail, Source: "webmail.bedrijf.nl"},
		"googleads.g.doubleclick.net":            {Channel: metivav1.Channel_CHANNEL_PAID_OTHER, Source: "google"},
		"www.partner.nl":                         {Channel: referral, Source: "partner.nl"},
		"localhost":                              {Channel: referral, Source: "localhost"},
		"com":                                    {Channel: referral, Source: "com"},
		".":                                      {Channel: referral, Source: "."},
	} {
		q := source.Query{Host: "www.voorbeeld.nl", Own: []string{"www.voorbeeld-shop.nl"}, Referrer: referrer}
		if got := tab.Resolve(q); got != want {
			t.Errorf("%s: %s %q, want %s %q", referrer, schemas.Label(got.Channel), got.Source, schemas.Label(want.Channel), want.Source)
		}
	}
}

// TestCampaigns: the rules of the default channel groups, each with its neighbours.
func TestCampaigns(t *testing.T) {
	t.Parallel()
	tab := tables(t)
	for _, tc := range []struct {
		source, medium, name, referrer string
		want                           metivav1.Channel
		wantSource                     string
	}{
		{"google", "cpc", "", "", metivav1.Channel_CHANNEL_PAID_SEARCH, "google"},
		{"Google", "CPC", "", "www.google.nl", metivav1.Channel_CHANNEL_PAID_SEARCH, "google"},
		{"bing", "ppc", "", "", metivav1.Channel_CHANNEL_PAID_SEARCH, "bing"},
		{"google", "paid-search", "", "", metivav1.Channel_CHANNEL_PAID_SEARCH, "google"},
		{"google", "cpm", "", "", metivav1.Channel_CHANNEL_PAID_SEARCH, "google"},
		{"google", "organic", "", "", search, "google"},
		{"google", "display", "", "", metivav1.Channel_CHANNEL_DISPLAY, "google"},
		{"google", "cpc", "nl-cross-network-2026", "", metivav1.Channel_CHANNEL_CROSS_NETWORK, "google"},
		{"google", "cpc", "Shopping NL", "", metivav1.Channel_CHANNEL_PAID_SHOPPING, "google"},
		{"google", "cpc", "workshop", "", metivav1.Channel_CHANNEL_PAID_SEARCH, "google"},
		{"google", "cpc", "eshop", "", metivav1.Channel_CHANNEL_PAID_SHOPPING, "google"},
		{"bol.com", "cpc", "", "", metivav1.Channel_CHANNEL_PAID_SHOPPING, "bol.com"},
		{"beslist", "", "", "", shopping, "beslist"},
		{"linkedin", "cpc", "", "", metivav1.Channel_CHANNEL_PAID_SOCIAL, "linkedin"},
		{"linkedin", "paid_social", "", "", metivav1.Channel_CHANNEL_PAID_SOCIAL, "linkedin"},
		{"ig", "paid", "", "", metivav1.Channel_CHANNEL_PAID_SOCIAL, "ig"},
		{"fb", "retargeting", "", "", metivav1.Channel_CHANNEL_PAID_SOCIAL, "fb"},
		{"linkedin", "social", "", "", social, "linkedin"},
		{"linkedin.com", "", "", "", social, "linkedin.com"},
		{"hootsuite", "social-media", "", "", social, "hootsuite"},
		{"linkedin", "email", "", "", social, "linkedin"}, // the source is asked first
		{"youtube", "cpv", "", "", metivav1.Channel_CHANNEL_PAID_VIDEO, "youtube"},
		{"youtube", "cpc", "", "", metivav1.Channel_CHANNEL_PAID_VIDEO, "youtube"},
		{"vimeo", "", "", "", video, "vimeo"},
		{"partner", "video", "", "", video, "partner"},
		{"dv360", "banner", "", "", metivav1.Channel_CHANNEL_DISPLAY, "dv360"},
		{"dv360", "interstitial", "", "", metivav1.Channel_CHANNEL_DISPLAY, "dv360"},
		{"criteo", "cpc", "", "", metivav1.Channel_CHANNEL_PAID_OTHER, "criteo"},
		{"adcombi", "paid", "", "", metivav1.Channel_CHANNEL_PAID_OTHER, "adcombi"},
		{"nieuwsbrief", "email", "maart", "", mail, "nieuwsbrief"},
		{"nieuwsbrief", "", "", "", mail, "nieuwsbrief"},
		{"klanten", "E-mail", "", "", mail, "klanten"},
		{"e_mail", "", "", "", mail, "e_mail"},
		{"mailchimp", "", "", "", mail, "mailchimp"},
		{"daisycon", "affiliate", "", "", metivav1.Channel_CHANNEL_AFFILIATES, "daisycon"},
		{"tradetracker", "affiliates", "", "", metivav1.Channel_CHANNEL_AFFILIATES, "tradetracker"},
		{"partner.nl", "referral", "", "", referral, "partner.nl"},
		{"partner", "link", "", "", referral, "partner"},
		{"spotify", "audio", "", "", metivav1.Channel_CHANNEL_AUDIO, "spotify"},
		{"sms", "", "", "", metivav1.Channel_CHANNEL_SMS, "sms"},
		{"messagebird", "sms", "", "", metivav1.Channel_CHANNEL_SMS, "messagebird"},
		{"app", "web-push", "", "", metivav1.Channel_CHANNEL_MOBILE_PUSH, "app"},
		{"app", "notification", "", "", metivav1.Channel_CHANNEL_MOBILE_PUSH, "app"},
		{"firebase", "x", "", "", metivav1.Channel_CHANNEL_MOBILE_PUSH, "firebase"},
		{"chatgpt.com", "", "", "chatgpt.com", ai, "chatgpt.com"},
		{"chatgpt.com", "referral", "", "", ai, "chatgpt.com"},
		{"perplexity", "cpc", "", "", metivav1.Channel_CHANNEL_PAID_OTHER, "perplexity"},
		{"beurs2026", "qr", "", "", none, "beurs2026"},
		{"beurs2026", "", "", "www.partner.nl", none, "beurs2026"},
		{"", "", "zomer", "www.google.nl", search, "google"},
		{"", "cpc", "", "www.google.nl", metivav1.Channel_CHANNEL_PAID_SEARCH, "google"},
		{"", "", "zomer", "www.partner.nl", referral, "partner.nl"},
		{"", "", "zomer", "", none, ""},
		{"", "email", "", "www.voorbeeld.nl", mail, ""},
		{"google", "cpc", "", "www.voorbeeld.nl", metivav1.Channel_CHANNEL_PAID_SEARCH, "google"},
		{"  ", " ", "", "", direct, ""},
		{"(direct)", "(none)", "", "", direct, ""},
		{"direct", "(not set)", "", "www.google.nl", direct, ""},
		{"Direct", "", "", "", direct, ""},
		{"direct", "cpc", "", "", metivav1.Channel_CHANNEL_PAID_OTHER, "direct"},
		{"direct", "email", "", "", mail, "direct"},
		{"direct", "", "zomer", "", none, "direct"},
	} {
		got := tab.Resolve(source.Query{
			Host: "www.voorbeeld.nl", Referrer: tc.referrer,
			CampaignSource: tc.source, CampaignMedium: tc.medium, CampaignName: tc.name,
		})
		if got.Channel != tc.want || got.Source != tc.wantSource || got.Spam {
			t.Errorf("%q / %q / %q from %q: %s %q, want %s %q", tc.source, tc.medium, tc.name, tc.referrer,
				schemas.Label(got.Channel), got.Source, schemas.Label(tc.want), tc.wantSource)
		}
	}
}

func TestSpam(t *testing.T) {
	t.Parallel()
	hosts, err := source.ReadSpam(strings.NewReader("\ufeffspam-mark.example\n# a comment\n\nSpam-Traffic.example\r\nwww.buttons.example\nспам.example\n"))
	if err != nil {
		t.Fatal(err)
	}
	tab := tables(t, hosts...)
	for referrer, want := range map[string]bool{
		"spam-traffic.example":     true,
		"www.spam-traffic.example": true,
		"a.b.spam-traffic.example": true,
		"buttons.example":          true,
		"nospam-traffic.example":   false,
		"spam-mark.example":        true,
		"xn--80ayhh.example":       true,
		"example":                  false,
		"":                         false,
	} {
		if got := tab.Resolve(source.Query{Host: "voorbeeld.nl", Referrer: referrer}); got.Spam != want {
			t.Errorf("%q: %v", referrer, got)
		}
	}
	for _, list := range []string{"example", "co.uk", "a b.example", "https://spam.example/", "spam..example", strings.Repeat("a.", 200) + "nl"} {
		if _, err := source.ReadSpam(strings.NewReader("good.example\n" + list)); err == nil || !strings.Contains(err.Error(), "line 2") {
			t.Errorf("%q: %v", list, err)
		}
	}
}

// TestOwnHosts: a referrer in the page's registrable domain is internal, whatever is
// in front of it; one that only shares a public suffix is not.
func TestOwnHosts(t *testing.T) {
	t.Parallel()
	tab := tables(t)
	for _, tc := range []struct {
		host, referrer string
		want           metivav1.Channel
	}{
		{"voorbeeld.nl", "voorbeeld.nl", internal},
		{"voorbeeld.nl", "www.voorbeeld.nl", internal},
		{"a.voorbeeld.nl", "b.voorbeeld.nl", internal},
		{"a.b.voorbeeld.nl", "c.voorbeeld.nl", internal},
		{"voorbeeld.co.uk", "shop.voorbeeld.co.uk", internal},
		{"voorbeeld.co.uk", "anders.co.uk", referral},
		{"een.github.io", "ander.github.io", referral},
		{"een.github.io", "www.een.github.io", internal},
		{"voorbeeld.nl", "mijnvoorbeeld.nl", referral},
		{"voorbeeld.nl", "nl", referral},
		{"voorbeeld.nl", "voorbeeld.nl.evil.example", referral},
		{"localhost", "localhost", internal},
		{"10.1.0.1", "10.2.0.1", referral},
		{"intranet.bedrijf", "wiki.bedrijf", referral},
		{"xn--bcher-kva.de", "shop.xn--bcher-kva.de", internal},
	} {
		if got := tab.Resolve(source.Query{Host: tc.host, Referrer: tc.referrer}); got.Channel != tc.want {
			t.Errorf("%s from %s: %s", tc.host, tc.referrer, schemas.Label(got.Channel))
		}
	}
}

func queries() []source.Query {
	return []source.Query{
		{Host: "www.voorbeeld.nl"},
		{Host: "www.voorbeeld.nl", Referrer: "www.google.nl"},
		{Host: "www.voorbeeld.nl", Referrer: "www.voorbeeld.nl"},
		{Host: "www.voorbeeld.nl", Referrer: "shop.voorbeeld.nl"},
		{Host: "www.voorbeeld.nl", Referrer: "a.b.c.onbekend.example", CampaignSource: "nieuwsbrief", CampaignMedium: "email", CampaignName: "maart"},
	}
}

func TestAllocs(t *testing.T) {
	tab := tables(t, "spam.example")
	for _, q := range queries() {
		budget := 0.0
		if q.Referrer == "shop.voorbeeld.nl" {
			budget = 1 // the suffix list asks whether the host is an address
		}
		if n := testing.AllocsPerRun(100, func() { tab.Resolve(q) }); n > budget {
			t.Errorf("%v: %v allocations", q, n)
		}
	}
}

// FuzzResolve: whatever the page says, there is a channel of the list, DIRECT and
// INTERNAL have no source, and letter case does not matter.
func FuzzResolve(f *testing.F) {
	for _, q := range queries() {
		f.Add(q.Host, q.Referrer, q.CampaignSource, q.CampaignMedium, q.CampaignName)
	}
	tab := tables(f, "spam.example")
	labels := schemas.Labels(metivav1.Channel(0))
	f.Fuzz(func(t *testing.T, host, referrer, campaign, medium, name string) {
		q := source.Query{Host: host, Referrer: referrer, CampaignSource: campaign, CampaignMedium: medium, CampaignName: name}
		got := tab.Resolve(q)
		if got.Channel == metivav1.Channel_CHANNEL_UNSPECIFIED || labels[got.Channel] == "" {
			t.Errorf("no channel: %v", got)
		}
		tagged := strings.TrimSpace(campaign+medium+name) != "" && !strings.Contains(strings.ToLower(campaign), "direct")
		if (got.Channel == direct || got.Channel == internal) && (got.Source != "" || tagged) {
			t.Errorf("%v of %v", got, q)
		}
		if isASCII(campaign + medium + name) {
			q.CampaignSource, q.CampaignMedium, q.CampaignName = strings.ToUpper(campaign), strings.ToUpper(medium), strings.ToUpper(name)
			if again := tab.Resolve(q); again != got {
				t.Errorf("%v, in upper case %v", got, again)
			}
		}
	})
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

func FuzzReadSpam(f *testing.F) {
	f.Add("# a\nspam.example\n")
	f.Fuzz(func(t *testing.T, list string) {
		hosts, err := source.ReadSpam(strings.NewReader(list))
		if err != nil {
			return
		}
		for _, host := range hosts {
			if host != strings.ToLower(host) || strings.ContainsAny(host, " /:") {
				t.Errorf("%q", host)
			}
		}
	})
}

func BenchmarkResolve(b *testing.B) {
	tab := tables(b)
	all := queries()
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		tab.Resolve(all[i%len(all)])
		i++
	}
}
