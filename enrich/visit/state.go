package visit

import (
	"encoding/binary"
	"errors"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// checkpointKey begins the key of a checkpoint's record.
const checkpointKey = "checkpoint"

// epochBytes is the length of an epoch behind a key.
const epochBytes = 8

// JournalKey is the key on visits.state of a journal that the owner with an epoch has
// written: the id and the epoch, big-endian. Keys of two owners differ, so that
// compaction never keeps what one of them wrote in place of the other's. Epoch 0 is
// what was written before keys had one: the id alone.
func JournalKey(id ID, epoch uint64) []byte { return withEpoch(id[:], epoch) }

// CheckpointKey is the key of the checkpoint of the owner with an epoch.
func CheckpointKey(epoch uint64) []byte { return withEpoch([]byte(checkpointKey), epoch) }

func withEpoch(name []byte, epoch uint64) []byte {
	key := append(make([]byte, 0, len(name)+epochBytes), name...)
	if epoch == 0 {
		return key
	}
	return binary.BigEndian.AppendUint64(key, epoch)
}

// parseKey is the reverse of JournalKey and CheckpointKey.
func parseKey(key []byte) (id ID, epoch uint64, isCheckpoint, ok bool) {
	name := key
	switch len(key) {
	case len(checkpointKey), schemas.IDBytes:
	case len(checkpointKey) + epochBytes, schemas.IDBytes + epochBytes:
		name = key[:len(key)-epochBytes]
		if epoch = binary.BigEndian.Uint64(key[len(name):]); epoch == 0 {
			return ID{}, 0, false, false
		}
	default:
		return ID{}, 0, false, false
	}
	if len(name) == schemas.IDBytes {
		return ID(name), epoch, false, true
	}
	return ID{}, epoch, true, string(name) == checkpointKey
}

// Restored is what visits.state says of a partition, once all of it is read: the state
// that one owner has written, complete up to its checkpoint. That owner is the one with
// the highest epoch among those that came to write a checkpoint. What others wrote,
// before or after, does not count: it is in Former.
type Restored struct {
	// Highest is the highest epoch on the partition.
	Highest uint64
	// Unreadable is records that are not valid.
	Unreadable int
	owners     map[uint64]*written
}

// written is what one owner has on visits.state.
type written struct {
	// next is the offset to go on from, streamMs the stream's time there; next is -1
	// without a checkpoint.
	next, streamMs int64
	// journals hold nil where another owner's count for certain.
	journals map[ID]*journal
}

// NewRestored has seen no record.
func NewRestored() *Restored { return &Restored{owners: make(map[uint64]*written)} }

var errNoState = errors.New("visit: not a record of a state")

// Read takes one record, in the order of the log. A nil value removes its key.
func (r *Restored) Read(key, value []byte) {
	if err := r.read(key, value); err != nil {
		r.Unreadable++
	}
}

func (r *Restored) read(key, value []byte) error {
	id, epoch, isCheckpoint, ok := parseKey(key)
	if !ok {
		return errNoState
	}
	r.Highest = max(r.Highest, epoch)
	w := r.owners[epoch]
	if w == nil {
		w = &written{next: -1, journals: make(map[ID]*journal)}
		r.owners[epoch] = w
	}
	if len(value) == 0 {
		if isCheckpoint {
			w.next = -1
		} else {
			delete(w.journals, id)
		}
		return nil
	}
	state, err := readState(value)
	if err != nil {
		return errNoState
	}
	r.Highest = max(r.Highest, state.epoch) // of keys without one
	if (state.checkpoint != nil) != isCheckpoint {
		return errNoState
	}
	if isCheckpoint {
		var c metivav1.VisitCheckpoint
		if proto.Unmarshal(state.checkpoint, &c) != nil || c.GetNextOffset() < 0 {
			return errNoState
		}
		w.next, w.streamMs = c.GetNextOffset(), c.GetStreamAtMs()
		r.release(epoch)
		return nil
	}
	j, err := journalOf(state.journal)
	if err != nil || j.id != id {
		return errNoState
	}
	j.close(slices.Clone(value))
	if r.isOutdone(epoch) {
		j = nil
	}
	w.journals[id] = j
	return nil
}

// isOutdone reports whether a later owner has written a checkpoint.
func (r *Restored) isOutdone(epoch uint64) bool {
	for e, w := range r.owners {
		if e > epoch && w.next >= 0 {
			return true
		}
	}
	return false
}

// release lets go of what owners before an epoch wrote, and keeps its keys: a
// checkpoint of the epoch is there.
func (r *Restored) release(epoch uint64) {
	for e, w := range r.owners {
		if e < epoch {
			for id := range w.journals {
				w.journals[id] = nil
			}
		}
	}
}

// Next is the offset to go on from, and StreamMs the stream's time there; Next is -1
// where no owner has written a checkpoint.
func (r *Restored) Next() (next, streamMs int64) {
	if w := r.counting(); w != nil {
		return w.next, w.streamMs
	}
	return -1, 0
}

// Len is the number of journals to restore.
func (r *Restored) Len() int {
	if w := r.counting(); w != nil {
		return len(w.journals)
	}
	return 0
}

// counting is what the owner whose state counts has written.
func (r *Restored) counting() *written {
	epochs := slices.SortedFunc(maps.Keys(r.owners), func(a, b uint64) int {
		if a > b {
			return -1
		}
		return 1
	})
	for _, e := range epochs {
		if r.owners[e].next >= 0 {
			return r.owners[e]
		}
	}
	return nil
}

// Former is the keys of all there is of owners before an epoch.
func (r *Restored) Former(epoch uint64) *Former {
	f := &Former{journals: make(map[ID][]uint64)}
	for e, w := range r.owners {
		if e >= epoch {
			continue
		}
		if w.next >= 0 {
			f.checkpoints = append(f.checkpoints, e)
		}
		for id := range w.journals {
			f.journals[id] = append(f.journals[id], e)
		}
	}
	return f
}

// Former is the keys on visits.state of former owners. They are to be removed once the
// present one has written a checkpoint of its own, and those of a visitor who is to be
// forgotten at once. A nil one has none.
type Former struct {
	journals    map[ID][]uint64
	checkpoints []uint64
}

// Of gives the keys of one journal.
func (f *Former) Of(id ID) [][]byte {
	if f == nil {
		return nil
	}
	var keys [][]byte
	for _, e := range f.journals[id] {
		keys = append(keys, JournalKey(id, e))
	}
	return keys
}

// Keys gives all keys, those of the checkpoints first: without its checkpoint, what an
// owner wrote does not count, and must not be taken for whole while it goes.
func (f *Former) Keys() [][]byte {
	if f == nil {
		return nil
	}
	keys := make([][]byte, 0, len(f.checkpoints)+len(f.journals))
	for _, e := range f.checkpoints {
		keys = append(keys, CheckpointKey(e))
	}
	for id := range f.journals {
		keys = append(keys, f.Of(id)...)
	}
	return keys
}

// Restore fills an empty set with what was read. All of it is to be written again, by
// the owner of the set: its checkpoints speak of its own records.
func (s *Set) Restore(r *Restored) {
	w := r.counting()
	if w == nil {
		return
	}
	ordered := make([]*journal, 0, len(w.journals))
	for _, j := range w.journals {
		if j != nil {
			ordered = append(ordered, j)
		}
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
		s.enqueue(j)
		s.touch(j)
		s.measure(j)
		s.streamMs = max(s.streamMs, j.lastReceivedMs)
	}
	s.streamMs = max(s.streamMs, w.streamMs)
	s.next = max(s.next, w.next)
}
