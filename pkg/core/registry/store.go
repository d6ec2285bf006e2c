package registry

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/metiva-io/metiva/pkg/tenant"
)

// Store reads and changes the registry.
type Store struct {
	pool   *tenant.Pool
	worker *tenant.Worker
}

// NewStore uses pool for everything inside a tenant, and worker for the list
// of which tenants exist.
func NewStore(pool *tenant.Pool, worker *tenant.Worker) *Store {
	return &Store{pool: pool, worker: worker}
}

// CreateAgency creates an agency and the tenant it owns. Actor is who does it,
// "operator:name".
func (s *Store) CreateAgency(ctx context.Context, actor, name string) (Agency, error) {
	name, err := cleanName("agency name", name)
	if err != nil {
		return Agency{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	a := Agency{ID: tenant.NewID(tenant.PrefixAgency), CompanyID: tenant.NewID(tenant.PrefixCompany), Name: name}
	t := Tenant{CompanyID: a.CompanyID, AgencyID: a.ID, Kind: KindAgency, Name: name}
	err = s.found(ctx, actor, &t, func(ctx context.Context, tx tenant.Tx) error {
		_, err := tx.Exec(ctx, queryInsertAgency, a.ID, a.Name)
		return err
	})
	if err != nil {
		return Agency{}, fmt.Errorf("creating an agency: %w", err)
	}
	a.CreatedAt = t.CreatedAt
	return a, nil
}

// CreateTenant creates a client company of an agency: ErrNotFound for an agency that is
// none, was erased or is suspended.
func (s *Store) CreateTenant(ctx context.Context, actor, agencyID, name string) (Tenant, error) {
	name, err := cleanName("tenant name", name)
	if err != nil {
		return Tenant{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if !tenant.ValidID(tenant.PrefixAgency, agencyID) {
		return Tenant{}, fmt.Errorf("%w: the agency id has the wrong form", ErrInvalid)
	}
	t := Tenant{CompanyID: tenant.NewID(tenant.PrefixCompany), AgencyID: agencyID, Kind: KindClient, Name: name}
	err = s.found(ctx, actor, &t, func(ctx context.Context, tx tenant.Tx) error {
		// Until the client is there, the agency is not erased (LockClients).
		if _, err := tx.Exec(ctx, queryShareClients, agencyID); err != nil {
			return err
		}
		return s.checkAgency(ctx, agencyID)
	})
	if err != nil {
		return Tenant{}, fmt.Errorf("creating a tenant: %w", err)
	}
	return t, nil
}

// checkAgency refuses an agency that may have no client.
func (s *Store) checkAgency(ctx context.Context, agencyID string) error {
	var active bool
	err := s.worker.Tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		return tx.QueryRow(ctx, queryAgencyActive, agencyID).Scan(&active)
	})
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return fmt.Errorf("agency: %w", ErrNotFound)
	case err != nil:
		return fmt.Errorf("reading the directory of tenants: %w", err)
	case !active:
		return fmt.Errorf("the agency is suspended or erased: %w", ErrNotFound)
	}
	return nil
}

// LockClients waits until no client of the agency is being created, within the
// transaction: whoever creates one later finds what was committed before.
func LockClients(ctx context.Context, tx tenant.Tx, agencyID string) error {
	if _, err := tx.Exec(ctx, queryLockClients, agencyID); err != nil {
		return fmt.Errorf("waiting for clients that are being created: %w", publicError(err))
	}
	return nil
}

// found creates the tenant and its entry in the directory in one transaction.
func (s *Store) found(ctx context.Context, actor string, t *Tenant, more func(context.Context, tenant.Tx) error) error {
	claim, err := tenant.OperatorClaim(t.CompanyID, actor)
	if err != nil {
		return err
	}
	t.Active = true
	return tenant.Found(ctx, s.pool, claim, func(ctx context.Context, tx tenant.Tx) error {
		if err := tx.QueryRow(ctx, queryInsertTenant, t.AgencyID, t.Kind, t.Name).Scan(&t.CreatedAt); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, queryInsertDirectory, t.AgencyID, t.Kind); err != nil {
			return err
		}
		return more(ctx, tx)
	})
}

// ListAgencies lists every agency, oldest first.
func (s *Store) ListAgencies(ctx context.Context, actor string) ([]Agency, error) {
	return collect(ctx, s, actor, "", KindAgency, querySelectAgency, scanAgency)
}

// ListTenants lists the tenants of an agency, its own among them, oldest
// first; of every agency when agencyID is empty.
func (s *Store) ListTenants(ctx context.Context, actor, agencyID string) ([]Tenant, error) {
	if agencyID != "" && !tenant.ValidID(tenant.PrefixAgency, agencyID) {
		return nil, fmt.Errorf("%w: the agency id has the wrong form", ErrInvalid)
	}
	return collect(ctx, s, actor, agencyID, "", querySelectTenant, scanTenant)
}

func scanAgency(row pgx.CollectableRow) (a Agency, err error) {
	return a, row.Scan(&a.ID, &a.CompanyID, &a.Name, &a.CreatedAt)
}

func scanTenant(row pgx.CollectableRow) (t Tenant, err error) {
	return t, row.Scan(&t.CompanyID, &t.AgencyID, &t.Kind, &t.Name, &t.Active, &t.CreatedAt)
}

// collect runs one tenant-bound query for each tenant the directory names.
func collect[T any](ctx context.Context, s *Store, actor, agencyID string, kind Kind, query string, scan pgx.RowToFunc[T]) ([]T, error) {
	ids, err := s.directory(ctx, agencyID, kind)
	if err != nil {
		return nil, err
	}
	var all []T
	for _, id := range ids {
		claim, err := tenant.OperatorClaim(id, actor)
		if err != nil {
			return nil, err
		}
		var of []T
		err = tenant.Run(ctx, s.pool, claim, func(ctx context.Context, tx tenant.Tx) error {
			rows, err := tx.Query(ctx, query)
			if err != nil {
				return err
			}
			of, err = pgx.CollectRows(rows, scan)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("reading tenant %s: %w", id, err)
		}
		all = append(all, of...)
	}
	return all, nil
}

// directory lists the ids of tenants, of one agency and of one kind when
// these are given.
func (s *Store) directory(ctx context.Context, agencyID string, kind Kind) ([]string, error) {
	var ids []string
	err := s.worker.Tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		rows, err := tx.Query(ctx, queryDirectory, agencyID, kind)
		if err != nil {
			return err
		}
		ids, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading the directory of tenants: %w", err)
	}
	return ids, nil
}

// CreateBrand creates a brand of the claim's tenant.
func (s *Store) CreateBrand(ctx context.Context, claim tenant.Claim, name string) (Brand, error) {
	name, err := cleanName("brand name", name)
	if err != nil {
		return Brand{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	b := Brand{ID: tenant.NewID(tenant.PrefixBrand), Name: name}
	err = s.change(ctx, claim, func(ctx context.Context, tx tenant.Tx, _ bool) error {
		return tx.QueryRow(ctx, queryInsertBrand, b.ID, b.Name).Scan(&b.CompanyID, &b.CreatedAt)
	})
	if err != nil {
		return Brand{}, fmt.Errorf("creating a brand: %w", publicError(err))
	}
	return b, nil
}

// ListBrands lists the brands of the claim's tenant that the claim reaches.
func (s *Store) ListBrands(ctx context.Context, claim tenant.Claim) ([]Brand, error) {
	var brands []Brand
	err := tenant.Run(ctx, s.pool, claim, func(ctx context.Context, tx tenant.Tx) error {
		rows, err := tx.Query(ctx, querySelectBrand)
		if err != nil {
			return err
		}
		brands, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Brand])
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listing brands: %w", err)
	}
	return brands, nil
}

// SQLSTATE codes (PostgreSQL manual, appendix A).
const (
	codeUniqueViolation     = "23505"
	codeForeignKeyViolation = "23503"
)

// publicError turns the database's refusals into ours. The database's own
// message may quote values of the row, so it is not passed on.
func publicError(err error) error {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return err
	}
	switch pg.Code {
	case codeUniqueViolation:
		return ErrConflict
	case codeForeignKeyViolation:
		return ErrNotFound
	}
	return fmt.Errorf("postgres error %s", pg.Code)
}
