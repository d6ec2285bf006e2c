package metiva

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/pkg/core/analytics"
	"github.com/metiva-io/metiva/pkg/core/registry"
	"github.com/metiva-io/metiva/pkg/tenant"
)

// retentionCommand is about how long rows are kept.
type retentionCommand struct {
	Check retentionCheck `cmd:"" help:"List rows that are to be kept longer than their site's retention; exits with 1 when there are any."`
	Apply retentionApply `cmd:"" help:"Bring the end of such rows nearer. core does so once a day."`
}

// retentionFlags say whose retention.
type retentionFlags struct {
	storeFlags
	Tenant string `help:"One tenant (cmp_…); all when left out."`
}

// mutationWait is how long ClickHouse may take for one change or deletion in a table, which
// rewrites its parts.
const mutationWait = 6 * time.Hour

// with hands over the retentions and what applies them.
func (f retentionFlags) with(ctx context.Context, do func(of []analytics.Retention, rows *analytics.Retainer) error) error {
	return f.withRegistry(ctx, func(store *registry.Store) error {
		of, err := f.sites(ctx, store)
		if err != nil {
			return err
		}
		return f.withClickHouseFor(mutationWait, func(conn *clickhouse.Conn) error {
			return do(of, analytics.NewRetainer(conn, time.Now))
		})
	})
}

func (f retentionFlags) sites(ctx context.Context, store *registry.Store) ([]analytics.Retention, error) {
	var out []analytics.Retention
	if f.Tenant == "" {
		all, err := store.Retentions(ctx, operator())
		if err != nil {
			return nil, err
		}
		for _, r := range all {
			out = append(out, analytics.Retention(r))
		}
		return out, nil
	}
	claim, err := tenant.OperatorClaim(f.Tenant, operator())
	if err != nil {
		return nil, err
	}
	sites, err := store.ListSites(ctx, claim)
	if err != nil {
		return nil, err
	}
	for _, s := range sites {
		out = append(out, analytics.Retention{CompanyID: s.CompanyID, SiteID: s.ID, Days: s.RetentionDays})
	}
	return out, nil
}

func printBeyond(t terminal, found []analytics.Beyond) {
	if len(found) == 0 {
		t.printf("every row is within its site's retention\n")
		return
	}
	t.table("table | tenant | rows | over already | first day | last day", func(row func(...any)) {
		for _, b := range found {
			row(b.Table, b.CompanyID, b.Rows, b.Over, b.First.Format(time.DateOnly), b.Last.Format(time.DateOnly))
		}
	})
}

type retentionCheck struct{ retentionFlags }

// errBeyond is the exit of a check that found rows.
var errBeyond = errors.New("rows are kept longer than their site's retention: run metiva retention apply")

// Run lists the rows, all versions counted.
func (c *retentionCheck) Run(ctx context.Context, t terminal) error {
	return c.with(ctx, func(of []analytics.Retention, rows *analytics.Retainer) error {
		found, err := rows.Beyond(ctx, of)
		if err != nil {
			return err
		}
		printBeyond(t, found)
		if len(found) > 0 {
			return errBeyond
		}
		return nil
	})
}

type retentionApply struct{ retentionFlags }

// Run changes the rows and lists what they were.
func (c *retentionApply) Run(ctx context.Context, t terminal) error {
	return c.with(ctx, func(of []analytics.Retention, rows *analytics.Retainer) error {
		changed, err := rows.Shorten(ctx, of)
		if err != nil {
			return fmt.Errorf("after %d tables and tenants: %w", len(changed), err)
		}
		printBeyond(t, changed)
		return nil
	})
}
