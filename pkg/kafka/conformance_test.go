package kafka_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/pkg/waittest"
)

// The conformance suite: what this package promises, on the embedded broker
// in every test run and on Apache Kafka when METIVA_TEST_KAFKA_BROKERS names
// one (.ci/kafka-apache/run).

func TestConformanceProduceAndRead(t *testing.T) {
	t.Parallel()
	c := newClient(t, cluster(t))
	for _, codec := range []string{"none", "lz4", "snappy", "zstd"} {
		t.Run(codec, func(t *testing.T) {
			t.Parallel()
			const partitions, records = 3, 3000
			topic := newTopic(t, c, partitions, false)
			p := newProducer(t, c, kafka.ProducerConfig{Compression: codec, BatchBytesMax: 16 << 10, Linger: time.Millisecond})
			acks := make([]*kafka.Ack, records)
			for i := range acks {
				ack, err := p.Produce(topic, i%partitions, fmt.Appendf(nil, "key-%d", i), fmt.Appendf(nil, "value-%d", i),
					kafka.Header{Key: "n", Value: fmt.Append(nil, i)})
				if err != nil {
					t.Fatal(err)
				}
				acks[i] = ack
			}
			for _, ack := range acks {
				if err := await(t, ack); err != nil {
					t.Fatal(err)
				}
			}
			got := readAll(t, c, topic)
			for partition := range partitions {
				want := partition
				for at, r := range got[partition] {
					if r.Offset != int64(at) || string(r.Key) != fmt.Sprint("key-", want) || string(r.Value) != fmt.Sprint("value-", want) ||
						len(r.Headers) != 1 || r.Headers[0].Key != "n" || string(r.Headers[0].Value) != fmt.Sprint(want) {
						t.Fatalf("partition %d record %d: offset %d key %q, want number %d", partition, at, r.Offset, r.Key, want)
					}
					if age := time.Since(r.Time); age < -time.Minute || age > time.Minute {
						t.Fatalf("record time is %v ago", age)
					}
					want += partitions
				}
				if len(got[partition]) != records/partitions {
					t.Fatalf("partition %d has %d records", partition, len(got[partition]))
				}
			}
		})
	}
}

func TestConformanceNilEmptyAndHeaders(t *testing.T) {
	t.Parallel()
	c := newClient(t, cluster(t))
	topic := newTopic(t, c, 1, false)
	p := newProducer(t, c, kafka.ProducerConfig{})
	ctx := testCtx(t)
	headers := []kafka.Header{{Key: "a", Value: []byte("1")}, {Key: "a", Value: nil}, {Key: "", Value: []byte{}}}
	cases := []struct {
		key, value []byte
		headers    []kafka.Header
	}{
		{nil, []byte("value"), nil},
		{[]byte("key"), nil, nil},
		{[]byte{}, []byte{}, headers},
		{nil, nil, headers[:1]},
	}
	for _, tc := range cases {
		if err := p.ProduceSync(ctx, topic, 0, tc.key, tc.value, tc.headers...); err != nil {
			t.Fatal(err)
		}
	}
	got := readAll(t, c, topic)[0]
	if len(got) != len(cases) {
		t.Fatalf("%d records", len(got))
	}
	for i, tc := range cases {
		r := got[i]
		if !bytes.Equal(r.Key, tc.key) || (r.Key == nil) != (tc.key == nil) || !bytes.Equal(r.Value, tc.value) || (r.Value == nil) != (tc.value == nil) {
			t.Errorf("case %d: key %v value %v", i, r.Key, r.Value)
		}
		if !slices.EqualFunc(r.Headers, tc.headers, func(a, b kafka.Header) bool {
			return a.Key == b.Key && bytes.Equal(a.Value, b.Value) && (a.Value == nil) == (b.Value == nil)
		}) {
			t.Errorf("case %d: headers %v", i, r.Headers)
		}
	}
}

func TestConformanceLargeRecords(t *testing.T) {
	t.Parallel()
	c := newClient(t, cluster(t))
	for _, codec := range []string{"none", "lz4", "snappy", "zstd"} {
		t.Run(codec, func(t *testing.T) {
			t.Parallel()
			topic := newTopic(t, c, 1, false)
			p := newProducer(t, c, kafka.ProducerConfig{BatchBytesMax: 1_000_000, Compression: codec})
			value := make([]byte, 950_000) // does not compress
			random := rand.NewChaCha8([32]byte{1})
			_, _ = random.Read(value)
			var want [][]byte
			for i := range 3 {
				v := bytes.Clone(value)
				v[0] = byte(i)
				want = append(want, v)
				if err := p.ProduceSync(testCtx(t), topic, 0, nil, v); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := p.Produce(topic, 0, nil, make([]byte, 1_000_000)); !errors.Is(err, kafka.ErrTooLarge) {
				t.Errorf("a record above the batch size: %v", err)
			}
			got := readAll(t, c, topic)[0]
			for i, r := range got {
				if !bytes.Equal(r.Value, want[i]) {
					t.Errorf("record %d differs", i)
				}
			}
			if len(got) != len(want) {
				t.Errorf("%d records", len(got))
			}
		})
	}
}

func TestConformanceEnsureTopics(t *testing.T) {
	t.Parallel()
	brokers := cluster(t)
	c := newClient(t, brokers)
	ctx := testCtx(t)
	if err := c.Ping(ctx); err != nil {
		t.Fatal(err)
	}
	topic := fmt.Sprintf("test.ensure.%d", time.Now().UnixNano())
	specs := []kafka.TopicSpec{
		{Name: topic, Partitions: 3, Retention: time.Hour},
		{Name: topic + ".table", Partitions: 1, Compacted: true, ReplicationFactor: 1},
	}
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if err := newClient(t, brokers).EnsureTopics(ctx, specs); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if err := c.EnsureTopics(ctx, specs); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Partitions(ctx, topic); err != nil || n != 3 {
		t.Fatalf("partitions %d, %v", n, err)
	}
	ends, err := c.EndOffsets(ctx, topic)
	if err != nil || len(ends) != 3 || ends[2] != 0 {
		t.Fatalf("end offsets %v, %v", ends, err)
	}
	specs[0].Partitions = 4
	if err := c.EnsureTopics(ctx, specs); err == nil {
		t.Error("a topic with too few partitions passed")
	}
	if _, err := c.Partitions(ctx, topic+".missing"); err == nil {
		t.Error("a missing topic has partitions")
	}
	for range 2 { // the second time there is none
		if err := c.DeleteTopic(ctx, topic); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.EnsureTopics(ctx, specs); err != nil { // anew, with as many partitions as it did not have
		t.Fatal(err)
	}
}

func TestConformancePlanSurvivesOwner(t *testing.T) {
	t.Parallel()
	c := newClient(t, cluster(t))
	topic := newTopic(t, c, 1, false)
	p := newProducer(t, c, kafka.ProducerConfig{})
	for i := range 100 {
		if err := p.ProduceSync(testCtx(t), topic, 0, nil, fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
	own := func(step func(ctx context.Context, claim *kafka.Claim) error) {
		t.Helper()
		ownOnce(t, c, "plan."+topic, topic, step)
	}
	own(func(ctx context.Context, claim *kafka.Claim) error { // plans 10..39 and dies
		b, err := claim.NextBatch(ctx, kafka.BatchLimit{RecordsMax: 10})
		if err != nil {
			return err
		}
		if err := claim.Commit(ctx, b); err != nil {
			return err
		}
		if b, err = claim.NextBatch(ctx, kafka.BatchLimit{RecordsMax: 30}); err != nil {
			return err
		}
		next, err := claim.NextBatch(ctx, kafka.BatchLimit{RecordsMax: 5})
		if err != nil {
			return err
		}
		if err := claim.Plan(ctx, next); !errors.Is(err, kafka.ErrPlanOrder) {
			return fmt.Errorf("planning out of order: %w", err)
		}
		return claim.Plan(ctx, b)
	})
	for range 2 { // the second owner dies as well
		own(func(ctx context.Context, claim *kafka.Claim) error {
			b, err := claim.NextBatch(ctx, kafka.BatchLimit{RecordsMax: 3})
			if err != nil {
				return err
			}
			if err := expectBatch(b, 10, 39); err != nil {
				return err
			}
			if !b.Again {
				return errors.New("a planned range is given as if for the first time")
			}
			return claim.Plan(ctx, b)
		})
	}
	own(func(ctx context.Context, claim *kafka.Claim) error { // finishes the range and takes the next
		b, err := claim.NextBatch(ctx, kafka.BatchLimit{RecordsMax: 1000})
		if err != nil {
			return err
		}
		if err := errors.Join(expectBatch(b, 10, 39), claim.Plan(ctx, b), claim.Commit(ctx, b)); err != nil {
			return err
		}
		b, err = claim.NextBatch(ctx, kafka.BatchLimit{RecordsMax: 20})
		if b.Again {
			return errors.New("a range that nobody planned is given as if again")
		}
		return errors.Join(err, expectBatch(b, 40, 59))
	})
	own(func(ctx context.Context, claim *kafka.Claim) error { // 40..59 was never planned
		b, err := claim.NextBatch(ctx, kafka.BatchLimit{BytesMax: 10})
		return errors.Join(err, expectBatch(b, 40, 44))
	})
}

// ownOnce runs one member of the group until its handler has done one step.
func ownOnce(t *testing.T, c *kafka.Client, group, topic string, step func(ctx context.Context, claim *kafka.Claim) error) {
	t.Helper()
	done := make(chan error, 1)
	stop := running(t, func(ctx context.Context) error {
		return newConsumer(t, c, group, topic).Run(ctx, func(ctx context.Context, claim *kafka.Claim) error {
			done <- step(ctx, claim)
			<-ctx.Done()
			return nil
		})
	})
	select {
	case err := <-done:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(40 * time.Second):
		t.Fatal("no claim")
	}
	stop()
}

// expectBatch checks a batch of records that hold their own offsets.
func expectBatch(b kafka.Batch, first, last int64) error {
	if b.First != first || b.Last != last || len(b.Records) != int(last-first+1) || string(b.Records[0].Value) != fmt.Sprint(first) {
		return fmt.Errorf("batch %d..%d with %d records, want %d..%d", b.First, b.Last, len(b.Records), first, last)
	}
	return nil
}

func TestConformanceStaleOwnerIsFenced(t *testing.T) {
	t.Parallel()
	c := newClient(t, cluster(t))
	topic := newTopic(t, c, 1, false)
	p := newProducer(t, c, kafka.ProducerConfig{})
	if err := p.ProduceSync(testCtx(t), topic, 0, nil, []byte("x")); err != nil {
		t.Fatal(err)
	}
	type held struct {
		claim *kafka.Claim
		batch kafka.Batch
	}
	claims := make(chan held, 10)
	run := func(ctx context.Context) error {
		return newConsumer(t, c, "fence."+topic, topic).Run(ctx, func(ctx context.Context, claim *kafka.Claim) error {
			b, err := claim.NextBatch(ctx, kafka.BatchLimit{})
			if err != nil {
				return err
			}
			claims <- held{claim, b}
			<-ctx.Done()
			return nil
		})
	}
	stop := running(t, run)
	old := <-claims
	stop()
	running(t, run)
	fresh := <-claims
	if err := old.claim.Plan(testCtx(t), old.batch); !errors.Is(err, kafka.ErrFenced) {
		t.Errorf("plan by the old owner: %v", err)
	}
	if err := old.claim.Commit(testCtx(t), old.batch); !errors.Is(err, kafka.ErrFenced) {
		t.Errorf("commit by the old owner: %v", err)
	}
	if err := fresh.claim.Commit(testCtx(t), fresh.batch); err != nil {
		t.Errorf("commit by the owner: %v", err)
	}
	earlier, err := old.claim.Epoch(testCtx(t), 0)
	if err != nil {
		t.Fatal(err)
	}
	epoch, err := fresh.claim.Epoch(testCtx(t), earlier)
	if err != nil || epoch <= earlier {
		t.Errorf("the owner's epoch is %d after %d: %v", epoch, earlier, err)
	}
	if _, err := old.claim.Epoch(testCtx(t), epoch); !errors.Is(err, kafka.ErrFenced) {
		t.Errorf("an epoch for the old owner: %v", err)
	}
	// What is there is of a group with the same name that was deleted.
	if anew, err := fresh.claim.Epoch(testCtx(t), epoch+1<<40); err != nil || anew <= epoch+1<<40 {
		t.Errorf("the owner's epoch is %d after %d: %v", anew, epoch+1<<40, err)
	}
}

func TestConformanceRebalance(t *testing.T) {
	t.Parallel()
	c := newClient(t, cluster(t))
	const partitions = 4
	topic := newTopic(t, c, partitions, false)
	p := newProducer(t, c, kafka.ProducerConfig{Linger: time.Millisecond})
	var mu sync.Mutex
	seen := map[string]int{}
	owners := map[int]map[int]bool{1: {}, 2: {}} // member -> partitions it has had
	member := func(id int) (stop func()) {
		return running(t, func(ctx context.Context) error {
			return newConsumer(t, c, "rebalance."+topic, topic).Run(ctx, func(ctx context.Context, claim *kafka.Claim) error {
				return commitAll(ctx, claim, func(b kafka.Batch) {
					mu.Lock()
					defer mu.Unlock()
					owners[id][claim.Partition()] = true
					for _, r := range b.Records {
						seen[string(r.Value)]++
					}
				})
			})
		})
	}
	send := func(from, to int) {
		for i := from; i < to; i++ {
			if _, err := p.Produce(topic, i%partitions, nil, fmt.Append(nil, i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	count := func() int { mu.Lock(); defer mu.Unlock(); return len(seen) }
	stopFirst := member(1)
	send(0, 1000)
	waittest.Until(t, 30*time.Second, "the first member reads", func() bool { return count() >= 1000 })
	send(1000, 2000)
	member(2)
	sent := 2000
	waittest.Until(t, 30*time.Second, "the second member joins and reads", func() bool {
		send(sent, sent+partitions)
		sent += partitions
		mu.Lock()
		defer mu.Unlock()
		return len(owners[2]) > 0
	})
	waittest.Until(t, 30*time.Second, "both read everything", func() bool { return count() == sent })
	stopFirst()
	send(sent, sent+1000)
	sent += 1000
	waittest.Until(t, 30*time.Second, "the second member reads everything", func() bool { return count() == sent })
	mu.Lock()
	defer mu.Unlock()
	for value, n := range seen {
		if n != 1 {
			t.Errorf("record %s was read %d times", value, n)
		}
	}
	if len(owners[1]) != partitions || len(owners[2]) != partitions {
		t.Errorf("partitions owned: %v", owners)
	}
}

func TestConformanceHandlerErrorRepeatsFromCommit(t *testing.T) {
	t.Parallel()
	c := newClient(t, cluster(t))
	topic := newTopic(t, c, 1, false)
	p := newProducer(t, c, kafka.ProducerConfig{})
	for i := range 6 {
		if err := p.ProduceSync(testCtx(t), topic, 0, nil, fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
	firsts := make(chan int64, 100)
	calls := 0
	running(t, func(ctx context.Context) error {
		return newConsumer(t, c, "repeat."+topic, topic).Run(ctx, func(ctx context.Context, claim *kafka.Claim) error {
			calls++
			for {
				b, err := claim.NextBatch(ctx, kafka.BatchLimit{RecordsMax: 2})
				if err != nil {
					return err
				}
				firsts <- b.First
				if b.First == 2 && calls < 3 {
					return errors.New("the sink is away")
				}
				if err := claim.Commit(ctx, b); err != nil {
					return err
				}
			}
		})
	})
	for i, want := range []int64{0, 2, 2, 2, 4} {
		select {
		case got := <-firsts:
			if got != want {
				t.Fatalf("batch %d begins at %d, want %d", i, got, want)
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("batch %d has not come", i)
		}
	}
}

func TestConformanceTable(t *testing.T) {
	t.Parallel()
	c := newClient(t, cluster(t))
	topic := newTopic(t, c, 2, true)
	p := newProducer(t, c, kafka.ProducerConfig{})
	ctx := testCtx(t)
	put := func(key, value string) {
		t.Helper()
		partition, err := p.PartitionFor(ctx, topic, []byte(key))
		if err != nil {
			t.Fatal(err)
		}
		var v []byte
		if value != "" {
			v = []byte(value)
		}
		if err := p.ProduceSync(ctx, topic, partition, []byte(key), v); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 20 {
		put(fmt.Sprint("k", i), "old")
	}
	put("k3", "new")
	put("k4", "")
	var mu sync.Mutex
	state := map[string]string{}
	table := c.NewTable(topic, func(key, value []byte) error {
		mu.Lock()
		defer mu.Unlock()
		if len(value) == 0 {
			delete(state, string(key))
		} else {
			state[string(key)] = string(value)
		}
		return nil
	})
	running(t, table.Run)
	select {
	case <-table.Ready():
	case <-ctx.Done():
		t.Fatal("the table is not ready")
	}
	get := func(key string) string { mu.Lock(); defer mu.Unlock(); return state[key] }
	if get("k0") != "old" || get("k3") != "new" || get("k4") != "" || len(state) != 19 {
		t.Fatalf("state %v", state)
	}
	for i := range 10 {
		put("k0", fmt.Sprint("v", i))
		if err := table.CatchUp(ctx); err != nil {
			t.Fatal(err)
		}
		if got := get("k0"); got != fmt.Sprint("v", i) {
			t.Fatalf("after catching up k0 is %q, want v%d", got, i)
		}
	}
}

func TestConformanceTableErrorEndsRun(t *testing.T) {
	t.Parallel()
	c := newClient(t, cluster(t))
	topic := newTopic(t, c, 1, true)
	p := newProducer(t, c, kafka.ProducerConfig{})
	if err := p.ProduceSync(testCtx(t), topic, 0, []byte("k"), []byte("v")); err != nil {
		t.Fatal(err)
	}
	refused := errors.New("refused")
	err := c.NewTable(topic, func(_, _ []byte) error { return refused }).Run(testCtx(t))
	if !errors.Is(err, refused) {
		t.Fatalf("run ended with %v", err)
	}
}
