package source

import (
	"strings"

	"github.com/metiva-io/metiva/schemas/metivav1"
)

// channelOfReferrer is the channel of a visitor who comes without a campaign.
func channelOfReferrer(m medium) metivav1.Channel {
	switch m {
	case mediumSearch:
		return metivav1.Channel_CHANNEL_ORGANIC_SEARCH
	case mediumSocial:
		return metivav1.Channel_CHANNEL_ORGANIC_SOCIAL
	case mediumVideo:
		return metivav1.Channel_CHANNEL_ORGANIC_VIDEO
	case mediumShopping:
		return metivav1.Channel_CHANNEL_ORGANIC_SHOPPING
	case mediumEmail:
		return metivav1.Channel_CHANNEL_EMAIL
	case mediumAI:
		return metivav1.Channel_CHANNEL_AI_ASSISTANT
	case mediumPaid:
		return metivav1.Channel_CHANNEL_PAID_OTHER
	case mediumUnknown, mediumReferral:
	}
	return metivav1.Channel_CHANNEL_REFERRAL
}

// campaign is the trimmed campaign parameters; source in lower case.
type campaign struct {
	source, medium, name string
}

// isDirect is "source exactly matches (direct) and medium is (not set) or (none)",
// with and without the brackets and with no medium at all.
func (c campaign) isDirect() bool {
	return (c.source == "direct" || c.source == "(direct)") && c.name == "" && isAnyFold(c.medium, "", "(none)", "none", "(not set)", "not set")
}

// channel is the first rule that fits (doc.go); m is what the source is known as.
func (c campaign) channel(m medium) metivav1.Channel {
	if containsFold(c.name, "cross-network") {
		return metivav1.Channel_CHANNEL_CROSS_NETWORK
	}
	if ch := c.paid(m); ch != 0 {
		return ch
	}
	if ch := c.unpaid(m); ch != 0 {
		return ch
	}
	switch {
	case isAnyFold(c.medium, "referral", "app", "link"):
		return metivav1.Channel_CHANNEL_REFERRAL
	case isMail(c.source), isMail(c.medium), m == mediumEmail:
		return metivav1.Channel_CHANNEL_EMAIL
	case isAnyFold(c.medium, "affiliate", "affiliates"):
		return metivav1.Channel_CHANNEL_AFFILIATES
	case isAnyFold(c.medium, "audio"):
		return metivav1.Channel_CHANNEL_AUDIO
	case c.source == "sms", isAnyFold(c.medium, "sms"):
		return metivav1.Channel_CHANNEL_SMS
	case hasSuffixFold(c.medium, "push"), containsFold(c.medium, "mobile"), containsFold(c.medium, "notification"), c.source == "firebase":
		return metivav1.Channel_CHANNEL_MOBILE_PUSH
	case m == mediumReferral && c.medium == "":
		return metivav1.Channel_CHANNEL_REFERRAL
	}
	return metivav1.Channel_CHANNEL_UNASSIGNED
}

// paid is the groups of advertising, or none.
func (c campaign) paid(m medium) metivav1.Channel {
	paid := isPaid(c.medium)
	switch {
	case paid && (m == mediumShopping || isShopping(c.name)):
		return metivav1.Channel_CHANNEL_PAID_SHOPPING
	case paid && m == mediumSearch:
		return metivav1.Channel_CHANNEL_PAID_SEARCH
	case paid && m == mediumSocial:
		return metivav1.Channel_CHANNEL_PAID_SOCIAL
	case paid && m == mediumVideo:
		return metivav1.Channel_CHANNEL_PAID_VIDEO
	case isAnyFold(c.medium, "display", "banner", "expandable", "interstitial", "cpm"):
		return metivav1.Channel_CHANNEL_DISPLAY
	case paid, m == mediumPaid:
		return metivav1.Channel_CHANNEL_PAID_OTHER
	}
	return 0
}

// unpaid is the groups by what the source is, or none.
func (c campaign) unpaid(m medium) metivav1.Channel {
	switch {
	case m == mediumAI:
		return metivav1.Channel_CHANNEL_AI_ASSISTANT
	case m == mediumShopping, isShopping(c.name):
		return metivav1.Channel_CHANNEL_ORGANIC_SHOPPING
	case m == mediumSocial, isAnyFold(c.medium, "social", "social-network", "social-media", "sm", "social network", "social media"):
		return metivav1.Channel_CHANNEL_ORGANIC_SOCIAL
	case m == mediumVideo, containsFold(c.medium, "video"):
		return metivav1.Channel_CHANNEL_ORGANIC_VIDEO
	case m == mediumSearch, isAnyFold(c.medium, "organic"):
		return metivav1.Channel_CHANNEL_ORGANIC_SEARCH
	}
	return 0
}

// isPaid is ^(.*cp.*|ppc|retargeting|paid.*)$.
func isPaid(medium string) bool {
	return containsFold(medium, "cp") || isAnyFold(medium, "ppc", "retargeting") || len(medium) >= 4 && strings.EqualFold(medium[:4], "paid")
}

// isShopping is ^(.*(([^a-df-z]|^)shop|shopping).*)$: "shop" at the beginning, or
// behind anything but a letter other than e.
func isShopping(name string) bool {
	if containsFold(name, "shopping") {
		return true
	}
	for rest := 0; ; {
		i := indexFold(name[rest:], "shop")
		if i < 0 {
			return false
		}
		at := rest + i
		if at == 0 {
			return true
		}
		if b := name[at-1] | 0x20; b < 'a' || b > 'z' || b == 'e' {
			return true
		}
		rest = at + 1
	}
}

// isMail is email|e-mail|e_mail|e mail.
func isMail(s string) bool { return isAnyFold(s, "email", "e-mail", "e_mail", "e mail") }

func isAnyFold(s string, values ...string) bool {
	for _, v := range values {
		if strings.EqualFold(s, v) {
			return true
		}
	}
	return false
}

func hasSuffixFold(s, suffix string) bool {
	return len(s) >= len(suffix) && strings.EqualFold(s[len(s)-len(suffix):], suffix)
}

func containsFold(s, part string) bool { return indexFold(s, part) >= 0 }

// indexFold is strings.Index with ASCII letters of any case; part is in lower case.
func indexFold(s, part string) int {
	for i := 0; i+len(part) <= len(s); i++ {
		if equalFoldASCII(s[i:i+len(part)], part) {
			return i
		}
	}
	return -1
}

func equalFoldASCII(s, lower string) bool {
	for i := range len(lower) {
		b := s[i]
		if 'A' <= b && b <= 'Z' {
			b += 'a' - 'A'
		}
		if b != lower[i] {
			return false
		}
	}
	return true
}
