package clickhouse

import (
	"context"
	"io/fs"
	"log/slog"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/pkg/embedded/clickhouse/clickhousetest"
	"github.com/metiva-io/metiva/pkg/secret"
	"github.com/metiva-io/metiva/schemas"
	schema "github.com/metiva-io/metiva/schemas/clickhouse"
)

// TestAFilledDatabaseIsMigrated: rows of each older release are there after the
// migrations that follow, are found by the look-up, and rows of this release stand
// beside them.
func TestAFilledDatabaseIsMigrated(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	names, err := fs.Glob(schema.Files, "*.sql")
	if err != nil {
		t.Fatal(err)
	}
	server := clickhousetest.Start(t)
	for from := 2; from < len(names); from++ { // events and drops are there from the second on
		c, err := clickhouse.Open(clickhouse.Config{URL: secret.New(strings.Replace(server.URL(), "database=metiva", "database=from_"+names[from-1][:4], 1))})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		older := fstest.MapFS{}
		for _, name := range names[:from] {
			text, err := fs.ReadFile(schema.Files, name)
			if err != nil {
				t.Fatal(err)
			}
			older[name] = &fstest.MapFile{Data: text}
		}
		log := slog.New(slog.DiscardHandler)
		if _, err := clickhouse.Migrate(ctx, c, older, log); err != nil {
			t.Fatal(err)
		}
		old := testRow("cmp_a", 1)
		if err := c.Insert(ctx, TableEvents, "old", []clickhouse.Column{
			{Name: "company_id", Values: []string{"cmp_a"}},
			{Name: "site_id", Values: []string{"sit_1"}},
			{Name: "event_id", Values: [][]byte{old.Event.GetEventId()}},
			{Name: "type", Values: []string{"page_view"}},
			{Name: "received_at", Values: []time.Time{time.Now()}},
			{Name: "expires_at", Values: []time.Time{old.ExpiresAt}},
			{Name: "tenant_bucket", Values: []uint8{schemas.TenantBucket("cmp_a")}},
			{Name: "source_partition", Values: []int32{2}},
			{Name: "source_offset", Values: []int64{1}},
			{Name: "country", Values: []string{"NL"}},
		}); err != nil {
			t.Fatal(err)
		}
		applied, err := clickhouse.Migrate(ctx, c, schema.Files, log)
		if err != nil || len(applied) != len(names)-from {
			t.Fatalf("from %s: applied %d, %v", names[from-1], len(applied), err)
		}
		s := New(c)
		if err := s.InsertEvents(ctx, "new", []EventRow{testRow("cmp_a", 2)}); err != nil {
			t.Fatal(err)
		}
		stored, err := s.Find(ctx, []Wanted{wantedOf(old), wantedOf(testRow("cmp_a", 2))})
		if err != nil || len(stored.Events) != 2 || !stored.Identities[identityOf(old)] {
			t.Errorf("from %s: found %v, %v", names[from-1], stored.Events, err)
		}
		var rows, blank uint64
		if err := c.QueryRow(ctx, "SELECT count(), countIf(region = '' AND confirmation = '' AND channel = '' AND country = 'NL') FROM events FINAL").Scan(&rows, &blank); err != nil || rows != 2 || blank != 1 {
			t.Errorf("from %s: %d rows, %d of them old, %v", names[from-1], rows, blank, err)
		}
	}
}
