package enrich

import (
	"bytes"
	"testing"

	"github.com/metiva-io/metiva/enrich/company"
	"github.com/metiva-io/metiva/enrich/geo"
	"github.com/metiva-io/metiva/enrich/geo/geotest"
	"github.com/metiva-io/metiva/enrich/source"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// TestSwapUnderLoad: while events go through a worker, its databases and lists are
// replaced again and again. Every event comes out once, decided by one set or the
// other.
func TestSwapUnderLoad(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	sets := []geo.Files{
		geotest.Small(t, "1.0.2026010203", "145.221.0.0,145.221.255.255,15625,ING Bank N.V."),
		geotest.Small(t, "1.0.2026010204", "145.221.0.0,145.221.255.255,1136,KPN B.V."),
	}
	const events, swaps = 1500, 60
	var put [][]byte
	for range events {
		e := w.event(ingAddr, agent, nil)
		put = append(put, e.GetEventId())
		w.put(e)
	}
	worker := w.worker()
	stopped := make(chan struct{})
	swapped := make(chan error, 1)
	go func() {
		defer close(swapped)
		for i := 0; ; i++ {
			select {
			case <-stopped:
				if i >= swaps {
					return
				}
			default:
			}
			chain, err := company.NewChain(company.Config{})
			if err == nil {
				err = w.deps.Databases.Swap(sets[i%2])
			}
			if err != nil {
				swapped <- err
				return
			}
			sources, err := source.NewTables(nil)
			if err != nil {
				swapped <- err
				return
			}
			worker.SetLists(chain, sources)
		}
	}()
	out := w.outputs()
	w.goRun(worker.Run)
	records, letters, _ := out.take(events, 0)
	close(stopped)
	if err := <-swapped; err != nil {
		t.Fatal(err)
	}
	if len(letters) > 0 {
		t.Errorf("%d dead letters", len(letters))
	}
	seen := make(map[[16]byte]int, events)
	for _, r := range records {
		e := r.GetEvent()
		if e == nil {
			t.Fatalf("dropped: %v", r.GetDrop())
		}
		seen[[16]byte(e.GetEventId())]++
		switch res := e.GetResolution(); {
		case res.GetVerdict() == metivav1.Verdict_VERDICT_COMPANY && res.GetAsn() == 15625:
		case res.GetVerdict() == metivav1.Verdict_VERDICT_ISP && res.GetAsn() == 1136:
		default:
			t.Fatalf("decided by no set: %v", res)
		}
	}
	for _, id := range put {
		if seen[[16]byte(id)] != 1 {
			t.Fatalf("an event came %d times", seen[[16]byte(id)])
		}
	}
	if bytes.Contains(w.log.bytes(), []byte("ERROR")) {
		t.Errorf("the log has errors: %s", w.log.bytes())
	}
}
