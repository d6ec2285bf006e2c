package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/metiva-io/metiva/pkg/embedded/kafka/kafkatest"
	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/pkg/waittest"
)

// checkOnce fails unless the partition holds exactly the values 0..n-1, once
// each and in order.
func checkOnce(t *testing.T, records []kafka.Record, n int) {
	t.Helper()
	if len(records) != n {
		t.Errorf("%d records in the log, want %d", len(records), n)
	}
	for i, r := range records {
		if string(r.Value) != fmt.Sprint(i) {
			t.Fatalf("record %d holds %s", i, r.Value)
		}
	}
}

// Every fault that makes a plain client write twice or out of order.
func TestProducerFaults(t *testing.T) {
	t.Parallel()
	faults := []struct {
		name   string
		inject func(b *kafkatest.Broker, topic string) *kafkatest.Hits
	}{
		{"not enough replicas", func(b *kafkatest.Broker, _ string) *kafkatest.Hits {
			return b.FailNext(kafkatest.Produce, kafkatest.NotEnoughReplicas, 3)
		}},
		{"not enough replicas after append", func(b *kafkatest.Broker, _ string) *kafkatest.Hits {
			return b.FailNext(kafkatest.Produce, kafkatest.NotEnoughReplicasAfterAppend, 3)
		}},
		{"request timed out after append", func(b *kafkatest.Broker, _ string) *kafkatest.Hits {
			return b.FailNext(kafkatest.Produce, kafkatest.RequestTimedOut, 3)
		}},
		{"not leader", func(b *kafkatest.Broker, _ string) *kafkatest.Hits {
			return b.FailNext(kafkatest.Produce, kafkatest.NotLeader, 3)
		}},
		{"connection cut after append", func(b *kafkatest.Broker, _ string) *kafkatest.Hits {
			b.CutNext(kafkatest.Produce, 3)
			return nil
		}},
		{"leader move", func(b *kafkatest.Broker, topic string) *kafkatest.Hits {
			b.MoveLeader(topic, 0)
			return nil
		}},
		{"broker restart", func(b *kafkatest.Broker, _ string) *kafkatest.Hits {
			b.Restart()
			return nil
		}},
		{"sequence unknown to the broker", func(b *kafkatest.Broker, _ string) *kafkatest.Hits {
			return b.FailNext(kafkatest.Produce, kafkatest.OutOfOrderSequence, 1)
		}},
		{"producer id unknown to the broker", func(b *kafkatest.Broker, _ string) *kafkatest.Hits {
			return b.FailNext(kafkatest.Produce, kafkatest.UnknownProducerID, 1)
		}},
	}
	for _, codec := range []string{"none", "lz4", "snappy", "zstd"} {
		for _, fault := range faults {
			t.Run(codec+"/"+fault.name, func(t *testing.T) {
				t.Parallel()
				sendThroughFault(t, codec, fault.name == "broker restart", fault.inject)
			})
		}
	}
}

// sendThroughFault injects the fault into a stream of records and checks that
// each is acknowledged and in the log once, in order.
func sendThroughFault(t *testing.T, codec string, durable bool, inject func(b *kafkatest.Broker, topic string) *kafkatest.Hits) {
	b := kafkatest.StartWith(t, kafkatest.Options{Brokers: 2, Durable: durable})
	b.CreateTopic("t", 1)
	c := newClient(t, b.Addrs())
	p := newProducer(t, c, kafka.ProducerConfig{Linger: time.Millisecond, BatchBytesMax: 1 << 10, Compression: codec})
	const records = 1500
	var acks []*kafka.Ack
	var hits *kafkatest.Hits
	for i := range records {
		if i == records/3 {
			hits = inject(b, "t")
		}
		ack, err := p.Produce("t", 0, nil, fmt.Append(nil, i))
		if err != nil {
			t.Fatal(err)
		}
		acks = append(acks, ack)
		if i%100 == 99 {
			if err := await(t, acks[i-50]); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i, ack := range acks {
		if err := await(t, ack); err != nil {
			t.Fatalf("record %d: %v", i, err)
		}
	}
	if hits != nil && hits.Count() == 0 || b.CutsLeft(kafkatest.Produce) > 0 {
		t.Error("the fault was not met")
	}
	checkOnce(t, readAll(t, c, "t")[0], records)
}

func TestLeaderMoveIsNoticedSoon(t *testing.T) {
	t.Parallel()
	b := kafkatest.StartWith(t, kafkatest.Options{Brokers: 3})
	b.CreateTopic("t", 1)
	c := newClientWith(t, kafka.Config{Brokers: b.Addrs(), MetadataTTL: time.Minute})
	p := newProducer(t, c, kafka.ProducerConfig{Linger: time.Millisecond})
	for i := range 5 {
		if err := p.ProduceSync(testCtx(t), "t", 0, nil, fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
		b.MoveLeader("t", 0)
	}
	began := time.Now()
	if err := p.ProduceSync(testCtx(t), "t", 0, nil, []byte("5")); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
	checkOnce(t, readAll(t, c, "t")[0], 6)
}

// A batch that may have been appended, and whose identity the broker then no
// longer knows, is never sent again silently.
func TestUnclearBatchIsReported(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t)
	b.CreateTopic("t", 1)
	c := newClient(t, b.Addrs())
	p := newProducer(t, c, kafka.ProducerConfig{Linger: time.Millisecond})
	ctx := testCtx(t)
	if err := p.ProduceSync(ctx, "t", 0, nil, []byte("0")); err != nil {
		t.Fatal(err)
	}
	b.FailNext(kafkatest.Produce, kafkatest.RequestTimedOut, 1) // appended
	b.FailNext(kafkatest.Produce, kafkatest.OutOfOrderSequence, 1)
	if err := p.ProduceSync(ctx, "t", 0, nil, []byte("1")); !errors.Is(err, kafka.ErrOutcomeUnknown) {
		t.Errorf("an unclear batch: %v", err)
	}
	if err := p.ProduceSync(ctx, "t", 0, nil, []byte("2")); err != nil {
		t.Fatal(err)
	}
	checkOnce(t, readAll(t, c, "t")[0], 3)
}

func TestRefusedBatchIsNotRepeated(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t)
	b.CreateTopic("t", 1)
	c := newClient(t, b.Addrs())
	p := newProducer(t, c, kafka.ProducerConfig{Linger: time.Millisecond})
	ctx := testCtx(t)
	b.FailNext(kafkatest.Produce, kafkatest.MessageTooLarge, 1)
	if err := p.ProduceSync(ctx, "t", 0, nil, []byte("refused")); err == nil || errors.Is(err, kafka.ErrOutcomeUnknown) {
		t.Errorf("a refused batch: %v", err)
	}
	for i := range 3 {
		if err := p.ProduceSync(ctx, "t", 0, nil, fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
	checkOnce(t, readAll(t, c, "t")[0], 3)
}

// After a batch is given up the sequence goes on under a new identity, and
// what is acknowledged is in the log once and in order.
func TestDeliveryTimeout(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t)
	b.CreateTopic("t", 1)
	c := newClientWith(t, kafka.Config{Brokers: b.Addrs(), RequestTimeout: 200 * time.Millisecond})
	p := newProducer(t, c, kafka.ProducerConfig{Linger: time.Millisecond, DeliveryTimeout: 500 * time.Millisecond})
	ctx := testCtx(t)
	if err := p.ProduceSync(ctx, "t", 0, nil, []byte("before")); err != nil {
		t.Fatal(err)
	}
	resume := b.Stall()
	var acks []*kafka.Ack
	for i := range 10 {
		ack, err := p.Produce("t", 0, nil, fmt.Append(nil, "stalled", i))
		if err != nil {
			t.Fatal(err)
		}
		acks = append(acks, ack)
	}
	for _, ack := range acks {
		if err := await(t, ack); !errors.Is(err, kafka.ErrDeliveryTimeout) {
			t.Fatalf("a stalled record: %v", err)
		}
	}
	resume()
	// The broker may now append what was given up; what is acknowledged from
	// here on must be there once each and in order.
	var want []string
	waittest.Until(t, 30*time.Second, "producing works again", func() bool {
		v := fmt.Sprint("after", len(want))
		err := p.ProduceSync(ctx, "t", 0, nil, []byte(v))
		if err == nil {
			want = append(want, v)
		}
		return len(want) == 20
	})
	var got []string
	for _, r := range readAll(t, c, "t")[0] {
		if slices.Contains(want, string(r.Value)) {
			got = append(got, string(r.Value))
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("log %v, acknowledged %v", got, want)
	}
}

func TestDeliveryTimeoutWithoutAttemptIsClean(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t)
	b.Stop()
	c := newClient(t, b.Addrs())
	p := newProducer(t, c, kafka.ProducerConfig{Linger: time.Millisecond, DeliveryTimeout: 300 * time.Millisecond})
	err := p.ProduceSync(testCtx(t), "t", 0, nil, []byte("x"))
	if !errors.Is(err, kafka.ErrDeliveryTimeout) || errors.Is(err, kafka.ErrOutcomeUnknown) {
		t.Errorf("a record that never left: %v", err)
	}
}

func TestBufferIsBounded(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t)
	b.CreateTopic("t", 1)
	c := newClient(t, b.Addrs())
	p := newProducer(t, c, kafka.ProducerConfig{BufferedBytesMax: 10_000, Linger: time.Millisecond})
	resume := b.Stall()
	var acks []*kafka.Ack
	for {
		ack, err := p.Produce("t", 0, nil, fmt.Appendf(nil, "%d", len(acks)))
		if err != nil {
			if !errors.Is(err, kafka.ErrBufferFull) {
				t.Fatal(err)
			}
			break
		}
		if acks = append(acks, ack); len(acks) > 10_000 {
			t.Fatal("the buffer has no bound")
		}
	}
	resume()
	for _, ack := range acks {
		if err := await(t, ack); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.Produce("t", 0, nil, fmt.Append(nil, len(acks))); err != nil {
		t.Errorf("the buffer has room again: %v", err)
	}
	waittest.Until(t, 30*time.Second, "the last record is written", func() bool { return b.HighWatermark("t", 0) == int64(len(acks)+1) })
	checkOnce(t, readAll(t, c, "t")[0], len(acks)+1)
}

func TestStalled(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t)
	b.CreateTopic("t", 2)
	c := newClient(t, b.Addrs())
	p := newProducer(t, c, kafka.ProducerConfig{Linger: time.Millisecond})
	if got := p.Stalled(); got != 0 {
		t.Errorf("%v before the first record", got)
	}
	for partition := range 2 {
		if err := p.ProduceSync(testCtx(t), "t", partition, nil, []byte("0")); err != nil {
			t.Fatal(err)
		}
	}
	if got := p.Stalled(); got != 0 {
		t.Errorf("%v with all acknowledged", got)
	}
	resume := b.Stall()
	first, err := p.Produce("t", 0, nil, []byte("1"))
	if err != nil {
		t.Fatal(err)
	}
	waittest.Until(t, 30*time.Second, "the stall shows", func() bool { return p.Stalled() > 50*time.Millisecond })
	later, err := p.Produce("t", 1, nil, []byte("1")) // does not make it younger
	if err != nil {
		t.Fatal(err)
	}
	if got := p.Stalled(); got < 50*time.Millisecond {
		t.Errorf("%v with a young record beside the old one", got)
	}
	resume()
	for _, ack := range []*kafka.Ack{first, later} {
		if err := await(t, ack); err != nil {
			t.Fatal(err)
		}
	}
	if got := p.Stalled(); got != 0 {
		t.Errorf("%v after the stall", got)
	}
}

func TestRunFlushesAndCloses(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t)
	b.CreateTopic("t", 2)
	c := newClient(t, b.Addrs())
	p, err := c.NewProducer(kafka.ProducerConfig{Linger: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	ack, err := p.Produce("t", 0, nil, []byte("0")) // before Run
	if err != nil {
		t.Fatal(err)
	}
	stop := running(t, p.Run)
	ack2, err := p.Produce("t", 1, nil, []byte("0"))
	if err != nil {
		t.Fatal(err)
	}
	stop()
	for _, a := range []*kafka.Ack{ack, ack2} {
		select {
		case <-a.Done():
			if a.Err() != nil {
				t.Error(a.Err())
			}
		default:
			t.Fatal("Run has returned before a record was done")
		}
	}
	for partition := range 3 {
		if _, err := p.Produce("t", partition, nil, nil); !errors.Is(err, kafka.ErrClosed) {
			t.Errorf("produce after the end: %v", err)
		}
	}
	if err := p.Run(context.Background()); err == nil {
		t.Error("a second Run passed")
	}
}

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
