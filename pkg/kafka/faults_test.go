package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
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

// Every fault that makes a plain client write twice or out of order, met by
// requests with several partitions.
func TestProducerFaults(t *testing.T) {
	t.Parallel()
	fail := func(f kafkatest.Fault, n int) func(*kafkatest.Broker, string) *kafkatest.Hits {
		return func(b *kafkatest.Broker, _ string) *kafkatest.Hits { return b.FailNext(kafkatest.Produce, f, n) }
	}
	partly := func(f kafkatest.Fault, n int) func(*kafkatest.Broker, string) *kafkatest.Hits {
		return func(b *kafkatest.Broker, topic string) *kafkatest.Hits {
			return b.FailPartition(kafkatest.Produce, f, topic, 1, n)
		}
	}
	do := func(f func(b *kafkatest.Broker, topic string)) func(*kafkatest.Broker, string) *kafkatest.Hits {
		return func(b *kafkatest.Broker, topic string) *kafkatest.Hits { f(b, topic); return nil }
	}
	const restart = "broker restart"
	faults := []struct {
		name   string
		inject func(b *kafkatest.Broker, topic string) *kafkatest.Hits
	}{
		{"not enough replicas", fail(kafkatest.NotEnoughReplicas, 5)},
		{"not enough replicas after append", fail(kafkatest.NotEnoughReplicasAfterAppend, 5)},
		{"request timed out after append", fail(kafkatest.RequestTimedOut, 5)},
		{"not leader", fail(kafkatest.NotLeader, 5)},
		{"sequence unknown to the broker", fail(kafkatest.OutOfOrderSequence, 1)},
		{"producer id unknown to the broker", fail(kafkatest.UnknownProducerID, 1)},
		{"one partition without replicas", partly(kafkatest.NotEnoughReplicas, 3)},
		{"one partition without replicas after append", partly(kafkatest.NotEnoughReplicasAfterAppend, 3)},
		{"one partition times out after append", partly(kafkatest.RequestTimedOut, 3)},
		{"one partition without leader", partly(kafkatest.NotLeader, 3)},
		{"one partition's sequence unknown", partly(kafkatest.OutOfOrderSequence, 1)},
		{"one partition's producer id unknown", partly(kafkatest.UnknownProducerID, 1)},
		{"connection cut before writing", do(func(b *kafkatest.Broker, _ string) { b.CutAll() })},
		{"connection cut while writing", do(func(b *kafkatest.Broker, _ string) { b.CutReading(kafkatest.Produce, 3) })},
		{"connection cut after append", do(func(b *kafkatest.Broker, _ string) { b.CutNext(kafkatest.Produce, 3) })},
		{"leader move", do(func(b *kafkatest.Broker, topic string) { b.MoveLeader(topic, 0) })},
		{"every leader moves", do(func(b *kafkatest.Broker, topic string) {
			for partition := range faultPartitions {
				b.MoveLeader(topic, partition)
			}
		})},
		{"leader move and connection cut after append", do(func(b *kafkatest.Broker, topic string) {
			b.CutNext(kafkatest.Produce, 2)
			b.MoveLeader(topic, 1)
		})},
		{restart, do(func(b *kafkatest.Broker, _ string) { b.Restart() })},
	}
	for _, codec := range []string{"none", "lz4", "snappy", "zstd"} {
		for _, fault := range faults {
			t.Run(codec+"/"+fault.name, func(t *testing.T) {
				t.Parallel()
				sendThroughFault(t, codec, fault.name == restart, fault.inject)
			})
		}
	}
}

const faultPartitions = 4

// sendThroughFault injects the fault into streams of records for some
// partitions of two brokers and checks that each record is acknowledged and in
// the log once, in order.
func sendThroughFault(t *testing.T, codec string, durable bool, inject func(b *kafkatest.Broker, topic string) *kafkatest.Hits) {
	b := kafkatest.StartWith(t, kafkatest.Options{Brokers: 2, Durable: durable})
	b.CreateTopic("t", faultPartitions)
	c := newClient(t, b.Addrs())
	p := newProducer(t, c, kafka.ProducerConfig{Linger: time.Millisecond, BatchBytesMax: 1 << 10, Compression: codec})
	const records = 400 // a partition
	var acks []*kafka.Ack
	var hits *kafkatest.Hits
	for i := range records {
		if i == records/3 {
			hits = inject(b, "t")
		}
		for partition := range faultPartitions {
			ack, err := p.Produce("t", partition, nil, fmt.Append(nil, i))
			if err != nil {
				t.Fatal(err)
			}
			acks = append(acks, ack)
		}
		if i%25 == 24 {
			if err := await(t, acks[len(acks)-50]); err != nil {
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
	log := readAll(t, c, "t")
	for partition := range faultPartitions {
		checkOnce(t, log[partition], records)
	}
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

// After batches are given up the sequences go on under new identities, and what
// is acknowledged is in the log once and in order.
func TestDeliveryTimeout(t *testing.T) {
	t.Parallel()
	const partitions = 3
	b := kafkatest.Start(t)
	b.CreateTopic("t", partitions)
	c := newClientWith(t, kafka.Config{Brokers: b.Addrs(), RequestTimeout: 200 * time.Millisecond})
	p := newProducer(t, c, kafka.ProducerConfig{Linger: time.Millisecond, DeliveryTimeout: 500 * time.Millisecond})
	sendRound(t, p, "t", partitions, 0)
	resume := b.Stall()
	var acks []*kafka.Ack
	for i := range 10 {
		ack, err := p.Produce("t", i%partitions, nil, fmt.Append(nil, "stalled", i))
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
	want, rounds := make([][]string, partitions), 0
	waittest.Until(t, 30*time.Second, "producing works again", func() bool {
		v, sent := fmt.Sprint("after", rounds), make([]*kafka.Ack, partitions)
		rounds++
		for partition := range partitions {
			ack, err := p.Produce("t", partition, nil, []byte(v))
			if err != nil {
				t.Fatal(err)
			}
			sent[partition] = ack
		}
		for partition, ack := range sent {
			if await(t, ack) == nil {
				want[partition] = append(want[partition], v)
			}
		}
		return len(want[0]) >= 20 && len(want[1]) >= 20 && len(want[2]) >= 20
	})
	for partition, records := range readAll(t, c, "t") {
		var got []string
		for _, r := range records {
			if slices.Contains(want[partition], string(r.Value)) {
				got = append(got, string(r.Value))
			}
		}
		if !slices.Equal(got, want[partition]) {
			t.Errorf("partition %d: log %v, acknowledged %v", partition, got, want[partition])
		}
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
