package device

// mark is something an agent says; a set of them is a sum.
type mark uint64

const (
	edge mark = 1 << iota
	opera
	samsung
	vivaldi
	yandex
	uc
	duckDuckGo
	firefox
	explorer
	chrome
	safari
	version
	applicationView
	webKit
	ownNameOnIOS // a browser whose agent need not name Safari
	windows
	iOS
	android
	chromeOS
	macOS
	macintosh
	linux
	x11
	otherSystem
	iOSOnly // said by nothing but iOS
	television
	tizen
	televisionWord
	noDesktop // consoles, headsets, cars
	tablet
	tabletPC
	mobile
)

// literals is what to look for, in lower case, and what each says.
func literals() map[string]mark {
	all := map[string]mark{
		"edg/": edge, "edge/": edge, "edga/": edge, "edgw/": edge, "edgios/": edge | iOSOnly,
		"opr/": opera, "opera": opera, "opt/": opera, "opios/": opera | iOSOnly,
		"samsungbrowser/": samsung, "vivaldi/": vivaldi, "yabrowser/": yandex,
		"ucbrowser/": uc, "ucweb/": uc, "duckduckgo/": duckDuckGo, "ddg/": duckDuckGo,
		"firefox/": firefox, "focus/": firefox, "fxios/": firefox | iOSOnly | ownNameOnIOS,
		"msie ": explorer, "trident/": explorer,
		"chrome/": chrome, "chromium/": chrome, "crios/": chrome | iOSOnly | ownNameOnIOS,
		"safari/": safari, "version/": version, "applewebkit/": webKit,
		"gsa/": applicationView | iOSOnly, "mobile/15e148": iOSOnly,
		"windows": windows, "android": android, "; adr ": android, "cros ": chromeOS,
		"macintosh": macOS | macintosh, "mac os x": macOS, "linux": linux, "x11": x11,
		"iphone": iOS | mobile, "ipod": iOS | mobile, "ipad": iOS | tablet,
		"tablet": tablet, "kindle": tablet, "silk/": tablet, "playbook": tablet | otherSystem, "tablet pc": tabletPC,
		"mobile": mobile, "windows phone": mobile, "opera mini": mobile, "blackberry": mobile, "nokia": mobile, "openharmony": mobile | otherSystem,
		"tizen": tizen | otherSystem, " tv ": televisionWord, "web0s": television | otherSystem, "appletv": television | otherSystem, "apple tv": television | otherSystem,
		"playstation": noDesktop | otherSystem, "nintendo": noDesktop | otherSystem,
	}
	for _, l := range []string{
		"; wv)", "fban/", "fbav/", "fb_iab", "linkedinapp", "instagram ", "barcelona ", "snapchat/", "musical_ly", "bytedancewebview",
		"micromessenger/", " line/", "[pinterest/", "twitter for ",
	} {
		all[l] = applicationView
	}
	for _, l := range []string{
		"smart-tv", "smarttv", "googletv", "google tv", "hbbtv", "netcast", "bravia", "crkey", "roku", "android tv", "; aft", "nettv/", "mitv", "mibox", "vidaa", "viera",
	} {
		all[l] = television
	}
	for _, l := range []string{"xbox", "oculusbrowser", "qtcarbrowser", "tesla/"} {
		all[l] = noDesktop
	}
	for _, l := range []string{"kaios", "webos", "bsd", "sunos"} {
		all[l] = otherSystem
	}
	return all
}

// marksOf finds what an agent in lower case says, in one pass.
func (r *Reader) marksOf(lower []byte) mark {
	var found mark
	for i := 0; i+1 < len(lower); i++ {
		if word, bit := pair(lower[i], lower[i+1]); r.begins[word]&bit == 0 {
			continue
		}
		for _, l := range r.byFirst[lower[i]] {
			if lower[i+1] == l.text[1] && len(lower)-i >= len(l.text) && string(lower[i:i+len(l.text)]) == l.text {
				found |= l.mark
			}
		}
	}
	return found
}

// pair is where two bytes have their bit.
func pair(a, b byte) (word int, bit uint64) {
	n := int(a)<<8 | int(b)
	return n / 64, 1 << (n % 64)
}
