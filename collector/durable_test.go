package collector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/collector/spool"
	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/pkg/waittest"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// fakeKafka is a Kafka whose answers a test decides.
type fakeKafka struct {
	mu      sync.Mutex
	holding bool
	refuse  error // of Produce
	held    []*heldRecord
	log     []record
}

type heldRecord struct {
	record
	done chan struct{}
	err  error
}

func (h *heldRecord) Done() <-chan struct{} { return h.done }
func (h *heldRecord) Err() error            { return h.err }

func (f *fakeKafka) Produce(topic string, partition int, key, value []byte) (Ack, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refuse != nil {
		return nil, f.refuse
	}
	h := &heldRecord{record: record{topic, partition, append([]byte(nil), key...), append([]byte(nil), value...)}, done: make(chan struct{})}
	if f.holding {
		f.held = append(f.held, h)
	} else {
		f.log = append(f.log, h.record)
		close(h.done)
	}
	return h, nil
}

func (f *fakeKafka) ProduceSync(context.Context, string, int, []byte, []byte) error {
	return errors.New("not used")
}

// answer gives every held record its answer; nil appends it. Later ones are
// answered at once when open is true.
func (f *fakeKafka) answer(err error, open bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, h := range f.held {
		if h.err = err; err == nil {
			f.log = append(f.log, h.record)
		}
		close(h.done)
	}
	f.held, f.holding = nil, !open
}

func (f *fakeKafka) refuseWith(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refuse = err
}

func (f *fakeKafka) holds() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.held)
}

// texts are the records in the log: values, those of events with their mark.
func (f *fakeKafka) texts(t testing.TB) []string {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []string
	for _, r := range f.log {
		out = append(out, recordText(t, r))
	}
	return out
}

func recordText(t testing.TB, r record) string {
	t.Helper()
	if r.topic != schemas.TopicEventsCollected {
		return string(r.value)
	}
	var e metivav1.CollectedEvent
	if err := proto.Unmarshal(r.value, &e); err != nil {
		t.Fatal(err)
	}
	if e.GetReplayed() {
		return e.GetPath() + " replayed"
	}
	return e.GetPath()
}

// counted is the value of a counter.
func counted(t testing.TB, c prometheus.Counter) float64 {
	t.Helper()
	reg := prometheus.NewRegistry()
	reg.MustRegister(c)
	families, err := reg.Gather()
	if err != nil || len(families) != 1 {
		t.Fatal(err, len(families))
	}
	return families[0].GetMetric()[0].GetCounter().GetValue()
}

func eventNamed(name string) []byte {
	value, err := proto.Marshal(&metivav1.CollectedEvent{Path: name})
	if err != nil {
		panic(err)
	}
	return value
}

// durableRig is a Durable over a fake Kafka and a real spool.
type durableRig struct {
	*Durable
	t     testing.TB
	kafka *fakeKafka
	dir   string
	ready *readiness
	stop  func() error
}

func startDurable(t testing.TB, dir string, fake *fakeKafka, change func(*DurableConfig, *spool.Config)) *durableRig {
	t.Helper()
	r := &durableRig{t: t, kafka: fake, dir: dir, ready: &readiness{states: map[string]error{}}}
	cfg, spoolCfg := DurableConfig{DrainTimeout: 3 * time.Second}, spool.Config{Dir: dir}
	if change != nil {
		change(&cfg, &spoolCfg)
	}
	reg := prometheus.NewRegistry()
	log := slog.New(slog.DiscardHandler)
	buffer, err := spool.Open(spoolCfg, spool.Deps{Log: log, Registry: reg, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	r.Durable, err = NewDurable(cfg, DurableDeps{
		Kafka: fake, RunKafka: func(ctx context.Context) error { <-ctx.Done(); return nil },
		Spool: buffer, Readiness: r.ready, Log: log, Registry: reg, Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	r.stop = sync.OnceValue(func() error { cancel(); return <-ended })
	t.Cleanup(func() { _ = r.stop() })
	return r
}

func (r *durableRig) event(partition int, name string) Ack {
	r.t.Helper()
	ack, err := r.Produce(schemas.TopicEventsCollected, partition, []byte("k"), eventNamed(name))
	if err != nil {
		r.t.Fatal(err)
	}
	return ack
}

func (r *durableRig) acked(ack Ack) {
	r.t.Helper()
	select {
	case <-ack.Done():
	case <-time.After(10 * time.Second):
		r.t.Fatal("no acknowledgement")
	}
	if err := ack.Err(); err != nil {
		r.t.Fatal(err)
	}
}

func (r *durableRig) wantLog(want ...string) {
	r.t.Helper()
	waittest.Until(r.t, 10*time.Second, fmt.Sprintf("the log holds %v", want), func() bool { return len(r.kafka.texts(r.t)) >= len(want) })
	got := r.kafka.texts(r.t)
	if fmt.Sprint(got) != fmt.Sprint(want) {
		r.t.Errorf("the log holds %v, want %v", got, want)
	}
}

func (r *durableRig) drained() {
	r.t.Helper()
	waittest.Until(r.t, 10*time.Second, "the spool is empty", func() bool { return r.deps.Spool.Stats().Bytes == 0 && r.deps.Spool.Stats().Records == 0 })
}

func TestAnAnswerOfKafkaNeedsNoSpool(t *testing.T) {
	t.Parallel()
	r := startDurable(t, t.TempDir(), &fakeKafka{}, nil)
	r.BeginReplay(nil)
	for i := range 50 {
		r.acked(r.event(i%4, "a"))
	}
	if n := len(r.kafka.texts(t)); n != 50 || r.deps.Spool.Stats().Bytes != 0 {
		t.Errorf("%d records, %+v", n, r.deps.Spool.Stats())
	}
}

func TestALateAnswerIsNotSentAgain(t *testing.T) {
	t.Parallel()
	r := startDurable(t, t.TempDir(), &fakeKafka{holding: true}, nil)
	r.BeginReplay(nil)
	began := time.Now()
	r.acked(r.event(0, "a"))
	if took := time.Since(began); took < 40*time.Millisecond || took > 2*time.Second {
		t.Errorf("acknowledged after %v", took)
	}
	if st := r.deps.Spool.Stats(); st.Records != 1 {
		t.Errorf("%+v", st)
	}
	r.kafka.answer(nil, true)
	r.drained()
	r.acked(r.event(0, "b"))
	r.wantLog("a", "b")
	if n := counted(t, r.metrics.late); n != 1 {
		t.Errorf("%v late answers", n)
	}
}

func TestWhatKafkaLosesIsSentAgain(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err  error
		want []string
	}{
		"never sent":  {kafka.ErrDeliveryTimeout, []string{"a", "b"}},
		"maybe there": {fmt.Errorf("%w: %w", kafka.ErrOutcomeUnknown, kafka.ErrDeliveryTimeout), []string{"a replayed", "b replayed"}},
	} {
		for _, hedged := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, hedged %v", name, hedged), func(t *testing.T) {
				t.Parallel()
				r := startDurable(t, t.TempDir(), &fakeKafka{holding: true}, func(c *DurableConfig, _ *spool.Config) {
					if !hedged {
						c.HedgeAfter = time.Hour
					}
				})
				r.BeginReplay(nil)
				first, second := r.event(0, "a"), r.event(0, "b")
				if hedged {
					r.acked(first)
					r.acked(second)
				}
				r.kafka.answer(c.err, true)
				r.acked(first)
				r.acked(second)
				r.wantLog(c.want...)
				r.drained()
			})
		}
	}
}

func TestARefusedRecordIsNotKept(t *testing.T) {
	t.Parallel()
	r := startDurable(t, t.TempDir(), &fakeKafka{holding: true}, func(c *DurableConfig, _ *spool.Config) { c.HedgeAfter = time.Hour })
	ack := r.event(0, "a")
	r.kafka.answer(errTest, true)
	<-ack.Done()
	if !errors.Is(ack.Err(), errTest) || r.deps.Spool.Stats().Bytes != 0 {
		t.Errorf("%v, %+v", ack.Err(), r.deps.Spool.Stats())
	}
}

func TestAStalledPartitionIsNotAskedAgain(t *testing.T) {
	t.Parallel()
	r := startDurable(t, t.TempDir(), &fakeKafka{holding: true}, nil)
	r.acked(r.event(0, "0"))
	lane := r.lane(spool.Lane{Topic: schemas.TopicEventsCollected, Partition: 0})
	waittest.Until(t, 10*time.Second, "the partition counts as stalled", lane.stalled.Load)
	held := r.kafka.holds()
	for i := 1; i <= 100; i++ {
		began := time.Now()
		r.acked(r.event(0, fmt.Sprint(i)))
		if took := time.Since(began); took > 35*time.Millisecond {
			t.Logf("record %d took %v", i, took)
		}
	}
	if n := r.kafka.holds(); n != held {
		t.Errorf("Kafka was given %d more records", n-held)
	}
	r.kafka.answer(nil, true)
	var want []string
	for i := range 101 {
		want = append(want, fmt.Sprint(i))
	}
	r.BeginReplay(nil)
	r.wantLog(want...)
	r.drained()
	waittest.Until(t, 10*time.Second, "the partition is open again", func() bool { return !lane.stalled.Load() })
}

func TestAFullKafkaBufferGoesToTheSpool(t *testing.T) {
	t.Parallel()
	r := startDurable(t, t.TempDir(), &fakeKafka{refuse: kafka.ErrBufferFull}, nil)
	r.acked(r.event(0, "a"))
	r.kafka.refuseWith(nil)
	r.BeginReplay(nil)
	r.wantLog("a")
	r.kafka.refuseWith(errTest)
	if _, err := r.Produce(schemas.TopicEventsCollected, 1, nil, eventNamed("b")); !errors.Is(err, errTest) {
		t.Errorf("a record Kafka does not want: %v", err)
	}
}

// A key comes before the events sealed with it, whatever Kafka does.
func TestAKeyInTheSpoolComesFirst(t *testing.T) {
	t.Parallel()
	r := startDurable(t, t.TempDir(), &fakeKafka{holding: true}, nil)
	if err := r.ProduceSync(t.Context(), schemas.TopicControlKeys, 0, []byte("id"), []byte("key")); err != nil {
		t.Fatal(err)
	}
	// Kafka takes events at once now, and must get none.
	r.kafka.mu.Lock()
	r.kafka.holding = false
	r.kafka.mu.Unlock()
	for i := range 5 {
		r.acked(r.event(i, fmt.Sprint(i)))
	}
	if got := r.kafka.texts(t); len(got) != 0 {
		t.Fatalf("events before their key: %v", got)
	}
	r.BeginReplay(nil)
	if got := r.kafka.texts(t); len(got) != 0 {
		t.Fatalf("events before their key: %v", got)
	}
	r.kafka.answer(kafka.ErrDeliveryTimeout, true)
	r.wantLog("key", "0", "1", "2", "3", "4")
	r.drained()
	waittest.Until(t, 10*time.Second, "nothing precedes", func() bool { return r.preceding.Load() == 0 })
	r.acked(r.event(0, "direct"))
	if n := counted(t, r.metrics.spooled[causeOrder]); n != 5 {
		t.Errorf("%v records kept their order", n)
	}
}

func TestASupersededRecordIsLeftOut(t *testing.T) {
	t.Parallel()
	r := startDurable(t, t.TempDir(), &fakeKafka{refuse: kafka.ErrBufferFull}, nil)
	for _, v := range []string{"old", "new"} {
		if err := r.ProduceSync(t.Context(), schemas.TopicControlWithdrawals, 0, []byte("s"), []byte(v)); err != nil {
			t.Fatal(err)
		}
	}
	r.kafka.refuseWith(nil)
	r.BeginReplay(func(topic string, key, value []byte) bool {
		return topic == schemas.TopicControlWithdrawals && string(key) == "s" && string(value) == "old"
	})
	r.wantLog("new")
	r.drained()
}

func TestAFullSpoolRefuses(t *testing.T) {
	t.Parallel()
	r := startDurable(t, t.TempDir(), &fakeKafka{refuse: kafka.ErrBufferFull}, func(_ *DurableConfig, s *spool.Config) {
		s.SegmentBytes, s.BytesMax = 1024, 4096
	})
	n := 0
	for ; n < 1000; n++ {
		ack, err := r.Produce(schemas.TopicEventsCollected, 0, nil, eventNamed("x"))
		if errors.Is(err, spool.ErrFull) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		r.acked(ack)
	}
	if n < 10 || n > 100 {
		t.Errorf("%d records fit", n)
	}
	waittest.Until(t, 10*time.Second, "readiness tells", func() bool { return errors.Is(r.ready.get(ReadySpool), spool.ErrNearlyFull) })
	ping := r.Ping(func(context.Context) error { return errTest })
	if err := ping(t.Context()); !errors.Is(err, errTest) {
		t.Errorf("without Kafka and room: %v", err)
	}
	r.kafka.refuseWith(nil)
	r.BeginReplay(nil)
	r.drained()
	r.acked(r.event(0, "again"))
	if err := ping(t.Context()); err != nil {
		t.Errorf("without Kafka, with room: %v", err)
	}
}

// A stop puts what Kafka has not acknowledged on the disk; a start sends it.
func TestStopAndStart(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "spool")
	r := startDurable(t, dir, &fakeKafka{holding: true}, nil)
	key := make(chan error, 1)
	go func() {
		key <- r.ProduceSync(context.Background(), schemas.TopicControlKeys, 0, []byte("id"), []byte("key"))
	}()
	if err := <-key; err != nil {
		t.Fatal(err)
	}
	late := r.event(1, "a")
	began := time.Now()
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 2500*time.Millisecond {
		t.Errorf("the stop took %v", took)
	}
	r.acked(late)
	again := startDurable(t, dir, &fakeKafka{}, nil)
	if n := again.preceding.Load(); n != 1 {
		t.Errorf("%d records precede", n)
	}
	again.acked(again.event(2, "b")) // behind the key
	again.BeginReplay(nil)
	again.wantLog("key", "a", "b")
	again.drained()
}

func TestAWrongConfigurationIsNamed(t *testing.T) {
	t.Parallel()
	if err := (DurableConfig{HedgeAfter: time.Microsecond, SpoolAfter: time.Nanosecond, DrainTimeout: -1}).Validate(); err == nil {
		t.Error("accepted")
	}
	if _, err := NewDurable(DurableConfig{}, DurableDeps{}); err == nil {
		t.Error("accepted without anything")
	}
}
