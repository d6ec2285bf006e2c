package collector

import (
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestBuckets(t *testing.T) {
	t.Parallel()
	b := newBuckets(2, 100) // a burst of 20, then one every 500 ms
	at := time.Unix(1_800_000_000, 0)
	step := func(key uint64, after time.Duration, n, want int, wantWait time.Duration) {
		t.Helper()
		at = at.Add(after)
		if taken, wait := b.take(key, at, n); taken != want || wait != wantWait {
			t.Errorf("%d of %d after waiting %v, want %d and %v", taken, n, wait, want, wantWait)
		}
	}
	step(1, 0, 15, 15, 0)
	step(1, 0, 15, 5, 500*time.Millisecond)
	step(1, 0, 1, 0, 500*time.Millisecond)
	step(2, 0, 1, 1, 0) // another key
	step(1, 400*time.Millisecond, 1, 0, 100*time.Millisecond)
	step(1, 100*time.Millisecond, 1, 1, 0)
	step(1, time.Second, 9, 2, 500*time.Millisecond)
	b.give(1, 2)
	step(1, 0, 3, 2, 500*time.Millisecond)
	step(1, time.Hour, 30, 20, 500*time.Millisecond)
	// The clock is set back by an hour: nobody waits for an hour.
	step(1, -time.Hour, 1, 0, 500*time.Millisecond)
	step(1, 500*time.Millisecond, 1, 1, 0)
}

// Whatever is asked for, no window of any length sees more than the burst and
// what its rate adds.
func TestBucketsNeverGiveMore(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for range 300 {
		perSecond := []int{1, 3, 7, 500, 1 + rng.IntN(eventsPerSecondMax), eventsPerSecondMax}[rng.IntN(6)]
		b := newBuckets(perSecond, 1)
		begin := time.Unix(1_800_000_000, 0)
		at, taken := begin, 0
		for range 1 + rng.IntN(50) {
			at = at.Add(time.Duration(rng.Int64N(int64(time.Second))))
			n := 1 + rng.IntN(3*burstSeconds*perSecond)
			k, wait := b.take(7, at, n)
			if taken += k; k < 0 || k > n || (k < n) != (wait > 0) {
				t.Fatalf("%d of %d, wait %v", k, n, wait)
			}
			if k < n {
				if again, _ := b.take(7, at.Add(wait), 1); again != 1 {
					t.Fatalf("none after the wait of %v", wait)
				}
				at, taken = at.Add(wait), taken+1
			}
			// One more for what the division of a second left.
			if most := int64(at.Sub(begin)+burstSeconds*time.Second)/b.interval + 1; int64(taken) > most {
				t.Fatalf("%d were taken in %v", taken, at.Sub(begin))
			}
		}
	}
}

func TestBucketsAreBounded(t *testing.T) {
	t.Parallel()
	b := newBuckets(1, 8*bucketsPerSet)
	at := time.Unix(1_800_000_000, 0)
	if len(b.sets) != 8 {
		t.Fatalf("%d sets", len(b.sets))
	}
	// The emptiest bucket of a set outlives any number of others.
	heavy := uint64(8)
	b.take(heavy, at, 10)
	for i := range uint64(10_000) {
		b.take(heavy+(i+1)*8, at, 1)
	}
	if taken, _ := b.take(heavy, at, 1); taken != 0 {
		t.Error("the bucket that is out of tokens was forgotten for one that is not")
	}
}

func TestQuotasStartAnewEveryMinute(t *testing.T) {
	t.Parallel()
	q := &quotas{perMinute: 10, used: map[string]*quota{}}
	at := time.Unix(1_800_000_000-1_800_000_000%60, 0).Add(20 * time.Second)
	if taken, wait := q.take("a", at, 7); taken != 7 || wait != 0 {
		t.Errorf("%d %v", taken, wait)
	}
	if taken, wait := q.take("a", at.Add(time.Second), 7); taken != 3 || wait != 39*time.Second {
		t.Errorf("%d %v", taken, wait)
	}
	if taken, _ := q.take("b", at, 10); taken != 10 {
		t.Error("one tenant's events count as another's")
	}
	if taken, _ := q.take("a", at.Add(40*time.Second), 7); taken != 7 {
		t.Error("the quota does not start anew")
	}
	q.forget(at.Add(40 * time.Second))
	if len(q.used) != 1 {
		t.Errorf("%d tenants are remembered", len(q.used))
	}
}

func TestQuotasUnderConcurrency(t *testing.T) {
	t.Parallel()
	q, b := &quotas{perMinute: 1000, used: map[string]*quota{}}, newBuckets(100, 8)
	at := time.Unix(1_800_000_000, 0)
	var wg sync.WaitGroup
	var fromQuota, fromBucket atomic.Int64
	for range 8 {
		wg.Go(func() {
			for range 500 {
				k, _ := q.take("a", at, 1)
				fromQuota.Add(int64(k))
				k, _ = b.take(1, at, 1)
				fromBucket.Add(int64(k))
			}
		})
	}
	wg.Wait()
	if fromQuota.Load() != 1000 || fromBucket.Load() != 1000 {
		t.Errorf("%d of 1000, %d of 1000", fromQuota.Load(), fromBucket.Load())
	}
}

func TestNetworkSeedIsReplacedDaily(t *testing.T) {
	t.Parallel()
	e := newEdge(t, nil, nil)
	now := e.clock.Now()
	sum := func(at time.Time) uint64 { return maphash.String(e.limits.seedOf(at), "145.221.173.0/24") }
	today := sum(now)
	if sum(now.Add(11*time.Hour)) != today {
		t.Error("the seed changed within a day")
	}
	if sum(now.Add(12*time.Hour)) == today {
		t.Error("the seed is the same on the next day")
	}
	other := newEdge(t, nil, nil)
	if maphash.String(other.limits.seedOf(now), "145.221.173.0/24") == today {
		t.Error("two collectors share a seed")
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	from := func(address string) func(map[string]string) { return header("X-Forwarded-For", address) }
	const same, other, private = "145.221.173.7", "145.221.174.7", "10.1.2.3"
	for _, tc := range []struct {
		name    string
		config  func(*Config)
		limit   string
		address string // of the request after the limit is reached
		status  int
		retry   string
	}{
		{"network", func(c *Config) { c.NetworkEventsPerSecond = 1 }, "network", same, 429, "1"},
		{"another network", func(c *Config) { c.NetworkEventsPerSecond = 1 }, "", other, 200, ""},
		{"private network", func(c *Config) { c.NetworkEventsPerSecond = 1 }, "", private, 200, ""},
		{"site", func(c *Config) { c.SiteEventsPerSecond = 1 }, "site", other, 429, "1"},
		{"tenant", func(c *Config) { c.TenantEventsPerMinute = 10 }, "tenant", other, 429, "30"}, // the test's clock stands at 30 s
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			e := startEdge(t, tc.config)
			pages := make([]page, 10)
			for i := range pages {
				pages[i] = newPage(e)
			}
			if a := e.post(e.body(pages...)); a.status != http.StatusOK {
				t.Fatalf("within the limit: %d %s", a.status, a.body)
			}
			a := e.post(e.body(newPage(e)), from(tc.address))
			if a.status != tc.status || a.header.Get("Retry-After") != tc.retry {
				t.Errorf("%d %v %s", a.status, a.header, a.body)
			}
			if tc.limit != "" {
				if a.outcomes() != "retry:rate_limited" || a.header.Get("Access-Control-Expose-Headers") != "Retry-After" {
					t.Errorf("%s %v", a.body, a.header)
				}
				if n := limitedEvents(t, e)[tc.limit]; n != 1 {
					t.Errorf("%v events are counted", n)
				}
				// Of a batch, as many as there is room for.
				e.clock.Set(e.clock.Now().Add(30*time.Second - time.Second*9))
				if tc.limit == "tenant" {
					return
				}
				pages = append(pages, newPage(e), newPage(e))
				if a := e.post(e.body(pages...), from(tc.address)); a.status != 200 || a.outcomes()[:9] != "accepted " || a.Results[11].Reason != "rate_limited" {
					t.Errorf("%d %s", a.status, a.body)
				}
				return
			}
			wantLedger(t, e.stoppedLedger(), map[string]uint64{testCompany + "/none": 11})
		})
	}
}

// limitedEvents reads the metric, by limit.
func limitedEvents(t *testing.T, e *edge) map[string]float64 {
	t.Helper()
	return e.byLabel(t, "metiva_collector_rate_limited_events_total")
}

// byLabel reads a counter with one label, by its values.
func (e *edge) byLabel(t *testing.T, name string) map[string]float64 {
	t.Helper()
	families, err := e.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, family := range families {
		if family.GetName() == name {
			for _, m := range family.GetMetric() {
				out[m.GetLabel()[0].GetValue()] = m.GetCounter().GetValue()
			}
		}
	}
	return out
}

// What one limit refuses is not charged to the others, and the pixel is held to
// them too.
func TestLimitsTogether(t *testing.T) {
	t.Parallel()
	e := startEdge(t, func(c *Config) { c.TenantEventsPerMinute = 3 })
	pages := make([]page, 5)
	for i := range pages {
		pages[i] = newPage(e)
	}
	a := e.post(e.body(pages...))
	if a.outcomes() != "accepted accepted accepted retry:rate_limited retry:rate_limited" || a.status != 200 {
		t.Errorf("%d %s", a.status, a.outcomes())
	}
	for _, b := range []*buckets{e.limits.networks, e.limits.sites} {
		now := e.clock.Now().UnixNano()
		for i := range b.sets {
			for _, place := range b.sets[i].places {
				if place.key != 0 && place.fullAt != now+3*b.interval {
					t.Errorf("%d events are charged, not 3", (place.fullAt-now)/b.interval)
				}
			}
		}
	}
	if a := e.do(http.MethodGet, fmt.Sprintf("%s?site=%s&u=%s/x", PathPixel, testKey, testOrigin), nil, map[string]string{"X-Forwarded-For": testVisitor, "User-Agent": testAgent}); a.status != 200 {
		t.Errorf("pixel: %d", a.status)
	}
	// An objection is an objection, also over the limit.
	if a := e.post(e.body(newPage(e)), header("Sec-GPC", "1")); a.outcomes() != "dropped:objected" {
		t.Errorf("%s", a.body)
	}
	wantLedger(t, e.stoppedLedger(), map[string]uint64{testCompany + "/none": 3, testCompany + "/rate_limited": 3, testCompany + "/objected": 1})
}

func TestNoResultsWhenNoneAreWanted(t *testing.T) {
	t.Parallel()
	e := startEdge(t, nil)
	send := func(query string, body any) answered {
		return e.do(http.MethodPost, PathEvents+query, body, browserHeaders())
	}
	if a := send("?r=0", e.body(newPage(e), newPage(e))); a.status != http.StatusNoContent || len(a.body) != 0 || a.header.Get("Access-Control-Allow-Origin") != testOrigin {
		t.Errorf("%d %s %v", a.status, a.body, a.header)
	}
	if a := send("?r=0", e.body(newPage(e), newPage(e).with("at", "now"))); a.status != 200 || a.outcomes() != "accepted dropped:malformed" {
		t.Errorf("one dropped: %d %s", a.status, a.body)
	}
	for _, query := range []string{"", "?r=1", "?r", "?x=0"} {
		if a := send(query, e.body(newPage(e))); a.status != 200 || a.outcomes() != "accepted" || a.header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%q: %d %s", query, a.status, a.body)
		}
	}
	if a := send("?r=0", "{"); a.status != 400 || a.header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("malformed: %d %v", a.status, a.header)
	}
}

func TestLimitsAreValidated(t *testing.T) {
	t.Parallel()
	for want, cfg := range map[string]Config{
		"events per second of a network must be at least 1": {NetworkEventsPerSecond: -1},
		"events per second of a site must be at least 1":    {SiteEventsPerSecond: -1},
		"events per minute of a tenant must be at least 1":  {TenantEventsPerMinute: -1},
		"networks remembered must be at least 1":            {LimitedNetworksMax: -1},
		"sites remembered must be at most":                  {LimitedSitesMax: rememberedMax + 1},
		"events per second of a network must be at most":    {NetworkEventsPerSecond: eventsPerSecondMax + 1},
		"body bytes must be at most":                        {BodyBytesMax: bodyBytesCeiling + 1},
		"drain grace time must not be negative":             {DrainGrace: -1},
	} {
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	if err := (Config{NetworkEventsPerSecond: eventsPerSecondMax, SiteEventsPerSecond: eventsPerSecondMax, LimitedNetworksMax: 1, LimitedSitesMax: 1}).Validate(); err != nil {
		t.Error(err)
	}
}

func BenchmarkAdmit(b *testing.B) {
	e := newEdge(b, nil, nil)
	run := wholeEvent(b, e)
	run()
	r := newRequest(e.Collector)
	r.site, r.networkLimited, r.received = e.sites.lookup([]byte(testKey)), true, e.now()
	b.ReportAllocs()
	for b.Loop() {
		e.limits.admit(r, 1)
	}
}
