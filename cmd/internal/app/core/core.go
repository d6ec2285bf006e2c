package core

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/metiva-io/metiva/cmd/internal/app"
	"github.com/metiva-io/metiva/cmd/internal/config"
	"github.com/metiva-io/metiva/pkg/core/registry"
	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/pkg/lifecycle"
	"github.com/metiva-io/metiva/pkg/postgres"
	"github.com/metiva-io/metiva/pkg/seal"
	"github.com/metiva-io/metiva/pkg/tenant"
	"github.com/metiva-io/metiva/schemas"
)

// Config is the configuration of the core process.
type Config struct {
	Process config.Process
	Kafka   config.Kafka
	RW      config.Postgres
	Worker  config.Postgres
	Keys    config.Keys
	Ledger  Ledger

	Retention Retention
	Analytics Analytics
	Erasures  Erasures
}

// Bind adds every setting of the process.
func (c *Config) Bind(s *config.Set) {
	c.RW = config.Postgres{Env: "METIVA_POSTGRES_URL", Flag: "postgres-url", Role: "app_rw"}
	c.Worker = config.Postgres{Env: "METIVA_POSTGRES_WORKER_URL", Flag: "postgres-worker-url", Role: "app_worker"}
	c.Process.Bind(s)
	c.Kafka.Bind(s)
	c.RW.Bind(s)
	c.Worker.Bind(s)
	c.Keys.Bind(s)
	c.Ledger.Bind(s)
	c.Retention.Bind(s)
	c.Analytics.Bind(s)
	c.Erasures.Bind(s)
}

// Validate joins every fault.
func (c *Config) Validate() error {
	return errors.Join(
		c.Process.Validate(), c.Kafka.Validate(&c.Process), c.RW.Validate(&c.Process), c.Worker.Validate(&c.Process),
		readable(&c.RW), readable(&c.Worker),
		app.CheckKeys(&c.Keys, &c.Process, seal.PurposeEdgePublic), c.Ledger.Validate(&c.Process),
		c.Retention.Validate(&c.Process, c.Ledger.ClickHouse.TLSCAFile), c.Analytics.Validate(&c.Process, c.Ledger.ClickHouse.TLSCAFile),
		c.Erasures.Validate(&c.Keys, &c.Process),
	)
}

// readable asks the driver whether it can use an address that is there, so that
// --check and not the first connection finds it out.
func readable(p *config.Postgres) error {
	if p.URL.IsZero() {
		return nil
	}
	if err := (postgres.Config{URL: p.URL}).Validate(); err != nil {
		return fmt.Errorf("%s: %w", p.Env, err)
	}
	return nil
}

// Run is the core process.
func Run(ctx context.Context, sys app.System) error {
	var cfg Config
	set := config.NewSet("core")
	cfg.Bind(set)
	if err := app.Configure(sys, set, &cfg.Process, cfg.Validate); err != nil {
		return err
	}
	edge, err := app.CheckKey(&cfg.Keys, &cfg.Process, seal.PurposeEdgePublic)
	if err != nil {
		return err
	}
	edgeKey, err := edge.PublicKey()
	if err != nil {
		return err
	}
	w := app.Watch(sys, &cfg.Process, "core", "postgres", "kafka", "published")
	w.WarnOfExposed(edge)
	client, err := kafka.NewClient(cfg.Kafka.Client("core"), w.Log, w.Registry)
	if err != nil {
		return err
	}
	producer, err := client.NewProducer(kafka.ProducerConfig{})
	if err != nil {
		return err
	}
	ledger, closeLedger, err := cfg.Ledger.stage(w)
	if err != nil {
		return err
	}
	defer closeLedger()
	retention, closeRetention, err := retentionStage(w, &cfg)
	if err != nil {
		return err
	}
	defer closeRetention()
	erasures, err := erasureStage(w, &cfg, client, producer)
	if err != nil {
		return err
	}
	return w.Run(ctx, analyticsStage(w, &cfg), ledger, retention, erasures,
		lifecycle.Stage{Name: "publisher", Run: func(ctx context.Context) error {
			return publish(ctx, w, &cfg, edgeKey, client, producer)
		}},
		lifecycle.Stage{Name: "shredder", Run: func(ctx context.Context) error { return shred(ctx, w, client, producer) }},
		lifecycle.Stage{Name: "producer", Run: producer.Run})
}

// publish connects, sends what Kafka does not have, and then keeps publishing.
func publish(ctx context.Context, w *app.Watched, cfg *Config, edge seal.PublicKey, client *kafka.Client, producer *kafka.Producer) error {
	var pool *tenant.Pool
	var worker *tenant.Worker
	if err := w.Until(ctx, "postgres", func(ctx context.Context) (err error) {
		if pool == nil {
			if pool, err = tenant.OpenPool(ctx, postgres.Config{URL: cfg.RW.URL}); err != nil {
				return err
			}
		}
		worker, err = tenant.OpenWorker(ctx, postgres.Config{URL: cfg.Worker.URL})
		return err
	}); err != nil {
		if pool != nil {
			pool.Close()
		}
		return err
	}
	defer pool.Close()
	defer worker.Close()
	publisher, err := registry.NewPublisher(registry.PublisherConfig{
		Pool: pool, Worker: worker, Edge: edge, Log: w.Log, Registerer: w.Registry,
		Kafka: keyed{producer},
		// Postgres or Kafka may go away again after the start.
		Report: func(err error) { w.Ready.Set("published", err) },
	})
	if err != nil {
		return err
	}
	var present present
	if err := w.Until(ctx, "kafka", func(ctx context.Context) (err error) {
		present, err = read(ctx, client, schemas.TopicControlSites, schemas.TopicControlKeys, schemas.TopicControlErasures, schemas.TopicControlWithdrawals)
		return err
	}); err != nil {
		return err
	}
	if err := w.Until(ctx, "published", func(ctx context.Context) error {
		again, err := publisher.Republish(ctx, present.has)
		if again > 0 {
			w.Log.Info("records that Kafka does not have are sent again", slog.Int("records", again))
		}
		return err
	}); err != nil {
		return err
	}
	return publisher.Run(ctx)
}

// keyed publishes a record to the partition of its key.
type keyed struct{ producer *kafka.Producer }

// Publish returns once the record is acknowledged.
func (k keyed) Publish(ctx context.Context, topic string, key, value []byte) error {
	partition, err := k.producer.PartitionFor(ctx, topic, key)
	if err != nil {
		return err
	}
	return k.producer.ProduceSync(ctx, topic, partition, key, value)
}

// present knows which keys the control topics hold.
type present map[string]map[string]bool

func (p present) has(topic string, key []byte) bool { return p[topic][string(key)] }

// read takes in what the topics hold now.
func read(ctx context.Context, client *kafka.Client, topics ...string) (present, error) {
	ctx, cancel := context.WithCancel(ctx)
	all := make(present)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	for _, topic := range topics {
		keys := make(map[string]bool)
		table := client.NewTable(topic, func(key, value []byte) error {
			if len(value) == 0 {
				delete(keys, string(key))
			} else {
				keys[string(key)] = true
			}
			return nil
		})
		failed := make(chan error, 1)
		tableCtx, stop := context.WithCancel(ctx)
		running.Go(func() { failed <- table.Run(tableCtx) })
		select {
		case <-table.Ready():
			stop()
			<-failed // keys is ours again
		case err := <-failed:
			stop()
			return nil, err
		case <-ctx.Done():
			stop()
			return nil, ctx.Err()
		}
		all[topic] = keys
	}
	return all, nil
}
