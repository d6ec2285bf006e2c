package analytics

import (
	"context"
	"fmt"

	"github.com/metiva-io/metiva/pkg/clickhouse"
)

// tellChanged says of days of a source what its view would have said, had it seen the
// rows: that they were written to now.
const (
	tellEvents = `INSERT INTO changed_days (tenant_bucket, company_id, source, day, changed_at)
SELECT tenant_bucket, company_id, 'events', toDate(received_at) AS day, now64(3) FROM events
WHERE tenant_bucket = {bucket:UInt8} AND company_id = {company:String} AND toDate(received_at) >= {first:Date} AND toDate(received_at) <= {last:Date}
GROUP BY tenant_bucket, company_id, day`

	tellVisits = `INSERT INTO changed_days (tenant_bucket, company_id, source, day, changed_at)
SELECT tenant_bucket, company_id, 'visits', toDate(started_at) AS day, now64(3) FROM visits
WHERE tenant_bucket = {bucket:UInt8} AND company_id = {company:String} AND toDate(started_at) >= {first:Date} AND toDate(started_at) <= {last:Date}
GROUP BY tenant_bucket, company_id, day`
)

// Rebuild makes what is made from events and visits of some days anew: the target of the
// views from the rows as they are, and the countings by dropping them. Questions read the
// rows from then on, until Count has counted those days again, five minutes later at the
// earliest. It may be repeated, and begun anew after a crash.
func (c *Counter) Rebuild(ctx context.Context, d Days) error {
	options, err := d.options()
	if err != nil {
		return err
	}
	for _, sql := range []string{tellEvents, tellVisits} {
		if err := c.conn.Exec(ctx, sql, append(options, clickhouse.Setting("max_partitions_per_insert_block", 0))...); err != nil {
			return fmt.Errorf("making the views' rows anew: %w", err)
		}
	}
	return c.Forget(ctx, d)
}
