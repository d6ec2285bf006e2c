package analytics

import (
	"context"
	"testing"
	"time"

	"github.com/metiva-io/metiva/pkg/clickhouse"
	schema "github.com/metiva-io/metiva/schemas/clickhouse"
)

// TestACountingBringsNothingBack: a tenant, and then a visitor, is erased while their
// days are counted, and the counting's rows come to lie in the tables after the erasure:
// they are gone when it ends.
func TestACountingBringsNothingBack(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	d := someDays(t)
	d.age()
	exec := func(sql string, options ...clickhouse.Option) {
		t.Helper()
		if err := d.c.Exec(ctx, sql, append(options, clickhouse.Setting("mutations_sync", 2), clickhouse.Setting("insert_deduplicate", 0), clickhouse.Setting("max_partitions_per_insert_block", 0))...); err != nil {
			t.Fatal(err)
		}
	}
	rows := func(table, company string) (n uint64) {
		t.Helper()
		if err := d.c.QueryRow(ctx, "SELECT count() FROM "+table+" WHERE company_id = {c:String}", clickhouse.Param("c", company)).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	var counted []string
	for _, table := range schema.Tables() {
		if table.Kind == schema.Counted {
			counted = append(counted, table.Name)
			exec("CREATE TABLE late_" + table.Name + " ENGINE = Memory AS SELECT * FROM " + table.Name + " WHERE 0") // no table an eraser looks at
		}
	}
	// meanwhile erases, and has the statements of the counting end after that.
	late := uint64(0)
	meanwhile := func(company string, erase func()) func() {
		erased := false
		return func() {
			if erased || rows("traffic_daily", company)+rows("closed_visits", company) == 0 {
				return
			}
			erased = true
			for _, table := range counted {
				exec("TRUNCATE TABLE late_" + table)
				exec("INSERT INTO late_"+table+" SELECT * FROM "+table+" WHERE company_id = {c:String}", clickhouse.Param("c", company))
			}
			erase()
			for _, table := range counted {
				exec("INSERT INTO " + table + " SELECT * FROM late_" + table)
				late += rows(table, company)
			}
		}
	}
	eraser, err := NewEraser(d.c, tenant("cmp_b"), nil)
	if err != nil {
		t.Fatal(err)
	}
	c := NewCounter(d.c)
	c.written = meanwhile("cmp_b", func() {
		if err := eraser.Delete(ctx, time.Now(), "era_x/1"); err != nil {
			t.Fatal(err)
		}
	})
	// One look for days knows all of the tenant, also those of the statements to come.
	if n, err := c.Count(ctx, 4); err != nil || n != 4 {
		t.Fatalf("counted %d, %v", n, err)
	}
	for _, table := range counted {
		if n := rows(table, "cmp_b"); n != 0 {
			t.Errorf("%d rows of an erased tenant are in %s", n, table)
		}
	}
	if late == 0 {
		t.Fatal("the test counts nothing late")
	}
	if rows("traffic_daily", "cmp_a")+rows("closed_visits", "cmp_a") == 0 {
		t.Error("the other tenant's days are not counted")
	}
	whole := Days{CompanyID: "cmp_a", First: d.today.AddDate(0, 0, -daysBack), Last: d.today}
	late = 0
	c.written = meanwhile("cmp_a", func() {
		if err := c.Forget(ctx, whole); err != nil {
			t.Fatal(err)
		}
	})
	if n, err := c.Count(ctx, 1); err != nil || n != 1 || late == 0 {
		t.Fatalf("counted %d with %d rows late, %v", n, late, err)
	}
	var left uint64
	for _, table := range counted {
		var n uint64
		if err := d.c.QueryRow(ctx, "SELECT count() FROM "+table+" WHERE company_id = 'cmp_a' AND built_at = (SELECT max(built_at) FROM late_counted_days)").Scan(&n); err != nil {
			t.Fatal(err)
		}
		left += n
	}
	if left != 0 {
		t.Errorf("%d rows are left of a counting that saw the erased visitor", left)
	}
}
