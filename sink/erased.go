package sink

import (
	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/schemas/metivav1"
	store "github.com/metiva-io/metiva/sink/clickhouse"
)

// Erasures says who was erased (pkg/tombstone.Set, read to its end before the first
// batch). A subject is a visitor id.
type Erasures interface {
	Tenant(companyID string) bool
	Has(companyID string, subjectID []byte) bool
}

// nobody is for a worker that was told of no erasures.
type nobody struct{}

func (nobody) Tenant(string) bool      { return false }
func (nobody) Has(string, []byte) bool { return false }

// isTenantErased reports whether nothing of the record may be written, not even its
// drop: all the tenant's rows are gone, those of the ledger too.
func (w *Worker) isTenantErased(it *item) bool {
	if !w.deps.Erased.Tenant(it.identity.Key.CompanyID) {
		return false
	}
	w.metrics.erased.Inc()
	return true
}

// forgetErased reports whether the record's visitor was erased. What cannot be read of
// such a visitor is a drop like any other of theirs, and no dead letter.
func (w *Worker) forgetErased(it *item) bool {
	if it.event != nil {
		return w.deps.Erased.Has(it.event.GetCompanyId(), it.event.GetVisitorId())
	}
	if !it.dead || !w.isErased(it.identity.Key.CompanyID, it.visitorID) {
		return false
	}
	it.dead, it.drop.Reason = false, metivav1.Reason_REASON_ERASED
	return true
}

// isErased reports whether a row's tenant or visitor was erased, and counts it.
func (w *Worker) isErased(companyID string, subjectID []byte) bool {
	if !w.deps.Erased.Has(companyID, subjectID) {
		return false
	}
	w.metrics.erased.Inc()
	return true
}

// unerased gives the rows, and the records for events.dead, of those who are there
// still. It is asked at each attempt: an erasure may come between two.
func (w *latestWriter[K, M]) unerased() (rows []store.Row[M], bad []*kafka.Record) {
	rows = make([]store.Row[M], 0, len(w.rows))
	for i := range w.rows {
		if !w.worker.isErased(w.of.owner(w.rows[i].Message)) {
			rows = append(rows, w.rows[i])
		}
	}
	for i, r := range w.bad {
		if !w.worker.isErased(w.of.owner(w.badRead[i])) {
			bad = append(bad, r)
		}
	}
	return rows, bad
}
