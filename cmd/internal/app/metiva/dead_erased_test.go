package metiva

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/pkg/tombstone"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// TestDeadLettersOfTheErased are not replayed: neither those of an erased visitor, nor
// of a captured person without a visitor id, nor of an erased tenant.
func TestDeadLettersOfTheErased(t *testing.T) {
	t.Parallel()
	g := newGraveyard(t)
	gone, other := []byte("0123456789abcdef"), []byte("fedcba9876543210")
	encoded := func(m proto.Message) []byte {
		t.Helper()
		value, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
	for _, e := range []*metivav1.Erasure{{CompanyId: "cmp_a", SubjectId: gone, ErasedAtMs: 1}, {CompanyId: "cmp_gone", ErasedAtMs: 1}} {
		if err := g.sender.ProduceSync(t.Context(), schemas.TopicControlErasures, 0, tombstone.RecordKey(e.GetCompanyId(), e.GetSubjectId()), encoded(e)); err != nil {
			t.Fatal(err)
		}
	}
	event := func(company string, visitor, subject []byte) []byte {
		e := &metivav1.CollectedEvent{CompanyId: company, VisitorId: visitor, EventId: append([]byte(company), visitor...)}
		if subject != nil {
			e.Detail = &metivav1.CollectedEvent_FormCapture{FormCapture: &metivav1.FormCapture{SubjectId: subject}}
		}
		return encoded(e)
	}
	for _, value := range [][]byte{
		event("cmp_a", gone, nil), event("cmp_a", nil, gone), event("cmp_gone", other, nil), event("cmp_gone", nil, nil), // erased
		event("cmp_a", other, nil), event("cmp_a", nil, nil), event("cmp_b", gone, nil),
	} {
		g.bury(value, "unknown_key", "enrich", schemas.TopicEventsCollected, 3, time.Now())
	}
	for _, r := range []*metivav1.EnrichedRecord{
		{Kind: &metivav1.EnrichedRecord_Event{Event: &metivav1.EnrichedEvent{CompanyId: "cmp_a", VisitorId: gone}}}, // erased
		{Kind: &metivav1.EnrichedRecord_Drop{Drop: &metivav1.Drop{CompanyId: "cmp_gone"}}},                          // erased
		{Kind: &metivav1.EnrichedRecord_Event{Event: &metivav1.EnrichedEvent{CompanyId: "cmp_b", VisitorId: gone}}},
	} {
		g.bury(encoded(r), "unknown_key", "sink", schemas.TopicEventsEnriched, 3, time.Now())
	}
	lines, err := g.run("replay", "--reason", "unknown_key")
	if err != nil {
		t.Fatal(err)
	}
	report := lines[len(lines)-1]
	if report["matched"] != 10.0 || report["erased"] != 6.0 || report["replayed"] != 4.0 || len(g.collected()) != 3 {
		t.Errorf("%v, %d records collected", report, len(g.collected()))
	}
}
