package analytics

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/metiva-io/metiva/pkg/clickhouse"
)

// CompanySort is the order of a list of companies, the greatest first.
type CompanySort int

// Orders of companies.
const (
	ByLastSeen CompanySort = iota
	ByVisits
	ByScore
	ByPageViews
)

// CompanyFilter is Filter with what is known of a company as a whole.
type CompanyFilter struct {
	Filter
	// ScoreMin leaves out the companies whose best day of the period has a lower score.
	ScoreMin int
	// New leaves only the companies seen for the first time in the period, Returning
	// only those that were seen before it. Both together leave none.
	New       bool
	Returning bool
	Sort      CompanySort
}

// VisitingCompany is a company with what its visits of a period come to: those that
// the filter selects. The score is of the company, whatever the filter.
type VisitingCompany struct {
	AccountID string `json:"account_id"`
	// As of the last visit.
	Name         string  `json:"name"`
	Domain       string  `json:"domain"`
	Country      string  `json:"country"`
	Confidence   float32 `json:"confidence"`
	ResolvedBy   string  `json:"resolved_by"`
	Confirmation string  `json:"confirmation"`

	Visits    uint64    `json:"visits"`
	PageViews uint64    `json:"page_views"`
	EngagedMs uint64    `json:"engaged_ms"`
	LastSeen  time.Time `json:"last_seen"`
	// Score is that of the best day of the period, 0 to 100; 0 without one.
	Score uint8 `json:"score"`
	// FirstSeen is the first day anybody of the company was seen, as far as is known;
	// zero when no human was.
	FirstSeen time.Time `json:"first_seen"`
}

// listedCompany is a company by its number, and when its last visit began.
type listedCompany struct {
	VisitingCompany
	number    uint64
	lastBegan time.Time
}

func (c *listedCompany) fields() []any {
	return []any{&c.number, &c.Visits, &c.PageViews, &c.EngagedMs, &c.LastSeen, &c.lastBegan, &c.Score, &c.FirstSeen}
}

// companiesSorts are what an order sorts by.
func companiesSort(by CompanySort) string {
	return []string{ByLastSeen: "toUnixTimestamp64Milli(last_seen)", ByVisits: "toInt64(visits)", ByScore: "toInt64(score)", ByPageViews: "toInt64(pages)"}[by]
}

// A list of companies is first sorted by what their visits come to, and then described.
// They are grouped, joined and found by their numbers (accountHash); texts are read by
// lastVisits. companiesScored joins the scores of all companies, which only some orders
// and filters need; companiesPlain does without.
const (
	companiesHead = ` AS sort_value, toString(v.account) AS sort_key, v.account, visits, pages, engaged, last_seen, last_began, toUInt8(score), toDateTime(first_seen, 'UTC')
FROM (
	SELECT a AS account, sum(n) AS visits, sum(p) AS pages, sum(e) AS engaged, max(l) AS last_seen, max(began) AS last_began`
	companiesPieces = ` FROM (
	`
	companiesOfVisits = `SELECT ACCOUNT AS a, count() AS n, sum(page_views) AS p, sum(engaged_ms) AS e, max(ended_at) AS l, max(started_at) AS began`
	companiesPlain    = `
	) GROUP BY a
) AS v WHERE` + keyset + keysetOrder
	companiesScored = `
	) GROUP BY a
) AS v LEFT JOIN (` + scoresHead + ` FROM accounts_daily FINAL` + daysWhere
	companiesScoredTail = ` GROUP BY account
) AS d ON v.account = d.account
WHERE` + keyset

	// companiesOnly leaves out the visits of no company.
	companiesOnly = "AND NAMED "

	// scores are of the companies of a period, whatever the filter of visits.
	scoresHead = `
	SELECT ` + accountHash + ` AS account, max(score) AS score, minIf(first_seen_day, first_seen_day > toDate(0)) AS first_seen`

	// scoresOf are those of some companies. The account is in the key, so that what
	// PREWHERE takes away it takes in all versions.
	scoresOf = `SELECT account, toUInt8(score), toDateTime(first_seen, 'UTC') FROM (` + scoresHead + ` FROM accounts_daily FINAL
	PREWHERE ` + accountHash + ` IN {numbers:Array(UInt64)}` + daysWhere

	// companiesLast finds what the last visit says of some companies.
	companiesLast = `SELECT account, last.1, last.2, last.3, last.4, last.5, last.6, last.7 FROM (SELECT account, argMax(t, at) AS last FROM (
	`
	companiesLastOfVisits = `SELECT ACCOUNT AS account, argMax((account_id, toString(account_name), toString(account_domain), toString(country), confidence, toString(resolution_source), toString(confirmation)), started_at) AS t, max(started_at) AS at`
	companiesLastTail     = "\n) GROUP BY account)"
)

// VisitingCompanies lists the companies that visited, in the filter's order. Seen
// anew is by days, in the sites' time zone.
func (r *Reader) VisitingCompanies(ctx context.Context, f CompanyFilter, p Page) (List[VisitingCompany], error) {
	if f.Sort < ByLastSeen || f.Sort > ByPageViews || f.ScoreMin < 0 || f.ScoreMin > 100 {
		return List[VisitingCompany]{}, fmt.Errorf("%w: the order or the least score is not one", ErrFilter)
	}
	span, options, err := r.visitSpan(ctx, &f.Filter)
	if err != nil {
		return List[VisitingCompany]{}, err
	}
	span.named = true
	end, none := companiesPlain, ", 0 AS score, toDate(0) AS first_seen"
	scored := f.Sort == ByScore || f.ScoreMin > 0 || f.New || f.Returning
	if scored {
		of, parameters := f.ofCompanies()
		end, none, options = companiesScored+span.sites+companiesScoredTail+of+keysetOrder, "", append(options, parameters...)
	}
	sql := "SELECT " + companiesSort(f.Sort) + companiesHead + none + companiesPieces + span.of(companiesOfVisits, companiesOnly+"GROUP BY a") + end
	// A cursor of one order is none of another.
	rows, err := listOf(ctx, r, fmt.Sprintf("companies in order %d", f.Sort), sql, p, (*listedCompany).fields, options...)
	if err != nil || len(rows.Items) == 0 {
		return List[VisitingCompany]{}, err
	}
	if err := r.describe(ctx, span, options, scored, rows.Items); err != nil {
		return List[VisitingCompany]{}, fmt.Errorf("describing companies: %w", err)
	}
	out := List[VisitingCompany]{Next: rows.Next, Items: make([]VisitingCompany, len(rows.Items))}
	for i, row := range rows.Items {
		out.Items[i] = row.VisitingCompany
	}
	return out, nil
}

// ofCompanies is what a filter asks of a company as a whole.
func (f *CompanyFilter) ofCompanies() (string, []clickhouse.Option) {
	var least, unseen, returning condition
	if f.ScoreMin > 0 {
		least = condition{"score >= {score_min:UInt32}", []clickhouse.Option{clickhouse.Param("score_min", f.ScoreMin)}}
	}
	if f.New {
		unseen.sql = "first_seen >= toDate({from:DateTime64(3, 'UTC')})"
	}
	if f.Returning {
		returning.sql = "first_seen > toDate(0) AND first_seen < toDate({from:DateTime64(3, 'UTC')})"
	}
	return conditions(least, unseen, returning)
}

// describe fills in what the last visit of each company says of it, and its score
// unless it is known. Both are asked at the same time.
func (r *Reader) describe(ctx context.Context, span visitSpan, options []clickhouse.Option, scored bool, companies []listedCompany) error {
	of := make(map[uint64]*listedCompany, len(companies))
	for i := range companies {
		of[companies[i].number] = &companies[i]
	}
	numbers := slices.Collect(maps.Keys(of))
	// The driver must not see one array of options grow twice.
	options = slices.Clip(append(slices.Clip(options), clickhouse.Param("numbers", numbers)))
	var asking sync.WaitGroup
	var ofScores error
	if !scored {
		asking.Go(func() { ofScores = r.scores(ctx, span.sites, options, of) })
	}
	err := r.lastVisits(ctx, span, options, of)
	asking.Wait()
	return errors.Join(err, ofScores)
}

// scores fills in the scores of some companies.
func (r *Reader) scores(ctx context.Context, sites string, options []clickhouse.Option, of map[uint64]*listedCompany) error {
	return r.each(ctx, scoresOf+sites+"GROUP BY account)", func(scan func(...any) error) error {
		var number uint64
		var c VisitingCompany
		if err := scan(&number, &c.Score, &c.FirstSeen); err != nil {
			return err
		}
		if to := of[number]; to != nil {
			to.Score, to.FirstSeen = c.Score, c.FirstSeen
		}
		return nil
	}, options...)
}

// lastVisits fills in what the last visit of each company says of it. The visits that
// began when their last ones did are asked first, which are few; what is not found
// among them, because it was removed meanwhile, is looked for among all.
func (r *Reader) lastVisits(ctx context.Context, span visitSpan, options []clickhouse.Option, of map[uint64]*listedCompany) error {
	found := make(map[uint64]bool, len(of))
	ask := func(span visitSpan, only string, options ...clickhouse.Option) error {
		sql := companiesLast + span.of(companiesLastOfVisits, companiesOnly+only+"AND ACCOUNT IN {numbers:Array(UInt64)} GROUP BY account") + companiesLastTail
		return r.each(ctx, sql, func(scan func(...any) error) error {
			var number uint64
			var c VisitingCompany
			if err := scan(&number, &c.AccountID, &c.Name, &c.Domain, &c.Country, &c.Confidence, &c.ResolvedBy, &c.Confirmation); err != nil {
				return err
			}
			if to := of[number]; to != nil && !found[number] {
				found[number] = true
				to.AccountID, to.Name, to.Domain, to.Country = c.AccountID, c.Name, c.Domain, c.Country
				to.Confidence, to.ResolvedBy, to.Confirmation = c.Confidence, c.ResolvedBy, c.Confirmation
			}
			return nil
		}, append(options, span.options()...)...)
	}
	began, ms := make([]time.Time, 0, len(of)), make([]int64, 0, len(of))
	for _, c := range of {
		began, ms = append(began, c.lastBegan), append(ms, c.lastBegan.UnixMilli())
	}
	then := span
	then.span = span.at(began)
	err := ask(then, "AND toUnixTimestamp64Milli(started_at) IN {began:Array(Int64)} ", append(options, clickhouse.Param("began", ms))...)
	if err != nil || len(found) == len(of) {
		return err
	}
	return ask(span, "", options...)
}
