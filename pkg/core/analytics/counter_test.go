package analytics

import (
	"context"
	"slices"
	"testing"

	"github.com/metiva-io/metiva/pkg/clickhouse"
	schema "github.com/metiva-io/metiva/schemas/clickhouse"
)

// TestTheListOfTablesIsTheDatabase: whatever has rows of tenants is in the list, with the
// columns and the view the list says.
func TestTheListOfTablesIsTheDatabase(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	c := migrated(t)
	names := func(sql string, options ...clickhouse.Option) (out []string) {
		t.Helper()
		err := c.Each(ctx, sql, func(scan func(...any) error) error {
			var name string
			if err := scan(&name); err != nil {
				return err
			}
			out = append(out, name)
			return nil
		}, append(options, clickhouse.Param("db", c.Database()))...)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	var tables, views []string
	for _, table := range schema.Tables() {
		tables = append(tables, table.Name)
		if table.View != "" {
			views = append(views, table.View)
		}
		columns := names("SELECT name FROM system.columns WHERE database = {db:String} AND table = {t:String}", clickhouse.Param("t", table.Name))
		for _, column := range []string{"tenant_bucket", "company_id", table.TimeColumn, table.VisitorColumn, table.VisitKeyColumn, table.AccountColumn, table.ExpiresColumn} {
			if column != "" && !slices.Contains(columns, column) {
				t.Errorf("%s has no column %s", table.Name, column)
			}
		}
		for _, column := range []string{"visitor_id", "visit_key", "account_id"} {
			if slices.Contains(columns, column) && !slices.Contains([]string{table.VisitorColumn, table.VisitKeyColumn, table.AccountColumn}, column) {
				t.Errorf("the list does not know of %s's column %s", table.Name, column)
			}
		}
		want := []string{"(tenant_bucket, toYYYYMM(" + table.TimeColumn + "))"}
		if got := names("SELECT partition_key FROM system.tables WHERE database = {db:String} AND name = {t:String}", clickhouse.Param("t", table.Name)); !slices.Equal(got, want) {
			// ClickHouse gives the key without its outer brackets in some releases.
			if len(got) != 1 || "("+got[0]+")" != want[0] {
				t.Errorf("%s is partitioned by %v", table.Name, got)
			}
		}
		if table.Kind != schema.Base && table.Source == "" || (table.Kind == schema.ViewTarget) != (table.View != "") {
			t.Errorf("%s does not say what it is made from", table.Name)
		}
	}
	slices.Sort(tables)
	slices.Sort(views)
	stored := names(`SELECT DISTINCT c.table FROM system.columns AS c JOIN system.tables AS t ON t.database = c.database AND t.name = c.table
WHERE c.database = {db:String} AND c.name = 'company_id' AND t.engine != 'MaterializedView' ORDER BY c.table`)
	if !slices.Equal(stored, tables) {
		t.Errorf("tables with rows of tenants are %v, the list says %v", stored, tables)
	}
	if stored := names("SELECT name FROM system.tables WHERE database = {db:String} AND engine LIKE '%View' ORDER BY name"); !slices.Equal(stored, views) {
		t.Errorf("views are %v, the list says %v", stored, views)
	}
}
