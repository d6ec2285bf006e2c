package visit_test

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/enrich/visit"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// TestAFullJournalIsFolded: what leaves stays counted in its visit, what comes late
// for it is counted as lost, and the rest of the journal is as ever.
func TestAFullJournalIsFolded(t *testing.T) {
	t.Parallel()
	s := newSet(rules(t, nil), visit.Limits{EntriesMax: 16})
	tb := table{}
	const n = 100
	for i := range n { // the first twenty are visits of their own
		s.Apply(page(i, float64(min(i, 20))*40+float64(max(i-20, 0))), int64(i))
	}
	tb.take(t, s.All())
	live := tb.live(true)
	last := live[len(live)-1]
	if len(live) != 21 || last.GetEvents() != n-20 || last.GetPageViews() != n-20 || !last.GetFolded() || last.GetEndedAtMs() != noon+(20*40+79)*minute {
		t.Fatalf("%d visits, the last %v", len(live), last)
	}
	s.Apply(page(1000, 20*40+3.5), n)    // before what is left
	s.Apply(page(50, 20*40+30), n+1)     // folded away, and sent again
	s.Apply(page(1001, 20*40+78.5), n+2) // late, and in time
	s.Apply(page(99, 20*40+79), n+3)     // sent again
	tb.take(t, s.All())
	live = tb.live(true)
	c := s.Counts()
	if len(live) != 21 || live[20].GetEvents() != n-20+1 || c.Lost != 2 || c.Late != 1 || c.Repeated != 1 || c.Added != n+1 || c.Folded < n-20 {
		t.Errorf("%v\n%+v", live[20], c)
	}
}

// TestAJournalOfLongPathsFitsARecord: what is written of a journal stays under what
// Kafka takes, however long the pages' names are.
func TestAJournalOfLongPathsFitsARecord(t *testing.T) {
	t.Parallel()
	s := newSet(rules(t, nil), visit.Limits{})
	for i := range 2000 {
		s.Apply(page(i, float64(i)/100, func(e *metivav1.EnrichedEvent) {
			e.Path = fmt.Sprintf("/%d/%s", i, strings.Repeat("x", schemas.PathBytesMax-10))
			e.Host = strings.Repeat("h", schemas.HostBytesMax)
		}), int64(i))
	}
	var tp topic
	visits := checkpoint(t, s, &tp, 1, 99)
	for _, value := range tp.values {
		if len(value) > 400<<10 {
			t.Errorf("a record of %d bytes", len(value))
		}
	}
	if last := visits[len(visits)-1]; proto.Size(last) > 100<<10 || last.GetPageViews() != 2000 || len(last.GetPages()) != 50 || last.GetPagesBeyond() != 1950 {
		t.Errorf("a visit of %d bytes with %d views", proto.Size(last), last.GetPageViews())
	}
}

// TestOldJournalsLeave: after the collector's window and the longest idle time, at a
// checkpoint, and their records are removed at the next.
func TestOldJournalsLeave(t *testing.T) {
	t.Parallel()
	s := newSet(rules(t, nil), visit.Limits{LatenessMax: time.Hour})
	var tp topic
	s.Apply(page(1, 0), 0)
	s.Advance(0, noon)
	checkpoint(t, s, &tp, 1, 99)
	s.Apply(page(2, 1, visitor("v")), 1)
	s.Advance(2, noon+(5*60+1)*minute)
	checkpoint(t, s, &tp, 1, 99)
	if n, _ := s.Size(); n != 1 || s.Counts().EvictedByAge != 1 {
		t.Errorf("%d journals, %+v", n, s.Counts())
	}
	restored := tp.read()
	if restored.Len() != 1 {
		t.Errorf("%d journals are left on the topic", restored.Len())
	}
	// What comes for it all the same is a visit of its own, and what was is not undone.
	s.Apply(page(3, 0.5), 3)
	for _, v := range s.All() {
		if v.GetRemoved() {
			t.Errorf("removed: %v", v)
		}
	}
}

// TestMemoryIsBounded: the journals that were silent longest go first, as they
// stand; one that comes back before the next checkpoint goes on.
func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	const bytesMax = 64 << 10
	s := newSet(rules(t, nil), visit.Limits{BytesMax: bytesMax})
	var tp topic
	tb := table{}
	key := func(i int) func(*metivav1.EnrichedEvent) {
		return func(e *metivav1.EnrichedEvent) { e.VisitKey = keyOf(fmt.Sprint(i)) }
	}
	const n = 1000
	for i := range n {
		s.Apply(page(i, float64(i)/100, key(i)), int64(i))
		if s.NeedsCheckpoint() {
			tb.take(t, checkpoint(t, s, &tp, 1, 1000))
		}
		if _, bytes := s.Size(); bytes > 2*bytesMax {
			t.Fatalf("%d bytes after %d journals", bytes, i)
		}
	}
	tb.take(t, s.All())
	if c := s.Counts(); c.EvictedBySize == 0 || len(tb.live(true)) != n {
		t.Errorf("%d visits, %+v", len(tb.live(true)), c)
	}
	s.Apply(page(n, n/100, key(n-1)), n)
	tb.take(t, s.All())
	if live := tb.live(true); len(live) != n || live[n-1].GetEvents() != 2 {
		t.Errorf("%d visits", len(live))
	}
}

// TestDropped: the journals of a visitor go with their visits, open, packed or
// leaving.
func TestDropped(t *testing.T) {
	t.Parallel()
	s := newSet(rules(t, nil), visit.Limits{})
	var tp topic
	tb := table{}
	s.Apply(page(1, 0, visitor("v")), 0)
	s.Apply(page(2, 60, visitor("v")), 1)
	s.Apply(page(3, 0, visitor("w")), 2)
	s.Apply(page(4, 0), 3)
	tb.take(t, checkpoint(t, s, &tp, 1, 99))
	s.Apply(page(5, 1, visitor("w")), 4)
	s.DropIf(func(subject visit.Subject) bool {
		if subject.CompanyID != company || subject.VisitorID != nil && subject.ConsentSeq != 7 {
			t.Errorf("asked for %+v", subject)
		}
		return subject.VisitorID != nil
	})
	tb.take(t, s.All())
	live := tb.live(true)
	if n, bytes := s.Size(); len(live) != 1 || len(live[0].GetVisitorId()) != 0 || n != 1 || bytes <= 0 || len(s.TakeGone()) != 2 || s.Counts().Dropped != 2 {
		t.Errorf("%d journals of %d bytes, %v", n, bytes, live)
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		limits visit.Limits
		valid  bool
	}{
		"default":         {visit.Limits{}, true},
		"few entries":     {visit.Limits{EntriesMax: 7}, false},
		"many entries":    {visit.Limits{EntriesMax: 3001}, false},
		"negative":        {visit.Limits{BytesMax: -1}, false},
		"negative window": {visit.Limits{LatenessMax: -1}, false},
	} {
		if err := tc.limits.Validate(); (err == nil) != tc.valid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzRestored: whatever stands on visits.state, reading it neither panics nor gives
// a journal that cannot be gone on with.
func FuzzRestored(f *testing.F) {
	s := newSet(rules(f, nil), visit.Limits{EntriesMax: 8})
	for i := range 12 {
		s.Apply(page(i, float64(i), campaign("a"), account("x")), int64(i))
	}
	s.Apply(page(20, 90, visitor("v"), engagement(5000)), 30)
	var tp topic
	checkpoint(f, s, &tp, 3, 99)
	for i := range tp.keys {
		f.Add(tp.keys[i], tp.values[i])
	}
	f.Add(keyOf("key"), []byte(nil))
	f.Fuzz(func(t *testing.T, key, value []byte) {
		r := visit.NewRestored()
		r.Read(key, value)
		r.Former(1 << 60).Keys()
		r.Read(visit.CheckpointKey(1), mustCheckpoint(t, 1, 0, 0))
		s := newSet(rules(t, nil), visit.Limits{EntriesMax: 8})
		s.Restore(r)
		var state metivav1.VisitState
		if proto.Unmarshal(value, &state) != nil || state.GetJournal() == nil {
			return
		}
		j := state.GetJournal()
		e := page(1, 0, func(e *metivav1.EnrichedEvent) {
			e.CompanyId, e.SiteId, e.VisitKey, e.VisitorId = j.GetCompanyId(), j.GetSiteId(), j.GetKey(), j.GetVisitorId()
		})
		s.Apply(e, 1<<40)
		s.Apply(page(2, -1, func(late *metivav1.EnrichedEvent) {
			late.CompanyId, late.SiteId, late.VisitKey, late.VisitorId = e.GetCompanyId(), e.GetSiteId(), e.GetVisitKey(), e.GetVisitorId()
		}), 1<<40+1)
		s.All()
		s.DropIf(func(visit.Subject) bool { return true })
	})
}

func BenchmarkApply(b *testing.B) {
	for _, keys := range []int{1, 1000} {
		b.Run(fmt.Sprintf("%d keys", keys), func(b *testing.B) {
			s := newSet(rules(b, nil), visit.Limits{BytesMax: 1 << 30})
			var events []*metivav1.EnrichedEvent
			for i := range keys {
				events = append(events, page(i, 0, func(e *metivav1.EnrichedEvent) { e.VisitKey = keyOf(fmt.Sprint(i)) }))
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				e := events[i%keys]
				e.OccurredAtMs += 1000
				e.ReceivedAtMs = e.GetOccurredAtMs()
				binary.BigEndian.PutUint64(e.GetEventId()[8:], uint64(i))
				s.Apply(e, int64(i))
				if i%5000 == 0 {
					s.All()
				}
			}
		})
	}
}

func BenchmarkAssemble(b *testing.B) {
	r := rules(b, nil)
	var entries []visit.Entry
	for i := range 2000 {
		entries = append(entries, visit.EntryOf(page(i, float64(i%500)), int64(i)))
	}
	who := visit.Identity{CompanyID: company, SiteID: site, Key: visit.ID(keyOf("key"))}
	b.ReportAllocs()
	for b.Loop() {
		if len(visit.Assemble(who, r, entries)) == 0 {
			b.Fatal("no visits")
		}
	}
}

func BenchmarkCheckpoint(b *testing.B) {
	b.ReportAllocs()
	s := newSet(rules(b, nil), visit.Limits{BytesMax: 1 << 30})
	for i := 0; b.Loop(); i++ {
		for k := range 100 {
			s.Apply(page(i*100+k, float64(i), func(e *metivav1.EnrichedEvent) { e.VisitKey = keyOf(fmt.Sprint(k)) }), int64(i*100+k))
		}
		c, err := s.BeginCheckpoint(1, fixedTime)
		if err != nil {
			b.Fatal(err)
		}
		for states := 1; states > 0; {
			written := s.NextStates(c, 256, func(*metivav1.Visit) {})
			states = len(written)
		}
	}
}
