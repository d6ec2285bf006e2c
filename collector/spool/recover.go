package spool

import (
	"cmp"
	"math"
	"slices"
)

// recover reads the directory as it was left.
func (s *Spool) recover() error {
	sizes, err := s.files.list()
	if err != nil {
		return s.failed("read", err)
	}
	if size, ok := sizes[progressName]; ok {
		if err := s.readProgress(size); err != nil {
			return err
		}
	}
	var found []*segment
	for name := range sizes {
		if first, salt, ok := parseSegmentName(name); ok {
			found = append(found, &segment{name: name, salt: salt, first: first})
		}
	}
	slices.SortFunc(found, func(a, b *segment) int {
		return cmp.Or(cmp.Compare(a.first, b.first), cmp.Compare(a.name, b.name))
	})
	// From the last to the first, since each knows where the one before ends.
	var after *header
	for i := len(found) - 1; i >= 0; i-- {
		h, keep, err := s.recoverSegment(found[i], sizes[found[i].name], after)
		if err != nil {
			return err
		}
		if keep {
			s.segments = append(s.segments, found[i])
			after = h
		}
	}
	slices.Reverse(s.segments)
	for _, seg := range s.segments {
		s.bytes += seg.end
		s.next = max(s.next, seg.next)
	}
	s.next = max(s.next, s.done)
	s.doneOnDisk, s.plannedOnDisk = s.done, s.planned
	if s.planned == math.MaxUint64 {
		s.planned = s.next
	}
	s.next = max(s.next, s.planned)
	s.old = s.planned
	if err := s.free(); err != nil { // what a crash kept from being deleted
		s.log.Warn("space of the spool was not given back, trying again when records are finished", "error", err)
	}
	return nil
}

// recoverSegment finds the end of a segment and cuts off what lies behind. After
// is the header of the segment that follows; none when it is the last one that
// holds anything. A segment without a record is removed.
func (s *Spool) recoverSegment(seg *segment, size int64, after *header) (h *header, keep bool, err error) {
	f, err := s.files.open(seg.name)
	if err != nil {
		return nil, false, s.failed("read", err)
	}
	defer func() { _ = f.Close() }()
	buf := make([]byte, size)
	if size > 0 {
		if _, err := f.ReadAt(buf, 0); err != nil {
			return nil, false, s.failed("read", err)
		}
	}
	if got, ok := readHeader(buf, seg.salt); ok {
		h = &got
	}
	known := after != nil && after.previousFirst == seg.first && after.previousEnd >= headerBytes
	limit := size
	if known {
		limit = min(size, after.previousEnd)
	}
	sc := s.scan(buf[:limit], seg, !known)
	if known && sc.end < limit {
		// What cannot be read there was acknowledged. It is kept until it has been
		// passed, and counted then.
		sc.end, sc.next = limit, max(sc.next, after.first)
		sc.holes++
	}
	seg.end, seg.next = sc.end, sc.next
	if sc.records == 0 && sc.holes == 0 {
		if err := s.files.remove(seg.name); err != nil {
			return nil, false, s.failed("remove", err)
		}
		s.metrics.tornBytes.Add(float64(max(0, size-headerBytes)))
		return nil, false, nil
	}
	if torn := size - seg.end; torn > 0 {
		s.metrics.tornBytes.Add(float64(torn))
		s.log.Warn("the end of a segment was never fsynced and is cut off", "segment", seg.name, "bytes", torn)
		if err := f.Truncate(seg.end); err != nil {
			return nil, false, s.failed("truncate", err)
		}
	}
	s.records += sc.pending
	if sc.pending > 0 {
		s.oldestMs = sc.oldestMs // segments come newest first
	}
	for lane, n := range sc.backlog {
		if s.backlog == nil {
			s.backlog = map[Lane]int{}
		}
		s.backlog[lane] += n
	}
	return h, true, nil
}

// Lane is a partition of a topic.
type Lane struct {
	Topic     string
	Partition int
}

// Backlog counts, by partition, what the spool held when it was opened.
func (s *Spool) Backlog() map[Lane]int { return s.backlog }

// scanned is what is in a segment.
type scanned struct {
	end      int64
	next     uint64
	records  int
	holes    int // known to have been acknowledged
	pending  int64
	oldestMs int64
	backlog  map[Lane]int
}

// scan reads the frames of a segment. In one that may be torn, the first frame
// that cannot be read is its end; unless a later one says that all before it was
// synced: then that part is damaged, and is skipped when it is read back.
func (s *Spool) scan(buf []byte, seg *segment, mayBeTorn bool) scanned {
	sc := scanned{end: headerBytes, next: seg.first, backlog: map[Lane]int{}}
	names := map[string]string{}
	for off := headerBytes; off < len(buf); {
		e, n, state := readFrame(buf[off:], seg.salt, names)
		if state == frameGood {
			off += n
			if sc.add(&e, int64(off), s.done) && s.recovered != nil {
				s.recovered(&e)
			}
			continue
		}
		skip := nextSynced(buf[off:], seg.salt, names, !mayBeTorn)
		if off+skip >= len(buf) {
			break
		}
		sc.holes++
		off += skip
	}
	return sc
}

// add takes the next frame; pending says that its record is not finished.
func (sc *scanned) add(e *Entry, end int64, done uint64) (pending bool) {
	sc.end = end
	sc.records++
	again := e.Sequence < sc.next && sc.records > 1 // nobody writes that
	sc.next = max(sc.next, e.Sequence+1)
	if again || e.Sequence < done {
		return false
	}
	if sc.pending == 0 {
		sc.oldestMs = e.TimeMs
	}
	sc.pending++
	sc.backlog[Lane{e.Topic, e.Partition}]++
	return true
}

// nextSynced is the offset of the next frame behind a hole. Either says that the
// hole was acknowledged in any case; otherwise one that begins a write must
// follow.
func nextSynced(buf []byte, salt uint32, names map[string]string, either bool) int {
	first := 0
	for off := 0; off < len(buf); {
		off += nextFrame(buf[off:], salt, names)
		if off >= len(buf) {
			break
		}
		if first == 0 {
			first = off
		}
		e, n, _ := readFrame(buf[off:], salt, names)
		if either || e.begin {
			return first
		}
		for off += n; off < len(buf); off += n { // along the frames that follow
			var state frameState
			if e, n, state = readFrame(buf[off:], salt, names); state != frameGood {
				break
			}
			if e.begin {
				return first
			}
		}
	}
	return len(buf)
}
