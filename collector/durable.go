package collector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/metiva-io/metiva/collector/spool"
	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// ReadySpool is what a Durable reports under: the spool can be written, has room,
// and can be sent.
const ReadySpool = "spool"

// DurableConfig tunes a Durable. Zero values mean the default.
type DurableConfig struct {
	// HedgeAfter is how long a record waits for Kafka alone; past it, it goes to
	// the spool as well (default 40 ms: several times a normal acknowledgement,
	// and half of what a visitor's browser would notice).
	HedgeAfter time.Duration
	// SpoolAfter is how long a partition may acknowledge nothing before its
	// records go to the spool at once (default 200 ms: longer than a leader takes
	// to move, and short enough that little memory waits for Kafka).
	SpoolAfter time.Duration
	// DrainTimeout bounds a stop (default 4 s).
	DrainTimeout time.Duration
}

func (c DurableConfig) withDefaults() DurableConfig {
	if c.HedgeAfter == 0 {
		c.HedgeAfter = 40 * time.Millisecond
	}
	if c.SpoolAfter == 0 {
		c.SpoolAfter = max(200*time.Millisecond, 2*c.HedgeAfter)
	}
	if c.DrainTimeout == 0 {
		c.DrainTimeout = 4 * time.Second
	}
	return c
}

// Validate reports every fault of the configuration.
func (c DurableConfig) Validate() error {
	c = c.withDefaults()
	var faults []error
	if c.HedgeAfter < time.Millisecond {
		faults = append(faults, errors.New("collector: the time before a record is hedged must be a millisecond at least"))
	}
	if c.SpoolAfter < c.HedgeAfter {
		faults = append(faults, errors.New("collector: a partition is given up for the time being before its records are hedged"))
	}
	if c.DrainTimeout < 0 {
		faults = append(faults, errors.New("collector: the drain time of the spool is negative"))
	}
	return errors.Join(faults...)
}

// DurableDeps is what a Durable works with.
type DurableDeps struct {
	// Kafka takes records while RunKafka runs.
	Kafka    Producer
	RunKafka func(ctx context.Context) error
	// Spool is opened by the caller; Run runs and closes it.
	Spool     *spool.Spool
	Readiness interface{ Set(name string, err error) }
	Log       *slog.Logger
	Registry  prometheus.Registerer
	Now       func() time.Time
}

// Durable is a Producer whose acknowledgement means that a record is in Kafka
// with acks=all or fsynced in the spool, whichever is sooner. What is in the spool
// alone is sent to Kafka later, in order. It never waits long for Kafka, and holds
// of each partition at most what came within SpoolAfter.
type Durable struct {
	cfg     DurableConfig
	deps    DurableDeps
	log     *slog.Logger
	now     func() time.Time
	metrics *durableMetrics
	batches sync.Pool // of *spool.Batch

	stopping  atomic.Bool
	undurable atomic.Int64 // groups nobody was told about yet
	// preceding counts the records of precedingTopics that are in the spool and not
	// known to be in Kafka. While there are any, events go to the spool behind them.
	preceding atomic.Int64

	lanes atomic.Pointer[map[spool.Lane]*durableLane] // replaced under mu, never changed

	mu      sync.Mutex
	running bool
	wg      sync.WaitGroup
	quit    chan struct{} // closed at the end of Run

	begin      chan struct{} // closed by BeginReplay
	superseded func(topic string, key, value []byte) bool

	runsMu  sync.Mutex
	runs    []*hedgedRun // by sequence
	decided chan struct{}

	refusal atomic.Pointer[error] // of the replay by Kafka
}

// precedes reports whether events may rest on the records of a topic: their data
// key, their consent, its withdrawal. Such a record must be in Kafka before an
// event that came after it, and after an older one of its own topic.
func precedes(topic string) bool {
	switch topic {
	case schemas.TopicControlKeys, schemas.TopicControlWithdrawals, schemas.TopicConsentRecords:
		return true
	}
	return false
}

// NewDurable makes a Durable; it works while Run runs.
func NewDurable(cfg DurableConfig, deps DurableDeps) (*Durable, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if deps.Kafka == nil || deps.RunKafka == nil || deps.Spool == nil || deps.Readiness == nil || deps.Log == nil || deps.Registry == nil || deps.Now == nil {
		return nil, errors.New("collector: a part of the durable producer is missing")
	}
	d := &Durable{
		cfg: cfg.withDefaults(), deps: deps, log: deps.Log, now: deps.Now,
		quit: make(chan struct{}), begin: make(chan struct{}), decided: make(chan struct{}, 1),
	}
	d.batches.New = func() any { return &spool.Batch{} }
	d.lanes.Store(&map[spool.Lane]*durableLane{})
	var err error
	if d.metrics, err = newDurableMetrics(deps.Registry, d); err != nil {
		return nil, fmt.Errorf("registering metrics of the durable producer: %w", err)
	}
	for key, n := range deps.Spool.Backlog() {
		l := d.lane(key)
		l.spooledAdd(n)
	}
	deps.Spool.NotifyLost(func(topic string, partition int) {
		d.lane(spool.Lane{Topic: topic, Partition: partition}).spooledAdd(-1)
	})
	return d, nil
}

// Produce takes a record. It copies key and value, and waits for neither network
// nor disk. Errors: spool.ErrFull when Kafka is away and the spool full, and what
// Kafka's producer refuses for good.
func (d *Durable) Produce(topic string, partition int, key, value []byte) (Ack, error) {
	l := d.lane(spool.Lane{Topic: topic, Partition: partition})
	l.mu.Lock()
	defer l.mu.Unlock()
	if cause := l.detour(); cause != causeNone {
		return l.spool(cause, key, value)
	}
	ack, err := d.deps.Kafka.Produce(topic, partition, key, value)
	switch {
	case err == nil:
		return l.keep(ack, key, value)
	case errors.Is(err, kafka.ErrBufferFull), errors.Is(err, kafka.ErrClosed):
		l.stall(d.now())
		return l.spool(causeRefused, key, value)
	default:
		return nil, err
	}
}

// ProduceSync takes a record and waits until it is durable. When ctx ends first
// it may become so later.
func (d *Durable) ProduceSync(ctx context.Context, topic string, partition int, key, value []byte) error {
	ack, err := d.Produce(topic, partition, key, value)
	if err != nil {
		return err
	}
	return waitAck(ctx, ack)
}

func (d *Durable) lane(key spool.Lane) *durableLane {
	if l := (*d.lanes.Load())[key]; l != nil {
		return l
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	old := *d.lanes.Load()
	if l := old[key]; l != nil {
		return l
	}
	lanes := make(map[spool.Lane]*durableLane, len(old)+1)
	for k, l := range old {
		lanes[k] = l
	}
	l := newDurableLane(d, key)
	lanes[key] = l
	d.lanes.Store(&lanes)
	if d.running {
		d.wg.Go(l.run)
	}
	return l
}

// BeginReplay lets the replay begin: once the control topics are read, so that
// superseded can tell which records Kafka must not get any more. It is asked
// before each one, and may be nil. Call it once.
func (d *Durable) BeginReplay(superseded func(topic string, key, value []byte) bool) {
	d.superseded = superseded
	close(d.begin)
}

// Health is nil while a record that Kafka does not take has a place to go, and
// gets from there to Kafka.
func (d *Durable) Health() error {
	if err := d.deps.Spool.Health(); err != nil {
		return err
	}
	if err := d.refusal.Load(); err != nil {
		return *err
	}
	return nil
}

// Ping makes of Kafka's sign of life one of this producer: without Kafka it is
// alive as long as the spool takes over.
func (d *Durable) Ping(kafkaPing func(ctx context.Context) error) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		err := kafkaPing(ctx)
		if err == nil {
			d.metrics.kafkaUp.Set(1)
			return nil
		}
		if ctx.Err() == nil || errors.Is(ctx.Err(), context.DeadlineExceeded) {
			d.metrics.kafkaUp.Set(0)
		}
		if d.Health() == nil {
			return nil
		}
		return err
	}
}

// healthInterval is how often readiness is told.
const healthInterval = time.Second

// refusalReason is the reason for an event that was not taken.
func refusalReason(err error) metivav1.Reason {
	if errors.Is(err, spool.ErrFull) || errors.Is(err, kafka.ErrBufferFull) {
		return metivav1.Reason_REASON_OVERLOADED
	}
	return metivav1.Reason_REASON_UNACKNOWLEDGED
}

// flushTime is what a stop leaves to Kafka for what the spool has already: each
// record Kafka gets now need not be sent again.
const flushTime = time.Second

// closeTime is what the last write of the spool may take beyond DrainTimeout.
const closeTime = time.Second

// Run works until ctx ends, then sees to it that every record is durable, closes
// the spool and returns, within DrainTimeout and a second. It runs once.
func (d *Durable) Run(ctx context.Context) error {
	d.mu.Lock()
	d.running = true
	for _, l := range *d.lanes.Load() {
		d.wg.Go(l.run)
	}
	d.mu.Unlock()
	base := context.WithoutCancel(ctx)
	kafkaCtx, stopKafka := context.WithCancel(base)
	spoolCtx, stopSpool := context.WithCancel(base)
	replayCtx, stopReplay := context.WithCancel(base)
	defer stopKafka()
	defer stopSpool()
	defer stopReplay()
	kafkaEnded, spoolEnded, replayEnded := make(chan error, 1), make(chan error, 1), make(chan struct{})
	go func() { kafkaEnded <- d.deps.RunKafka(kafkaCtx) }()
	go func() { spoolEnded <- d.deps.Spool.Run(spoolCtx) }()
	go func() { defer close(replayEnded); d.replay(replayCtx) }()

	var failure error
	ticker := time.NewTicker(healthInterval)
	defer ticker.Stop()
	for serving := true; serving; {
		d.deps.Readiness.Set(ReadySpool, d.Health())
		select {
		case <-ctx.Done():
			serving = false
		case err := <-kafkaEnded:
			failure = errors.Join(errors.New("collector: producing to Kafka ended before it was told to"), err)
			kafkaEnded <- nil
			serving = false
		case <-ticker.C:
		}
	}
	drain, cancel := context.WithTimeout(base, d.cfg.DrainTimeout)
	defer cancel()
	deadline := drain.Done()
	d.stopping.Store(true)
	stopReplay()
	select {
	case <-replayEnded:
	case <-deadline: // it waits for the disk
	}
	stopKafka() // which flushes
	lost := d.awaitDurable(deadline)
	if lost == 0 {
		d.awaitFlush(kafkaEnded, deadline)
	}
	d.mu.Lock()
	d.running = false
	d.mu.Unlock()
	close(d.quit)
	d.wg.Wait()
	stopSpool()
	failure = errors.Join(failure, awaitClosed(spoolEnded, deadline))
	left := d.deps.Spool.Stats().Records
	d.log.Info("the spool is closed", "records", left, "batches_unknown", lost)
	if lost > 0 {
		failure = errors.Join(failure, fmt.Errorf("collector: %d batches are neither acknowledged nor in the spool", lost))
	}
	return failure
}

// awaitDurable waits until nobody waits for a record any more.
func (d *Durable) awaitDurable(deadline <-chan struct{}) (lost int64) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		n := d.undurable.Load()
		if n == 0 {
			return 0
		}
		select {
		case <-tick.C:
		case <-deadline:
			return n
		}
	}
}

// awaitClosed waits for the end of the spool, but not for ever: a disk may hang.
func awaitClosed(spoolEnded <-chan error, deadline <-chan struct{}) error {
	select {
	case err := <-spoolEnded:
		return err
	case <-deadline:
	}
	limit := time.NewTimer(closeTime)
	defer limit.Stop()
	select {
	case err := <-spoolEnded:
		return err
	case <-limit.C:
		return spool.ErrHung
	}
}

func (d *Durable) awaitFlush(kafkaEnded <-chan error, deadline <-chan struct{}) {
	limit := time.NewTimer(flushTime)
	defer limit.Stop()
	select {
	case <-kafkaEnded:
	case <-limit.C:
	case <-deadline:
	}
}
