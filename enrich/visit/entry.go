package visit

import (
	"bytes"
	"strings"

	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// ID is the id of an event or a visit, or a key.
type ID = [schemas.IDBytes]byte

// Campaign is a campaign's parameters.
type Campaign struct{ Source, Medium, Name string }

func (c Campaign) isZero() bool { return c == Campaign{} }

// clone has memory of its own.
func (c Campaign) clone() Campaign {
	return Campaign{strings.Clone(c.Source), strings.Clone(c.Medium), strings.Clone(c.Name)}
}

// Entry is what a visit needs of one event.
type Entry struct {
	ID       ID
	VisitKey ID
	// AtMs is when the event occurred, ReceivedMs when the collector had it, Unix
	// milliseconds.
	AtMs, ReceivedMs int64
	// Offset of its record on events.collected.
	Offset  int64
	Type    metivav1.EventType
	Consent metivav1.ConsentState

	Host, Path, Referrer string
	Channel              metivav1.Channel
	Source               string
	Campaign             Campaign

	VisibleMs, ScrollPercent uint32
	Click                    metivav1.ClickKind
	Form                     metivav1.FormActionKind
	// Name of the form or the custom event.
	Name string

	Device                           metivav1.DeviceClass
	Browser, System, Country, Region string
	// Resolution is shared with the event and never changed.
	Resolution    *metivav1.Resolution
	RetentionDays uint32
}

// EntryOf takes from an enriched event what visits need. The event's texts and its
// resolution are shared, not copied. The event's ids must be of their length.
func EntryOf(e *metivav1.EnrichedEvent, offset int64) Entry {
	var out Entry
	out.set(e, offset)
	return out
}

func (e *Entry) set(from *metivav1.EnrichedEvent, offset int64) {
	c := from.GetCampaign()
	*e = Entry{
		ID: ID(from.GetEventId()), VisitKey: ID(from.GetVisitKey()),
		AtMs: from.GetOccurredAtMs(), ReceivedMs: from.GetReceivedAtMs(), Offset: offset,
		Type: from.GetType(), Consent: from.GetConsent(),
		Host: from.GetHost(), Path: from.GetPath(), Referrer: from.GetReferrerHost(), Channel: from.GetChannel(), Source: from.GetTrafficSource(),
		Campaign: Campaign{c.GetSource(), c.GetMedium(), c.GetName()},
		Device:   from.GetDevice(), Browser: from.GetBrowserFamily(), System: from.GetSystemFamily(), Country: from.GetCountry(), Region: from.GetRegion(),
		Resolution: from.GetResolution(), RetentionDays: from.GetRetentionDays(),
	}
	switch d := from.GetDetail().(type) {
	case *metivav1.EnrichedEvent_Engagement:
		e.VisibleMs, e.ScrollPercent = d.Engagement.GetVisibleMs(), d.Engagement.GetScrollPercent()
	case *metivav1.EnrichedEvent_Click:
		e.Click = d.Click.GetKind()
	case *metivav1.EnrichedEvent_FormAction:
		e.Form, e.Name = d.FormAction.GetKind(), d.FormAction.GetFormId()
	case *metivav1.EnrichedEvent_Custom:
		e.Name = d.Custom.GetName()
	}
}

func (e *Entry) isPageView() bool { return e.Type == metivav1.EventType_EVENT_TYPE_PAGE_VIEW }

// fromMs is when what the event tells of began: an engagement covers the time the
// page was visible.
func (e *Entry) fromMs() int64 { return e.AtMs - int64(e.VisibleMs) }

// account is the company the event names, or none.
func (e *Entry) account() string {
	if e.Resolution.GetVerdict() != metivav1.Verdict_VERDICT_COMPANY {
		return ""
	}
	return e.Resolution.GetAccountId()
}

// before orders entries by time, then by id.
func (e *Entry) before(other *Entry) bool { return comesBefore(e.AtMs, &e.ID, other.AtMs, &other.ID) }

func comesBefore(aMs int64, a *ID, bMs int64, b *ID) bool {
	if aMs != bMs {
		return aMs < bMs
	}
	return bytes.Compare(a[:], b[:]) < 0
}

// texts are the fields that hold text of the event.
func (e *Entry) texts() [12]*string {
	return [...]*string{
		&e.Host, &e.Path, &e.Referrer, &e.Source, &e.Campaign.Source, &e.Campaign.Medium, &e.Campaign.Name, &e.Name,
		&e.Browser, &e.System, &e.Country, &e.Region,
	}
}

// resolutionBytes is about what a resolution takes in a record.
const resolutionBytes = 128

// replaces reports whether an event of these times counts rather than one with the
// same id.
func replaces(atMs, receivedMs int64, known *row) bool {
	if atMs != known.atMs {
		return atMs < known.atMs
	}
	return receivedMs < known.receivedMs
}
