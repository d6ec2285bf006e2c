package analytics

import (
	"cmp"
	"context"
	"log/slog"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/pkg/embedded/clickhouse/clickhousetest"
	"github.com/metiva-io/metiva/pkg/secret"
	"github.com/metiva-io/metiva/schemas"
	schema "github.com/metiva-io/metiva/schemas/clickhouse"
)

func TestMain(m *testing.M) { os.Exit(clickhousetest.Main(m)) }

type tenant string

func (t tenant) CompanyID() string { return string(t) }

var from = time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)

func migrated(t testing.TB) *clickhouse.Conn {
	t.Helper()
	return migratedOn(t, clickhousetest.Start(t))
}

func migratedOn(t testing.TB, engine *clickhousetest.Server) *clickhouse.Conn {
	t.Helper()
	c, err := clickhouse.Open(clickhouse.Config{URL: secret.New(engine.URL())})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if _, err := clickhouse.Migrate(context.Background(), c, schema.Files, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	return c
}

type event struct {
	company, verdict, account, name string
	visit                           byte
	minutes                         int
	kind                            string // page_view when empty
}

func insertEvents(t *testing.T, c *clickhouse.Conn, events ...event) {
	t.Helper()
	n := len(events)
	bucket, company, id, visit := make([]uint8, n), make([]string, n), make([][]byte, n), make([][]byte, n)
	at, expires, kind, verdict := make([]time.Time, n), make([]time.Time, n), make([]string, n), make([]string, n)
	account, name, confidence, source := make([]string, n), make([]string, n), make([]float32, n), make([]string, n)
	for i, e := range events {
		bucket[i], company[i], kind[i], verdict[i] = schemas.TenantBucket(e.company), e.company, cmp.Or(e.kind, "page_view"), e.verdict
		id[i], visit[i] = []byte{byte(i), 1}, []byte{e.visit}
		at[i], expires[i] = from.Add(time.Duration(e.minutes)*time.Minute), time.Now().AddDate(1, 0, 0)
		account[i], name[i], confidence[i], source[i] = e.account, e.name, 0.75, "asn"
	}
	bots := make([]string, n)
	for i, e := range events {
		bots[i] = cmp.Or(map[string]string{"bot": "crawler", "hosting": "hosting"}[e.verdict], "none")
	}
	err := c.Insert(context.Background(), "events", "", []clickhouse.Column{
		{Name: "tenant_bucket", Values: bucket},
		{Name: "company_id", Values: company},
		{Name: "event_id", Values: id},
		{Name: "visit_key", Values: visit},
		{Name: "received_at", Values: at},
		{Name: "expires_at", Values: expires},
		{Name: "type", Values: kind},
		{Name: "consent", Values: slices.Repeat([]string{"analytics"}, n)},
		{Name: "verdict", Values: verdict},
		{Name: "bot", Values: bots},
		{Name: "account_id", Values: account},
		{Name: "account_name", Values: name},
		{Name: "confidence", Values: confidence},
		{Name: "resolution_source", Values: source},
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestReaderSeesItsTenantOnly(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	c := migrated(t)
	insertEvents(t, c,
		event{"cmp_a", "company", "ing.nl", "ING", 1, 1, ""}, event{"cmp_a", "company", "ing.nl", "ING Bank", 1, 2, ""}, event{"cmp_a", "company", "ing.nl", "ING Bank", 2, 3, ""},
		event{"cmp_a", "company", "tue.nl", "TU/e", 3, 4, ""}, event{"cmp_a", "isp", "", "", 4, 5, ""}, event{"cmp_a", "bot", "", "", 5, 6, ""},
		event{"cmp_a", "company", "late.nl", "Late", 6, 3000, ""},
		event{"cmp_b", "company", "secret.nl", "Secret", 7, 1, ""},
	)
	r, err := NewReader(c, tenant("cmp_a"))
	if err != nil {
		t.Fatal(err)
	}
	period := Period{from, from.AddDate(0, 0, 1)}
	got, err := r.Companies(ctx, period, 100)
	if err != nil || len(got) != 2 {
		t.Fatalf("companies %+v, %v", got, err)
	}
	want := Company{AccountID: "ing.nl", Name: "ING Bank", Visits: 2, Pages: 3, LastSeen: from.Add(3 * time.Minute), Confidence: 0.75, Reason: "asn"}
	if got[0] != want || got[1].AccountID != "tue.nl" {
		t.Errorf("companies %+v, first should be %+v", got, want)
	}
	if few, err := r.Companies(ctx, period, 1); err != nil || len(few) != 1 {
		t.Errorf("one company at most: %+v, %v", few, err)
	}
	coverage, err := r.Coverage(ctx, period)
	if err != nil || len(coverage) != 3 || coverage[0] != (VerdictCount{"company", 3, 4}) {
		t.Errorf("coverage %+v, %v", coverage, err)
	}
	// The net under the predicate: statements that forget it.
	for _, sql := range []string{
		"SELECT count() FROM events", "SELECT count() FROM events FINAL", "SELECT count() FROM metiva.events AS e JOIN events AS f ON e.event_id = f.event_id",
		"SELECT count() FROM (SELECT * FROM events)", "WITH x AS (SELECT event_id FROM events) SELECT count() FROM x",
	} {
		var n uint64
		err := r.each(ctx, sql, func(scan func(...any) error) error { return scan(&n) })
		if err != nil || n != 7 {
			t.Errorf("%s sees %d rows, %v", sql, n, err)
		}
	}
	var all uint64
	if err := c.QueryRow(ctx, "SELECT count() FROM events").Scan(&all); err != nil || all != 8 {
		t.Errorf("without a reader there are %d rows, %v: its filter stayed on the connection", all, err)
	}
}

// TestOnlyPageViewsAreVisitsAndPages: the other types change when a company was
// last seen, and nothing that is counted as a visit or a page.
func TestOnlyPageViewsAreVisitsAndPages(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	c := migrated(t)
	events := []event{
		{"cmp_a", "company", "ing.nl", "ING", 1, 1, ""},
		{"cmp_a", "company", "tue.nl", "TU/e", 2, 1, "click"}, // its page view is not there
	}
	for i, kind := range []string{"engagement", "click", "form", "custom"} {
		events = append(events, event{"cmp_a", "company", "ing.nl", "ING", byte(1 + i), 2 + i, kind})
	}
	insertEvents(t, c, events...)
	r, err := NewReader(c, tenant("cmp_a"))
	if err != nil {
		t.Fatal(err)
	}
	period := Period{from, from.AddDate(0, 0, 1)}
	got, err := r.Companies(ctx, period, 100)
	if err != nil || len(got) != 1 || got[0].AccountID != "ing.nl" || got[0].Visits != 1 || got[0].Pages != 1 || !got[0].LastSeen.Equal(from.Add(5*time.Minute)) {
		t.Errorf("companies %+v, %v", got, err)
	}
	if coverage, err := r.Coverage(ctx, period); err != nil || len(coverage) != 1 || coverage[0] != (VerdictCount{"company", 1, 6}) {
		t.Errorf("coverage %+v, %v", coverage, err)
	}
}

// TestFiltered: automated visits by class, of the tenant and the period only.
func TestFiltered(t *testing.T) {
	t.Parallel()
	c := migrated(t)
	insertEvents(t, c,
		event{"cmp_a", "company", "ing.nl", "ING", 1, 1, ""}, event{"cmp_a", "isp", "", "", 2, 1, ""},
		event{"cmp_a", "hosting", "", "", 3, 2, ""},
		event{"cmp_a", "bot", "", "", 4, 3, ""}, event{"cmp_a", "bot", "", "", 5, 4, ""}, event{"cmp_a", "bot", "", "", 5, 5, ""},
		event{"cmp_a", "bot", "", "", 6, 3000, ""}, event{"cmp_b", "bot", "", "", 7, 1, ""},
	)
	r, err := NewReader(c, tenant("cmp_a"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := r.Filtered(context.Background(), Period{from, from.AddDate(0, 0, 1)})
	if want := []ClassCount{{"crawler", 2, 3}, {"hosting", 1, 1}}; err != nil || !slices.Equal(got, want) {
		t.Errorf("filtered %+v, %v; want %+v", got, err, want)
	}
}

func TestNoReaderWithoutATenant(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"", "cmp_", "brd_1", "cmp_a' OR 1 OR 'x", "cmp_A", "cmp_a\n"} {
		if _, err := NewReader(nil, tenant(id)); err == nil {
			t.Errorf("%q makes a reader", id)
		}
	}
}
