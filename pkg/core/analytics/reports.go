package analytics

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/metiva-io/metiva/pkg/clickhouse"
)

// PageCount is what visits saw of one page. Pages beyond the first 50 of a visit
// are not in it.
type PageCount struct {
	Host      string `json:"host"`
	Path      string `json:"path"`
	Views     uint64 `json:"views"`
	Visits    uint64 `json:"visits"`
	Companies uint64 `json:"companies"`
	// Entries and Exits are the visits that began or ended here.
	Entries   uint64 `json:"entries"`
	Exits     uint64 `json:"exits"`
	EngagedMs uint64 `json:"engaged_ms"`
}

func (c *PageCount) fields() []any {
	return []any{&c.Host, &c.Path, &c.Views, &c.Visits, &c.Companies, &c.Entries, &c.Exits, &c.EngagedMs}
}

const (
	// pagesHead and pagesTail wrap what some pieces of a period saw of each page.
	pagesHead = `SELECT toInt64(views) AS sort_value, concat(host, path) AS sort_key, host, path, views, visits, companies, entries, exits, engaged FROM (
	SELECT h AS host, p AS path, sum(n) AS views, sum(v) AS visits, uniqExactMerge(c) AS companies, sum(i) AS entries, sum(o) AS exits, sum(e) AS engaged FROM (
	`
	pagesTail = `
	) GROUP BY h, p
) WHERE` + keyset + keysetOrder

	// pagesCounted takes the days that stand as they were counted, which knows sites
	// and brands and no other filter.
	pagesCounted = `SELECT toString(host) AS h, toString(path) AS p, sum(views) AS n, sum(visits) AS v, uniqExactMergeState(companies) AS c, sum(entries) AS i, sum(exits) AS o, sum(engaged_ms) AS e
	FROM pages_daily WHERE` + ofStanding + `
	AND (empty({sites:Array(String)}) OR site_id IN {sites:Array(String)})
	AND (empty({brands:Array(String)}) OR brand_id IN {brands:Array(String)})
	GROUP BY host, path`

	pagesOfVisits = `SELECT toString(host) AS h, toString(path) AS p, sum(page_views_of) AS n, count() AS v, uniqExactStateIf(ACCOUNT, account_id != '') AS c,
	countIf(entry_host = host AND entry_path = path) AS i, countIf(exit_host = host AND exit_path = path) AS o, sum(engaged_of) AS e`
)

// Pages lists the pages that visits saw, by their views.
func (r *Reader) Pages(ctx context.Context, f Filter, p Page) (List[PageCount], error) {
	span, options, err := r.visitSpan(ctx, &f)
	if err != nil {
		return List[PageCount]{}, err
	}
	sql := span.join(pagesOfVisits, eachPage, "GROUP BY host, path")
	if f.sitesOnly() {
		sql = span.union(pagesCounted, visitSpan{openOnly(span.span)}.join(pagesOfVisits, eachPage, "GROUP BY host, path"))
	}
	return listOf(ctx, r, "pages", pagesHead+sql+pagesTail, p, (*PageCount).fields, options...)
}

// GroupCount is the visits that have something in common. What it is stands in By,
// in the order the question names.
type GroupCount struct {
	By        []string `json:"by"`
	Visits    uint64   `json:"visits"`
	Companies uint64   `json:"companies"`
	PageViews uint64   `json:"page_views"`
	Bounces   uint64   `json:"bounces"`
	Captures  uint64   `json:"captures"`
	EngagedMs uint64   `json:"engaged_ms"`
}

func (c *GroupCount) fields() []any {
	return []any{&c.By, &c.Visits, &c.Companies, &c.PageViews, &c.Bounces, &c.Captures, &c.EngagedMs}
}

// groups counts visits by columns of our own choosing.
func (r *Reader) groups(ctx context.Context, question string, columns []string, f Filter, p Page) (List[GroupCount], error) {
	span, options, err := r.visitSpan(ctx, &f)
	if err != nil {
		return List[GroupCount]{}, err
	}
	texts := make([]string, len(columns))
	for i, column := range columns {
		texts[i] = "toString(" + column + ")"
	}
	sql := `SELECT toInt64(visits) AS sort_value, arrayStringConcat(by, '\n') AS sort_key, by, visits, companies, pages, bounces, captures, engaged FROM (
	SELECT by, sum(n) AS visits, uniqExactMerge(c) AS companies, sum(v) AS pages, sum(b) AS bounces, sum(t) AS captures, sum(e) AS engaged FROM (
	` + span.of("SELECT ["+strings.Join(texts, ", ")+`] AS by, count() AS n, uniqExactStateIf(ACCOUNT, account_id != '') AS c, sum(page_views) AS v,
		countIf(bounce) AS b, countIf(captured) AS t, sum(engaged_ms) AS e`, "GROUP BY "+strings.Join(columns, ", ")) + `
	) GROUP BY by
) WHERE` + keyset + keysetOrder
	return listOf(ctx, r, question, sql, p, (*GroupCount).fields, options...)
}

// Sources counts visits by channel and traffic source of what brought them first.
func (r *Reader) Sources(ctx context.Context, f Filter, p Page) (List[GroupCount], error) {
	return r.groups(ctx, "sources", []string{"first_channel", "first_traffic_source"}, f, p)
}

// Campaigns counts visits by a campaign's source, medium and name.
func (r *Reader) Campaigns(ctx context.Context, f Filter, p Page) (List[GroupCount], error) {
	return r.groups(ctx, "campaigns", []string{"first_campaign_source", "first_campaign_medium", "first_campaign_name"}, f, p)
}

// Devices counts visits by class of device, family of browser and of system.
func (r *Reader) Devices(ctx context.Context, f Filter, p Page) (List[GroupCount], error) {
	return r.groups(ctx, "devices", []string{"device", "browser_family", "system_family"}, f, p)
}

// Countries counts visits by country.
func (r *Reader) Countries(ctx context.Context, f Filter, p Page) (List[GroupCount], error) {
	return r.groups(ctx, "countries", []string{"country"}, f, p)
}

// Reasons counts visits by verdict: how many are of a company, and why the others
// are not. Automated visitors are no visits; Coverage has them.
func (r *Reader) Reasons(ctx context.Context, f Filter, p Page) (List[GroupCount], error) {
	return r.groups(ctx, "reasons", []string{"verdict"}, f, p)
}

// ConsentDay is how visitors answered on one day (UTC).
type ConsentDay struct {
	Day time.Time `json:"day"`
	// Visits is by the lowest state of consent among a visit's events.
	Visits map[string]uint64 `json:"visits"`
	// Objected counts events, not visits: nothing else is kept of who objects.
	Objected uint64 `json:"objected"`
}

const (
	consentHead = `SELECT toDateTime(at, 'UTC'), state, sum(n) FROM (
	`
	consentTail = `
) GROUP BY at, state ORDER BY at, state`

	// The ledger knows no brand.
	consentObjectedSQL = `SELECT toDateTime(toDate(minute), 'UTC') AS day, 'objected', sum(count) FROM ledger_edge FINAL
WHERE tenant_bucket = {bucket:UInt8} AND company_id = {company:String} AND reason = 'objected'
AND minute >= toDateTime({from:DateTime64(3, 'UTC')}) AND minute < {to:DateTime64(3, 'UTC')}
AND (empty({sites:Array(String)}) OR site_id IN {sites:Array(String)}) GROUP BY day ORDER BY day`
)

// ConsentRates says by day how many visits were made under which state of consent,
// and how many events were objected to. It needs a filter without brands, which the
// ledger does not know, or one whose sites are those of its brands.
func (r *Reader) ConsentRates(ctx context.Context, f Filter) ([]ConsentDay, error) {
	if len(f.Brands) > 0 && len(f.Sites) == 0 {
		return nil, fmt.Errorf("%w: name the sites of the brands", ErrFilter)
	}
	span, options, err := r.visitSpan(ctx, &f)
	if err != nil {
		return nil, err
	}
	visits := consentHead + span.of("SELECT toDate(started_at) AS at, toString(consent) AS state, count() AS n", "GROUP BY at, consent") + consentTail
	days := make(map[time.Time]*ConsentDay)
	var out []*ConsentDay
	for _, part := range []struct {
		sql string
		add func(*ConsentDay, string, uint64)
	}{
		{visits, func(d *ConsentDay, state string, n uint64) { d.Visits[state] += n }},
		{consentObjectedSQL, func(d *ConsentDay, _ string, n uint64) { d.Objected += n }},
	} {
		err := r.each(ctx, part.sql, func(scan func(...any) error) error {
			var at time.Time
			var state string
			var n uint64
			if err := scan(&at, &state, &n); err != nil {
				return err
			}
			if days[at] == nil {
				days[at] = &ConsentDay{Day: at, Visits: map[string]uint64{}}
				out = append(out, days[at])
			}
			part.add(days[at], state, n)
			return nil
		}, options...)
		if err != nil {
			return nil, fmt.Errorf("counting consent: %w", err)
		}
	}
	return sortedDays(out), nil
}

func sortedDays(days []*ConsentDay) []ConsentDay {
	out := make([]ConsentDay, len(days))
	for i, d := range days {
		out[i] = *d
	}
	slices.SortFunc(out, func(a, b ConsentDay) int { return a.Day.Compare(b.Day) })
	return out
}

// FunnelStep is how many visits came as far as a page.
type FunnelStep struct {
	Page   string `json:"page"`
	Visits uint64 `json:"visits"`
}

const funnelStepsMax = 8

// funnelHead finds for each visit how many of the steps it saw, each no earlier than the
// one before it, by the first view of each page. funnelFirst leaves out the visits that
// did not see the first step, which are most.
const (
	funnelHead = `SELECT arrayFold((seen, step) -> if(seen.1 + 1 < step.3, seen,
			if(arrayExists((p, at) -> at >= seen.2 AND if(step.2 = 1, startsWith(p, step.1), p = step.1), page_paths, page_first_at),
				(step.3, arrayMin(arrayFilter((at, p) -> at >= seen.2 AND if(step.2 = 1, startsWith(p, step.1), p = step.1), page_first_at, page_paths))),
				seen)),
		arrayZip({steps:Array(String)}, {prefixes:Array(UInt8)}, arrayMap(i -> toUInt64(i), arrayEnumerate({steps:Array(String)}))),
		(toUInt64(0), toDateTime64(0, 3, 'UTC'))).1 AS steps_seen, count() AS n`
	funnelFirst = `AND if({prefixes:Array(UInt8)}[1] = 1, arrayExists(p -> startsWith(p, {steps:Array(String)}[1]), page_paths), has(page_paths, {steps:Array(String)}[1])) GROUP BY steps_seen`
)

// Funnel counts the visits that saw the given pages one after the other: the first,
// the first and the second, and so on. A page is a path, or with * at its end the
// beginning of one; eight at most.
func (r *Reader) Funnel(ctx context.Context, f Filter, pages []string) ([]FunnelStep, error) {
	if len(pages) == 0 || len(pages) > funnelStepsMax {
		return nil, fmt.Errorf("%w: a funnel has one to eight pages", ErrFilter)
	}
	steps, prefixes := make([]string, len(pages)), make([]uint8, len(pages))
	out := make([]FunnelStep, len(pages))
	for i, page := range pages {
		if page == "" || len(page) > filterTextBytesMax {
			return nil, fmt.Errorf("%w: a page of a funnel is a path", ErrFilter)
		}
		step, prefix := strings.CutSuffix(page, "*")
		steps[i], prefixes[i], out[i].Page = step, bit(prefix), page
	}
	span, options, err := r.visitSpan(ctx, &f)
	if err != nil {
		return nil, err
	}
	err = r.each(ctx, "SELECT steps_seen, sum(n) FROM (\n"+span.of(funnelHead, funnelFirst)+"\n) GROUP BY steps_seen", func(scan func(...any) error) error {
		var seen, n uint64
		if err := scan(&seen, &n); err != nil {
			return err
		}
		for i := range min(seen, uint64(len(out))) {
			out[i].Visits += n
		}
		return nil
	}, append(options, clickhouse.Param("steps", steps), clickhouse.Param("prefixes", prefixes))...)
	if err != nil {
		return nil, fmt.Errorf("counting a funnel: %w", err)
	}
	return out, nil
}
