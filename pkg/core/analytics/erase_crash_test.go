package analytics

import (
	"testing"
	"time"

	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/schemas"
	schema "github.com/metiva-io/metiva/schemas/clickhouse"
)

// TestDaysOfDeletedRowsAreKnownAfterACrash: the counts of an old day go although the attempt
// that deleted the visitor's rows ended before it dropped them, and the drops that stood
// for the events are past their own retention; those of two days before go too, and no
// further.
func TestDaysOfDeletedRowsAreKnownAfterACrash(t *testing.T) {
	t.Parallel()
	c := migrated(t)
	const who = tenant("cmp_a")
	visitor := []byte("0123456789abcdef")
	old := time.Now().UTC().AddDate(0, -20, 0).Truncate(24 * time.Hour)
	of := []clickhouse.Option{clickhouse.Param("b", schemas.TenantBucket(string(who))), clickhouse.Param("c", string(who)), clickhouse.Param("d", old.Format(time.DateOnly))}
	exec := func(sql string) {
		t.Helper()
		if err := c.Exec(t.Context(), sql, of...); err != nil {
			t.Fatal(err)
		}
	}
	number := func(table string) (n uint64) {
		t.Helper()
		if err := c.QueryRow(t.Context(), "SELECT count() FROM "+table+" WHERE company_id = {c:String}", of...).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	exec(`INSERT INTO events (tenant_bucket, company_id, event_id, visitor_id, consent, received_at, expires_at)
SELECT {b:UInt8}, {c:String}, 'event-0000000001', '0123456789abcdef', 'analytics', toDateTime64({d:Date}, 3, 'UTC'), now() + INTERVAL 1 YEAR`)
	exec("TRUNCATE TABLE changed_days") // written long ago
	const days = " FROM (SELECT {d:Date} - arrayJoin([0, 2, 3]) AS day)"
	exec("INSERT INTO changed_days (tenant_bucket, company_id, source, day, changed_at) SELECT {b:UInt8}, {c:String}, 'events', day, now64(3) - INTERVAL 2 DAY" + days)
	for _, table := range schema.CountedFrom(schema.SourceEvents) {
		exec("INSERT INTO " + table + " (tenant_bucket, company_id, day, built_at, expires_at) SELECT {b:UInt8}, {c:String}, day, now(), now() + INTERVAL 1 YEAR" + days)
	}

	e, err := NewEraser(c, who, visitor)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := e.MarkDropped(t.Context()); err != nil {
		t.Fatal(err)
	}
	tables, err := e.tables(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, touched, err := e.changing(t.Context(), began); err != nil || !touched {
		t.Fatalf("the visitor was seen: %v, %v", touched, err)
	}
	if err := e.deleteFrom(t.Context(), tables, "era_x/1"); err != nil {
		t.Fatal(err)
	}
	exec("OPTIMIZE TABLE drops FINAL")
	if events, drops := number("events"), number("drops"); events != 0 || drops != 0 {
		t.Fatalf("before the second attempt there are %d events and %d drops", events, drops)
	}

	if err := e.MarkDropped(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := e.Delete(t.Context(), began, "era_x/2"); err != nil {
		t.Fatal(err)
	}
	for _, table := range schema.CountedFrom(schema.SourceEvents) {
		if n := number(table); n != 1 {
			t.Errorf("%d days are left in %s, want the one three days before", n, table)
		}
	}
}
