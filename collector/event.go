package collector

import (
	"errors"
	"fmt"
	"time"

	"github.com/metiva-io/metiva/collector/beacon"
	"github.com/metiva-io/metiva/collector/mask"
	"github.com/metiva-io/metiva/consent"
	"github.com/metiva-io/metiva/pkg/seal"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// incoming is one event as a client sent it.
type incoming struct {
	id       [schemas.IDBytes]byte
	idOK     bool
	kind     metivav1.EventType
	url      []byte
	referrer []byte
	atMs     int64
	sentAtMs int64 // 0 when the client did not say
	complete bool
	sent     *beacon.Event // what it says by its type
}

func incomingOf(e *beacon.Event, sentAtMs int64) incoming {
	in := incoming{
		url: e.URL, referrer: e.Referrer, atMs: e.AtMs, sentAtMs: sentAtMs,
		complete: e.Complete(), kind: eventType(e.Type), sent: e,
	}
	in.id, in.idOK = parseID(e.ID)
	return in
}

// builder is the memory for building and encoding one event.
type builder struct {
	record eventRecord
	// detail has no other fields than its Detail, what an event of another type than
	// a page view adds, and Automated. It is encoded behind the record.
	detail    metivav1.CollectedEvent
	details   *details
	id        [schemas.IDBytes]byte
	visitKey  visitKey
	visitorID [consent.IDBytes]byte
	address   []byte // sealed
	userAgent []byte // sealed
	value     []byte
	key       [1 + schemas.IDBytes]byte
	referrer  []byte
}

func newBuilder() *builder {
	return &builder{
		details:   newDetails(),
		address:   make([]byte, 0, schemas.SealedAddressBytesMax),
		userAgent: make([]byte, 0, schemas.SealedUserAgentBytesMax),
		value:     make([]byte, 0, 2048),
	}
}

// build checks an event and puts it into r.event. The reason is why not.
func (r *request) build(e *incoming) metivav1.Reason {
	if !e.complete || !e.idOK || e.kind == metivav1.EventType_EVENT_TYPE_UNSPECIFIED {
		return metivav1.Reason_REASON_MALFORMED
	}
	if len(e.url) > mask.URLBytesMax || len(e.referrer) > mask.URLBytesMax {
		return metivav1.Reason_REASON_TOO_LARGE
	}
	if err := r.page.Reduce(e.url); err != nil {
		return metivav1.Reason_REASON_MALFORMED
	}
	if !r.site.allows(r.page.Origin) {
		return metivav1.Reason_REASON_ORIGIN_NOT_ALLOWED
	}
	occurredAtMs, reason := r.c.occurredAt(e, r.received)
	if reason != metivav1.Reason_REASON_UNSPECIFIED {
		return reason
	}
	return r.fill(r.decision, e, occurredAtMs)
}

// fill is the only place an event is made, and it takes a Decision: one that
// does not allow its type makes none.
func (r *request) fill(d consent.Decision, e *incoming, occurredAtMs int64) metivav1.Reason {
	if reason := d.ReasonFor(e.kind); reason != metivav1.Reason_REASON_UNSPECIFIED {
		return reason
	}
	b := r.event
	b.id = e.id
	b.visitKey = r.visitKey
	if !r.salted {
		b.visitKey = randomVisitKey()
	}
	b.referrer = mask.AppendReferrerHost(b.referrer[:0], e.referrer)
	// One by one: a composite literal would be made beside it and copied.
	m := &b.record
	m.eventID = b.id[:]
	m.owner = r.site.owner
	m.kind = e.kind
	b.detail.Automated = r.batch.Automated
	m.receivedAtMs, m.occurredAtMs, m.clientAtMs = r.received.UnixMilli(), occurredAtMs, e.atMs
	m.consent, m.consentSeq, m.consentTextVersion = d.State(), d.Sequence(), d.TextVersion()
	m.visitKey, m.visitorID = b.visitKey[:], nil
	if visitor, ok := d.VisitorID(); ok {
		b.visitorID = visitor
		m.visitorID = b.visitorID[:]
	}
	m.host, m.path, m.referrerHost = r.page.Host, r.page.Path, b.referrer
	m.campaignSource, m.campaignMedium, m.campaignName = r.page.Source, r.page.Medium, r.page.Campaign
	m.sealedAddress, m.sealedUserAgent = nil, nil
	m.writer, m.retentionDays = r.c.writer, r.site.retentionDays
	return r.describe(e)
}

// occurredAt corrects the client's time by its own send time: how long ago it
// happened by the client's clock, counted back from its receipt here. It never
// lies after the receipt.
func (c *Collector) occurredAt(e *incoming, received time.Time) (ms int64, reason metivav1.Reason) {
	receivedMs := received.UnixMilli()
	sentMs := e.sentAtMs
	if sentMs == 0 {
		sentMs = receivedMs
	}
	age := sentMs - e.atMs
	switch {
	case age > c.cfg.EventAgeMax.Milliseconds():
		return 0, metivav1.Reason_REASON_TOO_OLD
	case age < -c.cfg.FutureSkewMax.Milliseconds():
		return 0, metivav1.Reason_REASON_FUTURE
	}
	return receivedMs - max(age, 0), metivav1.Reason_REASON_UNSPECIFIED
}

var errRecordTooLarge = errors.New("collector: record is over its limit")

// sealAndEncode seals address and user agent into the event and encodes it.
func (r *request) sealAndEncode(e *incoming) error {
	b := r.event
	binding := seal.Binding{CompanyID: r.site.companyID, SiteID: r.site.siteID, EventID: e.id}
	var err error
	b.address, b.userAgent, err = r.c.sealer.SealVisitor(b.address[:0], b.userAgent[:0], binding, r.address, r.userAgent)
	if err != nil {
		return fmt.Errorf("sealing address and user agent: %w", err)
	}
	b.record.sealedAddress, b.record.sealedUserAgent = b.address, b.userAgent
	if err := b.encode(); err != nil {
		return fmt.Errorf("encoding event: %w", err)
	}
	if len(b.value) > schemas.RecordBytesMax-schemas.ReplayMarkBytes {
		return errRecordTooLarge
	}
	return nil
}

// send hands the encoded event to the producer.
func (r *request) send() (Ack, error) {
	b := r.event
	b.key[0] = r.site.bucket
	copy(b.key[1:], b.visitKey[:])
	partition := schemas.EventPartitionIn(r.site.bucket, b.visitKey[:], r.c.cfg.Partitions)
	return r.c.deps.Producer.Produce(schemas.TopicEventsCollected, partition, b.key[:], b.value)
}

// encode makes the value of the event's record.
func (b *builder) encode() (err error) {
	if b.value, err = b.record.append(b.value[:0]); err != nil || b.detail.Detail == nil && !b.detail.Automated {
		return err
	}
	b.value, err = schemas.Encode(b.value, &b.detail)
	return err
}

// forget clears what belongs to the last event.
func (b *builder) forget() {
	b.record = eventRecord{}
	b.detail.Detail, b.detail.Automated = nil, false
	b.details.forget()
}
