package sink

import (
	"context"
	"slices"
	"time"

	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/eventwire"
	"github.com/metiva-io/metiva/schemas/metivav1"
	store "github.com/metiva-io/metiva/sink/clickhouse"
)

// eventWriter writes a batch of events.enriched.
type eventWriter struct {
	batchWriter
	memory *eventMemory
	items  []item // in memory
}

// eventMemory is what a batch of events is read into, used again by the next batch.
type eventMemory struct {
	events eventwire.Enriched
	items  []item
	wanted []store.Wanted
	sorted sortMemory
}

// memoryKept is how many are kept while none is used.
const memoryKept = 4

func (w *Worker) takeMemory() *eventMemory {
	select {
	case m := <-w.memory:
		return m
	default:
		return new(eventMemory)
	}
}

// end gives the memory back: nothing of the batch is used after it.
func (w *eventWriter) end() {
	m := w.memory
	m.events.Reset(w.worker.cfg.BatchRowsMax)
	clear(m.items)
	clear(m.wanted)
	m.items, m.wanted = m.items[:0], m.wanted[:0]
	m.sorted.end()
	w.memory, w.items = nil, nil
	select {
	case w.worker.memory <- m:
	default:
	}
}

// write looks up what is stored and writes the rest: dead letters first, then
// events, then drops. A record's drop row so proves that its dead letter was
// sent.
func (w *eventWriter) write(ctx context.Context) error {
	m := w.memory
	m.items, m.wanted = slices.Grow(m.items, len(w.batch.Records)), slices.Grow(m.wanted, len(w.batch.Records))
	for i := range w.batch.Records {
		m.items = append(m.items, readItem(&w.batch.Records[i], &m.events))
		m.wanted = append(m.wanted, m.items[i].wanted())
	}
	w.items = m.items
	stored, err := w.worker.deps.Store.Find(ctx, m.wanted)
	if err != nil {
		return err
	}
	left := w.worker.sort(w.items, stored, w.marks(len(stored.Written) > 0), w.now, &m.sorted)
	for _, r := range left.dead {
		if err := w.dead(ctx, r, metivav1.Reason_REASON_INVALID_RECORD); err != nil {
			return err
		}
	}
	drops, err := w.writeRounds(ctx, left.events)
	if err != nil {
		return err
	}
	drops = mergeByPosition(left.drops, drops)
	if err := w.writeDrops(ctx, drops); err != nil {
		return err
	}
	if w.isAgain() {
		if err := w.makeSure(ctx, left.events, drops); err != nil {
			return err
		}
	}
	w.worker.metrics.repeated.Add(float64(left.repeated))
	return nil
}

// expiresMaxUnix is 2106-01-01, near the last time a DateTime column holds.
const expiresMaxUnix = 4_291_747_200

const secondsOfDay = 24 * 60 * 60

func (w *Worker) expiry(e *metivav1.EnrichedEvent) time.Time {
	return w.expiryOf(e.GetReceivedAtMs(), e.GetRetentionDays())
}

// expiryOf is when a row of a time is no longer kept.
func (w *Worker) expiryOf(ms int64, retentionDays uint32) time.Time {
	days := int(retentionDays)
	if days == 0 {
		days = w.cfg.RetentionDaysDefault
	}
	return time.Unix(min(ms/1000+int64(days)*secondsOfDay, expiresMaxUnix), 0).UTC()
}

// writeEvents returns the drops of the rows that ClickHouse refuses.
func (w *eventWriter) writeEvents(ctx context.Context, events []store.EventRow) ([]store.DropRow, error) {
	var refused []store.DropRow
	insert := func(first, last int64, rows []store.EventRow) error {
		token := w.token(store.TableEvents, first, last)
		err := w.timed(store.TableEvents, len(rows), func() error {
			return w.worker.deps.Store.InsertEvents(ctx, token, rows)
		})
		if err != nil {
			return err
		}
		mark := store.Mark(token)
		now := w.worker.deps.Now()
		for i := range rows {
			rows[i].Mark = mark
			if rows[i].Replaces {
				continue
			}
			w.worker.metrics.freshness.Observe(now.Sub(time.UnixMilli(rows[i].Event.GetReceivedAtMs())).Seconds())
		}
		return nil
	}
	reject := func(row *store.EventRow) error {
		w.refuse(store.TableEvents, row.Position)
		if row.Replaces {
			return nil // its former row stands
		}
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
		w.refuse(store.TableDrops, row.Position)
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
