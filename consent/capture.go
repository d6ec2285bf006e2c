package consent

import (
	"strings"
	"time"

	"github.com/metiva-io/metiva/schemas/metivav1"
)

// Box is a form's own consent box, as the form's post says it.
type Box struct {
	// Given: the visitor ticked it. A post that does not say so did not.
	Given bool
	// TextVersion is the version of the text beside the box.
	TextVersion string
	// Language the text was shown in, BCP 47; empty is the text's own.
	Language string
}

// ShownText is a text a site registered: what a box may stand beside.
type ShownText struct {
	Version  string
	Language string
	SHA256   [32]byte
}

// Capture is what may be kept of a form's post. Only Capturable makes one that
// allows anything, and only one that does may become the detail of an event:
// its Decision is the one way to the state IDENTIFIED.
type Capture struct {
	decision  Decision
	subjectID [IDBytes]byte
	sequence  uint64
	text      ShownText
	givenAt   time.Time
	expiresAt time.Time
}

// Allows reports whether the post may be captured.
func (c Capture) Allows() bool { return c.decision.allowed }

// Reason says why not; REASON_UNSPECIFIED when it may.
func (c Capture) Reason() metivav1.Reason { return c.decision.reason }

// Decision is the one the event is made with: state IDENTIFIED, with the visitor
// id if the visitor had a grant for analytics.
func (c Capture) Decision() Decision { return c.decision }

// SubjectID names the person the capture is about: the visitor id, or the
// receipt id. Zero when nothing is allowed.
func (c Capture) SubjectID() [IDBytes]byte { return c.subjectID }

// Sequence is that of the choice, among those of the subject: later than that of
// the grant the visitor id rests on, which is the Decision's.
func (c Capture) Sequence() uint64 { return c.sequence }

// Text is the registered text the visitor agreed to.
func (c Capture) Text() ShownText { return c.text }

// GivenAt is server time.
func (c Capture) GivenAt() time.Time { return c.givenAt }

// ExpiresAt is when the consent ends.
func (c Capture) ExpiresAt() time.Time { return c.expiresAt }

// Capturable decides whether a form's post is captured: the only way to the
// state IDENTIFIED. Texts are those registered for both the site and the form.
// The receipt id, 16 bytes nobody can guess, names the person when no visitor id
// does.
//
// The most restrictive wins: a site that is off, an objection, a site that only
// counts, a box that is not ticked, a text that is not registered. A ticked box
// is a choice of its own about what stands beside it, so a refusal of analytics,
// a withdrawal of it or a missing proof does not undo it; but then the person is
// named by the receipt id, and nothing leads to earlier visits.
func Capturable(policy Policy, signals Signals, box Box, texts []ShownText, receiptID [IDBytes]byte, now time.Time) Capture {
	d := Decide(policy, signals)
	switch {
	case !d.Allows():
		return Capture{decision: d}
	case !box.Given:
		return refused(d, metivav1.Reason_REASON_CONSENT_REQUIRED)
	case receiptID == [IDBytes]byte{}:
		return refused(d, metivav1.Reason_REASON_INTERNAL)
	}
	text, ok := box.text(texts)
	if !ok {
		return refused(d, metivav1.Reason_REASON_UNKNOWN_TEXT)
	}
	c := Capture{
		subjectID: receiptID, sequence: NextSequence(d.Sequence(), now), text: text,
		givenAt: now, expiresAt: now.Add(policy.grantAge()).Truncate(time.Second),
	}
	c.decision = Decision{state: metivav1.ConsentState_CONSENT_STATE_IDENTIFIED, allowed: true, sequence: d.Sequence(), textVersion: text.Version}
	if visitor, known := d.VisitorID(); known {
		c.subjectID, c.decision.visitorID = visitor, visitor
	}
	return c
}

// refused keeps the state of what was decided without the box.
func refused(d Decision, reason metivav1.Reason) Capture {
	return Capture{decision: Decision{state: d.state, reason: reason}}
}

// text finds the text beside the box. A language that is not the text's own
// means that another text was shown.
func (b Box) text(texts []ShownText) (ShownText, bool) {
	for _, t := range texts {
		if t.Version == b.TextVersion {
			return t, IsTextVersion(t.Version) && t.Language != "" && (b.Language == "" || strings.EqualFold(b.Language, t.Language))
		}
	}
	return ShownText{}, false
}
