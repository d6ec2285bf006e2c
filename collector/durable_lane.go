package collector

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/metiva-io/metiva/collector/spool"
	"github.com/metiva-io/metiva/pkg/kafka"
)

const (
	// groupBytesMax ends a group, so that its memory can be kept for the next.
	groupBytesMax = 512 << 10
	// freeGroupsMax is how many groups of a partition keep their memory.
	freeGroupsMax = 8
	// spoolRetry is the pause after the spool has refused a group.
	spoolRetry = 100 * time.Millisecond
	// probeInterval is how often a stalled partition is given one record, to find
	// out whether Kafka is back while the replay is held up by another partition.
	probeInterval = time.Second
)

// cause is why a record goes to the spool.
type cause int

const (
	causeNone     cause = iota
	causeHedged         // Kafka has it and does not answer
	causeStalled        // its partition answers nothing
	causeRefused        // Kafka's producer is full or closed, or gave it up
	causeOrder          // something that must come first is in the spool
	causeStopping       // the process stops
)

var causeLabels = [...]string{"none", "hedged", "stalled", "refused", "order", "stopping"}

// group is the records of one Kafka batch, kept until they are durable.
type group struct {
	ack     *groupAck
	kafka   Ack
	born    time.Time
	hedgeAt time.Time
	batch   spool.Batch
	run     *hedgedRun // its place in the spool; nil while it has none
	receipt spool.Receipt
	durable bool
}

// groupAck is what requests wait for, by its channel or as waiters.
type groupAck struct {
	done    chan struct{}
	err     error
	waiters atomic.Pointer[waiter] // the last to come first; &told at the end
	told    waiter                 // marks that nobody is told any more
}

// tell enters a waiter.
func (a *groupAck) tell(w *waiter) bool {
	for {
		first := a.waiters.Load()
		if first == &a.told {
			return false
		}
		w.next = first
		if a.waiters.CompareAndSwap(first, w) {
			return true
		}
	}
}

// end says that the group is durable, or what it failed of.
func (a *groupAck) end(err error) {
	a.err = err
	close(a.done)
	if first := a.waiters.Swap(&a.told); first != nil {
		go finishAll(first)
	}
}

func (a *groupAck) Done() <-chan struct{} { return a.done }
func (a *groupAck) Err() error            { return a.err }

// durableLane is one partition. Records enter under mu; one goroutine waits for
// Kafka, and hands to the spool what waits too long.
type durableLane struct {
	d        *Durable
	key      spool.Lane
	precedes bool
	wake     chan struct{}

	stalled atomic.Bool  // Kafka answers nothing: records go to the spool
	spooled atomic.Int64 // records in the spool that are not known to be in Kafka

	mu    sync.Mutex
	cur   *group   // still filling, the last of queue
	queue []*group // not answered by Kafka, in its order
	// Of queue, from its front: how many are in the spool or on their way there,
	// and how many of those are known to be on the disk.
	hedged, told int
	free         []*group
	probed       time.Time // when it stalled, or was last given a record since
}

func newDurableLane(d *Durable, key spool.Lane) *durableLane {
	return &durableLane{d: d, key: key, precedes: precedes(key.Topic), wake: make(chan struct{}, 1)}
}

// spooledAdd counts records into the spool, and out of it.
func (l *durableLane) spooledAdd(n int) {
	l.spooled.Add(int64(n))
	if l.precedes {
		l.d.preceding.Add(int64(n))
	}
}

// detour says whether, and why, the next record must go to the spool. Under mu.
func (l *durableLane) detour() cause {
	switch {
	case l.d.stopping.Load():
		return causeStopping
	case l.precedes && l.spooled.Load() > 0, !l.precedes && l.d.preceding.Load() > 0:
		return causeOrder
	case l.stalled.Load():
		if len(l.queue) > 0 {
			return causeStalled
		}
		if l.spooled.Load() == 0 {
			l.stalled.Store(false) // nothing else would find out that Kafka is back
			return causeNone
		}
		if now := l.d.now(); now.Sub(l.probed) >= probeInterval {
			l.probed = now
			return causeNone
		}
		return causeStalled
	}
	return causeNone
}

// stall sends records to the spool from now on. Under mu.
func (l *durableLane) stall(now time.Time) {
	l.stalled.Store(true)
	l.probed = now
}

// keep holds a record that Kafka was given. Under mu.
func (l *durableLane) keep(ack Ack, key, value []byte) (Ack, error) {
	g := l.cur
	if g == nil || g.kafka != ack || g.batch.Bytes() > groupBytesMax/2 {
		if n := len(l.free); n > 0 {
			g, l.free = l.free[n-1], l.free[:n-1]
		} else {
			g = &group{}
		}
		g.ack, g.kafka, g.born = &groupAck{done: make(chan struct{})}, ack, l.d.now()
		g.hedgeAt = g.born.Add(l.d.cfg.HedgeAfter)
		l.d.undurable.Add(1)
		l.cur = g
		l.queue = append(l.queue, g)
		if l.hedged == len(l.queue)-1 { // nobody waits for its time yet
			l.nudge()
		}
	}
	if err := g.batch.Add(l.key.Topic, l.key.Partition, key, value); err != nil {
		return nil, err
	}
	return g.ack, nil
}

func (l *durableLane) nudge() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// spool appends one record that Kafka was not given. Under mu.
func (l *durableLane) spool(why cause, key, value []byte) (Ack, error) {
	b := l.d.batches.Get().(*spool.Batch)
	defer func() {
		b.Reset(1 << 16)
		l.d.batches.Put(b)
	}()
	if err := b.Add(l.key.Topic, l.key.Partition, key, value); err != nil {
		return nil, err
	}
	r, err := l.append(b, why, false)
	if err != nil {
		return nil, err
	}
	return r.Ack, nil
}

// append counts before it appends, so that the replay cannot be ahead of it.
func (l *durableLane) append(b *spool.Batch, why cause, handed bool) (spool.Receipt, error) {
	l.spooledAdd(b.Len())
	r, err := l.d.deps.Spool.Append(b, handed)
	if err != nil {
		l.spooledAdd(-b.Len())
		return r, fmt.Errorf("spooling a record: %w", err)
	}
	l.d.metrics.spooled[why].Add(float64(b.Len()))
	return r, nil
}

// run waits for Kafka and the spool until quit.
func (l *durableLane) run() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var armed time.Time
	for {
		l.mu.Lock()
		kafkaDone, spoolDone, due := l.next()
		l.mu.Unlock()
		if !due.IsZero() && (armed.IsZero() || due.Before(armed)) {
			armed = due
			timer.Reset(max(0, due.Sub(l.d.now())))
		}
		select {
		case <-kafkaDone:
			l.answered()
		case <-spoolDone:
			l.fsynced()
		case <-timer.C:
			armed = time.Time{}
			l.overdue()
		case <-l.wake:
		case <-l.d.quit:
			l.leave()
			return
		}
	}
}

// next is what to wait for: Kafka's answer to the oldest group, the fsync of the
// oldest hedged one, and the time when there is something to do. Under mu.
func (l *durableLane) next() (kafkaDone, spoolDone <-chan struct{}, due time.Time) {
	if len(l.queue) == 0 {
		return nil, nil, due
	}
	head := l.queue[0]
	kafkaDone = head.kafka.Done()
	if l.told < l.hedged {
		spoolDone = l.queue[l.told].receipt.Ack.Done()
	}
	if l.hedged < len(l.queue) {
		due = l.queue[l.hedged].hedgeAt
	}
	if stall := head.born.Add(l.d.cfg.SpoolAfter); !l.stalled.Load() && (due.IsZero() || stall.Before(due)) {
		due = stall
	}
	return kafkaDone, spoolDone, due
}

// overdue hedges the groups that have waited long enough.
func (l *durableLane) overdue() {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.d.now()
	if len(l.queue) > 0 && now.Sub(l.queue[0].born) >= l.d.cfg.SpoolAfter {
		l.stall(now)
	}
	for l.hedged < len(l.queue) {
		g := l.queue[l.hedged]
		if now.Before(g.hedgeAt) {
			return
		}
		if l.hedge(g, now) != nil {
			return
		}
	}
}

// hedge puts the oldest group that is not yet there into the spool. Under mu.
func (l *durableLane) hedge(g *group, now time.Time) error {
	if g == l.cur {
		l.cur = nil // Kafka's batch may grow, this group does not
	}
	run := &hedgedRun{count: g.batch.Len()}
	l.d.runsMu.Lock()
	defer l.d.runsMu.Unlock()
	r, err := l.append(&g.batch, causeHedged, true)
	if err != nil {
		g.hedgeAt = now.Add(spoolRetry) // Kafka may come first
		return err
	}
	run.first = r.First
	l.d.runs = append(l.d.runs, run)
	g.run, g.receipt = run, r
	l.hedged++
	return nil
}

// fsynced tells those whose group is on disk.
func (l *durableLane) fsynced() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for ; l.told < l.hedged; l.told++ {
		g := l.queue[l.told]
		if !isDone(g.receipt.Ack) {
			return
		}
		if g.receipt.Ack.Err() == nil {
			l.tell(g, nil)
			continue
		}
		// It is not there: this one, and those behind it, are to be hedged again.
		for _, again := range l.queue[l.told:l.hedged] {
			l.d.forget(again.run)
			again.run, again.hedgeAt = nil, l.d.now().Add(spoolRetry)
		}
		l.hedged = l.told
		return
	}
}

// tell ends the wait for a group, and gives its bytes back. Under mu.
func (l *durableLane) tell(g *group, err error) {
	g.durable = true
	g.ack.end(err)
	g.batch.Reset(groupBytesMax)
	l.d.undurable.Add(-1)
}

// answered takes Kafka's answer to the oldest group.
func (l *durableLane) answered() {
	l.mu.Lock()
	defer l.mu.Unlock()
	g := l.queue[0]
	l.queue[0] = nil
	l.queue = l.queue[1:]
	l.hedged, l.told = max(0, l.hedged-1), max(0, l.told-1)
	if g == l.cur {
		l.cur = nil
	}
	err := g.kafka.Err()
	out := outcomeOfKafka(err)
	l.d.decide(g.run, out)
	switch {
	case out == kafkaHas:
		l.stalled.Store(false)
		if g.run != nil {
			l.d.metrics.late.Add(float64(g.run.count))
			l.settled(g.receipt)
		}
		if !g.durable {
			l.tell(g, nil)
		}
	case g.durable:
	case g.run != nil:
		l.awaitSpool(g, g.receipt, err)
		return
	case out == kafkaRefuses:
		l.tell(g, err)
	default:
		r, spoolErr := l.append(&g.batch, causeRefused, out == kafkaMaybe)
		if spoolErr == nil {
			l.awaitSpool(g, r, err)
			return
		}
		l.tell(g, errors.Join(err, spoolErr))
	}
	if len(l.free) < freeGroupsMax {
		*g = group{batch: g.batch}
		l.free = append(l.free, g)
	}
}

// settled counts records out of the spool that Kafka has: at once, since the
// replay may be held up before it comes to them. Those that the disk does not
// take are counted out by NotifyLost.
func (l *durableLane) settled(r spool.Receipt) {
	count := func() {
		if r.Ack.Err() == nil {
			l.spooledAdd(-r.Count)
		}
	}
	if isDone(r.Ack) {
		count()
		return
	}
	l.d.wg.Go(func() {
		select {
		case <-r.Ack.Done():
			count()
		case <-l.d.quit:
		}
	})
}

// awaitSpool tells about a group that Kafka gave up, once it is on disk. It is
// rare, and a disk that hangs must not keep the lane from its other groups.
func (l *durableLane) awaitSpool(g *group, r spool.Receipt, err error) {
	l.d.wg.Go(func() {
		select {
		case <-r.Ack.Done():
			if spoolErr := r.Ack.Err(); spoolErr != nil {
				err = errors.Join(err, spoolErr)
			} else {
				err = nil
			}
		case <-l.d.quit:
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		l.tell(g, err)
	})
}

// leave fails what is not durable at the end.
func (l *durableLane) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, g := range l.queue {
		if !g.durable {
			l.tell(g, kafka.ErrOutcomeUnknown)
		}
	}
	l.queue, l.cur, l.hedged, l.told = nil, nil, 0, 0
}

// kafkaOutcome is what Kafka's answer means for a record.
type kafkaOutcome int

const (
	kafkaSilent  kafkaOutcome = iota // no answer yet
	kafkaHas                         // it is in the log
	kafkaLacks                       // it is not, and may be sent again
	kafkaMaybe                       // it may be in the log
	kafkaRefuses                     // it is not, and will not be
)

func outcomeOfKafka(err error) kafkaOutcome {
	switch {
	case err == nil:
		return kafkaHas
	case errors.Is(err, kafka.ErrOutcomeUnknown):
		return kafkaMaybe
	case errors.Is(err, kafka.ErrDeliveryTimeout), errors.Is(err, kafka.ErrClosed), errors.Is(err, kafka.ErrBufferFull):
		return kafkaLacks
	default:
		return kafkaRefuses
	}
}
