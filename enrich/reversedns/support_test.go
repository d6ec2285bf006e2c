package reversedns

import (
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// fakeClock is a clock that stands still until it is moved.
type fakeClock struct{ since atomic.Int64 }

func (c *fakeClock) now() time.Time { return time.Unix(1_790_000_000, c.since.Load()) }

func (c *fakeClock) add(d time.Duration) { c.since.Add(int64(d)) }

// counted is how many networks ended so.
func counted(t *testing.T, r *Resolver, o Outcome) float64 {
	t.Helper()
	reg := prometheus.NewRegistry()
	if err := reg.Register(r.metrics.networks[o]); err != nil {
		t.Fatal(err)
	}
	families, err := reg.Gather()
	if err != nil || len(families) != 1 {
		t.Fatal(err)
	}
	return families[0].GetMetric()[0].GetCounter().GetValue()
}

// patiently asks until every look-up has ended.
func patiently(t *testing.T, r *Resolver, networks []netip.Prefix) *Answers {
	t.Helper()
	return r.Ask(t.Context(), networks, 2*networkTimeMax)
}
