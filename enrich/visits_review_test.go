package enrich

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/enrich/visit"
	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/pkg/waittest"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// gated refuses visits.enriched while it is shut, and notes in which order removals and
// tombstones come.
type gated struct {
	producer
	mu      sync.Mutex
	shut    bool
	refused int
	order   []string
}

var errShut = errors.New("shut")

func (g *gated) Produce(topic string, partition int, key, value []byte, headers ...kafka.Header) (*kafka.Ack, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch topic {
	case schemas.TopicVisitsEnriched:
		if g.shut {
			g.refused++
			return nil, errShut
		}
		var v metivav1.Visit
		if proto.Unmarshal(value, &v) == nil && v.GetRemoved() {
			g.order = append(g.order, "removal")
		}
	case schemas.TopicVisitsState:
		if len(value) == 0 {
			g.order = append(g.order, "tombstone")
		}
	}
	return g.producer.Produce(topic, partition, key, value, headers...)
}

// set opens or shuts the gate.
func (g *gated) set(shut bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut, g.refused = shut, 0
}

func (g *gated) refusals() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.refused
}

func (g *gated) seen() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]string(nil), g.order...)
}

// TestRemovalsComeBeforeTombstones: a journal must not go from visits.state before the
// removals of its visits are acknowledged, also when visits could not be sent for a while.
func TestRemovalsComeBeforeTombstones(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	visitor := random(16)
	worker, _ := w.visitWorker(0)
	g := &gated{producer: worker.sender}
	worker.producer = g
	stop := w.start(worker)
	w.put(w.event(ingAddr, agent, analytics(visitor, 2)))
	waittest.Until(t, waitMax, "the journal", func() bool { return w.journals() == 1 })
	g.set(true)
	w.put(w.event(ingAddr, agent, analytics(visitor, 2)))
	waittest.Until(t, waitMax, "a visit that is not sent", func() bool { return g.refusals() > 0 })
	w.withdraw(visitor, 9)
	changes := worker.revocations.changes.Load
	waittest.Until(t, waitMax, "the withdrawal", func() bool { return changes() > 0 })
	g.set(true)
	waittest.Until(t, waitMax, "tries since", func() bool { return g.refusals() > 2 })
	g.set(false)
	waittest.Until(t, waitMax, "the journal to go", func() bool { return w.journals() == 0 })
	stop()
	if order := g.seen(); len(order) == 0 || order[0] != "removal" {
		t.Errorf("the order is %v", order)
	}
	if n := len(w.liveVisits()); n != 0 {
		t.Errorf("%d visits are left", n)
	}
}

// TestAWithdrawalOvertakesAnEvent: the steps let an event pass, the visitor withdraws and
// the journals are looked through, and then the event comes to the visits.
func TestAWithdrawalOvertakesAnEvent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker, _ := w.visitWorker(0)
	v := &visits{w: worker, set: visit.NewSet(visit.Limits{}, worker.visitRules.of)}
	visitor := random(16)
	e := &metivav1.EnrichedEvent{
		EventId: random(16), CompanyId: tenant, SiteId: "sit_a", VisitKey: random(16), VisitorId: visitor, ConsentSeq: 2,
		Bot: metivav1.BotClass_BOT_CLASS_NONE, Type: metivav1.EventType_EVENT_TYPE_PAGE_VIEW, OccurredAtMs: 1, ReceivedAtMs: 1, EnrichedAtMs: 1,
	}
	value, err := proto.Marshal(&metivav1.Withdrawal{CompanyId: tenant, SubjectId: visitor, Sequence: 3})
	if err != nil {
		t.Fatal(err)
	}
	if err := worker.revocations.ApplyWithdrawal([]byte("key"), value); err != nil {
		t.Fatal(err)
	}
	v.revoke()
	v.apply(&outcome{record: schemas.EnrichedOf(e)}, 5)
	if n, _ := v.set.Size(); n != 0 || v.set.Next() != 6 {
		t.Errorf("%d journals up to %d", n, v.set.Next())
	}
	e.ConsentSeq = 4 // a consent after it
	v.apply(&outcome{record: schemas.EnrichedOf(e)}, 6)
	if n, _ := v.set.Size(); n != 1 {
		t.Errorf("%d journals after another consent", n)
	}
}

// lost is a claim that gives one batch and then turns out to have another owner.
type lost struct {
	batch kafka.Batch
	err   error
}

func (l *lost) Partition() int                                                   { return 0 }
func (l *lost) Position() int64                                                  { return 0 }
func (l *lost) NextBatch(context.Context, kafka.BatchLimit) (kafka.Batch, error) { return l.batch, nil }
func (l *lost) Plan(context.Context, kafka.Batch) error                          { return nil }
func (l *lost) Commit(context.Context, kafka.Batch) error                        { return l.err }
func (l *lost) Epoch(context.Context, uint64) (uint64, error)                    { return 1, nil }

// TestAFencedOwnerWritesNoState: its successor has read visits.state, and nobody would
// count what comes after.
func TestAFencedOwnerWritesNoState(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		err      error
		journals int
	}{
		"fenced":        {fmt.Errorf("committing: %w", kafka.ErrFenced), 0},
		"another fault": {errShut, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			worker, _, _ := w.ready(nil)
			worker.visitPartitions = schemas.TenantBuckets
			w.goRun(worker.keyTable.Run)
			e := w.event(ingAddr, agent, nil)
			if err := worker.keyTable.CatchUp(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := worker.serve(t.Context(), &lost{batch: w.batch(e), err: tc.err}); !errors.Is(err, tc.err) {
				t.Fatal(err)
			}
			if n := w.journals(); n != tc.journals {
				t.Errorf("%d journals are written, want %d", n, tc.journals)
			}
		})
	}
}
