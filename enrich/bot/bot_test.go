package bot_test

import (
	"bytes"
	"testing"

	"github.com/metiva-io/metiva/enrich/bot"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

const (
	chrome  = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
	firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0"
)

func agents() map[string]metivav1.BotClass {
	const (
		none     = metivav1.BotClass_BOT_CLASS_NONE
		crawler  = metivav1.BotClass_BOT_CLASS_CRAWLER
		monitor  = metivav1.BotClass_BOT_CLASS_MONITOR
		library  = metivav1.BotClass_BOT_CLASS_LIBRARY
		headless = metivav1.BotClass_BOT_CLASS_HEADLESS
		ai       = metivav1.BotClass_BOT_CLASS_AI
		noAgent  = metivav1.BotClass_BOT_CLASS_NO_AGENT
		other    = metivav1.BotClass_BOT_CLASS_OTHER
	)
	return map[string]metivav1.BotClass{
		chrome:  none,
		firefox: none,
		"Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1":          none,
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Safari/605.1.15":                            none,
		"Mozilla/5.0 (Linux; Android 14; CUBOT X70) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile Safari/537.36":                          none,
		"Mozilla/5.0 (Linux; Android 15; SM-S921B) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/28.0 Chrome/130.0.0.0 Mobile Safari/537.36":       none,
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0":                    none,
		"Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/137.0.0.0 Mobile Safari/537.36 (Ecosia android@137.0.7151.89)":   none,
		"Mozilla/5.0 (Linux; U; Android 13) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/109.0 Mobile Safari/537.36 SogouMSE,SogouMobileBrowser/5.28.9":   none,
		"Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 Flipboard/4.3.9/16380":              none,
		"Mozilla/5.0 (compatible; MSIE 10.0; Windows NT 6.2; Trident/6.0)":                                                                                 none,
		"Opera/9.80 (Windows NT 6.1) Presto/2.12.388 Version/12.16":                                                                                        none,
		"Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)":                                                                         crawler,
		"Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm) Chrome/116.0.1938.76 Safari/537.36": crawler,
		"facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)":                                                                        crawler,
		"Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)":                                                                               crawler,
		"Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)":                                           ai,
		"Mozilla/5.0 (compatible; ClaudeBot/1.0; +claudebot@anthropic.com)":                                                                                ai,
		"CCBot/2.0 (https://commoncrawl.org/faq/)":                                                                                                         ai,
		"Mozilla/5.0 (compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)":                                                                           monitor,
		"Pingdom.com_bot_version_1.4_(http://www.pingdom.com/)":                                                                                            monitor,
		"curl/8.5.0":             library,
		"Wget/1.21":              library,
		"python-requests/2.32.3": library,
		"Go-http-client/2.0":     library,
		"okhttp/4.12.0":          library,
		"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/140.0.0.0 Safari/537.36": headless,
		"Mozilla/5.0 (Unknown; Linux x86_64) AppleWebKit/538.1 (KHTML, like Gecko) PhantomJS/2.1.1 Safari/538.1":        headless,
		"Mozilla/5.0 (compatible; SomeNewBot/1.0)":                   other,
		"Mozilla/5.0 (compatible; Siteimprove.com; Windows NT 10.0)": other,
		"Mozilla/4.0 (compatible; ms-office; MSOffice 16)":           other,
		"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36 Prerender (+https://github.com/prerender/prerender)": other,
		"Sogou web spider/4.0(+http://www.sogou.com/docs/help/webmasters.htm#07)":                                                                                   crawler,
		"":                     noAgent,
		"   ":                  noAgent,
		"-":                    noAgent,
		"something":            noAgent,
		"SELECT * FROM agents": noAgent,
	}
}

func TestClassify(t *testing.T) {
	t.Parallel()
	c := bot.NewClassifier()
	for agent, want := range agents() {
		if got := c.Classify([]byte(agent)); got != want {
			t.Errorf("%q: got %s, want %s", agent, got, want)
		}
	}
}

func TestClassifyAllocatesNothing(t *testing.T) {
	c := bot.NewClassifier()
	agent := []byte(chrome)
	if n := testing.AllocsPerRun(100, func() { c.Classify(agent) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzClassify: any bytes have a class, the agent is not changed, and letter
// case does not matter.
func FuzzClassify(f *testing.F) {
	for agent := range agents() {
		f.Add([]byte(agent))
	}
	c := bot.NewClassifier()
	f.Fuzz(func(t *testing.T, agent []byte) {
		before := bytes.Clone(agent)
		got := c.Classify(agent)
		if got == metivav1.BotClass_BOT_CLASS_UNSPECIFIED {
			t.Error("no class")
		}
		if !bytes.Equal(before, agent) {
			t.Error("the agent was changed")
		}
		upper := bytes.Clone(agent)
		for i, b := range upper {
			if 'a' <= b && b <= 'z' {
				upper[i] = b - 'a' + 'A'
			}
		}
		if again := c.Classify(upper); again != got {
			t.Errorf("%s in upper case, %s as it was", again, got)
		}
	})
}

func BenchmarkClassify(b *testing.B) {
	c := bot.NewClassifier()
	agent := []byte(chrome)
	b.ReportAllocs()
	for b.Loop() {
		c.Classify(agent)
	}
}
