package visit_test

import (
	"encoding/binary"
	"testing"

	"github.com/metiva-io/metiva/enrich/visit"
	"github.com/metiva-io/metiva/schemas/eventwire"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// visitEventsEach is how many events the visits of the budgets below have.
const visitEventsEach = 6

// TestAllocationBudgets holds what an event, a visit that is sent and a journal that is
// written may allocate: an event but for its journal's memory, which grows, nothing.
func TestAllocationBudgets(t *testing.T) {
	const visits = 500
	s := newSet(rules(t, nil), visit.Limits{BytesMax: 1 << 30})
	var events []*metivav1.EnrichedEvent
	for i := range visits * visitEventsEach {
		key := make([]byte, 16)
		binary.BigEndian.PutUint32(key, uint32(i/visitEventsEach))
		events = append(events, page(i, float64(i%visitEventsEach), func(e *metivav1.EnrichedEvent) { e.VisitKey = key }))
	}
	perVisit := func(what string, most float64, do func()) {
		t.Helper()
		if n := testing.AllocsPerRun(1, do) / visits; n > most {
			t.Errorf("%s: %.2f allocations a visit, at most %.1f", what, n, most)
		} else {
			t.Logf("%s: %.2f", what, n)
		}
	}
	offset, day := int64(0), 0
	apply := func() { // AllocsPerRun runs it once before: each time for visits of a day of their own
		for _, e := range events {
			binary.BigEndian.PutUint32(e.GetEventId()[:4], uint32(day))
			binary.BigEndian.PutUint32(e.GetVisitKey()[8:], uint32(day))
			s.Apply(e, offset)
			offset++
		}
		day++
	}
	perVisit("six events", 7, apply)
	buffer := make([]byte, 0, 4096)
	send := func() { // as many visits each time
		s.TakeVisits(visits, func(v *metivav1.Visit) {
			if _, err := eventwire.AppendVisit(buffer, v); err != nil {
				t.Fatal(err)
			}
		})
	}
	perVisit("sending", 1.1, send)
	c, err := s.BeginCheckpoint(1, fixedTime)
	if err != nil {
		t.Fatal(err)
	}
	perVisit("writing", 1.2, func() { s.NextStates(c, visits, func(*metivav1.Visit) {}) })
}
