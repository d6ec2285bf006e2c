package consent

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/metiva-io/metiva/consent/tcf"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// GrantAgeDefault is how long a grant lasts where the site says nothing: a year.
const GrantAgeDefault = 365 * 24 * time.Hour

// Why a claim is not exchanged for a token. A TC string that does not grant is
// ErrNotGranted around an error of package tcf.
var (
	// ErrNothingKept: the site's mode keeps no visitor id, so there is nothing to
	// agree to.
	ErrNothingKept = errors.New("consent: the site keeps nothing consent is needed for")
	// ErrObjected: the browser or the visitor objects, which stands above a click.
	ErrObjected = errors.New("consent: the visitor objects")
	// ErrContradicted: another claim of the same page refuses.
	ErrContradicted = errors.New("consent: another signal of the page refuses")
	// ErrSourceNotAccepted: the site does not take grants from this source.
	ErrSourceNotAccepted = errors.New("consent: the site takes no grant from this source")
	// ErrNotGranted: the claim refuses, says nothing, or cannot be read.
	ErrNotGranted = errors.New("consent: the claim does not grant analytics")
	// ErrTextVersion: the claim does not name the text the visitor saw.
	ErrTextVersion = errors.New("consent: the version of the text is missing or not of its form")
)

// Basis is what a grant rests on: what the consent record keeps of the claim
// and what the token says. It names no visitor.
type Basis struct {
	// Source is as in the record: "banner", "api", "cmp:<name>" or "tcf".
	Source string
	// RawSignal is the claim as the page made it, at most RawSignalBytesMax.
	RawSignal   string
	TextVersion string
	// CMPID and CMPVersion name the consent platform, where the claim does.
	CMPID, CMPVersion string
	// Language is that of a TC string; empty for the other sources, whose texts have
	// one.
	Language  string
	GivenAt   time.Time // server time
	ExpiresAt time.Time
}

// Grant is the basis with the visitor id and the sequence number the issuer
// chose, for Tokens.Issue.
func (b Basis) Grant(visitorID [IDBytes]byte, sequence uint64) Grant {
	return Grant{VisitorID: visitorID, Sequence: sequence, TextVersion: b.TextVersion, ExpiresAt: b.ExpiresAt}
}

// Grantable decides whether a claim is exchanged for a signed token: the only
// way a claim leads to analytics. The signals are those of the request that
// brings the claim; their Proof does not count, so that consent taken back can
// be given again under a later sequence. The errors are those of this file.
func Grantable(policy Policy, signals Signals, claim Claim, now time.Time) (Basis, error) {
	switch {
	case policy.Mode != metivav1.SiteMode_SITE_MODE_COMPANY:
		return Basis{}, ErrNothingKept
	case signals.objects(policy):
		return Basis{}, ErrObjected
	case !policy.accepts(claim):
		return Basis{}, ErrSourceNotAccepted
	case signals.refuses():
		return Basis{}, ErrContradicted
	}
	basis := claim.basis(now)
	basis.ExpiresAt = now.Add(policy.grantAge())
	if claim.Answer(policy, now) != AnswerGranted {
		return Basis{}, notGranted(policy, claim, now)
	}
	if claim.Source == SourceTCF {
		s, err := tcf.Decode(claim.Raw)
		if err != nil {
			return Basis{}, ErrNotGranted
		}
		basis.nameString(&s)
		// The token does not outlive the string.
		if end := s.LastUpdated.AddDate(0, tcf.AgeMonthsMax, 0); end.Before(basis.ExpiresAt) {
			basis.ExpiresAt = end
		}
	}
	if !IsTextVersion(basis.TextVersion) {
		return Basis{}, ErrTextVersion
	}
	// Tokens count whole seconds, and one that ends now is none.
	if basis.ExpiresAt = basis.ExpiresAt.Truncate(time.Second); !basis.ExpiresAt.After(now) {
		return Basis{}, ErrNotGranted
	}
	return basis, nil
}

// Refused reports whether a claim is a refusal the visitor made, and what the
// record keeps of it. Unlike Claim.Answer, which is as restrictive as can be, it
// takes only what can be read and was chosen: the record says what the visitor
// did. It does not ask whether the site takes grants from the source.
func Refused(policy Policy, claim Claim, now time.Time) (Basis, bool) {
	if !claim.rawFits() {
		return Basis{}, false
	}
	basis := claim.basis(now)
	switch claim.Source {
	case SourceBanner, SourceAPI:
		return basis, claim.Choice.Answer == AnswerRefused && claim.Choice.Made
	case SourceCMP:
		return basis, claim.CMP.Known() && claim.Choice.Answer == AnswerRefused && claim.Choice.Made
	case SourceTCF:
		s, err := tcf.Decode(claim.Raw)
		if err != nil {
			return Basis{}, false
		}
		err = s.Analytics(policy.TCFVendor, now)
		basis.nameString(&s)
		return basis, errors.Is(err, tcf.ErrPurposes) && !s.PurposeOneTreatment || errors.Is(err, tcf.ErrVendorConsent)
	case SourceNone, SourceConsentMode:
	}
	return Basis{}, false
}

// basis is what a record keeps of a claim.
func (c Claim) basis(now time.Time) Basis {
	b := Basis{Source: c.source(), RawSignal: c.Raw, TextVersion: c.TextVersion, GivenAt: now}
	if c.Source == SourceCMP {
		b.CMPID = string(c.CMP)
	}
	return b
}

// nameString adds what a TC string says about itself.
func (b *Basis) nameString(s *tcf.String) {
	b.TextVersion = fmt.Sprintf("tcf-%d-%d-%d-%d", s.PolicyVersion, s.VendorListVersion, s.CMPID, s.CMPVersion)
	b.CMPID, b.CMPVersion = strconv.Itoa(int(s.CMPID)), strconv.Itoa(int(s.CMPVersion))
	b.Language = strings.ToLower(string(s.ConsentLanguage[:]))
}

// notGranted says of a TC string what it lacks.
func notGranted(policy Policy, claim Claim, now time.Time) error {
	if claim.Source != SourceTCF || !claim.rawFits() {
		return ErrNotGranted
	}
	s, err := tcf.Decode(claim.Raw)
	if err == nil {
		err = s.Analytics(policy.TCFVendor, now)
	}
	if err == nil {
		return ErrNotGranted
	}
	return fmt.Errorf("%w: %w", ErrNotGranted, err)
}

// accepts reports whether the site takes grants from the claim's source. The
// site's own banner and script speak for the site; a platform and a TC string
// only where the site names them.
func (p Policy) accepts(claim Claim) bool {
	switch claim.Source {
	case SourceBanner, SourceAPI:
		return true
	case SourceCMP:
		return claim.CMP.Known() && claim.CMP == p.CMP
	case SourceTCF:
		return p.TCFVendor != 0
	case SourceNone, SourceConsentMode:
		return false
	}
	return false
}

func (p Policy) grantAge() time.Duration {
	if p.GrantAge <= 0 {
		return GrantAgeDefault
	}
	return min(p.GrantAge, GrantAgeMax)
}

func (c Claim) source() string {
	switch c.Source {
	case SourceBanner:
		return "banner"
	case SourceAPI:
		return "api"
	case SourceCMP:
		return "cmp:" + string(c.CMP)
	case SourceTCF:
		return "tcf"
	case SourceNone, SourceConsentMode:
	}
	return ""
}

// IsTextVersion reports whether a version may stand in a token and a record: 1 to
// TextVersionBytesMax letters, digits, dots and dashes.
func IsTextVersion(text string) bool {
	for i := range len(text) {
		if !isWord(text[i]) && text[i] != '.' {
			return false
		}
	}
	return text != "" && len(text) <= TextVersionBytesMax
}
