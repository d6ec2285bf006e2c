package kafka

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/segmentio/kafka-go/compress"
)

// batchDecodedBytesMax bounds what one compressed batch may unfold to.
const batchDecodedBytesMax = 128 << 20

// decodeBatches appends to dst the records at or after the offset from, and
// gives the offset to read next: one after the last batch seen, also when
// compaction has emptied it or it is a control batch. A batch cut off at the
// end of data is left for the next fetch. Records share memory with data.
func decodeBatches(dst []Record, topic string, partition int, data []byte, from int64) ([]Record, int64, error) {
	return decodeBatchesIn(nil, dst, topic, partition, data, from)
}

// decodeBatchesIn is decodeBatches in the memory of m.
func decodeBatchesIn(m *memory, dst []Record, topic string, partition int, data []byte, from int64) ([]Record, int64, error) {
	next := from
	for len(data) > batchAtCRC {
		base := int64(binary.BigEndian.Uint64(data))
		length := int64(int32(binary.BigEndian.Uint32(data[batchAtLength:])))
		if data[batchAtMagic] != 2 {
			return dst, next, fmt.Errorf("%w: message format %d", errCorrupt, data[batchAtMagic])
		}
		if length < batchHeaderBytes-12 || base < 0 {
			return dst, next, fmt.Errorf("%w: batch of %d bytes at offset %d", errCorrupt, length, base)
		}
		if length > int64(len(data)-12) {
			break // cut off
		}
		raw := data[:12+length]
		data = data[12+length:]
		if crc32.Checksum(raw[batchAtBody:], crc32.MakeTable(crc32.Castagnoli)) != binary.BigEndian.Uint32(raw[batchAtCRC:]) {
			return dst, next, fmt.Errorf("%w: checksum of the batch at offset %d", errCorrupt, base)
		}
		last := base + int64(int32(binary.BigEndian.Uint32(raw[23:])))
		if last < next {
			continue
		}
		if binary.BigEndian.Uint16(raw[batchAtBody:])&attributeCtrl == 0 {
			var err error
			if dst, err = decodeBatch(m, dst, topic, partition, raw, next); err != nil {
				return dst, next, err
			}
		}
		next = last + 1
	}
	return dst, next, nil
}

// survey looks at the heads of batches: how many records they say they have, as far as
// so many may be in them, and whether all are compressed, so that what is decoded shares
// no memory with data.
func survey(data []byte) (records int, isPacked bool) {
	isPacked = true
	for len(data) >= batchHeaderBytes {
		length := int64(int32(binary.BigEndian.Uint32(data[batchAtLength:])))
		if length < batchHeaderBytes-12 || length > int64(len(data)-12) {
			break
		}
		n := 12 + int(length)
		records += max(min(int(int32(binary.BigEndian.Uint32(data[57:]))), n/surveyRecordBytes), 0)
		isPacked = isPacked && binary.BigEndian.Uint16(data[batchAtBody:])&attributeCodec != 0
		data = data[n:]
	}
	return records, isPacked
}

// surveyRecordBytes bounds the memory that a head alone makes us allocate. Batches of
// smaller records, packed, grow as they are decoded.
const surveyRecordBytes = 8

// decodeBatch appends the records of one batch whose checksum is right.
func decodeBatch(m *memory, dst []Record, topic string, partition int, raw []byte, from int64) ([]Record, error) {
	be := binary.BigEndian
	base := int64(be.Uint64(raw))
	attributes := be.Uint16(raw[batchAtBody:])
	firstMs, maxMs := int64(be.Uint64(raw[27:])), int64(be.Uint64(raw[35:]))
	count := int64(int32(be.Uint32(raw[57:])))
	records := raw[batchHeaderBytes:]
	if c := compress.Compression(attributes & attributeCodec); c != compress.None {
		var err error
		last := base + int64(int32(be.Uint32(raw[23:])))
		if records, err = m.unpack(c, records, last); err != nil {
			return dst, fmt.Errorf("%w: batch at offset %d: %w", errCorrupt, base, err)
		}
	}
	in := cursor{b: records}
	for range count {
		r := cursor{b: in.varbytes()}
		r.take(1) // attributes, unused
		timeDelta, offsetDelta := r.varint(), r.varint()
		key, value := r.varbytes(), r.varbytes()
		headers := decodeHeaders(&r)
		if in.bad || r.bad || offsetDelta < 0 {
			return dst, fmt.Errorf("%w: record in the batch at offset %d", errCorrupt, base)
		}
		if base+offsetDelta < from {
			continue
		}
		ms := firstMs + timeDelta
		if attributes&attributeLogTS != 0 {
			ms = maxMs
		}
		dst = append(dst, Record{
			Topic: topic, Partition: partition, Offset: base + offsetDelta,
			Time: time.UnixMilli(ms), Key: key, Value: value, Headers: headers,
		})
	}
	return dst, nil
}

func decodeHeaders(r *cursor) []Header {
	n := r.varint()
	if n == 0 || r.bad {
		return nil
	}
	if n < 0 || n > int64(len(r.b)) { // a header is two bytes at least
		r.bad = true
		return nil
	}
	headers := make([]Header, 0, min(n, 16))
	for range n {
		key := r.varbytes()
		headers = append(headers, Header{Key: string(key), Value: r.varbytes()})
		if r.bad {
			return nil
		}
	}
	return headers
}

// xerialMagic begins the blocks of Java's snappy library; this package and
// others write one plain block.
const xerialMagic = "\x82SNAPPY\x00"

func decompress(c compress.Compression, data []byte) ([]byte, error) {
	if c == compress.Snappy && !bytes.HasPrefix(data, []byte(xerialMagic)) {
		return decompressBlock(data)
	}
	codec := c.Codec()
	if codec == nil {
		return nil, fmt.Errorf("compression %d is not known", c)
	}
	r := codec.NewReader(bytes.NewReader(data))
	defer r.Close()
	var out bytes.Buffer
	out.Grow(4 * len(data))
	n, err := out.ReadFrom(io.LimitReader(r, batchDecodedBytesMax+1))
	if err != nil {
		return nil, err
	}
	if n > batchDecodedBytesMax {
		return nil, fmt.Errorf("unfolds to more than %d bytes", batchDecodedBytesMax)
	}
	return out.Bytes(), nil
}

// decompressBlock costs a tenth of kafka-go's reader, which looks for framing.
func decompressBlock(data []byte) ([]byte, error) {
	if _, err := blockLen(data); err != nil {
		return nil, err
	}
	return s2.Decode(nil, data)
}

// blockLen is what a block of snappy says that it unfolds to.
func blockLen(data []byte) (int, error) {
	n, err := s2.DecodedLen(data)
	if err != nil {
		return 0, err
	}
	// Three bytes of a block stand for 64 at most.
	if n > batchDecodedBytesMax || n > 22*len(data) {
		return 0, fmt.Errorf("%d bytes say they unfold to %d", len(data), n)
	}
	return n, nil
}
