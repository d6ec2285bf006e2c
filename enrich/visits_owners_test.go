package enrich

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/pkg/waittest"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// sleeper is a claim that gives one batch and then waits; nobody tells its owner that
// the partition has another one.
type sleeper struct {
	lost
	number int
	given  atomic.Bool
	idle   chan struct{}
}

func (s *sleeper) Partition() int { return s.number }

func (s *sleeper) NextBatch(ctx context.Context, _ kafka.BatchLimit) (kafka.Batch, error) {
	if !s.given.Swap(true) {
		return s.batch, nil
	}
	close(s.idle)
	<-ctx.Done()
	return kafka.Batch{}, ctx.Err()
}

// TestALateOwnerLeavesTheSameVisits: an owner sleeps with a journal in its memory that it
// has not written, loses its partition without noticing, and writes journal and checkpoint
// after its successor has. Whoever comes next goes on from the successor's, also when the
// log has been compacted in between; the visits are those of one owner.
func TestALateOwnerLeavesTheSameVisits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.event(ingAddr, agent, nil)
	after := func(minutes int64) *metivav1.CollectedEvent {
		return w.event(ingAddr, agent, func(e *metivav1.CollectedEvent) {
			e.VisitKey, e.OccurredAtMs = first.GetVisitKey(), first.GetOccurredAtMs()+minutes
		})
	}
	w.put(first)
	old, _, _ := w.ready(nil) // sends every five seconds: not before it is woken
	old.visitPartitions = schemas.TenantBuckets
	w.goRun(old.keyTable.Run)
	if err := old.keyTable.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	claim := &sleeper{
		lost: lost{batch: w.batch(first)}, number: schemas.EventPartition(tenant, first.GetVisitKey(), schemas.TenantBuckets),
		idle: make(chan struct{}),
	}
	for i := range claim.batch.Records {
		claim.batch.Records[i].Partition = claim.number
	}
	asleep, wake := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- old.serve(asleep, claim) }()
	<-claim.idle

	second, _ := w.visitWorker(0)
	stop := w.start(second)
	w.put(after(1))
	waittest.Until(t, waitMax, "two events in the visit", func() bool { return events(w.liveVisits()) == 2 })
	stop()
	wake()
	if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if n := w.journals(); n != 2 {
		t.Fatalf("%d journals on visits.state: the former owner has not written its own", n)
	}
	third, _ := w.visitWorker(0)
	stop = w.start(third)
	w.put(after(2))
	waittest.Until(t, waitMax, "three events in the visit", func() bool { return events(w.liveVisits()) == 3 })
	waittest.Until(t, waitMax, "the former owners' journals to go", func() bool { return w.journals() == 1 })
	stop()
	sameVisits(t, w.liveVisits(), inOneGo(t, w.enrichedEvents()))
}
