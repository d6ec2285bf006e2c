package enrich

import (
	"context"
	"fmt"
	"time"

	"github.com/metiva-io/metiva/enrich/geo"
	"github.com/metiva-io/metiva/enrich/visit"
	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/schemas"
)

// restoreVisits brings the visits of a partition to where the group stands on it:
// the journals from visits.state, and the events since the checkpoint, which are
// worked on again and produce nothing but visits.
func (p *partition) restoreVisits(ctx context.Context, c claim) (*visits, error) {
	started := time.Now()
	w := p.w
	restored, err := p.readState(ctx)
	if err != nil {
		return nil, err
	}
	ends, err := w.deps.Kafka.EndOffsets(ctx, schemas.TopicEventsCollected)
	if err != nil {
		return nil, fmt.Errorf("reading the end of %s: %w", schemas.TopicEventsCollected, err)
	}
	epoch, err := c.Epoch(ctx, restored.Highest)
	if err != nil {
		return nil, fmt.Errorf("taking the visits of a partition: %w", err)
	}
	v := &visits{
		w: w, partition: p.number, epoch: epoch, set: visit.NewSet(w.cfg.Visits.Limits, newSiteCache(&w.visitRules.changes, w.visitRules.of).of), checkpoint: w.deps.Now(),
		former: restored.Former(epoch), written: -1,
	}
	at := c.Position()
	unreadable := restored.Unreadable
	if next, _ := restored.Next(); next > ends[p.number] {
		// The log begins anew: offsets of the former one say nothing.
		w.deps.Log.Error("visits.state is of another log; its journals are left out", "partition", p.number, "checkpoint", next, "end", ends[p.number])
		restored = visit.NewRestored()
	}
	from, streamMs := restored.Next()
	if from < 0 {
		from = at
	}
	v.set.Restore(restored)
	w.visitMetrics.unreadable.Add(float64(unreadable))
	if restored.Len() == 0 {
		// Nothing is what this owner's records hold up to here. With journals to write
		// first, the former owner's state counts until they are.
		if err := v.begin(ctx, from, streamMs); err != nil {
			return nil, err
		}
	}
	again, err := p.replay(ctx, v, from, at)
	if err != nil {
		return nil, err
	}
	took := time.Since(started)
	w.visitMetrics.restore.Observe(took.Seconds())
	journals, bytes := v.set.Size()
	w.deps.Log.Info("visits are restored", "partition", p.number, "journals", journals, "bytes", bytes,
		"replayed", again, "unreadable", unreadable, "took_ms", took.Milliseconds())
	return v, nil
}

// readState reads the partition of visits.state to its end.
func (p *partition) readState(ctx context.Context) (*visit.Restored, error) {
	ends, err := p.w.deps.Kafka.EndOffsets(ctx, schemas.TopicVisitsState)
	if err != nil {
		return nil, fmt.Errorf("reading the end of %s: %w", schemas.TopicVisitsState, err)
	}
	restored := visit.NewRestored()
	whole := kafka.Range{Topic: schemas.TopicVisitsState, Partition: p.number, From: -1, To: ends[p.number], Compacted: true}
	_, err = p.w.deps.Kafka.ReadRange(ctx, whole, func(r *kafka.Record) error {
		restored.Read(r.Key, r.Value)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the state of visits: %w", err)
	}
	return restored, nil
}

// begin writes the checkpoint of an owner that has no journals.
func (v *visits) begin(ctx context.Context, from, streamMs int64) error {
	value, err := visit.CheckpointValue(v.epoch, from, streamMs, v.w.deps.Now())
	if err != nil {
		return err //nolint:wrapcheck // says what it was
	}
	if err := v.produceSync(ctx, visit.CheckpointKey(v.epoch), value); err != nil {
		return err
	}
	v.written = from
	return nil
}

// replay works on records again that were committed since the checkpoint.
func (p *partition) replay(ctx context.Context, v *visits, from, to int64) (again int, err error) {
	if from >= to {
		return 0, nil
	}
	view, err := p.w.deps.Databases.View()
	if err != nil {
		return 0, fmt.Errorf("taking the address databases: %w", err)
	}
	defer view.Release()
	p.caughtUp = false
	names := restoreNamesMax
	missed, err := p.w.deps.Kafka.ReadRange(ctx, kafka.Range{Topic: schemas.TopicEventsCollected, Partition: p.number, From: from, To: to},
		func(r *kafka.Record) error {
			again++
			started := time.Now()
			if err := p.askName(ctx, view, r, names); err != nil {
				return err
			}
			names = max(0, names-time.Since(started))
			return p.replayRecord(ctx, v, view, r)
		})
	if err != nil {
		return again, fmt.Errorf("restoring visits: %w", err)
	}
	if missed > 0 {
		p.w.deps.Log.Error("retention removed events before visits were restored from them", "partition", p.number, "records", missed)
	}
	p.w.visitMetrics.again.Add(float64(again))
	p.w.visitMetrics.missed.Add(float64(missed))
	return again, nil
}

func (p *partition) replayRecord(ctx context.Context, v *visits, view geo.View, r *kafka.Record) error {
	p.scratch.waited() // for the record, or its names
	out, err := p.outcomeOf(ctx, view, r)
	if err != nil {
		return err
	}
	if out, err = p.encode(out, &p.scratch.source); err != nil { // a dead letter then is none of a visit now
		return err
	}
	v.apply(&out, r.Offset)
	return nil
}
