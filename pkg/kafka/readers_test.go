package kafka_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/metiva-io/metiva/pkg/embedded/kafka/kafkatest"
	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/pkg/waittest"
)

func TestRetentionBeforeReading(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t)
	b.CreateTopic("t", 1)
	c := newClient(t, b.Addrs())
	p := newProducer(t, c, kafka.ProducerConfig{BatchBytesMax: 64})
	for i := range 30 {
		if err := p.ProduceSync(testCtx(t), "t", 0, nil, fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
	batches := make(chan kafka.Batch, 10)
	member := func(leave func(ctx context.Context, claim *kafka.Claim, b kafka.Batch) error) {
		stop := running(t, func(ctx context.Context) error {
			return newConsumer(t, c, "retention", "t").Run(ctx, func(ctx context.Context, claim *kafka.Claim) error {
				b, err := claim.NextBatch(ctx, kafka.BatchLimit{RecordsMax: 10})
				if err != nil {
					return err
				}
				if err := leave(ctx, claim, b); err != nil {
					return err
				}
				batches <- b
				<-ctx.Done()
				return nil
			})
		})
		defer stop()
		select {
		case b := <-batches:
			batches <- b
		case <-time.After(30 * time.Second):
			t.Fatal("no batch")
		}
	}
	plan := func(ctx context.Context, claim *kafka.Claim, b kafka.Batch) error { return claim.Plan(ctx, b) }
	member(plan)
	if got := <-batches; got.First != 0 || got.Last != 9 {
		t.Fatalf("planned %d..%d", got.First, got.Last)
	}
	b.DeleteBefore("t", 0, 5) // half of the plan
	member(plan)
	if got := <-batches; got.First != 0 || got.Last != 9 || len(got.Records) != 5 || got.Records[0].Offset != 5 {
		t.Fatalf("half a plan: %d..%d with %d records", got.First, got.Last, len(got.Records))
	}
	b.DeleteBefore("t", 0, 15) // all of the plan, and more
	member(plan)
	if got := <-batches; got.First != 15 || got.Last != 24 {
		t.Fatalf("after the lost plan: %d..%d", got.First, got.Last)
	}
}

func TestTableAfterCompaction(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t)
	b.CreateCompacted("t")
	c := newClient(t, b.Addrs())
	p := newProducer(t, c, kafka.ProducerConfig{BatchBytesMax: 128})
	ctx := testCtx(t)
	for i := range 200 {
		if err := p.ProduceSync(ctx, "t", 0, fmt.Append(nil, "k", i%3), fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.ProduceSync(ctx, "t", 0, []byte("k0"), nil); err != nil {
		t.Fatal(err)
	}
	b.Compact()
	var mu sync.Mutex
	applied := 0
	state := map[string]string{}
	table := c.NewTable("t", func(key, value []byte) error {
		mu.Lock()
		defer mu.Unlock()
		applied++
		state[string(key)] = string(value)
		return nil
	})
	running(t, table.Run)
	select {
	case <-table.Ready():
	case <-ctx.Done():
		t.Fatal("the table is not ready after compaction")
	}
	mu.Lock()
	if applied > 10 || state["k0"] != "" || state["k1"] != "199" || state["k2"] != "197" {
		t.Errorf("%d records applied, state %v", applied, state)
	}
	mu.Unlock()
	b.Compact()
	if err := p.ProduceSync(ctx, "t", 0, []byte("k1"), []byte("last")); err != nil {
		t.Fatal(err)
	}
	if err := table.CatchUp(ctx); err != nil {
		t.Fatal(err)
	}
	if got := len(readAll(t, c, "t")[0]); got < 3 {
		t.Errorf("a consumer reads %d records of a compacted topic", got)
	}
}

// The broker goes away under a consumer and a table; both go on by themselves.
func TestReadersSurviveRestart(t *testing.T) {
	t.Parallel()
	b := kafkatest.StartWith(t, kafkatest.Options{Durable: true})
	b.CreateTopic("t", 2)
	c := newClient(t, b.Addrs())
	p := newProducer(t, c, kafka.ProducerConfig{Linger: time.Millisecond})
	var mu sync.Mutex
	consumed, tabled := map[string]int{}, map[string]int{}
	running(t, func(ctx context.Context) error {
		return newConsumer(t, c, "g", "t").Run(ctx, func(ctx context.Context, claim *kafka.Claim) error {
			for {
				b, err := claim.NextBatch(ctx, kafka.BatchLimit{RecordsMax: 10})
				if err != nil {
					return err
				}
				if err := claim.Commit(context.WithoutCancel(ctx), b); err != nil {
					return err
				}
				mu.Lock()
				for _, r := range b.Records {
					consumed[string(r.Value)]++
				}
				mu.Unlock()
			}
		})
	})
	table := c.NewTable("t", func(_, value []byte) error {
		mu.Lock()
		defer mu.Unlock()
		tabled[string(value)]++
		return nil
	})
	running(t, table.Run)
	for round := range 3 {
		for i := range 50 {
			if err := p.ProduceSync(testCtx(t), "t", i%2, nil, fmt.Append(nil, round*50+i)); err != nil {
				t.Fatal(err)
			}
		}
		waittest.Until(t, 30*time.Second, "the records of the round are consumed", func() bool {
			mu.Lock()
			defer mu.Unlock()
			return len(consumed) == (round+1)*50 && len(tabled) == (round+1)*50
		})
		b.Restart()
	}
	if err := table.CatchUp(testCtx(t)); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	for value, n := range tabled {
		if n != 1 {
			t.Errorf("the table saw %s %d times", value, n)
		}
	}
}
