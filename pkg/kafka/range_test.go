package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/metiva-io/metiva/pkg/embedded/kafka/kafkatest"
	"github.com/metiva-io/metiva/pkg/kafka"
)

// readRange gives the offsets and values of a range.
func readRange(t *testing.T, c *kafka.Client, r kafka.Range) (offsets []int64, values []string, skipped int64) {
	t.Helper()
	skipped, err := c.ReadRange(testCtx(t), r, func(r *kafka.Record) error {
		offsets, values = append(offsets, r.Offset), append(values, string(r.Value))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return offsets, values, skipped
}

func TestReadRange(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t)
	b.CreateTopic("t", 2)
	c := newClient(t, b.Addrs())
	p := newProducer(t, c, kafka.ProducerConfig{BatchBytesMax: 256}) // several batches
	for i := range 100 {
		if err := p.ProduceSync(testCtx(t), "t", 1, nil, fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		from, to, deleted int64
		first, n, skipped int64
	}{
		{from: 0, to: 100, first: 0, n: 100},
		{from: 17, to: 23, first: 17, n: 6},
		{from: 23, to: 23, n: 0},
		{from: 50, to: 40, n: 0},
		{from: -1, to: 3, first: 0, n: 3},
		{from: 20, to: 60, deleted: 30, first: 30, n: 30, skipped: 10},
		{from: 5, to: 20, deleted: 30, n: 0, skipped: 15},
		{from: -1, to: 31, deleted: 30, first: 30, n: 1},
	} {
		if tc.deleted > 0 {
			b.DeleteBefore("t", 1, tc.deleted)
		}
		offsets, values, skipped := readRange(t, c, kafka.Range{Topic: "t", Partition: 1, From: tc.from, To: tc.to})
		if int64(len(offsets)) != tc.n || skipped != tc.skipped {
			t.Errorf("%+v: %d records, %d skipped", tc, len(offsets), skipped)
			continue
		}
		for i, offset := range offsets {
			if offset != tc.first+int64(i) || values[i] != fmt.Sprint(offset) {
				t.Errorf("%+v: record %d is %q of offset %d", tc, i, values[i], offset)
			}
		}
	}
	refused := errors.New("refused")
	if _, err := c.ReadRange(testCtx(t), kafka.Range{Topic: "t", Partition: 1, From: 40, To: 100}, func(*kafka.Record) error { return refused }); !errors.Is(err, refused) {
		t.Errorf("an error of apply: %v", err)
	}
	ctx, cancel := context.WithCancel(testCtx(t))
	cancel()
	if _, err := c.ReadRange(ctx, kafka.Range{Topic: "t", Partition: 1, From: 40, To: 200}, func(*kafka.Record) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("after its end: %v", err)
	}
}

func TestReadRangeOfACompactedTopic(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t)
	b.CreateCompacted("t", 2)
	c := newClient(t, b.Addrs())
	p := newProducer(t, c, kafka.ProducerConfig{BatchBytesMax: 128})
	for i := range 200 {
		if err := p.ProduceSync(testCtx(t), "t", 1, fmt.Append(nil, "k", i%3), fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
	b.Compact()
	_, values, _ := readRange(t, c, kafka.Range{Topic: "t", Partition: 1, From: -1, To: 200, Compacted: true})
	if len(values) >= 200 || values[len(values)-1] != "199" {
		t.Errorf("%d records, the last %q", len(values), values[len(values)-1])
	}
}
