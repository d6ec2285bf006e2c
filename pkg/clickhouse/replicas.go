package clickhouse

import (
	"context"
	"fmt"
)

const unreplicatedSQL = `SELECT arrayStringConcat(arraySort(groupArray(name)), ', ') FROM system.tables
WHERE database = currentDatabase() AND name != 'schema_migrations'
AND endsWith(engine, 'MergeTree') AND NOT startsWith(engine, 'Replicated') AND NOT startsWith(engine, 'Shared')`

// CheckReplicas is nil for one host. Of several hosts it is an error that a table
// of the database is neither replicated nor shared: each host would hold rows of
// its own, what was written before a failover would be missing behind it, and a
// batch that is tried again on the other host would be written twice, because an
// insert's token is known where it was used.
func (c *Conn) CheckReplicas(ctx context.Context) error {
	if len(c.target.addresses) < 2 {
		return nil
	}
	var names string
	if err := c.QueryRow(ctx, unreplicatedSQL).Scan(&names); err != nil {
		return fmt.Errorf("looking at the tables' engines: %w", err)
	}
	if names != "" {
		return fmt.Errorf("the clickhouse URL names several hosts, and these tables are of one host: %s", names)
	}
	return nil
}
