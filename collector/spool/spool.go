package spool

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"
)

// Spool is one directory of records. Append, Stats and Health may be called by
// many at once; Next, Plan and Done by one, which replays; Run by one.
type Spool struct {
	cfg     Config
	files   files
	log     *slog.Logger
	now     func() time.Time
	metrics *metrics
	salt    func() uint32
	lost    func(topic string, partition int)
	// recovered is Deps.Recovered.
	recovered func(e *Entry)

	wake chan struct{} // one token: there is something to commit

	mu       sync.Mutex
	closed   bool
	next     uint64 // sequence of the next record
	pending  []byte // numbered frames
	waiting  int    // records in pending
	spare    []byte // the other buffer
	ack      *Ack   // of pending
	writing  bool   // a commit is under way, since began
	began    time.Time
	bytes    int64 // on disk, under way and pending
	records  int64 // durable and not finished
	oldestMs int64 // a lower bound of the oldest unfinished record's time; 0 when there is none
	segments []*segment
	active   *segment      // the last of segments, while it is written
	readable chan struct{} // closed and replaced when there is more to read
	trouble  error         // of the last commit, and when it was
	troubled time.Time
	backlog  map[Lane]int // when it was opened

	replay
}

// segment is one file.
type segment struct {
	name    string
	salt    uint32
	first   uint64
	next    uint64 // sequence after its last durable record
	end     int64  // where its durable records end
	file    file   // nil unless it is active or being read
	reading bool
	damage  bool // reported
}

// Ack tells when records are durable. It is shared by all of one commit.
type Ack struct {
	done chan struct{}
	err  error
}

// Done is closed once the records are fsynced or have failed.
func (a *Ack) Done() <-chan struct{} { return a.done }

// Err is nil when the records are on disk. It is valid after Done.
func (a *Ack) Err() error { return a.err }

func newAck() *Ack { return &Ack{done: make(chan struct{})} }

// Receipt is what Append gives: the records have the sequences First to
// First+Count-1 once Ack is done without error.
type Receipt struct {
	First uint64
	Count int
	Ack   *Ack
}

// Stats is what a spool holds.
type Stats struct {
	Bytes, BytesMax int64
	// Records are durable and not finished.
	Records   int64
	OldestAge time.Duration
}

// Open opens or creates the spool and reads what is in it: what a crash left
// unsynced is cut off. ErrLocked when another process has the directory.
func Open(cfg Config, deps Deps) (*Spool, error) {
	if err := errors.Join(cfg.Validate(), deps.validate()); err != nil {
		return nil, err
	}
	dir, err := openDirectory(cfg.Dir)
	if err != nil {
		return nil, err
	}
	s, err := open(cfg, deps, dir, rand.Uint32)
	if err != nil {
		return nil, errors.Join(err, dir.close())
	}
	return s, nil
}

func open(cfg Config, deps Deps, dir files, salt func() uint32) (*Spool, error) {
	cfg = cfg.withDefaults()
	s := &Spool{
		cfg: cfg, files: dir, log: deps.Log, now: deps.Now, salt: salt, recovered: deps.Recovered,
		wake: make(chan struct{}, 1), readable: make(chan struct{}), ack: newAck(), next: 1,
	}
	var err error
	if s.metrics, err = newMetrics(deps.Registry, s); err != nil {
		return nil, fmt.Errorf("registering spool metrics: %w", err)
	}
	s.metrics.capacity.Set(float64(cfg.BytesMax))
	if err := s.recover(); err != nil {
		return nil, err
	}
	return s, nil
}

// Append takes the records of a batch, which may be reset at once. Handed says
// that Kafka was given them before. ErrFull (also when too much waits for a slow
// disk already) and ErrClosed refuse all of them;
// whether they are durable the receipt's Ack tells, while Run runs.
func (s *Spool) Append(b *Batch, handed bool) (Receipt, error) {
	size := int64(len(b.buf))
	timeMs := s.now().UnixMilli()
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return Receipt{}, ErrClosed
	}
	if s.bytes+size > s.cfg.BytesMax || int64(len(s.pending))+size > pendingBytesMax {
		s.mu.Unlock()
		s.metrics.full.Inc()
		return Receipt{}, ErrFull
	}
	start := len(s.pending)
	s.pending = append(s.pending, b.buf...)
	number(s.pending[start:], s.next, timeMs, handed)
	r := Receipt{First: s.next, Count: b.count, Ack: s.ack}
	s.next += uint64(b.count)
	s.waiting += b.count
	s.bytes += size
	s.mu.Unlock()
	if start == 0 {
		s.nudge()
	}
	return r, nil
}

func (s *Spool) nudge() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Run commits what is appended until ctx ends, then what is left, and closes the
// spool. It runs once.
func (s *Spool) Run(ctx context.Context) error {
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	var last time.Time
	for ctx.Err() == nil {
		select {
		case <-s.wake:
		case <-ctx.Done():
			continue
		}
		if wait := s.cfg.SyncInterval - time.Since(last); wait > 0 {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-ctx.Done():
			}
		}
		last = time.Now()
		s.commit()
	}
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.commit()
	return s.close()
}

func (s *Spool) close() error {
	s.mu.Lock()
	s.closed = true
	active := s.active
	s.active = nil
	s.mu.Unlock()
	var errs []error
	if active != nil && !active.reading {
		errs = append(errs, active.file.Close())
	}
	errs = append(errs, s.replay.close(), s.files.close())
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("closing the spool: %w", err)
	}
	return nil
}

// Stats tells what the spool holds.
func (s *Spool) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Stats{Bytes: s.bytes, BytesMax: s.cfg.BytesMax, Records: s.records}
	if s.records > 0 && s.oldestMs > 0 {
		st.OldestAge = max(0, s.now().Sub(time.UnixMilli(s.oldestMs)))
	}
	return st
}

// troubleKept is how long a failed write shows. A collector that is not ready gets
// no events, and so would not find out that the disk works again.
const troubleKept = 10 * time.Second

// hungAfter is how long one write and its fsync may take before Health says that
// the disk hangs: far longer than a busy disk takes.
const hungAfter = 5 * time.Second

var (
	// ErrNearlyFull is Health's word for a spool over nine tenths.
	ErrNearlyFull = errors.New("spool: nearly full")
	// ErrHung is Health's word for a disk that does not come back.
	ErrHung = errors.New("spool: the disk does not answer")
)

// Health is nil while records can be appended: not when the last write failed, a
// moment ago, not when one does not come back, and not when the spool is nearly
// full.
func (s *Spool) Health() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return ErrClosed
	case s.writing && s.now().Sub(s.began) >= hungAfter:
		return ErrHung
	case s.trouble != nil && s.now().Sub(s.troubled) < troubleKept:
		return s.trouble
	case s.bytes >= s.cfg.BytesMax/100*nearlyFullPercent:
		return ErrNearlyFull
	}
	return nil
}

// failed counts a disk error and says what we were doing.
func (s *Spool) failed(operation string, err error) error {
	s.metrics.diskErrors.WithLabelValues(operation).Inc()
	return fmt.Errorf("spool: %s: %w", operation, err)
}
