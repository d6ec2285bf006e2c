package analytics

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/metiva-io/metiva/pkg/clickhouse"
	schema "github.com/metiva-io/metiva/schemas/clickhouse"
)

// VerifiedTenant is a tenant whose id was verified: a claim that pkg/tenant
// checked, or an operator's own choice on the command line. A string from a
// request is not one.
type VerifiedTenant interface {
	CompanyID() string
}

// Reader answers for one tenant.
type Reader struct {
	conn    *clickhouse.Conn
	company string
	// policies says that the server has row policies (policies.go).
	policies bool
	// rowsOnly reads no countings; tests compare with it.
	rowsOnly bool
}

// companyID is the form of a company id. It stands in a filter expression.
var companyID = regexp.MustCompile(`^cmp_[a-z0-9]{1,40}$`)

// NewReader makes a reader that sees one tenant.
func NewReader(conn *clickhouse.Conn, tenant VerifiedTenant) (*Reader, error) {
	id := tenant.CompanyID()
	if !companyID.MatchString(id) {
		return nil, errors.New("the tenant's company id is not one")
	}
	return &Reader{conn: conn, company: id}, nil
}

// Period is a half-open range of time of receipt.
type Period struct{ From, To time.Time }

// filters is the setting that puts the tenant's condition under every table.
func (r *Reader) filters() string {
	var filters []string
	for _, table := range schema.Tables() {
		filters = append(filters, fmt.Sprintf(`'%s.%s': 'company_id = \'%s\''`, r.conn.Database(), table.Name, r.company))
	}
	return "{" + strings.Join(filters, ", ") + "}"
}

func (r *Reader) each(ctx context.Context, sql string, fn func(scan func(...any) error) error, options ...clickhouse.Option) error {
	options = append(append(options, limits()...), r.under()...)
	return tooMuch(r.conn.Each(undated{ctx}, sql, fn, append(options, clickhouse.Setting("additional_table_filters", r.filters()))...))
}

// Company is a visiting company in a period.
type Company struct {
	AccountID string `json:"account_id"`
	Name      string `json:"name"`
	Domain    string `json:"domain"`
	// Visits is the number of anonymous visit keys: several visitors in one
	// office on one day count once for each browser family. Only page views make
	// a visit: a consent given on a page changes the key of what comes after it.
	Visits uint64 `json:"visits"`
	Pages  uint64 `json:"pages"`
	// LastSeen is the last event of any type.
	LastSeen time.Time `json:"last_seen"`
	// Confidence is 0 to 1, as of the last visit, and Reason the table or
	// database that named the company.
	Confidence float32 `json:"confidence"`
	Reason     string  `json:"reason"`
}

// eventSpan divides a period of events.
func (r *Reader) eventSpan(ctx context.Context, p Period) (span, []clickhouse.Option, error) {
	s, err := r.divide(ctx, schema.SourceEvents, p)
	return s, append(r.of(p), s.options()...), err
}

// visitsOfEvents counts distinct visit keys as traffic_daily does: of a day, and once
// for each site, verdict, class and company they come with.
const visitsOfEvents = `uniqExactIf((toDate(received_at), visit_key, site_id, brand_id, verdict, bot, account_id), type = 'page_view')`

// Companies lists the visiting companies of a period by visits, at most
// limitMax of them.
func (r *Reader) Companies(ctx context.Context, p Period, limitMax int) ([]Company, error) {
	s, options, err := r.eventSpan(ctx, p)
	if err != nil {
		return nil, err
	}
	of := func(standing, open, group string) string {
		return s.union(standing+` FROM traffic_daily WHERE`+ofStanding+` AND verdict = 'company'`+group, open+` FROM events FINAL WHERE`+s.ofOpen("received_at")+`AND verdict = 'company'`+group)
	}
	sql := `SELECT account_id, sum(v) AS visits, sum(n), max(l) AS last_seen FROM (
	` + of(`SELECT account_id, sum(visits) AS v, sum(page_views) AS n, max(last_at) AS l`,
		`SELECT account_id, `+visitsOfEvents+` AS v, countIf(type = 'page_view') AS n, max(received_at) AS l`, " GROUP BY account_id") + `
) GROUP BY account_id HAVING visits > 0 ORDER BY visits DESC, last_seen DESC, account_id LIMIT {limit:UInt32}`
	var out []Company
	err = r.each(ctx, sql, func(scan func(...any) error) error {
		var c Company
		if err := scan(&c.AccountID, &c.Visits, &c.Pages, &c.LastSeen); err != nil {
			return err
		}
		out = append(out, c)
		return nil
	}, append(slices.Clone(options), clickhouse.Param("limit", limitMax))...)
	if err != nil {
		return nil, fmt.Errorf("listing companies: %w", err)
	}
	// What the last event says is asked of the companies that are listed only.
	index, accounts := make(map[string]*Company, len(out)), make([]string, len(out))
	for i := range out {
		index[out[i].AccountID], accounts[i] = &out[i], out[i].AccountID
	}
	const listed = ` AND account_id IN {accounts:Array(String)} GROUP BY account_id`
	sql = `SELECT account_id, last.1, last.2, last.3, last.4 FROM (SELECT account_id, argMax(t, l) AS last FROM (
	` + of(`SELECT account_id, argMax((account_name, account_domain, confidence, toString(resolution_source)), last_at) AS t, max(last_at) AS l`,
		`SELECT account_id, argMax((account_name, account_domain, confidence, toString(resolution_source)), received_at) AS t, max(received_at) AS l`, listed) + `
) GROUP BY account_id)`
	for chunk := range slices.Chunk(accounts, filterAccountsMax) {
		err = r.each(ctx, sql, func(scan func(...any) error) error {
			var c Company
			if err := scan(&c.AccountID, &c.Name, &c.Domain, &c.Confidence, &c.Reason); err != nil {
				return err
			}
			if to := index[c.AccountID]; to != nil {
				to.Name, to.Domain, to.Confidence, to.Reason = c.Name, c.Domain, c.Confidence, c.Reason
			}
			return nil
		}, append(slices.Clone(options), clickhouse.Param("accounts", chunk))...)
		if err != nil {
			return nil, fmt.Errorf("describing companies: %w", err)
		}
	}
	return out, nil
}

// classed counts the visits and events of a period by one column.
func (r *Reader) classed(ctx context.Context, column, condition string, p Period, add func(class string, visits, events uint64)) error {
	s, options, err := r.eventSpan(ctx, p)
	if err != nil {
		return err
	}
	sql := `SELECT class, sum(v) AS visits, sum(n) FROM (
	` + s.union(`SELECT toString(`+column+`) AS class, sum(visits) AS v, sum(events) AS n FROM traffic_daily WHERE`+ofStanding+condition+` GROUP BY `+column,
		`SELECT toString(`+column+`) AS class, `+visitsOfEvents+` AS v, count() AS n FROM events FINAL WHERE`+s.ofOpen("received_at")+condition+` GROUP BY `+column) + `
) GROUP BY class ORDER BY visits DESC, class`
	return r.each(ctx, sql, func(scan func(...any) error) error {
		var class string
		var visits, events uint64
		if err := scan(&class, &visits, &events); err != nil {
			return err
		}
		add(class, visits, events)
		return nil
	}, options...)
}

// VerdictCount says how much of a period had one verdict.
type VerdictCount struct {
	Verdict string `json:"verdict"`
	Visits  uint64 `json:"visits"`
	// Events are those of every type.
	Events uint64 `json:"events"`
}

// Coverage counts the events and visits of a period by verdict: how many were
// named, and why the others were not.
func (r *Reader) Coverage(ctx context.Context, p Period) ([]VerdictCount, error) {
	var out []VerdictCount
	err := r.classed(ctx, "verdict", "", p, func(verdict string, visits, events uint64) { out = append(out, VerdictCount{verdict, visits, events}) })
	if err != nil {
		return nil, fmt.Errorf("counting verdicts: %w", err)
	}
	return out, nil
}

// ClassCount says how much of a period was one class of automated visitors.
type ClassCount struct {
	Class  string `json:"class"`
	Visits uint64 `json:"visits"`
	// Events are those of every type.
	Events uint64 `json:"events"`
}

// Filtered counts the automated visits of a period by class. None of them is a
// company, whatever its network.
func (r *Reader) Filtered(ctx context.Context, p Period) ([]ClassCount, error) {
	var out []ClassCount
	err := r.classed(ctx, "bot", " AND bot NOT IN ('', 'none')", p, func(class string, visits, events uint64) { out = append(out, ClassCount{class, visits, events}) })
	if err != nil {
		return nil, fmt.Errorf("counting filtered visits: %w", err)
	}
	return out, nil
}
