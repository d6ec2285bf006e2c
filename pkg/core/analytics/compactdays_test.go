package analytics

import (
	"context"
	"log/slog"
	"testing"

	"github.com/metiva-io/metiva/pkg/clickhouse"
	schema "github.com/metiva-io/metiva/schemas/clickhouse"
)

// TestNothingCountedWhileDaysAreCompactedStands: the migration drops the rows of a
// counting that is under way, which then says that its days stand. It runs on a database
// with data, and twice, as where several processes start.
func TestNothingCountedWhileDaysAreCompactedStands(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	d := someDays(t)
	d.age()
	d.count()
	if events, visits := d.standing(); events != daysBack-1 || visits != daysBack-1 {
		t.Fatalf("%d days of events and %d of visits stand", events, visits)
	}
	exec := func(statements ...string) {
		t.Helper()
		for _, sql := range statements {
			if err := d.c.Exec(ctx, sql, clickhouse.Setting("max_partitions_per_insert_block", 0), clickhouse.Setting("mutations_sync", 2)); err != nil {
				t.Fatal(err)
			}
		}
	}
	exec("CREATE TABLE said AS counted_days", "INSERT INTO said SELECT * FROM counted_days",
		"ALTER TABLE schema_migrations DELETE WHERE version = 14")
	applied, err := clickhouse.Migrate(ctx, d.c, schema.Files, slog.New(slog.DiscardHandler))
	if err != nil || len(applied) != 1 {
		t.Fatalf("%d migrations were applied again: %v", len(applied), err)
	}
	d.same("migrated")
	exec("INSERT INTO counted_days SELECT * FROM said")
	if events, visits := d.standing(); events+visits != 0 {
		t.Errorf("%d days of events and %d of visits stand, whose rows are dropped", events, visits)
	}
	d.same("while a counting ends")
	d.age()
	d.count()
	if events, visits := d.standing(); events != daysBack-1 || visits != daysBack-1 {
		t.Errorf("%d days of events and %d of visits were counted again", events, visits)
	}
	d.same("counted again")
}
