package scorer

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/schemas"
)

// Worker is one scorer. Scorers share the partitions of visits.enriched.
type Worker struct {
	cfg      Config
	deps     Deps
	metrics  *metrics
	sites    *sites
	erasures *erasures
	producer producer
	// partitions of accounts.enriched.
	partitions int

	sender       *kafka.Producer
	consumer     *kafka.Consumer
	siteTable    *kafka.Table
	erasureTable *kafka.Table
	ready        chan struct{}
}

// New makes a scorer. It does not reach for the brokers; Run does.
func New(cfg Config, deps Deps) (*Worker, error) {
	if err := errors.Join(cfg.Validate(), deps.validate()); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	m, err := newMetrics(deps.Registerer)
	if err != nil {
		return nil, err
	}
	known, err := newSites()
	if err != nil {
		return nil, err
	}
	w := &Worker{
		cfg: cfg, deps: deps, metrics: m, sites: known, erasures: &erasures{tenants: make(map[string]struct{})}, ready: make(chan struct{}),
	}
	if w.sender, err = deps.Kafka.NewProducer(kafka.ProducerConfig{Compression: cfg.Compression}); err != nil {
		return nil, fmt.Errorf("making the producer: %w", err)
	}
	w.producer = w.sender
	if w.consumer, err = deps.Kafka.NewConsumer(kafka.ConsumerConfig{Group: cfg.Group, Topics: []string{schemas.TopicVisitsEnriched}}); err != nil {
		return nil, fmt.Errorf("making the consumer: %w", err)
	}
	w.siteTable = w.table(schemas.TopicControlSites, w.sites.Apply)
	w.erasureTable = w.table(schemas.TopicControlErasures, w.erasures.Apply)
	return w, nil
}

// table reads a control topic. A record that cannot be read as it is is counted, and
// does not stop the rest.
func (w *Worker) table(topic string, apply func(key, value []byte) error) *kafka.Table {
	invalid := w.metrics.control.WithLabelValues(topic)
	return w.deps.Kafka.NewTable(topic, func(key, value []byte) error {
		if err := apply(key, value); err != nil {
			invalid.Inc()
			w.deps.Log.Error("a control record cannot be read as it is", "topic", topic, "reader", "scorer")
		}
		return nil
	})
}

// Ready is closed once the control tables are read and partitions can be taken.
func (w *Worker) Ready() <-chan struct{} { return w.ready }

// Run works until ctx ends, finishes the batches at work, and returns nil; or it
// returns the error that makes going on impossible.
func (w *Worker) Run(ctx context.Context) error {
	group, groupCtx := errgroup.WithContext(ctx)
	// The tables and the producer outlive the consumer, which needs them for the
	// batches it finishes.
	rest, stopRest := context.WithCancel(context.WithoutCancel(ctx))
	defer stopRest()
	group.Go(func() error { return w.siteTable.Run(rest) })
	group.Go(func() error { return w.erasureTable.Run(rest) })
	group.Go(func() error { return w.sender.Run(rest) })
	group.Go(func() error {
		defer stopRest()
		return w.consume(groupCtx)
	})
	if err := group.Wait(); err != nil {
		return fmt.Errorf("scoring visits: %w", err)
	}
	return nil
}

// consume takes partitions once the tables are complete.
func (w *Worker) consume(ctx context.Context) error {
	for _, t := range []*kafka.Table{w.siteTable, w.erasureTable} {
		select {
		case <-ctx.Done():
			return nil
		case <-t.Ready():
		}
	}
	partitions, err := w.countPartitions(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil //nolint:nilerr // told to stop
		}
		return err
	}
	w.partitions = partitions
	close(w.ready)
	return w.consumer.Run(ctx, func(ctx context.Context, c *kafka.Claim) error { return w.serve(ctx, c) })
}

// countPartitions checks that the topics fit each other.
func (w *Worker) countPartitions(ctx context.Context) (int, error) {
	count := make(map[string]int)
	for _, topic := range []string{schemas.TopicVisitsEnriched, schemas.TopicAccountsState, schemas.TopicAccountsEnriched} {
		n, err := w.deps.Kafka.Partitions(ctx, topic)
		if err != nil {
			return 0, fmt.Errorf("reading the partitions of %s: %w", topic, err)
		}
		count[topic] = n
	}
	if count[schemas.TopicVisitsEnriched] != count[schemas.TopicAccountsState] {
		return 0, fmt.Errorf("%s has %d partitions and %s %d: each needs its own", schemas.TopicVisitsEnriched, count[schemas.TopicVisitsEnriched],
			schemas.TopicAccountsState, count[schemas.TopicAccountsState])
	}
	n := count[schemas.TopicAccountsEnriched]
	if n < schemas.TenantBuckets || n%schemas.TenantBuckets != 0 {
		return 0, fmt.Errorf("%s has %d partitions, which is not a multiple of %d", schemas.TopicAccountsEnriched, n, schemas.TenantBuckets)
	}
	return n, nil
}
