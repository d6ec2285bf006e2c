package enrich

import (
	"bytes"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/enrich/visit"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// TestNothingOfABatchIsKept: once a batch is dealt with its memory is other records'
// (kafka.ConsumerConfig.ReuseMemory). What is in the journals, in their records and in
// what is sent does not change with it.
func TestNothingOfABatchIsKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	visitor := random(16)
	form := func(e *metivav1.CollectedEvent) {
		analytics(visitor, 1)(e)
		e.OccurredAtMs++ // behind the page view, whatever their ids
		e.Type = metivav1.EventType_EVENT_TYPE_FORM
		e.Detail = &metivav1.CollectedEvent_FormAction{FormAction: &metivav1.FormAction{Kind: metivav1.FormActionKind_FORM_ACTION_KIND_START, FormId: "offerte"}}
	}
	events := []*metivav1.CollectedEvent{
		w.event(ingAddr, agent, nil), w.event(kpnAddr, agent, analytics(visitor, 1)), w.event(kpnAddr, agent, form), w.event(ingAddr, botAgent, nil),
	}
	worker, p, _ := w.ready(nil)
	w.goRun(worker.keyTable.Run)
	if err := worker.keyTable.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	var batchesVisits [2][]*metivav1.Visit
	var states [2][][]byte
	for i := range 2 {
		p.visits = &visits{w: worker, set: visit.NewSet(visit.Limits{}, worker.visitRules.of)}
		batch := w.batch(events...)
		if err := p.process(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
		if i == 1 { // the same batch, whose memory is then another's
			for k := range batch.Records {
				copy(batch.Records[k].Key, bytes.Repeat([]byte{0xff}, len(batch.Records[k].Key)))
				copy(batch.Records[k].Value, bytes.Repeat([]byte{0xff}, len(batch.Records[k].Value)))
			}
		}
		take := func(v *metivav1.Visit) { batchesVisits[i] = append(batchesVisits[i], proto.CloneOf(v)) }
		for p.visits.set.TakeVisits(10, take) {
			continue
		}
		c, err := p.visits.set.BeginCheckpoint(1, w.deps.Now())
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range p.visits.set.NextStates(c, 10, take) {
			states[i] = append(states[i], s.Value)
		}
	}
	if len(batchesVisits[0]) != 2 || len(states[0]) != 2 || len(states[1]) != 2 {
		t.Fatalf("%d visits, %d and %d journals", len(batchesVisits[0]), len(states[0]), len(states[1]))
	}
	for i := range batchesVisits[0] {
		if !proto.Equal(batchesVisits[0][i], batchesVisits[1][i]) {
			t.Errorf("visit %d is another now", i)
		}
		if !bytes.Equal(states[0][i], states[1][i]) {
			t.Errorf("the journal of visit %d is another now", i)
		}
	}
	if i := bytes.Index(p.scratch.agent[:cap(p.scratch.agent)], []byte("Mozilla")); i >= 0 {
		t.Error("an agent is left in memory")
	}
}
