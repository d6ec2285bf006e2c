package clickhouse

import (
	"context"
	"time"

	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// Store writes and looks up the sink's tables. It is safe for concurrent use.
type Store struct {
	conn   *clickhouse.Conn
	labels labels
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
	return &Store{conn: conn, labels: labels{
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

// label names a value; a number of a newer schema is "unknown".
func label[E comparable](names map[E]string, v E) string {
	if s, ok := names[v]; ok {
		return s
	}
	return "unknown"
}

// column collects one value of each row.
func column[R, V any](name string, rows []R, value func(*R) V) clickhouse.Column {
	values := make([]V, len(rows))
	for i := range rows {
		values[i] = value(&rows[i])
	}
	return clickhouse.Column{Name: name, Values: values}
}

// InsertEvents writes rows into events under a deduplication token.
func (s *Store) InsertEvents(ctx context.Context, token string, rows []EventRow) error {
	return s.conn.Insert(ctx, TableEvents, token, s.eventColumns(rows))
}

func (s *Store) eventColumns(rows []EventRow) []clickhouse.Column {
	text := func(name string, value func(*metivav1.EnrichedEvent) string) clickhouse.Column {
		return column(name, rows, func(r *EventRow) string { return value(r.Event) })
	}
	binary := func(name string, value func(*metivav1.EnrichedEvent) []byte) clickhouse.Column {
		return column(name, rows, func(r *EventRow) []byte { return value(r.Event) })
	}
	moment := func(name string, ms func(*metivav1.EnrichedEvent) int64) clickhouse.Column {
		return column(name, rows, func(r *EventRow) time.Time { return time.UnixMilli(ms(r.Event)).UTC() })
	}
	type event = metivav1.EnrichedEvent
	columns := []clickhouse.Column{
		column("tenant_bucket", rows, func(r *EventRow) uint8 { return schemas.TenantBucket(r.Event.GetCompanyId()) }),
		text("company_id", (*event).GetCompanyId),
		text("brand_id", (*event).GetBrandId),
		text("site_id", (*event).GetSiteId),
		binary("event_id", (*event).GetEventId),
		text("type", func(e *event) string { return label(s.labels.types, e.GetType()) }),
		moment("received_at", (*event).GetReceivedAtMs),
		moment("occurred_at", (*event).GetOccurredAtMs),
		moment("enriched_at", (*event).GetEnrichedAtMs),
		text("consent", func(e *event) string { return label(s.labels.consents, e.GetConsent()) }),
		column("consent_seq", rows, func(r *EventRow) uint64 { return r.Event.GetConsentSeq() }),
		binary("visit_key", (*event).GetVisitKey),
		binary("visitor_id", (*event).GetVisitorId),
		text("host", (*event).GetHost),
		text("path", (*event).GetPath),
		text("referrer_host", (*event).GetReferrerHost),
		text("campaign_source", func(e *event) string { return e.GetCampaign().GetSource() }),
		text("campaign_medium", func(e *event) string { return e.GetCampaign().GetMedium() }),
		text("campaign_name", func(e *event) string { return e.GetCampaign().GetName() }),
		text("device", func(e *event) string { return label(s.labels.devices, e.GetDevice()) }),
		text("browser_family", (*event).GetBrowserFamily),
		text("system_family", (*event).GetSystemFamily),
		text("bot", func(e *event) string { return label(s.labels.bots, e.GetBot()) }),
		text("country", (*event).GetCountry),
		text("region", (*event).GetRegion),
		text("channel", func(e *event) string { return labelOrEmpty(s.labels.channels, e.GetChannel()) }),
		text("traffic_source", (*event).GetTrafficSource),
		text("sealed_address", func(e *event) string { return string(e.GetSealedAddress()) }),
		column("source_partition", rows, func(r *EventRow) int32 { return r.Event.GetSource().GetPartition() }),
		column("source_offset", rows, func(r *EventRow) int64 { return r.Event.GetSource().GetOffset() }),
		text("writer_id", (*event).GetWriterId),
		column("retention_days", rows, func(r *EventRow) uint32 { return r.Event.GetRetentionDays() }),
		column("expires_at", rows, func(r *EventRow) time.Time { return r.ExpiresAt }),
		binary("acceptance_id", (*event).GetAcceptanceId),
		column("replayed", rows, func(r *EventRow) bool { return r.Event.GetReplayed() }),
	}
	columns = append(columns, resolutionColumns(s, rows, func(r *EventRow) *metivav1.Resolution { return r.Event.GetResolution() })...)
	return append(columns, s.detailColumns(rows)...)
}

// resolutionColumns are the verdict with its evidence, of events and of visits.
func resolutionColumns[R any](s *Store, rows []R, of func(*R) *metivav1.Resolution) []clickhouse.Column {
	type resolution = metivav1.Resolution
	text := func(name string, value func(*resolution) string) clickhouse.Column {
		return column(name, rows, func(r *R) string { return value(of(r)) })
	}
	return []clickhouse.Column{
		text("verdict", func(r *resolution) string { return label(s.labels.verdicts, r.GetVerdict()) }),
		text("account_id", (*resolution).GetAccountId),
		text("account_name", (*resolution).GetName),
		text("account_domain", (*resolution).GetDomain),
		text("resolution_source", (*resolution).GetSource),
		text("confirmation", func(r *resolution) string { return labelOrEmpty(s.labels.confirms, r.GetConfirmation()) }),
		column("confidence", rows, func(r *R) float32 { return of(r).GetConfidence() }),
		column("asn", rows, func(r *R) uint32 { return of(r).GetAsn() }),
		column("prefix_bits", rows, func(r *R) uint8 { return uint8(of(r).GetPrefixBits()) }),
		column("database_build_at", rows, func(r *R) time.Time { return time.UnixMilli(of(r).GetDatabaseBuildMs()).UTC() }),
	}
}

// detailColumns are empty for the types they do not belong to.
func (s *Store) detailColumns(rows []EventRow) []clickhouse.Column {
	text := func(name string, value func(*metivav1.EnrichedEvent) string) clickhouse.Column {
		return column(name, rows, func(r *EventRow) string { return value(r.Event) })
	}
	type event = metivav1.EnrichedEvent
	return []clickhouse.Column{
		column("engagement_ms", rows, func(r *EventRow) uint32 { return r.Event.GetEngagement().GetVisibleMs() }),
		column("scroll_percent", rows, func(r *EventRow) uint8 { return uint8(r.Event.GetEngagement().GetScrollPercent()) }),
		text("click_kind", func(e *event) string { return labelOrEmpty(s.labels.clicks, e.GetClick().GetKind()) }),
		text("click_host", func(e *event) string { return e.GetClick().GetTargetHost() }),
		text("click_path", func(e *event) string { return e.GetClick().GetTargetPath() }),
		text("form_action", func(e *event) string { return labelOrEmpty(s.labels.actions, e.GetFormAction().GetKind()) }),
		text("form_id", func(e *event) string { return e.GetFormAction().GetFormId() }),
		text("custom_name", func(e *event) string { return e.GetCustom().GetName() }),
		column("custom_properties", rows, func(r *EventRow) map[string]string { return r.Event.GetCustom().GetProperties() }),
	}
}

// labelOrEmpty names a value that an event need not have.
func labelOrEmpty[E ~int32](names map[E]string, v E) string {
	if v == 0 {
		return ""
	}
	return label(names, v)
}

// InsertDrops writes rows into drops under a deduplication token.
func (s *Store) InsertDrops(ctx context.Context, token string, rows []DropRow) error {
	return s.conn.Insert(ctx, TableDrops, token, []clickhouse.Column{
		column("tenant_bucket", rows, func(r *DropRow) uint8 { return schemas.TenantBucket(r.Key.CompanyID) }),
		column("company_id", rows, func(r *DropRow) string { return r.Key.CompanyID }),
		column("site_id", rows, func(r *DropRow) string { return r.SiteID }),
		column("event_id", rows, func(r *DropRow) []byte { return r.Key.EventID[:] }),
		column("received_at", rows, func(r *DropRow) time.Time { return r.ReceivedAt }),
		column("stage", rows, func(r *DropRow) string { return label(s.labels.stages, r.Stage) }),
		column("reason", rows, func(r *DropRow) string { return label(s.labels.reasons, r.Reason) }),
		column("source_partition", rows, func(r *DropRow) int32 { return r.Source.Partition }),
		column("source_offset", rows, func(r *DropRow) int64 { return r.Source.Offset }),
		column("writer_id", rows, func(r *DropRow) string { return r.WriterID }),
		column("acceptance_id", rows, func(r *DropRow) []byte { return r.Acceptance[:] }),
		column("replayed", rows, func(r *DropRow) bool { return r.Replayed }),
	})
}

// InsertLedger writes rows into ledger_edge under a deduplication token.
func (s *Store) InsertLedger(ctx context.Context, token string, rows []LedgerRow) error {
	return s.conn.Insert(ctx, TableLedgerEdge, token, []clickhouse.Column{
		column("tenant_bucket", rows, func(r *LedgerRow) uint8 { return schemas.TenantBucket(r.Message.GetCompanyId()) }),
		column("company_id", rows, func(r *LedgerRow) string { return r.Message.GetCompanyId() }),
		column("site_id", rows, func(r *LedgerRow) string { return r.Message.GetSiteId() }),
		column("minute", rows, func(r *LedgerRow) time.Time { return time.UnixMilli(r.Message.GetMinuteMs()).UTC() }),
		column("stage", rows, func(r *LedgerRow) string { return label(s.labels.stages, r.Message.GetStage()) }),
		column("reason", rows, func(r *LedgerRow) string { return label(s.labels.reasons, r.Message.GetReason()) }),
		column("writer_id", rows, func(r *LedgerRow) string { return r.Message.GetWriterId() }),
		column("count", rows, func(r *LedgerRow) uint64 { return r.Message.GetCount() }),
	})
}
