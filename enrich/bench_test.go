package enrich

import (
	"testing"

	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// BenchmarkSteps is the chain alone, from the bytes of a collected record to
// the bytes of an enriched one.
func BenchmarkSteps(b *testing.B) {
	w := newWorld(b)
	worker, _, view := w.ready(nil)
	w.goRun(worker.keyTable.Run)
	value, err := schemas.Encode(nil, w.event(ingAddr, agent, nil))
	if err != nil {
		b.Fatal(err)
	}
	if err := worker.keyTable.CatchUp(b.Context()); err != nil {
		b.Fatal(err)
	}
	sc := newScratch()
	var encoded []byte
	b.ReportAllocs()
	for b.Loop() {
		out, err := worker.steps.enrich(sc, view, value, &metivav1.SourceRef{Partition: 1, Offset: 2})
		if err != nil || out.record.GetEvent() == nil {
			b.Fatal(out.reason, err)
		}
		if encoded, err = schemas.Encode(encoded[:0], out.record); err != nil {
			b.Fatal(err)
		}
	}
}
