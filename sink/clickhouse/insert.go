package clickhouse

import (
	"context"
	"hash/fnv"
	"slices"

	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// Store writes and looks up the sink's tables. It is safe for concurrent use.
type Store struct {
	conn   *clickhouse.Conn
	labels labels
	events free[*eventBlock]
	insert *clickhouse.Inserter // into events
}

// eventBlock is the memory of an insert into events.
type eventBlock struct {
	*table[EventRow]
	marks []uint64 // of the column batch
}

// labels are the names of the enums, which ClickHouse stores as text.
type labels struct {
	types    map[metivav1.EventType]string
	consents map[metivav1.ConsentState]string
	devices  map[metivav1.DeviceClass]string
	bots     map[metivav1.BotClass]string
	channels map[metivav1.Channel]string
	verdicts map[metivav1.Verdict]string
	confirms map[metivav1.Confirmation]string
	stages   map[metivav1.Stage]string
	reasons  map[metivav1.Reason]string
	clicks   map[metivav1.ClickKind]string
	actions  map[metivav1.FormActionKind]string
}

// New makes a store on a connection whose database was migrated.
func New(conn *clickhouse.Conn) *Store {
	return &Store{conn: conn, insert: conn.Inserter(TableEvents), labels: labels{
		types:    schemas.Labels(metivav1.EventType(0)),
		consents: schemas.Labels(metivav1.ConsentState(0)),
		devices:  schemas.Labels(metivav1.DeviceClass(0)),
		bots:     schemas.Labels(metivav1.BotClass(0)),
		channels: schemas.Labels(metivav1.Channel(0)),
		verdicts: schemas.Labels(metivav1.Verdict(0)),
		confirms: schemas.Labels(metivav1.Confirmation(0)),
		stages:   schemas.Labels(metivav1.Stage(0)),
		reasons:  schemas.Labels(metivav1.Reason(0)),
		clicks:   schemas.Labels(metivav1.ClickKind(0)),
		actions:  schemas.Labels(metivav1.FormActionKind(0)),
	}}
}

// InsertEvents writes rows into events under a deduplication token.
func (s *Store) InsertEvents(ctx context.Context, token string, rows []EventRow) error {
	t, ok := s.events.take()
	if !ok {
		t = &eventBlock{table: s.eventTable()}
	}
	defer func() { t.reset(); s.events.give(t) }()
	t.marks = slices.Grow(t.marks[:0], len(rows))[:len(rows)]
	mark := Mark(token)
	for i := range t.marks {
		t.marks[i] = mark
	}
	return s.insert.Insert(ctx, token, append(t.columns(rows), clickhouse.Column{Name: "batch", Values: t.marks}))
}

// Mark is what the rows of an insert with this token have in the column batch; never 0.
func Mark(token string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(token)) // never fails
	return max(h.Sum64(), 1)
}

func (s *Store) eventTable() *table[EventRow] {
	type event = metivav1.EnrichedEvent
	text := func(name string, value func(*event) string) source[EventRow] {
		return word(name, func(r *EventRow) string { return value(r.Event) })
	}
	binary := func(name string, value func(*event) []byte) source[EventRow] {
		return column(name, func(r *EventRow) []byte { return value(r.Event) })
	}
	moment := func(name string, ms func(*event) int64) source[EventRow] {
		return column(name, func(r *EventRow) int64 { return ms(r.Event) })
	}
	sources := []source[EventRow]{
		column("tenant_bucket", func(r *EventRow) uint8 { return schemas.TenantBucket(r.Event.GetCompanyId()) }),
		text("company_id", (*event).GetCompanyId),
		text("brand_id", (*event).GetBrandId),
		text("site_id", (*event).GetSiteId),
		binary("event_id", (*event).GetEventId),
		label("type", s.labels.types, func(r *EventRow) metivav1.EventType { return r.Event.GetType() }),
		moment("received_at", (*event).GetReceivedAtMs),
		moment("occurred_at", (*event).GetOccurredAtMs),
		moment("enriched_at", (*event).GetEnrichedAtMs),
		label("consent", s.labels.consents, func(r *EventRow) metivav1.ConsentState { return r.Event.GetConsent() }),
		column("consent_seq", func(r *EventRow) uint64 { return r.Event.GetConsentSeq() }),
		binary("visit_key", (*event).GetVisitKey),
		binary("visitor_id", (*event).GetVisitorId),
		text("host", (*event).GetHost),
		column("path", func(r *EventRow) string { return r.Event.GetPath() }),
		text("referrer_host", (*event).GetReferrerHost),
		text("campaign_source", func(e *event) string { return e.GetCampaign().GetSource() }),
		text("campaign_medium", func(e *event) string { return e.GetCampaign().GetMedium() }),
		text("campaign_name", func(e *event) string { return e.GetCampaign().GetName() }),
		label("device", s.labels.devices, func(r *EventRow) metivav1.DeviceClass { return r.Event.GetDevice() }),
		text("browser_family", (*event).GetBrowserFamily),
		text("system_family", (*event).GetSystemFamily),
		label("bot", s.labels.bots, func(r *EventRow) metivav1.BotClass { return r.Event.GetBot() }),
		text("country", (*event).GetCountry),
		text("region", (*event).GetRegion),
		labelOrEmpty("channel", s.labels.channels, func(r *EventRow) metivav1.Channel { return r.Event.GetChannel() }),
		text("traffic_source", (*event).GetTrafficSource),
		binary("sealed_address", (*event).GetSealedAddress),
		column("source_partition", func(r *EventRow) int32 { return r.Event.GetSource().GetPartition() }),
		column("source_offset", func(r *EventRow) int64 { return r.Event.GetSource().GetOffset() }),
		text("writer_id", (*event).GetWriterId),
		column("retention_days", func(r *EventRow) uint32 { return r.Event.GetRetentionDays() }),
		column("expires_at", func(r *EventRow) int64 { return r.ExpiresAt.Unix() }),
		binary("acceptance_id", (*event).GetAcceptanceId),
		column("replayed", func(r *EventRow) bool { return r.Event.GetReplayed() }),
	}
	sources = append(sources, resolutionSources(s, func(r *EventRow) *metivav1.Resolution { return r.Event.GetResolution() })...)
	return &table[EventRow]{append(sources, s.detailSources()...)}
}

// resolutionSources are the verdict with its evidence, of events and of visits.
func resolutionSources[R any](s *Store, of func(*R) *metivav1.Resolution) []source[R] {
	type resolution = metivav1.Resolution
	text := func(name string, value func(*resolution) string) source[R] {
		return column(name, func(r *R) string { return value(of(r)) })
	}
	return []source[R]{
		label("verdict", s.labels.verdicts, func(r *R) metivav1.Verdict { return of(r).GetVerdict() }),
		text("account_id", (*resolution).GetAccountId),
		text("account_name", (*resolution).GetName),
		text("account_domain", (*resolution).GetDomain),
		word("resolution_source", func(r *R) string { return of(r).GetSource() }),
		labelOrEmpty("confirmation", s.labels.confirms, func(r *R) metivav1.Confirmation { return of(r).GetConfirmation() }),
		column("confidence", func(r *R) float32 { return of(r).GetConfidence() }),
		column("asn", func(r *R) uint32 { return of(r).GetAsn() }),
		column("prefix_bits", func(r *R) uint8 { return uint8(of(r).GetPrefixBits()) }),
		column("database_build_at", func(r *R) int64 { return of(r).GetDatabaseBuildMs() / 1000 }),
	}
}

// detailSources are empty for the types they do not belong to.
func (s *Store) detailSources() []source[EventRow] {
	type event = metivav1.EnrichedEvent
	text := func(name string, value func(*event) string) source[EventRow] {
		return word(name, func(r *EventRow) string { return value(r.Event) })
	}
	return []source[EventRow]{
		column("engagement_ms", func(r *EventRow) uint32 { return r.Event.GetEngagement().GetVisibleMs() }),
		column("scroll_percent", func(r *EventRow) uint8 { return uint8(r.Event.GetEngagement().GetScrollPercent()) }),
		labelOrEmpty("click_kind", s.labels.clicks, func(r *EventRow) metivav1.ClickKind { return r.Event.GetClick().GetKind() }),
		text("click_host", func(e *event) string { return e.GetClick().GetTargetHost() }),
		column("click_path", func(r *EventRow) string { return r.Event.GetClick().GetTargetPath() }),
		labelOrEmpty("form_action", s.labels.actions, func(r *EventRow) metivav1.FormActionKind { return r.Event.GetFormAction().GetKind() }),
		text("form_id", func(e *event) string { return e.GetFormAction().GetFormId() }),
		text("custom_name", func(e *event) string { return e.GetCustom().GetName() }),
		propertiesColumn("custom_properties", func(r *EventRow) map[string]string { return r.Event.GetCustom().GetProperties() }),
	}
}

// InsertDrops writes rows into drops under a deduplication token.
func (s *Store) InsertDrops(ctx context.Context, token string, rows []DropRow) error {
	return s.conn.Insert(ctx, TableDrops, token, s.dropTable().columns(rows))
}

func (s *Store) dropTable() *table[DropRow] {
	return &table[DropRow]{[]source[DropRow]{
		column("tenant_bucket", func(r *DropRow) uint8 { return schemas.TenantBucket(r.Key.CompanyID) }),
		word("company_id", func(r *DropRow) string { return r.Key.CompanyID }),
		word("site_id", func(r *DropRow) string { return r.SiteID }),
		column("event_id", func(r *DropRow) []byte { return r.Key.EventID[:] }),
		column("received_at", func(r *DropRow) int64 { return r.ReceivedAt.UnixMilli() }),
		label("stage", s.labels.stages, func(r *DropRow) metivav1.Stage { return r.Stage }),
		label("reason", s.labels.reasons, func(r *DropRow) metivav1.Reason { return r.Reason }),
		column("source_partition", func(r *DropRow) int32 { return r.Source.Partition }),
		column("source_offset", func(r *DropRow) int64 { return r.Source.Offset }),
		word("writer_id", func(r *DropRow) string { return r.WriterID }),
		column("acceptance_id", func(r *DropRow) []byte { return r.Acceptance[:] }),
		column("replayed", func(r *DropRow) bool { return r.Replayed }),
	}}
}

// InsertLedger writes rows into ledger_edge under a deduplication token.
func (s *Store) InsertLedger(ctx context.Context, token string, rows []LedgerRow) error {
	return s.conn.Insert(ctx, TableLedgerEdge, token, s.ledgerTable().columns(rows))
}

func (s *Store) ledgerTable() *table[LedgerRow] {
	return &table[LedgerRow]{[]source[LedgerRow]{
		column("tenant_bucket", func(r *LedgerRow) uint8 { return schemas.TenantBucket(r.Message.GetCompanyId()) }),
		word("company_id", func(r *LedgerRow) string { return r.Message.GetCompanyId() }),
		word("site_id", func(r *LedgerRow) string { return r.Message.GetSiteId() }),
		column("minute", func(r *LedgerRow) int64 { return r.Message.GetMinuteMs() / 1000 }),
		label("stage", s.labels.stages, func(r *LedgerRow) metivav1.Stage { return r.Message.GetStage() }),
		label("reason", s.labels.reasons, func(r *LedgerRow) metivav1.Reason { return r.Message.GetReason() }),
		word("writer_id", func(r *LedgerRow) string { return r.Message.GetWriterId() }),
		column("count", func(r *LedgerRow) uint64 { return r.Message.GetCount() }),
	}}
}
