package deploy

import (
	"fmt"
	"strings"

	schema "github.com/metiva-io/metiva/schemas/clickhouse"
)

// PoliciesFile renders schemas/clickhouse.Tables as clickhouse/policies.sql, which an
// administrator of a real server applies after the migrations: what the user reader may
// see of each table, and how much it may ask for. It may be applied again at any time.
func PoliciesFile() string {
	var b strings.Builder
	b.WriteString(`-- Row policies of the tables with rows of tenants; written by go test ./deploy -update
-- from schemas/clickhouse.Tables. An administrator applies it after the migrations:
-- clickhouse-client --database metiva --queries-file policies.sql
--
-- The user reader sees the rows of one tenant: that of the setting ` + schema.TenantSetting + `, which core
-- sets for each statement. Without it a statement fails. The users ingest, keeper and
-- migrate, who write, see everything: a filtered source of a materialised view drops rows
-- silently, and a day that is counted of no rows is empty.
-- Everybody else sees nothing (users_without_row_policies_can_read_rows in config.xml).
`)
	for _, t := range schema.Tables() {
		fmt.Fprintf(&b, "\nCREATE ROW POLICY OR REPLACE tenant ON metiva.%s FOR SELECT USING %s AS PERMISSIVE TO reader;\n", t.Name, schema.TenantPolicy())
		fmt.Fprintf(&b, "CREATE ROW POLICY OR REPLACE everything ON metiva.%s FOR SELECT USING 1 AS PERMISSIVE TO ingest, keeper, migrate;\n", t.Name)
	}
	b.WriteString(`
-- How much a tenant may ask for in a minute, by the quota key core sends: its id. What core
-- asks for itself, without a key, counts for the user: a driver's first question has none.
CREATE QUOTA OR REPLACE tenant KEYED BY client_key, user_name FOR INTERVAL 1 minute MAX queries = 1200, read_rows = 4000000000, execution_time = 240 TO reader;
`)
	return b.String()
}
