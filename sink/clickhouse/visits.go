package clickhouse

import (
	"context"
	"time"

	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// InsertVisits writes rows into visits under a deduplication token.
func (s *Store) InsertVisits(ctx context.Context, token string, rows []VisitRow) error {
	return s.conn.Insert(ctx, TableVisits, token, s.visitTable().columns(rows))
}

func (s *Store) visitTable() *table[VisitRow] {
	type visit = metivav1.Visit
	text := func(name string, value func(*visit) string) source[VisitRow] {
		return word(name, func(r *VisitRow) string { return value(r.Message) })
	}
	binary := func(name string, value func(*visit) []byte) source[VisitRow] {
		return column(name, func(r *VisitRow) []byte { return value(r.Message) })
	}
	number := func(name string, value func(*visit) uint32) source[VisitRow] {
		return column(name, func(r *VisitRow) uint32 { return value(r.Message) })
	}
	large := func(name string, value func(*visit) uint64) source[VisitRow] {
		return column(name, func(r *VisitRow) uint64 { return value(r.Message) })
	}
	moment := func(name string, ms func(*visit) int64) source[VisitRow] {
		return column(name, func(r *VisitRow) time.Time { return time.UnixMilli(ms(r.Message)).UTC() })
	}
	yes := func(name string, value func(*visit) bool) source[VisitRow] {
		return column(name, func(r *VisitRow) bool { return value(r.Message) })
	}
	sources := []source[VisitRow]{
		column("tenant_bucket", func(r *VisitRow) uint8 { return schemas.TenantBucket(r.Message.GetCompanyId()) }),
		text("company_id", (*visit).GetCompanyId),
		text("brand_id", (*visit).GetBrandId),
		text("site_id", (*visit).GetSiteId),
		binary("visit_id", (*visit).GetVisitId),
		binary("visit_key", (*visit).GetVisitKey),
		binary("visitor_id", (*visit).GetVisitorId),
		large("version", (*visit).GetVersion),
		column("removed", func(r *VisitRow) uint8 { return flag(r.Message.GetRemoved()) }),
		moment("started_at", (*visit).GetStartedAtMs),
		moment("ended_at", (*visit).GetEndedAtMs),
		large("duration_ms", (*visit).GetDurationMs),
		large("engaged_ms", (*visit).GetEngagedMs),
		number("page_views", (*visit).GetPageViews),
		number("events", (*visit).GetEvents),
		yes("bounce", (*visit).GetBounce),
		text("entry_host", (*visit).GetEntryHost),
		column("entry_path", func(r *VisitRow) string { return r.Message.GetEntryPath() }),
		text("exit_host", (*visit).GetExitHost),
		column("exit_path", func(r *VisitRow) string { return r.Message.GetExitPath() }),
		label("device", s.labels.devices, func(r *VisitRow) metivav1.DeviceClass { return r.Message.GetDevice() }),
		text("browser_family", (*visit).GetBrowserFamily),
		text("system_family", (*visit).GetSystemFamily),
		text("country", (*visit).GetCountry),
		text("region", (*visit).GetRegion),
		label("consent", s.labels.consents, func(r *VisitRow) metivav1.ConsentState { return r.Message.GetConsent() }),
		yes("captured", (*visit).GetCaptured),
		number("pages_beyond", (*visit).GetPagesBeyond),
		column("scroll_percent_max", func(r *VisitRow) uint8 { return uint8(r.Message.GetScrollPercentMax()) }),
		number("forms_started", (*visit).GetFormsStarted),
		number("forms_submitted", (*visit).GetFormsSubmitted),
		column("submitted_form_ids", func(r *VisitRow) []string { return r.Message.GetSubmittedFormIds() }),
		number("outbound_clicks", (*visit).GetOutboundClicks),
		number("downloads", (*visit).GetDownloads),
		number("retention_days", (*visit).GetRetentionDays),
		moment("last_received_at", (*visit).GetLastReceivedAtMs),
		yes("folded", (*visit).GetFolded),
		column("expires_at", func(r *VisitRow) time.Time { return r.ExpiresAt }),
	}
	sources = append(sources, s.touchSources("first", (*visit).GetFirstTouch)...)
	sources = append(sources, s.touchSources("last", (*visit).GetLastTouch)...)
	sources = append(sources, resolutionSources(s, func(r *VisitRow) *metivav1.Resolution { return r.Message.GetResolution() })...)
	return &table[VisitRow]{append(sources, visitLists()...)}
}

// touchSources say what brought the visitor, at first or last.
func (s *Store) touchSources(which string, of func(*metivav1.Visit) *metivav1.VisitTouch) []source[VisitRow] {
	type touch = metivav1.VisitTouch
	text := func(name string, value func(*touch) string) source[VisitRow] {
		return word(which+"_"+name, func(r *VisitRow) string { return value(of(r.Message)) })
	}
	return []source[VisitRow]{
		labelOrEmpty(which+"_channel", s.labels.channels, func(r *VisitRow) metivav1.Channel { return of(r.Message).GetChannel() }),
		text("traffic_source", (*touch).GetTrafficSource),
		text("campaign_source", func(t *touch) string { return t.GetCampaign().GetSource() }),
		text("campaign_medium", func(t *touch) string { return t.GetCampaign().GetMedium() }),
		text("campaign_name", func(t *touch) string { return t.GetCampaign().GetName() }),
		text("referrer_host", (*touch).GetReferrerHost),
		column(which+"_touch_at", func(r *VisitRow) time.Time { return time.UnixMilli(of(r.Message).GetAtMs()).UTC() }),
	}
}

// visitLists are arrays: of pages and of custom events.
func visitLists() []source[VisitRow] {
	type page = metivav1.VisitPage
	pages := func(r *VisitRow) []*page { return r.Message.GetPages() }
	custom := func(r *VisitRow) []*metivav1.VisitCustomEvent { return r.Message.GetCustomEvents() }
	return []source[VisitRow]{
		list("page_hosts", pages, (*page).GetHost),
		list("page_paths", pages, (*page).GetPath),
		list("page_view_counts", pages, (*page).GetViews),
		list("page_engaged_ms", pages, (*page).GetEngagedMs),
		list("page_scroll_percents", pages, func(p *page) uint8 { return uint8(p.GetScrollPercentMax()) }),
		list("page_first_at", pages, func(p *page) time.Time { return time.UnixMilli(p.GetFirstAtMs()).UTC() }),
		list("custom_event_names", custom, (*metivav1.VisitCustomEvent).GetName),
		list("custom_event_counts", custom, (*metivav1.VisitCustomEvent).GetCount),
	}
}

// list is an array column: one value of each element of a row.
func list[R, E, V any](name string, of func(*R) []E, value func(E) V) source[R] {
	return column(name, func(r *R) []V {
		elements := of(r)
		out := make([]V, len(elements))
		for i, e := range elements {
			out[i] = value(e)
		}
		return out
	})
}
