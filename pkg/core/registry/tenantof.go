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
