package sink

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/pkg/waittest"
	"github.com/metiva-io/metiva/schemas"
	store "github.com/metiva-io/metiva/sink/clickhouse"
)

// TestHeapWhileClickHouseIsAway: with a backlog without end and a ClickHouse that
// refuses every connection, the sink holds one batch of each partition, within its
// budget, and no more after many attempts; afterwards it goes on. Beside the
// other tests the heap would be theirs too, so this one is alone.
func TestHeapWhileClickHouseIsAway(t *testing.T) { //nolint:paralleltest // it measures the heap of the process
	const partitions, memoryMax = 8, memoryBytesLow
	s := &awayStore{}
	s.away.Store(true)
	w := testWorker(t, s)
	cfg := Config{BatchRowsMax: 300, MemoryBytesMax: memoryMax, RetryMin: time.Millisecond, RetryMax: 2 * time.Millisecond}.withDefaults()
	w.cfg, w.budget = cfg, newBudget(cfg.MemoryBytesMax)
	value := encode(t, schemas.EnrichedOf(testEvent("cmp_a", 1)))
	before := heapInUse()

	ctx, cancel := context.WithCancel(context.Background())
	var handlers sync.WaitGroup
	claims := make([]*endlessClaim, partitions)
	for i := range claims {
		claims[i] = &endlessClaim{partition: i, value: value}
		handlers.Go(func() {
			if err := w.handle(ctx, claims[i]); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(func() { cancel(); handlers.Wait() })
	attempts := func(n int64) func() bool { return func() bool { return s.attempts.Load() >= n } }
	waittest.Until(t, 30*time.Second, "every batch is tried a few times", attempts(3*partitions))
	early := heapInUse()
	waittest.Until(t, 30*time.Second, "every batch is tried again and again", attempts(18*partitions))
	late := heapInUse()
	taken := 0
	for _, c := range claims {
		taken += int(c.batches.Load())
	}
	if taken != partitions {
		t.Errorf("%d batches were taken of %d partitions while nothing could be written", taken, partitions)
	}
	t.Logf("the heap grew by %d KiB, and by %d more with many more attempts", (early-before)>>10, (late-early)>>10)
	const besides = 24 << 20 // columns and decoded events that are kept, and garbage since
	if late-before > memoryMax+besides || late-early > besides/3 {
		t.Errorf("the heap went from %d KiB to %d, and to %d after many more attempts", before>>10, early>>10, late>>10)
	}
	s.away.Store(false)
	waittest.Until(t, 30*time.Second, "every partition goes on", func() bool {
		return !slices.ContainsFunc(claims, func(c *endlessClaim) bool { return c.committed.Load() < 2 })
	})
}

func heapInUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// awayStore refuses everything while ClickHouse is away.
type awayStore struct {
	Store
	away     atomic.Bool
	attempts atomic.Int64
}

func (s *awayStore) Find(context.Context, []store.Wanted) (store.Stored, error) {
	s.attempts.Add(1)
	if s.away.Load() {
		return store.Stored{}, errors.New("connection refused")
	}
	return store.Stored{}, nil
}

func (s *awayStore) InsertEvents(context.Context, string, []store.EventRow) error { return nil }

func (s *awayStore) InsertDrops(context.Context, string, []store.DropRow) error { return nil }

// endlessClaim has as many records as are asked for, each in memory of its own.
type endlessClaim struct {
	partition          int
	value              []byte
	next               int64
	batches, committed atomic.Int64
}

func (c *endlessClaim) Topic() string  { return schemas.TopicEventsEnriched }
func (c *endlessClaim) Partition() int { return c.partition }

func (c *endlessClaim) NextBatch(ctx context.Context, limit kafka.BatchLimit) (kafka.Batch, error) {
	if err := ctx.Err(); err != nil {
		return kafka.Batch{}, err
	}
	c.batches.Add(1)
	b := kafka.Batch{Topic: c.Topic(), Partition: c.partition, First: c.next}
	for size := 0; size < limit.BytesMax && len(b.Records) < limit.RecordsMax; size += len(c.value) {
		b.Records = append(b.Records, kafka.Record{Topic: b.Topic, Partition: c.partition, Offset: c.next, Time: testNow, Value: slices.Clone(c.value)})
		c.next++
	}
	b.Last = c.next - 1
	return b, nil
}

func (c *endlessClaim) Plan(context.Context, kafka.Batch) error { return nil }

func (c *endlessClaim) Commit(context.Context, kafka.Batch) error {
	c.committed.Add(1)
	return nil
}
