package registry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/metiva-io/metiva/pkg/seal"
	"github.com/metiva-io/metiva/pkg/tenant"
)

// KafkaPublisher sends one record and returns once it is acknowledged by all
// in-sync replicas. An empty value is a tombstone.
type KafkaPublisher interface {
	Publish(ctx context.Context, topic string, key, value []byte) error
}

// PublisherConfig is what a Publisher needs. Pool, Worker, Kafka, Edge and Log
// are required.
type PublisherConfig struct {
	Pool   *tenant.Pool
	Worker *tenant.Worker
	Kafka  KafkaPublisher
	// Edge is the collectors' public key, which visit salts are wrapped to.
	Edge seal.PublicKey
	Log  *slog.Logger
	// Registerer receives the metrics; nil for none.
	Registerer prometheus.Registerer
	// Report, when set, is told how each round of Run ended: nil when all that
	// was due has been done. For readiness.
	Report func(err error)
	// Now defaults to time.Now; the day of a visit salt is its UTC day.
	Now func() time.Time
	// PollEvery is how often the outbox is looked at without a notification;
	// default 2 s.
	PollEvery time.Duration
	// SaltsEvery is how often the visit salts are looked at; default 1 min. A
	// new tenant's are made at once.
	SaltsEvery time.Duration
}

// Validate reports every fault at once.
func (c PublisherConfig) Validate() error {
	var faults []error
	if c.Pool == nil || c.Worker == nil {
		faults = append(faults, errors.New("the publisher needs both database connections"))
	}
	if c.Kafka == nil {
		faults = append(faults, errors.New("the publisher needs Kafka"))
	}
	if c.Edge.IsZero() {
		faults = append(faults, errors.New("the publisher needs the collectors' public key"))
	}
	if c.Log == nil {
		faults = append(faults, errors.New("the publisher needs a logger"))
	}
	if c.PollEvery < 0 || c.SaltsEvery < 0 {
		faults = append(faults, errors.New("an interval of the publisher is negative"))
	}
	return errors.Join(faults...)
}

const (
	pollDefault    = 2 * time.Second
	saltsDefault   = time.Minute
	purgeEvery     = time.Hour
	batchRows      = 100
	publishTimeout = 10 * time.Second
	// batchTimeout ends a batch that was begun before ctx ended; what it did
	// not send stays in the outbox.
	batchTimeout = 20 * time.Second
	// Advisory locks: one process at a time works on each.
	lockOutbox = 0x6d65746f7574 // "metout"
	lockSalts  = 0x6d657473616c // "metsal"

	channelOutbox    = "metiva_outbox"
	payloadDirectory = "directory"
)

// Publisher moves the outbox and the visit salts to Kafka. Several may run, in
// one process or in many.
type Publisher struct {
	cfg  PublisherConfig
	wake chan struct{}
	// saltsDue is set by a change of the directory.
	saltsDue  atomic.Bool
	published *prometheus.CounterVec
	failures  prometheus.Counter
	backlog   prometheus.Gauge
}

// NewPublisher prepares a publisher; Run starts it.
func NewPublisher(cfg PublisherConfig) (*Publisher, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.PollEvery == 0 {
		cfg.PollEvery = pollDefault
	}
	if cfg.SaltsEvery == 0 {
		cfg.SaltsEvery = saltsDefault
	}
	p := &Publisher{
		cfg:  cfg,
		wake: make(chan struct{}, 1),
		published: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "metiva_control_published_total", Help: "Records acknowledged on the control topics.",
		}, []string{"topic"}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "metiva_control_failures_total", Help: "Rounds of the publisher that ended with an error.",
		}),
		backlog: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "metiva_control_outbox_records", Help: "Records waiting in the outbox.",
		}),
	}
	if cfg.Registerer != nil {
		for _, c := range []prometheus.Collector{p.published, p.failures, p.backlog} {
			if err := cfg.Registerer.Register(c); err != nil {
				return nil, fmt.Errorf("registering the publisher's metrics: %w", err)
			}
		}
	}
	return p, nil
}

// Run publishes until ctx ends. An error of Kafka or Postgres is logged and
// counted, and the work is tried again; nothing is lost, because a record
// leaves the outbox only after it was acknowledged.
func (p *Publisher) Run(ctx context.Context) error {
	var listening sync.WaitGroup
	listening.Go(func() {
		p.cfg.Worker.KeepListening(ctx, channelOutbox, p.cfg.PollEvery, func(payload string) {
			if payload == payloadDirectory {
				p.saltsDue.Store(true)
			}
			p.Wake()
		}, func(err error) {
			p.cfg.Log.Warn("not listening for control records, polling only", slog.Any("error", err))
		})
	})
	defer listening.Wait()
	poll := time.NewTicker(p.cfg.PollEvery)
	defer poll.Stop()
	var saltsAt, purgedAt time.Time
	for {
		if ctx.Err() != nil {
			return nil
		}
		err := p.round(ctx, &saltsAt, &purgedAt)
		if ctx.Err() == nil && p.cfg.Report != nil {
			p.cfg.Report(err)
		}
		if err != nil && ctx.Err() == nil {
			p.failures.Inc()
			p.cfg.Log.Error("publishing control records", slog.Any("error", err))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-p.wake:
		case <-poll.C:
		}
	}
}

// Wake makes Run look at the outbox now.
func (p *Publisher) Wake() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// round does everything that is due. One part's failure does not stop the
// others.
func (p *Publisher) round(ctx context.Context, saltsAt, purgedAt *time.Time) error {
	now := p.cfg.Now()
	faults := []error{bounded(ctx, p.retireKeys), p.drain(ctx)}
	if p.saltsDue.Swap(false) || now.Sub(*saltsAt) >= p.cfg.SaltsEvery || now.Before(*saltsAt) {
		err := p.salts(ctx)
		faults = append(faults, err)
		if err != nil {
			p.saltsDue.Store(true)
		} else {
			*saltsAt = now
		}
	}
	if now.Sub(*purgedAt) >= purgeEvery {
		faults = append(faults, bounded(ctx, p.purge))
		*purgedAt = now
	}
	return errors.Join(faults...)
}

// bounded gives work the time of a batch: a database that neither answers nor
// breaks the connection must not stop the rounds without a word.
func bounded(ctx context.Context, work func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, batchTimeout)
	defer cancel()
	return work(ctx)
}

// Flush publishes everything that is due now, and returns once it is
// acknowledged: for operators' commands and tests. It waits for another
// process that is publishing at the moment.
func (p *Publisher) Flush(ctx context.Context) error {
	return errors.Join(p.retireKeys(ctx), p.drainAs(ctx, queryLock), p.saltsAs(ctx, queryLock))
}

func (p *Publisher) drain(ctx context.Context) error { return p.drainAs(ctx, queryTryLock) }

// drainAs moves batches until the outbox is empty, ctx ends, or another
// process holds the lock (queryTryLock).
func (p *Publisher) drainAs(ctx context.Context, lock string) error {
	for ctx.Err() == nil {
		more, err := p.drainBatch(ctx, lock)
		if err != nil {
			return err
		}
		if !more {
			return nil
		}
	}
	return ctx.Err()
}

type outboxRecord struct {
	ID         int64
	Topic      string
	Key, Value []byte
}

// drainBatch sends the oldest records in order and marks those that were
// acknowledged. It reports whether there may be more.
func (p *Publisher) drainBatch(ctx context.Context, lock string) (more bool, err error) {
	// A batch that has begun is finished after ctx ended: the transaction must
	// see its acknowledgements.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), batchTimeout)
	defer cancel()
	var sendErr error
	err = p.cfg.Worker.Tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if got, err := p.lock(ctx, tx, lock, lockOutbox); err != nil || !got {
			return err
		}
		rows, err := tx.Query(ctx, queryPending, batchRows)
		if err != nil {
			return err
		}
		records, err := pgx.CollectRows(rows, pgx.RowToStructByPos[outboxRecord])
		if err != nil {
			return err
		}
		done := make([]int64, 0, len(records))
		for _, r := range records {
			if sendErr = p.send(ctx, r.Topic, r.Key, r.Value); sendErr != nil {
				break // order: nothing after it may overtake it
			}
			done = append(done, r.ID)
		}
		more = sendErr == nil && len(records) == batchRows
		if len(done) > 0 {
			if _, err := tx.Exec(ctx, queryMarkDone, done); err != nil {
				return err
			}
		}
		var waiting int64
		if err := tx.QueryRow(ctx, queryBacklog).Scan(&waiting); err != nil {
			return err
		}
		p.backlog.Set(float64(waiting))
		return nil
	})
	return more, errors.Join(err, sendErr)
}

// lock takes an advisory lock for the transaction: with queryTryLock it
// reports whether it got it, with queryLock it waits.
func (p *Publisher) lock(ctx context.Context, tx pgx.Tx, query string, id int64) (bool, error) {
	if query == queryLock {
		_, err := tx.Exec(ctx, queryLock, id)
		return err == nil, err
	}
	var got bool
	err := tx.QueryRow(ctx, queryTryLock, id).Scan(&got)
	return got, err
}

func (p *Publisher) send(ctx context.Context, topic string, key, value []byte) error {
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	if err := p.cfg.Kafka.Publish(ctx, topic, key, value); err != nil {
		return fmt.Errorf("publishing to %s: %w", topic, err)
	}
	p.published.WithLabelValues(topic).Inc()
	return nil
}

// retireKeys queues the record of each site whose rotated key's overlap is
// over, without that key.
func (p *Publisher) retireKeys(ctx context.Context) error {
	type dueSite struct{ CompanyID, SiteID string }
	var due []dueSite
	err := p.cfg.Worker.Tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		rows, err := tx.Query(ctx, queryKeysDue)
		if err != nil {
			return err
		}
		due, err = pgx.CollectRows(rows, pgx.RowToStructByPos[dueSite])
		return err
	})
	if err != nil {
		return fmt.Errorf("looking for site keys to retire: %w", err)
	}
	for _, d := range due {
		claim, err := tenant.OperatorClaim(d.CompanyID, "schedule:site-keys")
		if err != nil {
			return err
		}
		err = changeIn(ctx, p.cfg.Pool, claim, func(ctx context.Context, tx tenant.Tx, active bool) error {
			if _, err := tx.Exec(ctx, queryTouchSite, d.SiteID); err != nil {
				return err
			}
			tag, err := tx.Exec(ctx, queryMarkRetired, d.SiteID)
			if err != nil || tag.RowsAffected() == 0 {
				return err // another process was faster
			}
			_, err = queueSite(ctx, tx, d.SiteID, active)
			return err
		})
		if err != nil {
			return fmt.Errorf("retiring a site key: %w", publicError(err))
		}
	}
	return nil
}

// purge deletes superseded records that were published a day ago, and notes of
// salts that were destroyed a month ago.
func (p *Publisher) purge(ctx context.Context) error {
	return p.cfg.Worker.Tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		for _, query := range []string{queryPurge, queryPurgeSalts} {
			if _, err := tx.Exec(ctx, query); err != nil {
				return fmt.Errorf("purging: %w", err)
			}
		}
		return nil
	})
}
