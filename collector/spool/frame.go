package spool

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"math"
)

// A segment is a header and frames. All numbers are little-endian.
//
//	header: magic[8] first[8] previousFirst[8] previousEnd[8] crc[4] zero[4]
//	frame:  magic[4] length[4] crc[4] payload[length]
//	payload: sequence[8] timeMs[8] flags[1] topicLength[1] partition[4] keyLength[4] topic key value
//
// The CRC is of the segment's salt, the length and the payload.
const (
	headerBytes  = 40
	framePrefix  = 12
	payloadFixed = 26
	// FrameOverhead is how much longer a record is on disk than its topic, key
	// and value.
	FrameOverhead = framePrefix + payloadFixed
	topicBytesMax = math.MaxUint8
)

var (
	headerMagic = []byte("MTVSPOL1")
	frameMagic  = []byte{0xd1, 'm', 't', 0xf7}
)

const (
	// flagHanded: the record was given to Kafka before, with no answer yet.
	flagHanded = 1 << iota
	// flagBegin: all before this frame was fsynced when it was written.
	flagBegin
	flagNilKey
	flagNilValue
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum is that of data, begun with the salt.
func checksum(salt uint32, data []byte) uint32 { return crc32.Update(salt, castagnoli, data) }

// Batch is a run of records on their way into the spool, framed but for what
// Append fills in. Its memory is kept by Reset.
type Batch struct {
	buf   []byte
	count int
}

// Add copies a record into the batch. ErrTooLarge leaves it as it was.
func (b *Batch) Add(topic string, partition int, key, value []byte) error {
	length := payloadFixed + len(topic) + len(key) + len(value)
	if len(topic) > topicBytesMax || length+framePrefix > RecordBytesMax || partition < 0 || partition > math.MaxInt32 {
		return ErrTooLarge
	}
	var flags byte
	if key == nil {
		flags |= flagNilKey
	}
	if value == nil {
		flags |= flagNilValue
	}
	var fixed [FrameOverhead]byte
	copy(fixed[:], frameMagic)
	binary.LittleEndian.PutUint32(fixed[4:], uint32(length))
	fixed[28], fixed[29] = flags, byte(len(topic))
	binary.LittleEndian.PutUint32(fixed[30:], uint32(partition))
	binary.LittleEndian.PutUint32(fixed[34:], uint32(len(key)))
	b.buf = append(b.buf, fixed[:]...)
	b.buf = append(b.buf, topic...)
	b.buf = append(b.buf, key...)
	b.buf = append(b.buf, value...)
	b.count++
	return nil
}

// Len is the number of records, Bytes their size on disk.
func (b *Batch) Len() int { return b.count }

// Bytes is the size on disk.
func (b *Batch) Bytes() int { return len(b.buf) }

// Reset empties the batch; memory over keepBytes is given back.
func (b *Batch) Reset(keepBytes int) {
	b.count = 0
	if cap(b.buf) > keepBytes {
		b.buf = nil
	}
	b.buf = b.buf[:0]
}

// number gives the frames of buf their sequences, time and flag.
func number(buf []byte, sequence uint64, timeMs int64, handed bool) {
	for len(buf) > 0 {
		binary.LittleEndian.PutUint64(buf[12:], sequence)
		binary.LittleEndian.PutUint64(buf[20:], uint64(timeMs))
		if handed {
			buf[28] |= flagHanded
		}
		sequence++
		buf = buf[frameBytes(buf):]
	}
}

// finishFrames marks the first frame as the begin of a write and computes the
// checksums.
func finishFrames(buf []byte, salt uint32) {
	buf[28] |= flagBegin
	for len(buf) > 0 {
		n := frameBytes(buf)
		binary.LittleEndian.PutUint32(buf[8:], frameSum(buf[:n], salt))
		buf = buf[n:]
	}
}

func frameBytes(frame []byte) int {
	return framePrefix + int(binary.LittleEndian.Uint32(frame[4:]))
}

func frameSum(frame []byte, salt uint32) uint32 {
	return crc32.Update(checksum(salt, frame[4:8]), castagnoli, frame[framePrefix:])
}

// Entry is a record read back. Its bytes are good until the next Next.
type Entry struct {
	Sequence  uint64
	TimeMs    int64
	Topic     string
	Partition int
	Key       []byte
	Value     []byte
	// Handed: it was given to Kafka before it was appended.
	Handed bool
	// Maybe: an earlier process may have sent it, so Kafka may have it.
	Maybe bool

	begin bool
}

// frameState is what readFrame found.
type frameState int

const (
	frameGood  frameState = iota
	frameShort            // more bytes are needed to tell
	frameBad
)

// readFrame reads the frame at the start of buf. The entry shares its memory.
// Names keeps one copy of each topic's name.
func readFrame(buf []byte, salt uint32, names map[string]string) (e Entry, n int, state frameState) {
	if !bytes.HasPrefix(buf, frameMagic[:min(len(buf), len(frameMagic))]) {
		return e, 0, frameBad
	}
	if len(buf) < framePrefix {
		return e, framePrefix, frameShort
	}
	length := binary.LittleEndian.Uint32(buf[4:])
	if length < payloadFixed || length > RecordBytesMax-framePrefix {
		return e, 0, frameBad
	}
	n = framePrefix + int(length)
	if len(buf) < n {
		return e, n, frameShort
	}
	frame := buf[:n]
	if frameSum(frame, salt) != binary.LittleEndian.Uint32(frame[8:]) {
		return e, 0, frameBad
	}
	flags, topicBytes, keyBytes := frame[28], int(frame[29]), int(binary.LittleEndian.Uint32(frame[34:]))
	rest := frame[FrameOverhead:]
	if topicBytes > len(rest) || keyBytes > len(rest)-topicBytes {
		return e, 0, frameBad
	}
	topic, known := names[string(rest[:topicBytes])]
	if !known {
		topic = string(rest[:topicBytes])
		names[topic] = topic
	}
	e = Entry{
		Sequence: binary.LittleEndian.Uint64(frame[12:]), TimeMs: int64(binary.LittleEndian.Uint64(frame[20:])),
		Topic: topic, Partition: int(binary.LittleEndian.Uint32(frame[30:])),
		Key: rest[topicBytes : topicBytes+keyBytes : topicBytes+keyBytes], Value: rest[topicBytes+keyBytes:],
		Handed: flags&flagHanded != 0, begin: flags&flagBegin != 0,
	}
	if flags&flagNilKey != 0 {
		e.Key = nil
	}
	if flags&flagNilValue != 0 {
		e.Value = nil
	}
	return e, n, frameGood
}

// nextFrame is the offset in buf, from 1 on, where the next readable frame
// begins; len(buf) when there is none. Only frames that are whole count.
func nextFrame(buf []byte, salt uint32, names map[string]string) int {
	for off := 1; off < len(buf); {
		i := bytes.Index(buf[off:], frameMagic)
		if i < 0 {
			break
		}
		off += i
		if _, _, state := readFrame(buf[off:], salt, names); state == frameGood {
			return off
		}
		off++
	}
	return len(buf)
}

// header is the beginning of a segment.
type header struct {
	first uint64
	// previousFirst and previousEnd say where the segment before ends: what it
	// has beyond was never acknowledged.
	previousFirst uint64
	previousEnd   int64
}

func appendHeader(dst []byte, h header, salt uint32) []byte {
	var b [headerBytes]byte
	copy(b[:], headerMagic)
	binary.LittleEndian.PutUint64(b[8:], h.first)
	binary.LittleEndian.PutUint64(b[16:], h.previousFirst)
	binary.LittleEndian.PutUint64(b[24:], uint64(h.previousEnd))
	binary.LittleEndian.PutUint32(b[32:], checksum(salt, b[:32]))
	return append(dst, b[:]...)
}

func readHeader(b []byte, salt uint32) (h header, ok bool) {
	if len(b) < headerBytes || !bytes.HasPrefix(b, headerMagic) || binary.LittleEndian.Uint32(b[32:]) != checksum(salt, b[:32]) {
		return h, false
	}
	return header{
		first: binary.LittleEndian.Uint64(b[8:]), previousFirst: binary.LittleEndian.Uint64(b[16:]),
		previousEnd: int64(binary.LittleEndian.Uint64(b[24:])),
	}, true
}
