package sink

import (
	"context"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
	store "github.com/metiva-io/metiva/sink/clickhouse"
)

// expiredMeanwhile: a merge leaves out rows that expire, within milliseconds of their
// insert. A batch that was tried for days while they expired, or has drops and entries of
// the ledger from before the 13 months, does not wait for them.
func expiredMeanwhile(t *testing.T, f *forgetful) {
	now := time.Now()
	firstAttempt := now.AddDate(0, 0, -3)
	formerNow := f.w.deps.Now
	f.w.deps.Now = time.Now
	defer func() { f.w.deps.Now = formerNow }()
	e, v, a := testEvent("cmp_a", 1), testVisit("cmp_a", 1, 1), testDay("cmp_a", "old.nl", 1, 1)
	e.ReceivedAtMs, e.RetentionDays = now.AddDate(0, 0, -4).UnixMilli(), 2
	v.StartedAtMs, v.RetentionDays = e.ReceivedAtMs, 2
	a.Day, a.RetentionDays = int32(firstAttempt.Unix()/secondsOfDay), 1
	d := &metivav1.Drop{
		EventId: e.EventId, CompanyId: "cmp_a", SiteId: e.SiteId, ReceivedAtMs: 1, Source: &metivav1.SourceRef{Partition: 1, Offset: 2},
		Stage: metivav1.Stage_STAGE_ENRICH, Reason: metivav1.Reason_REASON_WITHDRAWN,
	}
	l := &metivav1.LedgerEntry{WriterId: "w", CompanyId: "cmp_a", SiteId: "sit_1", MinuteMs: 60_000, Stage: metivav1.Stage_STAGE_COLLECTOR, Count: 1}
	f.store.after = func(table, _ string) { f.merge(table) }
	for _, c := range []struct {
		table, topic string
		record       proto.Message
	}{
		{store.TableEvents, schemas.TopicEventsEnriched, schemas.EnrichedOf(e)},
		{store.TableDrops, schemas.TopicEventsEnriched, schemas.DropOf(d)},
		{store.TableVisits, schemas.TopicVisitsEnriched, v},
		{store.TableAccountsDaily, schemas.TopicAccountsEnriched, a},
		{store.TableLedgerEdge, schemas.TopicLedgerEdge, l},
	} {
		b := kafka.Batch{Topic: c.topic, Partition: 1, Again: true, Records: []kafka.Record{{Topic: c.topic, Partition: 1, Time: now, Key: []byte("key"), Value: encode(t, c.record)}}}
		f.store.takeAsked()
		attempt := f.w.newAttempt(batchWriter{worker: f.w, batch: b, hash: hashBatch(b), now: firstAttempt, deadSent: map[int64]bool{}, again: &b.Again})
		if err := attempt.write(context.Background()); err != nil {
			t.Errorf("%s: %v", c.table, err)
		}
		attempt.end()
		if n := len(f.store.tokens); n != 1 || !strings.HasSuffix(f.store.tokens[0], "/"+c.table) {
			t.Errorf("%s: inserts under %q", c.table, f.store.tokens)
		}
	}
}

// replacedTwice: of two rows of one event in a batch that came with two inserts, since
// one between them was refused, a merge leaves the last. The former is not missing, and does
// not come to stand above it.
func replacedTwice(t *testing.T, f *forgetful) {
	f.exec("ALTER TABLE events ADD CONSTRAINT no_bad_path CHECK path != '" + badPath + "'")
	defer f.exec("ALTER TABLE events DROP CONSTRAINT no_bad_path")
	e := testEvent("cmp_a", 1)
	f.attempt(kafka.Batch{Topic: schemas.TopicEventsEnriched, Partition: 3, Records: []kafka.Record{testRecord(t, 0, encode(t, schemas.EnrichedOf(e)))}})
	b := kafka.Batch{Topic: schemas.TopicEventsEnriched, Partition: 3, First: 1, Last: 3, Again: true}
	bad := testEvent("cmp_a", 2)
	bad.Path = badPath
	for i, account := range []string{"former.nl", "", "latter.nl"} {
		record := bad
		if account != "" {
			record = proto.CloneOf(e)
			record.Resolution.AccountId = account
		}
		r := testRecord(t, int64(i+1), encode(t, schemas.EnrichedOf(record)))
		r.Headers = []kafka.Header{{Key: schemas.HeaderReplay, Value: []byte("1")}}
		b.Records = append(b.Records, r)
	}
	inserts := 0
	f.store.after = func(table, _ string) {
		if inserts++; table == store.TableEvents && inserts == 2 {
			f.merge(table)
		}
	}
	f.attempt(b)
	f.store.after = nil
	if inserts != 3 { // two of events, one of drops
		t.Errorf("%d inserts", inserts)
	}
	if n := f.number("countIf(account_id = 'latter.nl') * 100 + count()", "events FINAL"); n != 101 {
		t.Errorf("%d", n)
	}
}

// tokensUsedUp: after nine inserts of a batch of which ClickHouse noted the tokens and kept
// no row, the batch stands until the table forgets them, as docs/operations/storage.md
// says an operator has it do.
func tokensUsedUp(t *testing.T, f *forgetful) {
	b, want := eventsBatch(t, 3)
	b.Again = true
	f.store.after = func(table, _ string) { f.forget(table, "1") }
	for range 2 {
		a := f.w.attemptAt(b)
		if err := a.write(context.Background()); !errors.Is(err, errNotThere) {
			t.Fatalf("an engine that keeps nothing: %v", err)
		}
		a.end()
		f.store.after = nil // it keeps what comes under a token that it does not know
	}
	f.exec("ALTER TABLE events MODIFY SETTING non_replicated_deduplication_window = 0")
	f.exec("ALTER TABLE events MODIFY SETTING non_replicated_deduplication_window = 100000")
	for range 2 {
		f.attempt(b)
		if got := f.rows(); !maps.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
	}
}
