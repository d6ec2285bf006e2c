package analytics

import (
	"context"
	"fmt"
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

// companiesHead lists the companies of a page with what their visits come to. They are
// grouped, joined and found by their numbers (accountHash); texts are read by describe. The order
// is a number the caller's constant selects, never text. companiesScored joins the scores
// of all companies, which only some orders and filters need; companiesPlain does without.
const (
	companiesSort = `SELECT multiIf({sort:UInt8} = 1, toInt64(visits), {sort:UInt8} = 2, toInt64(score), {sort:UInt8} = 3, toInt64(pages), toUnixTimestamp64Milli(last_seen)) AS sort_value, `
	companiesHead = companiesSort + `toString(v.account) AS sort_key, v.account, visits, pages, engaged, last_seen, last_began, toUInt8(score), toDateTime(first_seen, 'UTC')
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
) AS v LEFT JOIN (` + scores + ` GROUP BY account
) AS d ON v.account = d.account
WHERE score >= {score_min:UInt32}
AND ({new:UInt8} = 0 OR first_seen >= toDate({from:DateTime64(3, 'UTC')}))
AND ({returning:UInt8} = 0 OR (first_seen > toDate(0) AND first_seen < toDate({from:DateTime64(3, 'UTC')})))
AND` + keyset + keysetOrder

	// companiesOnly leaves out the visits of no company.
	companiesOnly = "AND NAMED "

	// scores are of the companies of a period, whatever the filter of visits.
	scores = `
	SELECT ` + accountHash + ` AS account, max(score) AS score, minIf(first_seen_day, first_seen_day > toDate(0)) AS first_seen` + daysWhere

	// companiesLast finds what the last visit says of the companies of a page.
	companiesLast = `SELECT account, last.1, last.2, last.3, last.4, last.5, last.6, last.7, toUInt8(score), toDateTime(first_seen, 'UTC') FROM (SELECT account, argMax(t, at) AS last FROM (
	`
	companiesLastOfVisits = `SELECT ACCOUNT AS account, argMax((account_id, toString(account_name), toString(account_domain), toString(country), confidence, toString(resolution_source), toString(confirmation)), started_at) AS t, max(started_at) AS at`
	companiesLastScored   = "\n) GROUP BY account) AS v CROSS JOIN (SELECT 0 AS score, toDate(0) AS first_seen) AS d"
	companiesLastTail     = `
) GROUP BY account) AS v LEFT JOIN (` + scores + ` AND ` + accountHash + ` IN {numbers:Array(UInt64)} GROUP BY account
) AS d ON v.account = d.account`
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
	options = append(options, clickhouse.Param("sort", int(f.Sort)), clickhouse.Param("score_min", f.ScoreMin),
		clickhouse.Param("new", bit(f.New)), clickhouse.Param("returning", bit(f.Returning)))
	span.named = true
	const tail = companiesOnly + "GROUP BY a"
	end, none := companiesPlain, ", 0 AS score, toDate(0) AS first_seen"
	if f.Sort == ByScore || f.ScoreMin > 0 || f.New || f.Returning {
		end, none = companiesScored, ""
	}
	sql := companiesHead + none + companiesPieces + span.of(companiesOfVisits, tail) + end
	// A cursor of one order is none of another.
	rows, err := listOf(ctx, r, fmt.Sprintf("companies in order %d", f.Sort), sql, p, (*listedCompany).fields, options...)
	if err != nil || len(rows.Items) == 0 {
		return List[VisitingCompany]{}, err
	}
	out := List[VisitingCompany]{Next: rows.Next, Items: make([]VisitingCompany, len(rows.Items))}
	first := rows.Items[0].lastBegan
	numbers := make([]uint64, len(rows.Items))
	for i, row := range rows.Items {
		out.Items[i], numbers[i] = row.VisitingCompany, row.number
		if row.lastBegan.Before(first) {
			first = row.lastBegan
		}
	}
	// What began before all of their last visits says nothing of them.
	span.span = span.since(first)
	return out, r.describe(ctx, span, append(options, span.options()...), end == companiesScored, numbers, out.Items)
}

// describe fills in what the last visit of each company says of it, and its score
// unless it is known. numbers are those of the companies.
func (r *Reader) describe(ctx context.Context, span visitSpan, options []clickhouse.Option, scored bool, numbers []uint64, companies []VisitingCompany) error {
	of := make(map[uint64]*VisitingCompany, len(companies))
	for i := range companies {
		of[numbers[i]] = &companies[i]
	}
	sql := companiesLast + span.of(companiesLastOfVisits, companiesOnly+"AND ACCOUNT IN {numbers:Array(UInt64)} GROUP BY account")
	if scored {
		sql += companiesLastScored
	} else {
		sql += companiesLastTail
	}
	err := r.each(ctx, sql, func(scan func(...any) error) error {
		var number uint64
		var c VisitingCompany
		if err := scan(&number, &c.AccountID, &c.Name, &c.Domain, &c.Country, &c.Confidence, &c.ResolvedBy, &c.Confirmation, &c.Score, &c.FirstSeen); err != nil {
			return err
		}
		if to := of[number]; to != nil {
			to.AccountID, to.Name, to.Domain, to.Country = c.AccountID, c.Name, c.Domain, c.Country
			to.Confidence, to.ResolvedBy, to.Confirmation = c.Confidence, c.ResolvedBy, c.Confirmation
			if !scored {
				to.Score, to.FirstSeen = c.Score, c.FirstSeen
			}
		}
		return nil
	}, append(options, clickhouse.Param("numbers", numbers))...)
	if err != nil {
		return fmt.Errorf("describing companies: %w", err)
	}
	return nil
}
