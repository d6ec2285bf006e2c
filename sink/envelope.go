package sink

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/metiva-io/metiva/consent"
	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/eventwire"
	"github.com/metiva-io/metiva/schemas/metivav1"
	store "github.com/metiva-io/metiva/sink/clickhouse"
)

// item is one record of events.enriched as the sink sees it.
type item struct {
	record   *kafka.Record
	identity store.Identity
	// Exactly one is set: the event to write, or the drop.
	event *metivav1.EnrichedEvent
	drop  *store.DropRow
	// dead means that the record also goes to events.dead, and visitorID is whose it is
	// then, as far as it could be read.
	dead      bool
	visitorID []byte
	// What the record is a copy of, and whether the collector had sent it before.
	acceptance store.Acceptance
	replayed   bool
	// revives: it is an event after all of an acceptance that was dead letters. hasRow:
	// the record itself has a row among the drops, and was put back.
	revives, hasRow bool
}

// wanted is what to look up of the record.
func (it *item) wanted() store.Wanted {
	w := store.Wanted{Identity: it.identity, Acceptance: it.acceptance.ID}
	if it.drop != nil {
		w.ReceivedAt = it.drop.ReceivedAt
	} else {
		w.ReceivedAt = time.UnixMilli(it.event.GetReceivedAtMs()).UTC()
	}
	return w
}

// isReplay reports whether the event was enriched again: the row it has is then
// replaced. A drop replaces nothing.
func (it *item) isReplay() bool {
	return it.event != nil && slices.ContainsFunc(it.record.Headers, func(h kafka.Header) bool { return h.Key == schemas.HeaderReplay })
}

const (
	idTextBytesMax   = 64
	writerIDBytesMax = 128
	nameBytesMax     = 512
	labelBytesMax    = 64
	regionBytesMax   = 6 // ISO 3166-2
	// Times are stored in 32 bits of seconds in places (2106).
	timeMsMax = 4_102_444_800_000 // 2100-01-01
)

// readItem decodes a record, an event into memory of the batch. What breaks the
// envelope's rules becomes a drop with what is known of it.
func readItem(record *kafka.Record, memory *eventwire.Enriched) item {
	e, drop, err := memory.Decode(record.Value)
	switch {
	case err != nil:
		return invalid(record, nil)
	case e != nil:
		if checkEvent(e) != nil {
			it := invalid(record, &metivav1.Drop{
				EventId: e.GetEventId(), CompanyId: e.GetCompanyId(), SiteId: e.GetSiteId(),
				ReceivedAtMs: e.GetReceivedAtMs(), Source: e.GetSource(), WriterId: e.GetWriterId(),
				Replayed: e.GetReplayed(), AcceptanceId: e.GetAcceptanceId(),
			})
			it.visitorID = e.GetVisitorId()
			return it
		}
		return item{
			record: record, event: e, replayed: e.GetReplayed(), acceptance: acceptanceOf(e.GetCompanyId(), e.GetAcceptanceId()),
			identity: store.Identity{
				Key:    store.EventKey{CompanyID: e.GetCompanyId(), EventID: [schemas.IDBytes]byte(e.GetEventId())},
				Source: store.Source{Partition: e.GetSource().GetPartition(), Offset: e.GetSource().GetOffset()},
			},
		}
	case drop != nil:
		if checkDrop(drop) != nil {
			return invalid(record, drop)
		}
		return dropItem(record, drop)
	default:
		return invalid(record, nil)
	}
}

// invalid is a record for events.dead. Of what it claims, only what has its
// proper form is kept.
func invalid(record *kafka.Record, claimed *metivav1.Drop) item {
	d := &metivav1.Drop{
		Stage:  metivav1.Stage_STAGE_SINK,
		Reason: metivav1.Reason_REASON_INVALID_RECORD,
		Source: &metivav1.SourceRef{Partition: int32(-1 - record.Partition), Offset: record.Offset},
	}
	if checkSource(claimed.GetSource()) == nil {
		d.Source = claimed.GetSource()
	}
	if len(claimed.GetEventId()) == schemas.IDBytes {
		d.EventId = claimed.GetEventId()
	}
	if isID(claimed.GetCompanyId()) {
		d.CompanyId = claimed.GetCompanyId()
	}
	if isID(claimed.GetSiteId()) {
		d.SiteId = claimed.GetSiteId()
	}
	if isTime(claimed.GetReceivedAtMs()) {
		d.ReceivedAtMs = claimed.GetReceivedAtMs()
	}
	if len(claimed.GetWriterId()) <= writerIDBytesMax {
		d.WriterId = claimed.GetWriterId()
	}
	if len(claimed.GetAcceptanceId()) == schemas.IDBytes {
		d.AcceptanceId, d.Replayed = claimed.GetAcceptanceId(), claimed.GetReplayed()
	}
	i := dropItem(record, d)
	i.dead = true
	return i
}

func dropItem(record *kafka.Record, d *metivav1.Drop) item {
	row := &store.DropRow{
		Position:   record.Offset,
		Key:        store.EventKey{CompanyID: d.GetCompanyId()},
		SiteID:     d.GetSiteId(),
		ReceivedAt: time.UnixMilli(d.GetReceivedAtMs()).UTC(),
		Stage:      d.GetStage(),
		Reason:     d.GetReason(),
		Source:     store.Source{Partition: d.GetSource().GetPartition(), Offset: d.GetSource().GetOffset()},
		WriterID:   d.GetWriterId(),
		Replayed:   d.GetReplayed(),
	}
	acceptance := acceptanceOf(d.GetCompanyId(), d.GetAcceptanceId())
	row.Acceptance = acceptance.ID
	copy(row.Key.EventID[:], d.GetEventId())
	if d.GetReceivedAtMs() == 0 {
		// The time of the record is the closest known.
		row.ReceivedAt = record.Time.UTC().Truncate(time.Millisecond)
	}
	return item{
		record: record, drop: row, identity: store.Identity{Key: row.Key, Source: row.Source},
		acceptance: acceptance, replayed: d.GetReplayed(),
	}
}

func acceptanceOf(companyID string, id []byte) store.Acceptance {
	a := store.Acceptance{CompanyID: companyID}
	copy(a.ID[:], id)
	return a
}

var errEnvelope = errors.New("breaks the envelope")

// checkEvent holds an event to the rules of the envelope (schemas: event.proto
// and limits.go). An error names the field, never its value.
func checkEvent(e *metivav1.EnrichedEvent) error {
	person := e.GetConsent() == metivav1.ConsentState_CONSENT_STATE_ANALYTICS || e.GetConsent() == metivav1.ConsentState_CONSENT_STATE_IDENTIFIED
	for _, rule := range []struct {
		field string
		ok    bool
	}{
		{"event_id", len(e.GetEventId()) == schemas.IDBytes},
		{"company_id", isID(e.GetCompanyId())},
		{"brand_id", e.GetBrandId() == "" || isID(e.GetBrandId())},
		{"site_id", isID(e.GetSiteId())},
		{"received_at_ms", isTime(e.GetReceivedAtMs()) && e.GetReceivedAtMs() > 0},
		{"occurred_at_ms", isTime(e.GetOccurredAtMs())},
		{"enriched_at_ms", isTime(e.GetEnrichedAtMs())},
		{"visit_key", len(e.GetVisitKey()) == schemas.IDBytes},
		{"visitor_id", len(e.GetVisitorId()) == 0 || len(e.GetVisitorId()) == schemas.IDBytes && person},
		{"host", len(e.GetHost()) <= schemas.HostBytesMax},
		{"path", len(e.GetPath()) <= schemas.PathBytesMax},
		{"referrer_host", len(e.GetReferrerHost()) <= schemas.HostBytesMax},
		{"campaign", fits(schemas.CampaignFieldBytesMax, e.GetCampaign().GetSource(), e.GetCampaign().GetMedium(), e.GetCampaign().GetName())},
		{"families", fits(labelBytesMax, e.GetBrowserFamily(), e.GetSystemFamily())},
		{"traffic_source", len(e.GetTrafficSource()) <= schemas.HostBytesMax},
		{"country", len(e.GetCountry()) == 0 || len(e.GetCountry()) == 2},
		{"region", e.GetRegion() == "" || len(e.GetRegion()) <= regionBytesMax && person},
		{"resolution", checkResolution(e.GetResolution()) == nil},
		{"sealed_address", len(e.GetSealedAddress()) <= schemas.SealedAddressBytesMax},
		{"writer_id", len(e.GetWriterId()) <= writerIDBytesMax},
		{"retention_days", e.GetRetentionDays() <= retentionDays},
		{"detail", schemas.DetailFits(e)},
		{"consent", consent.Records(e.GetConsent(), e.GetType())},
		{"acceptance_id", len(e.GetAcceptanceId()) == 0 || len(e.GetAcceptanceId()) == schemas.IDBytes},
	} {
		if !rule.ok {
			return fmt.Errorf("%w: %s", errEnvelope, rule.field)
		}
	}
	return checkSource(e.GetSource())
}

// checkResolution holds a verdict to its rules: a name only with a verdict that
// allows it.
func checkResolution(r *metivav1.Resolution) error {
	named := r.GetAccountId() != "" || r.GetName() != "" || r.GetDomain() != ""
	for _, rule := range []struct {
		field string
		ok    bool
	}{
		{"resolution names", fits(nameBytesMax, r.GetAccountId(), r.GetName(), r.GetDomain()) && fits(labelBytesMax, r.GetSource())},
		{"confirmation", r.GetConfirmation() == 0 || r.GetVerdict() == metivav1.Verdict_VERDICT_COMPANY},
		{"resolution verdict", !named || r.GetVerdict() == metivav1.Verdict_VERDICT_COMPANY},
		{"confidence", r.GetConfidence() >= 0 && r.GetConfidence() <= 1},
		{"prefix_bits", r.GetPrefixBits() <= 128},
		{"database_build_ms", isTime(r.GetDatabaseBuildMs())},
	} {
		if !rule.ok {
			return fmt.Errorf("%w: %s", errEnvelope, rule.field)
		}
	}
	return nil
}

// checkDrop is laxer: a drop may be all that is known of a record that could
// not be read.
func checkDrop(d *metivav1.Drop) error {
	for _, rule := range []struct {
		field string
		ok    bool
	}{
		{"event_id", len(d.GetEventId()) == 0 || len(d.GetEventId()) == schemas.IDBytes},
		{"company_id", d.GetCompanyId() == "" || isID(d.GetCompanyId())},
		{"site_id", d.GetSiteId() == "" || isID(d.GetSiteId())},
		{"received_at_ms", isTime(d.GetReceivedAtMs())},
		{"reason", d.GetReason() != metivav1.Reason_REASON_UNSPECIFIED},
		{"writer_id", len(d.GetWriterId()) <= writerIDBytesMax},
		{"acceptance_id", len(d.GetAcceptanceId()) == 0 || len(d.GetAcceptanceId()) == schemas.IDBytes},
	} {
		if !rule.ok {
			return fmt.Errorf("%w: %s", errEnvelope, rule.field)
		}
	}
	return checkSource(d.GetSource())
}

// checkLedgerEntry holds a ledger entry to its rules.
func checkLedgerEntry(l *metivav1.LedgerEntry) error {
	for _, rule := range []struct {
		field string
		ok    bool
	}{
		{"company_id", l.GetCompanyId() == "" || isID(l.GetCompanyId())},
		{"site_id", l.GetSiteId() == "" || isID(l.GetSiteId())},
		{"minute_ms", isTime(l.GetMinuteMs()) && l.GetMinuteMs() > 0 && l.GetMinuteMs()%time.Minute.Milliseconds() == 0},
		{"writer_id", l.GetWriterId() != "" && len(l.GetWriterId()) <= writerIDBytesMax},
	} {
		if !rule.ok {
			return fmt.Errorf("%w: %s", errEnvelope, rule.field)
		}
	}
	return nil
}

func checkSource(s *metivav1.SourceRef) error {
	if s == nil || s.GetPartition() < 0 || s.GetOffset() < 0 {
		return fmt.Errorf("%w: source", errEnvelope)
	}
	return nil
}

// isID reports whether s has the form of our ids: lower-case letters, digits
// and underscores.
func isID(s string) bool {
	if s == "" || len(s) > idTextBytesMax {
		return false
	}
	for _, c := range []byte(s) {
		if c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}

func isTime(ms int64) bool { return ms >= 0 && ms < timeMsMax }

func fits(bytesMax int, values ...string) bool {
	for _, v := range values {
		if len(v) > bytesMax {
			return false
		}
	}
	return true
}
