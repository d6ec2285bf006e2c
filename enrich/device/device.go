package device

import (
	"bytes"

	"github.com/metiva-io/metiva/schemas/metivav1"
)

// agentBytesMax is as much of an agent as the collector seals.
const agentBytesMax = 512

// Description is what is kept of an agent.
type Description struct {
	Class metivav1.DeviceClass
	// Browser is a value of Browsers, System one of Systems.
	Browser, System string
}

// other is a family outside the lists, or an agent that says nothing.
const other = "other"

// Browsers is the closed list of browser families.
func Browsers() []string {
	return []string{"chrome", "safari", "firefox", "edge", "opera", "samsung", "vivaldi", "yandex", "uc", "duckduckgo", "explorer", other}
}

// Systems is the closed list of system families.
func Systems() []string {
	return []string{"windows", "macos", "ios", "android", "chromeos", "linux", other}
}

// Describe reads an agent. It does not change, keep or copy the agent beyond
// the call, and does not allocate.
func Describe(agent []byte) Description {
	var buf [agentBytesMax]byte
	defer clear(buf[:])
	lower := agentText(buf[:copy(buf[:], agent)])
	for i, b := range lower {
		if 'A' <= b && b <= 'Z' {
			lower[i] = b + 'a' - 'A'
		}
	}
	system := lower.system()
	return Description{Class: lower.class(system), Browser: lower.browser(), System: system}
}

// agentText is an agent in lower case.
type agentText []byte

func (a agentText) has(literals ...string) bool {
	for _, l := range literals {
		if bytes.Contains(a, []byte(l)) {
			return true
		}
	}
	return false
}

// browser takes the most specific token: browsers built on another name that
// one too.
func (a agentText) browser() string {
	switch {
	case a.has("edg/", "edge/", "edga/", "edgios/"):
		return "edge"
	case a.has("opr/", "opera", "opios/", "opt/"):
		return "opera"
	case a.has("samsungbrowser/"):
		return "samsung"
	case a.has("vivaldi/"):
		return "vivaldi"
	case a.has("yabrowser/"):
		return "yandex"
	case a.has("ucbrowser/", "ucweb/"):
		return "uc"
	case a.has("duckduckgo/", "ddg/"):
		return "duckduckgo"
	case a.has("firefox/", "fxios/", "focus/"):
		return "firefox"
	case a.has("msie ", "trident/"):
		return "explorer"
	case a.has("chrome/", "crios/", "chromium/"):
		return "chrome"
	case a.has("safari/") && a.has("version/"):
		return "safari"
	}
	return other
}

func (a agentText) system() string {
	switch {
	case a.has("windows"):
		return "windows"
	case a.has("iphone", "ipad", "ipod"):
		return "ios"
	case a.has("android"):
		return "android"
	case a.has("cros "):
		return "chromeos"
	case a.has("macintosh", "mac os x"):
		return "macos"
	case a.has("tizen", "web0s", "webos", "playstation", "nintendo"):
		return other
	case a.has("linux", "x11"):
		return "linux"
	}
	return other
}

func (a agentText) class(system string) metivav1.DeviceClass {
	switch {
	case a.has("smart-tv", "smarttv", "googletv", "google tv", "appletv", "apple tv", "hbbtv", "netcast", "web0s", "bravia", "crkey/", "roku", "android tv"),
		a.has("tizen") && a.has(" tv "):
		return metivav1.DeviceClass_DEVICE_CLASS_TV
	case a.has("ipad", "tablet", "kindle", "silk/", "playbook"):
		return metivav1.DeviceClass_DEVICE_CLASS_TABLET
	case system == "android" && !a.has("mobile"):
		return metivav1.DeviceClass_DEVICE_CLASS_TABLET
	case a.has("mobile", "iphone", "ipod", "windows phone", "opera mini", "blackberry", "nokia"):
		return metivav1.DeviceClass_DEVICE_CLASS_MOBILE
	case system == "windows", system == "macos", system == "chromeos", system == "linux":
		return metivav1.DeviceClass_DEVICE_CLASS_DESKTOP
	}
	return metivav1.DeviceClass_DEVICE_CLASS_OTHER
}
