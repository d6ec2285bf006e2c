package consent

import "github.com/metiva-io/metiva/schemas/metivav1"

// Records reports whether an event of this type may be recorded in this state.
// Without a grant that is the page view, reduced to company level, and no other;
// a capture is a form's event in the state IDENTIFIED. What is not listed is not
// recorded.
func Records(state metivav1.ConsentState, kind metivav1.EventType) bool {
	switch state {
	case metivav1.ConsentState_CONSENT_STATE_UNSPECIFIED, metivav1.ConsentState_CONSENT_STATE_OBJECTED:
		return false
	case metivav1.ConsentState_CONSENT_STATE_DENIED, metivav1.ConsentState_CONSENT_STATE_WITHDRAWN:
		return kind == metivav1.EventType_EVENT_TYPE_PAGE_VIEW
	case metivav1.ConsentState_CONSENT_STATE_IDENTIFIED:
		return kind == metivav1.EventType_EVENT_TYPE_PAGE_VIEW || kind == metivav1.EventType_EVENT_TYPE_FORM
	case metivav1.ConsentState_CONSENT_STATE_ANALYTICS:
		switch kind {
		case metivav1.EventType_EVENT_TYPE_UNSPECIFIED:
			return false
		case metivav1.EventType_EVENT_TYPE_PAGE_VIEW, metivav1.EventType_EVENT_TYPE_ENGAGEMENT, metivav1.EventType_EVENT_TYPE_CLICK,
			metivav1.EventType_EVENT_TYPE_FORM, metivav1.EventType_EVENT_TYPE_CUSTOM:
			return true
		}
	}
	return false
}

// ReasonFor says why an event of this type may not be produced;
// REASON_UNSPECIFIED when it may. What holds for the whole request (Reason) comes
// before what holds for the type.
func (d Decision) ReasonFor(kind metivav1.EventType) metivav1.Reason {
	switch {
	case !d.allowed && d.reason == metivav1.Reason_REASON_UNSPECIFIED:
		return metivav1.Reason_REASON_INTERNAL // the zero Decision: nobody has decided
	case !d.allowed:
		return d.reason
	case !Records(d.state, kind):
		return metivav1.Reason_REASON_CONSENT_REQUIRED
	}
	return metivav1.Reason_REASON_UNSPECIFIED
}
