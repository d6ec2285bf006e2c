package enrich

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/metiva-io/metiva/enrich/visit"
	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/eventwire"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// visits keeps the visits of one owned partition. The partition's goroutine gives
// it events; its own sends what has changed and writes checkpoints.
type visits struct {
	w         *Worker
	partition int
	epoch     uint64

	mu       sync.Mutex
	set      *visit.Set
	exported visit.Counts

	// Of the goroutine that sends.
	unsent     []visitRecord
	values     []byte // of what is unsent, in the memory of the last time
	gone       []visit.ID
	looked     uint64 // revocations.changes when journals were last looked through
	hasLooked  bool
	checkpoint time.Time
	written    int64 // the offset of the last checkpoint; -1 before the first of this owner
	former     *visit.Former
	acks       []*kafka.Ack
}

// visitRecord is one for visits.enriched.
type visitRecord struct {
	target     int
	key, value []byte
	removed    bool
}

// beginVisits restores the visits of the partition and keeps them until end is
// called. An owner that was fenced writes nothing more: its successor has read
// visits.state already, and nobody would count it.
func (p *partition) beginVisits(ctx context.Context, c claim) (end func(fenced bool), err error) {
	v, err := p.restoreVisits(ctx, c)
	if err != nil {
		return nil, err
	}
	p.visits = v
	running, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		v.run(running)
	}()
	return func(fenced bool) {
		stop()
		<-done
		if fenced {
			v.w.visitMetrics.forget(v.partition)
			return
		}
		v.close(ctx)
	}, nil
}

// apply takes the outcome of a record in. Repeating one changes nothing.
func (v *visits) apply(out *outcome, offset int64) {
	if v == nil {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	e := out.record.GetEvent()
	if e == nil {
		v.set.Advance(offset, 0)
		return
	}
	// A collector whose clock is ahead must not make the journals of others old.
	v.set.Advance(offset, min(e.GetReceivedAtMs(), e.GetEnrichedAtMs()))
	// Since the steps ran the visitor may have withdrawn, and the journals have been
	// looked through already: nobody would drop the one that this makes.
	if v.w.revocations.isRevoked(visit.Subject{CompanyID: e.GetCompanyId(), VisitorID: e.GetVisitorId(), ConsentSeq: e.GetConsentSeq()}) {
		return
	}
	v.set.Renew(e, v.w.revocations.isRevoked)
	v.set.Apply(e, offset)
}

// run sends and writes until ctx ends. What fails is repeated; the events go on
// meanwhile.
func (v *visits) run(ctx context.Context) {
	ticker := time.NewTicker(v.w.cfg.Visits.SendEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		v.mu.Lock()
		due := v.set.NeedsCheckpoint()
		v.mu.Unlock()
		due = due || v.w.deps.Now().Sub(v.checkpoint) >= v.w.cfg.Visits.CheckpointEvery
		if err := v.send(ctx); err != nil {
			v.note(ctx, "send", err)
			continue
		}
		if !due {
			continue
		}
		if err := v.write(ctx); err != nil {
			v.note(ctx, "checkpoint", err)
		}
	}
}

// roomPause is how long to wait before looking again whether there is room.
const roomPause = 50 * time.Millisecond

// waitForRoom returns once the set may take events in, or ctx ends: when its topics
// take nothing while those of the events do, memory must stay bounded.
func (v *visits) waitForRoom(ctx context.Context) error {
	for {
		v.mu.Lock()
		isFull := v.set.IsFull()
		v.mu.Unlock()
		if !isFull {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for visits to be sent: %w", ctx.Err())
		case <-time.After(roomPause):
		}
	}
}

// note counts and logs a failure that is not the end.
func (v *visits) note(ctx context.Context, what string, err error) {
	if ctx.Err() != nil {
		return
	}
	v.w.visitMetrics.failed.WithLabelValues(what).Inc()
	v.w.deps.Log.Warn("visits are behind", "what", what, "partition", v.partition, "error", err)
}

// close sends and writes what there is, within the drain timeout.
func (v *visits) close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), v.w.cfg.DrainTimeout)
	defer cancel()
	err := v.send(ctx)
	if err == nil {
		err = v.write(ctx)
	}
	if err != nil {
		v.w.deps.Log.Warn("the last checkpoint of visits was not written; the next owner reads more events again",
			"partition", v.partition, "error", err)
	}
	v.w.visitMetrics.forget(v.partition)
}

// send produces every visit that has changed, and what revocations have made of
// others. It returns when all is acknowledged.
func (v *visits) send(ctx context.Context) error {
	// What failed before goes first: the removals of the journals that are dropped now
	// must be sent before their tombstones, or a crash would lose them.
	if err := v.sendVisits(ctx); err != nil {
		return err
	}
	v.mu.Lock()
	v.revoke()
	v.gone = append(v.gone, v.set.TakeGone()...)
	v.exported = v.w.visitMetrics.note(v.partition, v.set, v.exported)
	v.mu.Unlock()
	for more := true; more; {
		v.mu.Lock()
		more = v.set.TakeVisits(journalsMax, v.collect)
		v.mu.Unlock()
		if err := v.sendVisits(ctx); err != nil {
			return err
		}
	}
	var keys [][]byte
	for _, id := range v.gone {
		keys = append(append(keys, visit.JournalKey(id, v.epoch)), v.former.Of(id)...)
	}
	if err := v.sendTombstones(ctx, keys); err != nil {
		return err
	}
	v.gone = nil
	return nil
}

// revoke drops the journals of whoever was erased or has withdrawn since it was last
// asked.
func (v *visits) revoke() {
	changes := v.w.revocations.changes.Load()
	if v.hasLooked && changes == v.looked {
		return
	}
	v.looked, v.hasLooked = changes, true
	v.set.DropIf(v.w.revocations.isRevoked)
}

// collect puts the record of a visit into unsent.
func (v *visits) collect(m *metivav1.Visit) {
	from := len(v.values)
	values, err := eventwire.AppendVisit(v.values, m)
	if err != nil { // a text of a database that is not UTF-8
		v.w.visitMetrics.unreadable.Inc()
		return
	}
	behind := len(values)
	values = append(values, schemas.TenantBucket(m.GetCompanyId()))
	account := ""
	if m.GetResolution().GetVerdict() == metivav1.Verdict_VERDICT_COMPANY {
		account = m.GetResolution().GetAccountId()
	}
	if account != "" {
		values = append(values, account...)
	} else {
		values = append(values, m.GetVisitKey()...)
	}
	v.values = values
	v.unsent = append(v.unsent, visitRecord{
		target: schemas.VisitPartition(m.GetCompanyId(), account, m.GetVisitKey(), v.w.visitPartitions),
		key:    values[behind:len(values):len(values)], value: values[from:behind:behind], removed: m.GetRemoved(),
	})
}

// sendVisits produces what is in unsent; it stays there until all is acknowledged.
func (v *visits) sendVisits(ctx context.Context) error {
	visitCount, removals := 0, 0
	for i := range v.unsent {
		r := &v.unsent[i]
		err := v.produce(ctx, schemas.TopicVisitsEnriched, r.target, r.key, r.value)
		if errors.Is(err, kafka.ErrTooLarge) { // none is, by its limits; it must not hold the others
			v.w.visitMetrics.unreadable.Inc()
			continue
		}
		if err != nil {
			return err
		}
		if r.removed {
			removals++
		} else {
			visitCount++
		}
	}
	if err := v.await(ctx); err != nil {
		return err
	}
	clear(v.unsent)
	v.unsent, v.values = v.unsent[:0], v.values[:0]
	if cap(v.values) > valuesKeptMax {
		v.unsent, v.values = nil, nil
	}
	v.w.visitMetrics.records.WithLabelValues("visit").Add(float64(visitCount))
	v.w.visitMetrics.records.WithLabelValues("removal").Add(float64(removals))
	return nil
}

// sendTombstones removes records of visits.state.
func (v *visits) sendTombstones(ctx context.Context, keys [][]byte) error {
	for _, key := range keys {
		if err := v.produce(ctx, schemas.TopicVisitsState, v.partition, key, nil); err != nil {
			return err
		}
	}
	if err := v.await(ctx); err != nil {
		return err
	}
	v.w.visitMetrics.records.WithLabelValues("tombstone").Add(float64(len(keys)))
	return nil
}

// journalsMax is of how many journals the visits or the states are encoded at a time.
const journalsMax = 1024

// valuesKeptMax is how much memory of encoded visits is kept for the next time.
const valuesKeptMax = 1 << 20

// write makes a checkpoint: the journals that have changed, then the offset up to
// which they hold all there is. Everything sent before must be acknowledged.
func (v *visits) write(ctx context.Context) error {
	now := v.w.deps.Now()
	v.mu.Lock()
	next := v.set.Next()
	c, err := v.set.BeginCheckpoint(v.epoch, now)
	v.mu.Unlock()
	if err != nil {
		return err
	}
	wrote := 0
	for {
		n, err := v.writeStates(ctx, c)
		if err != nil {
			v.mu.Lock()
			v.set.FailCheckpoint(c)
			v.mu.Unlock()
			return err
		}
		wrote += n
		if n == 0 {
			break
		}
	}
	if wrote > 0 || next != v.written {
		if err := v.produceSync(ctx, visit.CheckpointKey(v.epoch), c.Value); err != nil {
			return err // the states stand; the next checkpoint covers them
		}
		v.w.visitMetrics.records.WithLabelValues("checkpoint").Inc()
	}
	v.written, v.checkpoint = next, now
	v.w.visitMetrics.checkpoint.WithLabelValues(strconv.Itoa(v.partition)).Set(float64(now.Unix()))
	v.mu.Lock()
	gone := v.set.EndCheckpoint()
	v.mu.Unlock()
	keys := v.former.Keys() // this owner's state is whole; nobody goes back to another's
	for _, id := range gone {
		keys = append(keys, visit.JournalKey(id, v.epoch))
	}
	if err := v.sendTombstones(ctx, keys); err != nil {
		return err
	}
	v.former = nil
	return nil
}

// writeStates writes some of the journals, after the visits they have not sent.
func (v *visits) writeStates(ctx context.Context, c *visit.Checkpoint) (int, error) {
	v.mu.Lock()
	states := v.set.NextStates(c, journalsMax, v.collect)
	v.mu.Unlock()
	if err := v.sendVisits(ctx); err != nil {
		return 0, err
	}
	for i := range states {
		err := v.produce(ctx, schemas.TopicVisitsState, v.partition, visit.JournalKey(states[i].ID, v.epoch), states[i].Value)
		if errors.Is(err, kafka.ErrTooLarge) {
			v.w.visitMetrics.unreadable.Inc()
			continue
		}
		if err != nil {
			return 0, err
		}
	}
	if err := v.await(ctx); err != nil {
		return 0, err
	}
	v.w.visitMetrics.records.WithLabelValues("state").Add(float64(len(states)))
	return len(states), nil
}

func (v *visits) produceSync(ctx context.Context, key, value []byte) error {
	if err := v.produce(ctx, schemas.TopicVisitsState, v.partition, key, value); err != nil {
		return err
	}
	return v.await(ctx)
}

func (v *visits) produce(ctx context.Context, topic string, target int, key, value []byte) error {
	for {
		ack, err := v.w.producer.Produce(topic, target, key, value)
		if err == nil {
			if n := len(v.acks); n == 0 || v.acks[n-1] != ack {
				v.acks = append(v.acks, ack)
			}
			return nil
		}
		if errors.Is(err, kafka.ErrTooLarge) {
			return fmt.Errorf("producing to %s: %w", topic, err) // it is left out; the others are still waited for
		}
		if !errors.Is(err, kafka.ErrBufferFull) {
			v.acks = v.acks[:0]
			return fmt.Errorf("producing to %s: %w", topic, err)
		}
		select {
		case <-ctx.Done():
			v.acks = v.acks[:0]
			return fmt.Errorf("producing to %s: %w", topic, ctx.Err())
		case <-time.After(bufferFullPause):
		}
	}
}

// await returns once all that was produced is acknowledged, or one is not.
func (v *visits) await(ctx context.Context) error {
	acks := v.acks
	v.acks = v.acks[:0]
	for _, ack := range acks {
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for acknowledgements: %w", ctx.Err())
		case <-ack.Done():
		}
		if err := ack.Err(); err != nil {
			return fmt.Errorf("producing visits: %w", err)
		}
	}
	return nil
}
