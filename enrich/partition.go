package enrich

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/metiva-io/metiva/enrich/geo"
	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/eventwire"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// claim is the ownership of one partition (kafka.Claim).
type claim interface {
	Partition() int
	Position() int64
	Epoch(ctx context.Context, seen uint64) (uint64, error)
	NextBatch(ctx context.Context, lim kafka.BatchLimit) (kafka.Batch, error)
	Plan(ctx context.Context, b kafka.Batch) error
	Commit(ctx context.Context, b kafka.Batch) error
}

// producer sends records (kafka.Producer).
type producer interface {
	Produce(topic string, partition int, key, value []byte, headers ...kafka.Header) (*kafka.Ack, error)
	PartitionFor(ctx context.Context, topic string, key []byte) (int, error)
}

// partition works on one owned partition, in the goroutine of its handler.
type partition struct {
	w       *Worker
	number  int
	scratch *scratch
	encoded []byte
	acks    []*kafka.Ack
	// caughtUp: control.keys has been read to its end since the batch came.
	caughtUp bool
	counts   counts
	counted  counted
	visits   *visits
	// asking is nil until names are asked for.
	asking *asking
}

// counts is what a batch adds to the metrics once it is acknowledged.
type counts struct {
	events, drops, dead, captures int
	// age is that of the last event.
	age time.Duration
	// By the number of the value, as in metrics.
	reasons, verdicts, bots, channels [valuesMax]int
}

// valuesMax is above every number of a reason, a verdict, a bot class and a channel.
const valuesMax = 64

// serve works on a partition until ctx ends or something fails; the batch at
// work is finished first, within the drain timeout. An error starts the
// partition again from its last commit, with the same planned batch.
func (w *Worker) serve(ctx context.Context, c claim) (err error) {
	p := &partition{w: w, number: c.Partition(), scratch: newScratch()}
	defer w.metrics.forgetLag(p.number)
	endVisits, err := p.beginVisits(ctx, c)
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { endVisits(errors.Is(err, kafka.ErrFenced)) }()
	limit := kafka.BatchLimit{RecordsMax: w.cfg.BatchRecordsMax, BytesMax: w.cfg.BatchBytesMax, WaitMax: w.cfg.BatchWaitMax}
	for {
		if p.visits.waitForRoom(ctx) != nil {
			return nil
		}
		batch, err := c.NextBatch(ctx, limit)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading collected events: %w", err)
		}
		if err := p.finish(ctx, c, batch); err != nil {
			return err
		}
	}
}

// finish takes one batch from plan to commit. It outlives ctx by the drain
// timeout, so that a stop does not leave a batch to be repeated.
func (p *partition) finish(ctx context.Context, c claim, batch kafka.Batch) error {
	started := p.w.deps.Now()
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(p.w.cfg.DrainTimeout, cancel) })
	defer stop()
	if err := c.Plan(work, batch); err != nil {
		return fmt.Errorf("planning a batch: %w", err)
	}
	if err := p.process(work, batch); err != nil {
		return err
	}
	if err := c.Commit(work, batch); err != nil {
		return fmt.Errorf("committing a batch: %w", err)
	}
	p.w.ledger.add(&p.counted, p.w.deps.Now())
	p.w.metrics.batch.Observe(p.w.deps.Now().Sub(started).Seconds())
	return nil
}

// process enriches and produces every record of the batch, in order, and
// returns once all is acknowledged.
func (p *partition) process(ctx context.Context, batch kafka.Batch) error {
	view, err := p.w.deps.Databases.View()
	if err != nil {
		return fmt.Errorf("taking the address databases: %w", err)
	}
	defer view.Release()
	p.w.metrics.database.Set(float64(view.BuildTime().Unix()))
	p.acks, p.caughtUp, p.counts = p.acks[:0], false, counts{}
	p.counted.reset()
	p.scratch.waited()
	if err := p.askNames(ctx, view, batch.Records, p.w.deps.Reverse.Budget()); err != nil {
		return err
	}
	for i := range batch.Records {
		if err := p.record(ctx, view, &batch.Records[i]); err != nil {
			return err
		}
	}
	if err := p.await(ctx); err != nil {
		return err
	}
	m := p.w.metrics
	if p.counts.events > 0 {
		m.setLag(p.number, p.counts.age)
	}
	m.in.Add(float64(len(batch.Records)))
	addAll(m.drops, &p.counts.reasons)
	addAll(m.verdicts, &p.counts.verdicts)
	addAll(m.bots, &p.counts.bots)
	addAll(m.channels, &p.counts.channels)
	m.out.WithLabelValues("event").Add(float64(p.counts.events))
	m.out.WithLabelValues("drop").Add(float64(p.counts.drops))
	m.out.WithLabelValues("dead").Add(float64(p.counts.dead))
	m.out.WithLabelValues("capture").Add(float64(p.counts.captures))
	return nil
}

// record takes one collected record to its one enriched record.
func (p *partition) record(ctx context.Context, view geo.View, r *kafka.Record) error {
	out, err := p.outcomeOf(ctx, view, r)
	if err != nil {
		return err
	}
	if out, err = p.encode(out, &p.scratch.source); err != nil {
		return err
	}
	if err := p.produce(ctx, r, out); err != nil {
		return err
	}
	p.count(&out)
	p.visits.apply(&out, r.Offset)
	return nil
}

// outcomeOf runs the steps on a record, again when a key it needs may be on its way.
func (p *partition) outcomeOf(ctx context.Context, view geo.View, r *kafka.Record) (outcome, error) {
	source := p.scratch.sourceOf(r.Partition, r.Offset)
	out, err := p.guarded(view, r, source)
	if errors.Is(err, errKeyMissing) && !p.caughtUp {
		// The collector publishes a key before its first use, so a table read
		// to its end knows the keys of all records read before.
		if err := p.catchUp(ctx); err != nil {
			return outcome{}, err
		}
		out, err = p.guarded(view, r, source)
	}
	if err != nil && !errors.Is(err, errKeyMissing) {
		return outcome{}, err
	}
	return out, nil
}

func (p *partition) catchUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, p.w.cfg.KeyWaitMax)
	defer cancel()
	if err := p.w.keys.CatchUp(ctx); err != nil {
		return fmt.Errorf("waiting for %s: %w", schemas.TopicControlKeys, err)
	}
	p.caughtUp = true
	p.scratch.waited()
	return nil
}

// guarded runs the steps; a panic in one is the end of that event alone.
func (p *partition) guarded(view geo.View, r *kafka.Record, source *metivav1.SourceRef) (out outcome, err error) {
	defer func() {
		value := recover()
		if value == nil {
			return
		}
		// Neither the value nor the stack is logged: both may hold what the
		// event held.
		p.w.deps.Log.Error("a step panicked; the event is a dead letter",
			"partition", r.Partition, "offset", r.Offset, "type", fmt.Sprintf("%T", value), "at", panicSite())
		out, err = drop(&p.scratch.collected.Event, source, metivav1.Reason_REASON_INTERNAL), nil
	}()
	return p.w.steps.enrich(p.scratch, view, r.Value, source)
}

// encode writes the record into p.encoded. An event that cannot be written, since a
// text of a database is not UTF-8, could not be the next time either: it is a dead
// letter.
func (p *partition) encode(out outcome, source *metivav1.SourceRef) (outcome, error) {
	watch := p.w.metrics.watch(p.scratch.isTimed())
	value, err := encodeRecord(p.encoded[:0], out.record, &p.scratch.collected)
	if err != nil {
		p.w.deps.Log.Error("an event cannot be encoded; it is a dead letter", "partition", source.GetPartition(), "offset", source.GetOffset())
		out = drop(&p.scratch.collected.Event, source, metivav1.Reason_REASON_INTERNAL)
		if value, err = encodeRecord(p.encoded[:0], out.record, &p.scratch.collected); err != nil {
			return out, fmt.Errorf("encoding a drop: %w", errUndecodable)
		}
	}
	p.encoded = value
	watch.lap(stepBuild)
	return out, nil
}

func encodeRecord(dst []byte, r *metivav1.EnrichedRecord, of *eventwire.Collected) ([]byte, error) {
	if e := r.GetEvent(); e != nil {
		return eventwire.AppendEnrichedFrom(dst, e, of)
	}
	return schemas.Encode(dst, r)
}

// panicSite is the file and line of this module nearest to the panic.
func panicSite() string {
	var pcs [32]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs[:])])
	for {
		frame, more := frames.Next()
		if strings.Contains(frame.Function, "metiva") {
			return fmt.Sprintf("%s:%d", frame.Function, frame.Line)
		}
		if !more {
			return "unknown"
		}
	}
}

// produce hands the enriched record, and the dead letter if there is one, to
// the producer.
func (p *partition) produce(ctx context.Context, r *kafka.Record, out outcome) error {
	target := 0 // a record whose tenant is not known
	if out.companyID != "" {
		target = schemas.EventPartition(out.companyID, out.visitKey, p.w.enrichedPartitions)
	}
	key := boundedKey(r.Key)
	if out.unlinked {
		key = append([]byte{schemas.TenantBucket(out.companyID)}, out.record.GetEvent().GetVisitKey()...)
	}
	if err := p.send(ctx, schemas.TopicEventsEnriched, target, key, p.encoded); err != nil {
		return err
	}
	if out.capture != nil {
		return p.sendCapture(ctx, out.capture)
	}
	if !out.dead {
		return nil
	}
	target, err := p.place(ctx, schemas.TopicEventsDead, key)
	if err != nil {
		return fmt.Errorf("placing a dead letter: %w", err)
	}
	return p.send(ctx, schemas.TopicEventsDead, target, key, deadValue(r), deadHeaders(r, out.reason, p.w.deps.Now())...)
}

// bufferFullPause is how long to leave the producer alone when its buffer is
// full and none of this batch's records is under way.
const bufferFullPause = 5 * time.Millisecond

func (p *partition) send(ctx context.Context, topic string, target int, key, value []byte, headers ...kafka.Header) error {
	for {
		ack, err := p.w.producer.Produce(topic, target, key, value, headers...)
		if err == nil {
			// A batch of the producer shares its Ack; one mention is enough.
			if n := len(p.acks); n == 0 || p.acks[n-1] != ack {
				p.acks = append(p.acks, ack)
			}
			return nil
		}
		if !errors.Is(err, kafka.ErrBufferFull) {
			return fmt.Errorf("producing to %s: %w", topic, err)
		}
		if len(p.acks) > 0 {
			if err := p.await(ctx); err != nil {
				return err
			}
			continue
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("producing to %s: %w", topic, ctx.Err())
		case <-time.After(bufferFullPause):
		}
		p.scratch.waited()
	}
}

// place is the partition of a topic for a key. To know how many there are may take a while.
func (p *partition) place(ctx context.Context, topic string, key []byte) (int, error) {
	p.scratch.waited()
	return p.w.producer.PartitionFor(ctx, topic, key) //nolint:wrapcheck // by the callers, who say what for
}

// await returns once all that was sent is acknowledged.
func (p *partition) await(ctx context.Context) error {
	for _, ack := range p.acks {
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for acknowledgements: %w", ctx.Err())
		case <-ack.Done():
		}
		if err := ack.Err(); err != nil {
			return fmt.Errorf("producing enriched events: %w", err)
		}
	}
	p.acks = p.acks[:0]
	p.scratch.waited()
	return nil
}

func (p *partition) count(out *outcome) {
	p.counted.add(out)
	if out.dead {
		p.counts.dead++
	}
	e := out.record.GetEvent()
	if e == nil {
		p.counts.drops++
		p.counts.reasons[out.reason]++
		return
	}
	if out.capture != nil {
		p.counts.captures++
		p.w.metrics.captures[out.capture.GetMailDomain()].Inc()
	}
	p.counts.events++
	p.counts.bots[e.GetBot()]++
	if e.GetBot() == metivav1.BotClass_BOT_CLASS_NONE && e.GetChannel() != metivav1.Channel_CHANNEL_UNSPECIFIED {
		p.counts.channels[e.GetChannel()]++
	}
	p.counts.verdicts[e.GetResolution().GetVerdict()]++
	p.counts.age = time.Duration(e.GetEnrichedAtMs()-e.GetReceivedAtMs()) * time.Millisecond
}
