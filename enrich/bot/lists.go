package bot

import "github.com/metiva-io/metiva/schemas/metivav1"

// list is the literals of one class, in lower case.
type list struct {
	class    metivav1.BotClass
	literals []string
}

// lists is the closed list in order of precedence. Each literal is the token
// its operator documents in the agent it sends.
func lists() []list {
	return []list{
		{metivav1.BotClass_BOT_CLASS_HEADLESS, []string{
			"headlesschrome", "headlessfirefox", "phantomjs", "slimerjs", "puppeteer", "playwright", "selenium", "webdriver",
			"cypress/", "nightmare/", "htmlunit", "zombie.js", "jsdom/", "splash/", "browserless",
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
		{metivav1.BotClass_BOT_CLASS_CRAWLER, []string{
			"googlebot", "adsbot-google", "mediapartners-google", "apis-google", "feedfetcher-google", "google-inspectiontool", "storebot-google", "google-read-aloud",
			"google favicon", "google web preview", "google-site-verification", "bingbot", "bingpreview", "adidxbot", "msnbot", "microsoftpreview", "slurp", "duckduckbot", "baiduspider",
			"yandexbot", "yandex.com/bots", "yandeximages", "yandexmetrika", "sogou web", "exabot", "qwantify", "qwantbot", "seznambot", "applebot", "mojeekbot", "naverbot",
			"yeti/", "coccocbot", "neevabot", "ia_archiver", "archive.org_bot", "heritrix",
			"facebookexternalhit", "facebookcatalog", "twitterbot", "linkedinbot", "slackbot", "slack-imgproxy", "telegrambot", "whatsapp/", "discordbot",
			"skypeuripreview", "pinterestbot", "redditbot", "embedly", "iframely", "vkshare", "tumblr", "flipboardproxy", "flipboardrss", "mastodon",
			"ahrefsbot", "ahrefssiteaudit", "semrushbot", "siteauditbot", "mj12bot", "dotbot", "rogerbot", "screaming frog", "sitebulb", "blexbot", "dataforseo",
			"serpstatbot", "seokicks", "sistrix", "xovibot", "barkrowler", "megaindex", "linkdexbot", "lumar", "deepcrawl", "botify", "oncrawl", "ryte", "majestic",
			"censys", "shodan", "expanse", "nmap", "nuclei", "zgrab", "masscan", "internetmeasurement", "netcraft", "paloalto", "leakix", "nikto", "wpscan", "sqlmap",
			"barracuda", "proofpoint", "mimecast", "safelinks", "trendmicro", "crawler", "spider", "scrapy", "nutch", "crawl/",
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
