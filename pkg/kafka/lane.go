package kafka

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/produce"
	"github.com/segmentio/kafka-go/protocol/rawproduce"
)

const (
	retryBackoffMin = 10 * time.Millisecond
	retryBackoffMax = 500 * time.Millisecond
	// A batch's memory is kept for reuse up to this size.
	keepBytesMax = 1 << 20
)

// batch is a run of records of one partition that share an acknowledgement.
type batch struct {
	records  []byte // encoded, uncompressed
	count    int32
	reserved int64 // of Producer.buffered
	firstMs  int64
	maxMs    int64
	born     time.Time
	ack      *Ack
}

// lane is the stream of one partition. Records enter under mu; one goroutine
// seals and sends, one batch at a time, so that the order holds.
type lane struct {
	p         *Producer
	topic     string
	partition int32
	wake      chan struct{}
	// oldest is when the oldest unfinished batch was begun, in nanoseconds
	// after Producer.made; 0: there is none. Changed under mu.
	oldest atomic.Int64

	mu     sync.Mutex
	cur    *batch   // still filling
	queue  []*batch // full
	closed bool

	// The goroutine's own.
	who   identity
	known bool   // who is valid
	first int32  // first sequence number of a new identity; not 0 only in tests
	wire  []byte // the sealed batch under way, reused
}

func newLane(p *Producer, topic string, partition int32) *lane {
	return &lane{p: p, topic: topic, partition: partition, wake: make(chan struct{}, 1)}
}

func (l *lane) append(size int, key, value []byte, headers []Header) (*Ack, error) {
	now := l.p.client.now()
	ms := now.UnixMilli()
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil, ErrClosed
	}
	b := l.cur
	wake := false
	if b != nil && len(b.records)+size > l.p.cfg.BatchBytesMax {
		l.queue = append(l.queue, b)
		b, wake = nil, true
	}
	if b == nil {
		b, _ = l.p.batches.Get().(*batch)
		*b = batch{records: b.records[:0], firstMs: ms, maxMs: ms, born: now, ack: &Ack{done: make(chan struct{})}}
		l.cur, wake = b, true
		if l.oldest.Load() == 0 {
			l.oldest.Store(l.sinceMade(b))
		}
	}
	b.maxMs = max(b.maxMs, ms)
	b.records = appendRecord(b.records, ms-b.firstMs, int64(b.count), key, value, headers)
	b.count++
	b.reserved += int64(size)
	ack := b.ack
	l.mu.Unlock()
	if wake {
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
	return ack, nil
}

// run sends until the producer closes and nothing is left.
func (l *lane) run() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		b, wait := l.next()
		if b != nil {
			l.deliver(b)
			continue
		}
		if wait < 0 {
			return
		}
		var due <-chan time.Time
		if wait > 0 {
			timer.Reset(wait)
			due = timer.C
		}
		select {
		case <-l.wake:
		case <-due:
		case <-l.p.closing:
		}
	}
}

// next gives the batch to send now; or none and how long to wait (0: until
// woken, negative: for ever, the lane is closed).
func (l *lane) next() (*batch, time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) > 0 {
		b := l.queue[0]
		l.queue[0] = nil
		l.queue = l.queue[1:]
		return b, 0
	}
	closing := isClosed(l.p.closing)
	if b := l.cur; b != nil {
		if wait := l.p.cfg.Linger - l.p.client.now().Sub(b.born); wait > 0 && !closing {
			return nil, wait
		}
		l.cur = nil
		return b, 0
	}
	if closing {
		l.closed = true
		return nil, -1
	}
	return nil, 0
}

// deliver brings one batch to an end: acknowledged, refused, or given up at
// its deadline. A batch that may have been appended under one identity is
// never sent under another.
func (l *lane) deliver(b *batch) {
	deadline := b.born.Add(l.p.cfg.DeliveryTimeout)
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	var (
		unclear bool // an attempt may have been appended
		sealed  bool
		last    error
		retry   = backoff{retryBackoffMin, retryBackoffMax}
	)
	for attempt := 0; ; attempt++ {
		if attempt > 0 {
			l.p.client.metrics.produceRetries.WithLabelValues(l.topic).Inc()
			if !sleep(ctx, jitter(retry.step())) {
				l.giveUp(b, unclear, last)
				return
			}
		} else if ctx.Err() != nil {
			l.giveUp(b, false, nil)
			return
		}
		if !l.known {
			if last = l.identify(ctx); last != nil {
				l.p.client.noteError(last)
				continue
			}
		}
		if !sealed {
			var err error
			if l.wire, err = l.p.sealer.seal(l.wire, l.who, b); err != nil {
				l.finish(b, err, "unwritten")
				return
			}
			sealed = true
		}
		err := l.send(ctx)
		switch judge(err) {
		case delivered:
			l.who.advance(b.count)
			l.finish(b, nil, "")
			return
		case lostIdentity:
			l.known = false
			if unclear {
				l.finish(b, fmt.Errorf("%w: %w", ErrOutcomeUnknown, err), "unknown")
				return
			}
			sealed = false
		case refused:
			l.known = false
			if unclear {
				l.finish(b, fmt.Errorf("%w: %w", ErrOutcomeUnknown, err), "unknown")
			} else {
				l.finish(b, fmt.Errorf("producing to %s: %w", l.topic, err), "unwritten")
			}
			return
		case retryUnclear:
			unclear = true
		case retryClean:
		}
		last = err
		l.p.client.noteError(err)
	}
}

// giveUp ends a batch at its deadline. The sequence has a hole now, or may
// have one, so the next batch gets a new identity.
func (l *lane) giveUp(b *batch, unclear bool, last error) {
	err := ErrDeliveryTimeout
	if last != nil {
		err = fmt.Errorf("%w: %w", err, last)
	}
	if !unclear {
		l.finish(b, err, "unwritten")
		return
	}
	l.known = false
	l.finish(b, fmt.Errorf("%w: %w", ErrOutcomeUnknown, err), "unknown")
}

func (l *lane) identify(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, l.p.client.cfg.RequestTimeout)
	defer cancel()
	id, epoch, err := l.p.client.initProducer(ctx)
	if err != nil {
		return err
	}
	l.who, l.known = identity{id: id, epoch: epoch, seq: l.first}, true
	return nil
}

// send makes one attempt with the sealed batch.
func (l *lane) send(ctx context.Context) error {
	c := l.p.client
	ctx, cancel := context.WithTimeout(ctx, c.cfg.RequestTimeout)
	defer cancel()
	// The broker gives up waiting for followers before we give up on it.
	wait := c.cfg.RequestTimeout * 3 / 4
	m, err := c.transport.RoundTrip(ctx, c.addr, &rawproduce.Request{
		Acks:    -1,
		Timeout: int32(wait / time.Millisecond),
		Topics: []rawproduce.RequestTopic{{Topic: l.topic, Partitions: []rawproduce.RequestPartition{{
			Partition: l.partition,
			RecordSet: protocol.RawRecordSet{Reader: bytes.NewReader(l.wire)},
		}}}},
	})
	if err != nil {
		if ctx.Err() != nil {
			// The connection may still be reading these bytes: keep them for
			// repetitions, but do not write into them again.
			l.wire = bytes.Clone(l.wire)
		}
		return err
	}
	res, ok := m.(*produce.Response)
	if !ok || len(res.Topics) != 1 || len(res.Topics[0].Partitions) != 1 {
		return fmt.Errorf("%w: produce answer", errCorrupt)
	}
	if code := res.Topics[0].Partitions[0].ErrorCode; code != 0 {
		return kafkago.Error(code)
	}
	return nil
}

// sinceMade is when a batch was begun, as oldest has it; never 0.
func (l *lane) sinceMade(b *batch) int64 { return max(int64(b.born.Sub(l.p.made)), 1) }

// passOn makes the next batch the oldest one.
func (l *lane) passOn() {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case len(l.queue) > 0:
		l.oldest.Store(l.sinceMade(l.queue[0]))
	case l.cur != nil:
		l.oldest.Store(l.sinceMade(l.cur))
	default:
		l.oldest.Store(0)
	}
}

// finish tells the waiters and takes the memory back.
func (l *lane) finish(b *batch, err error, outcome string) {
	m := l.p.client.metrics
	if err == nil {
		m.producedRecords.WithLabelValues(l.topic).Add(float64(b.count))
		m.producedBytes.WithLabelValues(l.topic).Add(float64(len(l.wire) - wirePrefixBytes))
		m.produceSeconds.WithLabelValues(l.topic).Observe(l.p.client.now().Sub(b.born).Seconds())
	} else {
		m.produceFailed.WithLabelValues(l.topic, outcome).Add(float64(b.count))
		l.p.client.log.Warn("kafka batch was not acknowledged", "topic", l.topic, "partition", l.partition,
			"records", b.count, "outcome", outcome, "error", err)
	}
	l.passOn()
	b.ack.err = err
	close(b.ack.done)
	l.p.buffered.Add(-b.reserved)
	l.p.reportBuffered()
	if cap(l.wire) > keepBytesMax {
		l.wire = nil
	}
	if cap(b.records) <= keepBytesMax {
		b.ack = nil
		l.p.batches.Put(b)
	}
}

func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d) }

func isClosed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}
