package scorer

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/enrich/score"
	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// one takes one version of a visit into its account, and sends the signals that came
// of it.
func (p *partition) one(ctx context.Context, r *kafka.Record) error {
	v := &p.record
	proto.Reset(v)
	if err := proto.Unmarshal(r.Value, v); err != nil || !valid(v) {
		return p.poison(ctx, r, metivav1.Reason_REASON_INVALID_RECORD)
	}
	switch {
	case !score.Shown(v):
		p.w.metrics.visits.WithLabelValues(skippedNotShown).Inc()
		return nil
	case p.w.erasures.has(v.GetCompanyId()):
		p.w.metrics.visits.WithLabelValues(skippedErased).Inc()
		return nil
	case v.GetStartedAtMs() > p.w.deps.Now().Add(aheadMax).UnixMilli():
		p.w.metrics.visits.WithLabelValues(skippedAhead).Inc()
		return nil
	}
	outcome, err := p.guarded(v, r)
	if errors.Is(err, errPanic) {
		return p.poison(ctx, r, metivav1.Reason_REASON_INTERNAL)
	}
	if err != nil {
		return err
	}
	p.w.metrics.outcomes[outcome].Inc()
	if at := v.GetLastReceivedAtMs(); at > 0 {
		p.w.metrics.setLag(p.number, time.Duration(p.w.deps.Now().UnixMilli()-at)*time.Millisecond)
	}
	return p.publishSignals(ctx)
}

// aheadMax is how far a collector's clock may be ahead. A visit of a later day would
// close the account's days up to then, and nothing that really happens would count.
const aheadMax = time.Hour

// valid reports whether the record is a visit that can be counted.
func valid(v *metivav1.Visit) bool {
	return len(v.GetVisitId()) == schemas.IDBytes && v.GetVersion() > 0 && v.GetStartedAtMs() > 0 &&
		plain(v.GetCompanyId()) && plain(v.GetSiteId())
}

func plain(id string) bool { return id != "" && !strings.Contains(id, "/") }

// guarded applies the visit; a panic is the end of that visit alone. The account is then
// made again, from its state and the visits that the batch had brought before.
func (p *partition) guarded(v *metivav1.Visit, r *kafka.Record) (outcome score.Outcome, err error) {
	key := keyOf(v.GetCompanyId(), v.GetSiteId(), v.GetResolution().GetAccountId())
	defer func() {
		value := recover()
		if value == nil {
			return
		}
		// Neither the value nor the stack is logged: both may hold what the visit held.
		p.w.deps.Log.Error("scoring panicked; the visit is a dead letter",
			"partition", r.Partition, "offset", r.Offset, "type", fmt.Sprintf("%T", value), "at", panicSite())
		if o := p.open[key]; o != nil {
			p.remake(o, v)
		}
		err = errPanic
	}()
	o := p.open[key]
	if o == nil {
		o = &opened{key: key, account: p.stored(v, key)}
		p.open[key], p.opened = o, append(p.opened, o)
	}
	p.signals, outcome = p.apply(p.signals[:0], o.account, v, r)
	o.applied = append(o.applied, r)
	return outcome, nil
}

// apply takes a visit into an account.
func (p *partition) apply(dst []*metivav1.Signal, a *score.Account, v *metivav1.Visit, r *kafka.Record) ([]*metivav1.Signal, score.Outcome) {
	s := p.w.sites.of(v.GetCompanyId(), v.GetSiteId())
	score.Read(&p.visit, v, s.rules, s.zone)
	// Offsets only rise, and are the same whenever the partition is read.
	return p.applyTo(a, dst, &p.visit, s.rules, uint64(r.Offset)+1)
}

// remake makes an account again that a panic may have left half changed. The signals of
// its visits are on their way already. A panic here leaves it as it was last written:
// what this batch changed of it comes with the next versions of those visits.
func (p *partition) remake(o *opened, v *metivav1.Visit) {
	o.account = p.stored(v, o.key)
	defer func() {
		if value := recover(); value != nil {
			p.w.deps.Log.Error("an account could not be made again; this batch's visits of it are left out", "partition", p.number, "type", fmt.Sprintf("%T", value))
			o.account, o.applied = p.stored(v, o.key), nil
		}
	}()
	again := new(metivav1.Visit)
	for _, r := range o.applied {
		proto.Reset(again)
		if proto.Unmarshal(r.Value, again) == nil {
			p.apply(nil, o.account, again, r)
		}
	}
}

// stored is the account as it was last written, or a new one.
func (p *partition) stored(v *metivav1.Visit, key string) *score.Account {
	if value := p.store.get(key); value != nil {
		if a, err := score.DecodeAccount(value); err == nil {
			return a
		}
	}
	return score.NewAccount(v.GetCompanyId(), v.GetBrandId(), v.GetSiteId(), v.GetResolution().GetAccountId())
}

func (p *partition) publishSignals(ctx context.Context) error {
	for _, s := range p.signals {
		var err error
		if p.encoded, err = schemas.Encode(p.encoded[:0], s); err != nil {
			return fmt.Errorf("encoding a signal: %w", err)
		}
		key := []byte(keyOf(s.GetCompanyId(), s.GetSiteId(), s.GetAccountId()))
		target, err := p.w.producer.PartitionFor(ctx, schemas.TopicAccountSignals, key)
		if err != nil {
			return fmt.Errorf("placing a signal: %w", err)
		}
		if err := p.sender.send(ctx, schemas.TopicAccountSignals, target, key, p.encoded); err != nil {
			return err
		}
		p.w.metrics.signals[s.GetKind()].Inc()
	}
	return nil
}

// What a record may have at most to be kept on events.dead: it must not block its
// partition there.
const (
	deadValueBytesMax = 64 << 10
	deadKeyBytesMax   = 512
)

// poison sends a record that cannot be scored to events.dead, so that the partition
// goes on.
func (p *partition) poison(ctx context.Context, r *kafka.Record, reason metivav1.Reason) error {
	p.w.metrics.visits.WithLabelValues(skippedInvalid).Inc()
	key, value := r.Key, r.Value
	if len(key) > deadKeyBytesMax {
		key = nil
	}
	if len(value) > deadValueBytesMax {
		value = nil
	}
	target, err := p.w.producer.PartitionFor(ctx, schemas.TopicEventsDead, key)
	if err != nil {
		return fmt.Errorf("placing a dead letter: %w", err)
	}
	return p.sender.send(ctx, schemas.TopicEventsDead, target, key, value,
		kafka.Header{Key: schemas.HeaderDeadReason, Value: []byte(schemas.Label(reason))},
		kafka.Header{Key: schemas.HeaderDeadStage, Value: []byte(schemas.Label(metivav1.Stage_STAGE_ENRICH))},
		kafka.Header{Key: schemas.HeaderDeadTopic, Value: []byte(r.Topic)},
		kafka.Header{Key: schemas.HeaderDeadPartition, Value: strconv.AppendInt(nil, int64(r.Partition), 10)},
		kafka.Header{Key: schemas.HeaderDeadOffset, Value: strconv.AppendInt(nil, r.Offset, 10)},
		kafka.Header{Key: schemas.HeaderDeadTimeMs, Value: strconv.AppendInt(nil, p.w.deps.Now().UnixMilli(), 10)},
	)
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
