package analytics

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/metiva-io/metiva/pkg/clickhouse"
	embedded "github.com/metiva-io/metiva/pkg/embedded/clickhouse"
	"github.com/metiva-io/metiva/pkg/embedded/clickhouse/clickhousetest"
	"github.com/metiva-io/metiva/pkg/secret"
	schema "github.com/metiva-io/metiva/schemas/clickhouse"
)

// TestPoliciesHoldWithoutAnyPredicate tries the product's policy on every table, as the
// embedded engine can have it: as filters of its one user, with log_comment for the
// setting of our own, which it has none of, and "ingest" for the user without filters.
func TestPoliciesHoldWithoutAnyPredicate(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	filters := make(map[string]string)
	for _, table := range schema.Tables() {
		filters[table.Name] = "getSetting('log_comment') = 'ingest' OR " + strings.ReplaceAll(schema.TenantPolicy(), schema.TenantSetting, "log_comment")
	}
	c, err := clickhouse.Open(clickhouse.Config{URL: secret.New(clickhousetest.StartConfig(t, embedded.Config{RowFilters: filters}).URL())})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if _, err := clickhouse.Migrate(ctx, c, schema.Files, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	as := func(who string) clickhouse.Option { return clickhouse.Setting("log_comment", who) }
	for _, company := range []string{"cmp_a", "cmp_b"} {
		for _, table := range schema.Tables() {
			if table.Kind == schema.ViewTarget {
				continue // its view has to write it
			}
			columns, values := "company_id, "+table.TimeColumn, "'"+company+"', now()"
			if table.ExpiresColumn != "" {
				columns, values = columns+", "+table.ExpiresColumn, values+", now() + 86400"
			}
			if table.Name == "accounts_daily" {
				columns, values = columns+", account_id", values+", 'x.nl'"
			}
			if err := c.Exec(ctx, "INSERT INTO "+table.Name+" ("+columns+") SELECT "+values, as("ingest")); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, table := range schema.Tables() {
		for who, want := range map[string][2]uint64{"ingest": {1, 1}, "cmp_a": {1, 0}, "cmp_b": {0, 1}, "cmp_c": {0, 0}, "": {0, 0}} {
			for _, sql := range []string{
				"SELECT uniqExactIf(company_id, company_id = 'cmp_a'), uniqExactIf(company_id, company_id = 'cmp_b') FROM " + table.Name,
				"SELECT uniqExactIf(company_id, company_id = 'cmp_a'), uniqExactIf(company_id, company_id = 'cmp_b') FROM " + table.Name + " FINAL WHERE 1",
				"SELECT uniqExactIf(b.company_id, b.company_id = 'cmp_a'), uniqExactIf(b.company_id, b.company_id = 'cmp_b') FROM numbers(1) AS a CROSS JOIN (SELECT * FROM metiva." + table.Name + ") AS b",
				"WITH x AS (SELECT company_id FROM " + table.Name + " WHERE company_id != '') SELECT uniqExactIf(company_id, company_id = 'cmp_a'), uniqExactIf(company_id, company_id = 'cmp_b') FROM x",
			} {
				var a, b uint64
				if err := c.QueryRow(ctx, sql, as(who)).Scan(&a, &b); err != nil || a != want[0] || b != want[1] {
					t.Errorf("as %q, %s sees %d and %d, want %v: %v", who, sql, a, b, want, err)
				}
			}
		}
	}
}

// TestReadersAreRefusedWithoutPolicies: a server without them, or with others, starts no
// reader.
func TestReadersAreRefusedWithoutPolicies(t *testing.T) {
	t.Parallel()
	if _, err := CheckedReaders(context.Background(), migrated(t)); !errors.Is(err, ErrPolicies) {
		t.Errorf("a server without policies: %v", err)
	}
	if err := checkPolicies("0", nil); !strings.Contains(err.Error(), "events has none") || !strings.Contains(err.Error(), "readonly is 0") {
		t.Errorf("nothing there: %v", err)
	}
	var all []policy
	for _, table := range schema.Tables() {
		all = append(all, policy{table.Name, schema.TenantPolicy(), 1}, policy{table.Name, "1", 0})
	}
	if err := checkPolicies("1", all); err != nil {
		t.Errorf("all policies: %v", err)
	}
	for name, found := range map[string][]policy{
		"events has none":                   all[1:],
		"visits has others":                 append([]policy{{"visits", "1", 1}}, all...),
		all[len(all)-1].table + " has none": all[:len(all)-2],
		"drops has others":                  append([]policy{{"", "1", 1}}, all...), // on metiva.*
	} {
		if err := checkPolicies("1", found); !errors.Is(err, ErrPolicies) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := checkPolicies("0", all); !errors.Is(err, ErrPolicies) {
		t.Errorf("a reader that may write: %v", err)
	}
}
