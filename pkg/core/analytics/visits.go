package analytics

import (
	"context"
	"fmt"
	"time"
)

// Visit is one visit as lists show it. It names no person: a visitor id never
// leaves ClickHouse this way.
type Visit struct {
	// VisitID is 32 hexadecimal digits.
	VisitID   string    `json:"visit_id"`
	SiteID    string    `json:"site_id"`
	StartedAt time.Time `json:"started_at"`
	EndedAt   time.Time `json:"ended_at"`
	// EngagedMs is what was measured with consent; 0 without.
	EngagedMs  uint64 `json:"engaged_ms"`
	PageViews  uint32 `json:"page_views"`
	Bounce     bool   `json:"bounce"`
	Captured   bool   `json:"captured"`
	Host       string `json:"host"`
	EntryPath  string `json:"entry_path"`
	ExitPath   string `json:"exit_path"`
	Channel    string `json:"channel"`
	Source     string `json:"source"`
	Campaign   string `json:"campaign"`
	Device     string `json:"device"`
	Browser    string `json:"browser"`
	System     string `json:"system"`
	Country    string `json:"country"`
	Region     string `json:"region"`
	Consent    string `json:"consent"`
	Verdict    string `json:"verdict"`
	AccountID  string `json:"account_id"`
	Name       string `json:"name"`
	Domain     string `json:"domain"`
	ResolvedBy string `json:"resolved_by"`
	// Confidence is 0 to 1, Confirmation what confirmed the company beside its network.
	Confidence   float32 `json:"confidence"`
	Confirmation string  `json:"confirmation"`
}

const visitColumns = `SELECT toUnixTimestamp64Milli(started_at) AS sort_value, lower(hex(visit_id)) AS sort_key,
	sort_key, site_id, started_at, ended_at, engaged_ms, page_views, bounce, captured, entry_host, entry_path, exit_path,
	first_channel, first_traffic_source, first_campaign_name, device, browser_family, system_family, country, region,
	consent, verdict, account_id, account_name, account_domain, resolution_source, confidence, confirmation`

// page asks for the visits of one page in two steps: their keys first, by the few
// columns a filter needs, and then the rows, of which the table's order finds the
// granules. FINAL would else read every column of the whole period for one page; of
// so few rows the newest version is found by sorting.
func (s visitSpan) page(columns string) string {
	return columns + ` FROM (SELECT * FROM visits
WHERE` + ofTenant + ` AND started_at >= {from:DateTime64(3, 'UTC')} AND started_at < {to:DateTime64(3, 'UTC')}
AND (site_id, started_at, visit_id) IN (
	SELECT site_id, started_at, visit_id FROM (
	` + s.of("SELECT site_id, started_at, visit_id", `
	AND `+keysetOfVisits+`
	ORDER BY started_at DESC, visit_id DESC LIMIT {limit:UInt32}`) + `
	) ORDER BY started_at DESC, visit_id DESC LIMIT {limit:UInt32}
) ORDER BY version DESC, removed DESC LIMIT 1 BY site_id, started_at, visit_id)
WHERE removed = 0` + keysetOrder
}

func (v *Visit) fields() []any {
	return []any{
		&v.VisitID, &v.SiteID, &v.StartedAt, &v.EndedAt, &v.EngagedMs, &v.PageViews, &v.Bounce, &v.Captured, &v.Host, &v.EntryPath, &v.ExitPath,
		&v.Channel, &v.Source, &v.Campaign, &v.Device, &v.Browser, &v.System, &v.Country, &v.Region,
		&v.Consent, &v.Verdict, &v.AccountID, &v.Name, &v.Domain, &v.ResolvedBy, &v.Confidence, &v.Confirmation,
	}
}

// LiveFeed lists the visits of a filter, newest first.
func (r *Reader) LiveFeed(ctx context.Context, f Filter, p Page) (List[Visit], error) {
	const question = "visits"
	if err := f.check(); err != nil {
		return List[Visit]{}, err
	}
	if p.After != "" {
		// The order's own column: with it, what lies before is not read at all.
		at, err := decodeCursor(question, p.After)
		if err != nil {
			return List[Visit]{}, err
		}
		if end := time.UnixMilli(at.value + 1).UTC(); end.Before(f.Period.To) && end.After(f.Period.From) {
			f.Period.To = end
		}
	}
	// Most feeds are full with the newest days, which are asked alone first.
	if recent := f; f.Period.To.Sub(f.Period.From) >= spanMin {
		recent.Period.From = f.Period.To.Add(-feedRecent)
		list, err := r.visits(ctx, question, recent, p)
		if err != nil || list.Next != "" {
			return list, err
		}
	}
	return r.visits(ctx, question, f, p)
}

// feedRecent is shorter than periods that are divided: it is one statement.
const feedRecent = day

func (r *Reader) visits(ctx context.Context, question string, f Filter, p Page) (List[Visit], error) {
	span, options, err := r.visitSpan(ctx, &f)
	if err != nil {
		return List[Visit]{}, err
	}
	return listOf(ctx, r, question, span.page(visitColumns), p, (*Visit).fields, options...)
}

// TimelineVisit is a visit with the pages it saw.
type TimelineVisit struct {
	Visit
	Pages []SeenPage `json:"pages"`
	// PagesBeyond counts the page views of pages that are not listed.
	PagesBeyond    uint32   `json:"pages_beyond"`
	FormsSubmitted []string `json:"forms_submitted"`
	Downloads      uint32   `json:"downloads"`
}

// SeenPage is what a visit saw of one page.
type SeenPage struct {
	Host      string    `json:"host"`
	Path      string    `json:"path"`
	Views     uint32    `json:"views"`
	EngagedMs uint64    `json:"engaged_ms"`
	FirstAt   time.Time `json:"first_at"`
}

// timelineRow is TimelineVisit as the arrays of the table.
type timelineRow struct {
	visit        Visit
	hosts, paths []string
	views        []uint32
	engaged      []uint64
	at           []time.Time
	beyond       uint32
	forms        []string
	downloads    uint32
}

func (t *timelineRow) fields() []any {
	return append(t.visit.fields(), &t.hosts, &t.paths, &t.views, &t.engaged, &t.at, &t.beyond, &t.forms, &t.downloads)
}

// Timeline lists the visits of one company with their pages, newest first.
func (r *Reader) Timeline(ctx context.Context, account string, f Filter, p Page) (List[TimelineVisit], error) {
	if account == "" {
		return List[TimelineVisit]{}, fmt.Errorf("%w: no account", ErrFilter)
	}
	f.Account = account
	span, options, err := r.visitSpan(ctx, &f)
	if err != nil {
		return List[TimelineVisit]{}, err
	}
	rows, err := listOf(ctx, r, "timeline", span.page(visitColumns+`, page_hosts, page_paths, page_view_counts, page_engaged_ms, page_first_at, pages_beyond,
	submitted_form_ids, downloads`), p, (*timelineRow).fields, options...)
	if err != nil {
		return List[TimelineVisit]{}, err
	}
	out := List[TimelineVisit]{Next: rows.Next, Items: make([]TimelineVisit, len(rows.Items))}
	for i := range rows.Items {
		row := &rows.Items[i]
		v := &out.Items[i]
		*v = TimelineVisit{Visit: row.visit, PagesBeyond: row.beyond, FormsSubmitted: row.forms, Downloads: row.downloads}
		n := min(len(row.hosts), len(row.paths), len(row.views), len(row.engaged), len(row.at))
		for j := range n {
			v.Pages = append(v.Pages, SeenPage{row.hosts[j], row.paths[j], row.views[j], row.engaged[j], row.at[j]})
		}
	}
	return out, nil
}

// AccountDay is the score of a company on one day of a site, with its parts.
type AccountDay struct {
	SiteID      string    `json:"site_id"`
	Day         time.Time `json:"day"`
	Visits      uint32    `json:"visits"`
	HumanVisits uint32    `json:"human_visits"`
	PageViews   uint32    `json:"page_views"`
	EngagedMs   uint64    `json:"engaged_ms"`
	// Score is 0 to 100, the sum of the points.
	Score            uint8     `json:"score"`
	RecencyPoints    uint8     `json:"recency_points"`
	DepthPoints      uint8     `json:"depth_points"`
	KeyPagesPoints   uint8     `json:"key_pages_points"`
	KeyPages         []string  `json:"key_pages"`
	EngagementPoints uint8     `json:"engagement_points"`
	ReturningPoints  uint8     `json:"returning_points"`
	LastAt           time.Time `json:"last_at"`
}

func (d *AccountDay) fields() []any {
	return []any{
		&d.SiteID, &d.Day, &d.Visits, &d.HumanVisits, &d.PageViews, &d.EngagedMs, &d.Score, &d.RecencyPoints, &d.DepthPoints,
		&d.KeyPagesPoints, &d.KeyPages, &d.EngagementPoints, &d.ReturningPoints, &d.LastAt,
	}
}

// daysWhere selects the days that a period touches, behind FROM accounts_daily FINAL. A day is one of the site's time
// zone, so those at its edges may lie in it in part only.
const daysWhere = ` WHERE` + ofTenant + ` AND day >= toDate({from:DateTime64(3, 'UTC')}) AND day <= toDate({to:DateTime64(3, 'UTC')}) AND` + kept

// Scores lists the days of one company with their scores, newest first.
func (r *Reader) Scores(ctx context.Context, account string, f Filter, p Page) (List[AccountDay], error) {
	if account == "" {
		return List[AccountDay]{}, fmt.Errorf("%w: no account", ErrFilter)
	}
	f.Account = account
	if err := f.check(); err != nil {
		return List[AccountDay]{}, err
	}
	filter, parameters := conditions(f.onSites(), f.onBrands(), isText("account_id = {account:String}", "account", account))
	return listOf(ctx, r, "scores", `SELECT toInt64(toUInt16(day)) AS sort_value, toString(site_id) AS sort_key,
	site_id, toDateTime(day, 'UTC'), visits, human_visits, page_views, engaged_ms, score, recency_points, depth_points,
	key_pages_points, key_page_names, engagement_points, returning_points, last_at FROM accounts_daily FINAL`+daysWhere+filter+"AND"+keyset+keysetOrder,
		p, (*AccountDay).fields, append(r.of(f.Period), parameters...)...)
}
