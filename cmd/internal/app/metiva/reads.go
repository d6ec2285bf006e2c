package metiva

import (
	"context"
	"fmt"
	"time"

	"github.com/metiva-io/metiva/cmd/internal/stack"
	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/pkg/core/analytics"
	"github.com/metiva-io/metiva/pkg/secret"
	"github.com/metiva-io/metiva/pkg/tenant"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// withClickHouse opens the ClickHouse of the flags, or of the stack running in
// the data directory.
func (f storeFlags) withClickHouse(do func(*clickhouse.Conn) error) error {
	url := f.ClickHouseURL
	if url.IsZero() {
		running, err := stack.Find(f.Data)
		if err != nil {
			return err
		}
		url = running.ClickHouseURL
	}
	conn, err := f.openClickHouse(url)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	return do(conn)
}

// openClickHouse opens an address: of the flags, whose authority goes with it, or
// of the stack's own engine.
func (f storeFlags) openClickHouse(url secret.Text) (*clickhouse.Conn, error) {
	cfg := clickhouse.Config{URL: url}
	if !f.ClickHouseURL.IsZero() {
		cfg.TLSCAFile = f.ClickHouseCA
	}
	return clickhouse.Open(cfg)
}

func printCompanies(t terminal, companies []analytics.Company) {
	if len(companies) == 0 {
		t.printf("  none\n")
		return
	}
	t.table("  company | domain | visits | pages | confidence | named by | last seen", func(row func(...any)) {
		for _, c := range companies {
			row("  "+c.Name, c.Domain, c.Visits, c.Pages, fmt.Sprintf("%.2f", c.Confidence), c.Reason, c.LastSeen.Local().Format(time.DateTime))
		}
	})
}

// printScores shows the visits that enrich has assembled, and what they were worth.
func printScores(t terminal, companies []analytics.VisitingCompany) {
	if len(companies) == 0 {
		return
	}
	t.printf("\nScores: of each company's best day\n")
	t.table("  company | score | visits | pages | first seen | last seen", func(row func(...any)) {
		for _, c := range companies {
			first := "-"
			if c.FirstSeen.Unix() > 0 {
				first = c.FirstSeen.Format(time.DateOnly)
			}
			row("  "+c.Name, c.Score, c.Visits, c.PageViews, first, c.LastSeen.Local().Format(time.DateTime))
		}
	})
}

func printCoverage(t terminal, coverage []analytics.VerdictCount) {
	t.table("  reason | visits | events", func(row func(...any)) {
		for _, v := range coverage {
			if v.Verdict != schemas.Label(metivav1.Verdict_VERDICT_COMPANY) {
				row("  "+v.Verdict, v.Visits, v.Events)
			}
		}
	})
}

func printFiltered(t terminal, filtered []analytics.ClassCount) {
	if len(filtered) == 0 {
		return
	}
	t.printf("\nFiltered: automated visitors, by class\n")
	t.table("  class | visits | events", func(row func(...any)) {
		for _, c := range filtered {
			row("  "+c.Class, c.Visits, c.Events)
		}
	})
}

type companiesCommand struct {
	storeFlags
	Company string        `required:"" help:"Tenant (cmp_…)."`
	Since   time.Duration `default:"720h" help:"How far back to look."`
}

// Run lists the visiting companies, and why the others are not shown.
func (c *companiesCommand) Run(ctx context.Context, t terminal) error {
	claim, err := tenant.OperatorClaim(c.Company, operator())
	if err != nil {
		return err
	}
	return c.withClickHouse(func(conn *clickhouse.Conn) error {
		reader, err := analytics.NewReader(conn, claim)
		if err != nil {
			return err
		}
		period := analytics.Period{From: time.Now().Add(-c.Since), To: time.Now().Add(time.Hour)}
		companies, err := reader.Companies(ctx, period, companiesMax)
		if err != nil {
			return err
		}
		coverage, err := reader.Coverage(ctx, period)
		if err != nil {
			return err
		}
		filtered, err := reader.Filtered(ctx, period)
		if err != nil {
			return err
		}
		printCompanies(t, companies)
		scored, err := reader.VisitingCompanies(ctx, analytics.CompanyFilter{Filter: analytics.Filter{Period: period}, Sort: analytics.ByScore}, analytics.Page{Limit: companiesMax})
		if err != nil {
			return err
		}
		printScores(t, scored.Items)
		t.printf("\nNot shown, by reason\n")
		printCoverage(t, coverage)
		printFiltered(t, filtered)
		return nil
	})
}
