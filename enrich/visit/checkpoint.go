package visit

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// State is one record for visits.state. A nil value removes the key.
type State struct {
	Key   ID
	Value []byte
}

// CheckpointKey is the key of the checkpoint's record on each partition.
const CheckpointKey = "checkpoint"

// Checkpoint is one pass over what visits.state does not have yet.
type Checkpoint struct {
	// Value is the checkpoint's record, to be written after all states.
	Value []byte
	left  []ID
	done  []*journal
	epoch uint64
}

// BeginCheckpoint evicts what is too old to change and notes what has to be
// written. It gives the records by NextStates; when all are acknowledged and the
// checkpoint's own is, EndCheckpoint. When one is not, FailCheckpoint.
func (s *Set) BeginCheckpoint(epoch uint64, now time.Time) (*Checkpoint, error) {
	s.evictOld()
	value, err := CheckpointValue(epoch, s.next, s.streamMs, now)
	if err != nil {
		return nil, err
	}
	c := &Checkpoint{Value: value, epoch: epoch, left: make([]ID, 0, len(s.unwritten))}
	for id := range s.unwritten {
		c.left = append(c.left, id)
	}
	slices.SortFunc(c.left, func(a, b ID) int { return slices.Compare(a[:], b[:]) })
	return c, nil
}

// CheckpointValue is the record of a checkpoint.
func CheckpointValue(epoch uint64, next, streamMs int64, now time.Time) ([]byte, error) {
	value, err := schemas.Encode(nil, &metivav1.VisitState{Epoch: epoch, Kind: &metivav1.VisitState_Checkpoint{
		Checkpoint: &metivav1.VisitCheckpoint{NextOffset: next, StreamAtMs: streamMs, WrittenAtMs: now.UnixMilli()},
	}})
	if err != nil {
		return nil, fmt.Errorf("encoding a checkpoint: %w", err)
	}
	return value, nil
}

// evictOld evicts the journals whose visits no event can join that a collector
// still takes: it occurred LatenessMax before its receipt at most, and the visit
// ended IdleMax before that.
func (s *Set) evictOld() {
	silentMs := (s.limits.LatenessMax + IdleMax).Milliseconds()
	for s.oldest != nil && s.streamMs-s.oldest.lastReceivedMs > silentMs {
		s.counts.EvictedByAge++
		s.evict(s.oldest)
	}
}

// NextStates gives up to max records, and before them the visits that must be
// acknowledged first: a journal on visits.state has nothing left to send. A visit is
// valid until emit returns. No records: that was all.
func (s *Set) NextStates(c *Checkpoint, max int, emit func(*metivav1.Visit)) []State {
	for _, v := range s.out {
		emit(v)
	}
	s.out = nil
	var states []State
	for len(c.left) > 0 && len(states) < max {
		j := s.unwritten[c.left[0]]
		if j == nil { // dropped since
			c.left = c.left[1:]
			continue
		}
		if j.dirty {
			j.emit(&s.scratch, emit)
		}
		value := s.packed(j, c.epoch)
		c.done = append(c.done, j)
		c.left = c.left[1:]
		s.dequeue(j)
		j.written = true
		if value != nil {
			states = append(states, State{Key: j.id, Value: value})
		}
	}
	return states
}

// packed closes a journal and gives its record.
func (s *Set) packed(j *journal, epoch uint64) []byte {
	if j.packed != nil { // evicted, or written in vain before
		return appendEpoch(slices.Clip(j.packed), epoch)
	}
	value := s.pack(j, epoch)
	if value == nil {
		return nil
	}
	j.close(value)
	s.measure(j)
	return value
}

// FailCheckpoint notes that what the checkpoint has given may not be written.
func (s *Set) FailCheckpoint(c *Checkpoint) {
	for _, j := range c.done {
		if s.journals[j.who.identity()] == j || s.leaving[j.id] == j {
			s.enqueue(j)
		}
	}
}

// EndCheckpoint gives the keys of the journals that have left and are not
// needed any more.
func (s *Set) EndCheckpoint() []ID {
	var keys []ID
	for id, j := range s.leaving {
		if j.written {
			keys = append(keys, id)
			delete(s.leaving, id)
			s.leavingBytes -= j.size
		}
	}
	return keys
}

// NeedsCheckpoint reports whether so much is open, or has been evicted, that the next
// checkpoint must not wait for its time: it packs the one and lets the other go.
func (s *Set) NeedsCheckpoint() bool {
	part := int64(s.limits.BytesMax) / 4
	return s.leavingBytes > part || s.openBytes > part
}

// outMax is how many visits wait to be sent before the set is full.
const outMax = 1 << 16

// IsFull reports whether what waits for a checkpoint or to be sent has come to more
// than the set may hold: no event should be taken in before it has gone.
func (s *Set) IsFull() bool {
	return s.leavingBytes > int64(s.limits.BytesMax) || len(s.out) > outMax
}

// Restored is what visits.state says of a partition, as it is read.
type Restored struct {
	// Epoch is the highest seen.
	Epoch uint64
	// Next is the offset to go on from, StreamMs the stream's time there; -1 without a
	// checkpoint.
	Next, StreamMs int64
	// Ignored is records of a former owner, Unreadable those that are not valid.
	Ignored, Unreadable int
	journals            map[ID]*journal
}

// NewRestored has seen no record.
func NewRestored() *Restored { return &Restored{Next: -1, journals: make(map[ID]*journal)} }

// Read takes one record; epoch is that of a removal, which has it in a header.
func (r *Restored) Read(key, value []byte, epoch uint64) {
	if err := r.read(key, value, epoch); err != nil {
		r.Unreadable++
	}
}

// Keys are those of the journals.
func (r *Restored) Keys() []ID { return slices.Collect(maps.Keys(r.journals)) }

var errNoState = errors.New("visit: not a record of a state")

func (r *Restored) read(key, value []byte, epoch uint64) error {
	if len(value) == 0 {
		if len(key) != schemas.IDBytes {
			return errNoState
		}
		if !r.isStale(epoch) {
			delete(r.journals, ID(key))
		}
		return nil
	}
	state, err := readState(value)
	if err != nil {
		return errNoState
	}
	if r.isStale(state.epoch) {
		return nil
	}
	if state.checkpoint != nil {
		return r.readCheckpoint(state.checkpoint)
	}
	if len(key) != schemas.IDBytes {
		return errNoState
	}
	j, err := journalOf(state.journal)
	if err != nil || j.id != ID(key) {
		return errNoState
	}
	j.written = true
	j.close(slices.Clone(value))
	r.journals[j.id] = j
	return nil
}

func (r *Restored) readCheckpoint(value []byte) error {
	var c metivav1.VisitCheckpoint
	if proto.Unmarshal(value, &c) != nil || c.GetNextOffset() < 0 {
		return errNoState
	}
	r.Next, r.StreamMs = c.GetNextOffset(), c.GetStreamAtMs()
	return nil
}

// isStale reports whether a record is a former owner's that came after its
// successor's.
func (r *Restored) isStale(epoch uint64) bool {
	if epoch < r.Epoch {
		r.Ignored++
		return true
	}
	r.Epoch = epoch
	return false
}

// Restore fills an empty set with what was read.
func (s *Set) Restore(r *Restored) {
	ordered := make([]*journal, 0, len(r.journals))
	for _, j := range r.journals {
		ordered = append(ordered, j)
	}
	slices.SortFunc(ordered, func(a, b *journal) int {
		if a.applied != b.applied {
			return int(min(max(a.applied-b.applied, -1), 1))
		}
		return slices.Compare(a.id[:], b.id[:])
	})
	for _, j := range ordered {
		j.who.CompanyID, j.who.BrandID, j.who.SiteID = s.shared(j.who.CompanyID), s.shared(j.who.BrandID), s.shared(j.who.SiteID)
		s.journals[j.who.identity()] = j
		s.touch(j)
		s.measure(j)
		s.streamMs = max(s.streamMs, j.lastReceivedMs)
	}
	s.streamMs = max(s.streamMs, r.StreamMs)
	s.next = max(s.next, r.Next)
}
