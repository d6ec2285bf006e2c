package enrich

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/enrich/geo"
	"github.com/metiva-io/metiva/enrich/visit"
	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/eventwire"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// Replay enriches a range of events.collected again, beside the workers of the group
// and apart from them, and returns when it is done. The events go to events.enriched
// under their former sources with the mark of a replay, the visits they belong to, as
// far as they stand, to visits.enriched under a version above their former one.
// Nothing goes to captures.enriched, events.dead, ledger.edge or visits.state.
//
// A worker does either Run or Replay. ctx ends it; the next run of the same replay
// goes on where the events were.
func (w *Worker) Replay(ctx context.Context, r Replay) (ReplayReport, error) {
	run, err := newReplayRun(ctx, w.deps.Kafka, r, w.deps.Now(), w.cfg.Visits.Limits.SilentMax())
	if err != nil {
		return ReplayReport{}, err
	}
	if err := w.isThrough(ctx, run); err != nil {
		return ReplayReport{}, err
	}
	group, groupCtx := errgroup.WithContext(ctx)
	rest, stopRest := context.WithCancel(context.WithoutCancel(ctx))
	defer stopRest()
	for _, t := range w.tables() {
		group.Go(func() error { return t.Run(rest) })
	}
	group.Go(func() error { return w.sender.Run(rest) })
	group.Go(func() error {
		defer stopRest()
		return w.replayAll(groupCtx, run)
	})
	if err := group.Wait(); err != nil {
		return run.finish(), fmt.Errorf("replaying events: %w", err)
	}
	return run.finish(), nil
}

// isThrough refuses a range that the workers have not come through themselves.
func (w *Worker) isThrough(ctx context.Context, run *replayRun) error {
	committed, err := w.deps.Kafka.CommittedOffsets(ctx, w.cfg.Group, schemas.TopicEventsCollected)
	if err != nil {
		return fmt.Errorf("asking how far enrich is: %w", err)
	}
	for _, s := range run.spans {
		if s.to > max(0, s.from) && committed[s.partition] < s.to {
			return fmt.Errorf("%w: enrich has not come to it on partition %d yet", ErrUnsettled, s.partition)
		}
	}
	return nil
}

func (w *Worker) replayAll(ctx context.Context, run *replayRun) error {
	for _, t := range w.tables() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.Ready():
		}
	}
	if err := w.readPartitions(ctx); err != nil {
		return err
	}
	for _, s := range run.spans {
		p := &replayer{run: run, span: s, partition: partition{w: w, number: s.partition, scratch: newScratch()}}
		if err := p.work(ctx); err != nil {
			return err
		}
	}
	// The range is done: the same replay begins anew the next time.
	for _, s := range run.spans {
		if s.from < s.to {
			if err := w.deps.Kafka.CommitOffset(ctx, run.Name(), schemas.TopicEventsCollected, s.partition, s.from, ""); err != nil {
				return err
			}
		}
	}
	return nil
}

// replayer works on one partition.
type replayer struct {
	partition
	run  *replayRun
	span span
	set  *visit.Set // nil where visits are left as they are
	// peeked tells a record's tenant before anything is opened.
	peeked  eventwire.Collected
	pending int   // events since progress was noted
	done    int64 // behind the last event produced
	evicted uint64
	looked  uint64 // revocations.changes when journals were last looked through
	// sinceMs and untilMs bound the times of receipt of the range's events. They are
	// not those of the range: a collector may have held an event for hours.
	sinceMs, untilMs int64
}

func (p *replayer) work(ctx context.Context) error {
	s := &p.span
	if s.from >= s.to {
		return nil
	}
	from, to := s.next, s.to
	p.done = s.next
	if p.run.Standing != nil {
		limits := p.w.cfg.Visits.Limits
		limits.BytesMax = cmp.Or(p.run.VisitBytesMax, replayVisitsDefault)
		p.set = visit.NewSet(limits, p.w.visitRules.of)
		from, to = s.warm, s.cool
	}
	view, err := p.w.deps.Databases.View()
	if err != nil {
		return fmt.Errorf("taking the address databases: %w", err)
	}
	defer view.Release()
	_, err = p.w.deps.Kafka.ReadRange(ctx, kafka.Range{Topic: schemas.TopicEventsCollected, Partition: s.partition, From: from, To: to}, func(r *kafka.Record) error {
		if err := p.one(ctx, view, r); err != nil {
			return err
		}
		if p.pending++; p.pending < replayFlushRecords {
			return nil
		}
		return p.flush(ctx, r.Offset+1)
	})
	if err != nil {
		return fmt.Errorf("replaying %s/%d: %w", schemas.TopicEventsCollected, s.partition, err)
	}
	if err := p.flush(ctx, s.to); err != nil {
		return err
	}
	if p.set == nil {
		return nil
	}
	p.revoke()
	var visits []*metivav1.Visit
	for more := true; more; visits = visits[:0] {
		more = p.set.TakeVisits(replayStandingChunk, func(v *metivav1.Visit) { visits = append(visits, proto.CloneOf(v)) })
		if err := p.sendVisits(ctx, visits); err != nil {
			return err
		}
	}
	return nil
}

// one takes one record: an event of the range is produced again, one beside it is
// only part of its visit.
func (p *replayer) one(ctx context.Context, view geo.View, r *kafka.Record) error {
	within := r.Offset >= p.span.next && r.Offset < p.span.to
	if !decode(&p.peeked, r.Value) {
		if within {
			p.run.report.Unreadable++
		}
		return nil
	}
	company := p.peeked.Event.GetCompanyId()
	if p.run.Company != "" && company != p.run.Company {
		return nil
	}
	if r.Offset >= p.span.from && r.Offset < p.span.to {
		received := p.peeked.Event.GetReceivedAtMs()
		if p.untilMs == 0 {
			p.sinceMs = received
		}
		p.sinceMs, p.untilMs = min(p.sinceMs, received), max(p.untilMs, received)
	}
	if err := p.askName(ctx, view, r, replayNamesMax); err != nil {
		return err
	}
	if within && p.asking != nil && p.asking.unanswered > 0 {
		p.run.report.Unanswered++
	}
	p.scratch.waited() // for the record, or its names
	out, err := p.outcomeOf(ctx, view, r)
	if err != nil {
		return err
	}
	if out, err = p.encode(out, &p.scratch.source); err != nil {
		return err
	}
	if within {
		if err := p.again(ctx, r, &out); err != nil {
			return err
		}
	}
	p.toVisit(&out, r.Offset)
	return nil
}

// again produces the outcome of a record of the range.
func (p *replayer) again(ctx context.Context, r *kafka.Record, out *outcome) error {
	report := &p.run.report
	switch {
	case out.unlinked:
		// Its rows are those of a visitor who has withdrawn: erasing them is not a
		// replay's, nor is writing them again.
		report.Withdrawn++
		return nil
	case out.record.GetEvent() != nil:
		report.Events++
		p.run.note(&p.peeked.Event)
	case out.reason == metivav1.Reason_REASON_ERASED, out.reason == metivav1.Reason_REASON_SHREDDED, out.reason == metivav1.Reason_REASON_WITHDRAWN:
		report.Dropped++ // an event that has no row gets its drop; one that has keeps it
	default:
		report.Unreadable++
		return nil
	}
	target := schemas.EventPartition(out.companyID, out.visitKey, p.w.enrichedPartitions)
	return p.send(ctx, schemas.TopicEventsEnriched, target, boundedKey(r.Key), p.encoded, kafka.Header{Key: schemas.HeaderReplay, Value: []byte(p.run.report.Name)})
}

// toVisit gives an event to its visit.
func (p *replayer) toVisit(out *outcome, offset int64) {
	if p.set == nil {
		return
	}
	e := out.record.GetEvent()
	if e == nil || out.unlinked {
		p.set.Advance(offset, 0)
		return
	}
	p.set.Advance(offset, min(e.GetReceivedAtMs(), e.GetEnrichedAtMs()))
	p.set.Renew(e, p.w.revocations.isRevoked)
	p.set.Apply(e, offset)
	if n := p.set.Counts().EvictedBySize; n != p.evicted {
		// Visits that had to leave before their time may lack what comes later.
		p.evicted = n
		p.run.report.Beyond += uint64(len(p.set.TakeFinished()))
	}
}

// revoke drops the journals of whoever was erased or has withdrawn while the replay
// ran: their visits are not sent again.
func (p *replayer) revoke() {
	if changes := p.w.revocations.changes.Load(); changes != p.looked {
		p.looked = changes
		p.set.DropIf(p.w.revocations.isRevoked)
		p.set.TakeGone() // no journal of a replay is on visits.state
	}
}

// flush waits for what was produced, sends the visits that are complete, and notes how
// far the events are. Visits are sent again by a run that goes on: they are made from
// the beginning each time.
func (p *replayer) flush(ctx context.Context, next int64) error {
	p.pending = 0
	if err := p.await(ctx); err != nil {
		return err
	}
	if p.set != nil {
		p.revoke()
		if err := p.sendVisits(ctx, p.set.TakeFinished()); err != nil {
			return err
		}
	}
	next = min(next, p.span.to)
	if next > p.done {
		if err := p.w.deps.Kafka.CommitOffset(ctx, p.run.Name(), schemas.TopicEventsCollected, p.span.partition, next, ""); err != nil {
			return err
		}
		p.done = next
		if p.run.Note != nil {
			p.run.Note(p.span.partition, next-p.span.from, p.span.to-p.span.from)
		}
	}
	return nil
}

// sendVisits sends those visits that have a part in the range and stand.
func (p *replayer) sendVisits(ctx context.Context, visits []*metivav1.Visit) error {
	chunk := make([]*metivav1.Visit, 0, replayStandingChunk)
	for _, v := range visits {
		if v.GetRemoved() || v.GetLastReceivedAtMs() < p.sinceMs || v.GetStartedAtMs() > p.untilMs {
			continue
		}
		if chunk = append(chunk, v); len(chunk) == replayStandingChunk {
			if err := p.replaceVisits(ctx, chunk); err != nil {
				return err
			}
			chunk = chunk[:0]
		}
	}
	if len(chunk) > 0 {
		if err := p.replaceVisits(ctx, chunk); err != nil {
			return err
		}
	}
	return p.await(ctx)
}

func (p *replayer) replaceVisits(ctx context.Context, visits []*metivav1.Visit) error {
	standing, err := p.run.Standing(ctx, visits)
	if err != nil {
		return fmt.Errorf("asking which visits stand: %w", err)
	}
	for _, v := range visits {
		former, stands := standing[visit.ID(v.GetVisitId())]
		if !stands {
			p.run.report.Unknown++
			continue
		}
		if err := p.replaceVisit(ctx, v, former); err != nil {
			return err
		}
	}
	return nil
}

// replaceVisit sends a visit under a version above its former one and below that of
// any record to come. Readers of another company's visits are told that it is theirs
// no more: under a version between the two, which ClickHouse passes over.
func (p *replayer) replaceVisit(ctx context.Context, v *metivav1.Visit, former StandingVisit) error {
	v.Version = max(visit.VersionAt(p.span.end), former.Version+2)
	now := ""
	if v.GetResolution().GetVerdict() == metivav1.Verdict_VERDICT_COMPANY {
		now = v.GetResolution().GetAccountId()
	}
	if former.AccountID != "" && former.AccountID != now {
		p.run.report.Moved++
		gone := &metivav1.Visit{
			VisitId: v.GetVisitId(), CompanyId: v.GetCompanyId(), BrandId: v.GetBrandId(), SiteId: v.GetSiteId(), VisitKey: v.GetVisitKey(),
			StartedAtMs: v.GetStartedAtMs(), RetentionDays: v.GetRetentionDays(), Removed: true, Version: former.Version + 1,
			Resolution: &metivav1.Resolution{Verdict: metivav1.Verdict_VERDICT_COMPANY, AccountId: former.AccountID, Confidence: former.Confidence},
		}
		if err := p.sendVisit(ctx, gone, former.AccountID); err != nil {
			return err
		}
	} else if former.AccountID != now {
		p.run.report.Moved++
	}
	p.run.report.Visits++
	return p.sendVisit(ctx, v, now)
}

func (p *replayer) sendVisit(ctx context.Context, v *metivav1.Visit, account string) error {
	value, err := schemas.Encode(nil, v)
	if err != nil {
		return errors.New("encoding a visit: a text of a database is not UTF-8")
	}
	key := []byte{schemas.TenantBucket(v.GetCompanyId())}
	if account != "" {
		key = append(key, account...)
	} else {
		key = append(key, v.GetVisitKey()...)
	}
	return p.send(ctx, schemas.TopicVisitsEnriched, schemas.VisitPartition(v.GetCompanyId(), account, v.GetVisitKey(), p.w.visitPartitions), key, value)
}
