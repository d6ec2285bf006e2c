package enrich

import (
	"testing"

	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// chain is the steps with what they need, from the bytes of a collected record to
// the bytes of an enriched one.
func chain(tb testing.TB, w *world, e *metivav1.CollectedEvent) func() {
	tb.Helper()
	worker, p, view := w.ready(nil)
	w.goRun(worker.keyTable.Run)
	value, err := schemas.Encode(nil, e)
	if err != nil {
		tb.Fatal(err)
	}
	if err := worker.keyTable.CatchUp(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	record := &kafka.Record{Topic: schemas.TopicEventsCollected, Partition: 1, Offset: 2, Value: value}
	return func() {
		source := p.scratch.sourceOf(record.Partition, record.Offset)
		out, err := p.guarded(view, record, source)
		if err != nil || out.record.GetEvent() == nil {
			tb.Fatal(out.reason, err)
		}
		if _, err = p.encode(out, source); err != nil {
			tb.Fatal(err)
		}
		p.count(&out)
	}
}

// BenchmarkSteps is the chain alone.
func BenchmarkSteps(b *testing.B) {
	w := newWorld(b)
	run := chain(b, w, w.event(ingAddr, agent, nil))
	b.ReportAllocs()
	for b.Loop() {
		run()
	}
}

// allocsMax is what an event may allocate: its strings, the opened address, and
// what a later step needs.
const allocsMax = 4

// TestChainAllocations holds the target of allocations an event, for what visitors
// without and with consent send most.
func TestChainAllocations(t *testing.T) {
	w := newWorld(t)
	for name, e := range map[string]*metivav1.CollectedEvent{
		"page view":                w.event(ingAddr, agent, nil),
		"of a visitor who agreed":  w.event(six, agent, analytics(random(16), 1)),
		"of a provider's customer": w.event(kpnAddr, agent, nil),
		"bot":                      w.event(ingAddr, botAgent, nil),
		"engagement": w.event(ingAddr, agent, func(e *metivav1.CollectedEvent) {
			analytics(random(16), 1)(e)
			e.Type = metivav1.EventType_EVENT_TYPE_ENGAGEMENT
			e.Detail = &metivav1.CollectedEvent_Engagement{Engagement: &metivav1.Engagement{VisibleMs: 900, ScrollPercent: 40}}
		}),
	} {
		w.deps.Registerer = newRegistry()
		run := chain(t, w, e)
		if n := testing.AllocsPerRun(200, run); n > allocsMax {
			t.Errorf("%s: %.0f allocations", name, n)
		} else {
			t.Logf("%s: %.0f", name, n)
		}
	}
}
