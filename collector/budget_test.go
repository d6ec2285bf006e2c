package collector

import (
	"encoding/json"
	"net/netip"
	"testing"

	"github.com/metiva-io/metiva/consent"
	"github.com/metiva-io/metiva/pkg/seal"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// wholeEvent returns a function that takes one body through everything but HTTP
// and Kafka.
func wholeEvent(t testing.TB, e *edge) func() {
	t.Helper()
	e.applySite(siteRecord())
	e.applySalt(testCompany, "2026-11-22")
	if err := e.sealer.Prepare(t.Context(), testCompany); err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(e.bodyWithToken(e.token(1), newPage(e).with("url", testOrigin+"/articles/2026/11/how-to-count?utm_source=newsletter&utm_medium=email&utm_campaign=spring")))
	if err != nil {
		t.Fatal(err)
	}
	r := newRequest(e.Collector)
	work := r.work
	agent, ip := []byte(testAgent), netip.MustParseAddr(testVisitor)
	return func() {
		r.received = e.now()
		if err := r.batch.Parse(body, 50); err != nil {
			t.Fatal(err)
		}
		r.site = e.sites.lookup(r.batch.Site)
		r.userAgent = agent
		r.address = seal.AddressOf(ip, r.scratch)
		if reason := r.decide(r.batch.Consent); reason != metivav1.Reason_REASON_UNSPECIFIED {
			t.Fatal(reason)
		}
		r.networkLimited = true
		if n, _ := e.limits.admit(r, 1); n != 1 {
			t.Fatal("limited")
		}
		if err := r.prepare(); err != nil {
			t.Fatal(err)
		}
		in := incomingOf(&r.batch.Events[0], r.batch.SentAtMs)
		if reason := r.build(&in); reason != metivav1.Reason_REASON_UNSPECIFIED {
			t.Fatal(reason)
		}
		if err := r.sealAndEncode(&in); err != nil {
			t.Fatal(err)
		}
		r.leaveWork()
		r.end()
		r.work = work
	}
}

// noLimits lets a clock that stands still pass any number of events.
func noLimits(c *Config) {
	c.NetworkEventsPerSecond, c.SiteEventsPerSecond, c.TenantEventsPerMinute = eventsPerSecondMax, eventsPerSecondMax, 1<<40
}

func TestAllocationBudget(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes pools allocate")
	}
	run := wholeEvent(t, newEdge(t, nil, noLimits))
	run()
	if allocs := testing.AllocsPerRun(500, run); allocs != 0 {
		t.Errorf("%v allocations per event", allocs)
	}
}

func BenchmarkEvent(b *testing.B) {
	run := wholeEvent(b, newEdge(b, nil, noLimits))
	b.ReportAllocs()
	for b.Loop() {
		run()
	}
}

func BenchmarkVisitKey(b *testing.B) {
	e := newEdge(b, nil, nil)
	e.applySalt(testCompany, "2026-11-22")
	h := e.salts.lookup(testCompany, e.clock.Now())
	address := seal.AddressOf(netip.MustParseAddr(testVisitor), seal.NewScratch())
	b.ReportAllocs()
	for b.Loop() {
		h.key(testSite, consent.Decision{}, address, familyChrome)
	}
}
