package enrich

import (
	"crypto/sha256"
	"time"

	"github.com/metiva-io/metiva/enrich/company"
	"github.com/metiva-io/metiva/enrich/person"
	"github.com/metiva-io/metiva/pkg/seal"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/eventwire"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// scratch is one partition's memory, reused from event to event. The opened
// agent is in it only while its event is worked on. What enrich returns is in it
// too, until the next event: strings may be kept, messages may not, and byte fields
// keep the whole fetch they came in.
type scratch struct {
	collected eventwire.Collected
	leaving   leaving
	source    metivav1.SourceRef
	agent     []byte
	person    *person.Scratch // nil until the first capture
	agents    *agents
	opening   *seal.Opening
	hosts     *siteCache[[]string] // nil until the first page view
	// reverse has the names of the batch's networks; nil without a resolver.
	reverse company.ReverseNames
	seen    uint
	timed   bool // every event, not one in stepSampleEvery
	// nowMs is what the clock said when it was last read, Unix milliseconds, and holds
	// for some more events.
	nowMs  int64
	nowFor int
}

// clockEvery is for how many events in a row one reading of the clock does: a tenth of
// a millisecond's. A reading costs as much as a hundredth of an event.
const clockEvery = 16

// at is when the present event is enriched.
func (s *scratch) at(now func() time.Time) int64 {
	if s.nowFor == 0 {
		s.nowMs, s.nowFor = now().UnixMilli(), clockEvery
	}
	s.nowFor--
	return s.nowMs
}

// waited says that time has passed since the last event.
func (s *scratch) waited() { s.nowFor = 0 }

func newScratch() *scratch {
	return &scratch{agent: make([]byte, 0, schemas.SealedUserAgentBytesMax), agents: newAgents(), opening: seal.NewOpening()}
}

// forget clears what was opened.
func (s *scratch) forget() {
	s.opening.Forget()
	clear(s.agent[:cap(s.agent)])
	s.agent = s.agent[:0]
}

// isTimed reports whether the steps of the present event are timed.
func (s *scratch) isTimed() bool { return s.timed || s.seen%stepSampleEvery == 0 }

// sourceOf is the record's identity.
func (s *scratch) sourceOf(partition int, offset int64) *metivav1.SourceRef {
	s.source.Partition, s.source.Offset = int32(partition), offset
	return &s.source
}

// leaving is the memory of the one enriched event under way and its parts.
type leaving struct {
	event      metivav1.EnrichedEvent
	resolution metivav1.Resolution
	acceptance [sha256.Size]byte
	record     metivav1.EnrichedRecord
	ofEvent    metivav1.EnrichedRecord_Event

	engagement metivav1.EnrichedEvent_Engagement
	click      metivav1.EnrichedEvent_Click
	form       metivav1.EnrichedEvent_FormAction
	captured   metivav1.FormAction
	custom     metivav1.EnrichedEvent_Custom
}

// take carries over what the steps do not change.
func (l *leaving) take(e *metivav1.CollectedEvent, from *metivav1.SourceRef) *metivav1.EnrichedEvent {
	out := &l.event
	// As Reset, but for what reflection needs, which sees to that itself.
	*out, l.resolution = metivav1.EnrichedEvent{}, metivav1.Resolution{}
	out.EventId, out.CompanyId, out.BrandId, out.SiteId = e.GetEventId(), e.GetCompanyId(), e.GetBrandId(), e.GetSiteId()
	out.Type, out.ReceivedAtMs, out.OccurredAtMs = e.GetType(), e.GetReceivedAtMs(), e.GetOccurredAtMs()
	out.Consent, out.ConsentSeq, out.VisitKey, out.VisitorId = e.GetConsent(), e.GetConsentSeq(), e.GetVisitKey(), e.GetVisitorId()
	out.Host, out.Path, out.ReferrerHost, out.Campaign = e.GetHost(), e.GetPath(), e.GetReferrerHost(), e.GetCampaign()
	out.SealedAddress, out.Source, out.WriterId, out.RetentionDays = e.GetSealedAddress(), from, e.GetWriterId(), e.GetRetentionDays()
	out.Resolution, out.Replayed, out.AcceptanceId = &l.resolution, e.GetReplayed(), acceptanceID(e, &l.acceptance)
	l.copyDetail(e)
	return out
}

// copyDetail carries over what the event says. Of a capture that is that the form
// was submitted: its sealed values, subject and consent record have no place among
// the events.
func (l *leaving) copyDetail(e *metivav1.CollectedEvent) {
	switch d := e.GetDetail().(type) {
	case *metivav1.CollectedEvent_Engagement:
		l.engagement.Engagement = d.Engagement
		l.event.Detail = &l.engagement
	case *metivav1.CollectedEvent_Click:
		l.click.Click = d.Click
		l.event.Detail = &l.click
	case *metivav1.CollectedEvent_FormAction:
		l.form.FormAction = d.FormAction
		l.event.Detail = &l.form
	case *metivav1.CollectedEvent_Custom:
		l.custom.Custom = d.Custom
		l.event.Detail = &l.custom
	case *metivav1.CollectedEvent_FormCapture:
		l.captured.Kind, l.captured.FormId = metivav1.FormActionKind_FORM_ACTION_KIND_SUBMIT, d.FormCapture.GetFormId()
		l.form.FormAction = &l.captured
		l.event.Detail = &l.form
	}
}

// wrapped is the event as the value of a record on events.enriched.
func (l *leaving) wrapped() *metivav1.EnrichedRecord {
	l.ofEvent.Event = &l.event
	l.record.Kind = &l.ofEvent
	return &l.record
}

// acceptanceID names what the collector accepted once, however often it sends
// it: a copy from the spool is the same sealed bytes, and no two seals are alike,
// since each has a nonce of its own. It is the beginning of sum, or nil when the
// record holds no sealed address.
func acceptanceID(e *metivav1.CollectedEvent, sum *[sha256.Size]byte) []byte {
	if len(e.GetSealedAddress()) == 0 {
		return nil
	}
	*sum = sha256.Sum256(e.GetSealedAddress())
	return sum[:schemas.IDBytes]
}
