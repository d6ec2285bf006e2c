package collector

import (
	"errors"
	"fmt"
	"net/netip"
	"time"
	"unicode/utf8"

	"github.com/metiva-io/metiva/schemas"
)

// Config is what an operator may set. The zero value of a limit means its
// default, which DefaultConfig shows; docs/operations/limits.md lists them.
type Config struct {
	// Name of this collector in records and counts. Each process start adds a
	// random suffix: counts are cumulative per writer, and a writer that started
	// again must not continue an old count from zero.
	Name string
	// TrustedNetworks are the proxies whose X-Forwarded-For is believed.
	TrustedNetworks []netip.Prefix
	// Bots is what becomes of events and captures whose user agent names itself a
	// bot, a crawler or a spider: BotsRefuse, or BotsPass to leave them to enrich.
	Bots string

	// BodyBytesMax: sendBeacon gives up at 64 KiB. It holds for what was received
	// and for what it decompresses to.
	BodyBytesMax int
	// EventsPerRequestMax: a page that was offline for a while sends some dozens.
	EventsPerRequestMax int
	// HeaderBytesMax holds all headers of a request: browsers send one or two
	// KiB, X-Forwarded-For with 32 hops another.
	HeaderBytesMax int
	// ReadTimeout ends a request that is sent byte by byte.
	ReadTimeout time.Duration
	// WriteTimeout ends an answer nobody reads.
	WriteTimeout time.Duration
	// IdleTimeout ends a connection without requests; longer than the 60 s of
	// common load balancers, so that they close first.
	IdleTimeout time.Duration
	// ConnectionsMax bounds memory: each connection costs its buffers.
	ConnectionsMax int
	// ConnectionsPerAddressMax is what one address may hold open, an IPv6 /64 as
	// one: the people of a large office or behind a carrier's address, each with a
	// connection that idles for a minute, and a twentieth of ConnectionsMax. Trusted
	// proxies and private networks have no such limit.
	ConnectionsPerAddressMax int
	// InFlightEventsMax bounds events waiting for Kafka; beyond it requests are
	// asked to come again.
	InFlightEventsMax int
	// AckTimeout is how long a request waits for Kafka. Past it the events are
	// answered "retry". It outlasts a change of partition leader.
	AckTimeout time.Duration
	// RetryAfter is what a refused client is told to wait.
	RetryAfter time.Duration
	// EventAgeMax is how old an event may be when it arrives: the time a snippet
	// keeps an event it could not send.
	EventAgeMax time.Duration
	// FutureSkewMax is how far an event may lie after its own sending: clocks
	// jump when they are set.
	FutureSkewMax time.Duration
	// NetworkEventsPerSecond is what one truncated network may send to all sites:
	// a mobile carrier puts tens of thousands of people behind one /24. Private
	// networks have no such limit: their address is a proxy's that TrustedNetworks
	// does not name, with everybody behind it.
	NetworkEventsPerSecond int
	// LimitedNetworksMax is how many networks are remembered, at 18 bytes each.
	// Beyond it, those that sent least lately are forgotten, and so unlimited.
	LimitedNetworksMax int
	// SiteEventsPerSecond is what one site may send: a busy publisher's peak.
	SiteEventsPerSecond int
	// LimitedSitesMax is how many sites are remembered, as with networks.
	LimitedSitesMax int
	// TenantEventsPerMinute is what all sites of a tenant may send within a
	// minute: an accident or attack at one must not fill Kafka for the others.
	// Each collector counts what it receives itself, here and above.
	TenantEventsPerMinute int
	// NetworkCapturesPerMinute is how many forms one truncated network may send: an
	// office at a fair, and not a script that fills control.keys.
	NetworkCapturesPerMinute int
	// SiteCapturesPerMinute is how many forms one site may send.
	SiteCapturesPerMinute int
	// Partitions of events.collected; a multiple of schemas.TenantBuckets.
	Partitions int
	// ConsentPartitions is how many partitions consent.records has.
	ConsentPartitions int
	// LedgerInterval is how often counts are published.
	LedgerInterval time.Duration
	// StopDelay is how long a stop goes on serving while readiness says no: longer
	// than the load balancer takes to notice, two looks two seconds apart. Zero is
	// no delay. A third of DrainTimeout at most.
	StopDelay time.Duration
	// DrainTimeout bounds a stop: the delay, the wait for open requests and the
	// publishing of the last counts together.
	DrainTimeout time.Duration
	// DrainGrace is what a stop leaves to requests that are still being sent: a
	// beacon takes a fraction of it, a stalled one would take ReadTimeout.
	DrainGrace time.Duration
}

const (
	// eventsPerSecondMax is as good as no limit.
	eventsPerSecondMax = 1_000_000
	// rememberedMax is 256 MiB.
	rememberedMax = 1 << 24
	// bodyBytesCeiling: bodies are held whole, compressed ones twice.
	bodyBytesCeiling = 8 << 20
)

// userAgentBytesMax is how much of a user agent is sealed.
const userAgentBytesMax = 512

// DefaultConfig returns every default.
func DefaultConfig() Config {
	return Config{
		Name:                "collector",
		Bots:                BotsRefuse,
		BodyBytesMax:        64 << 10,
		EventsPerRequestMax: 50,
		HeaderBytesMax:      8 << 10,
		ReadTimeout:         10 * time.Second,
		WriteTimeout:        10 * time.Second,
		IdleTimeout:         75 * time.Second,
		ConnectionsMax:      20_000,
		InFlightEventsMax:   50_000,
		AckTimeout:          5 * time.Second,
		RetryAfter:          5 * time.Second,
		EventAgeMax:         24 * time.Hour,
		FutureSkewMax:       5 * time.Minute,
		Partitions:          schemas.TenantBuckets,
		ConsentPartitions:   4,

		NetworkEventsPerSecond: 500,
		LimitedNetworksMax:     1 << 16,
		SiteEventsPerSecond:    2000,
		LimitedSitesMax:        1 << 14,
		TenantEventsPerMinute:  300_000,

		ConnectionsPerAddressMax: 1_000,
		NetworkCapturesPerMinute: 30,
		SiteCapturesPerMinute:    600,

		LedgerInterval: time.Second,
		StopDelay:      5 * time.Second,
		DrainTimeout:   15 * time.Second,
		DrainGrace:     time.Second,
	}
}

// withDefaults fills what is zero.
func (c Config) withDefaults() Config {
	d := DefaultConfig()
	for _, n := range []struct{ v, d *int }{
		{&c.BodyBytesMax, &d.BodyBytesMax},
		{&c.EventsPerRequestMax, &d.EventsPerRequestMax},
		{&c.HeaderBytesMax, &d.HeaderBytesMax},
		{&c.ConnectionsMax, &d.ConnectionsMax},
		{&c.ConnectionsPerAddressMax, &d.ConnectionsPerAddressMax},
		{&c.InFlightEventsMax, &d.InFlightEventsMax},
		{&c.NetworkEventsPerSecond, &d.NetworkEventsPerSecond},
		{&c.LimitedNetworksMax, &d.LimitedNetworksMax},
		{&c.SiteEventsPerSecond, &d.SiteEventsPerSecond},
		{&c.LimitedSitesMax, &d.LimitedSitesMax},
		{&c.TenantEventsPerMinute, &d.TenantEventsPerMinute},
		{&c.NetworkCapturesPerMinute, &d.NetworkCapturesPerMinute},
		{&c.SiteCapturesPerMinute, &d.SiteCapturesPerMinute},
		{&c.Partitions, &d.Partitions},
		{&c.ConsentPartitions, &d.ConsentPartitions},
	} {
		if *n.v == 0 {
			*n.v = *n.d
		}
	}
	for _, n := range []struct{ v, d *time.Duration }{
		{&c.ReadTimeout, &d.ReadTimeout},
		{&c.WriteTimeout, &d.WriteTimeout},
		{&c.IdleTimeout, &d.IdleTimeout},
		{&c.AckTimeout, &d.AckTimeout},
		{&c.RetryAfter, &d.RetryAfter},
		{&c.EventAgeMax, &d.EventAgeMax},
		{&c.FutureSkewMax, &d.FutureSkewMax},
		{&c.LedgerInterval, &d.LedgerInterval},
		{&c.DrainTimeout, &d.DrainTimeout},
		{&c.DrainGrace, &d.DrainGrace},
	} {
		if *n.v == 0 {
			*n.v = *n.d
		}
	}
	if c.Name == "" {
		c.Name = d.Name
	}
	if c.Bots == "" {
		c.Bots = d.Bots
	}
	return c
}

// Validate lists every fault of the configuration.
func (c Config) Validate() error {
	c = c.withDefaults()
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf("collector: "+format, args...)) }
	if !utf8.ValidString(c.Name) {
		fault("the name is not UTF-8")
	}
	if len(c.Name) > 64 {
		fault("the name has %d bytes, at most 64 are allowed", len(c.Name))
	}
	if c.Bots != BotsRefuse && c.Bots != BotsPass {
		fault("bots must be %q or %q", BotsRefuse, BotsPass)
	}
	for _, p := range c.TrustedNetworks {
		if !p.IsValid() {
			fault("a trusted network is not a network")
		} else if p.Bits() == 0 {
			fault("the trusted network %s trusts everyone", p)
		} else if p.Addr().Is4In6() {
			fault("the trusted network %s matches nothing: write it as an IPv4 network", p)
		}
	}
	for name, n := range map[string]int{
		"body bytes": c.BodyBytesMax, "events per request": c.EventsPerRequestMax, "connections": c.ConnectionsMax, "connections of an address": c.ConnectionsPerAddressMax, "events in flight": c.InFlightEventsMax,
		"events per second of a network": c.NetworkEventsPerSecond, "networks remembered": c.LimitedNetworksMax,
		"events per second of a site": c.SiteEventsPerSecond, "sites remembered": c.LimitedSitesMax, "events per minute of a tenant": c.TenantEventsPerMinute,
		"captures per minute of a network": c.NetworkCapturesPerMinute, "captures per minute of a site": c.SiteCapturesPerMinute,
	} {
		if n < 1 {
			fault("the limit of %s must be at least 1", name)
		}
	}
	for name, n := range map[string]int{"a network": c.NetworkEventsPerSecond, "a site": c.SiteEventsPerSecond} {
		if n > eventsPerSecondMax {
			fault("the events per second of %s must be at most %d", name, eventsPerSecondMax)
		}
	}
	for name, n := range map[string]int{"a network": c.NetworkCapturesPerMinute, "a site": c.SiteCapturesPerMinute} {
		if n > eventsPerSecondMax {
			fault("the captures per minute of %s must be at most %d", name, eventsPerSecondMax)
		}
	}
	for name, n := range map[string]int{"networks": c.LimitedNetworksMax, "sites": c.LimitedSitesMax} {
		if n > rememberedMax {
			fault("the %s remembered must be at most %d", name, rememberedMax)
		}
	}
	if c.BodyBytesMax > bodyBytesCeiling {
		fault("the limit of body bytes must be at most %d", bodyBytesCeiling)
	}
	if c.HeaderBytesMax < 4<<10 {
		fault("the limit of header bytes must be at least 4096: browsers send two thousand")
	}
	for name, d := range map[string]time.Duration{
		"read": c.ReadTimeout, "write": c.WriteTimeout, "idle": c.IdleTimeout, "acknowledgement": c.AckTimeout, "retry-after": c.RetryAfter,
		"event age": c.EventAgeMax, "future skew": c.FutureSkewMax, "ledger": c.LedgerInterval, "drain": c.DrainTimeout, "drain grace": c.DrainGrace, "stop delay": c.StopDelay,
	} {
		if d < 0 {
			fault("the %s time must not be negative", name)
		}
	}
	if c.DrainTimeout > 0 && c.StopDelay > c.DrainTimeout/drainShares {
		fault("the stop delay must be at most %s, a third of the drain time", c.DrainTimeout/drainShares)
	}
	if c.Partitions < 1 || c.Partitions%schemas.TenantBuckets != 0 {
		fault("the partitions of %s must be a multiple of %d", schemas.TopicEventsCollected, schemas.TenantBuckets)
	}
	if c.ConsentPartitions < 1 {
		fault("the partitions of %s must be at least 1", schemas.TopicConsentRecords)
	}
	return errors.Join(faults...)
}
