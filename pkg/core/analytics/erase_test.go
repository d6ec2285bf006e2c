package analytics

import (
	"context"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/schemas"
	schema "github.com/metiva-io/metiva/schemas/clickhouse"
)

// neighbours are two tenants of one bucket, so that erasing the one rewrites parts of
// the other.
func neighbours() (a, b tenant) {
	a = "cmp_a"
	for n := 0; ; n++ {
		if b = tenant(fmt.Sprintf("cmp_b%d", n)); schemas.TenantBucket(string(b)) == schemas.TenantBucket(string(a)) {
			return a, b
		}
	}
}

// fillTenant gives a tenant rows in every table, in two months, half of them of
// the visitor.
func fillTenant(t *testing.T, c *clickhouse.Conn, who tenant, visitor []byte) {
	t.Helper()
	const n = 60
	bucket := slices.Repeat([]uint8{schemas.TenantBucket(string(who))}, n)
	company := slices.Repeat([]string{string(who)}, n)
	ids, visitors, at, day, minutes := make([][]byte, n), make([][]byte, n), make([]time.Time, n), make([]time.Time, n), make([]time.Time, n)
	consents, expires, accounts, offsets := make([]string, n), make([]time.Time, n), make([]string, n), make([]int64, n)
	for i := range n {
		ids[i], visitors[i], consents[i] = fmt.Appendf(nil, "%-7.7s-%08d", who, i), make([]byte, 16), "denied"
		if i%2 == 0 {
			visitors[i], consents[i] = visitor, "analytics"
		}
		at[i] = time.Date(2026, time.Month(10+i/2%2), 3, 10, i, 0, 0, time.UTC)
		day[i], minutes[i] = at[i].Truncate(24*time.Hour), at[i]
		expires[i], accounts[i], offsets[i] = time.Now().AddDate(1, 0, 0), fmt.Sprintf("a%d.nl", i), int64(i)
	}
	common := []clickhouse.Column{{Name: "tenant_bucket", Values: bucket}, {Name: "company_id", Values: company}}
	counted := []clickhouse.Column{{Name: "day", Values: day}, {Name: "built_at", Values: at}, {Name: "expires_at", Values: expires}}
	for table, columns := range map[string][]clickhouse.Column{
		"counted_days": counted, "traffic_daily": counted, "closed_visits": counted, "pages_daily": counted, "groups_daily": counted,
		"events": {
			{Name: "event_id", Values: ids},
			{Name: "visitor_id", Values: visitors},
			{Name: "consent", Values: consents},
			{Name: "received_at", Values: at},
			{Name: "expires_at", Values: expires},
			{Name: "source_offset", Values: offsets},
		},
		"visits": {
			{Name: "visit_id", Values: ids},
			{Name: "visitor_id", Values: visitors},
			{Name: "consent", Values: consents},
			{Name: "started_at", Values: at},
			{Name: "expires_at", Values: expires},
			{Name: "version", Values: make([]uint64, n)},
			{Name: "removed", Values: make([]uint8, n)},
		},
		"drops":          {{Name: "event_id", Values: ids}, {Name: "received_at", Values: at}, {Name: "source_partition", Values: slices.Repeat([]int32{-1}, n)}},
		"ledger_edge":    {{Name: "minute", Values: minutes}, {Name: "count", Values: make([]uint64, n)}},
		"accounts_daily": {{Name: "account_id", Values: accounts}, {Name: "day", Values: day}, {Name: "expires_at", Values: expires}},
	} {
		if err := c.Insert(context.Background(), table, "", append(slices.Clone(common), columns...)); err != nil {
			t.Fatal(err)
		}
	}
}

// checksums is a hash over every column of a tenant's rows, by table, without the rows
// of a visitor.
func checksums(t *testing.T, c *clickhouse.Conn, who tenant, without []byte) map[string]string {
	t.Helper()
	e, err := NewEraser(c, who, nil)
	if err != nil {
		t.Fatal(err)
	}
	tables, err := e.tables(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]string)
	for _, table := range tables {
		where := e.condition(table)
		if table.visitor && without != nil {
			where += " AND visitor_id != unhex('" + hex.EncodeToString(without) + "')"
		}
		var n, sum uint64
		if err := c.QueryRow(t.Context(), "SELECT count(), sum(cityHash64(*)) FROM `"+table.name+"` FINAL WHERE "+where).Scan(&n, &sum); err != nil {
			t.Fatal(err)
		}
		out[table.name] = fmt.Sprintf("%d rows, %x", n, sum)
	}
	return out
}

// countedApart gives a tenant a counted day between those of fillTenant, and returns its
// checksums.
func countedApart(t *testing.T, c *clickhouse.Conn, who tenant) map[string]string {
	t.Helper()
	for _, table := range schema.Tables() {
		if table.Kind == schema.Counted {
			err := c.Exec(t.Context(), "INSERT INTO "+table.Name+" (tenant_bucket, company_id, day, built_at, expires_at) SELECT {b:UInt8}, {c:String}, '2026-10-20', now(), now() + INTERVAL 1 YEAR",
				clickhouse.Param("b", schemas.TenantBucket(string(who))), clickhouse.Param("c", string(who)))
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	return checksums(t, c, who, nil)
}

func TestEraser(t *testing.T) {
	t.Parallel()
	c := migrated(t)
	a, b := neighbours()
	visitor := []byte("0123456789abcdef")
	far := countedApart(t, c, a)
	fillTenant(t, c, a, visitor)
	fillTenant(t, c, b, visitor) // the same id in another tenant is another visitor
	others, rest := checksums(t, c, b, nil), checksums(t, c, a, visitor)
	before := map[string]uint64{"events": 30, "visits": 30}

	e, err := NewEraser(c, a, visitor)
	if err != nil {
		t.Fatal(err)
	}
	count := func(e *Eraser, want map[string]uint64) {
		t.Helper()
		got, err := e.Count(t.Context())
		maps.DeleteFunc(got, func(table string, n uint64) bool { _, listed := want[table]; return n == 0 && !listed })
		if err != nil || !maps.Equal(got, want) {
			t.Errorf("rows %v, want %v (%v)", got, want, err)
		}
	}
	began := time.Now()
	count(e, before)
	for range 2 { // a crash between the two repeats them
		if err := e.MarkDropped(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := e.Delete(t.Context(), time.Now(), "era_x/1"); err != nil {
			t.Fatal(err)
		}
	}
	count(e, map[string]uint64{"events": 0, "visits": 0})
	begun, err := e.Begun(t.Context(), "era_x/1")
	if err != nil || !maps.Equal(begun, map[string]bool{"events": true, "visits": true}) {
		t.Errorf("begun were deletions in %v, %v", begun, err)
	}
	if begun, err = e.Begun(t.Context(), "era_x/11"); err != nil || len(begun) != 0 {
		t.Errorf("begun were deletions nobody asked for in %v, %v", begun, err)
	}
	if e.Delete(t.Context(), time.Now(), "x' OR '") == nil {
		t.Error("a mark that is a condition")
	}
	t.Logf("erasing a visitor took %s", time.Since(began))
	if p, err := e.Proof(t.Context()); err != nil || p.Mutations != 4 { // two tables of two months
		t.Errorf("proof %+v, %v", p, err)
	}
	var erased, distinct uint64
	if err := c.QueryRow(t.Context(), `SELECT count(), uniqExact(event_id) FROM drops WHERE company_id = 'cmp_a' AND reason = 'erased' AND stage = 'sink'`).Scan(&erased, &distinct); err != nil {
		t.Fatal(err)
	}
	if erased != 30 || distinct != 30 {
		t.Errorf("%d drops of %d events stand for the 30 erased ones", erased, distinct)
	}
	// Days with events of the visitor are counted again.
	for _, table := range schema.Tables() {
		if table.Kind == schema.Counted {
			if rest[table.Name] == "0 rows, 0" {
				t.Errorf("the test has no rows in %s", table.Name)
			}
			rest[table.Name] = far[table.Name]
		}
	}
	rest["changed_days"] = checksums(t, c, a, nil)["changed_days"] // says that they are
	rest["drops"] = checksums(t, c, a, nil)["drops"]               // has the 30 besides
	if got := checksums(t, c, a, nil); !maps.Equal(got, rest) {
		t.Errorf("what is left of A changed:\n%v\n%v", got, rest)
	}
	if got := checksums(t, c, b, nil); !maps.Equal(got, others) {
		t.Errorf("B changed:\n%v\n%v", got, others)
	}

	all, err := NewEraser(c, a, nil)
	if err != nil {
		t.Fatal(err)
	}
	// What is made of a table goes after it, or would be made again in between.
	var order, want []string
	tables, err := all.tables(t.Context())
	for _, table := range tables {
		order = append(order, table.name)
	}
	for _, table := range schema.Tables() {
		want = append(want, table.Name)
	}
	if err != nil || !slices.Equal(order, want) {
		t.Errorf("erased in the order %v, want %v (%v)", order, want, err)
	}
	if err := all.Delete(t.Context(), time.Now(), "era_x/2"); err != nil {
		t.Fatal(err)
	}
	none := make(map[string]uint64)
	for _, table := range schema.Tables() {
		none[table.Name] = 0
	}
	count(all, none)
	if _, err := all.Proof(t.Context()); err != nil {
		t.Error(err)
	}
	if got := checksums(t, c, b, nil); !maps.Equal(got, others) {
		t.Errorf("B changed:\n%v\n%v", got, others)
	}
}

// TestEraserRefuses: no id that is none, least of all the zero visitor, whom every row
// without consent has.
func TestEraserRefuses(t *testing.T) {
	t.Parallel()
	for name, try := range map[string]struct {
		company tenant
		visitor []byte
	}{
		"no tenant": {"", nil}, "injection": {"cmp_a' OR 1=1 --", nil}, "zero visitor": {"cmp_a", make([]byte, 16)}, "short visitor": {"cmp_a", []byte("abc")},
	} {
		if _, err := NewEraser(nil, try.company, try.visitor); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
