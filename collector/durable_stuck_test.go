package collector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/metiva-io/metiva/collector/spool"
	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/pkg/waittest"
	"github.com/metiva-io/metiva/schemas"
)

// answerTopic gives the held records of one topic, and of one partition unless it
// is negative, their answer.
func (f *fakeKafka) answerTopic(topic string, partition int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	left := f.held[:0:0]
	for _, h := range f.held {
		if h.topic != topic || partition >= 0 && h.partition != partition {
			left = append(left, h)
			continue
		}
		f.log = append(f.log, h.record)
		close(h.done)
	}
	f.held = left
}

func (f *fakeKafka) hold(holding bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.holding = holding
}

// A partition that never answers holds the replay up; a key that Kafka was slow
// with, and has, must not keep every event in the spool meanwhile.
func TestAKeyKafkaHasHoldsNothingBack(t *testing.T) {
	t.Parallel()
	r := startDurable(t, t.TempDir(), &fakeKafka{holding: true}, nil)
	r.BeginReplay(nil)
	r.acked(r.event(0, "stuck"))
	if err := r.ProduceSync(t.Context(), schemas.TopicControlKeys, 0, []byte("id"), []byte("key")); err != nil {
		t.Fatal(err)
	}
	r.acked(r.event(1, "behind the key"))
	r.kafka.answerTopic(schemas.TopicControlKeys, -1)
	r.kafka.hold(false)
	waittest.Until(t, 5*time.Second, "nothing precedes", func() bool { return r.preceding.Load() == 0 })
	r.acked(r.event(2, "direct"))
	r.wantLog("key", "direct")
	r.kafka.answer(nil, true)
	r.wantLog("key", "direct", "stuck", "behind the key")
	r.drained()
	for key, l := range *r.lanes.Load() {
		if n := l.spooled.Load(); n != 0 {
			t.Errorf("%d records of %v count as spooled", n, key)
		}
	}
	if n := r.preceding.Load(); n != 0 {
		t.Errorf("%d records precede", n)
	}
}

// A partition that stalled opens again by itself while another one holds the
// replay up.
func TestAStalledPartitionOpensWithoutTheReplay(t *testing.T) {
	t.Parallel()
	r := startDurable(t, t.TempDir(), &fakeKafka{holding: true}, nil)
	r.BeginReplay(nil)
	r.acked(r.event(0, "stuck"))
	waittest.Until(t, 5*time.Second, "it is being replayed", func() bool {
		return r.lane(spool.Lane{Topic: schemas.TopicEventsCollected, Partition: 0}).stalled.Load()
	})
	lane := r.lane(spool.Lane{Topic: schemas.TopicEventsCollected, Partition: 1})
	r.kafka.refuseWith(kafka.ErrBufferFull)
	r.acked(r.event(1, "refused"))
	r.kafka.refuseWith(nil)
	r.kafka.hold(false)
	if !lane.stalled.Load() {
		t.Fatal("the partition is open")
	}
	n := 0
	waittest.Until(t, 10*time.Second, "the partition is open again", func() bool {
		r.acked(r.event(1, fmt.Sprint(n)))
		n++
		return !lane.stalled.Load()
	})
	if n := len(r.kafka.texts(t)); n == 0 {
		t.Error("Kafka got nothing")
	}
	r.kafka.answer(nil, true)
	r.drained()
}

// A disk that takes no writes any more must not keep what it holds from Kafka: it
// is sent with the mark, since nothing on disk will say that it was.
func TestADeadDiskIsReplayed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := startDurable(t, dir, &fakeKafka{refuse: kafka.ErrBufferFull}, nil)
	if err := r.ProduceSync(t.Context(), schemas.TopicControlKeys, 0, []byte("id"), []byte("key")); err != nil {
		t.Fatal(err)
	}
	r.acked(r.event(0, "a"))
	// The progress cannot be written.
	if err := os.Mkdir(filepath.Join(dir, "progress"), 0o700); err != nil {
		t.Fatal(err)
	}
	r.kafka.refuseWith(nil)
	r.BeginReplay(nil)
	r.wantLog("key", "a replayed")
	waittest.Until(t, 5*time.Second, "nothing precedes", func() bool { return r.preceding.Load() == 0 })
	r.acked(r.event(0, "direct"))
	r.wantLog("key", "a replayed", "direct")
}

// hangingLog holds up who reports an error, as a disk that hangs would.
type hangingLog struct {
	slog.Handler
	free chan struct{}
}

func (h hangingLog) Enabled(_ context.Context, level slog.Level) bool {
	if level >= slog.LevelError {
		<-h.free
	}
	return false
}

// A stop ends in its time, though the disk does not answer.
func TestAStopWithAHungDisk(t *testing.T) {
	t.Parallel()
	dir, free := filepath.Join(t.TempDir(), "spool"), make(chan struct{})
	reg := prometheus.NewRegistry()
	buffer, err := spool.Open(spool.Config{Dir: dir}, spool.Deps{Log: slog.New(hangingLog{slog.DiscardHandler, free}), Registry: reg, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	d, err := NewDurable(DurableConfig{DrainTimeout: 500 * time.Millisecond}, DurableDeps{
		Kafka: &fakeKafka{holding: true}, RunKafka: func(ctx context.Context) error { <-ctx.Done(); return nil },
		Spool: buffer, Readiness: &readiness{states: map[string]error{}}, Log: slog.New(slog.DiscardHandler), Registry: reg, Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	ack, err := d.Produce(schemas.TopicEventsCollected, 0, nil, eventNamed("a"))
	if err != nil {
		t.Fatal(err)
	}
	waittest.Until(t, 5*time.Second, "the event is hedged", func() bool { return counted(t, d.metrics.spooled[causeHedged]) == 1 })
	cancel()
	select {
	case err := <-ended:
		if err == nil {
			t.Error("a stop without the disk says nothing")
		}
	case <-time.After(10 * time.Second):
		t.Error("the stop waits for the disk")
	}
	close(free)
	if <-ack.Done(); !errors.Is(ack.Err(), kafka.ErrOutcomeUnknown) {
		t.Errorf("the event's answer: %v", ack.Err())
	}
}
