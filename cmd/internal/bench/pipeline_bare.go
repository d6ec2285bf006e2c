package bench

import (
	"time"

	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// bareColumns gathers the columns of the table events in the plainest way: a slice
// of Go values for each. It is the measure of the sink and shares none of its code.
func bareColumns(rows []*metivav1.EnrichedEvent) []clickhouse.Column {
	type event = metivav1.EnrichedEvent
	labels := bareLabels{
		types: schemas.Labels(metivav1.EventType(0)), consents: schemas.Labels(metivav1.ConsentState(0)), devices: schemas.Labels(metivav1.DeviceClass(0)),
		bots: schemas.Labels(metivav1.BotClass(0)), channels: schemas.Labels(metivav1.Channel(0)), verdicts: schemas.Labels(metivav1.Verdict(0)),
		clicks: schemas.Labels(metivav1.ClickKind(0)), actions: schemas.Labels(metivav1.FormActionKind(0)),
	}
	expires := func(e *event) time.Time {
		return time.UnixMilli(e.GetReceivedAtMs()).UTC().AddDate(0, 0, int(e.GetRetentionDays())).Truncate(time.Second)
	}
	moment := func(ms int64) time.Time { return time.UnixMilli(ms).UTC() }
	columns := []clickhouse.Column{
		bare(rows, "tenant_bucket", func(e *event) uint8 { return schemas.TenantBucket(e.GetCompanyId()) }),
		bare(rows, "company_id", (*event).GetCompanyId),
		bare(rows, "brand_id", (*event).GetBrandId),
		bare(rows, "site_id", (*event).GetSiteId),
		bare(rows, "event_id", (*event).GetEventId),
		bare(rows, "type", func(e *event) string { return labels.types[e.GetType()] }),
		bare(rows, "received_at", func(e *event) time.Time { return moment(e.GetReceivedAtMs()) }),
		bare(rows, "occurred_at", func(e *event) time.Time { return moment(e.GetOccurredAtMs()) }),
		bare(rows, "enriched_at", func(e *event) time.Time { return moment(e.GetEnrichedAtMs()) }),
		bare(rows, "consent", func(e *event) string { return labels.consents[e.GetConsent()] }),
		bare(rows, "consent_seq", (*event).GetConsentSeq),
		bare(rows, "visit_key", (*event).GetVisitKey),
		bare(rows, "visitor_id", (*event).GetVisitorId),
		bare(rows, "host", (*event).GetHost),
		bare(rows, "path", (*event).GetPath),
		bare(rows, "referrer_host", (*event).GetReferrerHost),
		bare(rows, "campaign_source", func(e *event) string { return e.GetCampaign().GetSource() }),
		bare(rows, "campaign_medium", func(e *event) string { return e.GetCampaign().GetMedium() }),
		bare(rows, "campaign_name", func(e *event) string { return e.GetCampaign().GetName() }),
		bare(rows, "device", func(e *event) string { return labels.devices[e.GetDevice()] }),
		bare(rows, "browser_family", (*event).GetBrowserFamily),
		bare(rows, "system_family", (*event).GetSystemFamily),
		bare(rows, "bot", func(e *event) string { return labels.bots[e.GetBot()] }),
		bare(rows, "country", (*event).GetCountry),
		bare(rows, "region", (*event).GetRegion),
		bare(rows, "channel", func(e *event) string { return labels.channels[e.GetChannel()] }),
		bare(rows, "traffic_source", (*event).GetTrafficSource),
		bare(rows, "sealed_address", func(e *event) string { return string(e.GetSealedAddress()) }),
		bare(rows, "source_partition", func(e *event) int32 { return e.GetSource().GetPartition() }),
		bare(rows, "source_offset", func(e *event) int64 { return e.GetSource().GetOffset() }),
		bare(rows, "writer_id", (*event).GetWriterId),
		bare(rows, "retention_days", (*event).GetRetentionDays),
		bare(rows, "expires_at", expires),
		bare(rows, "acceptance_id", (*event).GetAcceptanceId),
		bare(rows, "replayed", (*event).GetReplayed),
	}
	return append(columns, bareEvidence(rows, labels)...)
}

type bareLabels struct {
	types    map[metivav1.EventType]string
	consents map[metivav1.ConsentState]string
	devices  map[metivav1.DeviceClass]string
	bots     map[metivav1.BotClass]string
	channels map[metivav1.Channel]string
	verdicts map[metivav1.Verdict]string
	clicks   map[metivav1.ClickKind]string
	actions  map[metivav1.FormActionKind]string
}

func bareEvidence(rows []*metivav1.EnrichedEvent, labels bareLabels) []clickhouse.Column {
	type event = metivav1.EnrichedEvent
	return []clickhouse.Column{
		bare(rows, "verdict", func(e *event) string { return labels.verdicts[e.GetResolution().GetVerdict()] }),
		bare(rows, "account_id", func(e *event) string { return e.GetResolution().GetAccountId() }),
		bare(rows, "account_name", func(e *event) string { return e.GetResolution().GetName() }),
		bare(rows, "account_domain", func(e *event) string { return e.GetResolution().GetDomain() }),
		bare(rows, "resolution_source", func(e *event) string { return e.GetResolution().GetSource() }),
		bare(rows, "confirmation", func(*event) string { return "" }),
		bare(rows, "confidence", func(e *event) float32 { return e.GetResolution().GetConfidence() }),
		bare(rows, "asn", func(e *event) uint32 { return e.GetResolution().GetAsn() }),
		bare(rows, "prefix_bits", func(e *event) uint8 { return uint8(e.GetResolution().GetPrefixBits()) }),
		bare(rows, "database_build_at", func(e *event) time.Time { return time.UnixMilli(e.GetResolution().GetDatabaseBuildMs()).UTC() }),
		bare(rows, "engagement_ms", func(e *event) uint32 { return e.GetEngagement().GetVisibleMs() }),
		bare(rows, "scroll_percent", func(e *event) uint8 { return uint8(e.GetEngagement().GetScrollPercent()) }),
		bare(rows, "click_kind", func(e *event) string { return labels.clicks[e.GetClick().GetKind()] }),
		bare(rows, "click_host", func(e *event) string { return e.GetClick().GetTargetHost() }),
		bare(rows, "click_path", func(e *event) string { return e.GetClick().GetTargetPath() }),
		bare(rows, "form_action", func(e *event) string { return labels.actions[e.GetFormAction().GetKind()] }),
		bare(rows, "form_id", func(e *event) string { return e.GetFormAction().GetFormId() }),
		bare(rows, "custom_name", func(e *event) string { return e.GetCustom().GetName() }),
		bare(rows, "custom_properties", func(e *event) map[string]string { return e.GetCustom().GetProperties() }),
	}
}

func bare[V any](rows []*metivav1.EnrichedEvent, name string, value func(*metivav1.EnrichedEvent) V) clickhouse.Column {
	values := make([]V, len(rows))
	for i, e := range rows {
		values[i] = value(e)
	}
	return clickhouse.Column{Name: name, Values: values}
}
