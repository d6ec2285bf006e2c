package clickhouse

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/metiva-io/metiva/schemas/metivav1"
)

// TestABatchOfManyPartitions: a table has a partition for each bucket and month, and
// ClickHouse refuses a block of more than 100 unless told otherwise, with a code that
// no smaller batch is tried for: the sink would stand still.
func TestABatchOfManyPartitions(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c := migrated(t)
	s := New(c)
	const tenants, months = 64, 8
	now := time.Now().UTC().Truncate(time.Minute)
	var entries []LedgerRow
	for tenant := range tenants {
		for month := range months {
			entries = append(entries, LedgerRow{Position: int64(len(entries)), Message: &metivav1.LedgerEntry{
				WriterId: "w", CompanyId: fmt.Sprintf("cmp_%d", tenant), SiteId: "sit_1", MinuteMs: now.Add(-time.Duration(month) * 31 * 24 * time.Hour).UnixMilli(), Count: 1,
			}})
		}
	}
	if err := s.InsertLedger(ctx, "many", entries); err != nil {
		t.Fatal(err)
	}
	var rows, partitions uint64
	if err := c.QueryRow(ctx, "SELECT count(), uniqExact(_partition_id) FROM ledger_edge").Scan(&rows, &partitions); err != nil || rows != tenants*months || partitions <= 100 {
		t.Errorf("%d rows of %d in %d partitions, %v", rows, tenants*months, partitions, err)
	}
}
