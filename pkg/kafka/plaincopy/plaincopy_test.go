package plaincopy_test

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/metiva-io/metiva/pkg/embedded/kafka/kafkatest"
	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/pkg/kafka/plaincopy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	partitions = 4
	records    = 500
)

// TestEveryRecordIsCopiedOnce: key, value, partition and order stay, and a second copy
// of the same group finds nothing left.
func TestEveryRecordIsCopiedOnce(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	brokers := kafkatest.Start(t).Addrs()
	client, err := kafka.NewClient(kafka.Config{Brokers: brokers, ClientID: "test"}, nil, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	topics := []string{"from", "to"}
	for _, topic := range topics {
		if err := client.EnsureTopics(ctx, []kafka.TopicSpec{{Name: topic, Partitions: partitions, Retention: time.Hour}}); err != nil {
			t.Fatal(err)
		}
	}
	produce(ctx, t, client, "from", 0)
	cfg := plaincopy.Config{Brokers: brokers, Group: "copy", From: "from", To: "to"}
	copyUntil(ctx, t, cfg, records)
	produce(ctx, t, client, "from", records)
	copyUntil(ctx, t, cfg, records)

	from, to := readAll(ctx, t, client, "from"), readAll(ctx, t, client, "to")
	for p := range partitions {
		if len(from[p]) != 2*records/partitions || len(from[p]) != len(to[p]) {
			t.Fatalf("partition %d has %d records and its copy %d", p, len(from[p]), len(to[p]))
		}
		for i := range from[p] {
			if !bytes.Equal(from[p][i].Key, to[p][i].Key) || !bytes.Equal(from[p][i].Value, to[p][i].Value) {
				t.Fatalf("record %d of partition %d differs from its copy", i, p)
			}
		}
	}
}

// produce writes records numbered from first on, in turns to every partition.
func produce(ctx context.Context, t *testing.T, client *kafka.Client, topic string, first int) {
	t.Helper()
	producer, err := client.NewProducer(kafka.ProducerConfig{Compression: "snappy"})
	if err != nil {
		t.Fatal(err)
	}
	ended := start(ctx, producer.Run)
	var acks []*kafka.Ack
	for n := first; n < first+records; n++ {
		ack, err := producer.Produce(topic, n%partitions, fmt.Appendf(nil, "key %d", n), fmt.Appendf(nil, "value %d", n))
		if err != nil {
			t.Fatal(err)
		}
		acks = append(acks, ack)
	}
	for _, ack := range acks {
		<-ack.Done()
		if err := ack.Err(); err != nil {
			t.Fatal(err)
		}
	}
	if err := ended(); err != nil {
		t.Fatal(err)
	}
}

// copyUntil copies until so many records were reported.
func copyUntil(ctx context.Context, t *testing.T, cfg plaincopy.Config, want int64) {
	t.Helper()
	var copied atomic.Int64
	all := make(chan struct{})
	cfg.OnCopied = func(n int) {
		if copied.Add(int64(n)) == want {
			close(all)
		}
	}
	ended := start(ctx, func(ctx context.Context) error { return plaincopy.Run(ctx, cfg) })
	select {
	case <-all:
	case <-ctx.Done():
	}
	if err := ended(); err != nil {
		t.Fatal(err)
	}
	if n := copied.Load(); n != want {
		t.Fatalf("%d records were copied of %d", n, want)
	}
}

// start runs something; ended stops it and gives its error.
func start(ctx context.Context, run func(context.Context) error) (ended func() error) {
	ctx, cancel := context.WithCancel(ctx)
	result := make(chan error, 1)
	go func() { result <- run(ctx) }()
	return func() error { cancel(); return <-result }
}

// readAll gives the records of a topic by partition.
func readAll(ctx context.Context, t *testing.T, client *kafka.Client, topic string) map[int][]kafka.Record {
	t.Helper()
	consumer, err := client.NewConsumer(kafka.ConsumerConfig{Group: "read." + topic, Topics: []string{topic}, FetchWaitMax: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	out, left := map[int][]kafka.Record{}, 2*records
	all := make(chan struct{})
	ended := start(ctx, func(ctx context.Context) error {
		return consumer.Run(ctx, func(ctx context.Context, c *kafka.Claim) error {
			for {
				batch, err := c.NextBatch(ctx, kafka.BatchLimit{RecordsMax: records})
				if err != nil {
					return err
				}
				mu.Lock()
				out[c.Partition()] = append(out[c.Partition()], batch.Records...)
				if left -= len(batch.Records); left == 0 {
					close(all)
				}
				mu.Unlock()
			}
		})
	})
	select {
	case <-all:
	case <-ctx.Done():
	}
	_ = ended()
	return out
}

func TestValidate(t *testing.T) {
	t.Parallel()
	whole := plaincopy.Config{Brokers: []string{"127.0.0.1:9092"}, Group: "g", From: "a", To: "b", OnCopied: func(int) {}}
	if err := whole.Validate(); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*plaincopy.Config){
		"no broker": func(c *plaincopy.Config) { c.Brokers = nil },
		"no group":  func(c *plaincopy.Config) { c.Group = "" },
		"to itself": func(c *plaincopy.Config) { c.To = c.From },
		"no ear":    func(c *plaincopy.Config) { c.OnCopied = nil },
	} {
		c := whole
		if spoil(&c); c.Validate() == nil {
			t.Errorf("%s: no fault", name)
		}
	}
}
