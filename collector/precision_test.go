package collector

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/metiva-io/metiva/pkg/businessnet"
)

func businessNetworks(tb testing.TB, texts ...string) *businessnet.Set {
	tb.Helper()
	var networks []netip.Prefix
	for _, text := range texts {
		networks = append(networks, netip.MustParsePrefix(text))
	}
	s, err := businessnet.New(networks, time.Unix(0, 0))
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// preciseEdge runs a collector with business networks, whose one site has the
// precision or not.
func preciseEdge(t *testing.T, precise bool, networks func() *businessnet.Set, change func(*Config)) *edge {
	t.Helper()
	e := newEdge(t, nil, change)
	e.deps.BusinessNetworks = networks
	rec := siteRecord()
	rec.NetworkPrecision = precise
	e.applySite(rec)
	e.applySalt(testCompany, "2026-11-22")
	e.CaughtUp()
	e.start()
	return e
}

// TestPrecisionTakesBoth: an address is sealed as its business network only where
// the site has that precision and the collector has the networks.
func TestPrecisionTakesBoth(t *testing.T) {
	t.Parallel()
	set := businessNetworks(t, "84.24.10.64/29", "84.24.10.128/25")
	current := func() *businessnet.Set { return set }
	for _, c := range []struct {
		name     string
		precise  bool
		networks func() *businessnet.Set
		want     map[string]string
	}{
		{"both", true, current, map[string]string{
			"84.24.10.65": "84.24.10.64/29", "84.24.10.200": "84.24.10.128/25", "84.24.10.1": "84.24.10.0/24", "84.24.10.72": "84.24.10.0/24",
			"::ffff:84.24.10.71": "84.24.10.64/29", "2a02:a400:1:2::1": "2a02:a400:1::/48",
		}},
		{"the site only", true, nil, map[string]string{"84.24.10.65": "84.24.10.0/24"}},
		{"the collector only", false, current, map[string]string{"84.24.10.65": "84.24.10.0/24", "84.24.10.200": "84.24.10.0/24"}},
		{"neither", false, nil, map[string]string{"84.24.10.65": "84.24.10.0/24"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			e := preciseEdge(t, c.precise, c.networks, nil)
			n := 0
			for address, want := range c.want {
				if a := e.post(e.body(newPage(e)), header("X-Forwarded-For", address)); a.outcomes() != "accepted" {
					t.Fatal(a.outcomes())
				}
				n++
				if network, _ := e.open(e.only(n)); network != want {
					t.Errorf("%s is sealed as %s, want %s", address, network, want)
				}
				if a := e.do(http.MethodGet, fmt.Sprintf("%s?site=%s&u=%s", PathPixel, testKey, testOrigin+"/a"), nil, map[string]string{"X-Forwarded-For": address, "Referer": testOrigin + "/a", "User-Agent": testAgent}); a.status != http.StatusOK {
					t.Fatalf("pixel: %d", a.status)
				}
				n++
				if network, _ := e.open(e.only(n)); network != want {
					t.Errorf("%s is sealed as %s for the pixel, want %s", address, network, want)
				}
			}
		})
	}
}

// TestVisitKeysAndLimitsStayCoarse: two business networks of one /24 have one
// visit key and share one limit, whatever the precision.
func TestVisitKeysAndLimitsStayCoarse(t *testing.T) {
	t.Parallel()
	set := businessNetworks(t, "84.24.10.64/29", "84.24.10.128/25")
	e := preciseEdge(t, true, func() *businessnet.Set { return set }, func(c *Config) { c.NetworkEventsPerSecond = 1 })
	var keys []string
	for i, address := range []string{"84.24.10.65", "84.24.10.129", "84.24.10.1"} {
		e.post(e.body(newPage(e)), header("X-Forwarded-For", address))
		keys = append(keys, string(e.only(i+1).GetVisitKey()))
	}
	if keys[0] != keys[1] || keys[0] != keys[2] {
		t.Error("the precision is in the visit key")
	}
	for range burstSeconds - 3 { // what is left of the burst
		e.post(e.body(newPage(e)), header("X-Forwarded-For", "84.24.10.65"))
	}
	for _, address := range []string{"84.24.10.65", "84.24.10.129", "84.24.10.1"} {
		if a := e.post(e.body(newPage(e)), header("X-Forwarded-For", address)); a.status != http.StatusTooManyRequests {
			t.Errorf("%s: status %d beyond the limit of its /24", address, a.status)
		}
	}
	if a := e.post(e.body(newPage(e)), header("X-Forwarded-For", "84.24.11.65")); a.outcomes() != "accepted" {
		t.Errorf("the /24 next to it: %s", a.outcomes())
	}
}

// TestPrecisionIsTheSitesAtEachMoment: a site that loses the precision, and a file
// that is replaced, count from the next request on.
func TestPrecisionIsTheSitesAtEachMoment(t *testing.T) {
	t.Parallel()
	var set atomic.Pointer[businessnet.Set]
	set.Store(businessNetworks(t, "84.24.10.64/29"))
	e := preciseEdge(t, true, set.Load, nil)
	n := 0
	sealed := func() string {
		t.Helper()
		e.post(e.body(newPage(e)), header("X-Forwarded-For", "84.24.10.65"))
		n++
		network, _ := e.open(e.only(n))
		return network
	}
	if got := sealed(); got != "84.24.10.64/29" {
		t.Errorf("sealed as %s", got)
	}
	set.Store(businessNetworks(t, "84.24.10.64/28"))
	if got := sealed(); got != "84.24.10.64/28" {
		t.Errorf("with the new file sealed as %s", got)
	}
	rec := siteRecord()
	rec.Version = 2
	e.applySite(rec)
	if got := sealed(); got != "84.24.10.0/24" {
		t.Errorf("after the site lost it, sealed as %s", got)
	}
}

// TestCaptureHasTheSitesPrecision: the address that goes with a form is sealed as
// every other one of the site.
func TestCaptureHasTheSitesPrecision(t *testing.T) {
	t.Parallel()
	set := businessNetworks(t, "84.24.10.64/29")
	for _, precise := range []bool{true, false} {
		e := newEdge(t, nil, nil)
		e.deps.BusinessNetworks = func() *businessnet.Set { return set }
		rec := siteRecord()
		withForm(rec)
		rec.NetworkPrecision = precise
		e.applySite(rec)
		e.applySalt(testCompany, "2026-11-22")
		e.CaughtUp()
		e.start()
		e.capture(e.captureBody(), header("X-Forwarded-For", "84.24.10.65"))
		want := map[bool]string{true: "84.24.10.64/29", false: "84.24.10.0/24"}[precise]
		if network, _ := e.open(e.only(1)); network != want {
			t.Errorf("precise %t: sealed as %s, want %s", precise, network, want)
		}
	}
}

// TestPrecisionDoesNotAllocate: reading the address of a site with the precision
// costs no memory.
func TestPrecisionDoesNotAllocate(t *testing.T) {
	set := businessNetworks(t, "84.24.10.64/29")
	e := newEdge(t, nil, nil)
	e.deps.BusinessNetworks = func() *businessnet.Set { return set }
	rec := siteRecord()
	rec.NetworkPrecision = true
	e.applySite(rec)
	r := newRequest(e.Collector)
	r.site = e.sites.lookup([]byte(testKey))
	ctx := &fasthttp.RequestCtx{}
	ctx.Init(&fasthttp.Request{}, &net.TCPAddr{IP: net.IPv4(84, 24, 10, 65)}, nil)
	if r.readAddress(ctx.Conn()); r.businessNetworks() != set || !r.address.IsValid() {
		t.Fatal("the site has no precision")
	}
	if allocs := testing.AllocsPerRun(500, func() { r.readAddress(ctx.Conn()) }); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}
