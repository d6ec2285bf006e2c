package kafka

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
	"sync"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// Record batches of message format 2:
// https://kafka.apache.org/documentation/#recordbatch

// codec is the compression in a batch's attributes.
type codec uint16

const (
	codecNone   codec = 0
	codecSnappy codec = 2
	codecLZ4    codec = 3
	codecZstd   codec = 4
)

func parseCodec(name string) (codec, error) {
	switch name {
	case "", "none":
		return codecNone, nil
	case "snappy":
		return codecSnappy, nil
	case "lz4":
		return codecLZ4, nil
	case "zstd":
		return codecZstd, nil
	default:
		return 0, fmt.Errorf("kafka: compression %q is not one of none, lz4, snappy, zstd", name)
	}
}

const (
	batchHeaderBytes = 61
	// offsets of fields inside a batch
	batchAtLength   = 8
	batchAtMagic    = 16
	batchAtCRC      = 17
	batchAtBody     = 21 // attributes, the first bytes the checksum covers
	batchAtProducer = 43
	batchAtEpoch    = 51
	batchAtSequence = 53
	attributeCodec  = 0x07
	attributeLogTS  = 0x08
	attributeCtrl   = 0x20
	recordOverMax   = 5 + 1 + 10 + 5 + 5 + 5 + 5 // varints around key, value, headers
	headerOverMax   = 10
)

// recordBytesMax bounds the encoded size of a record.
func recordBytesMax(key, value []byte, headers []Header) int {
	n := recordOverMax + len(key) + len(value)
	for i := range headers {
		n += headerOverMax + len(headers[i].Key) + len(headers[i].Value)
	}
	return n
}

func varintLen(v int64) int {
	u := uint64(v<<1) ^ uint64(v>>63)
	n := 1
	for u >= 0x80 {
		u >>= 7
		n++
	}
	return n
}

// bytesLen is the encoded size of a nullable byte field.
func bytesLen(b []byte) int {
	if b == nil {
		return 1
	}
	return varintLen(int64(len(b))) + len(b)
}

func appendBytes(dst, b []byte) []byte {
	if b == nil {
		return binary.AppendVarint(dst, -1)
	}
	dst = binary.AppendVarint(dst, int64(len(b)))
	return append(dst, b...)
}

func appendRecord(dst []byte, timeDelta, offsetDelta int64, key, value []byte, headers []Header) []byte {
	n := 1 + varintLen(timeDelta) + varintLen(offsetDelta) + bytesLen(key) + bytesLen(value) + varintLen(int64(len(headers)))
	for i := range headers {
		h := &headers[i]
		n += varintLen(int64(len(h.Key))) + len(h.Key) + bytesLen(h.Value)
	}
	dst = binary.AppendVarint(dst, int64(n))
	dst = append(dst, 0) // attributes, unused
	dst = binary.AppendVarint(dst, timeDelta)
	dst = binary.AppendVarint(dst, offsetDelta)
	dst = appendBytes(dst, key)
	dst = appendBytes(dst, value)
	dst = binary.AppendVarint(dst, int64(len(headers)))
	for i := range headers {
		h := &headers[i]
		dst = binary.AppendVarint(dst, int64(len(h.Key)))
		dst = append(dst, h.Key...)
		dst = appendBytes(dst, h.Value)
	}
	return dst
}

// identity is a producer id with the sequence number of its next record on
// one partition.
type identity struct {
	id    int64
	epoch int16
	seq   int32
}

// advance moves the sequence by n records; after 2^31-1 comes 0.
func (i *identity) advance(n int32) {
	i.seq = int32((uint32(i.seq) + uint32(n)) & 0x7fffffff)
}

// sealer turns encoded records into a batch on the wire.
type sealer struct {
	codec codec
	zstd  *zstd.Encoder // shared; EncodeAll is safe for concurrent use
	lz4   *sync.Pool    // of *lz4.Writer

	castagnoli *crc32.Table
}

func newSealer(c codec) (*sealer, error) {
	s := &sealer{codec: c, castagnoli: crc32.MakeTable(crc32.Castagnoli)}
	switch c {
	case codecZstd:
		// A small window, because a batch is small; the batch has its own checksum.
		enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(2),
			zstd.WithEncoderCRC(false), zstd.WithWindowSize(128<<10))
		if err != nil {
			return nil, fmt.Errorf("preparing zstd: %w", err)
		}
		s.zstd = enc
	case codecLZ4:
		// Kafka reads independent blocks only, which is this writer's default.
		w := lz4.NewWriter(nil)
		if err := w.Apply(lz4.BlockSizeOption(lz4.Block256Kb), lz4.ChecksumOption(false), lz4.ConcurrencyOption(1)); err != nil {
			return nil, fmt.Errorf("preparing lz4: %w", err)
		}
		s.lz4 = &sync.Pool{New: func() any {
			w := lz4.NewWriter(nil)
			_ = w.Apply(lz4.BlockSizeOption(lz4.Block256Kb), lz4.ChecksumOption(false), lz4.ConcurrencyOption(1))
			return w
		}}
	case codecNone, codecSnappy: // stateless
	}
	return s, nil
}

// seal appends to dst the batch as it is sent, after its length. A batch that
// was sent before keeps its bytes; only a new identity is written into them.
func (s *sealer) seal(dst []byte, who identity, b *batch) []byte {
	be := binary.BigEndian
	from := len(dst) + lengthBytes
	w := append(dst, 0, 0, 0, 0)
	if b.kept {
		w = append(w, b.records...)
	} else {
		w = s.pack(appendBatchHeader(w, b), b.records, from+batchAtBody)
	}
	batch := w[from:]
	be.PutUint32(w[from-lengthBytes:], uint32(len(batch)))
	if b.kept && b.stamp == who {
		return w
	}
	b.stamp = who
	be.PutUint32(batch[batchAtLength:], uint32(len(batch)-batchAtMagic+4))
	be.PutUint64(batch[batchAtProducer:], uint64(who.id))
	be.PutUint16(batch[batchAtEpoch:], uint16(who.epoch))
	be.PutUint32(batch[batchAtSequence:], uint32(who.seq))
	be.PutUint32(batch[batchAtCRC:], crc32.Checksum(batch[batchAtBody:], s.castagnoli))
	return w
}

func appendBatchHeader(w []byte, b *batch) []byte {
	var h [batchHeaderBytes]byte
	be := binary.BigEndian
	be.PutUint32(h[12:], 0xffffffff) // leader epoch, set by the broker
	h[batchAtMagic] = 2
	be.PutUint32(h[23:], uint32(b.count-1))
	be.PutUint64(h[27:], uint64(b.firstMs))
	be.PutUint64(h[35:], uint64(b.maxMs))
	be.PutUint32(h[57:], uint32(b.count))
	return append(w, h[:]...)
}

// pack appends the records to w and notes in the batch's attributes how they
// are compressed. Records that do not get smaller go as they are.
func (s *sealer) pack(w, records []byte, attributesAt int) []byte {
	n := len(w)
	var err error
	switch s.codec {
	case codecZstd:
		w = s.zstd.EncodeAll(records, w)
	case codecSnappy:
		w = appendSnappy(w, records)
	case codecLZ4:
		w, err = s.appendLZ4(w, records)
	case codecNone:
	}
	if s.codec == codecNone || err != nil || len(w)-n >= len(records) {
		return append(w[:n], records...)
	}
	binary.BigEndian.PutUint16(w[attributesAt:], uint16(s.codec))
	return w
}

func appendSnappy(dst, src []byte) []byte {
	n := len(dst)
	dst = slices.Grow(dst, s2.MaxEncodedLen(len(src)))
	return dst[:n+len(s2.EncodeSnappy(dst[n:cap(dst)], src))]
}

// sliceWriter appends to a slice.
type sliceWriter struct{ b []byte }

func (w *sliceWriter) Write(p []byte) (int, error) {
	w.b = append(w.b, p...)
	return len(p), nil
}

func (s *sealer) appendLZ4(dst, src []byte) ([]byte, error) {
	out := sliceWriter{dst}
	w, _ := s.lz4.Get().(*lz4.Writer)
	defer s.lz4.Put(w)
	w.Reset(&out)
	if _, err := w.Write(src); err != nil {
		return out.b, fmt.Errorf("compressing a batch: %w", err)
	}
	if err := w.Close(); err != nil {
		return out.b, fmt.Errorf("compressing a batch: %w", err)
	}
	return out.b, nil
}
