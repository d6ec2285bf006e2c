package crawler_test

const (
	chrome  = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36"
	android = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Mobile Safari/537.36"
	iphone  = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1"
	webKit  = " AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Mobile Safari/537.36"
	webView = " AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/141.0.0.0 Mobile Safari/537.36"
)

// people are the agents of browsers and of apps that show pages.
func people() []string {
	return []string{
		chrome, android, iphone,
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Safari/605.1.15",
		"Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0",
		"Mozilla/5.0 (Android 15; Mobile; rv:144.0) Gecko/144.0 Firefox/144.0",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) FxiOS/144.0 Mobile/15E148 Safari/605.1.15",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/141.0.7390.41 Mobile/15E148 Safari/604.1",
		chrome + " Edg/141.0.0.0",
		chrome + " OPR/122.0.0.0",
		chrome + " Vivaldi/7.6.3797.58",
		chrome + " YaBrowser/25.8.0.0",
		android + " DuckDuckGo/5",
		android + " (Ecosia android@141.0.7390.43)",
		"Mozilla/5.0 (Linux; Android 15; SM-S921B) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/28.0 Chrome/130.0.0.0 Mobile Safari/537.36",
		"Mozilla/5.0 (Linux; Android 12; HUAWEI P40; HMSCore 6.13)" + webKit + " HuaweiBrowser/14.0.5.303",
		"Mozilla/5.0 (Linux; U; Android 14; nl-nl; 23021RAA2Y Build/UKQ1) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/135.0.0.0 Mobile Safari/537.36 XiaoMi/MiuiBrowser/14.44",
		"Mozilla/5.0 (Linux; U; Android 13) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/109.0 Mobile Safari/537.36 SogouMSE,SogouMobileBrowser/5.28.9",
		"Mozilla/5.0 (Linux; Android 12; M2101K6G; U; nl) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/100 UCBrowser/13.4.0.1306 Mobile Safari/537.36",
		"UCWEB/2.0 (MIDP-2.0; U; Adr 9; en-US; CUBOT_NOVA) U2/1.0.0 UCBrowser/10.9.8.1006 U2/1.0.0 Mobile",
		"Opera/9.80 (Android; Opera Mini/36.2.2254/119.132; U; nl) Presto/2.12.423 Version/12.16",
		"Opera/9.80 (Windows NT 6.1) Presto/2.12.388 Version/12.16",
		"Mozilla/5.0 (compatible; MSIE 10.0; Windows NT 6.2; Trident/6.0)",
		"Mozilla/4.0 (compatible; MSIE 7.0; Windows NT 6.1; Trident/7.0; SLCC2; RobotForm; SearchBot Toolbar)",
		"Mozilla/5.0 (Windows NT 10.0; WOW64; Trident/7.0; rv:11.0) like Gecko",
		"Mozilla/5.0 (compatible; Konqueror/4.14; Linux) KHTML/4.14.38 (like Gecko)",
		"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Safari/605.1.15 Epiphany/605.1.15",
		"Lynx/2.9.0dev.12 libwww-FM/2.14 SSL-MM/1.4.1 GNUTLS/3.8.3",
		// Telephones and other devices whose names have the letters.
		"Mozilla/5.0 (Linux; Android 14; CUBOT X70)" + webKit,
		"Mozilla/5.0 (Linux; Android 13; CUBOT KINGKONG 9 Build/TP1A.220624.014)" + webKit,
		"Mozilla/5.0 (Linux; Android 12; CUBOT_P50)" + webKit,
		"Mozilla/5.0 (Linux; Android 11; CUBOT)" + webKit,
		"Mozilla/5.0 (Linux; Android 10; Cubot Note 20 Pro)" + webKit,
		"Mozilla/5.0 (Linux; U; Android 4.4.2; en-us; CUBOT S208/V12) AppleWebKit/534.30 (KHTML, like Gecko) Version/4.0 Mobile Safari/534.30",
		"Mozilla/5.0 (Linux; U; Android 4.2.2; en-us; CUBOT/1.0 Build/JDQ39) AppleWebKit/534.30 (KHTML, like Gecko) Version/4.0 Mobile Safari/534.30",
		"Mozilla/5.0 (Linux; Android 9; CUBOT_POWER Build/PPR1; wv)" + webView + " [FB_IAB/FB4A;FBAV/520.0.0.40.98;]",
		"Dalvik/2.1.0 (Linux; U; Android 9; CUBOT_X18_Plus Build/O00623)",
		"Mozilla/5.0 (Linux; Android 7.1.2; SANBOT Elf Build/N2G47H; wv)" + webView,
		"Mozilla/5.0 (Linux; Android 11; temi robot)" + webKit,
		"Mozilla/5.0 (Linux; Android 13; XBOT-10)" + webKit,
		"Mozilla/5.0 (Linux; Android 8.1.0; Spider X5)" + webKit,
		// Apps that show pages.
		"Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 Flipboard/4.3.9/16380",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 [FBAN/FBIOS;FBAV/530.0.0.36.69;FBDV/iPhone16,1;FBMD/iPhone;FBSN/iOS;FBSV/18.6;FBLC/nl_NL]",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 Instagram 400.0.0.26.79 (iPhone16,1; iOS 18_6; nl_NL; nl; scale=3.00; 1179x2556)",
		"Mozilla/5.0 (Linux; Android 15; Pixel 9 Build/AP4A; wv)" + webView + " LinkedInApp/4.1.1050",
		"Mozilla/5.0 (Linux; Android 15; Pixel 9 Build/AP4A; wv)" + webView + " MicroMessenger/8.0.60 NetType/WIFI Language/nl",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 iRobot/7.1.0",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 JobBot/3.2",
		"Mozilla/5.0 (Linux; Android 15; Pixel 9 Build/AP4A; wv)" + webView + " ShopBot/2.0",
		android + " iRobot/7.1.0",
		android + " AIChatbot/3.2",
		android + " Spider-Man/1.2",
		android + " SpiderSolitaire/5.2 RobotWars/3 Bottomless/1",
		iphone + " BotanicalGarden/2.0 AbbottLibre/3",
		// Televisions, consoles, cars.
		"Mozilla/5.0 (SMART-TV; LINUX; Tizen 7.0) AppleWebKit/537.36 (KHTML, like Gecko) 94.0.4606.31/7.0 TV Safari/537.36",
		"Mozilla/5.0 (Web0S; Linux/SmartTV) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.6099.270 Safari/537.36 WebAppManager",
		"Mozilla/5.0 (Linux; Andr0id 9; BRAVIA 4K UR2)" + webKit + " OPR/46.0.2207.0 OMI/4.21.0.273.DIA6.149",
		"Mozilla/5.0 (PlayStation; PlayStation 5/9.00) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.0 Safari/605.1.15",
		"Mozilla/5.0 (X11; GNU/Linux) AppleWebKit/537.36 (KHTML, like Gecko) Chromium/109.0.5414.119 Chrome/109.0.5414.119 Safari/537.36 Tesla/2025.26",
		"SonyEricssonK800i/R1KG Browser/NetFront/3.3 Profile/MIDP-2.0 Configuration/CLDC-1.1",
	}
}

// leftToEnrich are machines that use none of the words as their name.
func leftToEnrich() []string {
	return []string{
		"", " ", "-", "bo", "bots", "robots", "Robot", "Mozilla/5.0", "(", "(bot", "Mozilla/5.0 (bot", "bot.example.com",
		"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/141.0.0.0 Safari/537.36",
		"Mozilla/5.0 (Unknown; Linux x86_64) AppleWebKit/538.1 (KHTML, like Gecko) PhantomJS/2.1.1 Safari/538.1",
		"curl/8.14.1", "Go-http-client/2.0", "python-requests/2.32.3", "okhttp/4.12.0", "WebshopServer/3.1 (integration)",
		"WhatsApp/2.24.20.89 A",
		"facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
		"meta-externalagent/1.1 (+https://developers.facebook.com/docs/sharing/webmasters/crawler)",
		"Mozilla/5.0 (compatible; SEOkicks; +https://www.seokicks.de/robot.html)",
		"Mozilla/5.0 (compatible; Help; bots@example.com)",
		"Mozilla/5.0 (compatible; Help; bot@example.com)",
		"Mozilla/5.0 (compatible; Help; www.bot)",
		"Mozilla/5.0 (compatible; Yahoo! Slurp; http://help.yahoo.com/help/us/ysearch/slurp)",
		"Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; ChatGPT-User/1.0; +https://openai.com/bot)",
		"Mozilla/5.0 (Linux; Android 7.0; Moto G (4)) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Mobile Safari/537.36 Chrome-Lighthouse",
		"crawler4j (https://github.com/yasserg/crawler4j/)",
	}
}

// machines name themselves.
func machines() []string {
	return []string{
		"Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
		"Googlebot/2.1 (+http://www.google.com/bot.html)",
		"Googlebot-Image/1.0",
		"Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X Build/MMB29P) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.7390.54 Mobile Safari/537.36 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
		"Mozilla/5.0 (Linux; Android 14; CUBOT X70) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Mobile Safari/537.36 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
		"SAMSUNG-SGH-E250/1.0 Profile/MIDP-2.0 Configuration/CLDC-1.1 UP.Browser/6.2.3.3.c.1.101 (GUI) MMP/2.0 (compatible; Googlebot-Mobile/2.1; +http://www.google.com/bot.html)",
		"Mozilla/5.0 (X11; Linux x86_64; Storebot-Google/1.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/79.0.3945.88 Safari/537.36",
		"Mozilla/5.0 (Linux; Android 8.0; Pixel 2 Build/OPD3.170816.012; Storebot-Google/1.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/81.0.4044.138 Mobile Safari/537.36",
		"AdsBot-Google (+http://www.google.com/adsbot.html)",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 14_7_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/14.1.2 Mobile/15E148 Safari/604.1 (compatible; AdsBot-Google-Mobile; +http://www.google.com/mobile/adsbot.html)",
		"Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm) Chrome/116.0.1938.76 Safari/537.36",
		"Mozilla/5.0 (compatible; adidxbot/2.0; +http://www.bing.com/bingbot.htm)",
		"msnbot-media/1.1 (+http://search.msn.com/msnbot.htm)",
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 Safari/605.1.15 (Applebot/0.1; +http://www.apple.com/go/applebot)",
		"DuckDuckBot/1.1; (+http://duckduckgo.com/duckduckbot.html)",
		"Mozilla/5.0 (compatible; YandexBot/3.0; +http://yandex.com/bots)",
		"Mozilla/5.0 (compatible; Baiduspider/2.0; +http://www.baidu.com/search/spider.html)",
		"Mozilla/5.0 (compatible; Baiduspider-render/2.0; +http://www.baidu.com/search/spider.html)",
		"Baiduspider+(+http://www.baidu.com/search/spider.htm)",
		"Sogou web spider/4.0(+http://www.sogou.com/docs/help/webmasters.htm#07)",
		"Mozilla/5.0 (Windows NT 6.1; WOW64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/69.0.3497.81 YisouSpider/5.0 Safari/537.36",
		"Mozilla/5.0 (compatible; SeznamBot/4.0; +https://o-seznam.cz/napoveda/vyhledavani/en/seznambot-crawler/)",
		"Mozilla/5.0 (compatible; archive.org_bot +http://archive.org/details/archive.org_bot)",
		"Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)",
		"Mozilla/5.0 (compatible; SemrushBot/7~bl; +http://www.semrush.com/bot.html)",
		"Mozilla/5.0 (compatible; MJ12bot/v1.4.8; http://mj12bot.com/)",
		"Mozilla/5.0 (compatible; DotBot/1.2; +https://opensiteexplorer.org/dotbot; help@moz.com)",
		"Mozilla/5.0 (compatible; BLEXBot/1.0; +http://webmeup-crawler.com/)",
		"Mozilla/5.0 (compatible; DataForSeoBot/1.0; +https://dataforseo.com/dataforseo-bot)",
		"Screaming Frog SEO Spider/20.0",
		"Mozilla/5.0 (compatible; Seekport Crawler; http://seekport.com/)",
		"Linguee Bot (http://www.linguee.com/bot; bot@linguee.com)",
		"Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)",
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36; compatible; OAI-SearchBot/1.3; +https://openai.com/searchbot",
		"Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; ClaudeBot/1.0; +claudebot@anthropic.com)",
		"Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; PerplexityBot/1.0; +https://perplexity.ai/perplexitybot)",
		"Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; Amazonbot/0.1; +https://developer.amazon.com/support/amazonbot) Chrome/119.0.6045.214 Safari/537.36",
		"Mozilla/5.0 (Linux; Android 5.0) AppleWebKit/537.36 (KHTML, like Gecko) Mobile Safari/537.36 (compatible; Bytespider; spider-feedback@bytedance.com)",
		"Mozilla/5.0 (Linux; Android 7.0;) AppleWebKit/537.36 (KHTML, like Gecko) Mobile Safari/537.36 (compatible; PetalBot;+https://webmaster.petalsearch.com/site/petalbot)",
		"CCBot/2.0 (https://commoncrawl.org/faq/)",
		"LinkedInBot/1.0 (compatible; Mozilla/5.0; Apache-HttpClient +http://www.linkedin.com)",
		"Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
		"TelegramBot (like TwitterBot)",
		"Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)",
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_11_1) AppleWebKit/601.2.4 (KHTML, like Gecko) Version/9.0.1 Safari/601.2.4 facebookexternalhit/1.1 Facebot Twitterbot/1.0",
		"Mozilla/5.0 (compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)",
		"Pingdom.com_bot_version_1.4_(http://www.pingdom.com/)",
		"Mozilla/5.0 (compatible; Linux x86_64; Mail.RU_Bot/Img/2.0; +https://help.mail.ru/webmaster/indexing/robots)",
		"Mozilla/5.0 (Company site bot; +https://example.com/about)",
		"ZoominfoBot (zoominfobot at zoominfo dot com)",
		"crawler", "bot", "Bot/1.0", "examplebot", "x spider",
	}
}
