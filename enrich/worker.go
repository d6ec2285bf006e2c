package enrich

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/metiva-io/metiva/enrich/bot"
	"github.com/metiva-io/metiva/enrich/company"
	"github.com/metiva-io/metiva/enrich/device"
	"github.com/metiva-io/metiva/enrich/person"
	"github.com/metiva-io/metiva/enrich/source"
	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/schemas"
)

const subjectKeySweepEvery = time.Hour

// Worker is one enrich process. Workers share the partitions of
// events.collected.
type Worker struct {
	cfg                Config
	deps               Deps
	metrics            *metrics
	steps              *steps
	revocations        *revocations
	producer           producer
	keys               table
	enrichedPartitions int
	visitMetrics       *visitMetrics
	visitRules         *siteRules
	visitPartitions    int
	ledger             *ledger

	sender      *kafka.Producer
	consumer    *kafka.Consumer
	keyTable    *kafka.Table
	withdrawals *kafka.Table
	erasures    *kafka.Table
	sites       *kafka.Table
	// suppressions is what tenants have registered.
	suppressions *kafka.Table
	ready        chan struct{}
}

// table is control.keys, as far as a partition needs it (kafka.Table).
type table interface {
	CatchUp(ctx context.Context) error
}

// New makes a worker. It does not reach for the brokers; Run does.
func New(cfg Config, deps Deps) (*Worker, error) {
	if err := errors.Join(cfg.Validate(), deps.validate()); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	m, err := newMetrics(deps.Registerer)
	if err != nil {
		return nil, err
	}
	vm, err := newVisitMetrics(deps.Registerer)
	if err != nil {
		return nil, err
	}
	rules, err := newSiteRules()
	if err != nil {
		return nil, err
	}
	bots, err := bot.NewClassifier()
	if err != nil {
		return nil, fmt.Errorf("compiling the lists of bots: %w", err)
	}
	if deps.Sources == nil {
		if deps.Sources, err = source.NewTables(nil); err != nil {
			return nil, fmt.Errorf("reading the lists of sources: %w", err)
		}
	}
	mail, err := person.NewMailServices()
	if err != nil {
		return nil, fmt.Errorf("reading the lists of mail services: %w", err)
	}
	hosts, forms, registered := newSiteHosts(), person.NewSites(), company.NewRegistered()
	revoked := newRevocations()
	w := &Worker{
		cfg: cfg, deps: deps, metrics: m, revocations: revoked, ready: make(chan struct{}),
		visitMetrics: vm, visitRules: rules, ledger: newLedger(),
		steps: &steps{
			opener: deps.Opener, bots: bots, devices: device.NewReader(), siteHosts: hosts,
			persons:     person.NewStep(deps.Opener, forms, mail),
			revocations: revoked, registered: registered, metrics: m, now: deps.Now,
		},
	}
	w.SetLists(deps.Chain, deps.Sources)
	if w.sender, err = deps.Kafka.NewProducer(kafka.ProducerConfig{Compression: cfg.Compression}); err != nil {
		return nil, fmt.Errorf("making the producer: %w", err)
	}
	w.producer = w.sender
	if w.consumer, err = deps.Kafka.NewConsumer(kafka.ConsumerConfig{Group: cfg.Group, Topics: []string{schemas.TopicEventsCollected}, ReuseMemory: true}); err != nil {
		return nil, fmt.Errorf("making the consumer: %w", err)
	}
	w.keyTable = w.table(schemas.TopicControlKeys, w.applyKey)
	w.withdrawals = w.table(schemas.TopicControlWithdrawals, revoked.ApplyWithdrawal)
	w.erasures = w.table(schemas.TopicControlErasures, revoked.ApplyErasure)
	w.sites = w.table(schemas.TopicControlSites, func(key, value []byte) error {
		return errors.Join(hosts.Apply(key, value), rules.Apply(key, value), forms.Apply(key, value))
	})
	w.suppressions = w.table(schemas.TopicControlSuppressions, registered.Apply)
	w.keys = w.keyTable
	return w, nil
}

// table reads a control topic. A record that cannot be read is counted and
// passed over: it must not stop the rest, least of all later withdrawals.
func (w *Worker) table(topic string, apply func(key, value []byte) error) *kafka.Table {
	invalid := w.metrics.control.WithLabelValues(topic)
	return w.deps.Kafka.NewTable(topic, func(key, value []byte) error {
		if err := apply(key, value); err != nil {
			invalid.Inc()
			w.deps.Log.Error("a control record cannot be read", "topic", topic)
		}
		return nil
	})
}

// applyKey takes a record of control.keys, but for the keys of captures that are past.
func (w *Worker) applyKey(key, value []byte) error {
	return w.deps.Opener.ApplyKeySince(w.oldestSubjectKey(), key, value)
}

func (w *Worker) oldestSubjectKey() time.Time { return w.deps.Now().Add(-w.cfg.SubjectKeyAgeMax) }

// forgetSubjectKeys drops the keys of captures that are past, until ctx ends.
func (w *Worker) forgetSubjectKeys(ctx context.Context) error {
	ticker := time.NewTicker(subjectKeySweepEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			w.deps.Opener.ForgetSubjectKeys(w.oldestSubjectKey())
		}
	}
}

// tables are the control topics, which are read to their end before any event.
func (w *Worker) tables() []*kafka.Table {
	return []*kafka.Table{w.keyTable, w.withdrawals, w.erasures, w.sites, w.suppressions}
}

// SetLists replaces the chain and the tables of sources. Events that come from then
// on are decided by them. It is safe while the worker runs.
func (w *Worker) SetLists(chain *company.Chain, sources *source.Tables) {
	w.steps.chain.Store(chain)
	w.steps.sources.Store(sources)
}

// Ready is closed once the control tables are read and partitions can be
// taken.
func (w *Worker) Ready() <-chan struct{} { return w.ready }

// Run works until ctx ends, finishes the batches at work, and returns nil; or
// it returns the error that makes going on impossible.
func (w *Worker) Run(ctx context.Context) error {
	group, groupCtx := errgroup.WithContext(ctx)
	// The tables and the producer outlive the consumer, which needs them for
	// the batches it finishes.
	rest, stopRest := context.WithCancel(context.WithoutCancel(ctx))
	defer stopRest()
	for _, t := range w.tables() {
		group.Go(func() error { return t.Run(rest) })
	}
	group.Go(func() error { return w.sender.Run(rest) })
	group.Go(func() error { return w.forgetSubjectKeys(rest) })
	group.Go(func() error { return w.report(rest) })
	group.Go(func() error {
		defer stopRest()
		defer w.reportLast(groupCtx)
		return w.consume(groupCtx)
	})
	if err := group.Wait(); err != nil {
		return fmt.Errorf("enriching events: %w", err)
	}
	return nil
}

// consume takes partitions once the tables are complete: an event must not
// pass before the withdrawal that stands against it is known.
func (w *Worker) consume(ctx context.Context) error {
	for _, t := range w.tables() {
		select {
		case <-ctx.Done():
			return nil
		case <-t.Ready():
		}
	}
	if err := w.readPartitions(ctx); err != nil {
		if ctx.Err() != nil {
			return nil //nolint:nilerr // told to stop
		}
		return err
	}
	close(w.ready)
	return w.consumer.Run(ctx, func(ctx context.Context, c *kafka.Claim) error { return w.serve(ctx, c) })
}

// readPartitions checks the topics whose partitions the worker relies on.
func (w *Worker) readPartitions(ctx context.Context) error {
	counts := make(map[string]int)
	for _, topic := range []string{schemas.TopicEventsEnriched, schemas.TopicVisitsEnriched, schemas.TopicEventsCollected, schemas.TopicVisitsState} {
		n, err := w.deps.Kafka.Partitions(ctx, topic)
		if err != nil {
			return fmt.Errorf("reading the partitions of %s: %w", topic, err)
		}
		counts[topic] = n
	}
	w.enrichedPartitions, w.visitPartitions = counts[schemas.TopicEventsEnriched], counts[schemas.TopicVisitsEnriched]
	for _, topic := range []string{schemas.TopicEventsEnriched, schemas.TopicVisitsEnriched} {
		if n := counts[topic]; n < schemas.TenantBuckets || n%schemas.TenantBuckets != 0 {
			return fmt.Errorf("%s has %d partitions, which is not a multiple of %d", topic, n, schemas.TenantBuckets)
		}
	}
	if collected, state := counts[schemas.TopicEventsCollected], counts[schemas.TopicVisitsState]; state < collected {
		return fmt.Errorf("%s has %d partitions and needs those of %s, %d", schemas.TopicVisitsState, state, schemas.TopicEventsCollected, collected)
	}
	return nil
}
