package sink

import (
	"context"
	"slices"
	"time"

	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/schemas/metivav1"
	store "github.com/metiva-io/metiva/sink/clickhouse"
)

// latest is a topic whose records replace each other: of the records of a key the
// one with the greatest version stands, in whatever order and however often they
// come. Its table keeps the greatest version too, so a batch needs no look-up: a
// row that was written before changes nothing.
type latest[K comparable, M any] struct {
	table string
	// read decodes a record and holds it to its rules.
	read    func(value []byte) (M, error)
	key     func(M) K
	version func(M) uint64
	// expires is when the row is no longer kept, which all versions of a key have in
	// common unless the tenant's retention changed between them; nil where the table
	// itself knows.
	expires func(M) time.Time
	// kept is until when the table keeps a row at least, where expires is nil (again.go).
	kept func(M) time.Time
	// owner is whose the row is: the tenant, and the visitor where there is one.
	owner  func(M) (companyID string, subjectID []byte)
	insert func(ctx context.Context, token string, rows []store.Row[M]) error
	// missing are the rows of which the table has no version as great.
	missing func(ctx context.Context, rows []store.Row[M]) ([]store.Row[M], error)
}

// latestWriter writes a batch of such a topic.
type latestWriter[K comparable, M any] struct {
	batchWriter
	of      latest[K, M]
	rows    []store.Row[M]
	bad     []*kafka.Record
	badRead []M // of each of bad, as far as it could be read
}

func newLatest[K comparable, M any](base batchWriter, of latest[K, M]) *latestWriter[K, M] {
	return &latestWriter[K, M]{batchWriter: base, of: of}
}

func (w *latestWriter[K, M]) end() {}

// write sends what cannot be read to events.dead and inserts the rest.
func (w *latestWriter[K, M]) write(ctx context.Context) error {
	w.decode()
	rows, bad := w.unerased()
	for _, r := range bad {
		if err := w.dead(ctx, r, metivav1.Reason_REASON_INVALID_RECORD); err != nil {
			return err
		}
	}
	if err := w.insert(ctx, rows); err != nil || !w.isAgain() {
		return err
	}
	return w.untilThere(ctx, w.of.table, func(ctx context.Context) (int, error) {
		var err error
		rows, err = w.of.missing(ctx, slices.DeleteFunc(rows, w.isGone))
		return len(rows), err
	}, func(ctx context.Context) error { return w.insert(ctx, rows) })
}

// isGone reports whether a row is not to be there: it was refused, it expires, or its
// owner was erased meanwhile.
func (w *latestWriter[K, M]) isGone(row store.Row[M]) bool {
	end := row.ExpiresAt
	if w.of.expires == nil {
		end = w.of.kept(row.Message)
	}
	if !w.isKept(end) {
		return true
	}
	companyID, subjectID := w.of.owner(row.Message)
	return w.refused[place{w.of.table, row.Position}] || w.worker.deps.Erased.Has(companyID, subjectID)
}

// insert writes rows, and sends those that are refused to events.dead.
func (w *latestWriter[K, M]) insert(ctx context.Context, rows []store.Row[M]) error {
	insert := func(first, last int64, rows []store.Row[M]) error {
		return w.timed(w.of.table, len(rows), func() error {
			return w.of.insert(ctx, w.token(w.of.table, first, last), rows)
		})
	}
	reject := func(row *store.Row[M]) error {
		w.refuse(w.of.table, row.Position)
		for i := range w.batch.Records {
			if r := &w.batch.Records[i]; r.Offset == row.Position {
				return w.dead(ctx, r, metivav1.Reason_REASON_REJECTED_ROW)
			}
		}
		return nil
	}
	return bisect(rows, func(r *store.Row[M]) int64 { return r.Position }, w.batch.First, w.batch.Last, insert, reject)
}

// decode keeps the greatest version of each key of the batch, of equal ones the
// last, in the order of their offsets. A row that is no longer kept is left out, and
// with it the older versions, which a longer retention may still have kept.
// Every attempt writes the same rows, but for those of whoever was erased meanwhile.
func (w *latestWriter[K, M]) decode() {
	w.rows, w.bad, w.badRead = nil, nil, nil
	rows := make([]store.Row[M], 0, len(w.batch.Records))
	greatest := make(map[K]int, len(w.batch.Records)) // index in rows
	for i := range w.batch.Records {
		r := &w.batch.Records[i]
		m, err := w.of.read(r.Value)
		if err != nil {
			w.bad, w.badRead = append(w.bad, r), append(w.badRead, m)
			continue
		}
		row := store.Row[M]{Position: r.Offset, Message: m}
		if w.of.expires != nil {
			row.ExpiresAt = w.of.expires(m)
		}
		key := w.of.key(m)
		if at, known := greatest[key]; !known || w.of.version(rows[at].Message) <= w.of.version(m) {
			greatest[key] = len(rows)
		}
		rows = append(rows, row)
	}
	for i := range rows {
		switch {
		case greatest[w.of.key(rows[i].Message)] != i:
		case w.of.expires != nil && !rows[i].ExpiresAt.After(w.now):
			w.worker.metrics.expired.WithLabelValues(w.of.table).Inc()
		default:
			w.rows = append(w.rows, rows[i])
		}
	}
}
