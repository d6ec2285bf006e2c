package consent

import (
	"time"

	"github.com/metiva-io/metiva/consent/tcf"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// IDBytes is the length of a visitor id (a consent subject).
const IDBytes = 16

// Policy is what a site's registration allows.
type Policy struct {
	// Mode limits what is recorded at all. Anything but SITE_MODE_COMPANY and
	// SITE_MODE_COUNT records nothing.
	Mode metivav1.SiteMode
	// HonourDNT makes "DNT: 1" an objection.
	HonourDNT bool
	// TCFVendor is the vendor a TC string has to name; 0 takes no grant from one.
	TCFVendor tcf.VendorID
	// CMP is the platform the site takes grants from; empty takes none.
	CMP CMP
	// GrantAge is how long a grant lasts: GrantAgeDefault where it is 0, at most
	// GrantAgeMax.
	GrantAge time.Duration
}

// Signals is what a request says about consent. The zero value says nothing,
// which is denied.
type Signals struct {
	GPC    bool // Sec-GPC: 1
	DNT    bool // DNT: 1
	OptOut bool // the visitor's own opt-out on this site
	Proof  Proof
	// What the page claims, from Claim.Answer. They lower and never raise.
	Page        Answer // our own banner, or the site's script
	CMP         Answer
	TCF         Answer
	ConsentMode Answer
}

// With adds what a claim says. Of two claims from one source the more
// restrictive stands.
func (s Signals) With(claim Claim, policy Policy, now time.Time) Signals {
	answer := claim.Answer(policy, now)
	switch claim.Source {
	case SourceCMP:
		s.CMP = max(s.CMP, answer)
	case SourceTCF:
		s.TCF = max(s.TCF, answer)
	case SourceConsentMode:
		s.ConsentMode = max(s.ConsentMode, answer)
	default:
		s.Page = max(s.Page, answer)
	}
	return s
}

// objects reports an objection to any processing.
func (s Signals) objects(policy Policy) bool {
	return s.GPC || s.OptOut || s.DNT && policy.HonourDNT
}

// refuses reports a refusal of analytics among the page's claims.
func (s Signals) refuses() bool {
	return s.Page.refuses() || s.CMP.refuses() || s.TCF.refuses() || s.ConsentMode.refuses()
}

// Decision is what may be done with an event. Only Decide and Capturable make one
// that allows anything.
type Decision struct {
	state       metivav1.ConsentState
	reason      metivav1.Reason
	allowed     bool
	visitorID   [IDBytes]byte
	sequence    uint64
	textVersion string
}

// Allows reports whether an event may be produced.
func (d Decision) Allows() bool { return d.allowed }

// State is the consent state to record on the event.
func (d Decision) State() metivav1.ConsentState { return d.state }

// Reason says why nothing may be produced; REASON_UNSPECIFIED when it may.
func (d Decision) Reason() metivav1.Reason { return d.reason }

// VisitorID is the visitor's id; ok in the state ANALYTICS, and in the state
// IDENTIFIED if the visitor had a grant for analytics as well.
func (d Decision) VisitorID() (id [IDBytes]byte, ok bool) {
	switch {
	case !d.allowed:
		return [IDBytes]byte{}, false
	case d.state == metivav1.ConsentState_CONSENT_STATE_ANALYTICS,
		d.state == metivav1.ConsentState_CONSENT_STATE_IDENTIFIED && d.visitorID != [IDBytes]byte{}:
		return d.visitorID, true
	}
	return [IDBytes]byte{}, false
}

// Sequence is the sequence number of the grant the decision rests on, or 0.
func (d Decision) Sequence() uint64 { return d.sequence }

// TextVersion is the version of the text the visitor agreed to, or empty.
func (d Decision) TextVersion() string { return d.textVersion }

// Decide applies the policy to the signals. The most restrictive wins: a site
// that is off, then an objection, then a site that only counts, then a refusal
// among the page's claims, then what the proof grants. A claim that grants
// changes nothing: Grantable says whether it is exchanged for a proof.
func Decide(policy Policy, signals Signals) Decision {
	state := stateOf(policy, signals)
	switch {
	case policy.Mode != metivav1.SiteMode_SITE_MODE_COMPANY && policy.Mode != metivav1.SiteMode_SITE_MODE_COUNT:
		return Decision{state: state, reason: metivav1.Reason_REASON_OFF}
	case state == metivav1.ConsentState_CONSENT_STATE_OBJECTED:
		return Decision{state: state, reason: metivav1.Reason_REASON_OBJECTED}
	case policy.Mode == metivav1.SiteMode_SITE_MODE_COUNT:
		return Decision{state: state, reason: metivav1.Reason_REASON_COUNT_ONLY}
	}
	d := Decision{state: state, allowed: true}
	if state == metivav1.ConsentState_CONSENT_STATE_ANALYTICS {
		d.visitorID = signals.Proof.visitorID
		d.sequence = signals.Proof.sequence
		d.textVersion = signals.Proof.textVersion
	}
	return d
}

func stateOf(policy Policy, signals Signals) metivav1.ConsentState {
	switch {
	case signals.objects(policy):
		return metivav1.ConsentState_CONSENT_STATE_OBJECTED
	case signals.Proof.status == proofWithdrawn:
		return metivav1.ConsentState_CONSENT_STATE_WITHDRAWN
	case signals.Proof.status == proofAnalytics && !signals.refuses():
		return metivav1.ConsentState_CONSENT_STATE_ANALYTICS
	}
	return metivav1.ConsentState_CONSENT_STATE_DENIED
}
