package collector

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/metiva-io/metiva/collector/spool"
	"github.com/metiva-io/metiva/schemas"
)

// batchingKafka answers as a producer does: records share an acknowledgement, and
// it comes a little later. It keeps nothing.
type batchingKafka struct {
	batch   *groupAck
	count   int
	waiting chan *groupAck
}

func newBatchingKafka() *batchingKafka {
	return &batchingKafka{waiting: make(chan *groupAck, 1024)}
}

// benchBatch is how many records share a batch: at 10,000 events per second and
// 16 partitions it is about 3, within a busy partition some hundreds.
const benchBatch = 32

func (k *batchingKafka) Produce(string, int, []byte, []byte) (Ack, error) {
	if k.count%benchBatch == 0 {
		if k.batch != nil {
			k.waiting <- k.batch
		}
		k.batch = &groupAck{done: make(chan struct{})}
	}
	k.count++
	return k.batch, nil
}

func (k *batchingKafka) ProduceSync(context.Context, string, int, []byte, []byte) error { return nil }

func (k *batchingKafka) run(ctx context.Context) error {
	for {
		select {
		case ack := <-k.waiting:
			close(ack.done)
		case <-ctx.Done():
			return nil
		}
	}
}

// benchValue is as long as a page view.
var benchValue = make([]byte, 420)

// hedgedProducer gives one over a Kafka that answers, and a function that ends it.
func hedgedProducer(t testing.TB, k *batchingKafka) Producer {
	t.Helper()
	log, reg := slog.New(slog.DiscardHandler), prometheus.NewRegistry()
	buffer, err := spool.Open(spool.Config{Dir: t.TempDir()}, spool.Deps{Log: log, Registry: reg, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	d, err := NewDurable(DurableConfig{HedgeAfter: time.Minute}, DurableDeps{
		Kafka: k, RunKafka: k.run, Spool: buffer, Readiness: &readiness{states: map[string]error{}}, Log: log, Registry: reg, Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = d.Run(ctx) }()
	t.Cleanup(func() { close(k.batch.done); cancel(); <-ended })
	return d
}

// produceBench gives a function that takes one record; every batch waits for the
// answer to the one before it, as the requests of a busy partition do.
func produceBench(t testing.TB, p Producer) func() {
	key := []byte("0123456789abcdefg")
	var last, previous Ack
	n := 0
	return func() {
		ack, err := p.Produce(schemas.TopicEventsCollected, 3, key, benchValue)
		if err != nil {
			t.Fatal(err)
		}
		if n++; n%benchBatch == 0 {
			if previous != nil {
				<-previous.Done()
			}
			previous, last = last, ack
		}
	}
}

// BenchmarkPlain and BenchmarkHedged differ by what hedging costs a record.
func BenchmarkPlain(b *testing.B) {
	k := newBatchingKafka()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { _ = k.run(ctx) }()
	produce := produceBench(b, k)
	b.ReportAllocs()
	for b.Loop() {
		produce()
	}
}

func BenchmarkHedged(b *testing.B) {
	produce := produceBench(b, hedgedProducer(b, newBatchingKafka()))
	b.ReportAllocs()
	for b.Loop() {
		produce()
	}
}

// A hedged record costs no allocation of its own: a batch of records does, for
// what its waiters share.
func TestHedgingAllocatesPerBatch(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes pools allocate")
	}
	produce := produceBench(t, hedgedProducer(t, newBatchingKafka()))
	batch := func() {
		for range benchBatch {
			produce()
		}
	}
	for range 10 {
		batch()
	}
	perBatch := testing.AllocsPerRun(200, batch)
	if perBatch > 8 { // the fake's acknowledgement is two of them
		t.Errorf("%v allocations for %d records", perBatch, benchBatch)
	}
	t.Logf("%v allocations for %d records", perBatch, benchBatch)
}
