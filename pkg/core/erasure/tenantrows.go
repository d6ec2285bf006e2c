package erasure

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/metiva-io/metiva/pkg/core/registry"
	"github.com/metiva-io/metiva/pkg/tenant"
	"github.com/metiva-io/metiva/schemas"
)

const (
	// A change of a setting holds the tenant's row FOR SHARE: those under way are waited
	// for, and later ones find an erased tenant.
	queryLockTenant = `SELECT FROM core.tenants FOR UPDATE`
	querySites      = `SELECT id FROM core.sites ORDER BY id`
	// What is left of a tenant says that it was one.
	queryUnnameTenant = `UPDATE core.tenants SET status = 'erased', name = 'erased', version = version + 1, updated_at = now() WHERE status <> 'erased'`
	queryUnnameAgency = `UPDATE core.agencies SET name = 'erased'`
	queryIsErased     = `SELECT status = 'erased' FROM core.tenants`
	queryInactive     = `UPDATE core.directory SET active = false WHERE active`

	// The worker's: no role that serves a tenant may delete these.
	queryAgency  = `SELECT d.agency_id, d.kind FROM core.directory d WHERE d.company_id = $1`
	queryClients = `
SELECT company_id FROM core.directory WHERE agency_id = $1 AND company_id <> $2 ORDER BY company_id`
	// Records of settings, whose newest would be published again if Kafka lost it.
	querySettingTombstones = `
SELECT DISTINCT topic, record_key FROM core.outbox
WHERE company_id = $1 AND topic IN ('control.sites', 'control.suppressions') AND octet_length(value) = 0 ORDER BY topic, record_key`
	queryForgetOutbox = `
DELETE FROM core.outbox WHERE company_id = $1 AND topic IN ('control.sites', 'control.suppressions') AND octet_length(value) > 0`
	queryForgetSalts = `DELETE FROM core.salts_published WHERE company_id = $1`
)

// erasedTables are the tables of Postgres that a tenant's rows are deleted from, each
// before those it refers to.
func erasedTables() []string {
	return []string{"core.site_keys", "core.site_forms", "core.consent_texts", "core.sites", "core.memberships", "core.brands", "core.suppressions"}
}

// keptTables are those in which rows of an erased tenant stay, and why: tested to be
// all the others.
func keptTables() map[string]string {
	return map[string]string{
		"core.tenants":         "the id and that it was erased, without a name",
		"core.agencies":        "the id of an agency, without a name",
		"core.directory":       "the id, not active",
		"core.erasures":        "the erasures and their certificates",
		"core.audit_records":   "who exported and did what, when: ids and counts",
		"core.outbox":          "tombstones of the erasure and of settings, which name ids only; the worker's role deletes the rest",
		"core.salts_published": "the worker's role deletes them",
	}
}

// checkClients refuses to erase an agency's own tenant before its clients: also those
// that are only suspended, and one that is being created. It returns the agency, none for
// another tenant, and its clients, which are all erased.
func (e *Eraser) checkClients(ctx context.Context, claim tenant.Claim) (agency string, erased []string, err error) {
	var kind string
	err = e.cfg.Worker.Tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		return tx.QueryRow(ctx, queryAgency, claim.CompanyID()).Scan(&agency, &kind)
	})
	if err != nil {
		return "", nil, fmt.Errorf("looking for the tenant: %w", quiet(err))
	}
	if kind != "agency" {
		return "", nil, nil
	}
	err = tenant.Run(ctx, e.cfg.Pool, claim, func(ctx context.Context, tx tenant.Tx) error {
		return registry.LockClients(ctx, tx, agency)
	})
	if err != nil {
		return "", nil, err
	}
	clients, err := e.clients(ctx, claim, agency)
	if err != nil {
		return "", nil, err
	}
	for _, id := range clients {
		client, err := tenant.OperatorClaim(id, "schedule:erasure")
		if err != nil {
			return "", nil, fmt.Errorf("looking at a client of the agency: %w", err)
		}
		erased, err := e.isErased(ctx, client)
		if err != nil {
			return "", nil, err
		}
		if !erased {
			return "", nil, ErrHasClients
		}
	}
	return agency, clients, nil
}

// clients are those of the agency, erased or not.
func (e *Eraser) clients(ctx context.Context, claim tenant.Claim, agency string) (ids []string, err error) {
	err = e.cfg.Worker.Tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		rows, err := tx.Query(ctx, queryClients, agency, claim.CompanyID())
		if err != nil {
			return err
		}
		ids, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("looking for the agency's clients: %w", quiet(err))
	}
	return ids, nil
}

// closeAgency sees to it, before the erasure of an agency's own tenant is asked for, that
// the agency has no clients and gets none: it is suspended, in one transaction with the
// look whether a client came meanwhile. One that has clients is not touched, whatever ends
// the process when, and nothing was asked for.
func (e *Eraser) closeAgency(ctx context.Context, claim tenant.Claim) error {
	agency, erased, err := e.checkClients(ctx, claim)
	if err != nil || agency == "" {
		return err
	}
	if err := e.probe("agency looked at"); err != nil {
		return err
	}
	return e.cfg.Registry.CloseAgency(ctx, claim, agency, func(ctx context.Context) error {
		now, err := e.clients(ctx, claim, agency)
		if err != nil {
			return err
		}
		if err := e.probe("clients counted"); err != nil {
			return err
		}
		if slices.ContainsFunc(now, func(id string) bool { return !slices.Contains(erased, id) }) {
			return ErrHasClients
		}
		return nil
	})
}

// deleteTenant deletes a tenant's rows of Postgres, counted in the same transaction,
// and takes its sites off control.sites and its networks off control.suppressions. For
// anybody else it does nothing.
func (w *work) deleteTenant(ctx context.Context) error {
	if w.is.Kind != Tenant {
		return nil
	}
	err := tenant.Run(ctx, w.e.cfg.Pool, w.claim, func(ctx context.Context, tx tenant.Tx) error {
		if _, err := tx.Exec(ctx, queryLockTenant); err != nil {
			return err
		}
		found, err := w.queueTombstones(ctx, tx)
		if err != nil {
			return err
		}
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
		return keepIn(ctx, tx, w.is.ID, func(t *tally) { t.add(found) })
	})
	if err != nil {
		return fmt.Errorf("deleting the tenant's rows: %w", quiet(err))
	}
	if err := w.e.probe("postgres rows deleted"); err != nil {
		return err
	}
	return w.removeSettings(ctx)
}

// queueTombstones queues those of the records of the tenant's settings, and counts what
// they remove.
func (w *work) queueTombstones(ctx context.Context, tx tenant.Tx) (map[string]uint64, error) {
	rows, err := tx.Query(ctx, querySites)
	if err != nil {
		return nil, err
	}
	sites, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, err
	}
	for _, id := range sites {
		if _, err := tx.Exec(ctx, queryOutbox, schemas.TopicControlSites, []byte(id), []byte{}); err != nil {
			return nil, err
		}
	}
	// All networks of a tenant are one record; one without any may have been published.
	_, err = tx.Exec(ctx, queryOutbox, schemas.TopicControlSuppressions, []byte(w.is.CompanyID), []byte{})
	return map[string]uint64{"kafka." + schemas.TopicControlSites: uint64(len(sites))}, err
}

// removeSettings publishes the tombstones of the tenant's settings, those an earlier
// attempt queued too, and deletes what else the outbox and the schedules know of the
// tenant.
func (w *work) removeSettings(ctx context.Context) error {
	var gone []record
	err := w.e.cfg.Worker.Tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		for _, query := range []string{queryForgetOutbox, queryForgetSalts} {
			if _, err := tx.Exec(ctx, query, w.is.CompanyID); err != nil {
				return err
			}
		}
		rows, err := tx.Query(ctx, querySettingTombstones, w.is.CompanyID)
		if err != nil {
			return err
		}
		gone, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (r record, err error) {
			return r, row.Scan(&r.topic, &r.key)
		})
		return err
	})
	if err != nil {
		return fmt.Errorf("deleting the tenant's queued records: %w", quiet(err))
	}
	for _, r := range gone {
		if err := w.e.publish(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

// isErased reports whether the claim's tenant has been erased from Postgres.
func (e *Eraser) isErased(ctx context.Context, claim tenant.Claim) (erased bool, err error) {
	err = tenant.Run(ctx, e.cfg.Pool, claim, func(ctx context.Context, tx tenant.Tx) error {
		return tx.QueryRow(ctx, queryIsErased).Scan(&erased)
	})
	if err != nil {
		return false, fmt.Errorf("reading the tenant's status: %w", quiet(err))
	}
	return erased, nil
}

// suspend makes the tenant's sites unknown to collectors, unless it is erased already.
// A suspended agency gets no client any more: what it has now is all.
func (w *work) suspend(ctx context.Context) error {
	if erased, err := w.e.isErased(ctx, w.claim); err != nil || erased {
		return err
	}
	if err := w.e.cfg.Registry.SuspendTenant(ctx, w.claim); err != nil {
		return err
	}
	_, _, err := w.e.checkClients(ctx, w.claim)
	return err
}
