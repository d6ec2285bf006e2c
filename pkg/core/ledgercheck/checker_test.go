package ledgercheck

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/pkg/core/analytics"
	"github.com/metiva-io/metiva/pkg/embedded/clickhouse/clickhousetest"
	"github.com/metiva-io/metiva/pkg/secret"
	"github.com/metiva-io/metiva/schemas"
	schema "github.com/metiva-io/metiva/schemas/clickhouse"
)

func TestMain(m *testing.M) { os.Exit(clickhousetest.Main(m)) }

type tenant string

func (t tenant) CompanyID() string { return string(t) }

// world is a migrated engine, a clock and a log.
type world struct {
	t    *testing.T
	conn *clickhouse.Conn
	now  time.Time
	log  bytes.Buffer
	reg  *prometheus.Registry
}

func newWorld(t *testing.T) *world {
	t.Helper()
	conn, err := clickhouse.Open(clickhouse.Config{URL: secret.New(clickhousetest.Start(t).URL())})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if _, err := clickhouse.Migrate(context.Background(), conn, schema.Files, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	return &world{t: t, conn: conn, now: time.Now().UTC().Truncate(time.Hour).Add(30 * time.Minute)}
}

// checker is one of a process that has just started.
func (w *world) checker() *Checker {
	w.t.Helper()
	w.reg = prometheus.NewRegistry()
	c, err := New(Config{}, Deps{
		Ledger: analytics.NewOperator(w.conn), Now: func() time.Time { return w.now },
		Log: slog.New(slog.NewJSONHandler(&w.log, nil)), Registerer: w.reg,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func (w *world) insert(table, company string, columns ...clickhouse.Column) {
	w.t.Helper()
	columns = append(columns,
		clickhouse.Column{Name: "tenant_bucket", Values: []uint8{schemas.TenantBucket(company)}},
		clickhouse.Column{Name: "company_id", Values: []string{company}})
	if err := w.conn.Insert(w.t.Context(), table, "", columns); err != nil {
		w.t.Fatal(err)
	}
}

func column[V any](name string, value V) clickhouse.Column {
	return clickhouse.Column{Name: name, Values: []V{value}}
}

func (w *world) reported(company, stage string, at time.Time, n uint64) {
	w.insert("ledger_edge", company, column("minute", at.Truncate(time.Minute)), column("stage", stage), column("reason", "none"),
		column("writer_id", "writer-of-"+stage), column("count", n))
}

func (w *world) event(company string, at time.Time, offset int64) {
	w.insert("events", company, column("event_id", []byte{byte(offset), byte(offset >> 8), 1}), column("received_at", at), column("source_offset", offset),
		column("writer_id", "writer-of-collector"), column("expires_at", w.now.AddDate(1, 0, 0)))
}

func (w *world) drop(company string, at time.Time, offset int64) {
	w.insert("drops", company, column("event_id", []byte{byte(offset), 9}), column("received_at", at), column("source_offset", offset),
		column("stage", "sink"), column("reason", "duplicate"), column("writer_id", "writer-of-collector"))
}

// check compares and returns what differs as "company hours-ago enrich/sink/doubled".
func (w *world) check(c *Checker) string {
	w.t.Helper()
	differ, err := c.Check(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	var out []string
	var sums [3]uint64
	for _, d := range differ {
		out = append(out, d.CompanyID+" "+d.Hour.Format("15h"))
		sums[0] += d.MissingAtEnrich
		sums[1] += d.MissingAtSink
		sums[2] += d.Doubled
	}
	families, err := w.reg.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				got[l.GetValue()] = m.GetGauge().GetValue()
			}
			if f.GetName() == "metiva_ledger_last_check_timestamp_seconds" && m.GetGauge().GetValue() != float64(w.now.Unix()) {
				w.t.Errorf("the last check was at %v", m.GetGauge().GetValue())
			}
		}
	}
	for i, pair := range []string{pairCollectorEnrich, pairEnrichSink, pairDoubled} {
		if got[pair] != float64(sums[i]) {
			w.t.Errorf("the metric says %v of %s, the answer %d", got[pair], pair, sums[i])
		}
	}
	return strings.Join(out, ", ")
}

// lines are how often a message was logged since the last call.
func (w *world) lines(message string) int {
	defer w.log.Reset()
	return strings.Count(w.log.String(), message)
}

// TestALostAndADoubledRowRaiseTheAlarm, a balanced ledger none; what is young is
// waited for; and an alarm stays, over a restart and out of the window, until the
// row is there again.
func TestALostAndADoubledRowRaiseTheAlarm(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ago := func(d time.Duration) time.Time { return w.now.Add(-d) }
	lost := ago(140 * time.Minute)
	for i, at := range []time.Time{lost, lost, ago(40 * time.Minute)} {
		w.event("cmp_a", at, int64(i))
		w.event("cmp_b", at, int64(i))
	}
	for _, company := range []string{"cmp_a", "cmp_b"} {
		for _, stage := range []string{"collector", "enrich"} {
			w.reported(company, stage, lost, 2)
			w.reported(company, stage, ago(40*time.Minute), 1)
		}
		w.reported(company, "collector", ago(2*time.Minute), 7) // on their way
	}
	c := w.checker()
	if got := w.check(c); got != "" || w.lines("does not balance") != 0 {
		t.Fatalf("a balanced ledger raises %q", got)
	}
	if err := w.conn.Exec(t.Context(), "ALTER TABLE events DELETE WHERE company_id = 'cmp_a' AND source_offset = 1 SETTINGS mutations_sync = 2"); err != nil {
		t.Fatal(err)
	}
	w.drop("cmp_b", ago(40*time.Minute), 2) // the same record twice
	want := "cmp_a " + lost.Format("15h") + ", cmp_b " + ago(40*time.Minute).Format("15h")
	if got := w.check(c); got != want || w.lines("does not balance") != 2 {
		t.Fatalf("got %q, want %q", got, want)
	}
	if got := w.check(c); got != want || w.lines("does not balance") != 0 {
		t.Fatalf("the second time got %q, want %q and no new line", got, want)
	}
	found, err := ownChecks(w, "cmp_a")
	if err != nil || len(found) != 2 || found[1].MissingAtSink != 1 || found[1].Balanced || !found[0].Balanced || found[1].Accepted != 2 || found[1].Written != 1 {
		t.Fatalf("cmp_a's own: %+v, %v", found, err)
	}

	w.now = w.now.Add(30 * time.Hour) // far out of the window
	w.reported("cmp_a", "collector", ago(20*time.Hour), 1)
	c = w.checker() // nobody compared meanwhile
	want += ", cmp_a " + ago(20*time.Hour).Format("15h") + ", cmp_a " + ago(30*time.Hour+2*time.Minute).Format("15h") + ", cmp_b " + ago(30*time.Hour+2*time.Minute).Format("15h")
	if got := w.check(c); !sameSet(got, want) {
		t.Fatalf("after a restart got %q, want %q", got, want)
	}
	w.lines("")
	w.event("cmp_a", lost, 1)
	w.event("cmp_a", ago(20*time.Hour), 4)
	got := w.check(c)
	if strings.Contains(got, "cmp_a "+lost.Format("15h")) || strings.Contains(got, ago(20*time.Hour).Format("15h")) || w.lines("balances again") != 2 {
		t.Fatalf("what is whole again raises %q", got)
	}
	w.now = w.now.Add(8 * 24 * time.Hour)
	if got := w.check(c); got != "" {
		t.Fatalf("older than Kafka keeps, and raises %q", got)
	}
}

// TestWhatComesLateIsCompared: events that a collector kept for longer than the window
// come to an hour that balanced. A loss among them is found once a day; rows that a
// retention took are no loss.
func TestWhatComesLateIsCompared(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old, older := w.now.Add(-20*time.Hour), w.now.Add(-50*time.Hour)
	for i, at := range []time.Time{old, older} {
		w.event("cmp_a", at, int64(i))
		w.reported("cmp_a", "collector", at, 1)
		w.reported("cmp_a", "enrich", at, 1)
	}
	c := w.checker()
	if got := w.check(c); got != "" {
		t.Fatalf("a balanced ledger raises %q", got)
	}
	if kept, err := ownChecks(w, "cmp_a"); err != nil || len(kept) != 1 || kept[0].Accepted != 1 {
		t.Fatalf("the first comparison left %+v, %v", kept, err)
	}
	// The outage is over: three more were accepted, and two of them are rows.
	w.reported("cmp_a", "collector", old, 4)
	w.event("cmp_a", old, 10)
	w.event("cmp_a", old, 11)
	if err := w.conn.Exec(t.Context(), "ALTER TABLE events DELETE WHERE source_offset = 1 SETTINGS mutations_sync = 2"); err != nil {
		t.Fatal(err)
	}
	w.now = w.now.Add(time.Hour)
	if got := w.check(c); got != "" {
		t.Fatalf("outside of the window %q is found too early", got)
	}
	w.now = w.now.Add(23 * time.Hour)
	want := "cmp_a " + old.Format("15h")
	if got := w.check(c); got != want || w.lines("does not balance") != 1 {
		t.Fatalf("what came late raises %q, want %q", got, want)
	}
	// Another process goes on with it.
	c = w.checker()
	if got := w.check(c); got != want || w.lines("does not balance") != 1 {
		t.Fatalf("after a restart %q, want %q", got, want)
	}
	w.event("cmp_a", old, 12)
	if got := w.check(c); got != "" || w.lines("balances again") != 1 {
		t.Fatalf("what is whole raises %q", got)
	}
	// Nothing was accepted since, but a record is there twice.
	w.drop("cmp_a", old, 12)
	w.now = w.now.Add(24 * time.Hour)
	if got := w.check(c); got != want || w.lines("does not balance") != 1 {
		t.Fatalf("a record that came twice raises %q, want %q", got, want)
	}
}

// lame cannot answer for what is older than a day.
type lame struct {
	Ledger
	before time.Time
	asked  int
}

func (l *lame) AddUp(ctx context.Context, q analytics.LedgerQuestion) (analytics.Ledger, error) {
	if q.From.Before(l.before) {
		l.asked++
		return analytics.Ledger{}, errors.New("the question is too large")
	}
	return l.Ledger.AddUp(ctx, q)
}

// TestTheWindowDoesNotWaitForTheDaysBefore: where the hours of the last days cannot be
// compared, those of the window are, and the days are tried again an hour later.
func TestTheWindowDoesNotWaitForTheDaysBefore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.checker()
	l := &lame{Ledger: c.deps.Ledger, before: w.now.Add(-24 * time.Hour)}
	c.deps.Ledger = l
	lost := w.now.Add(-time.Hour)
	for _, stage := range []string{"collector", "enrich"} {
		w.reported("cmp_a", stage, lost, 1)
	}
	want := "cmp_a " + lost.Format("15h")
	if got := w.check(c); got != want || w.lines("could not be compared") != 1 || l.asked != 1 {
		t.Fatalf("got %q, want %q, asked %d times", got, want, l.asked)
	}
	w.now = w.now.Add(5 * time.Minute)
	if got := w.check(c); got != want || l.asked != 1 {
		t.Fatalf("got %q, want %q, asked %d times", got, want, l.asked)
	}
	w.now = w.now.Add(time.Hour)
	if got := w.check(c); got != want || l.asked != 2 {
		t.Fatalf("got %q, want %q, asked %d times", got, want, l.asked)
	}
	l.before = time.Time{}
	w.now = w.now.Add(time.Hour)
	if got := w.check(c); got != want || !c.lateAt.Equal(w.now) {
		t.Fatalf("got %q, want %q, the days last compared at %s", got, want, c.lateAt)
	}
}

// sameSet compares lists in which an hour may stand twice.
func sameSet(a, b string) bool {
	set := func(s string) map[string]bool {
		out := make(map[string]bool)
		for _, x := range strings.Split(s, ", ") {
			out[x] = true
		}
		return out
	}
	x, y := set(a), set(b)
	for k := range x {
		if !y[k] {
			return false
		}
	}
	return len(x) == len(y)
}

func ownChecks(w *world, company string) ([]analytics.LedgerCheck, error) {
	r, err := analytics.NewReader(w.conn, tenant(company))
	if err != nil {
		return nil, err
	}
	return r.LedgerChecks(w.t.Context(), analytics.Period{From: w.now.Add(-24 * time.Hour), To: w.now})
}

func TestRunStopsAndSurvivesAnEngineThatIsAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.checker()
	if err := w.conn.Exec(t.Context(), "DROP TABLE ledger_checks"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	logged := make(chan struct{}, 1)
	c.deps.Log = slog.New(slog.NewJSONHandler(writer(func(b []byte) {
		select {
		case logged <- struct{}{}:
		default:
		}
	}), nil))
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	<-logged
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

type writer func([]byte)

func (w writer) Write(b []byte) (int, error) { w(b); return len(b), nil }

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	if err := (Config{}).Validate(); err != nil {
		t.Error(err)
	}
	if err := (Config{Interval: -1, Settle: 1e18}).Validate(); err == nil || strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("two faults are %v", err)
	}
	if _, err := New(Config{}, Deps{}); err == nil {
		t.Error("without dependencies")
	}
}
