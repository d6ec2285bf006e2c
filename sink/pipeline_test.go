package sink

import (
	"context"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/pkg/embedded/clickhouse/clickhousetest"
	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
	store "github.com/metiva-io/metiva/sink/clickhouse"
)

// deadLetters reads events.dead as far as it is.
func (p *pipeline) deadLetters() [][]byte {
	p.t.Helper()
	var mu sync.Mutex
	var values [][]byte
	table := p.client.NewTable(schemas.TopicEventsDead, func(_, value []byte) error {
		mu.Lock()
		defer mu.Unlock()
		values = append(values, slices.Clone(value))
		return nil
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- table.Run(ctx) }()
	select {
	case <-table.Ready():
	case <-time.After(30 * time.Second):
		p.t.Error("events.dead could not be read")
	}
	cancel()
	if err := <-ended; err != nil {
		p.t.Error(err)
	}
	return values
}

func TestBadRecordsDoNotStopTheOthers(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	p := newPipeline(t)
	p.noMerges()
	// A rule the sink does not know, as a newer release's table may have.
	if err := p.conn.Exec(ctx, "ALTER TABLE events ADD CONSTRAINT no_bad_path CHECK path != '/bad'"); err != nil {
		t.Fatal(err)
	}
	const company = "cmp_a"
	partition := schemas.EventPartition(company, nil, schemas.TenantBuckets)
	events, drops := map[store.Identity]bool{}, map[store.Identity]string{}
	var values, dead [][]byte
	for i := range 200 {
		e := testEvent(company, i)
		id := identityOf(company, e.EventId, e.Source)
		bad := false
		switch {
		case i%37 == 5:
			e.Path = "/bad"
			drops[id], bad = "rejected_row", true
		case i%41 == 7:
			e.VisitorId = make([]byte, 16)
			drops[id], bad = "invalid_record", true
		default:
			events[id] = true
		}
		values = append(values, encode(t, schemas.EnrichedOf(e)))
		if bad {
			dead = append(dead, values[i])
		}
	}
	unreadable := []byte("\xff not a message")
	values, dead = append(values, unreadable), append(dead, unreadable)
	drops[store.Identity{Source: store.Source{Partition: int32(-1 - partition), Offset: 200}}] = "invalid_record"

	p.produce(schemas.TopicEventsEnriched, func(int) int { return partition }, values)
	p.running(p.worker(Config{BatchAgeMax: 20 * time.Millisecond}, nil, fixedNow).Run)
	p.until("all rows are written", time.Minute, func() bool { return p.count("events")+p.count("drops") >= uint64(len(events)+len(drops)) })
	compare(t, events, p.rowsOf("events", "type"), drops, p.rowsOf("drops", "reason"))

	got := p.deadLetters()
	if len(got) != len(dead) {
		t.Errorf("%d dead letters, want %d", len(got), len(dead))
	}
	for _, want := range dead {
		if !slices.ContainsFunc(got, func(v []byte) bool { return string(v) == string(want) }) {
			t.Errorf("no dead letter %s", hex.EncodeToString(want[:8]))
		}
	}
}

// TestClickHouseAwayAndBack: while ClickHouse is away each partition's one batch is
// tried again and nothing more is read, however much waits in Kafka; when it is back
// all of it is written, and the visits too.
func TestClickHouseAwayAndBack(t *testing.T) {
	t.Parallel()
	p := newPipeline(t)
	p.noMerges()
	p.server.Kill()
	cfg := Config{BatchRowsMax: 50, BatchAgeMax: 10 * time.Millisecond, RetryMin: 5 * time.Millisecond, RetryMax: 50 * time.Millisecond}
	s := &countingStore{Store: store.New(p.conn), called: make(chan struct{}, 1), seen: map[store.Identity]bool{}}
	p.running(p.worker(cfg, s, fixedNow).Run)
	const companies, perCompany = 6, 700
	events, visits, partitions := map[store.Identity]bool{}, map[string]uint64{}, map[int]bool{}
	var values, visitValues [][]byte
	partition := func(i int) int {
		return schemas.EventPartition(fmt.Sprintf("cmp_%d", i%companies), nil, schemas.TenantBuckets)
	}
	for i := range companies * perCompany {
		company := fmt.Sprintf("cmp_%d", i%companies)
		e, v := testEvent(company, i), testVisit(company, i, 3)
		events[identityOf(company, e.EventId, e.Source)] = true
		visits[company+"/"+hex.EncodeToString(v.GetVisitId())] = 3
		values, visitValues = append(values, encode(t, schemas.EnrichedOf(e))), append(visitValues, encode(t, v))
		partitions[partition(i)] = true
	}
	p.produce(schemas.TopicEventsEnriched, partition, values)
	p.produce(schemas.TopicVisitsEnriched, partition, visitValues)
	for range 60 { // attempts, all at the batches that are held
		select {
		case <-s.called:
		case <-time.After(30 * time.Second):
			t.Fatal("the sink does not try again")
		}
	}
	if held := s.held(); held == 0 || held > cfg.BatchRowsMax*len(partitions) {
		t.Errorf("%d of %d records were taken while ClickHouse was away, the batches of %d partitions hold %d", held, len(values), len(partitions), cfg.BatchRowsMax)
	}
	p.server.Restart()
	back := time.Now()
	p.until("all rows are written", 2*time.Minute, func() bool {
		return p.count("events") >= uint64(len(events)) && maps.Equal(p.standing(standingVisits), visits)
	})
	t.Logf("%d events and %d visits were caught up with in %s", len(events), len(visits), time.Since(back))
	compare(t, events, p.rowsOf("events", "type"), nil, p.rowsOf("drops", "reason"))
}

// countingStore sees the attempts, and which records they were about.
type countingStore struct {
	Store
	called chan struct{}
	mu     sync.Mutex
	seen   map[store.Identity]bool
}

func (s *countingStore) Find(ctx context.Context, ids []store.Wanted) (store.Stored, error) {
	s.mu.Lock()
	for i := range ids {
		s.seen[ids[i].Identity] = true
	}
	s.mu.Unlock()
	select {
	case s.called <- struct{}{}:
	default:
	}
	return s.Store.Find(ctx, ids)
}

func (s *countingStore) held() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.seen)
}

func TestLedgerEntriesArrive(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	p := newPipeline(t)
	var values [][]byte
	for count := uint64(1); count <= 20; count++ {
		for _, reason := range []metivav1.Reason{metivav1.Reason_REASON_UNSPECIFIED, metivav1.Reason_REASON_OBJECTED} {
			values = append(values, encode(t, &metivav1.LedgerEntry{
				WriterId: "collector-1", CompanyId: "cmp_a", SiteId: "sit_a", MinuteMs: 1_790_000_040_000, Stage: metivav1.Stage_STAGE_COLLECTOR, Reason: reason, Count: count,
			}))
		}
	}
	values = append(values, []byte("\xff"), encode(t, &metivav1.LedgerEntry{WriterId: "w", MinuteMs: 61_000}))
	p.produce(schemas.TopicLedgerEdge, func(int) int { return 0 }, values)
	p.running(p.worker(Config{BatchRowsMax: 7, BatchAgeMax: 10 * time.Millisecond}, nil, fixedNow).Run)
	var got string
	p.until("the greatest counts are there", time.Minute, func() bool {
		got = ""
		err := p.conn.Each(ctx, "SELECT reason, toString(count) FROM ledger_edge FINAL ORDER BY reason", func(scan func(...any) error) error {
			var reason, count string
			err := scan(&reason, &count)
			got += reason + "=" + count + " "
			return err
		})
		return err == nil && strings.Contains(got, "none=20 objected=20")
	})
	if got != "none=20 objected=20 " {
		t.Errorf("ledger %q", got)
	}
	p.until("two dead letters", time.Minute, func() bool { return len(p.deadLetters()) == 2 })
}

// BenchmarkBatch measures a whole batch of 20,000 events: look-up, columns,
// insert.
func BenchmarkBatch(b *testing.B) {
	w := testWorker(b, store.New(migrated(b, clickhousetest.Start(b))))
	const rows = 20_000
	offset := int64(0)
	for b.Loop() {
		b.StopTimer()
		batch := kafka.Batch{Topic: schemas.TopicEventsEnriched, Partition: 3, First: offset, Last: offset + rows - 1}
		template := testEvent("cmp_a", 0)
		for i := range int64(rows) {
			e := proto.Clone(template).(*metivav1.EnrichedEvent)
			fresh := testEvent("cmp_a", 0)
			e.EventId, e.AcceptanceId = fresh.EventId, fresh.AcceptanceId
			e.Source.Offset = offset + i
			batch.Records = append(batch.Records, kafka.Record{Offset: offset + i, Value: encode(b, schemas.EnrichedOf(e))})
		}
		offset += rows
		b.StartTimer()
		if err := w.attempt(context.Background(), batchWriter{worker: w, batch: batch, hash: hashBatch(batch), now: testNow, deadSent: map[int64]bool{}}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(rows*b.N)/b.Elapsed().Seconds(), "rows/s")
}
