package device

import "github.com/metiva-io/metiva/schemas/metivav1"

// agentBytesMax is as much of an agent as the collector seals.
const agentBytesMax = 512

// Description is what is kept of an agent.
type Description struct {
	Class metivav1.DeviceClass
	// Browser is a value of Browsers, System one of Systems.
	Browser, System string
}

// Coarse is what is kept of an agent without consent: the class alone. Families
// tell the visitors of one office apart, and company level has no place for that
// (docs/operations/bots-and-sources.md).
func (d Description) Coarse() Description { return Description{Class: d.Class} }

// other is a family outside the lists, or an agent that says nothing.
const other = "other"

// inApp is a page shown inside an application that is no browser.
const inApp = "in_app"

// Browsers is the closed list of browser families.
func Browsers() []string {
	return []string{"chrome", "safari", "firefox", "edge", "opera", "samsung", "vivaldi", "yandex", "uc", "duckduckgo", "explorer", inApp, other}
}

// Systems is the closed list of system families.
func Systems() []string {
	return []string{"windows", "macos", "ios", "android", "chromeos", "linux", other}
}

// Reader reads agents. It is immutable and safe for concurrent use.
type Reader struct {
	// byFirst holds the literals by their first byte; begins has a bit for each two
	// bytes that one begins with, of which an agent has few.
	byFirst [256][]literal
	begins  [1 << 16 / 64]uint64
}

type literal struct {
	text string
	mark mark
}

// NewReader makes a reader.
func NewReader() *Reader {
	r := new(Reader)
	for text, m := range literals() {
		r.byFirst[text[0]] = append(r.byFirst[text[0]], literal{text: text, mark: m})
		word, bit := pair(text[0], text[1])
		r.begins[word] |= bit
	}
	return r
}

// Describe reads an agent. It does not change, keep or copy the agent beyond
// the call, and does not allocate.
func (r *Reader) Describe(agent []byte) Description {
	var buf [agentBytesMax]byte
	defer clear(buf[:])
	lower := buf[:copy(buf[:], agent)]
	for i, b := range lower {
		if 'A' <= b && b <= 'Z' {
			lower[i] = b + 'a' - 'A'
		}
	}
	said := r.marksOf(lower)
	system := said.system()
	return Description{Class: said.class(system), Browser: said.browser(), System: system}
}

// has reports whether any of the marks is in the set.
func (m mark) has(any mark) bool { return m&any != 0 }

// browser takes the most specific name: browsers built on another name that
// one too.
func (m mark) browser() string {
	switch {
	case m.has(edge):
		return "edge"
	case m.has(opera):
		return "opera"
	case m.has(samsung):
		return "samsung"
	case m.has(vivaldi):
		return "vivaldi"
	case m.has(yandex):
		return "yandex"
	case m.has(uc):
		return "uc"
	case m.has(duckDuckGo):
		return "duckduckgo"
	case m.isInApp():
		return inApp
	case m.has(firefox):
		return "firefox"
	case m.has(explorer):
		return "explorer"
	case m.has(chrome):
		return "chrome"
	case m.has(safari) && m.has(version):
		return "safari"
	}
	return other
}

// isInApp reports whether an application shows the page: it says so, it is Android's
// component for that, or it is Apple's, which has no name behind its version.
func (m mark) isInApp() bool {
	return m.has(applicationView) || m.has(webKit) && m.has(iOS|android) && !m.has(safari|ownNameOnIOS)
}

func (m mark) system() string {
	switch {
	case m.has(windows):
		return "windows"
	case m.has(iOS), m.isDesktopPad():
		return "ios"
	case m.has(otherSystem):
		return other
	case m.has(android):
		return "android"
	case m.has(chromeOS):
		return "chromeos"
	case m.has(macOS):
		return "macos"
	case m.has(linux | x11):
		return "linux"
	}
	return other
}

// isDesktopPad reports whether an iPad that asks for desktop pages gives itself
// away, by what there is for iOS alone. Safari does not.
func (m mark) isDesktopPad() bool { return m.has(macintosh) && m.has(iOSOnly) }

func (m mark) class(system string) metivav1.DeviceClass {
	switch {
	case m.has(television), m.has(tizen) && m.has(televisionWord):
		return metivav1.DeviceClass_DEVICE_CLASS_TV
	case m.has(noDesktop):
		return metivav1.DeviceClass_DEVICE_CLASS_OTHER
	case m.has(tablet) && !m.has(tabletPC), m.isDesktopPad(), system == "android" && !m.has(mobile):
		return metivav1.DeviceClass_DEVICE_CLASS_TABLET
	case m.has(mobile):
		return metivav1.DeviceClass_DEVICE_CLASS_MOBILE
	case system == "windows", system == "macos", system == "chromeos", system == "linux", m.has(x11):
		return metivav1.DeviceClass_DEVICE_CLASS_DESKTOP
	}
	return metivav1.DeviceClass_DEVICE_CLASS_OTHER
}
