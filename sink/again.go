package sink

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/metiva-io/metiva/schemas"
	store "github.com/metiva-io/metiva/sink/clickhouse"
)

// roundsMax bounds the tokens of one batch. Each further round needs another insert that
// ClickHouse noted and did not keep, which is a kill within a moment (ADR 0046).
const roundsMax = 8

// Rows that expire are gone within milliseconds of their insert: the next merge leaves
// them out. One that is about to is not looked for, or it would be written again and
// again. keptSoon is the time an attempt takes and clocks differ by. Drops and entries of
// the ledger, whose table knows their end, are kept 13 months, which are 393 days at least.
const (
	keptSoon     = time.Hour
	keptOfLedger = 392 * 24 * time.Hour
)

var (
	errUnderWay = errors.New("an earlier insert of the batch is under way still")
	errNotThere = errors.New("rows that were inserted are not there")
	errErased   = errors.New("whose row is missing was erased meanwhile")
)

// isAgain reports whether an earlier attempt at the batch, by whichever process, may
// have inserted something.
func (w *batchWriter) isAgain() bool { return w.again != nil && *w.again }

// refuse notes that ClickHouse does not take a row: it will not be there.
func (w *batchWriter) refuse(table string, position int64) {
	if w.refused == nil {
		w.refused = make(map[place]bool)
	}
	w.refused[place{table, position}] = true
}

// isKept reports whether a row with this end is still to be there.
func (w *batchWriter) isKept(end time.Time) bool {
	return end.After(w.worker.deps.Now().Add(keptSoon))
}

// untilThere ends when the rows of an attempt that is not the first are in their table.
// An insert under a token that ClickHouse noted for an insert it then did not finish is
// taken for a repetition, and nothing is written. look counts the rows that are missing,
// and write inserts those under the token of the next round: the same ones by whichever
// process, so that of two that do it at once one is a repetition. Nothing is written
// while an insert of the batch runs, whose rows may be about to appear, nor where the
// tables are replicated (store.Absence). An error has the batch tried again.
func (w *batchWriter) untilThere(ctx context.Context, table string, look func(context.Context) (int, error), write func(context.Context) error) error {
	defer func() { w.round = 0 }()
	for {
		if n, err := look(ctx); err != nil || n == 0 {
			return err
		}
		absence, err := w.worker.deps.Store.Absence(ctx, table, "/"+w.hash+"/")
		switch {
		case err != nil:
			return err
		case absence == store.AbsenceOfReplica:
			return nil
		case absence == store.AbsenceUnderWay:
			return errUnderWay
		}
		// An insert may have ended since the look before.
		n, err := look(ctx)
		if err != nil || n == 0 {
			return err
		}
		if w.round == roundsMax {
			return fmt.Errorf("%w: %d of %s, after %d tokens", errNotThere, n, table, roundsMax)
		}
		w.round++
		w.worker.metrics.missing.WithLabelValues(table).Add(float64(n))
		w.worker.deps.Log.Warn("clickhouse took rows for a repetition that it does not have, writing them under a token of their own",
			"table", table, "topic", w.batch.Topic, "partition", w.batch.Partition, "first", w.batch.First, "last", w.batch.Last, "rows", n, "round", w.round)
		if err := write(ctx); err != nil {
			return err
		}
	}
}

// marks are those of the batch's inserts into events: of the first round, and of all
// when there may be rows of them.
func (w *eventWriter) marks(all bool) []uint64 {
	n := 1
	if all {
		n += roundsMax
	}
	marks := make([]uint64, n)
	for round := range marks {
		marks[round] = store.Mark(w.tokenOf(round, store.TableEvents, w.batch.First, w.batch.Last))
	}
	return marks
}

// writeRounds writes events, each in the round in which it was written before.
func (w *eventWriter) writeRounds(ctx context.Context, events []store.EventRow) ([]store.DropRow, error) {
	last := uint8(0)
	for i := range events {
		last = max(last, events[i].Round)
	}
	if last == 0 {
		return w.writeEvents(ctx, events)
	}
	defer func() { w.round = 0 }()
	var refused []store.DropRow
	for round := range last + 1 {
		var rows []store.EventRow
		var at []int
		for i := range events {
			if events[i].Round == round {
				rows, at = append(rows, events[i]), append(at, i)
			}
		}
		w.round = int(round)
		drops, err := w.writeEvents(ctx, rows)
		if err != nil {
			return nil, err
		}
		refused = mergeByPosition(refused, drops)
		for i, row := range rows {
			events[at[i]].Mark = row.Mark
		}
	}
	return refused, nil
}

// makeSure ends when what an attempt wrote is there.
func (w *eventWriter) makeSure(ctx context.Context, events []store.EventRow, drops []store.DropRow) error {
	err := w.untilThere(ctx, store.TableEvents, func(ctx context.Context) (int, error) {
		var err error
		events, err = w.missingEvents(ctx, events)
		return len(events), err
	}, func(ctx context.Context) error {
		refused, err := w.writeEvents(ctx, events)
		drops = mergeByPosition(drops, refused)
		return err
	})
	if err != nil {
		return err
	}
	return w.untilThere(ctx, store.TableDrops, func(ctx context.Context) (int, error) {
		var err error
		drops, err = w.missingDrops(ctx, drops)
		return len(drops), err
	}, func(ctx context.Context) error { return w.writeDrops(ctx, drops) })
}

// missingEvents are the events without their row. One that stands in place of another has
// it only when it came with this attempt's token; what was found of the batch's own, and
// was sent once more for the views, is there. Of rows of one event in the batch the last
// stands, and the table may have merged the others into it.
func (w *eventWriter) missingEvents(ctx context.Context, events []store.EventRow) ([]store.EventRow, error) {
	if len(events) == 0 {
		return nil, nil
	}
	wanted := make([]store.Wanted, len(events))
	last := make(map[store.Identity]int64, len(events)) // position
	for i := range events {
		wanted[i].Identity = rowIdentity(&events[i])
		if !w.refused[place{store.TableEvents, events[i].Position}] {
			last[wanted[i].Identity] = events[i].Position
		}
	}
	stored, err := w.worker.deps.Store.Find(ctx, wanted)
	if err != nil {
		return nil, err
	}
	var missing []store.EventRow
	for i := range events {
		row := &events[i]
		there := stored.Rows[wanted[i].Identity]
		if row.Replaces {
			_, there = stored.Written[store.Written{Identity: wanted[i].Identity, Mark: row.Mark}]
		}
		position, taken := last[wanted[i].Identity]
		if there || !taken || position != row.Position || !w.isKept(row.ExpiresAt) {
			continue
		}
		// What becomes of it is decided by sort, from the start.
		if w.worker.deps.Erased.Has(row.Event.GetCompanyId(), row.Event.GetVisitorId()) {
			return nil, errErased
		}
		missing = append(missing, *row)
	}
	return missing, nil
}

// missingDrops are the drops without their row.
func (w *eventWriter) missingDrops(ctx context.Context, drops []store.DropRow) ([]store.DropRow, error) {
	if len(drops) == 0 {
		return nil, nil
	}
	wanted := make([]store.Wanted, len(drops))
	for i := range drops {
		wanted[i].Identity = store.Identity{Key: drops[i].Key, Source: drops[i].Source}
	}
	stored, err := w.worker.deps.Store.Find(ctx, wanted)
	if err != nil {
		return nil, err
	}
	var missing []store.DropRow
	for i := range drops {
		if stored.Identities[wanted[i].Identity] || w.refused[place{store.TableDrops, drops[i].Position}] || !w.isKept(drops[i].ReceivedAt.Add(keptOfLedger)) {
			continue
		}
		if w.worker.deps.Erased.Tenant(drops[i].Key.CompanyID) {
			return nil, errErased
		}
		missing = append(missing, drops[i])
	}
	return missing, nil
}

func rowIdentity(r *store.EventRow) store.Identity {
	return store.Identity{
		Key:    store.EventKey{CompanyID: r.Event.GetCompanyId(), EventID: [schemas.IDBytes]byte(r.Event.GetEventId())},
		Source: store.Source{Partition: r.Event.GetSource().GetPartition(), Offset: r.Event.GetSource().GetOffset()},
	}
}
