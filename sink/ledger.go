package sink

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/schemas/metivav1"
	store "github.com/metiva-io/metiva/sink/clickhouse"
)

// ledgerWriter writes a batch of ledger.edge. Entries are cumulative and the
// table keeps the greatest count of each key, so it needs no look-up.
type ledgerWriter struct {
	batchWriter
	read bool
	rows []store.LedgerRow
	dead []*kafka.Record
}

// ledgerKey is what a later entry replaces an earlier one by.
type ledgerKey struct {
	writer, company, site string
	minute                int64
	stage                 metivav1.Stage
	reason                metivav1.Reason
}

func (w *ledgerWriter) write(ctx context.Context) error {
	w.decode()
	for _, r := range w.dead {
		if err := w.batchWriter.dead(ctx, r, metivav1.Reason_REASON_INVALID_RECORD); err != nil {
			return err
		}
	}
	insert := func(first, last int64, rows []store.LedgerRow) error {
		return w.timed(store.TableLedgerEdge, len(rows), func() error {
			return w.worker.deps.Store.InsertLedger(ctx, w.token(store.TableLedgerEdge, first, last), rows)
		})
	}
	reject := func(row *store.LedgerRow) error {
		for i := range w.batch.Records {
			if r := &w.batch.Records[i]; r.Offset == row.Position {
				return w.batchWriter.dead(ctx, r, metivav1.Reason_REASON_REJECTED_ROW)
			}
		}
		return nil
	}
	return bisect(w.rows, func(r *store.LedgerRow) int64 { return r.Position }, w.batch.First, w.batch.Last, insert, reject)
}

// decode keeps the greatest entry of each key of the batch.
func (w *ledgerWriter) decode() {
	if w.read {
		return
	}
	w.read = true
	greatest := make(map[ledgerKey]*metivav1.LedgerEntry)
	positions := make(map[*metivav1.LedgerEntry]int64)
	var order []*metivav1.LedgerEntry
	for i := range w.batch.Records {
		r := &w.batch.Records[i]
		l := new(metivav1.LedgerEntry)
		if err := proto.Unmarshal(r.Value, l); err != nil || checkLedgerEntry(l) != nil {
			w.dead = append(w.dead, r)
			continue
		}
		key := ledgerKey{l.GetWriterId(), l.GetCompanyId(), l.GetSiteId(), l.GetMinuteMs(), l.GetStage(), l.GetReason()}
		if old := greatest[key]; old == nil || old.GetCount() <= l.GetCount() {
			greatest[key] = l
		}
		positions[l] = r.Offset
		order = append(order, l)
	}
	for _, l := range order {
		key := ledgerKey{l.GetWriterId(), l.GetCompanyId(), l.GetSiteId(), l.GetMinuteMs(), l.GetStage(), l.GetReason()}
		if greatest[key] == l {
			w.rows = append(w.rows, store.LedgerRow{Position: positions[l], Entry: l})
		}
	}
}
