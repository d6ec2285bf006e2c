package spool

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Errors callers tell apart with errors.Is.
var (
	// ErrFull: the spool holds BytesMax.
	ErrFull = errors.New("spool: full")
	// ErrClosed: the spool is closed or closing.
	ErrClosed = errors.New("spool: closed")
	// ErrTooLarge: a record is over RecordBytesMax.
	ErrTooLarge = errors.New("spool: record is too large")
	// ErrLocked: another process has the directory.
	ErrLocked = errors.New("spool: another process uses the directory")
)

// RecordBytesMax bounds a record, topic, key and framing included: more than a
// Kafka batch of ours holds, so whatever was meant for Kafka fits.
const RecordBytesMax = 1 << 20

// pendingBytesMax bounds the memory of what waits for the next write: some
// seconds of 5000 events per second, longer than a request waits. Only a disk that
// hangs lets it come to that.
const pendingBytesMax = 32 << 20

const (
	defaultBytesMax     = 2 << 30
	defaultSegmentBytes = 16 << 20
	defaultSyncInterval = 2 * time.Millisecond
	segmentBytesFloor   = 256
	segmentBytesCeiling = 256 << 20
	// nearlyFull is the share of BytesMax from which Health complains: early
	// enough for a load balancer to move the traffic before events are refused.
	nearlyFullPercent = 90
)

// Config is what an operator may set. Zero values mean the default.
type Config struct {
	// Dir holds the spool, and nothing else. It is created when missing.
	Dir string
	// BytesMax bounds the disk space: how long an outage of Kafka may last
	// (default 2 GiB: ten minutes of 5000 events per second).
	BytesMax int64
	// SegmentBytes is where a segment ends: space is freed by whole segments, and
	// a start reads them one by one (default 16 MiB).
	SegmentBytes int64
	// SyncInterval is the least time between the beginnings of two fsyncs; under
	// load it makes them fewer (default 2 ms).
	SyncInterval time.Duration
}

func (c Config) withDefaults() Config {
	if c.BytesMax == 0 {
		c.BytesMax = defaultBytesMax
	}
	if c.SegmentBytes == 0 {
		c.SegmentBytes = defaultSegmentBytes
	}
	if c.SyncInterval == 0 {
		c.SyncInterval = defaultSyncInterval
	}
	return c
}

// Validate reports every fault of the configuration.
func (c Config) Validate() error {
	c = c.withDefaults()
	var faults []error
	if c.Dir == "" {
		faults = append(faults, errors.New("spool: no directory"))
	}
	if c.SegmentBytes < segmentBytesFloor || c.SegmentBytes > segmentBytesCeiling {
		faults = append(faults, fmt.Errorf("spool: the bytes of a segment must be between %d and %d", segmentBytesFloor, segmentBytesCeiling))
	}
	if c.BytesMax < 2*c.SegmentBytes {
		faults = append(faults, errors.New("spool: the bytes of the spool must be those of two segments at least, since one is freed while the next is written"))
	}
	if c.SyncInterval < 0 {
		faults = append(faults, errors.New("spool: the time between two fsyncs is negative"))
	}
	return errors.Join(faults...)
}

// Deps is what a spool works with.
type Deps struct {
	Log      *slog.Logger
	Registry prometheus.Registerer
	Now      func() time.Time
	// Recovered, unless nil, sees each record that is not finished while the spool is
	// opened, in no order. It must not keep the entry's memory.
	Recovered func(e *Entry)
}

func (d Deps) validate() error {
	if d.Log == nil || d.Registry == nil || d.Now == nil {
		return errors.New("spool: log, registry and clock must be set")
	}
	return nil
}
