package collector

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/metiva-io/metiva/cmd/internal/app"
	"github.com/metiva-io/metiva/cmd/internal/config"
	stage "github.com/metiva-io/metiva/collector"
	"github.com/metiva-io/metiva/collector/snippet"
	"github.com/metiva-io/metiva/consent"
	"github.com/metiva-io/metiva/pkg/businessnet"
	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/pkg/lifecycle"
	"github.com/metiva-io/metiva/pkg/seal"
	"github.com/metiva-io/metiva/schemas"
)

// Config is the configuration of the collector process.
type Config struct {
	Process     config.Process
	Kafka       config.Kafka
	Keys        config.Keys
	Listen      string
	Trusted     []string
	Linger      time.Duration
	Compression string
	Edge        stage.Config
	Spool       Spool
	Precision   Precision
}

// Bind adds every setting of the process.
func (c *Config) Bind(s *config.Set) {
	d := stage.DefaultConfig()
	c.Spool.bind(s)
	c.Precision.bind(s)
	c.Process.Bind(s)
	c.Kafka.Bind(s)
	c.Keys.Bind(s)
	s.String(&c.Listen, config.Option{Flag: "listen", Env: "METIVA_COLLECTOR_LISTEN", Default: ":7700", Help: "Address of the public listener."})
	s.List(&c.Trusted, config.Option{Flag: "trusted-proxies", Env: "METIVA_TRUSTED_PROXIES", Help: "Networks of the proxies whose X-Forwarded-For is believed, comma-separated; empty: nobody's is."})
	s.Duration(&c.Linger, config.Option{Flag: "linger", Env: "METIVA_COLLECTOR_LINGER", Default: "3ms", Help: "How long the producer gathers events for one Kafka batch."})
	s.String(&c.Compression, config.Option{Flag: "compression", Env: "METIVA_COLLECTOR_COMPRESSION", Default: "snappy", Help: "Compression of what is produced: none, lz4, snappy or zstd (ADR 0015)."})
	s.String(&c.Edge.Name, config.Option{Flag: "name", Env: "METIVA_COLLECTOR_NAME", Default: d.Name, Help: "Name of this collector in records and counts."})
	s.Int(&c.Edge.BodyBytesMax, config.Option{Flag: "body-bytes-max", Env: "METIVA_COLLECTOR_BODY_BYTES_MAX", Default: fmt.Sprint(d.BodyBytesMax), Help: "Largest request body; browsers send at most 64 KiB on the way out."})
	s.Int(&c.Edge.EventsPerRequestMax, config.Option{Flag: "events-per-request-max", Env: "METIVA_COLLECTOR_EVENTS_PER_REQUEST_MAX", Default: fmt.Sprint(d.EventsPerRequestMax), Help: "Most events of one request."})
	s.Int(&c.Edge.ConnectionsMax, config.Option{Flag: "connections-max", Env: "METIVA_COLLECTOR_CONNECTIONS_MAX", Default: fmt.Sprint(d.ConnectionsMax), Help: "Most open connections; each costs its buffers."})
	s.Int(&c.Edge.NetworkCapturesPerMinute, config.Option{Flag: "network-captures-per-minute", Env: "METIVA_COLLECTOR_NETWORK_CAPTURES_PER_MINUTE", Default: fmt.Sprint(d.NetworkCapturesPerMinute), Help: "Forms one truncated network may send to this collector; each leaves a key on control.keys."})
	s.Int(&c.Edge.SiteCapturesPerMinute, config.Option{Flag: "site-captures-per-minute", Env: "METIVA_COLLECTOR_SITE_CAPTURES_PER_MINUTE", Default: fmt.Sprint(d.SiteCapturesPerMinute), Help: "Forms one site may send to this collector."})
	s.Int(&c.Edge.NetworkEventsPerSecond, config.Option{Flag: "network-events-per-second", Env: "METIVA_COLLECTOR_NETWORK_EVENTS_PER_SECOND", Default: fmt.Sprint(d.NetworkEventsPerSecond), Help: "Events one truncated network may send to this collector, with ten seconds' worth at once; private networks are not limited."})
	s.Int(&c.Edge.SiteEventsPerSecond, config.Option{Flag: "site-events-per-second", Env: "METIVA_COLLECTOR_SITE_EVENTS_PER_SECOND", Default: fmt.Sprint(d.SiteEventsPerSecond), Help: "Events one site may send to this collector, with ten seconds' worth at once."})
	s.Int(&c.Edge.TenantEventsPerMinute, config.Option{Flag: "tenant-events-per-minute", Env: "METIVA_COLLECTOR_TENANT_EVENTS_PER_MINUTE", Default: fmt.Sprint(d.TenantEventsPerMinute), Help: "Events all sites of a tenant may send to this collector within a minute."})
	s.Int(&c.Edge.LimitedNetworksMax, config.Option{Flag: "limited-networks-max", Env: "METIVA_COLLECTOR_LIMITED_NETWORKS_MAX", Default: fmt.Sprint(d.LimitedNetworksMax), Help: "How many networks the limit remembers, at 18 bytes each; beyond it the quietest are forgotten."})
	s.Duration(&c.Edge.DrainGrace, config.Option{Flag: "drain-grace", Env: "METIVA_COLLECTOR_DRAIN_GRACE", Default: d.DrainGrace.String(), Help: "How long a stop waits for requests that are still being sent."})
	s.Duration(&c.Edge.AckTimeout, config.Option{Flag: "ack-timeout", Env: "METIVA_COLLECTOR_ACK_TIMEOUT", Default: d.AckTimeout.String(), Help: "How long a request waits for Kafka before its events are answered retry."})
	s.Duration(&c.Edge.EventAgeMax, config.Option{Flag: "event-age-max", Env: "METIVA_COLLECTOR_EVENT_AGE_MAX", Default: d.EventAgeMax.String(), Help: "Oldest event that is accepted."})
	bindLimits(s, &c.Edge)
}

// Validate joins every fault.
func (c *Config) Validate() error {
	faults := []error{
		kafka.ProducerConfig{Compression: c.Compression}.Validate(),
		c.Process.Validate(), c.Kafka.Validate(&c.Process),
		app.CheckKeys(&c.Keys, &c.Process, seal.PurposeResolverPublic, seal.PurposeEdgePrivate, seal.PurposeConsentToken),
	}
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		faults = append(faults, errors.New("METIVA_COLLECTOR_LISTEN must be host:port or :port"))
	}
	c.Edge.TrustedNetworks = nil
	for i, text := range c.Trusted {
		network, err := netip.ParsePrefix(text)
		if err != nil {
			faults = append(faults, fmt.Errorf("METIVA_TRUSTED_PROXIES: item %d is not a network such as 10.0.0.0/8", i+1))
			continue
		}
		c.Edge.TrustedNetworks = append(c.Edge.TrustedNetworks, network.Masked())
	}
	// The rest of the time is the producer's, to send what it still holds.
	c.Edge.DrainTimeout = c.Process.DrainTimeout / 4 * 3
	faults = append(faults, c.Spool.validate(c.Edge.Name, c.Process.DrainTimeout), c.Precision.validate())
	return errors.Join(append(faults, c.Edge.Validate())...)
}

// keys are what a collector holds.
type keys struct {
	resolver seal.PublicKey
	edge     seal.PrivateKey
	tokens   *consent.Tokens
	files    []seal.KeyMaterial
}

func readKeys(cfg *Config) (k keys, err error) {
	read := func(purpose string) seal.KeyMaterial {
		m, e := app.CheckKey(&cfg.Keys, &cfg.Process, purpose)
		err = errors.Join(err, e)
		return m
	}
	resolver, edge, tokens := read(seal.PurposeResolverPublic), read(seal.PurposeEdgePrivate), read(seal.PurposeConsentToken)
	if err != nil {
		return keys{}, err
	}
	if k.resolver, err = resolver.PublicKey(); err != nil {
		return keys{}, err
	}
	if k.edge, err = edge.PrivateKey(); err != nil {
		return keys{}, err
	}
	k.files = []seal.KeyMaterial{resolver, edge, tokens}
	k.tokens, err = consent.NewTokens(tokens.Secret())
	return k, err
}

// Run is the collector process.
func Run(ctx context.Context, sys app.System) error {
	var cfg Config
	set := config.NewSet("collector")
	cfg.Bind(set)
	if err := app.Configure(sys, set, &cfg.Process, cfg.Validate); err != nil {
		return err
	}
	held, err := readKeys(&cfg)
	if err != nil {
		return err
	}
	w := app.Watch(sys, &cfg.Process, "collector", append(stage.ReadinessNames(), stage.ReadySpool)...)
	w.WarnOfExposed(held.files...)
	client, err := kafka.NewClient(cfg.Kafka.Client("collector"), w.Log, w.Registry)
	if err != nil {
		return err
	}
	producer, err := client.NewProducer(kafka.ProducerConfig{Linger: cfg.Linger, Compression: cfg.Compression})
	if err != nil {
		return err
	}
	networks, err := cfg.Precision.open(w)
	if err != nil {
		return err
	}
	var unsent stage.Unsent
	durable, err := openDurable(w, &cfg, producer, &unsent)
	if err != nil {
		return err
	}
	return w.Run(ctx,
		lifecycle.Stage{Name: "edge", Run: func(ctx context.Context) error {
			return serve(ctx, w, &cfg, stageDeps{held, client, durable, &unsent, networks})
		}},
		lifecycle.Stage{Name: "producer and spool", Run: durable.Run})
}

// stageDeps is what the edge is made with.
type stageDeps struct {
	keys
	client   *kafka.Client
	durable  *stage.Durable
	unsent   *stage.Unsent
	networks *businessnet.Watch // nil: addresses are truncated
}

// serve waits for Kafka, whose topic says how many partitions there are, and
// then takes events until ctx ends.
func serve(ctx context.Context, w *app.Watched, cfg *Config, d stageDeps) error {
	client, durable := d.client, d.durable
	if err := w.Until(ctx, stage.ReadyKafka, func(ctx context.Context) (err error) {
		if cfg.Edge.Partitions, err = client.Partitions(ctx, schemas.TopicEventsCollected); err != nil {
			return err
		}
		cfg.Edge.ConsentPartitions, err = client.Partitions(ctx, schemas.TopicConsentRecords)
		return err
	}); err != nil {
		return err
	}
	released, err := snippet.Released()
	if err != nil {
		return err
	}
	releasedAdapters, err := snippet.ReleasedAdapters()
	if err != nil {
		return err
	}
	edge, err := stage.New(cfg.Edge, stage.Deps{
		Producer: durable, Ping: durable.Ping(client.Ping), ResolverKey: d.resolver, EdgeKey: d.edge, Tokens: d.tokens,
		BusinessNetworks: currentOf(d.networks),
		Snippet:          snippet.Script(), Released: released, Adapters: snippet.Adapters(), Banner: snippet.Banner(), ReleasedAdapters: releasedAdapters,
		Readiness: w.Ready, Log: w.Log, Registry: w.Registry, Now: time.Now,
	})
	if err != nil {
		return err
	}
	edge.ApplyUnsent(d.unsent)
	ln, err := app.Listen(ctx, "events", cfg.Listen)
	if err != nil {
		return err
	}
	tables := map[string]*kafka.Table{
		schemas.TopicControlSites:       client.NewTable(schemas.TopicControlSites, edge.ApplySite),
		schemas.TopicControlKeys:        client.NewTable(schemas.TopicControlKeys, edge.ApplyKey),
		schemas.TopicControlWithdrawals: client.NewTable(schemas.TopicControlWithdrawals, edge.ApplyWithdrawal),
	}
	stages := []lifecycle.Stage{{Name: "listener", Run: func(ctx context.Context) error { return edge.Run(ctx, ln) }}}
	if d.networks != nil {
		stages = append(stages, lifecycle.Stage{Name: "company database", Run: d.networks.Run})
	}
	for topic, table := range tables {
		stages = append(stages, lifecycle.Stage{Name: topic, Run: table.Run})
	}
	go func() {
		for _, table := range tables {
			select {
			case <-table.Ready():
			case <-ctx.Done():
				return
			}
		}
		edge.CaughtUp()
		durable.BeginReplay(edge.Superseded)
	}()
	return lifecycle.Run(ctx, w.Log, cfg.Process.DrainTimeout, stages...)
}
