package visit

import (
	"fmt"
	"time"

	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// State is one journal for visits.state.
type State struct {
	ID    ID
	Value []byte
}

// Checkpoint is one pass over what visits.state does not have yet.
type Checkpoint struct {
	// Value is the checkpoint's record, to be written after all states.
	Value []byte
	left  []*journal
	done  []*journal
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
	c := &Checkpoint{Value: value, left: s.unwritten}
	s.unwritten = nil
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
		j := c.left[0]
		c.left = c.left[1:]
		if !j.queued { // dropped since
			continue
		}
		if j.dirty {
			j.emit(&s.scratch, emit)
		}
		value := s.packed(j)
		c.done = append(c.done, j)
		j.queued, j.written = false, true
		if value != nil {
			states = append(states, State{ID: j.id, Value: value})
		}
	}
	return states
}

// packed closes a journal and gives its record.
func (s *Set) packed(j *journal) []byte {
	if j.packed != nil { // evicted, of a former owner, or written in vain before
		return j.packed
	}
	value := s.pack(j)
	if value == nil {
		return nil
	}
	j.close(value)
	s.measure(j)
	return value
}

// FailCheckpoint notes that what the checkpoint has given may not be written.
func (s *Set) FailCheckpoint(c *Checkpoint) {
	s.unwritten = append(c.left, s.unwritten...) // queued still
	c.left = nil
	for _, j := range c.done {
		if s.journals[j.who.identity()] == j || s.leaving[j.id] == j {
			s.enqueue(j)
		}
	}
}

// EndCheckpoint gives the journals that have left and are not needed any more.
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
