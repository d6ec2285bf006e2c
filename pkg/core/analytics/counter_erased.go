package analytics

import (
	"context"
	"fmt"
	"time"

	"github.com/metiva-io/metiva/pkg/clickhouse"
	schema "github.com/metiva-io/metiva/schemas/clickhouse"
)

// A counting that reads rows just before they are erased, and writes just after, would
// bring back what they said. Who deletes rows says so in changed_days before the counted
// tables are cleared: Counter.Forget tells a later moment, the erasure of a tenant takes
// its rows away. So a counting looks there once more when all it writes is written. What
// it finds unchanged was written before the tables were cleared, or nobody erased; what
// it finds changed it takes back itself. No clock is compared, and no lock is held.

// changes are when the day was last written to, by tenant.
func (c *Counter) changes(ctx context.Context, d due) (map[string]time.Time, error) {
	out := make(map[string]time.Time, len(d.companies))
	err := c.conn.Each(ctx, "SELECT toString(company_id), max(changed_at) FROM changed_days"+ofDay+" AND day = {day:Date} AND source = {source:String} GROUP BY company_id",
		func(scan func(...any) error) error {
			var company string
			var at time.Time
			err := scan(&company, &at)
			out[company] = at
			return err
		}, clickhouse.Param("bucket", d.bucket), clickhouse.Param("companies", d.companies), clickhouse.Param("source", d.source), clickhouse.Param("day", d.day.Format(time.DateOnly)))
	if err != nil {
		return nil, fmt.Errorf("asking when a day was written to: %w", err)
	}
	return out, nil
}

// takeBack deletes the counting of the tenants whose day changed, or is gone, since
// before.
func (c *Counter) takeBack(ctx context.Context, d due, built time.Time, before map[string]time.Time) error {
	now, err := c.changes(ctx, d)
	if err != nil {
		return err
	}
	var of []string
	for _, company := range d.companies {
		at, stands := now[company]
		if was, stood := before[company]; !stands || !stood || !at.Equal(was) {
			of = append(of, company)
		}
	}
	if len(of) == 0 {
		return nil
	}
	const where = "tenant_bucket = {bucket:UInt8} AND company_id IN {companies:Array(String)} AND day = {day:Date} AND built_at = {built:DateTime64(3, 'UTC')}"
	options := []clickhouse.Option{
		clickhouse.Param("bucket", d.bucket), clickhouse.Param("companies", of), clickhouse.Param("day", d.day.Format(time.DateOnly)), clickhouse.Param("built", built),
	}
	for _, table := range schema.CountedFrom(d.source) {
		if err := deleteIn(ctx, c.conn, table, where, "", options...); err != nil {
			return fmt.Errorf("taking back a counting from %s: %w", table, err)
		}
	}
	return nil
}
