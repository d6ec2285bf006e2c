package sink

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/pkg/embedded/clickhouse/clickhousetest"
	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/pkg/tombstone"
	"github.com/metiva-io/metiva/pkg/waittest"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
	store "github.com/metiva-io/metiva/sink/clickhouse"
)

// askedStore counts what is asked of a store and notes the tokens of inserts.
type askedStore struct {
	Store
	mu     sync.Mutex
	asked  map[string]int
	tokens []string
	// after is called after each insert, and fail says what becomes of its answer.
	after func(table, token string)
	fail  func(table string) error
}

func (s *askedStore) ask(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asked == nil {
		s.asked = map[string]int{}
	}
	s.asked[what]++
}

// takeAsked is what was asked since it was asked last.
func (s *askedStore) takeAsked() map[string]int {
	asked := s.asked
	s.asked, s.tokens = nil, nil
	return asked
}

func (s *askedStore) inserted(table, token string, err error) error {
	s.ask("insert " + table)
	s.tokens = append(s.tokens, token)
	if err == nil && s.after != nil {
		s.after(table, token)
	}
	if err == nil && s.fail != nil {
		return s.fail(table)
	}
	return err
}

func (s *askedStore) Find(ctx context.Context, wanted []store.Wanted) (store.Stored, error) {
	s.ask("find")
	return s.Store.Find(ctx, wanted)
}

func (s *askedStore) InsertEvents(ctx context.Context, token string, rows []store.EventRow) error {
	return s.inserted(store.TableEvents, token, s.Store.InsertEvents(ctx, token, rows))
}

func (s *askedStore) InsertDrops(ctx context.Context, token string, rows []store.DropRow) error {
	return s.inserted(store.TableDrops, token, s.Store.InsertDrops(ctx, token, rows))
}

func (s *askedStore) InsertVisits(ctx context.Context, token string, rows []store.VisitRow) error {
	return s.inserted(store.TableVisits, token, s.Store.InsertVisits(ctx, token, rows))
}

func (s *askedStore) InsertAccountDays(ctx context.Context, token string, rows []store.AccountDayRow) error {
	return s.inserted(store.TableAccountsDaily, token, s.Store.InsertAccountDays(ctx, token, rows))
}

func (s *askedStore) InsertLedger(ctx context.Context, token string, rows []store.LedgerRow) error {
	return s.inserted(store.TableLedgerEdge, token, s.Store.InsertLedger(ctx, token, rows))
}

func (s *askedStore) MissingVisits(ctx context.Context, rows []store.VisitRow) ([]store.VisitRow, error) {
	s.ask("missing")
	return s.Store.MissingVisits(ctx, rows)
}

func (s *askedStore) MissingAccountDays(ctx context.Context, rows []store.AccountDayRow) ([]store.AccountDayRow, error) {
	s.ask("missing")
	return s.Store.MissingAccountDays(ctx, rows)
}

func (s *askedStore) MissingLedger(ctx context.Context, rows []store.LedgerRow) ([]store.LedgerRow, error) {
	s.ask("missing")
	return s.Store.MissingLedger(ctx, rows)
}

func (s *askedStore) Absence(ctx context.Context, table, part string) (store.Absence, error) {
	s.ask("absence")
	return s.Store.Absence(ctx, table, part)
}

// forgetful is an engine that notes tokens of inserts and does not keep their rows: they
// are deleted behind the store's back, which leaves the tokens.
type forgetful struct {
	t     *testing.T
	conn  *clickhouse.Conn
	store *askedStore
	w     *Worker
}

func newForgetful(t *testing.T) *forgetful {
	t.Helper()
	f := &forgetful{t: t, conn: migrated(t, clickhousetest.Start(t))}
	f.store = &askedStore{Store: store.New(f.conn)}
	f.w = testWorker(t, f.store)
	f.w.deps.Dead = &countedDead{}
	// The engine takes away a part of which all rows are deleted after a while, and its
	// token with it.
	for _, table := range []string{store.TableEvents, store.TableDrops, store.TableVisits, store.TableAccountsDaily, store.TableLedgerEdge} {
		f.exec("ALTER TABLE " + table + " MODIFY SETTING remove_empty_parts = 0")
	}
	for _, sql := range []string{
		"SYSTEM STOP MERGES events", "SYSTEM STOP MERGES drops", "SYSTEM STOP MERGES visits",
		// A view that adds up shows what came to it twice.
		"CREATE TABLE seen (day Date, n UInt64) ENGINE = SummingMergeTree ORDER BY day SETTINGS non_replicated_deduplication_window = 1000",
		"CREATE MATERIALIZED VIEW seen_view TO seen AS SELECT toDate(received_at) AS day, count() AS n FROM events GROUP BY day",
	} {
		f.exec(sql)
	}
	return f
}

func (f *forgetful) exec(sql string) {
	f.t.Helper()
	if err := f.conn.Exec(context.Background(), sql, clickhouse.Setting("mutations_sync", 2)); err != nil {
		f.t.Fatal(err)
	}
}

func (f *forgetful) number(expression, from string) (n uint64) {
	f.t.Helper()
	if err := f.conn.QueryRow(context.Background(), "SELECT toUInt64("+expression+") FROM "+from).Scan(&n); err != nil {
		f.t.Fatal(err)
	}
	return n
}

// merge merges the rows of a table, as ClickHouse does when it likes.
func (f *forgetful) merge(table string) {
	f.t.Helper()
	f.exec("SYSTEM START MERGES " + table)
	f.exec("OPTIMIZE TABLE " + table + " FINAL")
	f.exec("SYSTEM STOP MERGES " + table)
}

// forget deletes rows; it goes through merges that are stopped.
func (f *forgetful) forget(table, where string) {
	f.t.Helper()
	if where == "" {
		return
	}
	f.exec("SYSTEM START MERGES " + table)
	f.exec("ALTER TABLE " + table + " DELETE WHERE " + where)
	f.exec("SYSTEM STOP MERGES " + table)
}

func (f *forgetful) attempt(b kafka.Batch) {
	f.t.Helper()
	a := f.w.attemptAt(b)
	defer a.end()
	if err := a.write(context.Background()); err != nil {
		f.t.Fatal(err)
	}
}

// rows counts the rows of each record, as source and table.
func (f *forgetful) rows() map[string]int {
	f.t.Helper()
	out := map[string]int{}
	err := f.conn.Each(context.Background(), `SELECT source_offset, 'event' FROM events UNION ALL SELECT source_offset, reason FROM drops`, func(scan func(...any) error) error {
		var offset int64
		var what string
		err := scan(&offset, &what)
		out[fmt.Sprint(offset, " ", what)]++
		return err
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return out
}

// eventsBatch has events, duplicates of two of them and a drop of enrich.
func eventsBatch(t *testing.T, n int) (b kafka.Batch, want map[string]int) {
	t.Helper()
	b, want = kafka.Batch{Topic: schemas.TopicEventsEnriched, Partition: 3}, map[string]int{}
	add := func(r *metivav1.EnrichedRecord, source int64, what string) {
		b.Records = append(b.Records, testRecord(t, int64(len(b.Records)), encode(t, r)))
		want[fmt.Sprint(source, " ", what)]++
	}
	for i := range n {
		e := testEvent("cmp_a", 10*i)
		add(schemas.EnrichedOf(e), e.Source.Offset, "event")
		if i%5 == 4 {
			again := testEvent("cmp_a", 10*i+1)
			again.EventId = e.EventId
			add(schemas.EnrichedOf(again), again.Source.Offset, "duplicate")
		}
	}
	d := testEvent("cmp_a", 10*n)
	add(schemas.DropOf(&metivav1.Drop{
		EventId: d.EventId, CompanyId: "cmp_a", SiteId: d.SiteId, ReceivedAtMs: d.ReceivedAtMs, Source: d.Source,
		Stage: metivav1.Stage_STAGE_ENRICH, Reason: metivav1.Reason_REASON_WITHDRAWN,
	}), d.Source.Offset, "withdrawn")
	b.Last = int64(len(b.Records) - 1)
	return b, want
}

// TestRowsThatOnlyTheirTokenIsLeftOf: ClickHouse has the token of an insert and not its
// rows, as some versions after a kill.
func TestRowsThatOnlyTheirTokenIsLeftOf(t *testing.T) {
	t.Parallel()
	f := newForgetful(t)
	for _, c := range []struct {
		name string
		do   func(*testing.T, *forgetful)
	}{
		{"events and drops", eventsForgotten},
		{"killed again and again", killedAgain},
		{"an answer that was lost", answerLost},
		{"a replay", replayForgotten},
		{"views", viewsOfRowsThatCameTwice},
		{"visits, days and the ledger", latestForgotten},
		{"whoever was erased meanwhile", erasedMeanwhile},
		{"while an insert runs", nothingWhileAnInsertRuns},
		{"rows that expire", expiredMeanwhile},
		{"tokens that are used up", tokensUsedUp},
		{"enriched again twice in one batch", replacedTwice},
	} {
		t.Run(c.name, func(t *testing.T) {
			f.t, f.store.after, f.store.fail = t, nil, nil
			f.store.takeAsked()
			for _, table := range []string{store.TableEvents, store.TableDrops, "seen"} {
				f.exec("TRUNCATE TABLE " + table) // which forgets tokens
			}
			c.do(t, f)
		})
	}
}

// eventsForgotten: ClickHouse has the tokens of a batch and not its
// rows, all or a part of them. A plain repetition writes nothing; a batch that knows that
// it is one ends with each row once, also when the rows of further tokens go the same way.
func eventsForgotten(t *testing.T, f *forgetful) {
	b, want := eventsBatch(t, 20)
	f.attempt(b)
	if got := f.store.takeAsked(); !maps.Equal(got, map[string]int{"find": 1, "insert events": 1, "insert drops": 1}) {
		t.Fatalf("a first attempt asks %v", got)
	}
	if got := f.rows(); !maps.Equal(got, want) {
		t.Fatalf("a first attempt writes %v, want %v", got, want)
	}

	forgotten := map[string]string{"all events": "1", "the first events": "source_offset < 60", "none": ""}
	for _, what := range []string{"all events", "the first events", "none"} {
		f.forget(store.TableEvents, forgotten[what])
		f.forget(store.TableDrops, forgotten[what])
		left := f.rows()
		b.Again = false
		f.attempt(b)
		if got := f.rows(); !maps.Equal(got, left) {
			t.Fatalf("%s: a plain repetition writes: %v, before %v", what, got, left)
		}
		f.store.takeAsked()
		b.Again = true
		told := f.number("toUnixTimestamp64Milli(max(changed_at))", "changed_days")
		f.attempt(b)
		if got := f.rows(); !maps.Equal(got, want) {
			t.Fatalf("%s: %v, want %v", what, got, want)
		}
		asked := f.store.takeAsked()
		if what == "none" {
			// What is stored is found, and sent once more for the views, by its two tokens.
			if maps.Equal(asked, map[string]int{"find": 2, "insert events": 2}) {
				continue
			}
			t.Errorf("an ordinary repetition asks %v", asked)
		}
		if f.number("toUnixTimestamp64Milli(max(changed_at))", "changed_days") <= told {
			t.Errorf("%s: the day is not told to have changed", what)
		}
	}
}

// killedAgain: the rows of the further tokens are not kept either, once and again.
func killedAgain(t *testing.T, f *forgetful) {
	b, want := eventsBatch(t, 10)
	f.attempt(b)
	f.forget(store.TableEvents, "1")
	b.Again = true
	// Of the rounds of this attempt the first two are not kept.
	f.store.after = func(table, token string) {
		if table == store.TableEvents && !strings.HasSuffix(token, "/again/3") {
			f.forget(table, "1")
		}
	}
	f.attempt(b)
	if got := f.rows(); !maps.Equal(got, want) {
		t.Fatalf("%v, want %v", got, want)
	}
	// Another process comes to the same with the tokens that are used up.
	f.store.after = nil
	f.forget(store.TableEvents, "1")
	f.store.takeAsked()
	f.attempt(b)
	if got := f.rows(); !maps.Equal(got, want) {
		t.Fatalf("by the next process: %v, want %v", got, want)
	}
	if last := f.store.tokens[len(f.store.tokens)-1]; !strings.HasSuffix(last, "/events/again/4") {
		t.Errorf("the last token is %s", last)
	}
	// Whoever comes then sends the rows of that round once more under its token.
	f.store.takeAsked()
	f.attempt(b)
	if last := f.store.tokens[len(f.store.tokens)-1]; !strings.HasSuffix(last, "/events/again/4") {
		t.Errorf("rows of round 4 are sent under %s", last)
	}
	if got := f.rows(); !maps.Equal(got, want) {
		t.Fatalf("at the end: %v, want %v", got, want)
	}
}

// replayForgotten: the row of an event that was enriched again stands
// in place of the former one, also when its first insert was not kept.
func replayForgotten(t *testing.T, f *forgetful) {
	e := testEvent("cmp_a", 1)
	f.attempt(kafka.Batch{Topic: schemas.TopicEventsEnriched, Partition: 3, Records: []kafka.Record{testRecord(t, 0, encode(t, schemas.EnrichedOf(e)))}})
	e.Resolution.AccountId = "other.nl"
	r := testRecord(t, 1, encode(t, schemas.EnrichedOf(e)))
	r.Headers = []kafka.Header{{Key: schemas.HeaderReplay, Value: []byte("1")}}
	b := kafka.Batch{Topic: schemas.TopicEventsEnriched, Partition: 3, First: 1, Last: 1, Records: []kafka.Record{r}}
	f.attempt(b)
	f.forget(store.TableEvents, "account_id = 'other.nl'")
	b.Again = true
	f.attempt(b)
	f.attempt(b)
	if n := f.number("countIf(account_id = 'other.nl') * 100 + count()", "events FINAL"); n != 101 {
		t.Errorf("%d", n)
	}
	if n := f.number("count()", "events"); n > 2 {
		t.Errorf("%d rows, want the new one, and the former until a merge", n)
	}
}

// viewsOfRowsThatCameTwice says what becomes of a view that adds up: of what the table
// had all along it has each row once, also when a kill kept it from the insert; the rows of
// a further token it has once for each token (ADR 0046). Each view that is kept is told the
// latest moment only.
func viewsOfRowsThatCameTwice(t *testing.T, f *forgetful) {
	b, _ := eventsBatch(t, 4)
	b.Last, b.Records = 3, b.Records[:4]
	b.Again = true
	seen := func(what string, want uint64) {
		t.Helper()
		f.attempt(b)
		if n := f.number("sum(n)", "seen"); n != want {
			t.Errorf("%s: %d in the view, want %d", what, n, want)
		}
		if n := f.number("count()", "events"); n != 4 {
			t.Errorf("%s: %d rows in the table", what, n)
		}
	}
	seen("a first insert", 4)
	seen("a repetition", 4)
	f.exec("TRUNCATE TABLE seen")
	seen("a view that was kept from the insert", 4)
	f.forget(store.TableEvents, "source_offset = 0")
	seen("a row that was not kept", 4+1)
	seen("a repetition of both", 4+1)
}

// latestForgotten: as with events, of the tables whose rows replace
// each other.
func latestForgotten(t *testing.T, f *forgetful) {
	visits := kafka.Batch{Topic: schemas.TopicVisitsEnriched, Partition: 1}
	days := kafka.Batch{Topic: schemas.TopicAccountsEnriched, Partition: 1}
	ledger := kafka.Batch{Topic: schemas.TopicLedgerEdge, Partition: 1}
	for i := range 12 {
		company := []string{"cmp_a", "cmp_b"}[i%2]
		v := testVisit(company, i, uint64(i+1))
		v.Removed = i == 5
		visits.Records = append(visits.Records, kafka.Record{Offset: int64(i), Value: encode(t, v)})
		days.Records = append(days.Records, kafka.Record{Offset: int64(i), Value: encode(t, testDay(company, fmt.Sprintf("it's\t%d.nl", i), 3, uint32(i)))})
		ledger.Records = append(ledger.Records, kafka.Record{Offset: int64(i), Value: encode(t, &metivav1.LedgerEntry{
			WriterId: "w'1", CompanyId: strings.TrimSuffix(company, "cmp_b"), SiteId: "sit_1", MinuteMs: testNow.UnixMilli() - int64(i/4)*60_000,
			Stage: metivav1.Stage_STAGE_COLLECTOR, Reason: metivav1.Reason(i % 4), Count: uint64(i),
		})})
	}
	for _, c := range []struct {
		table, key, version string
		batch               kafka.Batch
	}{
		{store.TableVisits, "concat(company_id, hex(visit_id))", "version", visits},
		{store.TableAccountsDaily, "concat(company_id, account_id)", "version", days},
		{store.TableLedgerEdge, "concat(company_id, toString(minute), reason)", "count", ledger},
	} {
		c.batch.Last = 11
		standing := func() map[string]uint64 {
			out := map[string]uint64{}
			err := f.conn.Each(context.Background(), "SELECT hex("+c.key+"), max("+c.version+") FROM "+c.table+" GROUP BY 1", func(scan func(...any) error) error {
				var key string
				var version uint64
				err := scan(&key, &version)
				out[key] = version
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			return out
		}
		f.attempt(c.batch)
		if got := f.store.takeAsked(); !maps.Equal(got, map[string]int{"insert " + c.table: 1}) {
			t.Fatalf("a first attempt at %s asks %v", c.table, got)
		}
		want, rows := standing(), f.number("count()", c.table)
		if len(want) != 12 {
			t.Fatalf("%s has %d of 12", c.table, len(want))
		}
		c.batch.Again = true
		f.attempt(c.batch)
		if got := f.store.takeAsked(); !maps.Equal(got, map[string]int{"insert " + c.table: 1, "missing": 1}) || f.number("count()", c.table) != rows {
			t.Errorf("an ordinary repetition at %s asks %v, and makes %d rows of %d", c.table, got, f.number("count()", c.table), rows)
		}
		for _, gone := range []string{"1", c.version + " < 6 AND " + c.version + " % 2 = 1"} {
			f.forget(c.table, gone)
			left := standing()
			c.batch.Again = false
			f.attempt(c.batch)
			if got := standing(); !maps.Equal(got, left) {
				t.Fatalf("a plain repetition of %s writes %v", c.table, got)
			}
			c.batch.Again = true
			f.attempt(c.batch)
			if got := standing(); !maps.Equal(got, want) || f.number("count()", c.table) != rows {
				t.Errorf("%s without %s: %v in %d rows, want %v in %d", c.table, gone, got, f.number("count()", c.table), want, rows)
			}
		}
		f.store.takeAsked()
	}
	visit := testVisit("cmp_a", 0, 1)
	if n := f.number("count()", "visits WHERE visit_id = unhex('"+hex.EncodeToString(visit.GetVisitId())+"')"); n != 1 {
		t.Errorf("a visit has %d rows", n)
	}
}

// nothingWhileAnInsertRuns: an insert of the batch by an owner before has its
// token noted, maybe, and its rows on their way.
func nothingWhileAnInsertRuns(t *testing.T, f *forgetful) {
	b, want := eventsBatch(t, 3)
	f.attempt(b)
	b.Again = true
	f.exec("CREATE TABLE slow (n UInt8) ENGINE = Null")
	// On a busy machine the insert may have ended before the attempt looks, which says
	// nothing: then once more.
	for try := range int64(4) {
		f.forget(store.TableEvents, "1")
		maps.DeleteFunc(want, func(row string, _ int) bool { return strings.HasPrefix(row, "777") })
		met, row := f.attemptDuringAnInsert(b, try)
		want[row]++
		if !met {
			continue
		}
		f.attempt(b)
		if got := f.rows(); !maps.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
		return
	}
	t.Error("no attempt met a running insert")
}

// attemptDuringAnInsert tries a batch while another insert of it takes some seconds, and
// reports whether the attempt looked before that ended, and the other's row.
func (f *forgetful) attemptDuringAnInsert(b kafka.Batch, try int64) (met bool, row string) {
	f.t.Helper()
	f.exec("CREATE MATERIALIZED VIEW slow_view TO slow AS SELECT sleepEachRow(2.5) AS n FROM events")
	token := f.w.attemptAt(b).(*eventWriter).token(store.TableEvents, try, try)
	e := testEvent("cmp_a", 7770+int(try))
	ended := make(chan error, 1)
	go func() {
		ended <- f.store.Store.InsertEvents(context.Background(), token, []store.EventRow{{Event: e, ExpiresAt: testNow.AddDate(1, 0, 0)}})
	}()
	waittest.Until(f.t, time.Minute, "the insert runs", func() bool {
		absence, err := f.store.Store.Absence(context.Background(), store.TableEvents, token)
		return len(ended) > 0 || err == nil && absence == store.AbsenceUnderWay
	})
	f.exec("DROP TABLE slow_view")
	a := f.w.attemptAt(b)
	err := a.write(context.Background())
	a.end()
	if met = errors.Is(err, errUnderWay); !met && err != nil {
		f.t.Errorf("while an insert of the batch runs: %v", err)
	}
	if err := <-ended; err != nil {
		f.t.Fatal(err)
	}
	return met, fmt.Sprint(e.Source.Offset, " event")
}

// answerLost: within one process, ClickHouse keeps the token of an insert, not its rows, and
// gives no answer.
func answerLost(t *testing.T, f *forgetful) {
	b, want := eventsBatch(t, 10)
	f.store.fail = func(table string) error {
		if table != store.TableEvents {
			return nil
		}
		f.store.fail = nil
		f.forget(table, "1")
		return errCrash
	}
	claim := &memoryClaim{batch: b}
	if err := f.w.process(context.Background(), claim, b); err != nil {
		t.Fatal(err)
	}
	if got := f.rows(); !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if got := strings.Join(claim.calls, " "); got != "plan commit" {
		t.Errorf("calls %q", got)
	}
}

// emptyStore takes inserts and keeps nothing.
type emptyStore struct {
	memoryStore
	absence store.Absence
}

func (s *emptyStore) Absence(context.Context, string, string) (store.Absence, error) {
	return s.absence, nil
}

// TestWhatIsNotFoundIsNotAlwaysGone: a server that keeps nothing has the batch tried again
// after some tokens; nothing is written under another token where a replica may lag, or
// while an insert runs.
func TestWhatIsNotFoundIsNotAlwaysGone(t *testing.T) {
	t.Parallel()
	for absence, want := range map[store.Absence]struct {
		err     error
		inserts int
	}{
		store.AbsenceProven: {errNotThere, 1 + roundsMax}, store.AbsenceUnderWay: {errUnderWay, 1}, store.AbsenceOfReplica: {nil, 1},
	} {
		s := &askedStore{Store: &emptyStore{absence: absence}}
		w := testWorker(t, s)
		b := kafka.Batch{Topic: schemas.TopicEventsEnriched, Again: true, Records: []kafka.Record{
			testRecord(t, 0, encode(t, schemas.EnrichedOf(testEvent("cmp_a", 1)))),
		}}
		err := w.attemptAt(b).write(context.Background())
		if !errors.Is(err, want.err) || len(s.tokens) != want.inserts {
			t.Errorf("%d: %v after %d inserts, want %v after %d", absence, err, len(s.tokens), want.err, want.inserts)
		}
		slices.Sort(s.tokens)
		if unique := slices.Compact(s.tokens); len(unique) != want.inserts {
			t.Errorf("%d tokens for %d inserts", len(unique), want.inserts)
		}
	}
}

// erasedMeanwhile: an erasure that becomes known between the insert and the look takes what
// is missing with it: an event becomes a drop, a visit nothing, and neither comes back.
func erasedMeanwhile(t *testing.T, f *forgetful) {
	set := tombstone.NewSet()
	former := f.w.deps.Erased
	f.w.deps.Erased = set
	defer func() { f.w.deps.Erased = former }()
	visitor := []byte("0123456789abcdef")
	e, v := testEvent("cmp_a", 1), testVisit("cmp_erased", 1, 1)
	e.VisitorId, e.Consent = visitor, metivav1.ConsentState_CONSENT_STATE_ANALYTICS
	v.VisitorId, v.Consent = visitor, metivav1.ConsentState_CONSENT_STATE_ANALYTICS
	events := kafka.Batch{Topic: schemas.TopicEventsEnriched, Partition: 3, Again: true, Records: []kafka.Record{testRecord(t, 0, encode(t, schemas.EnrichedOf(e)))}}
	visits := kafka.Batch{Topic: schemas.TopicVisitsEnriched, Again: true, Records: []kafka.Record{{Value: encode(t, v)}}}
	f.store.after = func(table, _ string) {
		f.forget(table, "1")
		for _, company := range []string{"cmp_a", "cmp_erased"} {
			value := encode(t, &metivav1.Erasure{CompanyId: company, SubjectId: visitor, ErasedAtMs: 1})
			if err := set.Apply(tombstone.RecordKey(company, visitor), value); err != nil {
				t.Fatal(err)
			}
		}
	}
	a := f.w.attemptAt(events)
	if err := a.write(context.Background()); !errors.Is(err, errErased) {
		t.Errorf("an event whose visitor was erased meanwhile: %v", err)
	}
	a.end()
	f.w.deps.Erased = former
	f.store.after = func(table, _ string) { f.forget(table, "1"); f.w.deps.Erased = set }
	f.attempt(visits)
	f.store.after = nil
	f.attempt(events)
	f.attempt(events)
	f.attempt(visits)
	if got := f.rows(); !maps.Equal(got, map[string]int{"1 erased": 1}) {
		t.Errorf("%v", got)
	}
	if n := f.number("count()", "visits WHERE company_id = 'cmp_erased'"); n != 0 {
		t.Errorf("%d visits of who was erased", n)
	}
}
