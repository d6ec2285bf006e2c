package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/metiva-io/metiva/pkg/embedded/kafka/kafkatest"
	"github.com/metiva-io/metiva/pkg/kafka"
)

// TestReadPartition: the last value of each key of one partition is read, nothing of
// another one, and reading ends where the partition ends.
func TestReadPartition(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t)
	b.CreateCompacted("t", 2)
	c := newClient(t, b.Addrs())
	ctx := testCtx(t)
	read := func(partition int) (map[string]string, error) {
		got := make(map[string]string)
		err := c.ReadPartition(ctx, "t", partition, func(key, value []byte) error {
			if len(value) == 0 {
				delete(got, string(key))
			} else {
				got[string(key)] = string(value)
			}
			return nil
		})
		return got, err
	}
	if got, err := read(0); err != nil || len(got) != 0 {
		t.Fatalf("an empty partition: %v, %v", got, err)
	}
	p := newProducer(t, c, kafka.ProducerConfig{BatchBytesMax: 128})
	for i := range 200 {
		if err := p.ProduceSync(ctx, "t", i%2, fmt.Append(nil, "k", i%6), fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.ProduceSync(ctx, "t", 0, []byte("k0"), nil); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		got, err := read(0)
		if err != nil || fmt.Sprint(got) != "map[k2:194 k4:196]" {
			t.Fatalf("got %v, %v", got, err)
		}
		b.Compact()
	}
	if _, err := read(7); err == nil {
		t.Error("a partition that does not exist was read")
	}
	stop := errors.New("stop")
	if err := c.ReadPartition(ctx, "t", 1, func(_, _ []byte) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if err := c.ReadPartition(gone, "t", 1, func(_, _ []byte) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
