package sink

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/eventwire"
	store "github.com/metiva-io/metiva/sink/clickhouse"
)

// TestSortMemoryForgets: a batch in memory that others have used, tenants, ids, sources
// and acceptances of which it shares, is sorted as in memory of its own. Batches of many
// sizes follow each other, and some are tried twice, as after a failure.
func TestSortMemoryForgets(t *testing.T) {
	t.Parallel()
	w := testWorker(t, nil)
	rng := rand.New(rand.NewPCG(8, 6))
	kept, written := new(sortMemory), map[string]int{}
	for batch := range 60 {
		records := make([]kafka.Record, 1+rng.IntN(40))
		if batch%20 == 3 {
			records = make([]kafka.Record, 3000) // the next has too much room
		}
		items := make([]item, len(records))
		for i := range records {
			company := fmt.Sprintf("cmp_%c", 'a'+rng.IntN(3))
			e := testEvent(company, rng.IntN(30))
			e.EventId = fmt.Appendf(nil, "event %010d", rng.IntN(30))
			e.AcceptanceId = fmt.Appendf(nil, "accept%010d", rng.IntN(30))
			e.Replayed = rng.IntN(3) == 0
			records[i] = testRecord(t, int64(i), encode(t, schemas.EnrichedOf(e)))
			items[i] = readItem(&records[i], new(eventwire.Enriched))
			if rng.IntN(20) == 0 {
				items[i] = invalid(&records[i], nil)
			}
		}
		want := outcome(w.sort(slices.Clone(items), store.Stored{}, []uint64{1}, testNow, new(sortMemory)))
		for range 1 + rng.IntN(2) {
			left := w.sort(slices.Clone(items), store.Stored{}, []uint64{1}, testNow, kept)
			for _, r := range left.events {
				written[r.Event.GetCompanyId()]++
			}
			if got := outcome(left); got != want {
				t.Fatalf("batch %d: %s, in memory of its own %s", batch, got, want)
			}
			kept.end()
		}
	}
	if len(written) != 3 {
		t.Errorf("events of %d tenants were written", len(written))
	}
	if n := len(kept.companies) + len(kept.seen) + len(kept.inBatch) + len(kept.copies) + len(kept.events); n != 0 {
		t.Errorf("%d entries stay when nothing is sorted", n)
	}
}

// outcome tells what became of the records of a batch.
func outcome(r rows) string {
	var events, drops []string
	for _, e := range r.events {
		events = append(events, fmt.Sprintf("%d %s %v", e.Position, e.Event.GetCompanyId(), e.Replaces))
	}
	for _, d := range r.drops {
		drops = append(drops, fmt.Sprintf("%d %s %s", d.Position, d.Key.CompanyID, schemas.Label(d.Reason)))
	}
	return fmt.Sprintf("events %q, drops %q, %d dead, %d repeated", events, drops, len(r.dead), r.repeated)
}
