package source

import (
	"bytes"

	"github.com/metiva-io/metiva/schemas/metivav1"
)

// Touch is what brought a visitor to a page.
type Touch struct {
	// AtMs is when the page view occurred, Unix milliseconds; EventID tells two of one
	// millisecond apart.
	AtMs    int64
	EventID [16]byte
	Channel metivav1.Channel
	// Source is the traffic's source (Answer.Source), CampaignSource the campaign's as it
	// came.
	Source         string
	CampaignSource string
	Medium         string
	Name           string
	Referrer       string
}

// TouchOf is the touch of an event; ok is false when it has none: another type than
// a page view, a page of the same site, or an automated visitor.
func TouchOf(e *metivav1.EnrichedEvent) (touch Touch, ok bool) {
	c := e.GetChannel()
	if c == metivav1.Channel_CHANNEL_UNSPECIFIED || c == metivav1.Channel_CHANNEL_INTERNAL {
		return Touch{}, false
	}
	if e.GetBot() != metivav1.BotClass_BOT_CLASS_NONE || len(e.GetEventId()) != len(touch.EventID) {
		return Touch{}, false
	}
	return Touch{
		AtMs: e.GetOccurredAtMs(), EventID: [16]byte(e.GetEventId()), Channel: c,
		Source: e.GetTrafficSource(), CampaignSource: e.GetCampaign().GetSource(), Referrer: e.GetReferrerHost(), Medium: e.GetCampaign().GetMedium(), Name: e.GetCampaign().GetName(),
	}, true
}

// isDirect reports whether nothing is known to have brought the visitor.
func (t Touch) isDirect() bool { return t.Channel == metivav1.Channel_CHANNEL_DIRECT }

func (t Touch) isZero() bool { return t.Channel == metivav1.Channel_CHANNEL_UNSPECIFIED }

// before orders touches by time, then by id.
func (t Touch) before(other Touch) bool {
	if t.AtMs != other.AtMs {
		return t.AtMs < other.AtMs
	}
	return bytes.Compare(t.EventID[:], other.EventID[:]) < 0
}

// Touches is the first and the last touch of a visit. The zero value has none.
// Whatever the order in which touches are added, and however often each, the
// outcome is the same.
type Touches struct {
	// First is the earliest.
	First Touch
	// Last is the latest that is not direct, else the latest: coming back by the
	// address bar does not take the merit from the campaign ("last non-direct click").
	Last Touch
}

// Add takes one more touch in.
func (s Touches) Add(t Touch) Touches { return s.Merge(Touches{First: t, Last: t}) }

// Merge takes the touches of another part of the same visit in.
func (s Touches) Merge(other Touches) Touches {
	if !other.First.isZero() && (s.First.isZero() || other.First.before(s.First)) {
		s.First = other.First
	}
	if isLater(s.Last, other.Last) {
		s.Last = other.Last
	}
	return s
}

// isLater reports whether b is rather the last touch than a.
func isLater(a, b Touch) bool {
	switch {
	case b.isZero():
		return false
	case a.isZero():
		return true
	case a.isDirect() != b.isDirect():
		return a.isDirect()
	}
	return a.before(b)
}
