package sink

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/schemas/metivav1"
	store "github.com/metiva-io/metiva/sink/clickhouse"
)

// ledgerKey is what a later entry replaces an earlier one by.
type ledgerKey struct {
	writer, company, site string
	minute                int64
	stage                 metivav1.Stage
	reason                metivav1.Reason
}

// ledgerEntries are the records of ledger.edge: cumulative, so the greatest count
// of a key is its newest.
func (w *Worker) ledgerEntries() latest[ledgerKey, *metivav1.LedgerEntry] {
	return latest[ledgerKey, *metivav1.LedgerEntry]{
		table: store.TableLedgerEdge,
		read: func(value []byte) (*metivav1.LedgerEntry, error) {
			l := new(metivav1.LedgerEntry)
			if err := proto.Unmarshal(value, l); err != nil {
				return l, fmt.Errorf("reading a ledger entry: %w", err)
			}
			return l, checkLedgerEntry(l)
		},
		key: func(l *metivav1.LedgerEntry) ledgerKey {
			return ledgerKey{l.GetWriterId(), l.GetCompanyId(), l.GetSiteId(), l.GetMinuteMs(), l.GetStage(), l.GetReason()}
		},
		version: (*metivav1.LedgerEntry).GetCount,
		kept:    func(l *metivav1.LedgerEntry) time.Time { return time.UnixMilli(l.GetMinuteMs()).Add(keptOfLedger) },
		owner:   func(l *metivav1.LedgerEntry) (string, []byte) { return l.GetCompanyId(), nil },
		insert:  w.deps.Store.InsertLedger,
		missing: w.deps.Store.MissingLedger,
	}
}
