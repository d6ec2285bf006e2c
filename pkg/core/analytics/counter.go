package analytics

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/schemas"
	schema "github.com/metiva-io/metiva/schemas/clickhouse"
)

// countMarginSeconds is how long after the last write to a day a counting of it has to
// begin to stand. It is longer than an insert or a counting may take, so that no row that
// was on its way when a counting began is missing from one that stands.
const countMarginSeconds = 300

// Counter keeps the tables that hold whole days (schema.Counted, ADR 0036). It works
// across tenants, for jobs and operators. A question never depends on it: a day without
// a counting that stands is read from its rows.
type Counter struct {
	conn *clickhouse.Conn
	// written is called when a day's rows are written; a test erases then.
	written func()
}

// NewCounter makes a counter.
func NewCounter(conn *clickhouse.Conn) *Counter { return &Counter{conn: conn, written: func() {}} }

// Days are days of a tenant, UTC, both ends with them. Of a time the day counts.
type Days struct {
	CompanyID string
	First     time.Time
	Last      time.Time
	// only, when there are any, are the days between the ends that are meant.
	only []string
}

func (d Days) options() ([]clickhouse.Option, error) {
	if !companyID.MatchString(d.CompanyID) {
		return nil, errors.New("the tenant's company id is not one")
	}
	if d.Last.Before(d.First) {
		return nil, errors.New("the last day is before the first")
	}
	return []clickhouse.Option{
		clickhouse.Param("bucket", schemas.TenantBucket(d.CompanyID)), clickhouse.Param("company", d.CompanyID),
		clickhouse.Param("first", d.First.UTC().Format(time.DateOnly)), clickhouse.Param("last", d.Last.UTC().Format(time.DateOnly)),
		clickhouse.Param("only", d.only),
	}, nil
}

const ofDays = `tenant_bucket = {bucket:UInt8} AND company_id = {company:String} AND day >= {first:Date} AND day <= {last:Date}
	AND (empty({only:Array(String)}) OR has({only:Array(String)}, toString(day)))`

// Changed says that the rows of some days are others than before, without an insert
// into their table having told it: from now on those days are read from their rows,
// until a counting that begins five minutes later. A counting that runs meanwhile does
// not stand either.
func (c *Counter) Changed(ctx context.Context, d Days) error {
	options, err := d.options()
	if err != nil {
		return err
	}
	err = c.conn.Exec(ctx, `INSERT INTO changed_days (tenant_bucket, company_id, source, day, changed_at)
SELECT tenant_bucket, company_id, source, day, now64(3) FROM changed_days WHERE `+ofDays+` GROUP BY tenant_bucket, company_id, source, day`,
		append(options, clickhouse.Setting("max_partitions_per_insert_block", 0))...)
	if err != nil {
		return fmt.Errorf("marking days as changed: %w", err)
	}
	return nil
}

// Forget drops the countings of some days, rows and all. Who deletes rows of events or
// visits calls it after the deletion; after writing rows, in a replay too, nothing has
// to be called. It may be repeated, and begun anew after a crash.
func (c *Counter) Forget(ctx context.Context, d Days) error {
	if err := c.Changed(ctx, d); err != nil {
		return err
	}
	options, err := d.options()
	if err != nil {
		return err
	}
	drop := func(ctx context.Context, table string) error {
		if err := deleteIn(ctx, c.conn, table, ofDays, "", options...); err != nil {
			return fmt.Errorf("dropping days from %s: %w", table, err)
		}
		return nil
	}
	// From the end of the first on nothing of the others is read.
	first := countings()
	if err := atOnce(ctx, c.conn, first, drop); err != nil {
		return err
	}
	var rest []string
	for _, t := range schema.Tables() {
		if t.Kind == schema.Counted && !slices.Contains(first, t.Name) {
			rest = append(rest, t.Name)
		}
	}
	return atOnce(ctx, c.conn, rest, drop)
}

// countings are the tables that say which countings there are.
func countings() []string {
	out := []string{schema.CountedFrom(schema.SourceEvents)[0], schema.CountedFrom(schema.SourceVisits)[0]}
	return slices.Compact(out)
}

// countCompaniesMax bounds the tenants one statement counts a day of.
const countCompaniesMax = 500

// due are days of one source and bucket that need a counting.
type due struct {
	bucket    uint8
	source    string
	day       time.Time
	companies []string
}

// dueSQL finds the days that are over, were last written to more than the margin ago,
// and have no counting that began the margin after that; the newest first.
const dueSQL = `SELECT tenant_bucket, source, toDateTime(day, 'UTC'), arraySort(groupArray({companies_max:UInt32})(company_id)) FROM (
	SELECT tenant_bucket, toString(company_id) AS company_id, toString(source) AS source, day, max(changed_at) AS changed
	FROM changed_days GROUP BY tenant_bucket, company_id, source, day
) AS c LEFT JOIN (
	SELECT tenant_bucket, toString(company_id) AS company_id, toString(source) AS source, day, max(built_at) AS built
	FROM counted_days GROUP BY tenant_bucket, company_id, source, day
) AS d USING (tenant_bucket, company_id, source, day)
WHERE day < toDate(now('UTC')) AND day > toDate(now('UTC')) - INTERVAL 61 MONTH AND changed < now64(3) - {margin:UInt32} AND built <= changed + {margin:UInt32}
GROUP BY tenant_bucket, source, day ORDER BY day DESC, tenant_bucket, source LIMIT {limit:UInt32}`

// Count counts the days that need it: those that are over, were written to last more
// than five minutes ago, and have no counting since. It returns how many statements' worth
// it counted, at most limit: a day of one bucket and source each. It may be
// repeated, run in several processes at once, and begun anew after a crash: a counting
// stands from its last statement on.
func (c *Counter) Count(ctx context.Context, limit int) (int, error) {
	var todo []due
	err := c.conn.Each(ctx, dueSQL, func(scan func(...any) error) error {
		var d due
		if err := scan(&d.bucket, &d.source, &d.day, &d.companies); err != nil {
			return err
		}
		todo = append(todo, d)
		return nil
	}, clickhouse.Param("companies_max", countCompaniesMax), clickhouse.Param("margin", countMarginSeconds), clickhouse.Param("limit", limit))
	if err != nil {
		return 0, fmt.Errorf("finding days to count: %w", err)
	}
	for i, d := range todo {
		if err := c.count(ctx, d); err != nil {
			return i, fmt.Errorf("counting %s of %s: %w", d.source, d.day.Format(time.DateOnly), err)
		}
	}
	return len(todo), nil
}

// count counts one day. The rows come first, then what says that they stand; then the
// rows of earlier countings go, and this one's, of whoever's rows were deleted meanwhile.
func (c *Counter) count(ctx context.Context, d due) error {
	before, err := c.changes(ctx, d)
	if err != nil {
		return err
	}
	var built time.Time
	if err := c.conn.QueryRow(ctx, "SELECT now64(3, 'UTC')").Scan(&built); err != nil {
		return fmt.Errorf("asking for the time: %w", err)
	}
	options := []clickhouse.Option{
		clickhouse.Param("bucket", d.bucket), clickhouse.Param("companies", d.companies), clickhouse.Param("source", d.source),
		clickhouse.Param("day", d.day.Format(time.DateOnly)), clickhouse.Param("built", built),
		clickhouse.Setting("do_not_merge_across_partitions_select_final", 1), clickhouse.Setting("mutations_sync", 2),
	}
	statements := map[string][]string{
		schema.SourceEvents: {countTraffic, countedTraffic},
		schema.SourceVisits: {closeVisits, inClosed().Replace(countPages), countGroups, countedVisits},
	}
	for _, sql := range statements[d.source] {
		if err := c.conn.Exec(ctx, sql, options...); err != nil {
			return err
		}
	}
	for _, table := range schema.CountedFrom(d.source)[1:] {
		if err := deleteIn(ctx, c.conn, table, earlier, "", options...); err != nil {
			return fmt.Errorf("dropping earlier rows of %s: %w", table, err)
		}
	}
	c.written()
	return c.takeBack(ctx, d, built, before)
}

const earlier = `tenant_bucket = {bucket:UInt8} AND company_id IN {companies:Array(String)} AND day = {day:Date} AND built_at < {built:DateTime64(3, 'UTC')}`
