package clickhouse_test

import (
	"context"
	"io/fs"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/pkg/embedded/clickhouse/clickhousetest"
	schema "github.com/metiva-io/metiva/schemas/clickhouse"
)

func TestMigrateFromNothingByManyStarters(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	server := clickhousetest.Start(t)
	c := open(t, server.URL())

	before, err := clickhouse.Status(ctx, c, schema.Files)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range before {
		if m.Applied() {
			t.Errorf("migration %d is applied on an empty server", m.Version)
		}
	}
	var starters sync.WaitGroup
	for range 4 {
		starters.Go(func() {
			if _, err := clickhouse.Migrate(ctx, open(t, server.URL()), schema.Files, slog.New(slog.DiscardHandler)); err != nil {
				t.Error(err)
			}
		})
	}
	starters.Wait()
	again, err := clickhouse.Migrate(ctx, c, schema.Files, slog.New(slog.DiscardHandler))
	if err != nil || len(again) != 0 {
		t.Fatalf("a second run applied %v, %v", again, err)
	}
	after, err := clickhouse.Status(ctx, c, schema.Files)
	if err != nil {
		t.Fatal(err)
	}
	if len(after) != len(before) {
		t.Fatalf("%d migrations after, %d before", len(after), len(before))
	}
	for _, m := range after {
		if !m.Applied() || m.Changed || m.Unknown {
			t.Errorf("migration %d: %+v", m.Version, m)
		}
	}
}

func TestMigrateRefusesAChangedFile(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	log := slog.New(slog.DiscardHandler)
	c := open(t, clickhousetest.Start(t).URL())
	files := fstest.MapFS{"0001_a.sql": {Data: []byte("CREATE TABLE IF NOT EXISTS a (s String DEFAULT ';') ENGINE = MergeTree ORDER BY s; -- two;\nCREATE TABLE IF NOT EXISTS b (x UInt8) ENGINE = MergeTree ORDER BY x")}}
	applied, err := clickhouse.Migrate(ctx, c, files, log)
	if err != nil || len(applied) != 1 {
		t.Fatalf("applied %v, %v", applied, err)
	}
	var tables uint64
	if err := c.QueryRow(ctx, "SELECT count() FROM system.tables WHERE database = currentDatabase() AND name IN ('a', 'b')").Scan(&tables); err != nil || tables != 2 {
		t.Fatalf("%d tables, %v", tables, err)
	}
	files["0001_a.sql"].Data = append(files["0001_a.sql"].Data, '\n')
	if _, err := clickhouse.Migrate(ctx, c, files, log); err == nil || !strings.Contains(err.Error(), "was changed") {
		t.Fatalf("a changed file gives %v", err)
	}
	// An older release on a newer database goes on.
	older := fstest.MapFS{}
	if applied, err := clickhouse.Migrate(ctx, c, older, log); err != nil || len(applied) != 0 {
		t.Fatalf("an older release applied %v, %v", applied, err)
	}
}

func TestReleasedMigrationsAreIdempotentStatements(t *testing.T) {
	t.Parallel()
	names, err := fs.Glob(schema.Files, "*.sql")
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	for _, name := range names {
		content, err := fs.ReadFile(schema.Files, name)
		if err != nil {
			t.Fatal(err)
		}
		statements, err := clickhouse.SplitStatements(string(content))
		if err != nil {
			t.Fatal(err)
		}
		for i, s := range statements {
			// Filling a table repeats nothing only where its rows replace each other.
			filling := strings.Contains(s, "INSERT INTO") && strings.Contains(s, "may be repeated")
			// MODIFY says what a column, an expiry or a setting is to be.
			modifying := strings.Contains(s, "ALTER TABLE") && !strings.Contains(s, " ADD ") && strings.Contains(s, " MODIFY ")
			if !strings.Contains(s, "IF NOT EXISTS") && !strings.Contains(s, "IF EXISTS") && !filling && !modifying {
				t.Errorf("%s, statement %d can not be repeated", name, i+1)
			}
		}
	}
}

func TestMigrationFileNames(t *testing.T) {
	t.Parallel()
	c := open(t, "http+unix:///nowhere?database=d")
	for name, files := range map[string]fstest.MapFS{
		"no number":    {"events.sql": {}},
		"same version": {"0001_a.sql": {}, "0001_b.sql": {}},
	} {
		if _, err := clickhouse.Status(context.Background(), c, files); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
