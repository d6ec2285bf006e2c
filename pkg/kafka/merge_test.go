package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/metiva-io/metiva/pkg/embedded/kafka/kafkatest"
	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/pkg/waittest"
)

// sendRound sends one record to each of the partitions and waits for all.
func sendRound(t *testing.T, p *kafka.Producer, topic string, partitions, value int) {
	t.Helper()
	var acks []*kafka.Ack
	for partition := range partitions {
		ack, err := p.Produce(topic, partition, nil, fmt.Append(nil, value))
		if err != nil {
			t.Fatal(err)
		}
		acks = append(acks, ack)
	}
	for _, ack := range acks {
		if err := await(t, ack); err != nil {
			t.Fatal(err)
		}
	}
}

// Records for many partitions leave in one request for each broker.
func TestPartitionsShareRequests(t *testing.T) {
	t.Parallel()
	const partitions = 16
	for _, brokers := range []int{1, 3} {
		b := kafkatest.StartWith(t, kafkatest.Options{Brokers: brokers})
		b.CreateTopic("t", partitions)
		b.CreateTopic("u", 2)
		c := newClient(t, b.Addrs())
		p := newProducer(t, c, kafka.ProducerConfig{Linger: 100 * time.Millisecond})
		sendRound(t, p, "u", 2, 0)
		sendRound(t, p, "t", partitions, 0)
		before := b.Seen(kafkatest.Produce)
		ack, err := p.Produce("u", 1, nil, []byte("1"))
		if err != nil {
			t.Fatal(err)
		}
		sendRound(t, p, "t", partitions, 1)
		if err := await(t, ack); err != nil {
			t.Fatal(err)
		}
		// As many more are forgiven as a pause in this goroutine can make.
		if n := b.Seen(kafkatest.Produce) - before; n > 2*brokers {
			t.Errorf("%d requests to %d brokers for %d partitions", n, brokers, partitions+1)
		}
		log := readAll(t, c, "t")
		for partition := range partitions {
			checkOnce(t, log[partition], 2)
		}
	}
}

// A partition whose followers are slow makes the others of its request wait
// once. From then on it travels alone, however long it takes.
func TestSlowPartitionTravelsAlone(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t)
	b.CreateTopic("t", 4)
	c := newClient(t, b.Addrs())
	p := newProducer(t, c, kafka.ProducerConfig{Linger: 2 * time.Millisecond})
	sendRound(t, p, "t", 4, 0)
	slow := b.FailPartition(kafkatest.Produce, kafkatest.RequestTimedOut, "t", 2, -1)
	var held []*kafka.Ack
	const rounds = 50
	release := func() {}
	defer func() { release() }()
	for i := range rounds {
		ack, err := p.Produce("t", 2, nil, fmt.Append(nil, i+1))
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, ack)
		for _, partition := range []int{0, 1, 3} {
			if err := p.ProduceSync(testCtx(t), "t", partition, nil, fmt.Append(nil, i+1)); err != nil {
				t.Fatal(err)
			}
		}
		if i == rounds/2 {
			if err := slow.Wait(testCtx(t), 2); err != nil {
				t.Fatal(err)
			}
			slow.Remove()
			release = b.HoldPartition("t", 2) // now it is not answered at all
		}
	}
	for _, ack := range held[rounds/2+1:] {
		select {
		case <-ack.Done():
			t.Fatal("the partition was not held")
		default:
		}
	}
	release()
	for _, ack := range held {
		if err := await(t, ack); err != nil {
			t.Fatal(err)
		}
	}
	log := readAll(t, c, "t")
	for partition := range 4 {
		checkOnce(t, log[partition], rounds+1)
	}
}

// An answer accepts some partitions and refuses another.
func TestPartlyRefusedRequest(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t)
	b.CreateTopic("t", 4)
	c := newClient(t, b.Addrs())
	p := newProducer(t, c, kafka.ProducerConfig{Linger: 20 * time.Millisecond})
	sendRound(t, p, "t", 4, 0)
	b.FailPartition(kafkatest.Produce, kafkatest.MessageTooLarge, "t", 1, 1)
	before := b.Seen(kafkatest.Produce)
	var acks []*kafka.Ack
	for partition := range 4 {
		ack, err := p.Produce("t", partition, nil, []byte("1"))
		if err != nil {
			t.Fatal(err)
		}
		acks = append(acks, ack)
	}
	for partition, ack := range acks {
		err := await(t, ack)
		if refused := partition == 1; refused != (err != nil) || errors.Is(err, kafka.ErrOutcomeUnknown) {
			t.Errorf("partition %d: %v", partition, err)
		}
	}
	if n := b.Seen(kafkatest.Produce) - before; n > 2 {
		t.Errorf("%d requests for four partitions", n)
	}
	if err := p.ProduceSync(testCtx(t), "t", 1, nil, []byte("1")); err != nil {
		t.Fatal(err)
	}
	log := readAll(t, c, "t")
	for partition := range 4 {
		checkOnce(t, log[partition], 2)
	}
}

// Leaders move while a request with their partitions is under way, and its
// connection breaks in the middle of the bytes.
func TestFaultsUnderALargeRequest(t *testing.T) {
	t.Parallel()
	b := kafkatest.StartWith(t, kafkatest.Options{Brokers: 2})
	b.CreateTopic("t", 4)
	c := newClient(t, b.Addrs())
	p := newProducer(t, c, kafka.ProducerConfig{Linger: 20 * time.Millisecond, BatchBytesMax: 1_000_000})
	value := make([]byte, 900_000)
	send := func(i int) (acks []*kafka.Ack) {
		for partition := range 4 {
			ack, err := p.Produce("t", partition, fmt.Append(nil, i), value)
			if err != nil {
				t.Fatal(err)
			}
			acks = append(acks, ack)
		}
		return acks
	}
	settle := func(acks []*kafka.Ack) {
		for _, ack := range acks {
			if err := await(t, ack); err != nil {
				t.Fatal(err)
			}
		}
	}
	settle(send(0))
	before := b.Seen(kafkatest.Produce)
	release := b.HoldPartition("t", 0)
	defer release()
	acks := send(1)
	waittest.Until(t, 30*time.Second, "the request is under way", func() bool { return b.Seen(kafkatest.Produce) > before })
	b.MoveLeader("t", 0)
	b.MoveLeader("t", 3)
	release()
	settle(acks)
	b.CutReading(kafkatest.Produce, 2)
	settle(send(2))
	if b.CutsLeft(kafkatest.Produce) > 0 {
		t.Error("the connections were not cut")
	}
	log := readAll(t, c, "t")
	for partition := range 4 {
		var keys []string
		for _, r := range log[partition] {
			keys = append(keys, string(r.Key))
		}
		if !slices.Equal(keys, []string{"0", "1", "2"}) {
			t.Errorf("partition %d holds %v", partition, keys)
		}
	}
}

// A moved leader costs one refused batch and one question about leaders, and
// no connection: nothing of the other partitions is disturbed.
func TestLeaderMoveIsCheap(t *testing.T) {
	t.Parallel()
	b := kafkatest.StartWith(t, kafkatest.Options{Brokers: 3})
	b.CreateTopic("t", 6)
	reg := prometheus.NewRegistry()
	c, err := kafka.NewClient(kafka.Config{Brokers: b.Addrs(), MetadataTTL: time.Minute}, nil, reg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	p := newProducer(t, c, kafka.ProducerConfig{Linger: time.Millisecond})
	const warm, moves = 5, 10
	for i := range warm {
		sendRound(t, p, "t", 6, i)
	}
	retries, lookups, connections := counted(t, reg, "produce_retries_total"), counted(t, reg, "leader_lookups_total"), b.Connections()
	for i := range moves {
		b.MoveLeader("t", 0)
		sendRound(t, p, "t", 6, warm+i)
	}
	if n := counted(t, reg, "produce_retries_total") - retries; n > moves {
		t.Errorf("%v batches were sent again for %d moves", n, moves)
	}
	if n := counted(t, reg, "leader_lookups_total") - lookups; n > moves {
		t.Errorf("%v questions about leaders for %d moves", n, moves)
	}
	// Some may be made for more requests at once, none anew for all brokers.
	if n := b.Connections() - connections; n >= moves {
		t.Errorf("%d connections were made for %d moves", n, moves)
	}
	log := readAll(t, c, "t")
	for partition := range 6 {
		checkOnce(t, log[partition], warm+moves)
	}
}

// counted adds up a metric of the package over its labels.
func counted(t testing.TB, reg *prometheus.Registry, name string) (sum float64) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "metiva_kafka_"+name {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

// A partition that does not exist, and one of a topic that does not, fail by
// themselves.
func TestUnknownPartitionHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t)
	b.CreateTopic("t", 2)
	c := newClient(t, b.Addrs())
	p := newProducer(t, c, kafka.ProducerConfig{Linger: time.Millisecond, DeliveryTimeout: 600 * time.Millisecond})
	lost := make([]*kafka.Ack, 2)
	var err error
	if lost[0], err = p.Produce("t", 7, nil, []byte("0")); err != nil {
		t.Fatal(err)
	}
	if lost[1], err = p.Produce("nothing", 0, nil, []byte("0")); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		sendRound(t, p, "t", 2, i)
	}
	for _, ack := range lost {
		if err := await(t, ack); !errors.Is(err, kafka.ErrDeliveryTimeout) || errors.Is(err, kafka.ErrOutcomeUnknown) {
			t.Errorf("a record for nowhere: %v", err)
		}
	}
	log := readAll(t, c, "t")
	for partition := range 2 {
		checkOnce(t, log[partition], 20)
	}
}

// The broker stands still for many attempts: what is held stays within the
// bound, whatever is compressed, repeated and abandoned. Not parallel, because
// it looks at the memory of the whole process.
func TestMemoryIsBoundedUnderAStall(t *testing.T) {
	const partitions, bound = 8, 4 << 20
	b := kafkatest.Start(t)
	b.CreateTopic("t", partitions)
	c := newClientWith(t, kafka.Config{Brokers: b.Addrs(), RequestTimeout: 50 * time.Millisecond})
	p := newProducer(t, c, kafka.ProducerConfig{BufferedBytesMax: bound, Linger: time.Millisecond, BatchBytesMax: 64 << 10})
	sendRound(t, p, "t", partitions, 0)
	value := make([]byte, 1000)
	resume := b.Stall()
	defer resume()
	before, n := heap(), 0
	var last *kafka.Ack
	for {
		ack, err := p.Produce("t", n%partitions, nil, value)
		if errors.Is(err, kafka.ErrBufferFull) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		last = ack
		n++
	}
	if n < bound/2000 {
		t.Fatalf("only %d records were accepted", n)
	}
	seen := b.Connections()
	waittest.Until(t, 30*time.Second, "requests are repeated", func() bool { return b.Connections() > seen+6 })
	// The broker's copies of what it has not worked on are in here as well.
	if grown := heap() - before; grown > 4*bound {
		t.Errorf("%d bytes are held with a bound of %d", grown, bound)
	}
	resume()
	if err := await(t, last); err != nil {
		t.Fatal(err)
	}
	waittest.Until(t, 30*time.Second, "everything is written", func() bool {
		sum := 0
		for partition := range partitions {
			sum += int(b.HighWatermark("t", partition))
		}
		return sum == n+partitions
	})
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// What a moved leader costs, at a steady load: the longest time from Produce to
// the acknowledgement, over all partitions and over those that did not move.
func BenchmarkLeaderMove(b *testing.B) {
	const partitions = 16
	broker := kafkatest.StartWith(b, kafkatest.Options{Brokers: 3})
	broker.CreateTopic("t", partitions)
	p := newProducer(b, newClient(b, broker.Addrs()), kafka.ProducerConfig{})
	type sending struct {
		at        time.Time
		partition int
		ack       *kafka.Ack
	}
	sent := make(chan sending, 1<<16)
	ctx, cancel := context.WithCancel(b.Context())
	go func() {
		defer close(sent)
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for i := 0; ctx.Err() == nil; <-tick.C {
			for range 5 {
				ack, err := p.Produce("t", i%partitions, nil, make([]byte, 400))
				if err != nil {
					b.Error(err)
					return
				}
				sent <- sending{time.Now(), i % partitions, ack}
				i++
			}
		}
	}()
	var moved, others time.Duration
	measured := make(chan struct{})
	go func() {
		defer close(measured)
		for s := range sent {
			<-s.ack.Done()
			if s.ack.Err() != nil {
				b.Error(s.ack.Err())
			}
			if took := time.Since(s.at); s.partition == 0 {
				moved = max(moved, took)
			} else {
				others = max(others, took)
			}
		}
	}()
	for b.Loop() {
		broker.MoveLeader("t", 0)
		if err := p.ProduceSync(ctx, "t", 0, nil, nil); err != nil {
			b.Fatal(err)
		}
	}
	cancel()
	<-measured
	b.ReportMetric(float64(moved.Microseconds())/1000, "moved-max-ms")
	b.ReportMetric(float64(others.Microseconds())/1000, "others-max-ms")
}
