package bot

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"

	"github.com/metiva-io/metiva/schemas/metivav1"
)

//go:embed data/crawlers.tsv
var crawlersTSV string

// ranks is the order of the classes: of several that match, the first wins.
func ranks() []metivav1.BotClass {
	return []metivav1.BotClass{
		metivav1.BotClass_BOT_CLASS_HEADLESS,
		metivav1.BotClass_BOT_CLASS_LINK_SCANNER,
		metivav1.BotClass_BOT_CLASS_AI,
		metivav1.BotClass_BOT_CLASS_MONITOR,
		metivav1.BotClass_BOT_CLASS_PREVIEW,
		metivav1.BotClass_BOT_CLASS_SCANNER,
		metivav1.BotClass_BOT_CLASS_CRAWLER,
		metivav1.BotClass_BOT_CLASS_LIBRARY,
	}
}

// tagClasses is what the tags of crawler-user-agents mean here.
func tagClasses() map[string]metivav1.BotClass {
	const crawler = metivav1.BotClass_BOT_CLASS_CRAWLER
	return map[string]metivav1.BotClass{
		"browser-automation": metivav1.BotClass_BOT_CLASS_HEADLESS,
		"ai-crawler":         metivav1.BotClass_BOT_CLASS_AI,
		"monitoring":         metivav1.BotClass_BOT_CLASS_MONITOR,
		"social-preview":     metivav1.BotClass_BOT_CLASS_PREVIEW,
		"scanner":            metivav1.BotClass_BOT_CLASS_SCANNER,
		"http-library":       metivav1.BotClass_BOT_CLASS_LIBRARY,
		"search-engine":      crawler, "seo": crawler, "advertising": crawler,
		"archiver": crawler, "academic": crawler, "feed-reader": crawler,
	}
}

// exceptions are patterns of crawler-user-agents that people's browsers have too,
// each with what has it.
func exceptions() map[string]string {
	return map[string]string{
		`AP3A\.240617\.008`: "a build of Android 15 that telephones of several makers name in their in-app browsers",
		`MetaIAB Facebook`:  "Facebook's in-app browser",
		`Sogou`:             "Sogou's browsers; its crawlers are in lists",
		`Fluid`:             "a browser for single sites",
		`Code\/1\.`:         "the browser in an editor",
		`Trae\/`:            "the browser in an editor",
		`008\/`:             "ends of build numbers; the crawler is in lists by its address",
		`BW\/`:              "ends of models; the crawler begins with it, which is a pattern of its own",
		`ds9`:               "parts of models",
	}
}

// pattern is one line of data/crawlers.tsv.
type pattern struct {
	expression string
	rank       int
}

// readPatterns reads the lines of crawlers.tsv: expression, tab, tags with commas.
// The exceptions are left out.
func readPatterns(tsv string) ([]pattern, error) {
	classes, order, except := tagClasses(), ranks(), exceptions()
	var out []pattern
	for line := range strings.Lines(tsv) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		expression, tags, ok := strings.Cut(line, "\t")
		if !ok {
			return nil, fmt.Errorf("bot: pattern %q has no tags", expression)
		}
		if except[expression] != "" {
			continue
		}
		rank := len(order)
		for tag := range strings.SplitSeq(tags, ",") {
			class, known := classes[tag]
			if !known {
				return nil, fmt.Errorf("bot: pattern %q has the unknown tag %q", expression, tag)
			}
			rank = min(rank, slices.Index(order, class))
		}
		out = append(out, pattern{expression: expression, rank: rank})
	}
	return out, nil
}

// list is the literals of one class, in lower case.
type list struct {
	class    metivav1.BotClass
	literals []string
}

// lists is our own list. Each literal is the token its operator documents in the
// agent it sends.
func lists() []list {
	return []list{
		{metivav1.BotClass_BOT_CLASS_HEADLESS, []string{
			"headlesschrome", "headlessfirefox", "phantomjs", "slimerjs", "puppeteer", "playwright", "selenium", "webdriver",
			"cypress/", "nightmare/", "htmlunit", "zombie.js", "jsdom/", "splash/", "browserless",
		}},
		{metivav1.BotClass_BOT_CLASS_LINK_SCANNER, []string{
			"barracuda", "proofpoint", "mimecast", "safelinks", "trendmicro", "ironport", "messagelabs", "forcepoint", "cloudmark", "avanan", "urldefense",
		}},
		{metivav1.BotClass_BOT_CLASS_AI, []string{
			"gptbot", "chatgpt-user", "oai-searchbot", "claudebot", "claude-user", "claude-web", "claude-searchbot", "anthropic-ai",
			"perplexitybot", "perplexity-user", "ccbot/", "google-extended", "googleother", "google-cloudvertexbot", "bytespider",
			"amazonbot", "applebot-extended", "meta-externalagent", "meta-externalfetcher", "facebookbot", "cohere-ai", "mistralai-user",
			"youbot", "diffbot", "ai2bot", "imagesiftbot", "timpibot", "omgili", "petalbot", "duckassistbot", "deepseek", "velenpublicwebcrawler",
		}},
		{metivav1.BotClass_BOT_CLASS_MONITOR, []string{
			"uptimerobot", "pingdom", "statuscake", "site24x7", "gtmetrix", "chrome-lighthouse", "lighthouse", "pagespeed", "datadog", "newrelicpinger",
			"betteruptime", "better uptime", "updown.io", "hetrixtools", "freshping", "nagios", "check_http", "zabbix", "prometheus", "blackbox-exporter",
			"kube-probe", "elb-healthchecker", "googlehc/", "cloudflare-healthchecks", "cloudflare-alwaysonline", "monitis", "montastic", "catchpoint", "dynatrace",
			"rigor/", "speedcurve", "webpagetest", "ptst/", "oh dear", "ohdear", "checkly", "grafana", "internet.nl", "ssllabs", "ssl labs", "cookiebot", "onetrust",
		}},
		{metivav1.BotClass_BOT_CLASS_PREVIEW, []string{
			"facebookexternalhit", "facebookcatalog", "twitterbot", "linkedinbot", "slackbot", "slack-imgproxy", "telegrambot", "whatsapp/", "discordbot",
			"skypeuripreview", "pinterestbot", "redditbot", "embedly", "iframely", "vkshare", "tumblr", "flipboardproxy", "mastodon", "google web preview", "bingpreview", "microsoftpreview",
		}},
		{metivav1.BotClass_BOT_CLASS_SCANNER, []string{
			"censys", "shodan", "expanse", "nmap", "nuclei", "zgrab", "masscan", "internetmeasurement", "netcraft", "paloalto", "leakix", "nikto", "wpscan", "sqlmap",
		}},
		{metivav1.BotClass_BOT_CLASS_CRAWLER, []string{
			"googlebot", "adsbot-google", "mediapartners-google", "apis-google", "feedfetcher-google", "google-inspectiontool", "storebot-google", "google-read-aloud",
			"google favicon", "google-site-verification", "bingbot", "adidxbot", "msnbot", "slurp", "duckduckbot", "baiduspider",
			"yandexbot", "yandex.com/bots", "yandeximages", "yandexmetrika", "sogou web", "sogou pic", "sogou inst", "sogou head", "sogou news", "80legs", "exabot", "qwantify", "qwantbot", "seznambot", "applebot", "mojeekbot", "naverbot",
			"yeti/", "coccocbot", "neevabot", "ia_archiver", "archive.org_bot", "heritrix", "flipboardrss",
			"ahrefsbot", "ahrefssiteaudit", "semrushbot", "siteauditbot", "mj12bot", "dotbot", "rogerbot", "screaming frog", "sitebulb", "blexbot", "dataforseo",
			"serpstatbot", "seokicks", "sistrix", "xovibot", "barkrowler", "megaindex", "linkdexbot", "lumar", "deepcrawl", "botify", "oncrawl", "ryte", "majestic",
			"crawler", "spider", "scrapy", "nutch", "crawl/",
		}},
		{metivav1.BotClass_BOT_CLASS_LIBRARY, []string{
			"curl/", "wget/", "libcurl", "python-requests", "python-urllib", "python-httpx", "python/", "aiohttp", "urllib3", "httpx/", "go-http-client", "fasthttp",
			"okhttp", "java/", "apache-httpclient", "jakarta commons", "java-http-client", "jetty/", "axios/", "node-fetch", "undici", "node.js", "got (", "got/", "superagent",
			"ruby", "faraday", "rest-client", "typhoeus", "php/", "guzzlehttp", "symfony", "wordpress/", "drupal", "libwww-perl", "lwp::", "perl/", "mechanize",
			"postmanruntime", "insomnia", "httpie", "k6/", "jmeter", "vegeta", "hey/", "apachebench", "wrk/", "locust", "reqwest", "hyper/", "dart:io", "dart/",
			"cfnetwork", "dalvik/", "winhttp", "powershell", "libfetch", "aria2", "httrack", "colly", "zoho", "feedparser", "feedly", "simplepie",
		}},
	}
}
