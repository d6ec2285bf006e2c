package sink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/schemas"
	store "github.com/metiva-io/metiva/sink/clickhouse"
)

// Consumer gives the partitions of the group (kafka.Consumer, made with Group
// and Topics).
type Consumer interface {
	Run(ctx context.Context, handle func(ctx context.Context, claim *kafka.Claim) error) error
}

// DeadLetters takes what cannot be written (kafka.Producer).
type DeadLetters interface {
	PartitionFor(ctx context.Context, topic string, key []byte) (int, error)
	ProduceSync(ctx context.Context, topic string, partition int, key, value []byte, headers ...kafka.Header) error
}

// Claim is one owned partition (kafka.Claim).
type Claim interface {
	Topic() string
	Partition() int
	NextBatch(ctx context.Context, lim kafka.BatchLimit) (kafka.Batch, error)
	Plan(ctx context.Context, b kafka.Batch) error
	Commit(ctx context.Context, b kafka.Batch) error
}

// Store is where rows go (sink/clickhouse.Store).
type Store interface {
	Find(ctx context.Context, wanted []store.Wanted) (store.Stored, error)
	InsertEvents(ctx context.Context, token string, rows []store.EventRow) error
	InsertDrops(ctx context.Context, token string, rows []store.DropRow) error
	InsertLedger(ctx context.Context, token string, rows []store.LedgerRow) error
	InsertVisits(ctx context.Context, token string, rows []store.VisitRow) error
	InsertAccountDays(ctx context.Context, token string, rows []store.AccountDayRow) error
	// What follows is asked only in an attempt that is not the first (again.go).
	MissingLedger(ctx context.Context, rows []store.LedgerRow) ([]store.LedgerRow, error)
	MissingVisits(ctx context.Context, rows []store.VisitRow) ([]store.VisitRow, error)
	MissingAccountDays(ctx context.Context, rows []store.AccountDayRow) ([]store.AccountDayRow, error)
	Absence(ctx context.Context, table, tokenPart string) (store.Absence, error)
}

// Deps are what a worker works with. All but Erased are needed.
type Deps struct {
	Consumer Consumer
	Dead     DeadLetters
	Store    Store
	Log      *slog.Logger
	Metrics  prometheus.Registerer
	Now      func() time.Time
	// Erased is who was erased; nil is nobody, for tests and measurements.
	Erased Erasures
}

// Worker is one sink process's share of the group.
type Worker struct {
	cfg     Config
	deps    Deps
	metrics *metrics
	budget  *budget
	memory  chan *eventMemory
}

// New makes a worker. It does not connect.
func New(cfg Config, deps Deps) (*Worker, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if deps.Consumer == nil || deps.Dead == nil || deps.Store == nil || deps.Log == nil || deps.Metrics == nil || deps.Now == nil {
		return nil, errors.New("the sink lacks a dependency")
	}
	if deps.Erased == nil {
		deps.Erased = nobody{}
	}
	m, err := newMetrics(deps.Metrics)
	if err != nil {
		return nil, fmt.Errorf("registering the sink's metrics: %w", err)
	}
	cfg = cfg.withDefaults()
	return &Worker{cfg: cfg, deps: deps, metrics: m, budget: newBudget(cfg.MemoryBytesMax), memory: make(chan *eventMemory, memoryKept)}, nil
}

// Run works until ctx ends and the batches being written are done.
func (w *Worker) Run(ctx context.Context) error {
	return w.deps.Consumer.Run(ctx, func(ctx context.Context, claim *kafka.Claim) error { return w.handle(ctx, claim) })
}

// handle writes the batches of one partition until ctx ends. An error gives
// the partition back: whoever gets it next is given the planned range again.
func (w *Worker) handle(ctx context.Context, claim Claim) error {
	leave := w.budget.join()
	defer leave()
	p := newPace(&w.cfg)
	for {
		if err := w.next(ctx, claim, &p); err != nil {
			if ctx.Err() != nil {
				return nil // told to stop
			}
			return err
		}
	}
}

// next reads and writes one batch.
func (w *Worker) next(ctx context.Context, claim Claim, p *pace) error {
	granted, done := w.budget.read(p.bytes)
	defer done()
	limit := p.limit(granted)
	b, err := claim.NextBatch(ctx, limit)
	if err != nil {
		return fmt.Errorf("reading a batch of %s/%d: %w", claim.Topic(), claim.Partition(), err)
	}
	began := time.Now()
	if err := w.process(ctx, claim, b); err != nil {
		return err
	}
	p.wrote(b, limit, time.Since(began))
	return nil
}

// process plans, writes and commits one batch. Once planned, it goes on for
// DrainTimeout after ctx ends.
func (w *Worker) process(ctx context.Context, claim Claim, b kafka.Batch) error {
	if err := claim.Plan(ctx, b); err != nil {
		return fmt.Errorf("planning %s/%d %d-%d: %w", b.Topic, b.Partition, b.First, b.Last, err)
	}
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(w.cfg.DrainTimeout, cancel) })
	defer stop()

	again := b.Again
	base := batchWriter{worker: w, batch: b, hash: hashBatch(b), now: w.deps.Now(), deadSent: make(map[int64]bool), again: &again}
	if err := w.retry(ctx, b, func() error { return w.attempt(work, base) }); err != nil {
		return err
	}
	if err := claim.Commit(work, b); err != nil {
		return fmt.Errorf("committing %s/%d %d-%d: %w", b.Topic, b.Partition, b.First, b.Last, err)
	}
	w.metrics.batches.WithLabelValues(b.Topic).Inc()
	return nil
}

// attempt decodes and writes a batch once. What it needs for that is the sink's, and
// is given back before a pause.
func (w *Worker) attempt(ctx context.Context, base batchWriter) error {
	done, err := w.budget.write(ctx, base.batch)
	if err != nil {
		return fmt.Errorf("waiting to write: %w", err)
	}
	defer done()
	a := w.newAttempt(base)
	defer a.end()
	return a.write(ctx)
}

// attempt writes one batch, once.
type attempt interface {
	write(ctx context.Context) error
	// end gives back what it used, whether it succeeded or not.
	end()
}

func (w *Worker) newAttempt(base batchWriter) attempt {
	switch base.batch.Topic {
	case schemas.TopicLedgerEdge:
		return newLatest(base, w.ledgerEntries())
	case schemas.TopicVisitsEnriched:
		return newLatest(base, w.visits())
	case schemas.TopicAccountsEnriched:
		return newLatest(base, w.accountDays())
	default:
		return &eventWriter{batchWriter: base, memory: w.takeMemory()}
	}
}

// retry calls write until it succeeds or ctx ends, with growing pauses. Every
// error is retried: what a row's own values cause has been sorted out by
// bisection before it gets here.
func (w *Worker) retry(ctx context.Context, b kafka.Batch, write func() error) error {
	pause := w.cfg.RetryMin
	for {
		err := write()
		if err == nil {
			return nil
		}
		w.metrics.retries.WithLabelValues(b.Topic).Inc()
		if ctx.Err() != nil {
			return fmt.Errorf("writing %s/%d %d-%d: %w", b.Topic, b.Partition, b.First, b.Last, err)
		}
		w.deps.Log.Warn("writing a batch, will try again", "topic", b.Topic, "partition", b.Partition, "first", b.First, "last", b.Last,
			"pause_seconds", pause.Seconds(), "error", err)
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("writing %s/%d %d-%d: %w", b.Topic, b.Partition, b.First, b.Last, err)
		}
		pause = min(2*pause, w.cfg.RetryMax)
	}
}
