package registry

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/metiva-io/metiva/pkg/tenant"
)

// TenantOf reads the claim's own tenant.
func (s *Store) TenantOf(ctx context.Context, claim tenant.Claim) (Tenant, error) {
	var t Tenant
	err := tenant.Run(ctx, s.pool, claim, func(ctx context.Context, tx tenant.Tx) error {
		rows, err := tx.Query(ctx, querySelectTenant)
		if err != nil {
			return err
		}
		t, err = pgx.CollectExactlyOneRow(rows, scanTenant)
		return err
	})
	if err != nil {
		return Tenant{}, fmt.Errorf("reading a tenant: %w", publicError(err))
	}
	return t, nil
}

const queryErasureBegun = `SELECT EXISTS (SELECT FROM core.erasures WHERE kind = 'tenant')`

// ErasureBegun reports whether the claim's own tenant is being erased, or was.
func (s *Store) ErasureBegun(ctx context.Context, claim tenant.Claim) (begun bool, err error) {
	err = tenant.Run(ctx, s.pool, claim, func(ctx context.Context, tx tenant.Tx) error {
		return tx.QueryRow(ctx, queryErasureBegun).Scan(&begun)
	})
	if err != nil {
		return false, fmt.Errorf("looking for an erasure of the tenant: %w", publicError(err))
	}
	return begun, nil
}
