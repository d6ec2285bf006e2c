package sink

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/metiva-io/metiva/cmd/internal/app"
	"github.com/metiva-io/metiva/cmd/internal/config"
	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/pkg/lifecycle"
	"github.com/metiva-io/metiva/pkg/tombstone"
	"github.com/metiva-io/metiva/schemas"
	stage "github.com/metiva-io/metiva/sink"
	store "github.com/metiva-io/metiva/sink/clickhouse"
)

// Config is the configuration of the sink process.
type Config struct {
	Process    config.Process
	Kafka      config.Kafka
	ClickHouse config.ClickHouse
	Sink       stage.Config
	// SessionTimeout is after how long without a sign of life another sink takes over.
	SessionTimeout time.Duration
}

// Bind adds every setting of the process.
func (c *Config) Bind(s *config.Set) {
	c.Process.Bind(s)
	c.Kafka.Bind(s)
	c.ClickHouse.Bind(s)
	s.Int(&c.Sink.BatchRowsMax, config.Option{Flag: "batch-rows-max", Env: "METIVA_SINK_BATCH_ROWS_MAX", Default: "20000", Help: "Rows at which a batch is written."})
	s.Int(&c.Sink.BatchBytesMax, config.Option{Flag: "batch-bytes-max", Env: "METIVA_SINK_BATCH_BYTES_MAX", Default: "16777216", Help: "Bytes at which a batch is written."})
	s.Duration(&c.Sink.BatchAgeMax, config.Option{Flag: "batch-age-max", Env: "METIVA_SINK_BATCH_AGE_MAX", Default: "500ms", Help: "Age at which a batch is written while ClickHouse is slow."})
	s.Duration(&c.Sink.BatchAgeMin, config.Option{Flag: "batch-age-min", Env: "METIVA_SINK_BATCH_AGE_MIN", Default: "150ms", Help: "Age at which a batch is written while ClickHouse answers quickly; how fresh pages are."})
	s.Duration(&c.SessionTimeout, config.Option{Flag: "session-timeout", Env: "METIVA_SINK_SESSION_TIMEOUT", Default: "10s", Help: "After how long without a sign of life the partitions of a sink go to others."})
	s.Int(&c.Sink.MemoryBytesMax, config.Option{Flag: "memory-bytes-max", Env: "METIVA_SINK_MEMORY_BYTES_MAX", Default: "268435456", Help: "Bytes the sink holds of records, read or being written, of all its partitions together."})
}

// Validate joins every fault.
func (c *Config) Validate() error {
	faults := []error{c.Process.Validate(), c.Kafka.Validate(&c.Process), c.ClickHouse.Validate(&c.Process), c.Sink.Validate()}
	if c.SessionTimeout < time.Second || c.SessionTimeout > 5*time.Minute {
		faults = append(faults, errors.New("METIVA_SINK_SESSION_TIMEOUT must be between 1 s and 5 minutes"))
	}
	if !c.ClickHouse.URL.IsZero() {
		// What the driver cannot use is found here and not by the first connection.
		if err := c.engine().Validate(); err != nil {
			faults = append(faults, fmt.Errorf("METIVA_CLICKHOUSE_URL: %w", err))
		}
	}
	return errors.Join(faults...)
}

// rebalanceTimeout is how long others wait for this sink to end its batches. They end
// within the drain time, so the 30 s a consumer has by itself would only keep partitions
// idle after a crash.
func (c *Config) rebalanceTimeout() time.Duration {
	return max(c.SessionTimeout, 2*c.Sink.Drain())
}

func (c *Config) engine() clickhouse.Config {
	return clickhouse.Config{URL: c.ClickHouse.URL, TLSCAFile: c.ClickHouse.TLSCAFile}
}

// Run is the sink process.
func Run(ctx context.Context, sys app.System) error {
	var cfg Config
	set := config.NewSet("sink")
	cfg.Bind(set)
	if err := app.Configure(sys, set, &cfg.Process, cfg.Validate); err != nil {
		return err
	}
	w := app.Watch(sys, &cfg.Process, "sink", "kafka", "clickhouse")
	client, err := kafka.NewClient(cfg.Kafka.Client("sink"), w.Log, w.Registry)
	if err != nil {
		return err
	}
	consumer, err := client.NewConsumer(kafka.ConsumerConfig{Group: stage.Group, Topics: stage.Topics(), FetchBytesMax: stage.FetchBytesMax, SessionTimeout: cfg.SessionTimeout, RebalanceTimeout: cfg.rebalanceTimeout()})
	if err != nil {
		return err
	}
	producer, err := client.NewProducer(kafka.ProducerConfig{})
	if err != nil {
		return err
	}
	conn, err := clickhouse.Open(cfg.engine())
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	erased := tombstone.NewSet()
	erasures := client.NewTable(schemas.TopicControlErasures, func(key, value []byte) error {
		if err := erased.Apply(key, value); err != nil {
			// One bad record must not stop later erasures.
			w.Log.Error("a control record cannot be read", "topic", schemas.TopicControlErasures)
		}
		return nil
	})
	rows := store.New(conn)
	worker, err := stage.New(cfg.Sink, stage.Deps{
		Consumer: consumer, Dead: producer, Store: rows, Log: w.Log, Metrics: w.Registry, Now: time.Now, Erased: erased,
	})
	if err != nil {
		return err
	}
	return w.Run(ctx,
		lifecycle.Stage{Name: "worker", Run: func(ctx context.Context) error {
			ready := func(ctx context.Context) error {
				if err := conn.Ping(ctx); err != nil {
					return err
				}
				if err := conn.CheckReplicas(ctx); err != nil {
					return err
				}
				// A batch that is tried again needs to be able to ask this.
				_, err := rows.Absence(ctx, store.TableEvents, "/")
				return err
			}
			if err := errors.Join(w.Until(ctx, "kafka", client.Ping), w.Until(ctx, "clickhouse", ready)); err != nil {
				return err
			}
			return withTable(ctx, erasures, worker.Run)
		}},
		lifecycle.Stage{Name: "producer", Run: producer.Run})
}

// withTable runs work once the table has been read to its end, and reads on until
// work has ended: it needs the table for the batches it finishes.
func withTable(ctx context.Context, table *kafka.Table, work func(context.Context) error) error {
	reading, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- table.Run(reading) }()
	select {
	case <-table.Ready():
	case <-ctx.Done():
		stop()
		return <-ended
	case err := <-ended:
		return err
	}
	err := work(ctx)
	stop()
	return errors.Join(err, <-ended)
}
