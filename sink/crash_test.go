package sink

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/pkg/embedded/clickhouse/clickhousetest"
	"github.com/metiva-io/metiva/pkg/embedded/kafka/kafkatest"
	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
	store "github.com/metiva-io/metiva/sink/clickhouse"
)

// pipeline is a broker with the product's topics, an engine with its tables,
// and a producer.
type pipeline struct {
	t        *testing.T
	broker   *kafkatest.Broker
	server   *clickhousetest.Server
	conn     *clickhouse.Conn
	producer *kafka.Producer
	client   *kafka.Client
}

func newPipeline(t *testing.T) *pipeline {
	t.Helper()
	p := &pipeline{t: t, broker: kafkatest.Start(t), server: clickhousetest.Start(t)}
	p.conn = migrated(t, p.server)
	p.client = p.newClient()
	var topics []kafka.TopicSpec
	for _, topic := range schemas.Topics() {
		topics = append(topics, kafka.TopicSpec{Name: topic.Name, Partitions: topic.Partitions, Retention: topic.Retention, Compacted: topic.Compacted()})
	}
	if err := p.client.EnsureTopics(context.Background(), topics); err != nil {
		t.Fatal(err)
	}
	var err error
	if p.producer, err = p.client.NewProducer(kafka.ProducerConfig{}); err != nil {
		t.Fatal(err)
	}
	p.running(p.producer.Run)
	return p
}

func (p *pipeline) newClient() *kafka.Client {
	p.t.Helper()
	c, err := kafka.NewClient(kafka.Config{Brokers: p.broker.Addrs(), ClientID: "test"}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = c.Close() })
	return c
}

// running runs a Run method until the test ends.
func (p *pipeline) running(run func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	p.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			p.t.Error(err)
		}
	})
}

// worker is a sink on its own connections. s is nil for the real store.
func (p *pipeline) worker(cfg Config, s Store, now func() time.Time) *Worker {
	p.t.Helper()
	consumer, err := p.newClient().NewConsumer(kafka.ConsumerConfig{
		Group: Group, Topics: Topics(), FetchWaitMax: 50 * time.Millisecond, HeartbeatInterval: 100 * time.Millisecond,
		SessionTimeout: 2 * time.Second, HandlerBackoff: 50 * time.Millisecond,
	})
	if err != nil {
		p.t.Fatal(err)
	}
	if s == nil {
		s = store.New(p.conn)
	}
	w, err := New(cfg, Deps{Consumer: consumer, Dead: p.producer, Store: s, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(), Now: now})
	if err != nil {
		p.t.Fatal(err)
	}
	return w
}

// produce puts values on a partition of a topic and waits for all of them.
func (p *pipeline) produce(topic string, partition func(i int) int, values [][]byte) {
	p.t.Helper()
	acks := make([]*kafka.Ack, len(values))
	for i, v := range values {
		ack, err := p.producer.Produce(topic, partition(i), []byte("key"), v)
		if err != nil {
			p.t.Fatal(err)
		}
		acks[i] = ack
	}
	for _, ack := range acks {
		<-ack.Done()
		if err := ack.Err(); err != nil {
			p.t.Fatal(err)
		}
	}
}

// count is the number of rows of a table, 0 while ClickHouse is away.
func (p *pipeline) count(table string) uint64 {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	var n uint64
	if err := p.conn.QueryRow(ctx, "SELECT count() FROM "+table).Scan(&n); err != nil {
		return 0
	}
	return n
}

// until waits for a condition.
func (p *pipeline) until(what string, timeout time.Duration, ok func() bool) {
	p.t.Helper()
	deadline := time.NewTimer(timeout)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			p.t.Fatalf("not within %s: %s", timeout, what)
		}
	}
}

// noMerges keeps the tables from collapsing doubles before they are counted.
func (p *pipeline) noMerges() {
	p.t.Helper()
	for _, table := range []string{"events", "drops", "visits"} {
		if err := p.conn.Exec(context.Background(), "ALTER TABLE "+table+" MODIFY SETTING max_bytes_to_merge_at_max_space_in_pool = 1"); err != nil {
			p.t.Fatal(err)
		}
	}
}

// rowsOf reads the identities of a table with the number of their rows, and
// for drops the reason.
func (p *pipeline) rowsOf(table, label string) map[store.Identity][]string {
	p.t.Helper()
	out := make(map[store.Identity][]string)
	err := p.conn.Each(context.Background(), "SELECT company_id, event_id, source_partition, source_offset, "+label+" FROM "+table,
		func(scan func(...any) error) error {
			var id store.Identity
			var text string
			if err := scan(&id.Key.CompanyID, &id.Key.EventID, &id.Source.Partition, &id.Source.Offset, &text); err != nil {
				return err
			}
			out[id] = append(out[id], text)
			return nil
		})
	if err != nil {
		p.t.Fatal(err)
	}
	return out
}

// load is what is produced and what must come of it.
type load struct {
	values     [][]byte
	partitions []int
	events     map[store.Identity]bool
	drops      map[store.Identity]string
}

func (l *load) add(t *testing.T, company string, r *metivav1.EnrichedRecord) {
	l.values = append(l.values, encode(t, r))
	l.partitions = append(l.partitions, schemas.EventPartition(company, nil, schemas.TenantBuckets))
}

func identityOf(company string, id []byte, s *metivav1.SourceRef) store.Identity {
	return store.Identity{Key: store.EventKey{CompanyID: company, EventID: [16]byte(id)}, Source: store.Source{Partition: s.GetPartition(), Offset: s.GetOffset()}}
}

// mixedLoad has events, the same events sent again by clients, records that
// enrich repeated, drops of enrich, and records that break the envelope.
func mixedLoad(t *testing.T, rng *rand.Rand, n, from int) load {
	l := load{events: map[store.Identity]bool{}, drops: map[store.Identity]string{}}
	for i := range n {
		company := fmt.Sprintf("cmp_%02d", rng.IntN(12))
		e := testEvent(company, from+3*i)
		id := identityOf(company, e.EventId, e.Source)
		switch roll := rng.IntN(100); {
		case roll < 5:
			l.add(t, company, schemas.DropOf(&metivav1.Drop{
				EventId: e.EventId, CompanyId: company, SiteId: e.SiteId, ReceivedAtMs: e.ReceivedAtMs, Source: e.Source,
				Stage: metivav1.Stage_STAGE_ENRICH, Reason: metivav1.Reason_REASON_WITHDRAWN,
			}))
			l.drops[id] = "withdrawn"
		case roll < 7:
			e.VisitorId = make([]byte, 16) // no consent
			l.add(t, company, schemas.EnrichedOf(e))
			l.drops[id] = "invalid_record"
		default:
			l.add(t, company, schemas.EnrichedOf(e))
			l.events[id] = true
			if roll < 20 { // repeated by enrich
				l.add(t, company, schemas.EnrichedOf(e))
			}
			if roll > 90 { // sent again by the client
				again := proto.Clone(e).(*metivav1.EnrichedEvent)
				again.Source.Offset++
				again.ReceivedAtMs += 5000
				l.add(t, company, schemas.EnrichedOf(again))
				l.drops[identityOf(company, again.EventId, again.Source)] = "duplicate"
			}
		}
	}
	return l
}

// errCrash is the end of a worker at a chosen point.
var errCrash = errors.New("crash")

// crashingStore ends the worker at a random point of a batch: before or after
// the look-up, the events or the drops.
type crashingStore struct {
	Store
	stop context.CancelFunc

	at string // the only point that counts; "" is all

	mu    sync.Mutex
	calls int // until the crash
	point string
}

func (s *crashingStore) step(point string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.calls > 0 && s.at != "" && s.at != point {
		return nil
	}
	s.calls--
	if s.calls == 0 {
		s.point = point
	}
	if s.calls <= 0 {
		s.stop()
		return errCrash
	}
	return nil
}

func (s *crashingStore) Find(ctx context.Context, ids []store.Wanted) (store.Stored, error) {
	if err := s.step("after the plan"); err != nil {
		return store.Stored{}, err
	}
	return s.Store.Find(ctx, ids)
}

func (s *crashingStore) InsertEvents(ctx context.Context, token string, rows []store.EventRow) error {
	if err := s.step("before the events"); err != nil {
		return err
	}
	if err := s.Store.InsertEvents(ctx, token, rows); err != nil {
		return err
	}
	return s.step("after the events")
}

func (s *crashingStore) InsertDrops(ctx context.Context, token string, rows []store.DropRow) error {
	if err := s.Store.InsertDrops(ctx, token, rows); err != nil {
		return err
	}
	return s.step("before the commit")
}

func (s *crashingStore) InsertVisits(ctx context.Context, token string, rows []store.VisitRow) error {
	if err := s.step("before the visits"); err != nil {
		return err
	}
	if err := s.Store.InsertVisits(ctx, token, rows); err != nil {
		return err
	}
	return s.step("after the visits")
}

func (s *crashingStore) InsertAccountDays(ctx context.Context, token string, rows []store.AccountDayRow) error {
	if err := s.Store.InsertAccountDays(ctx, token, rows); err != nil {
		return err
	}
	return s.step("after the days")
}

// killRounds is how often TestNothingIsLostOrDoubled kills; `make exactly-once` does
// it 30 times.
var killRounds = flag.Int("kill-rounds", 4, "rounds of kills of ClickHouse and of sinks")

// TestNothingIsLostOrDoubled kills ClickHouse (SIGKILL) and one of two sinks over and
// over while records flow, and compares every event id. A sink joins and one leaves
// in each round, so partitions move between them with batches under way.
func TestNothingIsLostOrDoubled(t *testing.T) {
	t.Parallel()
	const perRound = 700
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	p := newPipeline(t)
	p.noMerges()
	cfg := Config{BatchRowsMax: 40, BatchAgeMax: 20 * time.Millisecond, RetryMin: 5 * time.Millisecond, RetryMax: 50 * time.Millisecond, DrainTimeout: time.Millisecond}
	events, drops := map[store.Identity]bool{}, map[store.Identity]string{}
	points := map[string]int{}
	for round := range *killRounds {
		l := mixedLoad(t, rng, perRound, round*perRound*3)
		p.produce(schemas.TopicEventsEnriched, func(i int) int { return l.partitions[i] }, l.values)
		for id := range l.events {
			events[id] = true
		}
		for id, reason := range l.drops {
			drops[id] = reason
		}
		points[p.killRound(rng, cfg)]++
	}
	p.running(p.worker(cfg, nil, fixedNow).Run)
	p.until("all rows are written", 2*time.Minute, func() bool {
		return p.count("events")+p.count("drops") >= uint64(len(events)+len(drops))
	})
	p.untilIdle()
	t.Logf("%d rounds: ClickHouse killed in each, a sink at %v; %d events, %d drops", *killRounds, points, len(events), len(drops))
	compare(t, events, p.rowsOf("events", "type"), drops, p.rowsOf("drops", "reason"))
}

// killRound runs two sinks until one of them is killed, and kills ClickHouse
// meanwhile. It returns the point at which the sink ended.
func (p *pipeline) killRound(rng *rand.Rand, cfg Config) string {
	p.t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	points := [...]string{"after the plan", "before the events", "after the events", "before the commit"}
	s := &crashingStore{Store: store.New(p.conn), stop: stop, at: points[rng.IntN(len(points))], calls: 1 + rng.IntN(12)}
	ended := make(chan error, 2)
	for _, st := range []Store{s, nil} {
		w := p.worker(cfg, st, fixedNow)
		go func() { ended <- w.Run(ctx) }()
	}
	// Some way into the round, wherever the batches are then.
	target := p.count("events") + uint64(rng.IntN(200))
	p.until("rows flow", time.Minute, func() bool { return ctx.Err() != nil || p.count("events") >= target })
	p.server.Kill()
	p.server.Restart()
	// The other sink may have written what there was.
	patience := time.NewTimer(3 * time.Second)
	defer patience.Stop()
	select {
	case <-ctx.Done():
	case <-patience.C:
		stop()
	}
	for range 2 {
		if err := <-ended; err != nil {
			p.t.Fatal(err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.point
}

// untilIdle waits until the group has committed everything, so that a double
// that is still on its way would be seen.
func (p *pipeline) untilIdle() {
	p.t.Helper()
	ends, err := p.client.EndOffsets(context.Background(), schemas.TopicEventsEnriched)
	if err != nil {
		p.t.Fatal(err)
	}
	var produced int64
	for _, end := range ends {
		produced += end
	}
	last := uint64(0)
	quiet := 0
	p.until(fmt.Sprintf("%d records are through", produced), time.Minute, func() bool {
		n := p.count("events") + p.count("drops")
		if n == last {
			quiet++
		} else {
			last, quiet = n, 0
		}
		return quiet > 25
	})
}

func compare(t *testing.T, events map[store.Identity]bool, gotEvents map[store.Identity][]string, drops map[store.Identity]string, gotDrops map[store.Identity][]string) {
	t.Helper()
	lost, doubled, strange := 0, 0, 0
	for id := range events {
		switch n := len(gotEvents[id]); {
		case n == 0:
			lost++
		case n > 1:
			doubled++
		}
	}
	for id, reason := range drops {
		switch got := gotDrops[id]; {
		case len(got) == 0:
			lost++
		case len(got) > 1:
			doubled++
		case got[0] != reason:
			strange++
		}
	}
	for id := range gotEvents {
		if !events[id] {
			strange++
		}
	}
	for id := range gotDrops {
		if drops[id] == "" {
			strange++
		}
	}
	if lost+doubled+strange > 0 {
		t.Errorf("%d lost, %d doubled, %d in the wrong place", lost, doubled, strange)
	}
}
