package clickhouse

import (
	"context"
	"time"

	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// InsertVisits writes rows into visits under a deduplication token.
func (s *Store) InsertVisits(ctx context.Context, token string, rows []VisitRow) error {
	return s.conn.Insert(ctx, TableVisits, token, s.visitColumns(rows))
}

func (s *Store) visitColumns(rows []VisitRow) []clickhouse.Column {
	type visit = metivav1.Visit
	text := func(name string, value func(*visit) string) clickhouse.Column {
		return column(name, rows, func(r *VisitRow) string { return value(r.Message) })
	}
	binary := func(name string, value func(*visit) []byte) clickhouse.Column {
		return column(name, rows, func(r *VisitRow) []byte { return value(r.Message) })
	}
	number := func(name string, value func(*visit) uint32) clickhouse.Column {
		return column(name, rows, func(r *VisitRow) uint32 { return value(r.Message) })
	}
	large := func(name string, value func(*visit) uint64) clickhouse.Column {
		return column(name, rows, func(r *VisitRow) uint64 { return value(r.Message) })
	}
	moment := func(name string, ms func(*visit) int64) clickhouse.Column {
		return column(name, rows, func(r *VisitRow) time.Time { return time.UnixMilli(ms(r.Message)).UTC() })
	}
	yes := func(name string, value func(*visit) bool) clickhouse.Column {
		return column(name, rows, func(r *VisitRow) bool { return value(r.Message) })
	}
	columns := []clickhouse.Column{
		column("tenant_bucket", rows, func(r *VisitRow) uint8 { return schemas.TenantBucket(r.Message.GetCompanyId()) }),
		text("company_id", (*visit).GetCompanyId),
		text("brand_id", (*visit).GetBrandId),
		text("site_id", (*visit).GetSiteId),
		binary("visit_id", (*visit).GetVisitId),
		binary("visit_key", (*visit).GetVisitKey),
		binary("visitor_id", (*visit).GetVisitorId),
		large("version", (*visit).GetVersion),
		column("removed", rows, func(r *VisitRow) uint8 { return flag(r.Message.GetRemoved()) }),
		moment("started_at", (*visit).GetStartedAtMs),
		moment("ended_at", (*visit).GetEndedAtMs),
		large("duration_ms", (*visit).GetDurationMs),
		large("engaged_ms", (*visit).GetEngagedMs),
		number("page_views", (*visit).GetPageViews),
		number("events", (*visit).GetEvents),
		yes("bounce", (*visit).GetBounce),
		text("entry_host", (*visit).GetEntryHost),
		text("entry_path", (*visit).GetEntryPath),
		text("exit_host", (*visit).GetExitHost),
		text("exit_path", (*visit).GetExitPath),
		text("device", func(v *visit) string { return label(s.labels.devices, v.GetDevice()) }),
		text("browser_family", (*visit).GetBrowserFamily),
		text("system_family", (*visit).GetSystemFamily),
		text("country", (*visit).GetCountry),
		text("region", (*visit).GetRegion),
		text("consent", func(v *visit) string { return label(s.labels.consents, v.GetConsent()) }),
		yes("captured", (*visit).GetCaptured),
		number("pages_beyond", (*visit).GetPagesBeyond),
		column("scroll_percent_max", rows, func(r *VisitRow) uint8 { return uint8(r.Message.GetScrollPercentMax()) }),
		number("forms_started", (*visit).GetFormsStarted),
		number("forms_submitted", (*visit).GetFormsSubmitted),
		column("submitted_form_ids", rows, func(r *VisitRow) []string { return r.Message.GetSubmittedFormIds() }),
		number("outbound_clicks", (*visit).GetOutboundClicks),
		number("downloads", (*visit).GetDownloads),
		number("retention_days", (*visit).GetRetentionDays),
		moment("last_received_at", (*visit).GetLastReceivedAtMs),
		yes("folded", (*visit).GetFolded),
		column("expires_at", rows, func(r *VisitRow) time.Time { return r.ExpiresAt }),
	}
	columns = append(columns, s.touchColumns("first", rows, (*visit).GetFirstTouch)...)
	columns = append(columns, s.touchColumns("last", rows, (*visit).GetLastTouch)...)
	columns = append(columns, resolutionColumns(s, rows, func(r *VisitRow) *metivav1.Resolution { return r.Message.GetResolution() })...)
	return append(columns, visitListColumns(rows)...)
}

// touchColumns say what brought the visitor, at first or last.
func (s *Store) touchColumns(which string, rows []VisitRow, of func(*metivav1.Visit) *metivav1.VisitTouch) []clickhouse.Column {
	type touch = metivav1.VisitTouch
	text := func(name string, value func(*touch) string) clickhouse.Column {
		return column(which+"_"+name, rows, func(r *VisitRow) string { return value(of(r.Message)) })
	}
	return []clickhouse.Column{
		text("channel", func(t *touch) string { return labelOrEmpty(s.labels.channels, t.GetChannel()) }),
		text("traffic_source", (*touch).GetTrafficSource),
		text("campaign_source", func(t *touch) string { return t.GetCampaign().GetSource() }),
		text("campaign_medium", func(t *touch) string { return t.GetCampaign().GetMedium() }),
		text("campaign_name", func(t *touch) string { return t.GetCampaign().GetName() }),
		text("referrer_host", (*touch).GetReferrerHost),
		column(which+"_touch_at", rows, func(r *VisitRow) time.Time { return time.UnixMilli(of(r.Message).GetAtMs()).UTC() }),
	}
}

// visitListColumns are arrays: of pages and of custom events.
func visitListColumns(rows []VisitRow) []clickhouse.Column {
	type page = metivav1.VisitPage
	pages := func(r *VisitRow) []*page { return r.Message.GetPages() }
	custom := func(r *VisitRow) []*metivav1.VisitCustomEvent { return r.Message.GetCustomEvents() }
	return []clickhouse.Column{
		list("page_hosts", rows, pages, (*page).GetHost),
		list("page_paths", rows, pages, (*page).GetPath),
		list("page_view_counts", rows, pages, (*page).GetViews),
		list("page_engaged_ms", rows, pages, (*page).GetEngagedMs),
		list("page_scroll_percents", rows, pages, func(p *page) uint8 { return uint8(p.GetScrollPercentMax()) }),
		list("page_first_at", rows, pages, func(p *page) time.Time { return time.UnixMilli(p.GetFirstAtMs()).UTC() }),
		list("custom_event_names", rows, custom, (*metivav1.VisitCustomEvent).GetName),
		list("custom_event_counts", rows, custom, (*metivav1.VisitCustomEvent).GetCount),
	}
}

// list is an array column: one value of each element of a row.
func list[R, E, V any](name string, rows []R, of func(*R) []E, value func(E) V) clickhouse.Column {
	return column(name, rows, func(r *R) []V {
		elements := of(r)
		out := make([]V, len(elements))
		for i, e := range elements {
			out[i] = value(e)
		}
		return out
	})
}
