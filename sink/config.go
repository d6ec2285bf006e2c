package sink

import (
	"errors"
	"time"

	"github.com/metiva-io/metiva/schemas"
)

// Group is the consumer group of all sinks.
const Group = "sink"

// Topics are what the group reads.
func Topics() []string {
	return []string{schemas.TopicEventsEnriched, schemas.TopicVisitsEnriched, schemas.TopicAccountsEnriched, schemas.TopicLedgerEdge}
}

// FetchBytesMax is what the consumer of a sink should fetch at once of a partition,
// packed: what a fetch brings beyond a batch is outside of MemoryBytesMax.
const FetchBytesMax = 1 << 20

// Config bounds a batch and its retries. Zero takes the default.
type Config struct {
	// BatchRowsMax, BatchBytesMax and BatchAgeMax end a batch, whichever comes
	// first: 20,000 rows, 16 MiB, 1 s by default. A larger batch is cheaper for
	// ClickHouse, an older one less fresh. BatchAgeMin, 150 ms by default and never
	// above BatchAgeMax, is the age while ClickHouse answers quickly (pace).
	BatchRowsMax  int
	BatchBytesMax int
	BatchAgeMin   time.Duration
	BatchAgeMax   time.Duration
	// MemoryBytesMax bounds what the sink holds of records, read or being written, of
	// all its partitions together: 256 MiB by default. Beside it a sink needs some
	// 90 MiB, 25 of them the room of blocks it keeps (with batches of the default size;
	// it grows with them), and one fetch of each partition.
	MemoryBytesMax int
	// RetryMin and RetryMax bound the backoff while ClickHouse or Kafka is
	// away: 100 ms to 10 s by default.
	RetryMin time.Duration
	RetryMax time.Duration
	// DrainTimeout is how long a batch being written may go on after a stop;
	// 3 s by default.
	DrainTimeout time.Duration
	// RetentionDaysDefault is used for events that carry no retention; 90 by
	// default.
	RetentionDaysDefault int
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		BatchRowsMax:         20_000,
		BatchBytesMax:        16 << 20,
		BatchAgeMin:          150 * time.Millisecond,
		BatchAgeMax:          time.Second,
		MemoryBytesMax:       256 << 20,
		RetryMin:             100 * time.Millisecond,
		RetryMax:             10 * time.Second,
		DrainTimeout:         3 * time.Second,
		RetentionDaysDefault: 90,
	}
}

// Drain is how long a batch goes on after a stop, or after its partition was taken away.
func (c Config) Drain() time.Duration { return c.withDefaults().DrainTimeout }

func (c Config) withDefaults() Config {
	d := DefaultConfig()
	set(&c.BatchRowsMax, d.BatchRowsMax)
	set(&c.BatchBytesMax, d.BatchBytesMax)
	set(&c.BatchAgeMin, d.BatchAgeMin)
	set(&c.BatchAgeMax, d.BatchAgeMax)
	c.BatchAgeMin = min(c.BatchAgeMin, c.BatchAgeMax)
	set(&c.MemoryBytesMax, d.MemoryBytesMax)
	set(&c.RetryMin, d.RetryMin)
	set(&c.RetryMax, d.RetryMax)
	set(&c.DrainTimeout, d.DrainTimeout)
	set(&c.RetentionDaysDefault, d.RetentionDaysDefault)
	return c
}

func set[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// Limits of a batch: its parts have to fit into one request of the embedded
// engine.
const (
	batchRowsLimit  = 200_000
	batchBytesLimit = 32 << 20
	memoryBytesLow  = 32 << 20
	memoryBytesHigh = 64 << 30
	retentionDays   = 36_500
)

// Validate lists every fault of the configuration.
func (c Config) Validate() error {
	c = c.withDefaults()
	var errs []error
	if c.BatchRowsMax < 1 || c.BatchRowsMax > batchRowsLimit {
		errs = append(errs, errors.New("the rows of a sink batch are not between 1 and 200,000"))
	}
	if c.BatchBytesMax < schemas.RecordBytesMax || c.BatchBytesMax > batchBytesLimit {
		errs = append(errs, errors.New("the bytes of a sink batch are not between 8 KiB and 32 MiB"))
	}
	if c.BatchAgeMin < 0 || c.BatchAgeMax < 0 || c.BatchAgeMax > time.Minute {
		errs = append(errs, errors.New("the age of a sink batch is not between 0 and 1 minute"))
	}
	if c.MemoryBytesMax < memoryBytesLow || c.MemoryBytesMax > memoryBytesHigh {
		errs = append(errs, errors.New("the memory of a sink is not between 32 MiB and 64 GiB"))
	}
	if c.RetryMin < 0 || c.RetryMax < c.RetryMin {
		errs = append(errs, errors.New("the sink's retry backoff is negative, or its maximum is below its minimum"))
	}
	if c.DrainTimeout < 0 {
		errs = append(errs, errors.New("the sink's drain timeout is negative"))
	}
	if c.RetentionDaysDefault < 1 || c.RetentionDaysDefault > retentionDays {
		errs = append(errs, errors.New("the sink's default retention is not between 1 and 36,500 days"))
	}
	return errors.Join(errs...)
}
