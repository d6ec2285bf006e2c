package consent

import "github.com/metiva-io/metiva/schemas/metivav1"

// IDBytes is the length of a visitor id (a consent subject).
const IDBytes = 16

// Policy is what a site's registration allows.
type Policy struct {
	// Mode limits what is recorded at all. Anything but SITE_MODE_COMPANY and
	// SITE_MODE_COUNT records nothing.
	Mode metivav1.SiteMode
	// HonourDNT makes "DNT: 1" an objection.
	HonourDNT bool
}

// Signals is what a request says about consent. The zero value says nothing,
// which is denied.
type Signals struct {
	GPC    bool // Sec-GPC: 1
	DNT    bool // DNT: 1
	OptOut bool // the visitor's own opt-out on this site
	Proof  Proof
}

// Decision is what may be done with an event. Only Decide makes one that allows
// anything.
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

// VisitorID is the visitor's id; ok only in the state ANALYTICS.
func (d Decision) VisitorID() (id [IDBytes]byte, ok bool) {
	if !d.allowed || d.state != metivav1.ConsentState_CONSENT_STATE_ANALYTICS {
		return [IDBytes]byte{}, false
	}
	return d.visitorID, true
}

// Sequence is the sequence number of the grant the decision rests on, or 0.
func (d Decision) Sequence() uint64 { return d.sequence }

// TextVersion is the version of the text the visitor agreed to, or empty.
func (d Decision) TextVersion() string { return d.textVersion }

// Decide applies the policy to the signals. The most restrictive wins: a site
// that is off, then an objection, then a site that only counts, then what the
// proof grants.
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
	case signals.GPC, signals.OptOut, signals.DNT && policy.HonourDNT:
		return metivav1.ConsentState_CONSENT_STATE_OBJECTED
	case signals.Proof.status == proofWithdrawn:
		return metivav1.ConsentState_CONSENT_STATE_WITHDRAWN
	case signals.Proof.status == proofAnalytics:
		return metivav1.ConsentState_CONSENT_STATE_ANALYTICS
	}
	return metivav1.ConsentState_CONSENT_STATE_DENIED
}
