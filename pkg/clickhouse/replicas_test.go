package clickhouse_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/pkg/embedded/clickhouse/clickhousetest"
	"github.com/metiva-io/metiva/pkg/secret"
)

// TestCheckReplicas: several hosts are no good to tables that each host keeps for
// itself; one host is.
func TestCheckReplicas(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	engine := clickhousetest.Start(t)
	first, second := openDoor(t, engine, false), openDoor(t, engine, false)
	open := func(hosts string) *clickhouse.Conn {
		c, err := clickhouse.Open(clickhouse.Config{URL: secret.New("http://" + hosts + "/default")})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	one, two := open(first.address()), open(first.address()+","+second.address())
	for _, sql := range []string{"CREATE TABLE m (n UInt8) ENGINE = Memory", "CREATE TABLE schema_migrations (n UInt8) ENGINE = ReplacingMergeTree ORDER BY n"} {
		if err := one.Exec(ctx, sql); err != nil {
			t.Fatal(err)
		}
	}
	if err := two.CheckReplicas(ctx); err != nil {
		t.Errorf("no table of rows: %v", err)
	}
	for _, table := range []string{"visits", "events"} {
		if err := one.Exec(ctx, "CREATE TABLE "+table+" (n UInt8) ENGINE = ReplacingMergeTree ORDER BY n"); err != nil {
			t.Fatal(err)
		}
	}
	if err := two.CheckReplicas(ctx); err == nil || !strings.Contains(err.Error(), "events, visits") || strings.Contains(err.Error(), "schema_migrations") {
		t.Errorf("tables of one host behind two: %v", err)
	}
	if err := one.CheckReplicas(ctx); err != nil {
		t.Errorf("one host: %v", err)
	}
}
