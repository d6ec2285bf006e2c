package analytics

import (
	"context"
	"errors"
	"fmt"
	"regexp"
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

// tenantPredicate is the condition each statement states itself; bucket prunes
// partitions, company the order.
const tenantPredicate = ` tenant_bucket = {bucket:UInt8} AND company_id = {company:String}
AND received_at >= {from:DateTime64(3, 'UTC')} AND received_at < {to:DateTime64(3, 'UTC')} AND` + kept

// filters is the setting that puts the tenant's condition under every table.
func (r *Reader) filters() string {
	var filters []string
	for _, table := range schema.Tables() {
		filters = append(filters, fmt.Sprintf(`'%s.%s': 'company_id = \'%s\''`, r.conn.Database(), table.Name, r.company))
	}
	return "{" + strings.Join(filters, ", ") + "}"
}

func (r *Reader) each(ctx context.Context, sql string, fn func(scan func(...any) error) error, options ...clickhouse.Option) error {
	options = append(options, limits()...)
	return tooMuch(r.conn.Each(ctx, sql, fn, append(options, clickhouse.Setting("additional_table_filters", r.filters()))...))
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

// Companies lists the visiting companies of a period by visits, at most
// limitMax of them.
func (r *Reader) Companies(ctx context.Context, p Period, limitMax int) ([]Company, error) {
	var out []Company
	err := r.each(ctx, `SELECT account_id, argMax(account_name, received_at), argMax(account_domain, received_at),
	uniqExactIf(visit_key, type = 'page_view') AS visits, countIf(type = 'page_view'), max(received_at) AS last_seen,
	argMax(confidence, received_at), argMax(resolution_source, received_at)
FROM events FINAL
WHERE`+tenantPredicate+`AND verdict = 'company'
GROUP BY account_id HAVING visits > 0 ORDER BY visits DESC, last_seen DESC, account_id LIMIT {limit:UInt32}`,
		func(scan func(...any) error) error {
			var c Company
			if err := scan(&c.AccountID, &c.Name, &c.Domain, &c.Visits, &c.Pages, &c.LastSeen, &c.Confidence, &c.Reason); err != nil {
				return err
			}
			out = append(out, c)
			return nil
		}, append(r.of(p), clickhouse.Param("limit", limitMax))...)
	if err != nil {
		return nil, fmt.Errorf("listing companies: %w", err)
	}
	return out, nil
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
	err := r.each(ctx, `SELECT verdict, uniqExactIf(visit_key, type = 'page_view') AS visits, count() FROM events FINAL
WHERE`+tenantPredicate+`GROUP BY verdict ORDER BY visits DESC, verdict`,
		func(scan func(...any) error) error {
			var v VerdictCount
			if err := scan(&v.Verdict, &v.Visits, &v.Events); err != nil {
				return err
			}
			out = append(out, v)
			return nil
		}, r.of(p)...)
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
	err := r.each(ctx, `SELECT bot, uniqExactIf(visit_key, type = 'page_view') AS visits, count() FROM events FINAL
WHERE`+tenantPredicate+`AND bot NOT IN ('', 'none') GROUP BY bot ORDER BY visits DESC, bot`,
		func(scan func(...any) error) error {
			var c ClassCount
			if err := scan(&c.Class, &c.Visits, &c.Events); err != nil {
				return err
			}
			out = append(out, c)
			return nil
		}, r.of(p)...)
	if err != nil {
		return nil, fmt.Errorf("counting filtered visits: %w", err)
	}
	return out, nil
}
