package collector

import (
	"context"
	"errors"
	"time"

	"github.com/metiva-io/metiva/collector/spool"
	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/schemas"
)

const (
	// replayWindowBytes is what is sent before the next is read: some batches for
	// each partition, so that fresh events need not wait long behind them.
	replayWindowBytes = 1 << 20
	replayPauseMin    = 20 * time.Millisecond
	replayPauseMax    = 2 * time.Second
)

// hedgedRun is a group in the spool that Kafka was given first.
type hedgedRun struct {
	first uint64
	count int
	out   kafkaOutcome
}

func (h *hedgedRun) end() uint64 { return h.first + uint64(h.count) }

// decide notes Kafka's answer to a hedged group.
func (d *Durable) decide(run *hedgedRun, out kafkaOutcome) {
	if run == nil {
		return
	}
	d.runsMu.Lock()
	run.out = out
	d.runsMu.Unlock()
	select {
	case d.decided <- struct{}{}:
	default:
	}
}

// forget drops a run that did not get into the spool.
func (d *Durable) forget(run *hedgedRun) {
	d.runsMu.Lock()
	defer d.runsMu.Unlock()
	for i, r := range d.runs {
		if r == run {
			d.runs = append(d.runs[:i], d.runs[i+1:]...)
			break
		}
	}
	run.out = kafkaMaybe
	select {
	case d.decided <- struct{}{}:
	default:
	}
}

// outcome is what is known of Kafka and a spooled entry. It forgets the runs
// before it: the replay goes forward only.
func (d *Durable) outcome(e *spool.Entry) kafkaOutcome {
	if e.Maybe {
		return kafkaMaybe
	}
	if !e.Handed {
		return kafkaLacks
	}
	d.runsMu.Lock()
	defer d.runsMu.Unlock()
	for len(d.runs) > 0 && d.runs[0].end() <= e.Sequence {
		d.runs = d.runs[1:]
	}
	if len(d.runs) > 0 && d.runs[0].first <= e.Sequence {
		return d.runs[0].out
	}
	return kafkaMaybe // of an earlier process
}

// parcel is one entry of the window on its way to Kafka.
type parcel struct {
	entry *spool.Entry
	lane  *durableLane
	ack   Ack
	// marked: Kafka may have it.
	marked bool
	done   bool
}

// replayer is the memory of the replaying goroutine.
type replayer struct {
	d       *Durable
	window  spool.Window
	parcels []parcel
	value   []byte
	// unplanned: the disk does not say that the window is sent, so all of it is
	// marked now instead of after a crash.
	unplanned bool
}

// replay sends what is in the spool until ctx ends: in the order of the
// sequences, a window at a time. Within it, records others rest on are
// acknowledged before what follows them is sent.
func (d *Durable) replay(ctx context.Context) {
	select {
	case <-d.begin:
	case <-ctx.Done():
		return
	}
	r := &replayer{d: d}
	for ctx.Err() == nil {
		if err := d.deps.Spool.Next(ctx, &r.window, replayWindowBytes); err != nil {
			if ctx.Err() == nil {
				d.log.Error("the spool could not be read, trying again", "error", err)
				pause(ctx, replayPauseMax)
			}
			continue
		}
		err := d.deps.Spool.Plan(r.window.Last())
		if r.unplanned = err != nil; r.unplanned {
			d.log.Error("the progress of the spool could not be written, its records are sent with the mark", "error", err)
		}
		r.send(ctx)
	}
}

func pause(ctx context.Context, t time.Duration) {
	timer := time.NewTimer(t)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// send brings the window to Kafka; it returns early when ctx ends.
func (r *replayer) send(ctx context.Context) {
	entries := r.window.Entries
	for len(entries) > 0 {
		n := 1
		first := precedes(entries[0].Topic)
		for n < len(entries) && precedes(entries[n].Topic) == first {
			n++
		}
		if !r.sendClass(ctx, entries[:n], first) {
			return
		}
		entries = entries[n:]
	}
	if err := r.d.deps.Spool.Done(r.window.Last()); err != nil {
		r.d.log.Warn("space of the spool was not given back, trying again with the next records", "error", err)
	}
}

// sendClass sends entries until Kafka has all of them. Ordered says that an entry
// that failed goes again with all that followed it in its partition.
func (r *replayer) sendClass(ctx context.Context, entries []spool.Entry, ordered bool) bool {
	r.parcels = r.parcels[:0]
	for i := range entries {
		e := &entries[i]
		p := parcel{entry: e, lane: r.d.lane(spool.Lane{Topic: e.Topic, Partition: e.Partition})}
		out, ok := r.await(ctx, e)
		if !ok {
			return false
		}
		p.marked = out == kafkaMaybe || r.unplanned
		p.done = out == kafkaHas // and counted, see settled
		r.parcels = append(r.parcels, p)
	}
	wait := replayPauseMin
	for {
		left := r.round(ctx, ordered)
		if ctx.Err() != nil {
			return false
		}
		if left == 0 {
			r.d.refusal.Store(nil)
			return true
		}
		pause(ctx, wait)
		wait = min(2*wait, replayPauseMax)
	}
}

// await waits for Kafka's answer to a hedged entry.
func (r *replayer) await(ctx context.Context, e *spool.Entry) (kafkaOutcome, bool) {
	for {
		out := r.d.outcome(e)
		if out != kafkaSilent {
			return out, true
		}
		select {
		case <-r.d.decided:
		case <-ctx.Done():
			return out, false
		}
	}
}

// round sends once what is not done, and tells how much is left.
func (r *replayer) round(ctx context.Context, ordered bool) (left int) {
	taking := true
	for i := range r.parcels {
		p := &r.parcels[i]
		p.ack = nil
		if taking && !p.done {
			taking = r.produce(p) // else those behind it stay behind it
		}
	}
	var failed []*durableLane
	for i := range r.parcels {
		p := &r.parcels[i]
		if p.done {
			continue
		}
		if p.ack == nil {
			left++
			continue
		}
		select {
		case <-p.ack.Done():
		case <-ctx.Done():
			return left
		}
		err := p.ack.Err()
		if err == nil && ordered && contains(failed, p.lane) {
			// It is in the log before the one that failed: again, after it.
			p.marked = true
			left++
			continue
		}
		if r.judge(p, err); !p.done {
			failed = append(failed, p.lane)
			left++
		}
	}
	return left
}

func contains(lanes []*durableLane, l *durableLane) bool {
	for _, other := range lanes {
		if other == l {
			return true
		}
	}
	return false
}

// produce gives one entry to Kafka's producer; false when it takes none now.
func (r *replayer) produce(p *parcel) bool {
	e := p.entry
	if r.d.superseded != nil && r.d.superseded(e.Topic, e.Key, e.Value) {
		r.d.metrics.superseded.Inc()
		p.done = true
		p.lane.spooledAdd(-1)
		return true
	}
	value := e.Value
	if p.marked && e.Topic == schemas.TopicEventsCollected {
		r.value = schemas.MarkReplayed(append(r.value[:0], value...))
		value = r.value
	}
	ack, err := r.d.deps.Kafka.Produce(e.Topic, e.Partition, e.Key, value)
	if err != nil {
		if !errors.Is(err, kafka.ErrBufferFull) && !errors.Is(err, kafka.ErrClosed) {
			r.refused(err)
		}
		return false
	}
	p.ack = ack
	return true
}

// judge takes Kafka's answer to an entry.
func (r *replayer) judge(p *parcel, err error) {
	switch outcomeOfKafka(err) {
	case kafkaHas:
		p.done = true
		p.lane.spooledAdd(-1)
		p.lane.stalled.Store(false)
		if p.marked {
			r.d.metrics.marked.Inc()
		} else {
			r.d.metrics.unmarked.Inc()
		}
	case kafkaMaybe:
		p.marked = true
	case kafkaRefuses:
		r.refused(err)
	default:
	}
}

// refused reports that Kafka does not want a record it should want: a topic that
// is gone, a right that is missing. Nothing is skipped; an operator has to look.
func (r *replayer) refused(err error) {
	r.d.metrics.refused.Inc()
	if r.d.refusal.Swap(&err) == nil {
		r.d.log.Error("Kafka refuses a record of the spool, and the replay waits for that to end", "error", err)
	}
}
