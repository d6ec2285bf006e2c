package sink

import (
	"context"
	"slices"
	"time"

	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
	store "github.com/metiva-io/metiva/sink/clickhouse"
)

// eventWriter writes a batch of events.enriched.
type eventWriter struct {
	batchWriter
	items []item // decoded once
}

// rows are what is left to write of a batch.
type rows struct {
	events   []store.EventRow
	drops    []store.DropRow
	dead     []*kafka.Record
	repeated int
}

// write looks up what is stored and writes the rest: dead letters first, then
// events, then drops. A record's drop row so proves that its dead letter was
// sent.
func (w *eventWriter) write(ctx context.Context) error {
	if w.items == nil {
		w.items = make([]item, len(w.batch.Records))
		for i := range w.batch.Records {
			w.items[i] = readItem(&w.batch.Records[i])
		}
	}
	wanted := make([]store.Wanted, len(w.items))
	for i := range w.items {
		wanted[i] = w.items[i].wanted()
	}
	stored, err := w.worker.deps.Store.Find(ctx, wanted)
	if err != nil {
		return err
	}
	left := w.worker.sort(w.items, stored)
	for _, r := range left.dead {
		if err := w.dead(ctx, r, metivav1.Reason_REASON_INVALID_RECORD); err != nil {
			return err
		}
	}
	drops, err := w.writeEvents(ctx, left.events)
	if err != nil {
		return err
	}
	drops = mergeByPosition(left.drops, drops)
	if err := w.writeDrops(ctx, drops); err != nil {
		return err
	}
	w.worker.metrics.repeated.Add(float64(left.repeated))
	return nil
}

// sort decides for each record what becomes of it, in the order of the batch.
// The outcome depends on the records and on what is stored of them, so that
// every attempt, by whichever process, decides the same.
func (w *Worker) sort(items []item, stored store.Stored) rows {
	var left rows
	seen := make(map[store.Identity]bool, len(items))
	inBatch := make(map[store.EventKey]bool, len(items))
	copies := make(map[store.Acceptance]store.Copies, len(items))
	now := w.deps.Now()
	for i := range items {
		it := &items[i]
		before := stored.Copies[it.acceptance].Or(copies[it.acceptance])
		key := it.identity.Key
		isKnown := stored.Events[key] || inBatch[key]
		// Of its acceptance there are dead letters and nothing else: an event that can be
		// written stands before them.
		it.revives = it.event != nil && (before.First || before.Replayed) && !before.Settled && !isKnown && w.expiry(it.event).After(now)
		it.hasRow = stored.Identities[it.identity]
		if seen[it.identity] || it.hasRow && (!it.revives || !isPutBack(it.record)) {
			left.repeated++
			continue
		}
		seen[it.identity] = true
		if it.acceptance.Known() {
			// Of two records that were both sent for the first time, none is a
			// replay, whatever they have in common.
			isReplay := (before.Replayed || it.replayed && before.First) && !it.revives
			settles := !isReplay && (it.event != nil || store.Settles(it.drop.Reason))
			copies[it.acceptance] = copies[it.acceptance].Add(it.replayed, settles)
			if isReplay {
				left.drops = append(left.drops, replayOf(it))
				continue
			}
		}
		if it.dead {
			left.dead = append(left.dead, it.record)
		}
		if it.drop != nil {
			left.drops = append(left.drops, *it.drop)
			continue
		}
		expires := w.expiry(it.event)
		switch {
		case isKnown:
			left.drops = append(left.drops, ownDrop(it, metivav1.Reason_REASON_DUPLICATE))
		case !expires.After(now):
			left.drops = append(left.drops, ownDrop(it, metivav1.Reason_REASON_EXPIRED))
		default:
			inBatch[key] = true
			left.events = append(left.events, store.EventRow{Position: it.record.Offset, Event: it.event, ExpiresAt: expires})
		}
	}
	return left
}

// expiresMaxUnix is 2106-01-01, near the last time a DateTime column holds.
const expiresMaxUnix = 4_291_747_200

func (w *Worker) expiry(e *metivav1.EnrichedEvent) time.Time {
	return w.expiryOf(e.GetReceivedAtMs(), e.GetRetentionDays())
}

// expiryOf is when a row of a time is no longer kept.
func (w *Worker) expiryOf(ms int64, retentionDays uint32) time.Time {
	days := int(retentionDays)
	if days == 0 {
		days = w.cfg.RetentionDaysDefault
	}
	expires := time.UnixMilli(ms).UTC().Truncate(time.Second).AddDate(0, 0, days)
	if expires.Unix() > expiresMaxUnix {
		return time.Unix(expiresMaxUnix, 0).UTC()
	}
	return expires
}

// isPutBack reports whether an operator has put the record back from its dead letter.
// Any other record that has a row is the same batch again.
func isPutBack(r *kafka.Record) bool {
	return slices.ContainsFunc(r.Headers, func(h kafka.Header) bool { return h.Key == schemas.HeaderDeadLetter })
}

// replayOf is a further copy of an acceptance that has its row. What became of
// the first says what became of the event; this one's own fate does not count.
func replayOf(it *item) store.DropRow {
	if it.drop == nil {
		return ownDrop(it, metivav1.Reason_REASON_REPLAYED)
	}
	row := *it.drop
	row.Stage, row.Reason = metivav1.Stage_STAGE_SINK, metivav1.Reason_REASON_REPLAYED
	return row
}

// ownDrop is an event that the sink itself drops.
func ownDrop(it *item, reason metivav1.Reason) store.DropRow {
	return store.DropRow{
		Position:   it.record.Offset,
		Key:        it.identity.Key,
		SiteID:     it.event.GetSiteId(),
		ReceivedAt: time.UnixMilli(it.event.GetReceivedAtMs()).UTC(),
		Stage:      metivav1.Stage_STAGE_SINK,
		Reason:     reason,
		Source:     it.identity.Source,
		WriterID:   it.event.GetWriterId(),
		Acceptance: it.acceptance.ID,
		Replayed:   it.replayed,
	}
}

// writeEvents returns the drops of the rows that ClickHouse refuses.
func (w *eventWriter) writeEvents(ctx context.Context, events []store.EventRow) ([]store.DropRow, error) {
	var refused []store.DropRow
	insert := func(first, last int64, rows []store.EventRow) error {
		err := w.timed(store.TableEvents, len(rows), func() error {
			return w.worker.deps.Store.InsertEvents(ctx, w.token(store.TableEvents, first, last), rows)
		})
		if err != nil {
			return err
		}
		now := w.worker.deps.Now()
		for i := range rows {
			w.worker.metrics.freshness.Observe(now.Sub(time.UnixMilli(rows[i].Event.GetReceivedAtMs())).Seconds())
		}
		return nil
	}
	reject := func(row *store.EventRow) error {
		it := w.itemAt(row.Position)
		if err := w.dead(ctx, it.record, metivav1.Reason_REASON_REJECTED_ROW); err != nil {
			return err
		}
		switch {
		case it.hasRow:
		case it.revives: // the dead letters before it have the row that counts
			refused = append(refused, ownDrop(it, metivav1.Reason_REASON_REPLAYED))
		default:
			refused = append(refused, ownDrop(it, metivav1.Reason_REASON_REJECTED_ROW))
		}
		return nil
	}
	err := bisect(events, func(r *store.EventRow) int64 { return r.Position }, w.batch.First, w.batch.Last, insert, reject)
	return refused, err
}

func (w *eventWriter) writeDrops(ctx context.Context, drops []store.DropRow) error {
	insert := func(first, last int64, rows []store.DropRow) error {
		err := w.timed(store.TableDrops, len(rows), func() error {
			return w.worker.deps.Store.InsertDrops(ctx, w.token(store.TableDrops, first, last), rows)
		})
		if err != nil {
			return err
		}
		for i := range rows {
			w.worker.metrics.drops.WithLabelValues(schemas.Label(rows[i].Stage), schemas.Label(rows[i].Reason)).Inc()
		}
		return nil
	}
	// A drop that is refused has nowhere else to go but events.dead.
	reject := func(row *store.DropRow) error {
		return w.dead(ctx, w.itemAt(row.Position).record, metivav1.Reason_REASON_REJECTED_ROW)
	}
	return bisect(drops, func(r *store.DropRow) int64 { return r.Position }, w.batch.First, w.batch.Last, insert, reject)
}

// itemAt is the item of an offset of the batch.
func (w *eventWriter) itemAt(offset int64) *item {
	for i := range w.items {
		if w.items[i].record.Offset == offset {
			return &w.items[i]
		}
	}
	return nil
}

// mergeByPosition merges two lists that are in the order of their positions.
func mergeByPosition(a, b []store.DropRow) []store.DropRow {
	if len(b) == 0 {
		return a
	}
	out := make([]store.DropRow, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		if a[0].Position < b[0].Position {
			out, a = append(out, a[0]), a[1:]
		} else {
			out, b = append(out, b[0]), b[1:]
		}
	}
	return append(append(out, a...), b...)
}
