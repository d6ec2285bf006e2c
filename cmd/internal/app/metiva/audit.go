package metiva

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/metiva-io/metiva/cmd/internal/app"
	"github.com/metiva-io/metiva/pkg/core/audit"
	"github.com/metiva-io/metiva/pkg/postgres"
	"github.com/metiva-io/metiva/pkg/tenant"
)

// withAudit opens the tenants' database for records of the audit.
func (f storeFlags) withAudit(ctx context.Context, do func(*tenant.Pool) error) error {
	urls, err := f.postgres()
	if err != nil {
		return err
	}
	pool, err := tenant.OpenPool(ctx, postgres.Config{URL: urls.RW, ConnectionsMax: 1})
	if err != nil {
		return err
	}
	defer pool.Close()
	return do(pool)
}

// auditCommand prints a tenant's audit records, a line of JSON each. It fails when they
// do not follow from each other.
type auditCommand struct {
	storeFlags
	Tenant string `required:"" help:"Tenant (cmp_…)."`
}

// Run prints the records, those before a broken place too.
func (c *auditCommand) Run(ctx context.Context, t terminal) error {
	claim, err := tenant.OperatorClaim(c.Tenant, operator())
	if err != nil {
		return fmt.Errorf("%w: %w", app.ErrConfiguration, err)
	}
	return c.withAudit(ctx, func(pool *tenant.Pool) error {
		all, err := audit.List(ctx, pool, claim)
		out := json.NewEncoder(t.out)
		for i := range all {
			if failed := out.Encode(all[i]); failed != nil {
				return errors.Join(err, fmt.Errorf("printing an audit record: %w", failed))
			}
		}
		return err
	})
}
