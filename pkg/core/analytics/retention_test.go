package analytics

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/schemas"
	schema "github.com/metiva-io/metiva/schemas/clickhouse"
)

// sameForAll are the tables whose rows are kept as long for every tenant, and why.
func sameForAll() map[string]string {
	return map[string]string{
		"changed_days":  "says that a tenant had rows on a day, and nothing of them",
		"ledger_checks": "counts of a tenant's hour",
	}
}

// TestEveryTableHasAnEnd: each table with rows of tenants expires by a column that a
// tenant's retention sets, or is named as one that is kept as long for all; and none is
// kept for ever.
func TestEveryTableHasAnEnd(t *testing.T) {
	t.Parallel()
	c := migrated(t)
	for _, table := range schema.Tables() {
		var engine string
		if err := c.QueryRow(context.Background(), "SELECT engine_full FROM system.tables WHERE database = {database:String} AND name = {table:String}",
			clickhouse.Param("database", c.Database()), clickhouse.Param("table", table.Name)).Scan(&engine); err != nil {
			t.Fatal(err)
		}
		_, ttl, found := strings.Cut(engine, " TTL ")
		ttl, _, _ = strings.Cut(ttl, " SETTINGS")
		switch _, same := sameForAll()[table.Name]; {
		case !found:
			t.Errorf("%s is kept for ever: %s", table.Name, engine)
		case table.ExpiresColumn != "" && (ttl != table.ExpiresColumn || same):
			t.Errorf("%s expires by %s, and is listed with %s", table.Name, ttl, table.ExpiresColumn)
		case table.ExpiresColumn == "" && !same:
			t.Errorf("%s has no end of a tenant's own, and is not named as one without", table.Name)
		}
	}
}

// old is a row of each table: its site, and how many days ago it came.
type old struct {
	company, site string
	daysAgo       int
}

// aged writes a row for each into each table with an end, to be kept 395 days from then,
// or what the table does by itself.
func aged(t *testing.T, c *clickhouse.Conn, rows ...old) {
	t.Helper()
	var of []string
	for _, r := range rows {
		of = append(of, fmt.Sprintf("(%d, '%s', '%s', %d)", schemas.TenantBucket(r.company), r.company, r.site, r.daysAgo))
	}
	for _, table := range schema.Tables() {
		if table.Kind != schema.Base || table.ExpiresColumn == "" {
			continue
		}
		columns, values := "", ""
		switch table.Name {
		case "events":
			columns, values = "event_id, retention_days, expires_at", "unhex(hex(rand64())), 395, toDateTime(at) + INTERVAL 395 DAY"
		case "visits":
			columns, values = "visit_id, version, retention_days, expires_at", "unhex(hex(rand64())), 1, 395, toDateTime(at) + INTERVAL 395 DAY"
		case "accounts_daily":
			columns, values = "account_id, version, retention_days, expires_at", "'ing.nl', 1, 395, toDateTime(toDate(at) + 1, 'UTC') + INTERVAL 395 DAY"
		case "drops":
			columns, values = "source_offset", "of.4"
		case "ledger_edge":
			columns, values = "count", "1"
		default:
			t.Fatalf("%s expires, and this test writes no row into it", table.Name)
		}
		if err := c.Exec(context.Background(), fmt.Sprintf("INSERT INTO %s (tenant_bucket, company_id, site_id, %s, %s) WITH now64(3, 'UTC') - toIntervalDay(of.4) AS at SELECT of.1, of.2, of.3, at, %s FROM (SELECT arrayJoin([%s]) AS of)",
			table.Name, table.TimeColumn, columns, values, strings.Join(of, ", "))); err != nil {
			t.Fatal(err)
		}
	}
}

// ages are the rows of a table by site and days, as "site daysAgo", those that are kept.
func ages(t *testing.T, c *clickhouse.Conn, table schema.Table, where string) string {
	t.Helper()
	var rows []string
	err := c.Each(context.Background(), "SELECT site_id, toInt64(round((now() - toDateTime("+table.TimeColumn+")) / 86400)) AS days FROM "+table.Name+" FINAL WHERE "+where+" ORDER BY company_id, site_id, days",
		func(scan func(...any) error) error {
			var site string
			var days int64
			if err := scan(&site, &days); err != nil {
				return err
			}
			if table.TimeColumn == "day" { // since the day began
				days = (days + 2) / 5 * 5
			}
			rows = append(rows, fmt.Sprint(site, " ", days))
			return nil
		})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(rows, ", ")
}

// TestAShorterRetentionHoldsForWhatIsThere: rows that were written to be kept longer are
// in no answer once their site's retention is shorter, and gone when ClickHouse has
// merged; those of another site and another tenant stay, as do those that are young. A
// longer retention keeps nothing longer. Doing it again changes nothing.
func TestAShorterRetentionHoldsForWhatIsThere(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	c := migrated(t)
	var rows []old
	for _, ago := range []int{5, 25, 95} {
		rows = append(rows, old{"cmp_a", "sit_1", ago}, old{"cmp_a", "sit_2", ago}, old{"cmp_b", "sit_3", ago})
	}
	aged(t, c, rows...)
	k := NewRetainer(c, time.Now)
	rules := []Retention{{"cmp_a", "sit_1", 10}, {"cmp_a", "sit_2", 60}, {"cmp_b", "sit_3", 3650}, {"cmp_c", "sit_4", 1}}
	before, err := k.Beyond(ctx, rules)
	if err != nil || len(before) != 5 {
		t.Fatalf("beyond: %+v, %v", before, err)
	}
	for _, b := range before {
		if b.CompanyID != "cmp_a" || b.Rows != 6 || b.Over != 3 || !b.First.Before(b.Last) {
			t.Errorf("beyond: %+v", b)
		}
	}
	changed, err := k.Shorten(ctx, rules)
	if err != nil || len(changed) != len(before) {
		t.Fatalf("shortened: %+v, %v", changed, err)
	}
	const want = "sit_1 5, sit_2 5, sit_2 25, sit_3 5, sit_3 25, sit_3 95"
	for _, when := range []string{"at once", "when merged"} {
		for _, table := range schema.Tables() {
			if table.Kind != schema.Base || table.ExpiresColumn == "" {
				continue
			}
			where := table.ExpiresColumn + " > now()"
			if when == "when merged" {
				where = "1"
				if err := c.Exec(ctx, "OPTIMIZE TABLE "+table.Name+" FINAL"); err != nil {
					t.Fatal(err)
				}
			}
			if got := ages(t, c, table, where); got != want {
				t.Errorf("%s %s: %s", table.Name, when, got)
			}
		}
	}
	var said uint64
	if err := c.QueryRow(ctx, "SELECT countIf(retention_days = multiIf(site_id = 'sit_1', 10, site_id = 'sit_2', 60, 395)) FROM events FINAL").Scan(&said); err != nil || said != 6 {
		t.Errorf("%d events say how long they are kept, %v", said, err)
	}
	if again, err := k.Shorten(ctx, rules); err != nil || len(again) != 0 {
		t.Errorf("again: %+v, %v", again, err)
	}
	rules[0].Days, rules[1].Days = 3650, 3650
	if longer, err := k.Shorten(ctx, rules); err != nil || len(longer) != 0 {
		t.Errorf("longer: %+v, %v", longer, err)
	}
}

// TestCountsFollowTheirEvents: a count of a day is dropped when events of it get another
// end.
func TestCountsFollowTheirEvents(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c := migrated(t)
	for _, company := range []string{"cmp_a", "cmp_b"} {
		aged(t, c, old{company, "sit_1", 20})
		if err := c.Exec(ctx, `INSERT INTO traffic_daily (tenant_bucket, company_id, site_id, day, events, expires_at)
SELECT {bucket:UInt8}, {company:String}, 'sit_1', toDate(now('UTC') - INTERVAL 20 DAY), 1, now() + 86400`,
			clickhouse.Param("bucket", schemas.TenantBucket(company)), clickhouse.Param("company", company)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := NewRetainer(c, time.Now).Shorten(ctx, []Retention{{"cmp_a", "sit_1", 10}}); err != nil {
		t.Fatal(err)
	}
	var of string
	if err := c.QueryRow(ctx, "SELECT arrayStringConcat(groupArray(company_id), ',') FROM traffic_daily").Scan(&of); err != nil || of != "cmp_b" {
		t.Errorf("counts of %q are left, %v", of, err)
	}
}

func TestRetentionsThatCannotBeApplied(t *testing.T) {
	t.Parallel()
	k := NewRetainer(nil, time.Now)
	for _, bad := range []Retention{
		{"cmp_a", "sit_1", 0}, {"cmp_a", "sit_1", -1}, {"cmp_a", "sit_1", 3651}, {"", "sit_1", 1}, {"cmp_a", "", 1}, {"cmp_a' OR 1 --", "sit_1", 1}, {"cmp_a", "sit_1'", 1},
	} {
		if _, err := k.Shorten(context.Background(), []Retention{bad}); !errors.Is(err, ErrRetention) {
			t.Errorf("%+v: %v", bad, err)
		}
		if _, err := k.Beyond(context.Background(), []Retention{bad}); !errors.Is(err, ErrRetention) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}
