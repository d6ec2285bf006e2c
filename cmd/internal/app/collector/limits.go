package collector

import (
	"strconv"
	"strings"
	"time"

	"github.com/metiva-io/metiva/cmd/internal/config"
	stage "github.com/metiva-io/metiva/collector"
)

// bindLimits adds the limits an operator seldom changes. Their reasons are in
// docs/operations/limits.md.
func bindLimits(s *config.Set, edge *stage.Config) {
	d := stage.DefaultConfig()
	env := func(flag string) string {
		return "METIVA_COLLECTOR_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
	}
	s.String(&edge.Bots, config.Option{Flag: "bots", Env: env("bots"), Default: d.Bots, Help: "What becomes of visitors whose user agent names itself a bot, a crawler or a spider: refuse, or pass them on to enrich."})
	for _, o := range []struct {
		p          *int
		d          int
		flag, help string
	}{
		{&edge.ConnectionsPerAddressMax, d.ConnectionsPerAddressMax, "connections-per-address-max", "Most open connections of one address, an IPv6 /64 as one; trusted proxies and private networks are not limited."},
		{&edge.HeaderBytesMax, d.HeaderBytesMax, "header-bytes-max", "Largest header section of a request."},
		{&edge.InFlightEventsMax, d.InFlightEventsMax, "in-flight-events-max", "Most events waiting for Kafka; beyond it requests are asked to come again."},
		{&edge.LimitedSitesMax, d.LimitedSitesMax, "limited-sites-max", "How many sites the limit remembers, at 18 bytes each."},
	} {
		s.Int(o.p, config.Option{Flag: o.flag, Env: env(o.flag), Default: strconv.Itoa(o.d), Help: o.help})
	}
	for _, o := range []struct {
		p          *time.Duration
		d          time.Duration
		flag, help string
	}{
		{&edge.ReadTimeout, d.ReadTimeout, "read-timeout", "How long a request may take to arrive, headers and body."},
		{&edge.WriteTimeout, d.WriteTimeout, "write-timeout", "How long an answer may take to be read."},
		{&edge.IdleTimeout, d.IdleTimeout, "idle-timeout", "How long a connection without requests stays open; longer than the load balancer's own."},
		{&edge.RetryAfter, d.RetryAfter, "retry-after", "What a client is told to wait when the collector cannot take events."},
		{&edge.FutureSkewMax, d.FutureSkewMax, "future-skew-max", "How far an event may lie after its own sending."},
		{&edge.LedgerInterval, d.LedgerInterval, "ledger-interval", "How often counts are published."},
		{&edge.StopDelay, d.StopDelay, "stop-delay", "How long a stop goes on serving while readiness says no, for the load balancer to notice; 0s for none, at most a quarter of METIVA_DRAIN_TIMEOUT."},
	} {
		s.Duration(o.p, config.Option{Flag: o.flag, Env: env(o.flag), Default: o.d.String(), Help: o.help})
	}
}
