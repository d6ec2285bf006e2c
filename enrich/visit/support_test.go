package visit_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/enrich/visit"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

const (
	company = "cmp_0123456789abcdefghjk"
	site    = "sit_a"
	minute  = int64(60_000)
	pageOf  = metivav1.EventType_EVENT_TYPE_PAGE_VIEW
)

// noon is the time of the first event: 12:00 in Amsterdam.
var noon = time.Date(2026, 6, 3, 10, 0, 0, 0, time.UTC).UnixMilli()

func idOf(n int) []byte { return fmt.Appendf(nil, "event-%010d", n) }

func keyOf(name string) []byte { return fmt.Appendf(nil, "%-16s", name)[:16] }

// page is a page view some minutes after noon.
func page(n int, afterMinutes float64, change ...func(*metivav1.EnrichedEvent)) *metivav1.EnrichedEvent {
	at := noon + int64(afterMinutes*float64(minute))
	e := &metivav1.EnrichedEvent{
		EventId: idOf(n), CompanyId: company, BrandId: "brd_a", SiteId: site, Type: pageOf,
		OccurredAtMs: at, ReceivedAtMs: at + 50, Consent: metivav1.ConsentState_CONSENT_STATE_DENIED, VisitKey: keyOf("key"),
		Host: "www.example.nl", Path: fmt.Sprintf("/p%d", n%7), Channel: metivav1.Channel_CHANNEL_INTERNAL,
		Bot: metivav1.BotClass_BOT_CLASS_NONE, Device: metivav1.DeviceClass_DEVICE_CLASS_DESKTOP, Country: "NL",
		Resolution: &metivav1.Resolution{Verdict: metivav1.Verdict_VERDICT_ISP, Asn: 1136}, RetentionDays: 30,
	}
	for _, c := range change {
		c(e)
	}
	return e
}

func campaign(name string) func(*metivav1.EnrichedEvent) {
	return func(e *metivav1.EnrichedEvent) {
		e.Campaign = &metivav1.Campaign{Source: "mail", Medium: "email", Name: name}
		e.Channel, e.TrafficSource = metivav1.Channel_CHANNEL_EMAIL, "mail"
	}
}

func account(id string) func(*metivav1.EnrichedEvent) {
	return func(e *metivav1.EnrichedEvent) {
		e.Resolution = &metivav1.Resolution{Verdict: metivav1.Verdict_VERDICT_COMPANY, AccountId: id, Name: id}
	}
}

func visitor(name string) func(*metivav1.EnrichedEvent) {
	return func(e *metivav1.EnrichedEvent) {
		e.VisitorId, e.Consent, e.ConsentSeq = keyOf(name), metivav1.ConsentState_CONSENT_STATE_ANALYTICS, 7
	}
}

func engagement(visibleMs uint32) func(*metivav1.EnrichedEvent) {
	return func(e *metivav1.EnrichedEvent) {
		e.Type, e.Channel = metivav1.EventType_EVENT_TYPE_ENGAGEMENT, 0
		e.Detail = &metivav1.EnrichedEvent_Engagement{Engagement: &metivav1.Engagement{VisibleMs: visibleMs, ScrollPercent: 80}}
	}
}

func rules(t testing.TB, m *metivav1.VisitRules) *visit.Rules {
	t.Helper()
	r, err := visit.RulesOf(m)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func newSet(r *visit.Rules, l visit.Limits) *visit.Set {
	return visit.NewSet(l, func(string, string) *visit.Rules { return r })
}

// table is what a reader of visits.enriched makes of its records.
type table map[string]*metivav1.Visit

// take takes records in any order; the highest version of an id counts. A version
// that says two things is a fault.
func (tb table) take(t testing.TB, visits []*metivav1.Visit) {
	t.Helper()
	for _, v := range visits {
		id := string(v.GetVisitId())
		known := tb[id]
		if known != nil && known.GetVersion() == v.GetVersion() && !proto.Equal(known, v) {
			t.Fatalf("one version says two things:\n%v\n%v", known, v)
		}
		if known == nil || known.GetVersion() < v.GetVersion() {
			tb[id] = v
		}
	}
}

// live is the visits that are, in order of their beginning, without version if so
// asked.
func (tb table) live(versions bool) []*metivav1.Visit {
	var out []*metivav1.Visit
	for _, v := range tb {
		if !v.GetRemoved() {
			c := proto.CloneOf(v)
			if !versions {
				c.Version = 0
			}
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(a, b *metivav1.Visit) int {
		if a.GetStartedAtMs() != b.GetStartedAtMs() {
			return int(a.GetStartedAtMs() - b.GetStartedAtMs())
		}
		return slices.Compare(a.GetVisitId(), b.GetVisitId())
	})
	return out
}

func sameVisits(t testing.TB, what string, got, want []*metivav1.Visit) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d visits, want %d", what, len(got), len(want))
	}
	for i := range got {
		if !proto.Equal(got[i], want[i]) {
			t.Fatalf("%s: visit %d is\n%v\nwant\n%v", what, i, got[i], want[i])
		}
	}
}

// topic is a partition of visits.state. A removed record leaves a gap, as in a
// compacted log.
type topic struct{ keys, values [][]byte }

func (tp *topic) put(key, value []byte) {
	tp.keys, tp.values = append(tp.keys, key), append(tp.values, value)
}

func (tp *topic) read() *visit.Restored {
	r := visit.NewRestored()
	for i := range tp.keys {
		r.Read(tp.keys[i], tp.values[i])
	}
	return r
}

// compact leaves of the first n records the last of each key, tombstones too if so asked.
func (tp *topic) compact(n int, tombstones bool) {
	last := make(map[string]int)
	for i := range n {
		last[string(tp.keys[i])] = i
	}
	var kept topic
	for i := range tp.keys {
		if i >= n || last[string(tp.keys[i])] == i && (tombstones || tp.values[i] != nil) {
			kept.put(tp.keys[i], tp.values[i])
		}
	}
	*tp = kept
}

// checkpoint writes one to the topic, as far as steps allow, and gives the visits
// that were sent before.
func checkpoint(t testing.TB, s *visit.Set, tp *topic, epoch uint64, steps int) []*metivav1.Visit {
	t.Helper()
	sent, _ := checkpointOver(t, s, tp, epoch, nil, steps)
	return sent
}

// checkpointOver removes the keys of former owners behind it; whole is whether it came
// to its end.
func checkpointOver(t testing.TB, s *visit.Set, tp *topic, epoch uint64, former *visit.Former, steps int) (sent []*metivav1.Visit, whole bool) {
	t.Helper()
	c, err := s.BeginCheckpoint(epoch, time.UnixMilli(noon))
	if err != nil {
		t.Fatal(err)
	}
	for {
		if steps--; steps < 0 {
			s.FailCheckpoint(c)
			return sent, false
		}
		var visits []*metivav1.Visit
		states := s.NextStates(c, 2, func(v *metivav1.Visit) { visits = append(visits, proto.CloneOf(v)) })
		sent = append(sent, visits...)
		if len(states) == 0 {
			break
		}
		for _, state := range states {
			tp.put(visit.JournalKey(state.ID, epoch), state.Value)
		}
	}
	if steps--; steps < 0 {
		return sent, false
	}
	tp.put(visit.CheckpointKey(epoch), c.Value)
	for _, key := range former.Keys() {
		if steps--; steps < 0 {
			return sent, false
		}
		tp.put(key, nil)
	}
	for _, id := range s.EndCheckpoint() {
		tp.put(visit.JournalKey(id, epoch), nil)
	}
	return sent, true
}

// random is a log: events of some keys and visitors over some days, with repetitions.
func random(r *rand.Rand, n int) []*metivav1.EnrichedEvent {
	var log []*metivav1.EnrichedEvent
	for i := range n {
		e := page(i, float64(r.IntN(600))/2)
		switch r.IntN(8) {
		case 0:
			campaign(string('a' + rune(r.IntN(2))))(e)
		case 1:
			account(string('x' + rune(r.IntN(2))))(e)
		case 2:
			e.OccurredAtMs += 11 * 60 * minute // around midnight
		}
		if r.IntN(3) == 0 {
			e.VisitKey = keyOf(fmt.Sprint("key", r.IntN(3)))
		}
		if r.IntN(3) == 0 {
			visitor(fmt.Sprint("v", r.IntN(2)))(e)
			if r.IntN(2) == 0 {
				engagement(uint32(r.IntN(40)) * 60_000)(e)
			}
		}
		log = append(log, e)
		if r.IntN(5) == 0 { // sent again: later, and said to be a little later or earlier
			again := proto.CloneOf(e)
			again.ReceivedAtMs += 60_000
			again.OccurredAtMs += int64(r.IntN(20_000) - 10_000)
			log = append(log, again)
		}
	}
	r.Shuffle(len(log), func(i, j int) { log[i], log[j] = log[j], log[i] })
	return log
}

var fixedTime = time.UnixMilli(noon)
