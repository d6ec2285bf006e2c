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
	Tenant     string `required:"" help:"Tenant (cmp_…)."`
	Unfinished bool   `help:"Print only what was begun and has no end: it is under way, or was killed."`
}

// Run prints the records, those before a broken place too, and says on standard error
// what was begun and has no end; nothing is said of ends that were not read.
func (c *auditCommand) Run(ctx context.Context, t terminal) error {
	claim, err := tenant.OperatorClaim(c.Tenant, operator())
	if err != nil {
		return fmt.Errorf("%w: %w", app.ErrConfiguration, err)
	}
	return c.withAudit(ctx, func(pool *tenant.Pool) error {
		return c.show(t, func(fn func(audit.Record) error) error { return audit.Each(ctx, pool, claim, fn) })
	})
}

func (c *auditCommand) show(t terminal, each func(func(audit.Record) error) error) error {
	out := json.NewEncoder(t.out)
	show := func(r audit.Record) error {
		if err := out.Encode(r); err != nil {
			return fmt.Errorf("printing an audit record: %w", err)
		}
		return nil
	}
	var unfinished audit.Unfinished
	err := each(func(r audit.Record) error {
		unfinished.Follow(r)
		if c.Unfinished {
			return nil
		}
		return show(r)
	})
	if err != nil {
		return err
	}
	for _, r := range unfinished.Records() {
		if c.Unfinished {
			err = errors.Join(err, show(r))
			continue
		}
		_, _ = fmt.Fprintf(t.err, "record %d: %s was begun and has no end: it is under way, or was killed\n", r.Seq, r.Action)
	}
	return err
}
