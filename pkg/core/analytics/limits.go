package analytics

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/metiva-io/metiva/pkg/clickhouse"
)

// What one question of a tenant may take, so that none can hold up the others.
const (
	questionSeconds = 20
	questionBytes   = 2 << 30
	questionRows    = 200_000_000
)

// ErrTooMuch marks a question that would read or hold more than one question may.
// A shorter period or another filter may be answered.
var ErrTooMuch = errors.New("the question takes more time, memory or rows than one may")

// limits are the settings of every statement of a tenant. The caches are off: both
// have answered for another tenant's filter in releases of ClickHouse. A version of
// a row never leaves its partition, so partitions need not be merged with each
// other.
func limits() []clickhouse.Option {
	return []clickhouse.Option{
		clickhouse.Setting("max_execution_time", questionSeconds),
		clickhouse.Setting("max_memory_usage", questionBytes),
		clickhouse.Setting("max_rows_to_read", questionRows),
		clickhouse.Setting("use_query_cache", 0),
		clickhouse.Setting("use_query_condition_cache", 0),
		clickhouse.Setting("do_not_merge_across_partitions_select_final", 1),
	}
}

// undated is a context that does not tell when it ends; it ends all the same. The driver
// makes max_execution_time of that, in place of the limit, and longer than the reader's
// profile permits.
type undated struct{ context.Context }

// Deadline says that there is none.
func (undated) Deadline() (time.Time, bool) { return time.Time{}, false }

// limitOf names the limit that a code of ClickHouse says was met: TOO_MANY_ROWS,
// TIMEOUT_EXCEEDED, MEMORY_LIMIT_EXCEEDED, QUOTA_EXCEEDED, TOO_MANY_BYTES and
// TOO_MANY_ROWS_OR_BYTES.
func limitOf(code int) string {
	switch code {
	case 158, 396:
		return fmt.Sprintf("it would read more than %d rows", questionRows)
	case 159:
		return fmt.Sprintf("it takes more than %d seconds", questionSeconds)
	case 241, 307:
		return fmt.Sprintf("it holds more than %d MiB", questionBytes>>20)
	case 201:
		return "the tenant has asked for more within the minute than its quota"
	}
	return ""
}

func tooMuch(err error) error {
	if code, ok := clickhouse.Code(err); ok {
		if limit := limitOf(code); limit != "" {
			return fmt.Errorf("%w: %s: %w", ErrTooMuch, limit, err)
		}
	}
	return err
}
