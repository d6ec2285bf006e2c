package metiva

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/metiva-io/metiva/cmd/internal/stack"
	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/pkg/obs"
	"github.com/metiva-io/metiva/pkg/postgres"
	clickhouseschema "github.com/metiva-io/metiva/schemas/clickhouse"
)

type migrateCommand struct {
	Up     migrateUp     `cmd:"" help:"Create missing topics and apply pending migrations."`
	Status migrateStatus `cmd:"" help:"List migrations and when they were applied."`
}

// stores resolves the stores of a command: those given, else those of the
// stack in the data directory.
func (f storeFlags) stores() (stack.Addresses, error) {
	given := stack.Addresses{
		KafkaBrokers: f.KafkaBrokers, ClickHouseURL: f.ClickHouseURL,
		Postgres: stack.PostgresURLs{Migrate: f.PostgresOwner, RW: f.PostgresRW, Worker: f.PostgresWorker},
	}
	if len(given.KafkaBrokers) > 0 || !given.ClickHouseURL.IsZero() || !given.Postgres.Migrate.IsZero() {
		return given, nil
	}
	return stack.Find(f.Data)
}

type migrateUp struct {
	storeFlags
	Replication int `default:"3" help:"Replication factor of new topics; the embedded Kafka has one broker."`
}

// Run migrates each store that is given.
func (c *migrateUp) Run(ctx context.Context, t terminal) error {
	a, err := c.stores()
	if err != nil {
		return err
	}
	log := obs.NewLogger(t.err, "migrate", slog.LevelWarn)
	if len(c.KafkaBrokers) == 0 {
		c.Replication = 1
	}
	if len(a.KafkaBrokers) > 0 {
		client, err := kafka.NewClient(c.kafkaConfig(a.KafkaBrokers), log, prometheus.NewRegistry())
		if err != nil {
			return err
		}
		if err := client.EnsureTopics(ctx, stack.TopicSpecs(c.Replication)); err != nil {
			return err
		}
		t.printf("kafka: the topics are there\n")
	}
	if !a.ClickHouseURL.IsZero() {
		conn, err := c.openClickHouse(a.ClickHouseURL)
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close() }()
		applied, err := clickhouse.Migrate(ctx, conn, clickhouseschema.Files, log)
		if err != nil {
			return err
		}
		t.printf("clickhouse: %d migrations applied\n", len(applied))
	}
	if !a.Postgres.Migrate.IsZero() {
		applied, err := postgres.Migrate(ctx, a.Postgres.Migrate, log)
		if err != nil {
			return err
		}
		t.printf("postgres: %d migrations applied\n", len(applied))
	}
	return nil
}

type migrateStatus struct{ storeFlags }

// Run lists migrations; it exits with a failure when some are pending.
func (c *migrateStatus) Run(ctx context.Context, t terminal) error {
	a, err := c.stores()
	if err != nil {
		return err
	}
	log := obs.NewLogger(t.err, "migrate", slog.LevelWarn)
	pending := 0
	t.table("store | version | name | applied", func(row func(...any)) {
		line := func(store string, version any, name string, at time.Time) {
			when := "pending"
			if !at.IsZero() {
				when = at.UTC().Format(time.RFC3339)
			} else {
				pending++
			}
			row(store, version, name, when)
		}
		if !a.ClickHouseURL.IsZero() {
			var conn *clickhouse.Conn
			if conn, err = c.openClickHouse(a.ClickHouseURL); err != nil {
				return
			}
			defer func() { _ = conn.Close() }()
			var all []clickhouse.Migration
			if all, err = clickhouse.Status(ctx, conn, clickhouseschema.Files); err != nil {
				return
			}
			for _, m := range all {
				line("clickhouse", m.Version, m.Name, m.AppliedAt)
			}
		}
		if !a.Postgres.Migrate.IsZero() {
			var all []postgres.Migration
			if all, err = postgres.Status(ctx, a.Postgres.Migrate, log); err != nil {
				return
			}
			for _, m := range all {
				line("postgres", m.Version, m.Name, m.AppliedAt)
			}
		}
	})
	if err != nil {
		return err
	}
	if pending > 0 {
		return fmt.Errorf("%d migrations are pending: run metiva migrate up", pending)
	}
	return nil
}
