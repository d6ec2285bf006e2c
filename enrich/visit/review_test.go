package visit_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/metiva-io/metiva/enrich/visit"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// TestClocksChangedAtMidnight: where the hour of midnight is left out or comes twice, a
// visit of the evening before is one visit, and ends with the day.
func TestClocksChangedAtMidnight(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ zone, evening string }{
		{"America/Santiago", "2026-09-06T03:05:00Z"}, // 23:05, and 24:00 is 01:00
		{"America/Santiago", "2026-04-05T03:05:00Z"}, // 23:05 for the second time
		{"America/Havana", "2026-03-08T04:05:00Z"},
		{"Africa/Cairo", "2026-04-23T21:05:00Z"},
		{"Africa/Cairo", "2026-10-29T21:05:00Z"},
		{"Asia/Beirut", "2026-03-28T21:05:00Z"},
		{"Europe/Amsterdam", "2026-03-28T22:05:00Z"},
	} {
		at, err := time.Parse(time.RFC3339, tc.evening)
		if err != nil {
			t.Fatal(err)
		}
		var entries []visit.Entry
		for i := range 12 { // 23:05, 23:15 … 23:55, then of the next day
			e := page(i, 0)
			e.OccurredAtMs = at.Add(time.Duration(i) * 10 * time.Minute).UnixMilli()
			entries = append(entries, visit.EntryOf(e, int64(i)))
		}
		r := rules(t, &metivav1.VisitRules{SplitAtMidnight: true, TimeZone: tc.zone})
		visits := visit.Assemble(visit.Identity{CompanyID: company, SiteID: site, Key: visit.ID(keyOf("key"))}, r, entries)
		if len(visits) != 2 || visits[0].GetEvents() != 6 || visits[1].GetEvents() != 6 {
			t.Errorf("%s %s: %d visits, the first of %d events", tc.zone, tc.evening, len(visits), visits[0].GetEvents())
		}
	}
}

// TestALaterConsentHidesNoWithdrawal: a visitor who has withdrawn and consents again,
// before anybody has looked through the journals, begins anew.
func TestALaterConsentHidesNoWithdrawal(t *testing.T) {
	t.Parallel()
	s := newSet(rules(t, nil), visit.Limits{})
	var tp topic
	tb := table{}
	withdrawn := func(subject visit.Subject) bool { return subject.VisitorID != nil && subject.ConsentSeq <= 8 }
	s.Apply(page(1, 0, visitor("v")), 0) // consent 7
	tb.take(t, checkpoint(t, s, &tp, 1, 99))
	again := page(2, 1, visitor("v"), func(e *metivav1.EnrichedEvent) { e.ConsentSeq = 9 })
	s.Renew(again, withdrawn)
	s.Apply(again, 1)
	tb.take(t, s.All())
	live := tb.live(true)
	if len(live) != 1 || live[0].GetEvents() != 1 || live[0].GetStartedAtMs() != again.GetOccurredAtMs() {
		t.Fatalf("%v", live)
	}
	if gone := s.TakeGone(); len(gone) != 0 {
		t.Errorf("the journal that took the place of the former is removed")
	}
	checkpoint(t, s, &tp, 1, 99)
	restored := newSet(rules(t, nil), visit.Limits{})
	restored.Restore(tp.read())
	restored.Apply(page(3, 2, visitor("v")), 2)
	if v := restored.All(); len(v) != 1 || v[0].GetEvents() != 2 {
		t.Errorf("restored: %v", v)
	}
}

// TestAClockAheadHoldsNoJournal: a journal that a collector with a wrong clock has made
// leaves as the others do, and does not keep them.
func TestAClockAheadHoldsNoJournal(t *testing.T) {
	t.Parallel()
	s := newSet(rules(t, nil), visit.Limits{LatenessMax: time.Hour})
	var tp topic
	for i := range 3 {
		e := page(i, 0, func(e *metivav1.EnrichedEvent) { e.VisitKey, e.EnrichedAtMs = keyOf(fmt.Sprint(i)), noon })
		if i == 0 {
			e.ReceivedAtMs += 365 * 24 * 60 * minute
		}
		s.Apply(e, int64(i))
	}
	s.Advance(3, noon+(5*60+1)*minute)
	checkpoint(t, s, &tp, 1, 99)
	if n, _ := s.Size(); n != 0 || s.Counts().EvictedByAge != 3 {
		t.Errorf("%d journals, %+v", n, s.Counts())
	}
}

// TestLongTextsAreCounted: what a journal takes is not only the number of its events.
func TestLongTextsAreCounted(t *testing.T) {
	t.Parallel()
	const n = 50
	size := func(path string) int64 {
		s := newSet(rules(t, nil), visit.Limits{})
		for i := range n {
			s.Apply(page(i, float64(i)/10, func(e *metivav1.EnrichedEvent) { e.Path = fmt.Sprintf("/%d%s", i, path) }), int64(i))
		}
		_, bytes := s.Size()
		return bytes
	}
	long := schemas.PathBytesMax - 10
	if more := size(strings.Repeat("x", long)) - size(""); more < int64(n*long*9/10) {
		t.Errorf("long paths count for %d bytes", more)
	}
}

// TestFull: a set whose checkpoints fail says so before it takes more than it may.
func TestFull(t *testing.T) {
	t.Parallel()
	const bytesMax = 64 << 10
	s := newSet(rules(t, nil), visit.Limits{BytesMax: bytesMax})
	taken := 0
	for ; !s.IsFull() && taken < 10_000; taken++ {
		s.Apply(page(taken, 0, func(e *metivav1.EnrichedEvent) { e.VisitKey = keyOf(fmt.Sprint(taken)) }), int64(taken))
	}
	if _, bytes := s.Size(); !s.IsFull() || bytes > 3*bytesMax {
		t.Errorf("%d bytes after %d journals", bytes, taken)
	}
	for range 2 { // the first notes what has left, the second lets it go
		checkpoint(t, s, &topic{}, 1, 10_000)
	}
	if s.IsFull() {
		t.Error("a checkpoint makes no room")
	}
}

// TestAFormAtCompanyLevelTellsOfItselfAlone: the form of a visitor who agreed to nothing
// else makes no more of the visit than company level has.
func TestAFormAtCompanyLevelTellsOfItselfAlone(t *testing.T) {
	t.Parallel()
	s := newSet(rules(t, nil), visit.Limits{})
	fine := func(consent metivav1.ConsentState) func(*metivav1.EnrichedEvent) {
		return func(e *metivav1.EnrichedEvent) {
			e.Type, e.Consent = metivav1.EventType_EVENT_TYPE_FORM, consent
			e.Region, e.BrowserFamily, e.SystemFamily = "NL-UT", "firefox", "linux"
			e.Detail = &metivav1.EnrichedEvent_FormAction{FormAction: &metivav1.FormAction{Kind: metivav1.FormActionKind_FORM_ACTION_KIND_SUBMIT, FormId: "contact"}}
		}
	}
	s.Apply(page(1, 0), 0)
	s.Apply(page(2, 1, fine(metivav1.ConsentState_CONSENT_STATE_IDENTIFIED)), 1)
	s.Apply(page(3, 0, visitor("v"), fine(metivav1.ConsentState_CONSENT_STATE_ANALYTICS)), 2)
	for _, v := range s.All() {
		isVisitor := len(v.GetVisitorId()) > 0
		if says := v.GetRegion()+v.GetBrowserFamily()+v.GetSystemFamily() != ""; says != isVisitor {
			t.Errorf("%v", v)
		}
		if !isVisitor && (!v.GetCaptured() || v.GetEvents() != 2 || v.GetConsent() != metivav1.ConsentState_CONSENT_STATE_DENIED) {
			t.Errorf("%v", v)
		}
	}
}
