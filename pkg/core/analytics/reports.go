package analytics

import (
	"context"
	"fmt"
	"slices"
	"strconv"
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

const (
	// pagesHead and pagesTail wrap what some pieces of a period saw of each page.
	pagesHead = `SELECT toInt64(views) AS sort_value, toString(page) AS sort_key, sort_key, views, visits, companies, entries, exits, engaged FROM (
	SELECT page, sum(n) AS views, sum(v) AS visits, COMPANIES(c) AS companies, sum(i) AS entries, sum(o) AS exits, sum(e) AS engaged FROM (
	`
	pagesTail = `
	) GROUP BY page
) WHERE` + keyset + keysetOrder

	// pagesCounted takes the days that stand as they were counted.
	pagesCounted = `SELECT page_key AS page, views AS n, visits AS v, companies AS c, entries AS i, exits AS o, engaged_ms AS e
	FROM pages_daily WHERE` + ofStanding

	pagesOfVisits = `SELECT toLowCardinality(of_page) AS page, sum(views_of) AS n, count() AS v, COMPANIES_OF(ACCOUNT, ACCOUNT != 0) AS c,
	countIf(place = ENTRY_PAGE) AS i, countIf(place = EXIT_PAGE) AS o, sum(engaged_of) AS e`
	eachPageOfVisits = `ARRAY JOIN PAGE_KEYS AS of_page, ` + eachPage
)

// countedPage is a page with its key, as a statement answers.
type countedPage struct {
	key string
	PageCount
}

func (c *countedPage) fields() []any {
	return []any{&c.key, &c.Views, &c.Visits, &c.Companies, &c.Entries, &c.Exits, &c.EngagedMs}
}

// companiesByList and companiesByState put what counts distinct companies in the place of
// words in capitals: in days that were counted they are lists; where only rows are read,
// states cost less.
func companiesByList() *strings.Replacer {
	return strings.NewReplacer("COMPANIES_OF(", "groupUniqArrayIf(", "COMPANIES(", "uniqExactArray(")
}

func companiesByState() *strings.Replacer {
	return strings.NewReplacer("COMPANIES_OF(", "uniqExactIfState(", "COMPANIES(", "uniqExactIfMerge(")
}

// Pages lists the pages that visits saw, by their views.
func (r *Reader) Pages(ctx context.Context, f Filter, p Page) (List[PageCount], error) {
	span, options, err := r.visitSpan(ctx, &f)
	if err != nil {
		return List[PageCount]{}, err
	}
	const tail = "GROUP BY of_page"
	sql, companies := span.join(pagesOfVisits, eachPageOfVisits, tail), companiesByState()
	if f.sitesOnly() {
		sql, companies = span.union(pagesCounted+span.sites, span.rows(pagesOfVisits, eachPageOfVisits, tail)), companiesByList()
	}
	rows, err := listOf(ctx, r, "pages", companies.Replace(pagesHead+sql+pagesTail), p, (*countedPage).fields, options...)
	if err != nil {
		return List[PageCount]{}, err
	}
	out := List[PageCount]{Next: rows.Next, Items: make([]PageCount, len(rows.Items))}
	for i, row := range rows.Items {
		out.Items[i] = row.PageCount
		if values := keyValues(row.key); len(values) == 2 {
			out.Items[i].Host, out.Items[i].Path = values[0], values[1]
		}
	}
	return out, nil
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

// countedGroup is a group with its key, as a statement answers.
type countedGroup struct {
	key string
	GroupCount
}

func (c *countedGroup) fields() []any {
	return []any{&c.key, &c.Visits, &c.Companies, &c.PageViews, &c.Bounces, &c.Captures, &c.EngagedMs}
}

// groupsCounted takes the days that stand as they were counted.
const groupsCounted = `SELECT group_key AS by, visits AS n, companies AS c, page_views AS v, bounces AS b, captures AS t, engaged_ms AS e
	FROM groups_daily WHERE` + ofStanding + ` AND kind = {kind:String}`

// groups counts visits by a key of our own choosing.
func (r *Reader) groups(ctx context.Context, kind, key string, f Filter, p Page) (List[GroupCount], error) {
	span, options, err := r.visitSpan(ctx, &f)
	if err != nil {
		return List[GroupCount]{}, err
	}
	head := "SELECT toLowCardinality(" + key + ` AS of_key) AS by, count() AS n, COMPANIES_OF(ACCOUNT, ACCOUNT != 0) AS c, sum(page_views) AS v,
		countIf(bounce) AS b, countIf(captured) AS t, sum(engaged_ms) AS e`
	const tail = "GROUP BY of_key"
	pieces, companies := span.of(head, tail), companiesByState()
	if f.sitesOnly() {
		pieces, companies = span.union(groupsCounted+span.sites, span.rows(head, "", tail)), companiesByList()
		options = append(options, clickhouse.Param("kind", kind))
	}
	sql := `SELECT toInt64(visits) AS sort_value, toString(by) AS sort_key, sort_key, visits, companies, pages, bounces, captures, engaged FROM (
	SELECT by, sum(n) AS visits, COMPANIES(c) AS companies, sum(v) AS pages, sum(b) AS bounces, sum(t) AS captures, sum(e) AS engaged FROM (
	` + pieces + `
	) GROUP BY by
) WHERE` + keyset + keysetOrder
	rows, err := listOf(ctx, r, kind, companies.Replace(sql), p, (*countedGroup).fields, options...)
	if err != nil {
		return List[GroupCount]{}, err
	}
	out := List[GroupCount]{Next: rows.Next, Items: make([]GroupCount, len(rows.Items))}
	for i, row := range rows.Items {
		out.Items[i] = row.GroupCount
		out.Items[i].By = keyValues(row.key)
	}
	return out, nil
}

// Sources counts visits by channel and traffic source of what brought them first.
func (r *Reader) Sources(ctx context.Context, f Filter, p Page) (List[GroupCount], error) {
	return r.groups(ctx, bySource, "SOURCE_KEY", f, p)
}

// Campaigns counts visits by a campaign's source, medium and name.
func (r *Reader) Campaigns(ctx context.Context, f Filter, p Page) (List[GroupCount], error) {
	return r.groups(ctx, byCampaign, "CAMPAIGN_KEY", f, p)
}

// Devices counts visits by class of device, family of browser and of system.
func (r *Reader) Devices(ctx context.Context, f Filter, p Page) (List[GroupCount], error) {
	return r.groups(ctx, byDevice, "DEVICE_KEY", f, p)
}

// Countries counts visits by country.
func (r *Reader) Countries(ctx context.Context, f Filter, p Page) (List[GroupCount], error) {
	return r.groups(ctx, byCountry, countryKey, f, p)
}

// Reasons counts visits by verdict: how many are of a company, and why the others
// are not. Automated visitors are no visits; Coverage has them.
func (r *Reader) Reasons(ctx context.Context, f Filter, p Page) (List[GroupCount], error) {
	return r.groups(ctx, byReason, reasonKey, f, p)
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

	consentCounted = `SELECT day AS at, toString(group_key) AS state, sum(visits) AS n FROM groups_daily WHERE` + ofStanding + ` AND kind = '` + byConsent + `'`

	// The ledger knows no brand.
	consentObjectedSQL = `SELECT toDateTime(toDate(minute), 'UTC') AS day, 'objected', sum(count) FROM ledger_edge FINAL
WHERE tenant_bucket = {bucket:UInt8} AND company_id = {company:String} AND reason = 'objected'
AND minute >= toDateTime({from:DateTime64(3, 'UTC')}) AND minute < {to:DateTime64(3, 'UTC')}`
	consentObjectedTail = "GROUP BY day ORDER BY day"
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
	ofSites, _ := conditions(f.onSites()) // of sites alone
	const head, tail = "SELECT STARTED_DAY AS at, toString(consent) AS state, count() AS n", "GROUP BY at, consent"
	pieces := span.of(head, tail)
	if f.sitesOnly() {
		pieces = span.union(consentCounted+span.sites+"GROUP BY at, group_key", span.rows(head, "", tail))
	}
	visits := consentHead + pieces + consentTail
	days := make(map[time.Time]*ConsentDay)
	var out []*ConsentDay
	for _, part := range []struct {
		sql string
		add func(*ConsentDay, string, uint64)
	}{
		{visits, func(d *ConsentDay, state string, n uint64) { d.Visits[state] += n }},
		{consentObjectedSQL + ofSites + consentObjectedTail, func(d *ConsentDay, _ string, n uint64) { d.Objected += n }},
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

// never is later than any page was seen.
const never = `toDateTime64('2280-01-01 00:00:00', 3, 'UTC')`

// funnelOf finds for each visit how many of the steps it saw, each no earlier than the
// one before it, by the first view of each page; the tail leaves out the visits that did
// not see the first step, which are most. What a page is compared with is a constant
// of the statement, so that texts are compared as numbers of their dictionary.
func funnelOf(prefixes []bool) (head, tail string) {
	is := func(i int) string {
		if prefixes[i] {
			return "startsWith(p, {step_" + strconv.Itoa(i) + ":String})"
		}
		return "p = {step_" + strconv.Itoa(i) + ":String}"
	}
	tail = "AND has(PAGE_PATHS, {step_0:String}) GROUP BY steps_seen"
	if prefixes[0] {
		tail = "AND arrayExists(p -> " + is(0) + ", PAGE_PATHS) GROUP BY steps_seen"
	}
	if len(prefixes) == 1 {
		return "SELECT toUInt64(1) AS steps_seen, count() AS n", tail
	}
	seen, after := make([]string, len(prefixes)), ""
	counts := []string{"1"}
	for i := range prefixes {
		n := strconv.Itoa(i)
		seen[i] = "arrayMin(arrayMap((p, at) -> if(" + is(i) + after + ", at, " + never + "), PAGE_PATHS, PAGE_MOMENTS)) AS seen_" + n
		after = " AND at >= seen_" + n
		if i > 0 {
			counts = append(counts, "(seen_"+n+" < "+never+")")
		}
	}
	return "WITH " + strings.Join(seen, ",\n\t") + "\nSELECT toUInt64(" + strings.Join(counts, " + ") + ") AS steps_seen, count() AS n", tail
}

// Funnel counts the visits that saw the given pages one after the other: the first,
// the first and the second, and so on. A page is a path, or with * at its end the
// beginning of one; eight at most.
func (r *Reader) Funnel(ctx context.Context, f Filter, pages []string) ([]FunnelStep, error) {
	if len(pages) == 0 || len(pages) > funnelStepsMax {
		return nil, fmt.Errorf("%w: a funnel has one to eight pages", ErrFilter)
	}
	var steps []clickhouse.Option
	prefixes := make([]bool, len(pages))
	out := make([]FunnelStep, len(pages))
	for i, page := range pages {
		if page == "" || len(page) > filterTextBytesMax {
			return nil, fmt.Errorf("%w: a page of a funnel is a path", ErrFilter)
		}
		step, prefix := strings.CutSuffix(page, "*")
		steps, prefixes[i], out[i].Page = append(steps, clickhouse.Param("step_"+strconv.Itoa(i), step)), prefix, page
	}
	span, options, err := r.visitSpan(ctx, &f)
	if err != nil {
		return nil, err
	}
	err = r.each(ctx, "SELECT steps_seen, sum(n) FROM (\n"+span.of(funnelOf(prefixes))+"\n) GROUP BY steps_seen", func(scan func(...any) error) error {
		var seen, n uint64
		if err := scan(&seen, &n); err != nil {
			return err
		}
		for i := range min(seen, uint64(len(out))) {
			out[i].Visits += n
		}
		return nil
	}, append(options, steps...)...)
	if err != nil {
		return nil, fmt.Errorf("counting a funnel: %w", err)
	}
	return out, nil
}
