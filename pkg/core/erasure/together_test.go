package erasure

import (
	"testing"

	"golang.org/x/sync/errgroup"
)

// TestTogether: two processes erase a visitor at once, and then their tenant, while the
// tenant of another visitor with the same id is let alone. Both end with the one
// certificate, which has the counts of one erasure.
func TestTogether(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.everything(w.b.CompanyID())
	for _, s := range []Subject{{Visitor, visitor}, {Kind: Tenant}} {
		var done [2]Erasure
		var group errgroup.Group
		for i := range done {
			group.Go(func() (err error) {
				done[i], err = w.eraser(nil).Erase(t.Context(), w.a, s)
				return err
			})
		}
		if err := group.Wait(); err != nil {
			t.Fatalf("%s: %v", s.Kind, err)
		}
		if string(done[0].Certificate) != string(done[1].Certificate) {
			t.Errorf("%s has two certificates:\n%s\n%s", s.Kind, done[0].Certificate, done[1].Certificate)
		}
		w.check(done[0])
		want := uint64(visitorEvents)
		if n := w.count("drops", "reason = 'erased' AND company_id = '"+w.a.CompanyID()+"'"); s.Kind == Visitor && n != want {
			t.Errorf("%d drops stand for %d erased events", n, want)
		}
		if s.Kind == Tenant {
			want = allEvents - visitorEvents
		}
		if n := done[0].Found["clickhouse.events"]; n != want {
			t.Errorf("%s: %d events found, want %d", s.Kind, n, want)
		}
	}
	same(t, "B", b, w.everything(w.b.CompanyID()), nil)
	w.nameless(w.a.CompanyID())
}
