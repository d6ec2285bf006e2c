package erasure

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/metiva-io/metiva/pkg/tenant"
)

// All SQL about erasures. Row-level security supplies the tenant.
const (
	// A second request of the same subject is the first one.
	queryRequest = `
INSERT INTO core.erasures (id, kind, subject_id, requested_by, requested_at, erased_at) VALUES ($1, $2, $3, $4, $5, $5)
ON CONFLICT (company_id, subject_id) DO NOTHING`
	erasureColumns = `id, company_id, kind, state, round, requested_by, requested_at, erased_at, found,
	coalesce(progress->'base', '{}'), (progress->>'reopened_at')::timestamptz, coalesce(certificate, ''), subject_id`
	querySelect = `SELECT ` + erasureColumns + `
FROM core.erasures WHERE ($1 = '' OR id = $1) AND ($2::bytea IS NULL OR subject_id = $2) ORDER BY requested_at, id`
	// A step is taken from the state it was begun in.
	queryAdvance = `UPDATE core.erasures SET state = $3, updated_at = now() WHERE id = $1 AND state = $2`
	queryCertify = `
UPDATE core.erasures SET state = 'certified', certificate = $2, updated_at = now() WHERE id = $1 AND state = 'verified' AND round = $3`
	queryReopen = `
UPDATE core.erasures SET state = 'requested', round = round + 1, progress = (progress - 'pending') || jsonb_build_object('base', found, 'reopened_at', $3::timestamptz), updated_at = now()
WHERE id = $1 AND state = 'certified' AND round = $2`
	queryOutbox = `INSERT INTO core.outbox (topic, record_key, value) VALUES ($1, $2, $3)`
)

// ask finds or makes the erasure of the subject.
func (e *Eraser) ask(ctx context.Context, claim tenant.Claim, subject Subject) (*work, error) {
	rows, err := e.cfg.Rows(claim, subject.bytes())
	if err != nil {
		return nil, err
	}
	w := &work{e: e, claim: claim, rows: rows}
	err = tenant.Run(ctx, e.cfg.Pool, claim, func(ctx context.Context, tx tenant.Tx) error {
		// Tombstones carry milliseconds.
		now := e.cfg.Now().UTC().Truncate(time.Millisecond)
		_, err := tx.Exec(ctx, queryRequest, tenant.NewID(tenant.PrefixErasure), subject.Kind, subject.bytes(), claim.Actor(), now)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("asking for an erasure: %w", quiet(err))
	}
	return w, w.load(ctx, "", subject.bytes())
}

// reopen begins the next round when there is anything to erase.
func (w *work) reopen(ctx context.Context, anything func(context.Context) (uint64, error)) error {
	n, err := anything(ctx)
	if err != nil || n == 0 {
		return err
	}
	w.e.cfg.Log.Warn("an erased subject is there again, erasing again", "erasure", w.is.ID)
	if err := w.exec(ctx, queryReopen, w.is.ID, w.is.Round, w.e.cfg.Now().UTC()); err != nil {
		return err
	}
	return w.load(ctx, w.is.ID, nil)
}

// load reads the erasure anew.
func (w *work) load(ctx context.Context, id string, subject []byte) error {
	all, err := list(ctx, w.e.cfg.Pool, w.claim, id, subject)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return ErrNotFound
	}
	w.is = all[0]
	return nil
}

// List gives the tenant's erasures, oldest first; the one with the id when it is given.
// It needs Postgres alone.
func List(ctx context.Context, pool *tenant.Pool, claim tenant.Claim, id string) ([]Erasure, error) {
	return list(ctx, pool, claim, id, nil)
}

func list(ctx context.Context, pool *tenant.Pool, claim tenant.Claim, id string, subject []byte) ([]Erasure, error) {
	return collect(ctx, pool, claim, querySelect, id, subject)
}

func collect(ctx context.Context, pool *tenant.Pool, claim tenant.Claim, query string, args ...any) ([]Erasure, error) {
	var all []Erasure
	err := tenant.Run(ctx, pool, claim, func(ctx context.Context, tx tenant.Tx) error {
		rows, err := tx.Query(ctx, query, args...)
		if err != nil {
			return err
		}
		all, err = pgx.CollectRows(rows, scan)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading erasures: %w", quiet(err))
	}
	return all, nil
}

func oldestFirst(all []Erasure) []Erasure {
	slices.SortStableFunc(all, func(a, b Erasure) int { return a.RequestedAt.Compare(b.RequestedAt) })
	return all
}

func scan(row pgx.CollectableRow) (Erasure, error) {
	var (
		is                  Erasure
		found, base         []byte
		reopened            *time.Time
		certificate, wanted []byte
	)
	err := row.Scan(&is.ID, &is.CompanyID, &is.Kind, &is.State, &is.Round, &is.RequestedBy, &is.RequestedAt, &is.ErasedAt, &found, &base, &reopened, &certificate, &wanted)
	if err != nil {
		return Erasure{}, err
	}
	if err := json.Unmarshal(found, &is.Found); err != nil {
		return Erasure{}, fmt.Errorf("reading what was found: %w", err)
	}
	if err := json.Unmarshal(base, &is.before); err != nil {
		return Erasure{}, fmt.Errorf("reading what was found before: %w", err)
	}
	if reopened != nil {
		is.reopened = reopened.UTC()
	}
	is.RequestedAt, is.ErasedAt = is.RequestedAt.UTC(), is.ErasedAt.UTC()
	is.subject.Kind = is.Kind
	copy(is.subject.ID[:], wanted)
	if is.State == Certified {
		is.Certificate = certificate
	}
	return is, nil
}

func (w *work) exec(ctx context.Context, sql string, args ...any) error {
	err := tenant.Run(ctx, w.e.cfg.Pool, w.claim, func(ctx context.Context, tx tenant.Tx) error {
		_, err := tx.Exec(ctx, sql, args...)
		return err
	})
	if err != nil {
		return fmt.Errorf("noting a step of an erasure: %w", quiet(err))
	}
	return nil
}

// advance notes that a step is done. Another process may have noted it before.
func (w *work) advance(ctx context.Context, to State) error {
	if err := w.exec(ctx, queryAdvance, w.is.ID, w.is.State, to); err != nil {
		return err
	}
	return w.load(ctx, w.is.ID, nil)
}

// quiet keeps the database's own message, which may quote values, out of errors.
func quiet(err error) error {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return fmt.Errorf("postgres error %s", pg.Code)
	}
	return err
}
