package erasure

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/metiva-io/metiva/pkg/tenant"
	"github.com/metiva-io/metiva/schemas"
)

const (
	querySites = `SELECT id FROM core.sites ORDER BY id`
	// What is left of a tenant says that it was one.
	queryUnnameTenant = `UPDATE core.tenants SET status = 'erased', name = 'erased', version = version + 1, updated_at = now() WHERE status <> 'erased'`
	queryUnnameAgency = `UPDATE core.agencies SET name = 'erased'`
	queryIsErased     = `SELECT status = 'erased' FROM core.tenants`
	queryInactive     = `UPDATE core.directory SET active = false WHERE active`

	// The worker's: no role that serves a tenant may delete these.
	queryAgency  = `SELECT d.agency_id, d.kind FROM core.directory d WHERE d.company_id = $1`
	queryClients = `
SELECT count(*) FROM core.directory WHERE agency_id = $1 AND company_id <> $2 AND active`
	querySiteTombstones = `
SELECT DISTINCT record_key FROM core.outbox WHERE company_id = $1 AND topic = 'control.sites' AND octet_length(value) = 0`
	queryForgetOutbox = `DELETE FROM core.outbox WHERE company_id = $1 AND topic = 'control.sites' AND octet_length(value) > 0`
	queryForgetSalts  = `DELETE FROM core.salts_published WHERE company_id = $1`
)

// erasedTables are the tables of Postgres that a tenant's rows are deleted from, each
// before those it refers to.
func erasedTables() []string {
	return []string{"core.site_keys", "core.site_forms", "core.consent_texts", "core.sites", "core.memberships", "core.brands"}
}

// keptTables are those in which rows of an erased tenant stay, and why: tested to be
// all the others.
func keptTables() map[string]string {
	return map[string]string{
		"core.tenants":         "the id and that it was erased, without a name",
		"core.agencies":        "the id of an agency, without a name",
		"core.directory":       "the id, not active",
		"core.erasures":        "the erasures and their certificates",
		"core.outbox":          "tombstones of the erasure and of sites, which name ids only; the worker's role deletes the rest",
		"core.salts_published": "the worker's role deletes them",
	}
}

// checkClients refuses to erase an agency's own tenant before its clients.
func (e *Eraser) checkClients(ctx context.Context, claim tenant.Claim) error {
	var others int
	err := e.cfg.Worker.Tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		var agency, kind string
		if err := tx.QueryRow(ctx, queryAgency, claim.CompanyID()).Scan(&agency, &kind); err != nil {
			return err
		}
		if kind != "agency" {
			return nil
		}
		return tx.QueryRow(ctx, queryClients, agency, claim.CompanyID()).Scan(&others)
	})
	if err != nil {
		return fmt.Errorf("looking for the tenant: %w", quiet(err))
	}
	if others > 0 {
		return ErrHasClients
	}
	return nil
}

// deleteTenant deletes a tenant's rows of Postgres, counted in the same transaction,
// and takes its sites off control.sites. For anybody else it does nothing.
func (w *work) deleteTenant(ctx context.Context) error {
	if w.is.Kind != Tenant {
		return nil
	}
	err := tenant.Run(ctx, w.e.cfg.Pool, w.claim, func(ctx context.Context, tx tenant.Tx) error {
		rows, err := tx.Query(ctx, querySites)
		if err != nil {
			return err
		}
		sites, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err
		}
		for _, id := range sites {
			if _, err := tx.Exec(ctx, queryOutbox, schemas.TopicControlSites, []byte(id), []byte{}); err != nil {
				return err
			}
		}
		found := map[string]uint64{"kafka." + schemas.TopicControlSites: uint64(len(sites))}
		for _, table := range erasedTables() {
			tag, err := tx.Exec(ctx, "DELETE FROM "+table)
			if err != nil {
				return err
			}
			found["postgres."+table] = uint64(tag.RowsAffected())
		}
		for _, query := range []string{queryUnnameTenant, queryUnnameAgency, queryInactive} {
			if _, err := tx.Exec(ctx, query); err != nil {
				return err
			}
		}
		return noteIn(ctx, tx, w.is.ID, found)
	})
	if err != nil {
		return fmt.Errorf("deleting the tenant's rows: %w", quiet(err))
	}
	if err := w.e.probe("postgres rows deleted"); err != nil {
		return err
	}
	return w.removeSites(ctx)
}

// removeSites publishes the tombstones of the tenant's sites, those an earlier attempt
// queued too, and deletes what else the outbox and the schedules know of the tenant.
func (w *work) removeSites(ctx context.Context) error {
	var sites [][]byte
	err := w.e.cfg.Worker.Tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		for _, query := range []string{queryForgetOutbox, queryForgetSalts} {
			if _, err := tx.Exec(ctx, query, w.is.CompanyID); err != nil {
				return err
			}
		}
		rows, err := tx.Query(ctx, querySiteTombstones, w.is.CompanyID)
		if err != nil {
			return err
		}
		sites, err = pgx.CollectRows(rows, pgx.RowTo[[]byte])
		return err
	})
	if err != nil {
		return fmt.Errorf("deleting the tenant's queued records: %w", quiet(err))
	}
	for _, id := range sites {
		if err := w.e.publish(ctx, record{schemas.TopicControlSites, id, nil}); err != nil {
			return err
		}
	}
	return nil
}

// suspend makes the tenant's sites unknown to collectors, unless it is erased already.
func (w *work) suspend(ctx context.Context) error {
	var erased bool
	err := tenant.Run(ctx, w.e.cfg.Pool, w.claim, func(ctx context.Context, tx tenant.Tx) error {
		return tx.QueryRow(ctx, queryIsErased).Scan(&erased)
	})
	if err != nil {
		return fmt.Errorf("reading the tenant's status: %w", quiet(err))
	}
	if erased {
		return nil
	}
	return w.e.cfg.Registry.SuspendTenant(ctx, w.claim)
}
