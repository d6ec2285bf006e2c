package visit_test

import (
	"testing"

	"github.com/metiva-io/metiva/enrich/visit"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// TestRemovalsEndWhatAReplayHasSent: a replay gives a visit the version of the log's end
// (VersionAt); a visit that is taken back, joined to another or named otherwise after
// that must leave its readers all the same.
func TestRemovalsEndWhatAReplayHasSent(t *testing.T) {
	t.Parallel()
	const end = 50 // of the log when the replay ran: the records behind the visit's are others'
	removal := func(visits []*metivav1.Visit) *metivav1.Visit {
		t.Helper()
		for _, v := range visits {
			if v.GetRemoved() {
				return v
			}
		}
		t.Fatalf("no removal among %v", visits)
		return nil
	}
	begun := func(events ...*metivav1.EnrichedEvent) *visit.Set {
		s := newSet(rules(t, nil), visit.Limits{})
		for i, e := range events {
			s.Apply(e, int64(i))
		}
		s.Advance(end-1, 0)
		s.All()
		return s
	}
	all := func(visit.Subject) bool { return true }

	s := begun(page(1, 0, visitor("v")))
	s.DropIf(all)
	if v := removal(s.All()); v.GetVersion() <= visit.VersionAt(end) || v.GetVersion() >= visit.VersionAt(end+1) {
		t.Errorf("taken back: version %d, the replay's is %d", v.GetVersion(), visit.VersionAt(end))
	}

	s = begun(page(1, 0, visitor("v")))
	again := page(2, 1, visitor("v"), func(e *metivav1.EnrichedEvent) { e.ConsentSeq = 9 })
	s.Advance(end, 0)
	s.Renew(again, all)
	s.Apply(again, end)
	if v := removal(s.All()); v.GetVersion() <= visit.VersionAt(end) || v.GetVersion() >= visit.VersionAt(end+1) {
		t.Errorf("taken back before a later grant: version %d, the replay's is %d", v.GetVersion(), visit.VersionAt(end))
	}

	s = begun(page(1, 0), page(2, 50)) // two visits
	s.Apply(page(3, 25), end)          // one
	if v := removal(s.All()); v.GetVersion() <= visit.VersionAt(end) || v.GetVersion() >= visit.VersionAt(end+1) {
		t.Errorf("joined: version %d, the replay's is %d", v.GetVersion(), visit.VersionAt(end))
	}

	s = begun(page(1, 0), page(2, 5, account("beta")))
	s.Apply(page(3, 3, account("alpha")), end)
	if v := removal(s.All()); v.GetVersion() <= visit.VersionAt(end) || v.GetVersion() >= visit.VersionAt(end+1) || v.GetResolution().GetAccountId() != "beta" {
		t.Errorf("named otherwise: version %d, the replay's is %d", v.GetVersion(), visit.VersionAt(end))
	}
}
