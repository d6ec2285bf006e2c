package erasure

import (
	"bytes"
	"context"
	"fmt"

	"github.com/metiva-io/metiva/pkg/seal"
	"github.com/metiva-io/metiva/pkg/tenant"
	"github.com/metiva-io/metiva/pkg/tombstone"
	"github.com/metiva-io/metiva/schemas"
)

// left counts the rows that are in ClickHouse.
func (w *work) left(ctx context.Context) (uint64, error) {
	counts, err := w.rows.Count(ctx)
	var left uint64
	for _, n := range counts {
		left += n
	}
	return left, err
}

// remains counts what there is to erase after an erasure, wherever a restored backup may
// have brought it back: rows of ClickHouse and of Postgres, keys, states on compacted
// topics, and a tombstone that is missing.
func (w *work) remains(ctx context.Context) (uint64, error) {
	n, err := w.left(ctx)
	if err != nil || n > 0 {
		return n, err
	}
	key := tombstone.RecordKey(w.is.CompanyID, w.is.subject.bytes())
	stands, err := w.look(ctx, schemas.TopicControlErasures, func(k, _ []byte) bool { return bytes.Equal(k, key) })
	if err != nil {
		return 0, err
	}
	if len(stands.live) == 0 {
		return 1, nil
	}
	for _, topic := range append(w.swept(), swept{schemas.TopicControlKeys, func(k, v []byte) bool {
		return seal.OwnsKey(w.is.CompanyID, w.is.subject.ID, k, v)
	}}) {
		found, err := w.look(ctx, topic.name, topic.is)
		if err != nil || len(found.live) > 0 {
			return uint64(len(found.live)), err
		}
	}
	return w.postgresRows(ctx)
}

// postgresRows counts a tenant's rows of Postgres.
func (w *work) postgresRows(ctx context.Context) (n uint64, err error) {
	if w.is.Kind != Tenant {
		return 0, nil
	}
	err = tenant.Run(ctx, w.e.cfg.Pool, w.claim, func(ctx context.Context, tx tenant.Tx) error {
		for _, table := range erasedTables() {
			var of uint64
			if err := tx.QueryRow(ctx, "SELECT count(*) FROM "+table).Scan(&of); err != nil {
				return err
			}
			n += of
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("looking for rows of Postgres: %w", quiet(err))
	}
	return n, nil
}
