package analytics

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/schemas"
)

// countMargin is how long after the last write to a day a counting of it has to begin to
// stand. It is longer than an insert or a counting may take, so that no row that was on
// its way when a counting began is missing from one that stands.
const countMargin = 5 * time.Minute

// Counter keeps the tables that hold counts of whole days (ADR 0036). It works across
// tenants, for jobs and operators. A question never depends on it: a day without a
// counting that stands is read from its events.
type Counter struct{ conn *clickhouse.Conn }

// NewCounter makes a counter.
func NewCounter(conn *clickhouse.Conn) *Counter { return &Counter{conn: conn} }

// Days are days of a tenant, UTC, both ends with them. Of a time the day counts.
type Days struct {
	CompanyID string
	First     time.Time
	Last      time.Time
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
	}, nil
}

const ofDays = ` tenant_bucket = {bucket:UInt8} AND company_id = {company:String} AND day >= {first:Date} AND day <= {last:Date}`

// Changed says that the rows of some days are others than before, without an insert
// into their table having told it: from now on those days are read from their rows,
// until a counting that begins countMargin later. A counting that runs meanwhile does
// not stand either.
func (c *Counter) Changed(ctx context.Context, d Days) error {
	options, err := d.options()
	if err != nil {
		return err
	}
	err = c.conn.Exec(ctx, `INSERT INTO changed_days (tenant_bucket, company_id, day, changed_at)
SELECT tenant_bucket, company_id, day, now64(3) FROM changed_days WHERE`+ofDays+` GROUP BY tenant_bucket, company_id, day`,
		append(options, clickhouse.Setting("max_partitions_per_insert_block", 0))...)
	if err != nil {
		return fmt.Errorf("marking days as changed: %w", err)
	}
	return nil
}

// Forget drops the countings of some days, rows and all. Who deletes events calls it
// after the deletion; after writing events, in a replay too, nothing has to be called.
// It may be repeated, and begun anew after a crash.
func (c *Counter) Forget(ctx context.Context, d Days) error {
	if err := c.Changed(ctx, d); err != nil {
		return err
	}
	options, err := d.options()
	if err != nil {
		return err
	}
	options = append(options, clickhouse.Setting("mutations_sync", 2))
	for _, table := range []string{"counted_days", "traffic_daily"} {
		if err := c.conn.Exec(ctx, "ALTER TABLE "+table+" DELETE WHERE"+ofDays, options...); err != nil {
			return fmt.Errorf("dropping counts from %s: %w", table, err)
		}
	}
	return nil
}

// Count counts the days that need it: those that are over, were written to last more
// than countMargin ago, and have no counting since. It returns how many, at most
// daysMax. It may be repeated, run in several processes at once, and begun anew after a
// crash: a counting stands from its last statement on.
func (c *Counter) Count(ctx context.Context, daysMax int) (int, error) {
	return 0, errors.ErrUnsupported
}
