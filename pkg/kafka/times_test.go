package kafka_test

import (
	"testing"
	"time"

	"github.com/metiva-io/metiva/pkg/embedded/kafka/kafkatest"
	"github.com/metiva-io/metiva/pkg/kafka"
)

func TestOffsetsByTime(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t)
	b.CreateTopic("t", 2)
	c := newClient(t, b.Addrs())
	p := newProducer(t, c, kafka.ProducerConfig{})
	before := time.Now().Add(-time.Minute)
	for range 3 {
		if err := p.ProduceSync(testCtx(t), "t", 1, nil, []byte("v")); err != nil {
			t.Fatal(err)
		}
	}
	for at, want := range map[time.Time][2]int64{before: {0, 0}, time.Now().Add(time.Minute): {0, 3}} {
		got, err := c.OffsetsAt(testCtx(t), "t", at)
		if err != nil || len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
			t.Errorf("at %s: %v, %v", at, got, err)
		}
	}
	if _, err := c.OffsetsAt(testCtx(t), "nowhere", before); err == nil {
		t.Error("a topic that is not there has offsets")
	}
}

// TestCommittedOffsets: a group without members keeps what is noted for it.
func TestCommittedOffsets(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t)
	b.CreateTopic("t", 2)
	c := newClient(t, b.Addrs())
	for _, offset := range []int64{5, 9} {
		if err := c.CommitOffset(testCtx(t), "run", "t", 1, offset, "more"); err != nil {
			t.Fatal(err)
		}
		got, err := c.CommittedOffsets(testCtx(t), "run", "t")
		if err != nil || got[0] != -1 || got[1] != offset {
			t.Errorf("%v, %v", got, err)
		}
	}
}
