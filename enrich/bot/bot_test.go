package bot_test

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
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
		preview  = metivav1.BotClass_BOT_CLASS_PREVIEW
		other    = metivav1.BotClass_BOT_CLASS_OTHER
	)
	return map[string]metivav1.BotClass{
		chrome:  none,
		firefox: none,
		"Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1":                          none,
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Safari/605.1.15":                                            none,
		"Mozilla/5.0 (Linux; Android 14; CUBOT X70) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile Safari/537.36":                                          none,
		"Mozilla/5.0 (Linux; Android 15; SM-S921B) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/28.0 Chrome/130.0.0.0 Mobile Safari/537.36":                       none,
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0":                                    none,
		"Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/137.0.0.0 Mobile Safari/537.36 (Ecosia android@137.0.7151.89)":                   none,
		"Mozilla/5.0 (Linux; U; Android 13) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/109.0 Mobile Safari/537.36 SogouMSE,SogouMobileBrowser/5.28.9":                   none,
		"Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 Flipboard/4.3.9/16380":                              none,
		"Mozilla/5.0 (compatible; MSIE 10.0; Windows NT 6.2; Trident/6.0)":                                                                                                 none,
		"Opera/9.80 (Windows NT 6.1) Presto/2.12.388 Version/12.16":                                                                                                        none,
		"Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)":                                                                                         crawler,
		"Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm) Chrome/116.0.1938.76 Safari/537.36":                 crawler,
		"facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)":                                                                                        preview,
		"Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)":                                                                                               crawler,
		"Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)":                                                           ai,
		"Mozilla/5.0 (compatible; ClaudeBot/1.0; +claudebot@anthropic.com)":                                                                                                ai,
		"CCBot/2.0 (https://commoncrawl.org/faq/)":                                                                                                                         ai,
		"Mozilla/5.0 (compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)":                                                                                           monitor,
		"Pingdom.com_bot_version_1.4_(http://www.pingdom.com/)":                                                                                                            monitor,
		"Mozilla/5.0 (Linux; Android 15; CPH2557 Build/AP3A.240617.008; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/142.0.7444.142 Mobile Safari/537.36": none,
		"Mozilla/5.0 (compatible; CensysInspect/1.1; +https://about.censys.io/)":                                                                                           metivav1.BotClass_BOT_CLASS_SCANNER,
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36 BarracudaSentinel (EE)":                           metivav1.BotClass_BOT_CLASS_LINK_SCANNER,
		"curl/8.5.0":             library,
		"Wget/1.21":              library,
		"python-requests/2.32.3": library,
		"Go-http-client/2.0":     library,
		"okhttp/4.12.0":          library,
		"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/140.0.0.0 Safari/537.36": headless,
		"Mozilla/5.0 (Unknown; Linux x86_64) AppleWebKit/538.1 (KHTML, like Gecko) PhantomJS/2.1.1 Safari/538.1":        headless,
		"Mozilla/5.0 (compatible; SomeNewBot/1.0)":                   other,
		"Mozilla/5.0 (compatible; Example-Checker; Windows NT 10.0)": other,
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

func classifier(tb testing.TB) *bot.Classifier {
	tb.Helper()
	c, err := bot.NewClassifier()
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

func naive(tb testing.TB) *bot.Naive {
	tb.Helper()
	n, err := bot.NewNaive()
	if err != nil {
		tb.Fatal(err)
	}
	return n
}

// samples is the agents that the package of the patterns gives as examples.
func samples(tb testing.TB) []string {
	tb.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", "crawlers.txt"))
	if err != nil {
		tb.Fatal(err)
	}
	var out []string
	for line := range strings.Lines(string(raw)) {
		if !strings.HasPrefix(line, "#") {
			out = append(out, strings.TrimSuffix(line, "\n"))
		}
	}
	if len(out) < 2000 {
		tb.Fatalf("only %d samples", len(out))
	}
	return out
}

func TestClassify(t *testing.T) {
	t.Parallel()
	c := classifier(t)
	for agent, want := range agents() {
		if got := c.Classify([]byte(agent)); got != want {
			t.Errorf("%q: got %s, want %s", agent, got, want)
		}
	}
}

// TestSamples: every example of the package is a bot, by the class that comparing
// all patterns in turn gives.
func TestSamples(t *testing.T) {
	t.Parallel()
	c, n := classifier(t), naive(t)
	var left []*regexp.Regexp
	for expression, why := range bot.Exceptions() {
		if !strings.Contains(bot.CrawlersTSV(), "\n"+expression+"\t") || why == "" {
			t.Errorf("the list does not have %q, or there is no reason to leave it out", expression)
		}
		left = append(left, regexp.MustCompile(expression))
	}
	classes := make(map[metivav1.BotClass]int)
	for _, agent := range samples(t) {
		got := c.Classify([]byte(agent))
		classes[got]++
		isLeft := func(e *regexp.Regexp) bool { return e.MatchString(agent) }
		if got == metivav1.BotClass_BOT_CLASS_NONE && !slices.ContainsFunc(left, isLeft) {
			t.Errorf("%q is not a bot", agent)
		}
		if want := n.Classify([]byte(agent)); got != want {
			t.Errorf("%q: %s, and %s without the index", agent, got, want)
		}
	}
	if len(classes) < 7 {
		t.Errorf("few classes: %v", classes)
	}
}

// TestPatternsAreASCII: letters outside ASCII fold in ways the index does not know.
func TestPatternsAreASCII(t *testing.T) {
	t.Parallel()
	patterns := bot.Patterns()
	for _, p := range patterns {
		for i := range len(p) {
			if p[i] >= 0x80 || strings.Contains(p, "(?") {
				t.Errorf("pattern %q", p)
				break
			}
		}
	}
	if len(patterns) < 1490 {
		t.Errorf("the list has shrunk to %d patterns", len(patterns))
	}
}

func TestAllocs(t *testing.T) {
	c := classifier(t)
	for _, text := range []string{chrome, firefox, "Mozilla/5.0 (compatible; SISTRIX Crawler; http://crawler.sistrix.net/)"} {
		agent := []byte(text)
		if n := testing.AllocsPerRun(100, func() { c.Classify(agent) }); n != 0 {
			t.Errorf("%q: %v allocations", text, n)
		}
	}
}

// FuzzClassify: any bytes have the class that comparing all patterns in turn gives,
// and the agent is not changed.
func FuzzClassify(f *testing.F) {
	for agent := range agents() {
		f.Add([]byte(agent))
	}
	for _, p := range bot.Patterns() {
		f.Add([]byte("Mozilla/5.0 " + p))
	}
	c, n := classifier(f), naive(f)
	f.Fuzz(func(t *testing.T, agent []byte) {
		before := bytes.Clone(agent)
		got := c.Classify(agent)
		if got == metivav1.BotClass_BOT_CLASS_UNSPECIFIED {
			t.Error("no class")
		}
		if !bytes.Equal(before, agent) {
			t.Error("the agent was changed")
		}
		if want := n.Classify(agent); got != want {
			t.Errorf("%q: %s, and %s without the index", agent, got, want)
		}
	})
}

// BenchmarkClassify compares the index with comparing every pattern in turn, on
// browsers, on the samples, and on an agent made to be slow.
func BenchmarkClassify(b *testing.B) {
	c, n := classifier(b), naive(b)
	var crawlers [][]byte
	for _, s := range samples(b) {
		crawlers = append(crawlers, []byte(s))
	}
	hostile := []byte(strings.Repeat("sistrix wget acunetix ContextualBot Current Spider ", 11))
	for _, set := range []struct {
		name   string
		agents [][]byte
	}{
		{"browsers", [][]byte{[]byte(chrome), []byte(firefox)}},
		{"crawlers", crawlers},
		{"hostile", [][]byte{hostile}},
	} {
		for _, way := range []struct {
			name     string
			classify func([]byte) metivav1.BotClass
		}{{"indexed", c.Classify}, {"naive", n.Classify}} {
			b.Run(set.name+"/"+way.name, func(b *testing.B) {
				b.ReportAllocs()
				i := 0
				for b.Loop() {
					way.classify(set.agents[i%len(set.agents)])
					i++
				}
			})
		}
	}
}
