package sink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/eventwire"
	"github.com/metiva-io/metiva/schemas/metivav1"
	store "github.com/metiva-io/metiva/sink/clickhouse"
)

func TestConfigValidate(t *testing.T) {
	t.Parallel()
	if err := (Config{}).Validate(); err != nil {
		t.Errorf("the zero configuration: %v", err)
	}
	bad := Config{BatchRowsMax: -1, BatchBytesMax: 1, BatchAgeMax: time.Hour, RetryMin: time.Minute, DrainTimeout: -1, RetentionDaysDefault: -1}
	if err := bad.Validate(); err == nil || len(strings.Split(err.Error(), "\n")) != 6 {
		t.Errorf("six faults give %v", err)
	}
}

func TestEnvelopeRules(t *testing.T) {
	t.Parallel()
	for name, breakIt := range map[string]func(*metivav1.EnrichedEvent){
		"event id":              func(e *metivav1.EnrichedEvent) { e.EventId = e.EventId[:15] },
		"no company":            func(e *metivav1.EnrichedEvent) { e.CompanyId = "" },
		"company with a quote":  func(e *metivav1.EnrichedEvent) { e.CompanyId = "cmp_'" },
		"no site":               func(e *metivav1.EnrichedEvent) { e.SiteId = "" },
		"no time":               func(e *metivav1.EnrichedEvent) { e.ReceivedAtMs = 0 },
		"time past the columns": func(e *metivav1.EnrichedEvent) { e.OccurredAtMs = math.MaxInt64 },
		"visit key":             func(e *metivav1.EnrichedEvent) { e.VisitKey = nil },
		"visitor, denied":       func(e *metivav1.EnrichedEvent) { e.VisitorId = make([]byte, 16) },
		"visitor, withdrawn": func(e *metivav1.EnrichedEvent) {
			e.VisitorId, e.Consent = make([]byte, 16), metivav1.ConsentState_CONSENT_STATE_WITHDRAWN
		},
		"visitor, unknown state": func(e *metivav1.EnrichedEvent) { e.VisitorId, e.Consent = make([]byte, 16), 77 },
		"visitor id": func(e *metivav1.EnrichedEvent) {
			e.VisitorId, e.Consent = make([]byte, 4), metivav1.ConsentState_CONSENT_STATE_ANALYTICS
		},
		"path":               func(e *metivav1.EnrichedEvent) { e.Path = strings.Repeat("a", schemas.PathBytesMax+1) },
		"name of a provider": func(e *metivav1.EnrichedEvent) { e.Resolution.Verdict = metivav1.Verdict_VERDICT_ISP },
		"confidence":         func(e *metivav1.EnrichedEvent) { e.Resolution.Confidence = float32(math.NaN()) },
		"prefix":             func(e *metivav1.EnrichedEvent) { e.Resolution.PrefixBits = 300 },
		"sealed address":     func(e *metivav1.EnrichedEvent) { e.SealedAddress = make([]byte, schemas.SealedAddressBytesMax+1) },
		"no type":            func(e *metivav1.EnrichedEvent) { e.Type = 0 },
		"detail of a page view": func(e *metivav1.EnrichedEvent) {
			e.Detail = &metivav1.EnrichedEvent_Click{Click: &metivav1.Click{Kind: metivav1.ClickKind_CLICK_KIND_OUTBOUND, TargetHost: "h"}}
		},
		"click without consent": func(e *metivav1.EnrichedEvent) {
			e.Type = metivav1.EventType_EVENT_TYPE_CLICK
			e.Detail = &metivav1.EnrichedEvent_Click{Click: &metivav1.Click{Kind: metivav1.ClickKind_CLICK_KIND_OUTBOUND, TargetHost: "h"}}
		},
		"click without its detail": func(e *metivav1.EnrichedEvent) {
			e.Type, e.VisitorId, e.Consent = metivav1.EventType_EVENT_TYPE_CLICK, make([]byte, 16), metivav1.ConsentState_CONSENT_STATE_ANALYTICS
		},
		"acceptance id":   func(e *metivav1.EnrichedEvent) { e.AcceptanceId = e.AcceptanceId[:15] },
		"no source":       func(e *metivav1.EnrichedEvent) { e.Source = nil },
		"negative source": func(e *metivav1.EnrichedEvent) { e.Source.Offset = -1 },
	} {
		e := testEvent("cmp_a", 1)
		if err := checkEvent(e); err != nil {
			t.Fatalf("a valid event: %v", err)
		}
		breakIt(e)
		if err := checkEvent(e); !errors.Is(err, errEnvelope) {
			t.Errorf("%s: %v", name, err)
		}
		it := readItem(&kafka.Record{Value: encode(t, schemas.EnrichedOf(e))}, new(eventwire.Enriched))
		if it.event != nil || !it.dead || it.drop.Reason != metivav1.Reason_REASON_INVALID_RECORD || it.drop.Stage != metivav1.Stage_STAGE_SINK {
			t.Errorf("%s: read as %+v", name, it)
		}
	}
	ok := testEvent("cmp_a", 1)
	ok.VisitorId, ok.Consent = make([]byte, 16), metivav1.ConsentState_CONSENT_STATE_ANALYTICS
	if err := checkEvent(ok); err != nil {
		t.Errorf("a visitor id with consent: %v", err)
	}
	ok.Type = metivav1.EventType_EVENT_TYPE_CLICK
	ok.Detail = &metivav1.EnrichedEvent_Click{Click: &metivav1.Click{Kind: metivav1.ClickKind_CLICK_KIND_OUTBOUND, TargetHost: "h"}}
	if err := checkEvent(ok); err != nil {
		t.Errorf("a click with consent: %v", err)
	}
}

func TestInvalidRecordsKeepWhatIsKnown(t *testing.T) {
	t.Parallel()
	e := testEvent("cmp_a", 7)
	e.Path = strings.Repeat("a", 2000)
	r := testRecord(t, 41, encode(t, schemas.EnrichedOf(e)))
	it := readItem(&r, new(eventwire.Enriched))
	if it.identity.Key.CompanyID != "cmp_a" || it.identity.Source != (store.Source{Partition: e.Source.Partition, Offset: 7}) || it.drop.SiteID != e.SiteId {
		t.Errorf("a readable invalid event gives %+v", it.drop)
	}
	for _, value := range [][]byte{nil, []byte("\xff\xff"), encode(t, &metivav1.EnrichedRecord{})} {
		r := testRecord(t, 42, value)
		it := readItem(&r, new(eventwire.Enriched))
		if it.identity.Source != (store.Source{Partition: -4, Offset: 42}) || !it.dead || it.identity.Key.CompanyID != "" || !it.drop.ReceivedAt.Equal(testNow) {
			t.Errorf("an unreadable record gives %+v", it.drop)
		}
	}
	// enrich drops what it cannot read without knowing the tenant.
	r = testRecord(t, 43, encode(t, schemas.DropOf(&metivav1.Drop{
		Stage: metivav1.Stage_STAGE_ENRICH, Reason: metivav1.Reason_REASON_INVALID_RECORD, Source: &metivav1.SourceRef{Partition: 1, Offset: 2},
	})))
	if it := readItem(&r, new(eventwire.Enriched)); it.dead || it.drop.Stage != metivav1.Stage_STAGE_ENRICH || it.identity.Source != (store.Source{Partition: 1, Offset: 2}) {
		t.Errorf("a drop without a tenant is read as %+v", it)
	}
}

func TestSortOutcomes(t *testing.T) {
	t.Parallel()
	w := testWorker(t, nil)
	first := testEvent("cmp_a", 1)
	again := proto.Clone(first).(*metivav1.EnrichedEvent) // sent again by the client
	again.Source.Offset = 2
	other := proto.Clone(first).(*metivav1.EnrichedEvent) // same id, another tenant
	other.CompanyId, other.Source.Offset = "cmp_b", 3
	old := testEvent("cmp_a", 4)
	old.ReceivedAtMs, old.RetentionDays = testNow.AddDate(0, 0, -10).UnixMilli(), 9
	known := testEvent("cmp_a", 5)
	resent := testEvent("cmp_a", 6)
	drop := &metivav1.Drop{
		EventId: make([]byte, 16), CompanyId: "cmp_a", SiteId: "sit_1", ReceivedAtMs: 1, Stage: metivav1.Stage_STAGE_ENRICH,
		Reason: metivav1.Reason_REASON_WITHDRAWN, Source: &metivav1.SourceRef{Partition: 1, Offset: 9},
	}
	values := [][]byte{
		encode(t, schemas.EnrichedOf(first)), encode(t, schemas.EnrichedOf(first)), encode(t, schemas.EnrichedOf(again)), encode(t, schemas.EnrichedOf(other)),
		encode(t, schemas.EnrichedOf(old)), encode(t, schemas.EnrichedOf(known)), encode(t, schemas.EnrichedOf(resent)),
		encode(t, schemas.DropOf(drop)), encode(t, schemas.DropOf(drop)), []byte("\xff"),
	}
	var records []kafka.Record
	var items []item
	for i, v := range values {
		records = append(records, testRecord(t, int64(i), v))
	}
	for i := range records {
		items = append(items, readItem(&records[i], new(eventwire.Enriched)))
	}
	stored := store.Stored{
		Identities: map[store.Identity]bool{items[5].identity: true},
		Events:     map[store.EventKey]bool{items[5].identity.Key: true, items[6].identity.Key: true},
	}
	got := w.sort(items, stored, []uint64{1}, testNow, new(sortMemory))
	var events, drops []string
	for _, r := range got.events {
		events = append(events, fmt.Sprint(r.Position))
	}
	for _, r := range got.drops {
		drops = append(drops, fmt.Sprintf("%d %s %s", r.Position, schemas.Label(r.Stage), schemas.Label(r.Reason)))
	}
	if want := []string{"0", "3"}; !slices.Equal(events, want) {
		t.Errorf("events at %v, want %v", events, want)
	}
	if want := []string{"2 sink duplicate", "4 sink expired", "6 sink duplicate", "7 enrich withdrawn", "9 sink invalid_record"}; !slices.Equal(drops, want) {
		t.Errorf("drops %v, want %v", drops, want)
	}
	if got.repeated != 3 || len(got.dead) != 1 || got.dead[0].Offset != 9 {
		t.Errorf("%d repeated, %d dead", got.repeated, len(got.dead))
	}
}

func TestTokens(t *testing.T) {
	t.Parallel()
	b := kafka.Batch{Topic: "t", Partition: 3, First: 10, Last: 19, Records: []kafka.Record{{Offset: 10, Value: []byte("a")}, {Offset: 11, Value: []byte("b")}}}
	token := func(b kafka.Batch, table string, first, last int64) string {
		return (&batchWriter{batch: b, hash: hashBatch(b)}).token(table, first, last)
	}
	base := token(b, "events", 10, 19)
	if base != token(b, "events", 10, 19) || !strings.HasPrefix(base, "t/3/10-19/") {
		t.Errorf("token %q is not stable", base)
	}
	changed := b
	changed.Records = []kafka.Record{{Offset: 10, Value: []byte("ab")}, {Offset: 11}}
	for name, other := range map[string]string{
		"table": token(b, "drops", 10, 19), "range": token(b, "events", 10, 14), "content": token(changed, "events", 10, 19),
	} {
		if other == base {
			t.Errorf("another %s has the same token", name)
		}
	}
}

func TestBisectFindsTheBadRows(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		first := rng.Int64N(1000)
		last := first + rng.Int64N(200)
		var rows []int64
		bad := map[int64]bool{}
		for p := first; p <= last; p++ {
			if rng.IntN(3) > 0 {
				rows = append(rows, p)
				bad[p] = rng.IntN(20) == 0
			}
		}
		var written, rejected []int64
		insert := func(first, last int64, rows []int64) error {
			for _, p := range rows {
				if p < first || p > last {
					t.Fatalf("row %d is outside of %d-%d", p, first, last)
				}
				if bad[p] {
					return fmt.Errorf("refused: %w", clickhouse.ErrBadColumn)
				}
			}
			written = append(written, rows...)
			return nil
		}
		reject := func(p *int64) error { rejected = append(rejected, *p); return nil }
		if err := bisect(rows, func(p *int64) int64 { return *p }, first, last, insert, reject); err != nil {
			t.Fatal(err)
		}
		for _, p := range rejected {
			if !bad[p] {
				t.Fatalf("row %d was rejected and is good", p)
			}
		}
		all := slices.Concat(written, rejected)
		slices.Sort(all)
		if !slices.Equal(all, rows) {
			t.Fatalf("rows %v became %v", rows, all)
		}
	}
	away := errors.New("connection refused")
	rejected := 0
	err := bisect([]int64{1, 2}, func(p *int64) int64 { return *p }, 1, 2, func(int64, int64, []int64) error { return away }, func(*int64) error { rejected++; return nil })
	if !errors.Is(err, away) || rejected != 0 {
		t.Errorf("a fault of the server gives %v and %d rejected rows", err, rejected)
	}
}

func TestLedgerKeepsTheGreatestCount(t *testing.T) {
	t.Parallel()
	entry := func(minute int64, count uint64) []byte {
		return encode(t, &metivav1.LedgerEntry{WriterId: "w", CompanyId: "cmp_a", SiteId: "sit_a", MinuteMs: minute * 60_000, Stage: metivav1.Stage_STAGE_COLLECTOR, Count: count})
	}
	sink := testWorker(t, store.New(nil))
	w := newLatest(batchWriter{worker: sink, now: testNow, batch: kafka.Batch{Records: []kafka.Record{
		{Offset: 1, Value: entry(1, 5)}, {Offset: 2, Value: entry(2, 1)}, {Offset: 3, Value: entry(1, 9)}, {Offset: 4, Value: entry(1, 7)}, {Offset: 5, Value: []byte("\xff")},
	}}}, sink.ledgerEntries())
	w.decode()
	var got []string
	for _, r := range w.rows {
		got = append(got, fmt.Sprint(r.Position, ":", r.Message.GetCount()))
	}
	if want := []string{"2:1", "3:9"}; !slices.Equal(got, want) || len(w.bad) != 1 {
		t.Errorf("rows %v and %d dead, want %v and 1", got, len(w.bad), want)
	}
}

// memoryStore is away until it has refused some calls.
type memoryStore struct {
	Store
	refusals int
	events   int
}

func (s *memoryStore) Find(context.Context, []store.Wanted) (store.Stored, error) {
	if s.refusals > 0 {
		s.refusals--
		return store.Stored{}, errors.New("connection refused")
	}
	return store.Stored{}, nil
}

func (s *memoryStore) InsertEvents(_ context.Context, _ string, rows []store.EventRow) error {
	s.events += len(rows)
	return nil
}

// memoryClaim gives one batch and then waits for the end.
type memoryClaim struct {
	batch kafka.Batch
	calls []string
	done  context.CancelFunc
}

func (c *memoryClaim) Topic() string  { return c.batch.Topic }
func (c *memoryClaim) Partition() int { return c.batch.Partition }

func (c *memoryClaim) NextBatch(ctx context.Context, _ kafka.BatchLimit) (kafka.Batch, error) {
	c.calls = append(c.calls, "next")
	if len(c.calls) > 1 {
		c.done()
		<-ctx.Done()
		return kafka.Batch{}, ctx.Err()
	}
	return c.batch, nil
}

func (c *memoryClaim) Plan(context.Context, kafka.Batch) error {
	c.calls = append(c.calls, "plan")
	return nil
}

func (c *memoryClaim) Commit(context.Context, kafka.Batch) error {
	c.calls = append(c.calls, "commit")
	return nil
}

func TestPlanWriteCommitWithRetries(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	s := &memoryStore{refusals: 3}
	w := testWorker(t, s)
	claim := &memoryClaim{done: cancel, batch: kafka.Batch{Topic: schemas.TopicEventsEnriched, First: 0, Last: 0, Records: []kafka.Record{
		testRecord(t, 0, encode(t, schemas.EnrichedOf(testEvent("cmp_a", 1)))),
	}}}
	if err := w.handle(ctx, claim); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(claim.calls, " "); got != "next plan commit next" || s.events != 1 {
		t.Errorf("calls %q, %d events", got, s.events)
	}
}

func TestStopWhileClickHouseIsAway(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	s := &stoppingStore{cancel: cancel}
	claim := &memoryClaim{done: func() {}, batch: kafka.Batch{Topic: schemas.TopicEventsEnriched}}
	if err := testWorker(t, s).handle(ctx, claim); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(claim.calls, " "); got != "next plan" {
		t.Errorf("calls %q: a batch that was not written must not be committed", got)
	}
}

// stoppingStore is away, and stops the worker at the first call.
type stoppingStore struct {
	Store
	cancel context.CancelFunc
}

func (s *stoppingStore) Find(context.Context, []store.Wanted) (store.Stored, error) {
	s.cancel()
	return store.Stored{}, errors.New("connection refused")
}

type noConsumer struct{}

func (noConsumer) Run(context.Context, func(context.Context, *kafka.Claim) error) error { return nil }

type noDead struct{ DeadLetters }

func testWorker(t testing.TB, s Store) *Worker {
	t.Helper()
	if s == nil {
		s = &memoryStore{}
	}
	w, err := New(Config{RetryMin: time.Millisecond}, Deps{
		Consumer: noConsumer{}, Dead: noDead{}, Store: s, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(), Now: fixedNow,
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func FuzzReadItem(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("\x0a\x12\x0a\x10"))
	f.Fuzz(func(t *testing.T, value []byte) {
		r := kafka.Record{Partition: 2, Offset: 5, Time: testNow, Value: value}
		it := readItem(&r, new(eventwire.Enriched))
		if (it.event == nil) == (it.drop == nil) {
			t.Fatal("a record is one of event and drop")
		}
		if it.drop != nil && (it.drop.Reason == 0 || it.identity.Source.Offset < 0) {
			t.Fatalf("drop %+v", it.drop)
		}
	})
}
