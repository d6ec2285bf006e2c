package metiva

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/metiva-io/metiva/cmd/internal/app"
	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/pkg/core/analytics"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

type ledgerCommand struct {
	storeFlags
	Tenant string        `help:"One tenant (cmp_…); all when left out."`
	Since  string        `default:"24h" help:"From this moment of receipt on, RFC 3339 or a time ago (24h)."`
	Until  string        `help:"Before this moment, RFC 3339 or a time ago; now when left out."`
	By     string        `default:"auto" enum:"auto,minute,hour,day,total" help:"What a line covers: minute, hour, day or total; auto is minute for one tenant and total for all."`
	Settle time.Duration `default:"1m" help:"Age at which an event must have its row; younger ones are open."`
	JSON   bool          `name:"json" help:"Print JSON."`
}

// question is what the flags ask.
func (c *ledgerCommand) question(now time.Time) (analytics.LedgerQuestion, error) {
	q := analytics.LedgerQuestion{Company: c.Tenant}
	if c.Settle > 0 {
		q.SettledBefore = now.Add(-c.Settle)
	}
	var faults []error
	var err error
	if q.From, err = momentOf(c.Since, now); err != nil || c.Since == "" {
		faults = append(faults, errors.New("--since: must be a time as 2026-11-22T15:04:05Z, or a duration"))
	}
	if q.To, err = momentOf(c.Until, now); err != nil {
		faults = append(faults, fmt.Errorf("--until: %w", err))
	} else if !q.To.IsZero() && !q.From.Before(q.To) {
		faults = append(faults, errors.New("--since must be before --until"))
	}
	if c.Settle < 0 {
		faults = append(faults, errors.New("--settle is negative"))
	}
	if err := errors.Join(faults...); err != nil {
		return q, fmt.Errorf("%w:\n%w", app.ErrConfiguration, err)
	}
	steps := map[string]time.Duration{"minute": time.Minute, "hour": time.Hour, "day": 24 * time.Hour}
	q.Step = steps[c.By]
	if c.By == "auto" && c.Tenant != "" {
		q.Step = time.Minute
	}
	return q, nil
}

// tenantLedger is what is printed of one tenant.
type tenantLedger struct {
	analytics.Totals
	Lines []analytics.LedgerLine `json:"lines"`
}

// Run prints the ledger and fails when it does not balance.
func (c *ledgerCommand) Run(ctx context.Context, t terminal) error {
	q, err := c.question(time.Now())
	if err != nil {
		return err
	}
	return c.withClickHouse(func(conn *clickhouse.Conn) error {
		ledger, err := analytics.NewOperator(conn).AddUp(ctx, q)
		if err != nil {
			return err
		}
		totals := ledger.Total
		if c.Tenant != "" {
			known := false
			if totals, known = ledger.Tenants[c.Tenant]; !known {
				return fmt.Errorf("the ledger has nothing of tenant %q in this period", c.Tenant)
			}
		}
		if err := c.print(t, &ledger, totals); err != nil {
			return err
		}
		if !totals.Balanced {
			return errUnbalanced
		}
		return nil
	})
}

func (c *ledgerCommand) print(t terminal, ledger *analytics.Ledger, totals analytics.Totals) error {
	if !c.JSON {
		printLedger(t, ledger, totals)
		return nil
	}
	var out any = ledger
	if c.Tenant != "" {
		out = tenantLedger{totals, ledger.Lines}
	}
	encoder := json.NewEncoder(t.out)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(out); err != nil {
		return fmt.Errorf("printing the ledger: %w", err)
	}
	return nil
}

// printLedger shows a line for each tenant or step, the stages from left to right,
// and the reasons below.
func printLedger(t terminal, ledger *analytics.Ledger, totals analytics.Totals) {
	t.table("tenant | from | received | dropped at edge | accepted | enriched | dropped by enrich | written | dropped by sink | replayed | recovered | open | missing | doubled", func(row func(...any)) {
		line := func(name, from string, of *analytics.Totals) {
			if name == "" {
				name = "(none)"
			}
			row(name, from, of.Received, events(of.DroppedAtEdge), of.Accepted, of.Enriched, events(of.DroppedLater[stageEnrich()]), of.Written,
				events(of.DroppedLater[stageSink()]), of.Replayed, of.Recovered, of.Open, of.Missing, of.Doubled)
		}
		for i := range ledger.Lines {
			l := &ledger.Lines[i]
			line(l.CompanyID, l.From.Format("2006-01-02 15:04Z"), &l.Totals)
		}
		for _, name := range slices.Sorted(maps.Keys(ledger.Tenants)) {
			of := ledger.Tenants[name]
			line(name, "total", &of)
		}
		if len(ledger.Tenants) > 1 {
			line("all", "total", &totals)
		}
	})
	printDropped(t, totals)
	switch {
	case !totals.Balanced:
		t.printf("\nDoes not balance: %d missing at enrich, %d missing at the sink, %d doubled.\n", totals.MissingAtEnrich, totals.MissingAtSink, totals.Doubled)
	case totals.Open > 0:
		t.printf("\nBalanced, with %d on their way.\n", totals.Open)
	default:
		t.printf("\nBalanced.\n")
	}
}

func stageEnrich() string { return schemas.Label(metivav1.Stage_STAGE_ENRICH) }
func stageSink() string   { return schemas.Label(metivav1.Stage_STAGE_SINK) }

func events(reasons map[string]uint64) (n uint64) {
	for _, count := range reasons {
		n += count
	}
	return n
}

func printDropped(t terminal, totals analytics.Totals) {
	stages := map[string]map[string]uint64{schemas.Label(metivav1.Stage_STAGE_COLLECTOR): totals.DroppedAtEdge}
	maps.Copy(stages, totals.DroppedLater)
	some := false
	for _, reasons := range stages {
		some = some || len(reasons) > 0
	}
	if !some {
		return
	}
	t.printf("\nDropped, by stage and reason\n")
	t.table("stage | reason | events", func(row func(...any)) {
		for _, stage := range slices.Sorted(maps.Keys(stages)) {
			for _, reason := range slices.Sorted(maps.Keys(stages[stage])) {
				row(stage, reason, stages[stage][reason])
			}
		}
	})
}
