package enrich

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/metiva-io/metiva/enrich/company"
	"github.com/metiva-io/metiva/enrich/geo"
	"github.com/metiva-io/metiva/enrich/reversedns"
	"github.com/metiva-io/metiva/enrich/source"
	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/pkg/seal"
)

// GroupDefault is the consumer group of the enrich workers.
const GroupDefault = "enrich"

const subjectKeyAgeDefault = 8 * 24 * time.Hour

// Config tunes the worker. Zero values mean the default.
type Config struct {
	// Group is the consumer group (default GroupDefault).
	Group string
	// BatchRecordsMax and BatchBytesMax bound a batch (default 1000 records,
	// 2 MiB); BatchWaitMax is how long it may wait for more after its first
	// record (default 20 ms).
	BatchRecordsMax int
	BatchBytesMax   int
	BatchWaitMax    time.Duration
	// KeyWaitMax is how long the worker waits for control.keys to be read to
	// its end when a key is unknown (default 10 s). When it takes longer the
	// batch is tried again: nothing is dropped for a slow table.
	KeyWaitMax time.Duration
	// DrainTimeout is how long a batch may go on after the worker was told to
	// stop (default 10 s).
	DrainTimeout time.Duration
	// SubjectKeyAgeMax is how old the key of a capture may be for the capture to be
	// enriched (default 192 h: the seven days events.collected keeps, and one). Younger
	// ones are held in memory, about 2 KB each. Dead letters of older captures need more.
	SubjectKeyAgeMax time.Duration
	// Compression of what is produced: none, lz4, snappy (default) or zstd.
	Compression string
	// Visits tunes their assembly.
	Visits VisitConfig
}

// Validate reports every fault of the configuration.
func (c Config) Validate() error {
	var faults []error
	if c.BatchRecordsMax < 0 || c.BatchRecordsMax > 100_000 {
		faults = append(faults, fmt.Errorf("enrich: BatchRecordsMax %d is not between 1 and 100000", c.BatchRecordsMax))
	}
	if c.BatchBytesMax < 0 || c.BatchBytesMax > 64<<20 {
		faults = append(faults, fmt.Errorf("enrich: BatchBytesMax %d is not between 1 and 64 MiB", c.BatchBytesMax))
	}
	for name, d := range map[string]time.Duration{"BatchWaitMax": c.BatchWaitMax, "KeyWaitMax": c.KeyWaitMax, "DrainTimeout": c.DrainTimeout, "SubjectKeyAgeMax": c.SubjectKeyAgeMax} {
		if d < 0 {
			faults = append(faults, fmt.Errorf("enrich: %s is negative", name))
		}
	}
	if err := c.Visits.Validate(); err != nil {
		faults = append(faults, err)
	}
	if err := (kafka.ProducerConfig{Compression: c.Compression}).Validate(); err != nil {
		faults = append(faults, fmt.Errorf("enrich: %w", err))
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
		c.BatchWaitMax = 20 * time.Millisecond
	}
	if c.KeyWaitMax == 0 {
		c.KeyWaitMax = 10 * time.Second
	}
	if c.DrainTimeout == 0 {
		c.DrainTimeout = 10 * time.Second
	}
	if c.SubjectKeyAgeMax == 0 {
		c.SubjectKeyAgeMax = subjectKeyAgeDefault
	}
	if c.Compression == "" {
		c.Compression = "snappy"
	}
	c.Visits = c.Visits.withDefaults()
	return c
}

// Deps is what the worker works with. All are required but Sources and Reverse.
type Deps struct {
	Kafka *kafka.Client
	// Opener holds the resolver's private key; the worker feeds it with
	// control.keys.
	Opener    *seal.Opener
	Databases *geo.Databases
	Chain     *company.Chain
	// Sources are those of package source with the operator's referrer spam; nil, that
	// package's own.
	Sources *source.Tables
	// Reverse asks for the names of networks; nil, the default, asks nobody. It is closed
	// after the worker has ended.
	Reverse    *reversedns.Resolver
	Now        func() time.Time
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

func (d Deps) validate() error {
	var faults []error
	for name, missing := range map[string]bool{
		"Kafka": d.Kafka == nil, "Opener": d.Opener == nil, "Databases": d.Databases == nil, "Chain": d.Chain == nil,
		"Now": d.Now == nil, "Log": d.Log == nil, "Registerer": d.Registerer == nil,
	} {
		if missing {
			faults = append(faults, fmt.Errorf("enrich: %s is missing", name))
		}
	}
	return errors.Join(faults...)
}
