package kafka

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

// mergedWait is how long a broker may wait for the followers of one partition
// while others share the request: their acknowledgements come with the same
// answer. The partition is then sent again, alone, until it is fast again.
const mergedWait = 500 * time.Millisecond

// produceVersion is the oldest that takes zstd, and every supported broker
// answers it. https://kafka.apache.org/protocol.html#The_Messages_Produce
const produceVersion = 7

// keepWireBytesMax is how large the memory of a request may be that is kept for
// another: that of several partitions with full batches.
const keepWireBytesMax = 8 << 20

// codeMissing stands for a partition that the answer does not name.
const codeMissing = math.MinInt16

// produceRequest is one request to one broker: a batch for each of its lanes.
// It is written and read byte by byte, because the batches are sealed into the
// request's own memory, and because kafka-go's messages allocate for each
// partition.
type produceRequest struct {
	rawMessage
	broker int32
	lanes  []*lane  // sorted
	codes  []int16  // of the answer, as lanes
	spans  [][2]int // of the sealed batches in wire, as lanes
	wire   []byte
	answer []byte
	wait   time.Duration // for the followers
	limit  time.Duration // for the whole
	// abandoned: its time was over while a connection had it.
	abandoned bool
}

func (*produceRequest) ApiKey() protocol.ApiKey { return protocol.Produce }

// Required makes the transport call RawExchange.
func (*produceRequest) Required(map[protocol.ApiKey]int16) bool { return true }

// Broker makes the transport send it where the dispatcher has decided.
func (r *produceRequest) Broker(protocol.Cluster) (protocol.Broker, error) {
	return protocol.Broker{ID: r.broker}, nil
}

func (p *Producer) newRequest(broker int32, lanes []*lane) *produceRequest {
	r, _ := p.requests.Get().(*produceRequest)
	r.broker = broker
	r.lanes = append(r.lanes[:0], lanes...)
	return r
}

// deliver sends the request and settles what it says about each lane. The error
// says that there was no answer at all.
func (p *Producer) deliver(r *produceRequest, now time.Time) error {
	r.limit, r.wait = p.limits(r.lanes, now)
	r.encode(p.sealer)
	p.client.metrics.produceRequests.Inc()
	ctx, cancel := context.WithTimeout(context.Background(), r.limit)
	_, err := p.client.transport.RoundTrip(ctx, p.client.addr, r)
	r.abandoned = err != nil && ctx.Err() != nil
	cancel()
	ended, spread := p.client.now(), chance()
	for i, l := range r.lanes {
		sent := r.wire[r.spans[i][0]:r.spans[i][1]]
		fault := err
		if err == nil {
			fault = answerError(r.codes[i])
		}
		if fault == nil {
			l.metrics.bytes.Add(float64(len(sent)))
		} else {
			l.under.keep(sent)
		}
		l.companions(fault, len(r.lanes), ended.Sub(now))
		l.settle(fault, ended, spread)
	}
	return err
}

// release brings the lanes back to the board, and keeps the memory for another
// request unless the connection may still be reading it.
func (p *Producer) release(r *produceRequest) {
	if r.abandoned {
		p.land(slices.Clone(r.lanes)...)
		return
	}
	p.land(r.lanes...)
	clear(r.lanes)
	if cap(r.wire) > keepWireBytesMax {
		r.wire = nil
	}
	p.requests.Put(r)
}

// limits gives how long the whole request and the wait for followers may take.
func (p *Producer) limits(lanes []*lane, now time.Time) (limit, wait time.Duration) {
	for _, l := range lanes {
		limit = max(limit, l.deadline(l.under).Sub(now))
	}
	limit = min(limit, p.client.cfg.RequestTimeout)
	// The broker gives up waiting for followers before we give up on it.
	wait = p.client.cfg.RequestTimeout * 3 / 4
	if len(lanes) > 1 {
		wait = min(wait, mergedWait)
	}
	return limit, wait
}

// companions decides whether the lane's next batch may share a request. A
// follower that is slow and a request without an answer say so at once; a broken
// connection only when it breaks again.
func (l *lane) companions(err error, lanes int, took time.Duration) {
	switch {
	case err == nil:
		l.alone = l.alone && took > mergedWait/2
	case errors.Is(err, kafkago.RequestTimedOut), isTimeout(err):
		l.alone = true
	case isBroken(err):
		if l.breaks++; l.breaks >= breaksMax && lanes > 1 {
			l.alone = true
		}
	}
}

// encode seals the batches and writes the request around them.
func (r *produceRequest) encode(s *sealer) {
	be := binary.BigEndian
	w := r.wire[:0]
	size := 64 + len(r.clientID)
	for _, l := range r.lanes {
		size += len(l.topic) + 32 + batchHeaderBytes + len(l.under.records)
	}
	w = slices.Grow(w, size)
	w = appendHead(w, protocol.Produce, produceVersion, r.clientID)
	w = be.AppendUint16(w, 0xffff) // no transactional id
	w = be.AppendUint16(w, 0xffff) // acks: all
	w = be.AppendUint32(w, uint32(r.wait/time.Millisecond))
	topicsAt, topics := len(w), uint32(0)
	w = append(w, 0, 0, 0, 0)
	partitionsAt, partitions := 0, uint32(0)
	r.spans, r.codes = r.spans[:0], r.codes[:0]
	for i, l := range r.lanes {
		if i == 0 || l.topic != r.lanes[i-1].topic {
			w = appendString(w, l.topic)
			partitionsAt, partitions = len(w), 0
			w = append(w, 0, 0, 0, 0)
			topics++
		}
		partitions++
		be.PutUint32(w[partitionsAt:], partitions)
		w = be.AppendUint32(w, uint32(l.partition))
		from := len(w) + lengthBytes
		w = s.seal(w, l.who, l.under)
		r.spans = append(r.spans, [2]int{from, len(w)})
		r.codes = append(r.codes, codeMissing)
	}
	be.PutUint32(w[topicsAt:], topics)
	r.wire = finishRequest(w)
}

// RawExchange sends the request and reads the answer.
func (r *produceRequest) RawExchange(rw io.ReadWriter) (protocol.Message, error) {
	var err error
	if r.answer, err = exchange(rw, r.wire, r.answer); err != nil {
		return nil, err
	}
	if err := r.parse(r.answer); err != nil {
		return nil, err
	}
	return r, nil
}

// parse notes the code of each partition. It may be run while nobody waits for
// the answer any more, so it changes nothing but r.codes.
func (r *produceRequest) parse(answer []byte) error {
	c := cursor{b: answer}
	for range c.count() {
		topic := c.string()
		for range c.count() {
			partition, code := c.int32(), c.int16()
			c.take(3 * 8) // offset, append time, start of the log
			if i := r.find(topic, partition); i >= 0 && !c.bad {
				r.codes[i] = code
			}
		}
	}
	if c.bad {
		return fmt.Errorf("%w: produce answer", errCorrupt)
	}
	return nil
}

// find gives the place of a lane, or -1.
func (r *produceRequest) find(topic []byte, partition int32) int {
	from, to := 0, len(r.lanes)
	for from < to {
		mid := (from + to) / 2
		l := r.lanes[mid]
		switch {
		case l.topic == string(topic) && l.partition == partition:
			return mid
		case l.topic < string(topic), l.topic == string(topic) && l.partition < partition:
			from = mid + 1
		default:
			to = mid
		}
	}
	return -1
}

// answerError is what a partition's code means; nil: acknowledged.
func answerError(code int16) error {
	switch code {
	case 0:
		return nil
	case codeMissing:
		return fmt.Errorf("%w: produce answer without the partition", errCorrupt)
	default:
		return kafkago.Error(code)
	}
}
