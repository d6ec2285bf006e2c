package collector

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/metiva-io/metiva/consent"
	"github.com/metiva-io/metiva/pkg/businessnet"
	"github.com/metiva-io/metiva/pkg/seal"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// Names under which the collector reports to Deps.Readiness.
const (
	ReadyTables   = "control_tables"
	ReadyKafka    = "kafka"
	ReadyListener = "listener"
)

// ReadinessNames lists them.
func ReadinessNames() []string { return []string{ReadyTables, ReadyKafka, ReadyListener} }

// Deps is what a collector works with.
type Deps struct {
	Producer Producer
	// Ping asks Kafka for a sign of life, for readiness only.
	Ping func(ctx context.Context) error
	// ResolverKey is what data keys are wrapped to.
	ResolverKey seal.PublicKey
	// EdgeKey opens visit salts.
	EdgeKey seal.PrivateKey
	Tokens  *consent.Tokens
	// Snippet is the script served at /v1/s.js.
	Snippet []byte
	// Released are scripts of earlier releases, served under their versions.
	Released [][]byte
	// BusinessNetworks are the networks addresses of sites with that precision are
	// cut to (businessnet.Watch.Current); nil: there are none here, and every address
	// is cut to /24 or /48.
	BusinessNetworks func() *businessnet.Set
	// Adapters is the script served at /v1/cmp.js; ReleasedAdapters are those of
	// earlier releases.
	Adapters         []byte
	ReleasedAdapters [][]byte
	// Banner is the module served at /v1/banner.js.
	Banner []byte
	// Readiness takes reports under ReadinessNames.
	Readiness interface{ Set(name string, err error) }
	Log       *slog.Logger
	Registry  prometheus.Registerer
	Now       func() time.Time
}

func (d Deps) validate() error {
	var faults []error
	for what, missing := range map[string]bool{
		"producer": d.Producer == nil, "ping": d.Ping == nil, "resolver key": d.ResolverKey.IsZero(), "edge key": d.EdgeKey.IsZero(),
		"consent tokens": d.Tokens == nil, "snippet": len(d.Snippet) == 0, "adapters": len(d.Adapters) == 0, "banner": len(d.Banner) == 0, "readiness": d.Readiness == nil,
		"log": d.Log == nil, "registry": d.Registry == nil, "clock": d.Now == nil,
	} {
		if missing {
			faults = append(faults, fmt.Errorf("collector: the %s is missing", what))
		}
	}
	return errors.Join(faults...)
}

// Collector takes events in. Feed it with the Apply methods, tell it when the
// tables have caught up, and run it.
type Collector struct {
	cfg      Config
	deps     Deps
	log      *slog.Logger
	now      func() time.Time
	writerID string
	writer   []byte // the writer's id as an event's record has it

	sites       *sites
	salts       *salts
	withdrawals *consent.Withdrawals
	sealer      *seal.Sealer
	ledger      *ledger
	recorder    *recorder
	choices     *prometheus.CounterVec // calls to /v1/consent
	limits      *limits
	captures    *captureLimits
	inflater    *inflater
	metrics     *metrics
	scripts     scripts
	adapters    scripts
	banner      scripts
	pages       pages

	caughtUp atomic.Bool
	stopping atomic.Bool // each answer ends its connection
	inFlight atomic.Int64
	requests sync.Pool // of *request
	works    sync.Pool // of *work
	patience patience

	// panicLogged is when a panic was last logged, in Unix seconds.
	panicLogged atomic.Int64
}

var (
	errStopping = errors.New("stopping")
	errStarting = errors.New("reading control topics")
)

// New checks the configuration and builds a collector. It does not listen yet.
func New(cfg Config, deps Deps) (*Collector, error) {
	if err := errors.Join(cfg.Validate(), deps.validate()); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	var suffix [4]byte
	_, _ = rand.Read(suffix[:]) // crypto/rand never returns an error
	c := &Collector{
		cfg: cfg, deps: deps, log: deps.Log, now: deps.Now,
		writerID:    cfg.Name + "-" + hex.EncodeToString(suffix[:]),
		salts:       newSalts(deps.EdgeKey, deps.Now),
		withdrawals: consent.NewWithdrawals(),
		pages:       newPages(),
	}
	c.sites = newSites(c.salts)
	c.writer = appendField(nil, fieldWriterID, c.writerID)
	c.patience.timeout = cfg.AckTimeout
	c.requests.New = func() any { return newRequest(c) }
	c.works.New = func() any { return newWork() }
	c.ledger = newLedger(c.writerID, deps.Producer, deps.Now)
	c.recorder = newRecorder(c.writerID, cfg, deps.Producer)
	var err error
	if c.metrics, err = newMetrics(deps.Registry, c.sites.count, c.inFlight.Load); err != nil {
		return nil, fmt.Errorf("registering collector metrics: %w", err)
	}
	if c.choices, err = newChoiceCounter(deps.Registry); err != nil {
		return nil, err
	}
	if c.scripts, err = newScripts(deps.Snippet, deps.Released); err != nil {
		return nil, err
	}
	if c.banner, err = newScripts(deps.Banner, nil); err != nil {
		return nil, err
	}
	if c.adapters, err = newScripts(deps.Adapters, deps.ReleasedAdapters); err != nil {
		return nil, err
	}
	c.limits = newLimits(cfg, c.metrics)
	c.captures = newCaptureLimits(cfg, c.metrics)
	if c.inflater, err = newInflater(cfg.BodyBytesMax); err != nil {
		return nil, err
	}
	if c.sealer, err = seal.NewSealer(deps.ResolverKey, c.writerID, c.publishKey, deps.Now); err != nil {
		return nil, err
	}
	deps.Readiness.Set(ReadyTables, errStarting)
	return c, nil
}

// WriterID names this run of the collector in its records.
func (c *Collector) WriterID() string { return c.writerID }

// publishKey makes a wrapped data key durable on control.keys.
func (c *Collector) publishKey(ctx context.Context, rec *metivav1.DataKey) error {
	value, err := schemas.Encode(nil, &metivav1.KeyRecord{Kind: &metivav1.KeyRecord_DataKey{DataKey: rec}})
	if err != nil {
		return err
	}
	return c.deps.Producer.ProduceSync(ctx, schemas.TopicControlKeys, 0, seal.RecordKeyOf(rec), value)
}

// ApplySite takes one record of control.sites.
func (c *Collector) ApplySite(key, value []byte) error {
	c.applied(schemas.TopicControlSites, c.sites.apply(key, value))
	return nil
}

// ApplyKey takes one record of control.keys.
func (c *Collector) ApplyKey(key, value []byte) error {
	c.sealer.ApplyKey(key, value)
	c.applied(schemas.TopicControlKeys, c.salts.apply(key, value))
	return nil
}

// ApplyWithdrawal takes one record of control.withdrawals.
func (c *Collector) ApplyWithdrawal(key, value []byte) error {
	c.applied(schemas.TopicControlWithdrawals, c.withdrawals.Apply(key, value))
	return nil
}

// applied counts a record that could not be applied. One bad record must not
// end the table that feeds all the others; the error holds no record values.
func (c *Collector) applied(topic string, err error) {
	if err != nil {
		c.metrics.invalidControl.WithLabelValues(topic).Inc()
		c.log.Error("control record ignored", "topic", topic, "error", err)
	}
}

// CaughtUp opens the door: every control topic has been read to its end once.
// Until then events are answered "retry", since a site may just not be read yet.
func (c *Collector) CaughtUp() {
	c.caughtUp.Store(true)
	c.deps.Readiness.Set(ReadyTables, nil)
}

// drainShares divides the time for stopping: all but one share is for open
// requests, the last at least for the counts, which would name what was lost.
const drainShares = 3

// pingInterval is how often Kafka is asked for a sign of life.
const pingInterval = 5 * time.Second

// Run serves ln until ctx ends: then it is not ready, serves on for StopDelay,
// accepts nothing more, finishes the open requests, publishes the last counts and
// returns, all within DrainTimeout. It closes ln. The producer must keep running until Run has
// returned.
func (c *Collector) Run(ctx context.Context, ln net.Listener) error {
	return c.run(ctx, c.newListener(ln))
}

func (c *Collector) run(ctx context.Context, ln *listener) error {
	server := c.newServer()
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()

	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	wg.Go(func() { c.watchKafka(background) })
	wg.Go(func() { c.housekeep(background) })
	wg.Go(func() { ln.keepTime(background.Done()) })
	c.deps.Readiness.Set(ReadyListener, nil)

	var begun time.Time // of the stop
	var err error
	select {
	case <-ctx.Done():
		c.deps.Readiness.Set(ReadyListener, errStopping)
		begun = time.Now()
		c.standBy()
		err = c.drain(server, ln, begun.Add(c.cfg.DrainTimeout/drainShares*(drainShares-1)))
		<-served
	case err = <-served:
		c.deps.Readiness.Set(ReadyListener, errStopping)
		begun = time.Now()
		err = fmt.Errorf("serving events: %w", errors.Join(err, errListenerClosed))
	}
	stop()
	wg.Wait()
	c.recorder.stop()
	return errors.Join(err, c.publishLast(context.WithoutCancel(ctx), begun.Add(c.cfg.DrainTimeout)))
}

var errListenerClosed = errors.New("the listener ended by itself")

// watchKafka reports whether Kafka answers.
func (c *Collector) watchKafka(ctx context.Context) {
	ticker := time.NewTicker(pingInterval)
	defer ticker.Stop()
	for {
		pingCtx, cancel := context.WithTimeout(ctx, pingInterval)
		err := c.deps.Ping(pingCtx)
		cancel()
		if ctx.Err() != nil {
			return
		}
		c.deps.Readiness.Set(ReadyKafka, err)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// housekeep publishes counts, makes the keys of the day to come, and forgets
// yesterday's keys and salts and the last minute's quotas.
func (c *Collector) housekeep(ctx context.Context) {
	ticker := time.NewTicker(c.cfg.LedgerInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		c.publishLedger(ctx)
		c.sealer.Forget()
		c.prepareAhead(ctx)
		c.salts.forget()
		c.limits.forget(c.now())
	}
}

// prepareAhead lets the tenants' keys be renewed before they end, so that nobody
// waits for Kafka at midnight.
func (c *Collector) prepareAhead(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.AckTimeout)
	defer cancel()
	if err := c.sealer.PrepareAhead(ctx); err != nil && !errors.Is(err, context.Canceled) {
		c.log.Warn("data keys of the day to come are not published yet, trying again", "error", err)
	}
}

func (c *Collector) publishLedger(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.AckTimeout)
	defer cancel()
	unsent, err := c.ledger.publish(ctx)
	c.metrics.ledgerUnsent.Set(float64(unsent))
	if err != nil && !errors.Is(err, context.Canceled) {
		c.log.Warn("ledger not published, trying again", "entries", unsent, "error", err)
	}
}

// publishLast publishes what the ledger still holds, after the last request.
func (c *Collector) publishLast(ctx context.Context, by time.Time) error {
	ctx, cancel := context.WithDeadline(ctx, by)
	defer cancel()
	for {
		unsent, err := c.ledger.publish(ctx)
		c.metrics.ledgerUnsent.Set(float64(unsent))
		if unsent == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d counts stay unpublished: %w", unsent, err)
		case <-time.After(c.cfg.LedgerInterval / 10):
		}
	}
}
