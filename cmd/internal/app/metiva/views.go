package metiva

import (
	"context"
	"fmt"
	"time"

	"github.com/metiva-io/metiva/cmd/internal/app"
	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/pkg/core/analytics"
	"github.com/metiva-io/metiva/pkg/tenant"
)

// viewsCommand is about the tables that are made from others.
type viewsCommand struct {
	Rebuild viewsRebuild `cmd:"" help:"Make what is made from events and visits of some days anew."`
}

type viewsRebuild struct {
	storeFlags
	Tenant string `required:"" help:"Tenant (cmp_…)."`
	From   string `required:"" help:"The first day, as 2026-11-20, UTC."`
	To     string `required:"" help:"The last day."`
}

// rebuildDaysMax bounds one command: a mutation looks at every month of it.
const rebuildDaysMax = 400

// Run rebuilds. It may be given again.
func (c *viewsRebuild) Run(ctx context.Context, t terminal) error {
	claim, err := tenant.OperatorClaim(c.Tenant, operator())
	if err != nil {
		return err
	}
	days := analytics.Days{CompanyID: claim.CompanyID()}
	for _, d := range []struct {
		flag, text string
		into       *time.Time
	}{{"--from", c.From, &days.First}, {"--to", c.To, &days.Last}} {
		if *d.into, err = time.Parse(time.DateOnly, d.text); err != nil {
			return fmt.Errorf("%w: %s must be a day as 2026-11-20", app.ErrConfiguration, d.flag)
		}
	}
	n := int(days.Last.Sub(days.First)/(24*time.Hour)) + 1
	if n < 1 || n > rebuildDaysMax {
		return fmt.Errorf("%w: --from to --to must be 1 to %d days", app.ErrConfiguration, rebuildDaysMax)
	}
	return c.withClickHouseFor(mutationWait, func(conn *clickhouse.Conn) error {
		if err := analytics.NewCounter(conn).Rebuild(ctx, days); err != nil {
			return err
		}
		t.printf("%d days are read from their rows now, and counted again in five minutes or later\n", n)
		return nil
	})
}
