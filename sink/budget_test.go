package sink

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/schemas"
	store "github.com/metiva-io/metiva/sink/clickhouse"
)

// batchOf is a batch of n records of so many bytes.
func batchOf(n, size int) kafka.Batch {
	b := kafka.Batch{Topic: schemas.TopicEventsEnriched, Last: int64(n - 1)}
	value := make([]byte, size)
	for i := range n {
		b.Records = append(b.Records, kafka.Record{Offset: int64(i), Value: value})
	}
	return b
}

// TestBudgetHoldsOverAllPartitions: many partitions read and write batches of any size
// at once; what they hold stays within the setting, and all come to their end.
func TestBudgetHoldsOverAllPartitions(t *testing.T) {
	t.Parallel()
	const partitions, memory = 64, 32 << 20
	b := newBudget(memory)
	var reading, writing, most atomic.Int64
	note := func() {
		for now := reading.Load()*readWeight + writing.Load(); ; {
			seen := most.Load()
			if now <= seen || most.CompareAndSwap(seen, now) {
				return
			}
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	joined := make([]func(), partitions)
	for i := range joined {
		joined[i] = b.join()
	}
	var all sync.WaitGroup
	for i := range partitions {
		all.Go(func() {
			defer joined[i]()
			rng := rand.New(rand.NewPCG(uint64(i), 7))
			for range 50 {
				granted, done := b.read(int64(rng.IntN(16 << 20)))
				batch := batchOf(1+rng.IntN(4000), int(granted/4000))
				reading.Add(granted)
				note()
				for range 1 + rng.IntN(2) { // attempts
					written, err := b.write(ctx, batch)
					if err != nil {
						t.Error(err)
						break
					}
					need := int64(len(batch.Records)) * (rowWeight + byteWeight*int64(len(batch.Records[0].Value)))
					need = min(need, memory/2)
					writing.Add(need)
					note()
					writing.Add(-need)
					written()
				}
				reading.Add(-granted)
				done()
			}
		})
	}
	all.Wait()
	if most.Load() > memory {
		t.Errorf("%d bytes were held at once, %d are allowed", most.Load(), memory)
	}
	if b.lent != 0 || b.partitions != 0 {
		t.Errorf("%d bytes are still lent to %d partitions", b.lent, b.partitions)
	}
}

// TestBudgetOfFailingBatches: batches of one table that are refused for ever keep no
// other table waiting while they pause.
func TestBudgetOfFailingBatches(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s := &refusingStore{refused: make(chan struct{}, 1)}
	w := testWorker(t, s)
	w.cfg.RetryMin, w.cfg.RetryMax = time.Hour, time.Hour
	w.budget = newBudget(memoryBytesLow)
	failing, stop := context.WithCancel(ctx)
	var failed sync.WaitGroup
	// Each alone would need all there is.
	for range 8 {
		b := batchOf(8000, 100)
		b.Topic = schemas.TopicVisitsEnriched
		for i := range b.Records {
			b.Records[i].Value = encode(t, testVisit("cmp_a", i, 1))
		}
		failed.Go(func() { _ = w.process(failing, &memoryClaim{batch: b}, b) })
	}
	for range 8 {
		select {
		case <-s.refused:
		case <-ctx.Done():
			t.Fatal("a failing batch waits for another one that fails")
		}
	}
	events := batchOf(1, 0)
	events.Records[0] = testRecord(t, 0, encode(t, schemas.EnrichedOf(testEvent("cmp_a", 1))))
	if err := w.process(ctx, &memoryClaim{batch: events}, events); err != nil || s.events != 1 {
		t.Errorf("%d events were written beside the failing visits: %v", s.events, err)
	}
	stop()
	failed.Wait()
}

// refusingStore refuses visits.
type refusingStore struct {
	memoryStore
	refused chan struct{}
}

func (s *refusingStore) InsertVisits(ctx context.Context, _ string, _ []store.VisitRow) error {
	select {
	case s.refused <- struct{}{}:
	case <-ctx.Done():
	}
	return errors.New("the table is read only")
}

// TestPace: a partition that is behind has larger batches, one that is not has small
// ones, and a slow ClickHouse fewer.
func TestPace(t *testing.T) {
	t.Parallel()
	cfg := DefaultConfig()
	p := newPace(&cfg)
	if first := p.limit(p.bytes); first.WaitMax != cfg.BatchAgeMin || first.BytesMax != paceBytesLeast {
		t.Errorf("the first limit is %+v", first)
	}
	for range 5 {
		limit := p.limit(p.bytes)
		p.wrote(batchOf(1000, limit.BytesMax/1000), limit, 10*time.Millisecond)
	}
	if p.bytes != int64(cfg.BatchBytesMax) || p.age != cfg.BatchAgeMin {
		t.Errorf("behind: %d bytes, %s", p.bytes, p.age)
	}
	for range 8 {
		p.wrote(batchOf(10, 100), p.limit(p.bytes), 300*time.Millisecond)
	}
	if p.bytes != paceBytesLeast || p.age != 600*time.Millisecond {
		t.Errorf("idle with a slow store: %d bytes, %s", p.bytes, p.age)
	}
	p.wrote(batchOf(10, 100), p.limit(p.bytes), time.Minute)
	if p.age != cfg.BatchAgeMax {
		t.Errorf("the age is %s", p.age)
	}
}
