package kafka

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

// Requests that kafka-go's own message types do not serve well are written
// and read here byte by byte, through protocol.RawExchanger, on kafka-go's
// connections: InitProducerId (kafka-go looks up a transaction coordinator
// first, which makes a broker create its transaction topic), Produce and
// Metadata (see produceRequest and leaders) and Fetch (kafka-go hides where a
// batch ends, so a compacted tail cannot be skipped).

// responseBytesMax bounds what a broker can make us allocate.
const responseBytesMax = 256 << 20

var (
	errCorrupt   = errors.New("kafka: malformed data from the broker")
	errOldBroker = errors.New("kafka: broker is too old, 2.3 is the oldest supported")
)

// appendHead begins a request with a version 1 header; finishRequest ends it.
func appendHead(b []byte, key protocol.ApiKey, version int16, clientID string) []byte {
	b = append(b, 0, 0, 0, 0) // the length
	b = binary.BigEndian.AppendUint16(b, uint16(key))
	b = binary.BigEndian.AppendUint16(b, uint16(version))
	b = binary.BigEndian.AppendUint32(b, correlation)
	return appendString(b, clientID)
}

// finishRequest fills the length in.
func finishRequest(b []byte) []byte {
	binary.BigEndian.PutUint32(b, uint32(len(b)-lengthBytes))
	return b
}

// correlation never changes: a connection has one request at a time.
const correlation = 1

const lengthBytes = 4

// exchange writes a request and reads the answer's body, into the memory of
// buf if it fits.
func exchange(rw io.ReadWriter, req, buf []byte) ([]byte, error) {
	if _, err := rw.Write(req); err != nil {
		return nil, err
	}
	buf = slices.Grow(buf[:0], lengthBytes+4)[:lengthBytes+4]
	if _, err := io.ReadFull(rw, buf); err != nil {
		return nil, err
	}
	n := int64(binary.BigEndian.Uint32(buf)) - 4
	if n < 0 || n > responseBytesMax || binary.BigEndian.Uint32(buf[lengthBytes:]) != correlation {
		return nil, fmt.Errorf("%w: answer of %d bytes", errCorrupt, n)
	}
	buf = slices.Grow(buf[:0], int(n))[:n]
	if _, err := io.ReadFull(rw, buf); err != nil {
		return nil, err
	}
	return buf, nil
}

func appendString(b []byte, s string) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(s)))
	return append(b, s...)
}

// cursor reads big-endian fields; after the first short read it is bad and
// gives zeroes.
type cursor struct {
	b   []byte
	bad bool
}

func (c *cursor) take(n int) []byte {
	if c.bad || n < 0 || n > len(c.b) {
		c.bad = true
		return nil
	}
	out := c.b[:n:n]
	c.b = c.b[n:]
	return out
}

func (c *cursor) int16() int16 {
	if b := c.take(2); b != nil {
		return int16(binary.BigEndian.Uint16(b))
	}
	return 0
}

func (c *cursor) int32() int32 {
	if b := c.take(4); b != nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

func (c *cursor) int64() int64 {
	if b := c.take(8); b != nil {
		return int64(binary.BigEndian.Uint64(b))
	}
	return 0
}

func (c *cursor) varint() int64 {
	if c.bad {
		return 0
	}
	v, n := binary.Varint(c.b)
	if n <= 0 {
		c.bad = true
		return 0
	}
	c.b = c.b[n:]
	return v
}

// count reads the length of an array, of which each element takes a byte at
// least; a null array has none.
func (c *cursor) count() int {
	n := int(c.int32())
	if n > len(c.b) {
		c.bad = true
	}
	if c.bad {
		return 0
	}
	return max(n, 0)
}

// string reads a string without copying it; null is empty.
func (c *cursor) string() []byte {
	n := c.int16()
	if n < 0 {
		return nil
	}
	return c.take(int(n))
}

// varbytes reads a length and as many bytes; a negative length is nil.
func (c *cursor) varbytes() []byte {
	n := c.varint()
	if n < 0 || c.bad {
		return nil
	}
	if n > int64(len(c.b)) {
		c.bad = true
		return nil
	}
	return c.take(int(n))
}

// rawMessage is what the transport needs of every message made here.
type rawMessage struct {
	clientID string
	version  int16
}

// producerIdentity asks for a producer id with sequence numbers from zero.
type producerIdentity struct {
	rawMessage
	id    int64
	epoch int16
}

func (*producerIdentity) ApiKey() protocol.ApiKey { return protocol.InitProducerId }

// Required makes the transport call RawExchange.
func (*producerIdentity) Required(map[protocol.ApiKey]int16) bool { return true }

// RawExchange sends version 0, which every broker since 0.11 answers.
func (m *producerIdentity) RawExchange(rw io.ReadWriter) (protocol.Message, error) {
	req := appendHead(nil, m.ApiKey(), 0, m.clientID)
	req = append(req, 0xff, 0xff)                    // no transactional id
	req = binary.BigEndian.AppendUint32(req, 60_000) // its timeout, unused
	b, err := exchange(rw, finishRequest(req), nil)
	if err != nil {
		return nil, err
	}
	c := cursor{b: b}
	c.int32() // throttle time
	code := c.int16()
	m.id, m.epoch = c.int64(), c.int16()
	if c.bad {
		return nil, fmt.Errorf("%w: InitProducerId", errCorrupt)
	}
	if code != 0 {
		return nil, kafkago.Error(code)
	}
	return m, nil
}

func (c *Client) initProducer(ctx context.Context) (id int64, epoch int16, err error) {
	m := &producerIdentity{rawMessage: rawMessage{clientID: c.cfg.ClientID}}
	if _, err := c.transport.RoundTrip(ctx, c.addr, m); err != nil {
		return 0, 0, fmt.Errorf("asking for a producer id: %w", err)
	}
	c.metrics.producerIDs.Inc()
	return m.id, m.epoch, nil
}
