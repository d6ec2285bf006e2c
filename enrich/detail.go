package enrich

import (
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

// takenBack is why nothing may be made of the event any more: the tenant or the subject
// was erased, or lost its consent; 0 while it may.
func (s *steps) takenBack(e *metivav1.CollectedEvent) metivav1.Reason {
	switch {
	case s.revocations.isErased(e.GetCompanyId(), subjectOf(e)):
		return metivav1.Reason_REASON_ERASED
	case s.lostConsent(e):
		return metivav1.Reason_REASON_WITHDRAWN
	}
	return 0
}

// lostConsent reports whether the visitor took back the consent without which
// this type is not recorded. What is recorded without consent is reduced instead
// (applyWithdrawal).
func (s *steps) lostConsent(e *metivav1.CollectedEvent) bool {
	return !consent.Records(metivav1.ConsentState_CONSENT_STATE_WITHDRAWN, e.GetType()) &&
		s.revocations.isWithdrawn(e.GetCompanyId(), subjectOf(e), e.GetConsentSeq())
}
