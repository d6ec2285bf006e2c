package analytics

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/schemas"
)

// TestExpiredRowsAreInNoAnswer: what is past its tenant's retention lies in its table
// until ClickHouse merges it away, at a time of its own choosing. No answer holds it.
func TestExpiredRowsAreInNoAnswer(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c := migrated(t)
	r, err := NewReader(c, tenant("cmp_a"))
	if err != nil {
		t.Fatal(err)
	}
	period := Period{from, from.AddDate(0, 0, 1)}
	fill := func(account string, seconds int) {
		for _, sql := range []string{
			`INSERT INTO visits (tenant_bucket, company_id, site_id, visit_id, started_at, ended_at, version, verdict, account_id, page_views, page_hosts, page_paths, page_view_counts, page_engaged_ms, expires_at)
SELECT {bucket:UInt8}, 'cmp_a', 'sit_1', {account:String}, {at:DateTime64(3, 'UTC')}, {at:DateTime64(3, 'UTC')}, 1, 'company', {account:String}, 1, ['www'], [{account:String}], [1], [1], now() + {seconds:Int32}`,
			`INSERT INTO accounts_daily (tenant_bucket, company_id, site_id, day, account_id, version, score, expires_at)
SELECT {bucket:UInt8}, 'cmp_a', 'sit_1', toDate({at:DateTime64(3, 'UTC')}), {account:String}, 1, 9, now() + {seconds:Int32}`,
			`INSERT INTO events (tenant_bucket, company_id, site_id, event_id, type, received_at, visit_key, verdict, bot, account_id, expires_at)
SELECT {bucket:UInt8}, 'cmp_a', 'sit_1', {account:String}, 'page_view', {at:DateTime64(3, 'UTC')}, {account:String}, 'company', {account:String}, {account:String}, now() + {seconds:Int32}`,
		} {
			if err := c.Exec(ctx, sql, clickhouse.Param("bucket", schemas.TenantBucket("cmp_a")), clickhouse.Param("account", account),
				clickhouse.Param("at", from.Add(time.Hour)), clickhouse.Param("seconds", seconds)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, table := range []string{"visits", "accounts_daily", "events"} {
		if err := c.Exec(ctx, "SYSTEM STOP MERGES "+table); err != nil {
			t.Fatal(err)
		}
	}
	fill("kept.nl", 3600)
	fill("gone.nl", -3600)
	for _, table := range []string{"visits", "accounts_daily", "events"} {
		var rows uint64
		if err := c.QueryRow(ctx, "SELECT count() FROM "+table+" WHERE account_id = 'gone.nl'").Scan(&rows); err != nil || rows != 1 {
			t.Fatalf("%s holds %d rows of what is to be left out, %v", table, rows, err)
		}
	}
	f := Filter{Period: period}
	for name, ask := range map[string]func() (any, error){
		"feed":      func() (any, error) { return r.LiveFeed(ctx, f, Page{}) },
		"companies": func() (any, error) { return r.VisitingCompanies(ctx, CompanyFilter{Filter: f}, Page{}) },
		"scores": func() (any, error) {
			l, err := r.Scores(ctx, "gone.nl", f, Page{})
			if err == nil && len(l.Items) != 0 {
				return "gone.nl", nil
			}
			return "kept.nl", err
		},
		"pages":       func() (any, error) { return r.Pages(ctx, f, Page{}) },
		"of events":   func() (any, error) { return r.Companies(ctx, period, 10) },
		"bot classes": func() (any, error) { return r.Filtered(ctx, period) },
	} {
		answer, err := ask()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		text, err := json.Marshal(answer)
		if err != nil || strings.Contains(string(text), "gone.nl") || !strings.Contains(string(text), "kept.nl") {
			t.Errorf("%s: %s, %v", name, text, err)
		}
	}
}
