package kafka

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

const (
	retryBackoffMin = 10 * time.Millisecond
	retryBackoffMax = 500 * time.Millisecond
	// movedBackoffMax bounds the pause before looking for a leader that has
	// moved: brokers learn of it one after the other, within milliseconds.
	movedBackoffMax = 30 * time.Millisecond
	// A batch's memory is kept for reuse up to this size.
	keepBytesMax = 1 << 20
	// breaksMax is how often a connection may break under a batch before the
	// batch is taken for the cause and travels alone.
	breaksMax = 2
)

// batch is a run of records of one partition that share an acknowledgement.
type batch struct {
	records  []byte // encoded, uncompressed; once kept: the batch as it was sent
	kept     bool
	stamp    identity // under which it was sealed
	count    int32
	reserved int64 // of Producer.buffered
	firstMs  int64
	maxMs    int64
	born     time.Time
	ack      *Ack
}

// keep holds on to a batch as it was sent, in the memory of its records: a
// repetition has the same bytes.
func (b *batch) keep(sent []byte) {
	if !b.kept {
		b.records, b.kept = append(b.records[:0], sent...), true
	}
}

// lane is the stream of one partition. Records enter under mu. A lane with
// something to send is active: it waits on the board, or it has been taken from
// there with one batch under way, and comes back when that has been tried.
type lane struct {
	p         *Producer
	topic     string
	partition int32
	metrics   laneMetrics
	// oldest is when the oldest unfinished batch was begun, in nanoseconds
	// after Producer.made; 0: there is none. Changed under mu.
	oldest atomic.Int64

	mu     sync.Mutex
	cur    *batch   // still filling
	queue  []*batch // full
	active bool
	taken  bool // active, and not on the board
	closed bool

	attempt
	// The taker's own: of the dispatcher, then of one request.
	who   identity
	known bool  // who is valid
	first int32 // first sequence number of a new identity; not 0 only in tests
	// alone: its requests carry no other partition.
	alone bool
	// distrust is when its leader was last found wrong or unreachable.
	distrust time.Time
	// The dispatcher's notes while it decides.
	outlet *outlet
	due    time.Time
}

// attempt is the state of the batch under way.
type attempt struct {
	under   *batch // nil: none
	unclear bool   // an attempt may have been appended
	breaks  int    // attempts whose connection broke
	retry   backoff
	next    time.Time // not to be tried before
	last    error
}

func newLane(p *Producer, topic string, partition int32) *lane {
	return &lane{p: p, topic: topic, partition: partition, metrics: p.client.metrics.ofLane(topic)}
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
	full := false
	if b != nil && len(b.records)+size > l.p.cfg.BatchBytesMax {
		full = len(l.queue) == 0 && !l.taken
		l.queue = append(l.queue, b)
		b = nil
	}
	if b == nil {
		b, _ = l.p.batches.Get().(*batch)
		*b = batch{records: b.records[:0], firstMs: ms, maxMs: ms, born: now, ack: &Ack{done: make(chan struct{})}}
		l.cur = b
		if l.oldest.Load() == 0 {
			l.oldest.Store(l.sinceMade(b))
		}
	}
	b.maxMs = max(b.maxMs, ms)
	b.records = appendRecord(b.records, ms-b.firstMs, int64(b.count), key, value, headers)
	b.count++
	b.reserved += int64(size)
	ack := b.ack
	fresh := !l.active
	l.active = true
	l.mu.Unlock()
	switch {
	case fresh:
		l.p.board.add(now, now.Add(l.p.cfg.Linger), l)
		if l.p.stopping.Load() {
			l.p.board.poke()
		}
	case full:
		l.p.board.poke()
	}
	return ack, nil
}

// ready says when the lane may be taken: a repetition at its time (at the
// latest when it is to be given up), a full batch now, else when the first
// record has waited for linger.
func (l *lane) ready(now time.Time, linger time.Duration) time.Time {
	if b := l.under; b != nil {
		return earlier(l.next, l.deadline(b))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) > 0 || l.cur == nil {
		return now
	}
	return l.cur.born.Add(linger)
}

// take gives the batch under way, which is the next one when there is none.
func (l *lane) take() *batch {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.taken = true
	if l.under != nil {
		return l.under
	}
	b := l.cur
	if len(l.queue) > 0 {
		b = l.queue[0]
		l.queue[0] = nil
		l.queue = l.queue[1:]
	} else {
		l.cur = nil
	}
	l.attempt = attempt{under: b, retry: backoff{retryBackoffMin, retryBackoffMax}}
	return b
}

// land ends the taking and says when the lane wants to be taken again; zero:
// it has nothing to send.
func (l *lane) land(now time.Time) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.taken = false
	switch {
	case l.under != nil:
		return earlier(l.next, l.deadline(l.under))
	case len(l.queue) > 0:
		return now
	case l.cur != nil:
		return l.cur.born.Add(l.p.cfg.Linger)
	}
	l.active = false
	return time.Time{}
}

// close refuses further records, unless there is something to send.
func (l *lane) close() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = !l.active
	return l.closed
}

func (l *lane) deadline(b *batch) time.Time { return b.born.Add(l.p.cfg.DeliveryTimeout) }

// settle draws the conclusion from one attempt: the batch is acknowledged,
// refused, given up, or to be tried again after a pause of which spread, from 0
// to 1, is the share left to chance. A batch that may have been appended under
// one identity is never sent under another.
func (l *lane) settle(err error, now time.Time, spread float64) {
	b := l.under
	switch judge(err) {
	case delivered:
		l.who.advance(b.count)
		l.finish(nil, "")
		return
	case lostIdentity:
		l.known = false
		if l.unclear {
			l.finish(fmt.Errorf("%w: %w", ErrOutcomeUnknown, err), "unknown")
			return
		}
	case refused:
		l.refuse(err)
		return
	case retryUnclear:
		l.unclear = true
	case retryClean:
	}
	l.again(err, now, spread)
}

// refuse ends a batch that will never be accepted.
func (l *lane) refuse(err error) {
	l.known = false
	if l.unclear {
		l.finish(fmt.Errorf("%w: %w", ErrOutcomeUnknown, err), "unknown")
	} else {
		l.finish(fmt.Errorf("producing to %s: %w", l.topic, err), "unwritten")
	}
}

// again schedules the next attempt, or gives up when the time is over.
func (l *lane) again(err error, now time.Time, spread float64) {
	l.last = err
	if wantsLeader(err) {
		l.distrust = now
	}
	if !now.Before(l.deadline(l.under)) {
		l.giveUp()
		return
	}
	l.metrics.retries.Inc()
	pause := l.retry.step()
	if hasMoved(err) {
		pause = min(pause, movedBackoffMax)
	}
	l.next = now.Add(pause/2 + time.Duration(spread*float64(pause)))
}

// giveUp ends a batch at its deadline. The sequence may have a hole now; then
// the next batch gets a new identity.
func (l *lane) giveUp() {
	err := ErrDeliveryTimeout
	if l.last != nil {
		err = fmt.Errorf("%w: %w", err, l.last)
	}
	if !l.unclear {
		l.finish(err, "unwritten")
		return
	}
	l.known = false
	l.finish(fmt.Errorf("%w: %w", ErrOutcomeUnknown, err), "unknown")
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

// finish tells the waiters of the batch under way and takes its memory back.
func (l *lane) finish(err error, outcome string) {
	b := l.under
	l.under = nil
	if err == nil {
		l.metrics.records.Add(float64(b.count))
		l.metrics.seconds.Observe(l.p.client.now().Sub(b.born).Seconds())
	} else {
		l.p.client.metrics.produceFailed.WithLabelValues(l.topic, outcome).Add(float64(b.count))
		l.p.client.log.Warn("kafka batch was not acknowledged", "topic", l.topic, "partition", l.partition,
			"records", b.count, "outcome", outcome, "error", err)
	}
	l.passOn()
	l.p.buffered.Add(-b.reserved) // first: who waits may want the room
	b.ack.err = err
	close(b.ack.done)
	if cap(b.records) <= keepBytesMax {
		b.ack = nil
		l.p.batches.Put(b)
	}
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
