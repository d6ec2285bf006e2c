package scorer

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/metiva-io/metiva/pkg/kafka"
)

// GroupDefault is the consumer group of the scorers.
const GroupDefault = "score"

// Config tunes the scorer. Zero values mean the default.
type Config struct {
	// Group is the consumer group (default GroupDefault).
	Group string
	// BatchRecordsMax and BatchBytesMax bound a batch (default 1000 records, 2 MiB);
	// BatchWaitMax is how long it may wait for more after its first record (default
	// 100 ms). An account has one state and one record of a day for a whole batch.
	BatchRecordsMax int
	BatchBytesMax   int
	BatchWaitMax    time.Duration
	// StateBytesMax bounds the states of one partition in memory (default 32 MiB).
	StateBytesMax int
	// SweepInterval is how soon erasures and the end of retention are seen (default
	// 10 s).
	SweepInterval time.Duration
	// DrainTimeout is how long a batch may go on after the scorer was told to stop
	// (default 10 s).
	DrainTimeout time.Duration
	// Compression of what is produced: none, lz4, snappy (default) or zstd.
	Compression string
}

// Validate reports every fault of the configuration.
func (c Config) Validate() error {
	var faults []error
	if c.BatchRecordsMax < 0 || c.BatchRecordsMax > 100_000 {
		faults = append(faults, fmt.Errorf("scorer: BatchRecordsMax %d is not between 1 and 100000", c.BatchRecordsMax))
	}
	if c.BatchBytesMax < 0 || c.BatchBytesMax > 64<<20 {
		faults = append(faults, fmt.Errorf("scorer: BatchBytesMax %d is not between 1 and 64 MiB", c.BatchBytesMax))
	}
	if c.StateBytesMax != 0 && c.StateBytesMax < 1<<20 {
		faults = append(faults, fmt.Errorf("scorer: StateBytesMax %d is below 1 MiB", c.StateBytesMax))
	}
	for name, d := range map[string]time.Duration{"BatchWaitMax": c.BatchWaitMax, "SweepInterval": c.SweepInterval, "DrainTimeout": c.DrainTimeout} {
		if d < 0 {
			faults = append(faults, fmt.Errorf("scorer: %s is negative", name))
		}
	}
	if err := (kafka.ProducerConfig{Compression: c.Compression}).Validate(); err != nil {
		faults = append(faults, fmt.Errorf("scorer: %w", err))
	}
	return errors.Join(faults...)
}

func (c Config) withDefaults() Config {
	if c.Group == "" {
		c.Group = GroupDefault
	}
	if c.BatchRecordsMax == 0 {
		c.BatchRecordsMax = 1000
	}
	if c.BatchBytesMax == 0 {
		c.BatchBytesMax = 2 << 20
	}
	if c.BatchWaitMax == 0 {
		c.BatchWaitMax = 100 * time.Millisecond
	}
	if c.StateBytesMax == 0 {
		c.StateBytesMax = 32 << 20
	}
	if c.SweepInterval == 0 {
		c.SweepInterval = 10 * time.Second
	}
	if c.DrainTimeout == 0 {
		c.DrainTimeout = 10 * time.Second
	}
	if c.Compression == "" {
		c.Compression = "snappy"
	}
	return c
}

// Deps is what the scorer works with. All are required.
type Deps struct {
	Kafka      *kafka.Client
	Now        func() time.Time
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

func (d Deps) validate() error {
	var faults []error
	for name, missing := range map[string]bool{"Kafka": d.Kafka == nil, "Now": d.Now == nil, "Log": d.Log == nil, "Registerer": d.Registerer == nil} {
		if missing {
			faults = append(faults, fmt.Errorf("scorer: %s is missing", name))
		}
	}
	return errors.Join(faults...)
}
