package analytics

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/schemas"
)

// book writes the tables the ledger adds up.
type book struct {
	t    *testing.T
	conn *clickhouse.Conn
}

func (b book) insert(table string, company string, at time.Time, columns ...clickhouse.Column) {
	b.t.Helper()
	timeColumn := map[string]string{"ledger_edge": "minute", "traffic_daily": "day"}[table]
	if timeColumn == "" {
		timeColumn = "received_at"
	}
	columns = append(columns,
		clickhouse.Column{Name: "tenant_bucket", Values: []uint8{schemas.TenantBucket(company)}},
		clickhouse.Column{Name: "company_id", Values: []string{company}},
		clickhouse.Column{Name: timeColumn, Values: []time.Time{at}})
	if err := b.conn.Insert(context.Background(), table, "", columns); err != nil {
		b.t.Fatal(err)
	}
}

func (b book) edge(company, writer, reason string, minutes int, count uint64) {
	b.t.Helper()
	b.insert("ledger_edge", company, from.Add(time.Duration(minutes)*time.Minute),
		clickhouse.Column{Name: "stage", Values: []string{"collector"}}, clickhouse.Column{Name: "site_id", Values: []string{"sit_1"}},
		clickhouse.Column{Name: "reason", Values: []string{reason}}, clickhouse.Column{Name: "writer_id", Values: []string{writer}},
		clickhouse.Column{Name: "count", Values: []uint64{count}})
}

func (b book) event(company, writer string, offset int64) {
	b.t.Helper()
	b.insert("events", company, from.Add(time.Minute),
		clickhouse.Column{Name: "event_id", Values: [][]byte{{byte(offset), 1}}}, clickhouse.Column{Name: "source_offset", Values: []int64{offset}},
		clickhouse.Column{Name: "writer_id", Values: []string{writer}}, clickhouse.Column{Name: "expires_at", Values: []time.Time{time.Now().AddDate(1, 0, 0)}})
}

func (b book) drop(company, writer, stage, reason string, offset int64) {
	b.t.Helper()
	b.insert("drops", company, from,
		clickhouse.Column{Name: "stage", Values: []string{stage}}, clickhouse.Column{Name: "reason", Values: []string{reason}},
		clickhouse.Column{Name: "source_offset", Values: []int64{offset}}, clickhouse.Column{Name: "writer_id", Values: []string{writer}})
}

func (b book) ledger() Ledger {
	b.t.Helper()
	got, err := NewOperator(b.conn).Ledger(context.Background(), from.Add(59*time.Second))
	if err != nil {
		b.t.Fatal(err)
	}
	return got
}

func TestLedger(t *testing.T) {
	t.Parallel()
	b := book{t, migrated(t)}
	b.event("cmp_a", "w1", 1)
	b.event("cmp_a", "w2", 2)
	b.drop("cmp_a", "w1", "sink", "duplicate", 3)
	b.drop("cmp_a", "w1", "sink", "duplicate", 3) // the same one twice
	b.drop("cmp_a", "w1", "enrich", "shredded", 4)
	b.event("cmp_b", "w1", 5)
	b.edge("cmp_a", "w1", "none", 0, 2)
	b.edge("cmp_a", "w1", "none", 0, 3) // replaces it
	b.edge("cmp_a", "w2", "none", 1, 1)
	b.edge("cmp_a", "w1", "objected", 0, 7)
	b.edge("cmp_a", "w1", "none", -10, 100) // before
	b.edge("cmp_b", "w1", "none", 0, 2)
	b.edge("", "w1", "unknown_site", 0, 4)

	got := b.ledger()
	a := got.Tenants["cmp_a"]
	if a.Received != 11 || a.Accepted != 4 || a.DroppedAtEdge["objected"] != 7 || a.Written != 2 || a.DroppedLater["sink"]["duplicate"] != 1 ||
		a.DroppedLater["enrich"]["shredded"] != 1 || !a.Balanced || a.Unreported != 0 {
		t.Errorf("tenant a: %+v", a)
	}
	if b := got.Tenants["cmp_b"]; b.Accepted != 2 || b.Written != 1 || b.Missing != 1 || b.Balanced {
		t.Errorf("tenant b lacks a row and balances: %+v", b)
	}
	if unknown := got.Tenants[""]; unknown.Received != 4 || !unknown.Balanced {
		t.Errorf("no tenant: %+v", unknown)
	}
	if got.Total.Received != 17 || got.Total.Missing != 1 || got.Total.Balanced {
		t.Errorf("total: %+v", got.Total)
	}
	b.drop("cmp_b", "w1", "sink", "expired", 6)
	if got = b.ledger(); !got.Total.Balanced || !got.Tenants["cmp_b"].Balanced {
		t.Errorf("with the last row: %+v", got)
	}
}

func TestOneWriterCannotMakeGoodWhatAnotherLacks(t *testing.T) {
	t.Parallel()
	b := book{t, migrated(t)}
	b.edge("cmp_a", "lost", "none", 0, 1)
	b.event("cmp_a", "killed", 1) // its collector died before it reported
	a := b.ledger().Tenants["cmp_a"]
	if a.Missing != 1 || a.Unreported != 1 || a.Accepted != 2 || a.Balanced {
		t.Errorf("%+v", a)
	}
}

func TestARowTooManyDoesNotBalance(t *testing.T) {
	t.Parallel()
	b := book{t, migrated(t)}
	b.edge("cmp_a", "w1", "none", 0, 1)
	b.event("cmp_a", "w1", 1)
	b.drop("cmp_a", "w1", "enrich", "shredded", 1) // the same acceptance
	if a := b.ledger().Tenants["cmp_a"]; a.Doubled != 1 || a.Balanced {
		t.Errorf("%+v", a)
	}
}

func TestOffsetsOfATopicMadeAnewAreNotDoubled(t *testing.T) {
	t.Parallel()
	b := book{t, migrated(t)}
	for _, writer := range []string{"before", "after"} {
		b.edge("cmp_a", writer, "none", 0, 1)
	}
	b.event("cmp_a", "before", 1)
	b.drop("cmp_a", "after", "sink", "duplicate", 1)
	if a := b.ledger().Tenants["cmp_a"]; a.Doubled != 0 || !a.Balanced {
		t.Errorf("%+v", a)
	}
}

func TestAnUnreadableRecordStandsForAnEventInTheTotal(t *testing.T) {
	t.Parallel()
	b := book{t, migrated(t)}
	b.edge("cmp_a", "w1", "none", 0, 2)
	b.event("cmp_a", "w1", 1)
	b.drop("", "", "enrich", "invalid_record", 2)
	got := b.ledger()
	if got.Tenants["cmp_a"].Balanced || !got.Total.Balanced {
		t.Errorf("%+v", got)
	}
}

func TestUnacknowledgedMayHaveARow(t *testing.T) {
	t.Parallel()
	for rows, want := range map[uint64]Totals{
		4: {Missing: 1}, 5: {Balanced: true}, 7: {Balanced: true}, 8: {Balanced: true, Unreported: 1},
	} {
		one := newTally()
		one.addEdge(line{"w1", "collector", "none", 5})
		one.addEdge(line{"w1", "collector", "unacknowledged", 2})
		one.addWritten(line{writer: "w1", count: rows})
		one.close(false)
		got := one.totals
		if got.Missing != want.Missing || got.Unreported != want.Unreported || got.Balanced != want.Balanced || got.Received != 7+want.Unreported {
			t.Errorf("%d rows: %+v", rows, got)
		}
	}
}

// copied writes the row of one copy of an acceptance: an event, or a drop with a
// reason.
func (b book) copied(reason, acceptance string, offset int64, replayed bool) {
	b.t.Helper()
	columns := []clickhouse.Column{
		{Name: "event_id", Values: [][]byte{[]byte("one")}},
		{Name: "source_offset", Values: []int64{offset}},
		{Name: "writer_id", Values: []string{"w1"}},
		{Name: "acceptance_id", Values: [][]byte{[]byte(acceptance)}},
		{Name: "replayed", Values: []bool{replayed}},
	}
	if reason == "" {
		columns[0].Values = [][]byte{[]byte(acceptance)}
		b.insert("events", "cmp_a", from.Add(time.Minute), append(columns, clickhouse.Column{Name: "expires_at", Values: []time.Time{time.Now().AddDate(1, 0, 0)}})...)
		return
	}
	b.insert("drops", "cmp_a", from.Add(time.Minute), append(columns,
		clickhouse.Column{Name: "stage", Values: []string{"sink"}}, clickhouse.Column{Name: "reason", Values: []string{reason}})...)
}

// TestAReplayIsNeitherAcceptedNorDropped: two acceptances of one event, each sent
// twice, are two rows that count and two that are listed on their own.
func TestAReplayIsNeitherAcceptedNorDropped(t *testing.T) {
	t.Parallel()
	b := book{t, migrated(t)}
	b.edge("cmp_a", "w1", "none", 0, 2)
	b.copied("", "first", 1, false)
	b.copied("replayed", "first", 2, true)
	if a := b.ledger().Tenants["cmp_a"]; a.Missing != 1 || a.Replayed != 1 || a.Balanced {
		t.Errorf("a replay stands for an acceptance that is missing: %+v", a)
	}
	b.copied("duplicate", "second", 3, true) // its first record never came, or comes later
	b.copied("replayed", "second", 4, false)
	got := b.ledger()
	for name, a := range map[string]Totals{"tenant": got.Tenants["cmp_a"], "total": got.Total} {
		if a.Accepted != 2 || a.Received != 2 || a.Written != 1 || a.Replayed != 2 || a.DroppedLater["sink"]["duplicate"] != 1 || len(a.DroppedLater["sink"]) != 1 ||
			a.Missing+a.Doubled+a.Unreported != 0 || !a.Balanced {
			t.Errorf("%s: %+v", name, a)
		}
	}
	// Two rows that both count for one acceptance.
	b.edge("cmp_a", "w1", "none", 0, 3)
	b.copied("duplicate", "first", 5, false)
	if a := b.ledger().Tenants["cmp_a"]; a.Doubled != 1 || a.Balanced {
		t.Errorf("an acceptance counts twice: %+v", a)
	}
}

// TestADeadLetterThatIsReplayedIsRecovered: received once, dead once, then written: the
// event counts, and the dead letters before it are listed on their own.
func TestADeadLetterThatIsReplayedIsRecovered(t *testing.T) {
	t.Parallel()
	b := book{t, migrated(t)}
	b.edge("cmp_a", "w1", "none", 0, 3)
	b.copied("unknown_key", "first", 1, false)
	b.copied("rejected_row", "second", 2, false)
	b.copied("unknown_key", "third", 3, false) // stays dead
	dead := b.ledger().Tenants["cmp_a"]
	if dead.Accepted != 3 || dead.Recovered != 0 || events(dead.DroppedLater) != 3 || !dead.Balanced {
		t.Fatalf("dead: %+v", dead)
	}
	b.copied("replayed", "first", 4, true) // died again
	b.copied("", "first", 5, true)
	b.copied("", "second", 2, true) // of the sink: put back with the source it had
	b.copied("replayed", "third", 6, true)
	got := b.ledger()
	for name, a := range map[string]Totals{"tenant": got.Tenants["cmp_a"], "total": got.Total} {
		if a.Accepted != 3 || a.Received != 3 || a.Written != 2 || a.Recovered != 2 || a.Replayed != 2 || events(a.DroppedLater) != 1 ||
			a.DroppedLater["sink"]["unknown_key"] != 1 || a.Missing+a.Doubled+a.Unreported != 0 || !a.Balanced {
			t.Errorf("%s: %+v", name, a)
		}
	}
	b.copied("duplicate", "first", 7, false) // a fault is one still
	if a := b.ledger().Tenants["cmp_a"]; a.Doubled != 1 || a.Balanced {
		t.Errorf("an acceptance counts twice: %+v", a)
	}
}

func TestADeadLetterIsRecoveredThoughItsEventWasErased(t *testing.T) {
	t.Parallel()
	b := book{t, migrated(t)}
	b.edge("cmp_a", "w1", "none", 0, 1)
	b.copied("unknown_key", "first", 1, false)
	b.copied("erased", "first", 2, true) // what is left of the event that came of it
	a := b.ledger().Tenants["cmp_a"]
	if a.Accepted != 1 || a.Written != 0 || a.Recovered != 1 || events(a.DroppedLater) != 1 || a.Missing+a.Doubled != 0 || !a.Balanced {
		t.Errorf("%+v", a)
	}
}

func events(later map[string]map[string]uint64) (n uint64) {
	for _, reasons := range later {
		for _, count := range reasons {
			n += count
		}
	}
	return n
}

// stage writes what enrich reported.
func (b book) stage(company, stage, writer, reason string, minutes int, count uint64) {
	b.t.Helper()
	b.insert("ledger_edge", company, from.Add(time.Duration(minutes)*time.Minute),
		clickhouse.Column{Name: "stage", Values: []string{stage}}, clickhouse.Column{Name: "site_id", Values: []string{"sit_1"}},
		clickhouse.Column{Name: "reason", Values: []string{reason}}, clickhouse.Column{Name: "writer_id", Values: []string{writer}},
		clickhouse.Column{Name: "count", Values: []uint64{count}})
}

// eventAt writes a row of a minute.
func (b book) eventAt(company, writer string, minute int, offset int64) {
	b.t.Helper()
	b.insert("events", company, from.Add(time.Duration(minute)*time.Minute+time.Second),
		clickhouse.Column{Name: "event_id", Values: [][]byte{{byte(offset), 1}}}, clickhouse.Column{Name: "source_offset", Values: []int64{offset}},
		clickhouse.Column{Name: "writer_id", Values: []string{writer}}, clickhouse.Column{Name: "expires_at", Values: []time.Time{time.Now().AddDate(1, 0, 0)}})
}

// TestTheLedgerByMinuteSaysWhereItLacks: what a minute lacks another cannot make
// good, what is young is open, and enrich's report says behind which stage it was
// lost.
func TestTheLedgerByMinuteSaysWhereItLacks(t *testing.T) {
	t.Parallel()
	b := book{t, migrated(t)}
	b.edge("cmp_a", "w1", "none", 0, 2) // lost before enrich: one
	b.stage("cmp_a", "enrich", "e1", "none", 0, 1)
	b.eventAt("cmp_a", "w1", 0, 1)
	b.edge("cmp_a", "w1", "none", 1, 2) // lost behind enrich: one
	b.stage("cmp_a", "enrich", "e1", "none", 1, 1)
	b.stage("cmp_a", "enrich", "e2", "shredded", 1, 1)
	b.eventAt("cmp_a", "w1", 1, 2)
	b.eventAt("cmp_a", "w1", 2, 3) // a row whose collector never reported it makes good for nobody
	b.edge("cmp_a", "w1", "none", 9, 5)
	b.edge("cmp_b", "w1", "none", 0, 1)
	b.eventAt("cmp_b", "w1", 0, 4)

	q := LedgerQuestion{From: from, To: from.Add(20 * time.Minute), Step: time.Minute, SettledBefore: from.Add(9 * time.Minute)}
	got, err := NewOperator(b.conn).AddUp(context.Background(), q)
	if err != nil {
		t.Fatal(err)
	}
	a := got.Tenants["cmp_a"]
	if a.MissingAtEnrich != 1 || a.MissingAtSink != 1 || a.Missing != 2 || a.Open != 5 || a.Unreported != 1 || a.Enriched != 3 || a.Balanced || got.Total.Balanced {
		t.Errorf("tenant a: %+v", a)
	}
	if other := got.Tenants["cmp_b"]; !other.Balanced || other.Open != 0 {
		t.Errorf("tenant b: %+v", other)
	}
	type row struct {
		company      string
		minute       int
		missing, gap uint64
		open         uint64
	}
	var lines []row
	for _, l := range got.Lines {
		lines = append(lines, row{l.CompanyID, int(l.From.Sub(from) / time.Minute), l.MissingAtEnrich, l.MissingAtSink, l.Open})
	}
	want := []row{{"cmp_a", 0, 1, 0, 0}, {"cmp_a", 1, 0, 1, 0}, {"cmp_a", 2, 0, 0, 0}, {"cmp_a", 9, 0, 0, 5}, {"cmp_b", 0, 0, 0, 0}}
	if !slices.Equal(lines, want) {
		t.Errorf("lines %v, want %v", lines, want)
	}
	// To is the end, and one tenant sees the same alone.
	q.To, q.Company = from.Add(time.Minute), "cmp_b"
	for company, missing := range map[string]uint64{"cmp_a": 1, "cmp_b": 0} {
		own, err := b.reader(company).Ledger(context.Background(), q)
		if err != nil || len(own.Tenants) != 1 || own.Tenants[company].Missing != missing || own.Total.Missing != missing {
			t.Errorf("%s sees %+v, %v", company, own, err)
		}
	}
	if _, err := NewOperator(b.conn).AddUp(context.Background(), LedgerQuestion{From: from, Step: time.Second}); err == nil {
		t.Error("a step of a second is answered")
	}
}

func (b book) reader(company string) *Reader {
	b.t.Helper()
	r, err := NewReader(b.conn, tenant(company))
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}
