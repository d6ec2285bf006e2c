package consent

import (
	"time"

	"github.com/metiva-io/metiva/consent/tcf"
)

// Limits of a claim. A longer one cannot be kept whole in the consent record and
// counts as one that cannot be read.
const (
	// RawSignalBytesMax is the longest raw signal a consent record keeps.
	RawSignalBytesMax = 2 << 10
	// categoriesBytesMax is the longest list of categories of a consent platform.
	categoriesBytesMax = 512
	// consentModeBytesMax is the longest parameter of Google Consent Mode.
	consentModeBytesMax = 32
)

// Answer is what a claim of the page says about analytics. A claim is not
// proof: it may lower what a token proves, and never raises anything.
type Answer uint8

const (
	// AnswerNone says nothing: no claim, or the visitor has not chosen yet.
	AnswerNone Answer = iota
	// AnswerGranted says that the visitor agreed.
	AnswerGranted
	// AnswerRefused says that the visitor refused, or that the claim cannot be
	// read. Any larger number counts as refused too.
	AnswerRefused
)

func (a Answer) refuses() bool { return a > AnswerGranted }

// Source is who on the page speaks.
type Source uint8

const (
	// SourceNone is nobody.
	SourceNone Source = iota
	// SourceBanner is our own banner.
	SourceBanner
	// SourceAPI is a call the site's own script makes.
	SourceAPI
	// SourceCMP is a consent management platform, read by the snippet.
	SourceCMP
	// SourceTCF is a TC string. Raw is the string.
	SourceTCF
	// SourceConsentMode is Google Consent Mode. Raw is its parameter gcs or gcd.
	// It never grants.
	SourceConsentMode
)

// CMP names a consent management platform the snippet can read.
type CMP string

// The platforms. The set is closed: the name goes into the consent record.
const (
	CMPCookiebot            CMP = "cookiebot"
	CMPOneTrust             CMP = "onetrust"
	CMPCookieYes            CMP = "cookieyes"
	CMPComplianz            CMP = "complianz"
	CMPWPConsentAPI         CMP = "wp_consent_api"
	CMPDidomi               CMP = "didomi"
	CMPUsercentrics         CMP = "usercentrics"
	CMPKlaro                CMP = "klaro"
	CMPVanillaCookieConsent CMP = "vanilla_cookieconsent"
)

// Known reports whether the platform is in the closed set.
func (c CMP) Known() bool {
	switch c {
	case CMPCookiebot, CMPOneTrust, CMPCookieYes, CMPComplianz, CMPWPConsentAPI, CMPDidomi, CMPUsercentrics, CMPKlaro, CMPVanillaCookieConsent:
		return true
	}
	return false
}

// Choice is what a banner, a script or a platform reports.
type Choice struct {
	// Answer is what stands for analytics (statistics, performance).
	Answer Answer
	// Made says that the visitor acted. Platforms report a state before any
	// choice, which is none.
	Made bool
	// Implied says that the platform takes silence for consent. Such a yes is
	// none.
	Implied bool
}

func (c Choice) answer() Answer {
	switch {
	case c.Answer.refuses():
		if c.Made {
			return AnswerRefused
		}
		return AnswerNone
	case c.Answer == AnswerGranted && c.Made && !c.Implied:
		return AnswerGranted
	}
	return AnswerNone
}

// Claim is what the page says the visitor chose.
type Claim struct {
	Source Source
	// CMP names the platform of SourceCMP.
	CMP CMP
	// Raw is the signal as the page has it, kept in the consent record: the TC
	// string, the platform's categories ("C0001,C0002", "statistics=allow"), or
	// the parameter of Consent Mode. Empty for banner and script.
	Raw string
	// Choice is what banner, script and platform report; the other sources say
	// it in Raw.
	Choice Choice
	// TextVersion is the version of the text the visitor saw; for a TC string it
	// follows from the string.
	TextVersion string
}

// Answer is what the claim says, at a time and on a site, for Signals. Whatever
// cannot be read, or breaks a limit, is AnswerRefused: an invalid signal is as
// restrictive as a refusal.
func (c Claim) Answer(policy Policy, now time.Time) Answer {
	if !c.rawFits() {
		return AnswerRefused
	}
	switch c.Source {
	case SourceNone:
		return AnswerNone
	case SourceBanner, SourceAPI:
		return c.Choice.answer()
	case SourceCMP:
		if !c.CMP.Known() {
			return AnswerRefused
		}
		return c.Choice.answer()
	case SourceTCF:
		return tcfAnswer(policy, c.Raw, now)
	case SourceConsentMode:
		return consentModeAnswer(c.Raw)
	}
	return AnswerRefused
}

// tcfAnswer reads a TC string. A site that is no vendor of the framework cannot
// be granted by one; there the purposes alone say whether the visitor refused.
// An empty string is what a platform has before a choice.
func tcfAnswer(policy Policy, text string, now time.Time) Answer {
	if text == "" {
		return AnswerNone
	}
	s, err := tcf.Decode(text)
	switch {
	case err != nil:
		return AnswerRefused
	case policy.TCFVendor == 0 && s.Purposes(now) == nil:
		return AnswerNone
	case s.Analytics(policy.TCFVendor, now) != nil:
		return AnswerRefused
	}
	return AnswerGranted
}

// rawFits reports whether the raw signal is short enough and of the characters
// its source uses. The record keeps it: no e-mail address, address with dots or
// free text has a place in it.
func (c Claim) rawFits() bool {
	limit, allowed := 0, func(byte) bool { return false }
	switch c.Source {
	case SourceCMP:
		limit, allowed = categoriesBytesMax, func(b byte) bool { return isWord(b) || b == ',' || b == ';' || b == '=' || b == ' ' }
	case SourceTCF:
		limit, allowed = RawSignalBytesMax, func(b byte) bool { return isWord(b) || b == '.' }
	case SourceConsentMode:
		limit, allowed = consentModeBytesMax, isWord
	case SourceNone, SourceBanner, SourceAPI:
	}
	if len(c.Raw) > limit {
		return false
	}
	for i := range len(c.Raw) {
		if !allowed(c.Raw[i]) {
			return false
		}
	}
	return true
}

// isWord is the alphabet of base64url, which also writes category names.
func isWord(b byte) bool {
	return isLetter(b) || isDigit(b) || b == '-' || b == '_'
}

func isLetter(b byte) bool { return b|0x20 >= 'a' && b|0x20 <= 'z' }

func isDigit(b byte) bool { return b >= '0' && b <= '9' }
