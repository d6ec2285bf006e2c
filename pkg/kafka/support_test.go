package kafka_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/metiva-io/metiva/pkg/embedded/kafka/kafkatest"
	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/pkg/secret"
)

// brokersEnv points the conformance suite at a real cluster.
const brokersEnv = "METIVA_TEST_KAFKA_BROKERS"

// cluster gives the brokers of the conformance suite: a real cluster when one
// is named, else a broker in this process.
func cluster(t testing.TB) []string {
	t.Helper()
	if real := os.Getenv(brokersEnv); real != "" {
		return strings.Split(real, ",")
	}
	return kafkatest.Start(t).Addrs()
}

func newClient(t testing.TB, brokers []string) *kafka.Client {
	t.Helper()
	return newClientWith(t, kafka.Config{Brokers: brokers, ClientID: "test"})
}

func newClientWith(t testing.TB, cfg kafka.Config) *kafka.Client {
	t.Helper()
	level := slog.LevelError + 1
	if testing.Verbose() && os.Getenv("METIVA_TEST_LOG") != "" {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	c, err := kafka.NewClient(cfg, log, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

var topicNumber atomic.Int64

// newTopic makes a topic of its own for the test, also on a shared cluster.
func newTopic(t testing.TB, c *kafka.Client, partitions int, compacted bool) string {
	t.Helper()
	name := fmt.Sprintf("test.%d.%d.%d", os.Getpid(), time.Now().UnixNano(), topicNumber.Add(1))
	spec := kafka.TopicSpec{Name: name, Partitions: partitions, Compacted: compacted, Retention: time.Hour}
	if err := c.EnsureTopics(testCtx(t), []kafka.TopicSpec{spec}); err != nil {
		t.Fatal(err)
	}
	return name
}

// testCtx ends a hanging test with a message instead of a panic.
func testCtx(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// running starts a Run method and gives a function that ends it and waits.
func running(t testing.TB, run func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			select {
			case err := <-done:
				if err != nil {
					t.Errorf("run: %v", err)
				}
			case <-time.After(45 * time.Second):
				t.Error("run has not ended")
			}
		})
	}
	t.Cleanup(stop)
	return stop
}

func newProducer(t testing.TB, c *kafka.Client, cfg kafka.ProducerConfig) *kafka.Producer {
	t.Helper()
	p, err := c.NewProducer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	running(t, p.Run)
	return p
}

func newConsumer(t testing.TB, c *kafka.Client, group string, topics ...string) *kafka.Consumer {
	t.Helper()
	consumer, err := c.NewConsumer(kafka.ConsumerConfig{
		Group: group, Topics: topics, FetchWaitMax: 100 * time.Millisecond,
		HeartbeatInterval: 100 * time.Millisecond, SessionTimeout: 6 * time.Second,
		RebalanceTimeout: 10 * time.Second, HandlerBackoff: 20 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	return consumer
}

// await waits for an acknowledgement.
func await(t testing.TB, ack *kafka.Ack) error {
	t.Helper()
	select {
	case <-ack.Done():
		return ack.Err()
	case <-time.After(45 * time.Second):
		t.Fatal("no acknowledgement")
		return nil
	}
}

// readAll gives all records of a topic, by partition in order, through a
// consumer group of its own.
func readAll(t testing.TB, c *kafka.Client, topic string) map[int][]kafka.Record {
	t.Helper()
	ctx := testCtx(t)
	ends, err := c.EndOffsets(ctx, topic)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	out := map[int][]kafka.Record{}
	var left sync.WaitGroup
	left.Add(len(ends))
	consumer := newConsumer(t, c, "read."+topic+"."+fmt.Sprint(topicNumber.Add(1)), topic)
	stop := running(t, func(ctx context.Context) error {
		return consumer.Run(ctx, func(ctx context.Context, claim *kafka.Claim) error {
			last := int64(-1)
			for last < ends[claim.Partition()]-1 {
				b, err := claim.NextBatch(ctx, kafka.BatchLimit{RecordsMax: 1000})
				if err != nil {
					return err
				}
				last = b.Last
				mu.Lock()
				out[claim.Partition()] = append(out[claim.Partition()], b.Records...)
				mu.Unlock()
				if err := claim.Commit(ctx, b); err != nil {
					return err
				}
			}
			left.Done()
			<-ctx.Done()
			return nil
		})
	})
	done := make(chan struct{})
	go func() { left.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
		t.Fatal("reading the topic took too long")
	}
	stop()
	return out
}

func secretText(s string) secret.Text { return secret.New(s) }

// commitAll commits batch after batch and notes each. The effect and its
// commit belong together: a handler finishes what it has begun, also when its
// ctx ends.
func commitAll(ctx context.Context, claim *kafka.Claim, note func(kafka.Batch)) error {
	for {
		b, err := claim.NextBatch(ctx, kafka.BatchLimit{RecordsMax: 50})
		if err != nil {
			return err
		}
		if err := claim.Commit(context.WithoutCancel(ctx), b); err != nil {
			return err
		}
		note(b)
	}
}
