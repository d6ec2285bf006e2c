package spool

import (
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"math"
	"slices"
)

// The progress is kept in two slots of one file, written in turn, so that a torn
// write leaves the other one.
//
//	slot: magic[8] counter[8] done[8] planned[8] crc[4]
const (
	progressName  = "progress"
	slotBytes     = 36
	slotDistance  = 4096 // a page each, so that one write cannot tear both
	progressMagic = "MTVPROG1"
)

// replay is the state of reading back. All but file belongs to the replaying
// goroutine.
type replay struct {
	file    file // of the progress
	counter uint64
	// done: every record with a lower sequence is finished. planned: every record
	// with a lower one may have been sent, by this process or an earlier one.
	done, planned uint64
	// old is planned as it was at the start: what lies before was read by an
	// earlier process.
	old uint64
	// As they are on disk.
	doneOnDisk, plannedOnDisk uint64

	at     *segment // being read; nil before the first
	seen   uint64   // the sequence after the last that was read
	offset int64
	passed []passed
	// leftover are the names of detached segments.
	leftover []string
}

// passed is a stretch of entries that was read and is not finished.
type passed struct {
	last    uint64
	timeMs  int64
	records int64
}

func (r *replay) close() error {
	var errs []error
	if r.at != nil && r.at.file != nil {
		errs = append(errs, r.at.file.Close())
	}
	if r.file != nil {
		errs = append(errs, r.file.Close())
	}
	return errors.Join(errs...)
}

// Window is a run of records in sequence order. Its memory is reused.
type Window struct {
	Entries []Entry
	buf     []byte
	names   map[string]string
}

// Last is the sequence of the last entry.
func (w *Window) Last() uint64 { return w.Entries[len(w.Entries)-1].Sequence }

// Next waits for durable records behind those read before, and reads about
// bytesMax of them, one at least.
func (s *Spool) Next(ctx context.Context, w *Window, bytesMax int) error {
	w.Entries = w.Entries[:0]
	if w.names == nil {
		w.names = map[string]string{}
	}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		seg, end, readable := s.unread()
		if seg == nil {
			select {
			case <-readable:
			case <-ctx.Done():
			}
			continue
		}
		if err := s.readInto(w, seg, end, bytesMax); err != nil {
			return err
		}
		if len(w.Entries) > 0 {
			e := &w.Entries[len(w.Entries)-1]
			s.passed = append(s.passed, passed{last: e.Sequence, timeMs: e.TimeMs, records: int64(len(w.Entries))})
			return nil
		}
	}
}

// unread gives the segment to read on in and where its durable records end; or,
// without one, what is closed when there is one.
func (s *Spool) unread() (*segment, int64, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, seg := range s.segments {
		if s.at != nil && (seg.first < s.at.first || seg == s.at && s.offset >= seg.end) {
			continue
		}
		if seg != s.at {
			if s.at != nil {
				s.stopReading(s.at)
			}
			s.at, s.offset = seg, headerBytes
		}
		if s.offset >= seg.end {
			continue
		}
		seg.reading = true
		return seg, seg.end, nil
	}
	return nil, 0, s.readable
}

// stopReading closes a segment that is not written any more.
func (s *Spool) stopReading(seg *segment) {
	seg.reading = false
	if seg != s.active && seg.file != nil {
		_ = seg.file.Close()
		seg.file = nil
	}
}

// readInto reads entries of a segment from the offset on.
func (s *Spool) readInto(w *Window, seg *segment, end int64, bytesMax int) error {
	if seg.file == nil {
		f, err := s.files.open(seg.name)
		if err != nil {
			return s.failed("read", err)
		}
		seg.file = f
	}
	want := min(end-s.offset, int64(bytesMax))
	for {
		if int64(cap(w.buf)) < want {
			w.buf = make([]byte, want)
		}
		w.buf = w.buf[:want]
		if _, err := seg.file.ReadAt(w.buf, s.offset); err != nil {
			return s.failed("read", err)
		}
		used, need := s.parse(w, seg, end-s.offset == want)
		s.offset += int64(used)
		if len(w.Entries) > 0 || used > 0 {
			return nil
		}
		want = min(end-s.offset, max(int64(need), 2*want))
	}
}

// parse takes whole frames out of the window's buffer. Whole says that nothing
// follows the buffer. Used is how much was taken; when it is nothing, need is how
// much the first frame needs.
func (s *Spool) parse(w *Window, seg *segment, whole bool) (used, need int) {
	for used < len(w.buf) {
		e, n, state := readFrame(w.buf[used:], seg.salt, w.names)
		switch {
		case state == frameGood:
			used += n
			if e.Sequence < s.done || e.Sequence < s.seen {
				continue // finished by an earlier process, or out of order
			}
			s.seen = e.Sequence + 1
			e.Maybe = e.Sequence < s.old
			w.Entries = append(w.Entries, e)
		case state == frameShort && !whole && n > len(w.buf)-used:
			return used, n
		default:
			skip := nextFrame(w.buf[used:], seg.salt, w.names)
			if used+skip == len(w.buf) && !whole && used > 0 {
				return used, 0 // decide with the rest in the buffer
			}
			if used+skip == len(w.buf) && !whole && len(w.buf) <= RecordBytesMax {
				return 0, 2 * RecordBytesMax
			}
			if used+skip == len(w.buf) && !whole {
				skip = len(w.buf) - RecordBytesMax + 1 // a record may begin behind, and end beyond the buffer
			}
			s.damaged(seg, int64(skip))
			used += skip
		}
	}
	return used, 0
}

// damaged counts and reports a part of a segment that cannot be read.
func (s *Spool) damaged(seg *segment, n int64) {
	s.metrics.damaged.Add(float64(n))
	if !seg.damage {
		seg.damage = true
		s.log.Error("a part of the spool cannot be read and is skipped; acknowledged records are lost", "segment", seg.name, "bytes", n)
	}
}

// Plan makes durable that every record up to through may be sent from now on. A
// window must not be sent before.
func (s *Spool) Plan(through uint64) error {
	s.planned = max(s.planned, through+1)
	if s.planned == s.plannedOnDisk && s.done == s.doneOnDisk {
		return nil
	}
	return s.persist()
}

// Done ends every record up to through: it is not read again, and what it
// occupied is freed. An error leaves that to the next call; the records are
// finished all the same, unless the process crashes first.
func (s *Spool) Done(through uint64) error {
	s.done = max(s.done, through+1)
	finished, lastMs := int64(0), int64(0)
	for len(s.passed) > 0 && s.passed[0].last <= through {
		finished += s.passed[0].records
		lastMs = s.passed[0].timeMs
		s.passed = s.passed[1:]
	}
	s.metrics.replayed.Add(float64(finished))
	s.mu.Lock()
	s.records -= finished
	if lastMs > 0 {
		s.oldestMs = lastMs
	}
	s.mu.Unlock()
	return s.free()
}

// free persists the progress and deletes segments when there are any to delete.
func (s *Spool) free() error {
	s.mu.Lock()
	finished := 0
	for _, seg := range s.segments {
		if seg.next > s.done || seg == s.active && (s.writing || s.waiting > 0) {
			break
		}
		finished++
	}
	s.mu.Unlock()
	if finished+len(s.leftover) == 0 {
		return nil
	}
	if err := s.persist(); err != nil {
		return err
	}
	for range finished {
		s.detachFirst()
	}
	var errs []error
	s.leftover = slices.DeleteFunc(s.leftover, func(name string) bool {
		err := s.files.remove(name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, s.failed("remove", err))
			return false
		}
		return true
	})
	if err := s.files.syncDir(); err != nil {
		errs = append(errs, s.failed("sync", err))
	}
	return errors.Join(errs...)
}

// detachFirst gives the first segment up to be deleted, unless it is being
// written to again.
func (s *Spool) detachFirst() {
	s.mu.Lock()
	defer s.mu.Unlock()
	seg := s.segments[0]
	if seg.next > s.done || seg == s.active && (s.writing || s.waiting > 0) {
		return
	}
	if seg == s.active {
		s.active = nil
	}
	s.stopReading(seg)
	s.segments = s.segments[1:]
	s.bytes -= seg.end
	s.leftover = append(s.leftover, seg.name)
}

// persist writes done and planned into the next slot.
func (s *Spool) persist() error {
	if s.file == nil {
		f, err := s.files.create(progressName)
		if errors.Is(err, fs.ErrExist) {
			f, err = s.files.open(progressName)
		}
		if err != nil {
			return s.failed("progress", err)
		}
		if err := s.files.syncDir(); err != nil {
			_ = f.Close()
			_ = s.files.remove(progressName)
			return s.failed("progress", err)
		}
		s.file = f
	}
	var b [slotBytes]byte
	copy(b[:], progressMagic)
	binary.LittleEndian.PutUint64(b[8:], s.counter+1)
	binary.LittleEndian.PutUint64(b[16:], s.done)
	binary.LittleEndian.PutUint64(b[24:], s.planned)
	binary.LittleEndian.PutUint32(b[32:], checksum(0, b[:32]))
	if _, err := s.file.WriteAt(b[:], int64((s.counter+1)%2)*slotDistance); err != nil {
		return s.failed("progress", err)
	}
	if err := s.file.Sync(); err != nil {
		return s.failed("progress", err)
	}
	s.counter++
	s.doneOnDisk, s.plannedOnDisk = s.done, s.planned
	return nil
}

// readProgress reads the slots of an existing file.
func (s *Spool) readProgress(size int64) error {
	f, err := s.files.open(progressName)
	if err != nil {
		return s.failed("progress", err)
	}
	s.file = f
	b := make([]byte, min(size, slotDistance+slotBytes))
	if len(b) > 0 {
		if _, err := f.ReadAt(b, 0); err != nil {
			return s.failed("progress", err)
		}
	}
	found, written := false, false
	for i := range 2 {
		slot := b[min(len(b), i*slotDistance):]
		slot = slot[:min(len(slot), slotBytes)]
		for _, c := range slot {
			written = written || c != 0
		}
		if len(slot) < slotBytes || string(slot[:8]) != progressMagic || binary.LittleEndian.Uint32(slot[32:]) != checksum(0, slot[:32]) {
			continue
		}
		counter := binary.LittleEndian.Uint64(slot[8:])
		if found && counter < s.counter {
			continue
		}
		found = true
		s.counter, s.done, s.planned = counter, binary.LittleEndian.Uint64(slot[16:]), binary.LittleEndian.Uint64(slot[24:])
	}
	if !found && written {
		// Nothing readable: whatever is here may have been sent.
		s.log.Warn("the progress of the spool cannot be read, everything in it is sent again and marked")
		s.planned = math.MaxUint64
	}
	return nil
}
