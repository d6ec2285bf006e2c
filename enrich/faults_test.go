package enrich

import (
	"testing"
	"time"

	"github.com/metiva-io/metiva/enrich/geo"
	"github.com/metiva-io/metiva/enrich/geo/geotest"
	"github.com/metiva-io/metiva/pkg/embedded/kafka/kafkatest"
	"github.com/metiva-io/metiva/pkg/waittest"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// passed checks that every event came out as an event, and that what came twice came
// under one source: a repetition the sink tells.
func passed(t *testing.T, put [][]byte, records []*metivav1.EnrichedRecord) {
	t.Helper()
	type source struct {
		partition int32
		offset    int64
	}
	sources := make(map[[16]byte]source, len(put))
	for _, r := range records {
		e := r.GetEvent()
		if e == nil {
			t.Fatalf("dropped: %v", r.GetDrop())
		}
		id, from := [16]byte(e.GetEventId()), source{e.GetSource().GetPartition(), e.GetSource().GetOffset()}
		if before, again := sources[id]; again && before != from {
			t.Fatalf("an event has the sources %v and %v", before, from)
		}
		sources[id] = from
	}
	for _, id := range put {
		if _, ok := sources[[16]byte(id)]; !ok {
			t.Fatal("an event is lost")
		}
	}
}

// putAll sends events of several tenants, and so of several partitions.
func (w *world) putAll(n int) (ids [][]byte) {
	for i := range n {
		e := w.event(ingAddr, agent, func(e *metivav1.CollectedEvent) { e.CompanyId += string(rune('a' + i%8)) })
		ids = append(ids, e.GetEventId())
		w.put(e)
	}
	return ids
}

// TestStalledKafkaHoldsABatch: while the broker stands still a batch does not end, and
// afterwards it does, with every record acknowledged once.
func TestStalledKafkaHoldsABatch(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker, p, _ := w.ready(nil)
	w.goRun(worker.keyTable.Run)
	var events []*metivav1.CollectedEvent
	var put [][]byte
	for range 100 {
		events = append(events, w.event(ingAddr, agent, nil))
		put = append(put, events[len(events)-1].GetEventId())
	}
	if err := worker.keyTable.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	resume := w.broker.Stall()
	processed := make(chan error, 1)
	go func() { processed <- p.process(t.Context(), w.batch(events...)) }()
	waittest.Until(t, waitMax, "the stall shows", func() bool { return worker.sender.Stalled() > 200*time.Millisecond })
	select {
	case err := <-processed:
		t.Fatalf("the batch ended while nothing was acknowledged: %v", err)
	default:
	}
	resume()
	if err := <-processed; err != nil {
		t.Fatal(err)
	}
	records, _, _ := w.outputs().take(len(put), 0)
	passed(t, put, records)
}

// TestFaultyKafkaLosesNothing: the broker refuses, cuts connections and moves leaders
// while a worker works.
func TestFaultyKafkaLosesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	out := w.outputs()
	put := w.putAll(200)
	w.goRun(w.worker().Run)
	records, _, _ := out.take(50, 0)
	for _, fault := range []func(){
		func() { w.broker.FailNext(kafkatest.Produce, kafkatest.NotLeader, 3) },
		func() { w.broker.FailNext(kafkatest.Produce, kafkatest.RequestTimedOut, 2) },
		func() { w.broker.CutAll() },
		func() { w.broker.MoveLeader(schemas.TopicEventsEnriched, 0) },
	} {
		fault()
		put = append(put, w.putAll(50)...)
	}
	// The reader of the test starts again too, and sees some twice.
	missing := make(map[string]bool, len(put))
	for _, id := range put {
		missing[string(id)] = true
	}
	for _, r := range records {
		delete(missing, string(r.GetEvent().GetEventId()))
	}
	for len(missing) > 0 {
		more, letters, _ := out.take(1, 0)
		if len(letters) > 0 {
			t.Fatal("a dead letter")
		}
		records = append(records, more...)
		delete(missing, string(more[0].GetEvent().GetEventId()))
	}
	passed(t, put, records)
}

// TestSlowCheckOfDatabases: while new databases are checked, events are decided by the
// old ones.
func TestSlowCheckOfDatabases(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	out := w.outputs()
	next := geotest.Small(t, "1.0.2026020203", "145.221.0.0,145.221.255.255,1136,KPN B.V.")
	release, swapped := make(chan struct{}), make(chan error, 1)
	checking := make(chan struct{})
	go func() {
		swapped <- w.deps.Databases.SwapChecked(next, func(geo.View) error {
			close(checking)
			<-release
			return nil
		})
	}()
	<-checking
	w.goRun(w.worker().Run)
	put := w.putAll(40)
	records, _, _ := out.take(40, 0)
	passed(t, put, records)
	for _, r := range records {
		if r.GetEvent().GetResolution().GetAsn() != 15625 {
			t.Fatalf("decided by a database that is not checked: %v", r.GetEvent().GetResolution())
		}
	}
	close(release)
	if err := <-swapped; err != nil {
		t.Fatal(err)
	}
	put = w.putAll(1)
	if records, _, _ = out.take(1, 0); records[0].GetEvent().GetResolution().GetAsn() != 1136 {
		t.Errorf("decided by the old database: %v", records[0].GetEvent().GetResolution())
	}
	passed(t, put, records)
}
