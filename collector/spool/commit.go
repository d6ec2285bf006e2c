package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// keepBufferBytes is how much of a burst's memory stays for the next.
const keepBufferBytes = 4 << 20

// commit writes and fsyncs what is pending, and tells those who wait.
func (s *Spool) commit() {
	s.mu.Lock()
	if s.waiting == 0 {
		s.mu.Unlock()
		return
	}
	buf, ack, count, next := s.pending, s.ack, s.waiting, s.next
	s.pending, s.waiting, s.ack, s.writing = s.spare[:0], 0, newAck(), true
	s.spare, s.began = nil, s.now()
	s.mu.Unlock()

	began := time.Now()
	err := s.write(buf, next)
	if err == nil {
		s.metrics.fsync.Observe(time.Since(began).Seconds())
		s.metrics.appends.Add(float64(count))
	} else {
		s.log.Error("the spool could not be written, its records are refused", "records", count, "error", err)
	}

	s.mu.Lock()
	s.trouble, s.troubled = err, s.now()
	s.writing = false
	if err == nil {
		if s.records == 0 {
			s.oldestMs = s.now().UnixMilli()
		}
		s.records += int64(count)
		close(s.readable)
		s.readable = make(chan struct{})
	} else {
		s.bytes -= int64(len(buf))
	}
	if cap(buf) <= keepBufferBytes {
		s.spare = buf[:0]
	}
	more := s.waiting > 0
	s.mu.Unlock()
	if err != nil {
		s.reportLost(buf)
	}
	ack.err = err
	close(ack.done)
	if more {
		s.nudge()
	}
}

// NotifyLost has f called for every record that Append took and the disk did not,
// before the record's Ack is done. Call it before Run.
func (s *Spool) NotifyLost(f func(topic string, partition int)) { s.lost = f }

func (s *Spool) reportLost(buf []byte) {
	for s.lost != nil && len(buf) > 0 {
		n := frameBytes(buf)
		topic := buf[FrameOverhead : FrameOverhead+int(buf[29])]
		s.lost(string(topic), int(binary.LittleEndian.Uint32(buf[30:])))
		buf = buf[n:]
	}
}

// write makes buf durable in the active segment, or in a new one when there is
// none or it would grow over SegmentBytes. Next is the sequence after buf.
func (s *Spool) write(buf []byte, next uint64) error {
	s.mu.Lock()
	seg := s.active
	s.mu.Unlock()
	if seg != nil && seg.end+int64(len(buf)) > s.cfg.SegmentBytes {
		s.retire(seg)
		seg = nil
	}
	fresh := seg == nil
	if fresh {
		var err error
		if seg, err = s.begin(buf); err != nil {
			return err
		}
	}
	finishFrames(buf, seg.salt)
	if _, err := seg.file.WriteAt(buf, seg.end); err != nil {
		// Nothing of it was synced, so it can be cut off and the segment goes on.
		err = s.failed("write", err)
		if cut := s.cut(seg, fresh); cut != nil {
			s.abandon(seg, fresh)
		}
		return err
	}
	if err := seg.file.Sync(); err != nil {
		// What the kernel could not write it may forget: a second fsync proves
		// nothing about these pages.
		_ = s.cut(seg, fresh)
		s.abandon(seg, fresh)
		return s.failed("sync", err)
	}
	if fresh {
		if err := s.files.syncDir(); err != nil {
			_ = s.cut(seg, fresh)
			s.abandon(seg, fresh)
			return s.failed("sync", err)
		}
	}
	s.mu.Lock()
	seg.end += int64(len(buf))
	seg.next = next
	if fresh {
		s.segments = append(s.segments, seg)
		s.active = seg
		s.bytes += headerBytes
	}
	s.mu.Unlock()
	return nil
}

// begin makes a segment whose first record is the first of buf. It is not listed
// before its first record is durable.
func (s *Spool) begin(buf []byte) (*segment, error) {
	first := binary.LittleEndian.Uint64(buf[12:])
	seg := &segment{salt: s.salt(), first: first, next: first, end: headerBytes}
	seg.name = segmentName(seg.first, seg.salt)
	h := header{first: seg.first}
	s.mu.Lock()
	if n := len(s.segments); n > 0 {
		h.previousFirst, h.previousEnd = s.segments[n-1].first, s.segments[n-1].end
	}
	s.mu.Unlock()
	var err error
	if seg.file, err = s.files.create(seg.name); err != nil {
		return nil, s.failed("create", err)
	}
	s.metrics.segmentsNew.Inc()
	if _, err := seg.file.WriteAt(appendHeader(nil, h, seg.salt), 0); err != nil {
		s.abandon(seg, true)
		return nil, s.failed("write", err)
	}
	return seg, nil
}

// retire ends the writing of a segment. All of it is synced.
func (s *Spool) retire(seg *segment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.active = nil
	if !seg.reading {
		_ = seg.file.Close()
		seg.file = nil
	}
}

// cut takes off what a failed write left behind the durable end. A segment that
// never held anything is removed instead, by abandon.
func (s *Spool) cut(seg *segment, fresh bool) error {
	if fresh {
		return errors.New("nothing to keep")
	}
	if err := seg.file.Truncate(seg.end); err != nil {
		return s.failed("truncate", err)
	}
	return nil
}

// abandon stops using a segment. What is durable in it stays to be replayed.
func (s *Spool) abandon(seg *segment, fresh bool) {
	if !fresh {
		s.retire(seg)
		return
	}
	_ = seg.file.Close()
	if err := s.files.remove(seg.name); err != nil {
		_ = s.failed("remove", err)
	}
}

func segmentName(first uint64, salt uint32) string {
	return fmt.Sprintf("%016x-%08x.seg", first, salt)
}

// parseSegmentName is the inverse of segmentName.
func parseSegmentName(name string) (first uint64, salt uint32, ok bool) {
	n, err := fmt.Sscanf(name, "%16x-%8x.seg", &first, &salt)
	return first, salt, err == nil && n == 2 && segmentName(first, salt) == name
}
