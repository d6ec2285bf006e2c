package enrich

import (
	"crypto/sha256"

	"github.com/metiva-io/metiva/consent"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// hasDetail: what an event says is its type's, and its consent covers the type. A
// capture is a form's event under the visitor's consent to be identified, and
// nothing else is made under that.
func hasDetail(e *metivav1.CollectedEvent) bool {
	if !consent.Records(e.GetConsent(), e.GetType()) {
		return false
	}
	identified := e.GetConsent() == metivav1.ConsentState_CONSENT_STATE_IDENTIFIED
	if capture := e.GetFormCapture(); capture != nil {
		return identified && e.GetType() == metivav1.EventType_EVENT_TYPE_FORM && isCapture(capture, e.GetVisitorId())
	}
	return (!identified || e.GetType() == metivav1.EventType_EVENT_TYPE_PAGE_VIEW) && schemas.DetailFits(e)
}

// copyDetail carries over what the event says. Of a capture that is that the form
// was submitted: its sealed values, subject and consent record have no place among
// the events.
func copyDetail(out *metivav1.EnrichedEvent, e *metivav1.CollectedEvent) {
	switch d := e.GetDetail().(type) {
	case *metivav1.CollectedEvent_Engagement:
		out.Detail = &metivav1.EnrichedEvent_Engagement{Engagement: d.Engagement}
	case *metivav1.CollectedEvent_Click:
		out.Detail = &metivav1.EnrichedEvent_Click{Click: d.Click}
	case *metivav1.CollectedEvent_FormAction:
		out.Detail = &metivav1.EnrichedEvent_FormAction{FormAction: d.FormAction}
	case *metivav1.CollectedEvent_Custom:
		out.Detail = &metivav1.EnrichedEvent_Custom{Custom: d.Custom}
	case *metivav1.CollectedEvent_FormCapture:
		out.Detail = &metivav1.EnrichedEvent_FormAction{FormAction: &metivav1.FormAction{
			Kind: metivav1.FormActionKind_FORM_ACTION_KIND_SUBMIT, FormId: d.FormCapture.GetFormId(),
		}}
	}
}

// lostConsent reports whether the visitor took back the consent without which
// this type is not recorded. What is recorded without consent is reduced instead
// (applyWithdrawal).
func (s *steps) lostConsent(e *metivav1.CollectedEvent) bool {
	return !consent.Records(metivav1.ConsentState_CONSENT_STATE_WITHDRAWN, e.GetType()) &&
		s.revocations.isWithdrawn(e.GetCompanyId(), subjectOf(e), e.GetConsentSeq())
}

// acceptanceID names what the collector accepted once, however often it sends
// it: a copy from the spool is the same sealed bytes, and no two seals are alike,
// since each has a nonce of its own. Nil when the record holds no sealed address.
func acceptanceID(e *metivav1.CollectedEvent) []byte {
	if len(e.GetSealedAddress()) == 0 {
		return nil
	}
	sum := sha256.Sum256(e.GetSealedAddress())
	return sum[:schemas.IDBytes]
}
