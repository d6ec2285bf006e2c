package metiva

// visitKind is what the demo expects of a visit.
type visitKind string

const (
	kindCompany    visitKind = "company"
	kindUniversity visitKind = "university"
	kindAccess     visitKind = "access provider"
	kindMobile     visitKind = "mobile"
	kindHosting    visitKind = "hosting"
	kindEducation  visitKind = "education network"
	kindReserved   visitKind = "reserved"
	kindCrawler    visitKind = "crawler" // says so, and is dropped at the edge
	kindBot        visitKind = "bot"     // enrich finds it out
)

// demoVisit is one visitor of the demo: an address of a real network, which
// stands in X-Forwarded-For of a trusted proxy on loopback, a user agent, and
// the pages opened.
type demoVisit struct {
	address  string
	agent    string
	kind     visitKind
	site     int // index of the demo site
	pages    []string
	referrer string
}

// User agents of the demo.
const (
	agentChrome  = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36"
	agentFirefox = "Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0"
	agentSafari  = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Safari/605.1.15"
	agentPhone   = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Mobile/15E148 Safari/604.1"
	agentGoogle  = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
	agentGPT     = "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)"
	agentScript  = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/141.0.0.0 Safari/537.36"
	agentCurl    = "curl/8.14.1"
	agentNone    = ""
)

// demoVisits are visits from networks whose holders are public: companies,
// governments and universities that announce their own space, access and
// mobile providers, hosting, and bots.
func demoVisits() []demoVisit {
	home, prices, about := "/", "/prijzen", "/over-ons"
	search, news := "https://www.google.nl/", "https://www.linkedin.com/"
	return []demoVisit{
		{"145.221.10.1", agentChrome, kindCompany, 0, []string{home, prices, about}, search},
		{"145.221.77.20", agentFirefox, kindCompany, 1, []string{home}, ""},
		{"164.140.12.9", agentChrome, kindCompany, 0, []string{home, prices}, news},
		{"145.72.95.14", agentSafari, kindCompany, 0, []string{home}, ""},
		{"171.21.3.200", agentChrome, kindCompany, 1, []string{home, prices}, search},
		{"146.106.44.5", agentFirefox, kindCompany, 0, []string{prices}, ""},
		{"77.241.225.30", agentChrome, kindCompany, 1, []string{home}, news},
		{"46.17.25.77", agentChrome, kindCompany, 0, []string{home, about}, ""},
		{"2a02:cc0:1:20::7", agentChrome, kindCompany, 1, []string{home, prices}, ""},
		{"2a0d:c40:5::12", agentSafari, kindCompany, 0, []string{home}, search},
		{"131.211.8.44", agentFirefox, kindUniversity, 0, []string{home}, search},
		{"131.180.60.2", agentChrome, kindUniversity, 1, []string{home, prices}, ""},
		{"77.161.10.10", agentChrome, kindAccess, 0, []string{home, prices}, search},
		{"84.24.10.1", agentSafari, kindAccess, 0, []string{home}, ""},
		{"2001:1c00:2c0::15", agentChrome, kindAccess, 1, []string{home}, ""},
		{"2a02:a400:10::8", agentChrome, kindAccess, 0, []string{prices}, news},
		{"84.241.193.18", agentPhone, kindMobile, 1, []string{home}, news},
		{"2.28.14.7", agentChrome, kindHosting, 0, []string{home}, ""},
		{"145.97.39.155", agentChrome, kindEducation, 0, []string{home}, ""},
		{"10.20.30.40", agentChrome, kindReserved, 0, []string{home}, ""},
		{"145.221.10.9", agentGoogle, kindCrawler, 0, []string{home}, ""},
		{"2.28.99.1", agentGPT, kindCrawler, 1, []string{home, prices}, ""},
		{"145.221.10.11", agentScript, kindBot, 0, []string{home, prices}, search},
		{"77.161.44.3", agentCurl, kindBot, 0, []string{home}, ""},
		{"84.24.99.3", agentNone, kindBot, 1, []string{home}, ""},
	}
}
