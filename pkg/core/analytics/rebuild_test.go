package analytics

import (
	"context"
	"testing"
	"time"

	"github.com/metiva-io/metiva/pkg/clickhouse"
)

// TestRebuild: a view that saw nothing of a day's rows is made good, and a counting that
// says something else goes; other days and tenants stay as they are.
func TestRebuild(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	b := book{t, migrated(t)}
	for i, company := range []string{"cmp_a", "cmp_b"} {
		b.event(company, "w", int64(i))
	}
	exec := func(sql string) {
		t.Helper()
		if err := b.conn.Exec(ctx, sql, clickhouse.Setting("mutations_sync", 2)); err != nil {
			t.Fatal(err)
		}
	}
	number := func(sql string) (n uint64) {
		t.Helper()
		if err := b.conn.QueryRow(ctx, sql).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	// The views saw nothing, and countings say what is not so.
	exec("TRUNCATE TABLE changed_days")
	for _, company := range []string{"cmp_a", "cmp_b"} {
		b.insert("traffic_daily", company, from, clickhouse.Column{Name: "built_at", Values: []time.Time{time.Now()}},
			clickhouse.Column{Name: "expires_at", Values: []time.Time{time.Now().AddDate(1, 0, 0)}})
	}
	c := NewCounter(b.conn)
	for range 2 {
		if err := c.Rebuild(ctx, Days{CompanyID: "cmp_a", First: from, Last: from}); err != nil {
			t.Fatal(err)
		}
	}
	if n := number("SELECT count() FROM changed_days FINAL WHERE company_id = 'cmp_a' AND source = 'events'"); n != 1 {
		t.Errorf("%d days have changed", n)
	}
	if n := number("SELECT count() FROM changed_days FINAL WHERE company_id != 'cmp_a'"); n != 0 {
		t.Errorf("%d days of another tenant have changed", n)
	}
	if a, other := number("SELECT count() FROM traffic_daily FINAL WHERE company_id = 'cmp_a'"), number("SELECT count() FROM traffic_daily FINAL WHERE company_id = 'cmp_b'"); a != 0 || other != 1 {
		t.Errorf("%d countings are left, %d of another tenant", a, other)
	}
	for _, bad := range []Days{{CompanyID: "x", First: from, Last: from}, {CompanyID: "cmp_a", First: from, Last: from.AddDate(0, 0, -1)}} {
		if err := c.Rebuild(ctx, bad); err == nil {
			t.Errorf("%+v is rebuilt", bad)
		}
	}
}
