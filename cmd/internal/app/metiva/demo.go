package metiva

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/metiva-io/metiva/cmd/internal/stack"
	"github.com/metiva-io/metiva/collector/snippet/chromium"
	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/pkg/core/analytics"
	"github.com/metiva-io/metiva/pkg/tenant"
)

// demoCommand drives visits through a stack in a temporary directory.
type demoCommand struct {
	dataFlags
	Keep bool `help:"Keep the data directory and print where it is."`
}

// demoResult is the last line of the demo.
type demoResult struct {
	Received  uint64            `json:"received"`
	Accepted  uint64            `json:"accepted"`
	Dropped   map[string]uint64 `json:"dropped"`
	Written   uint64            `json:"written"`
	Companies []string          `json:"companies"`
	Balanced  bool              `json:"balanced"`
	Seconds   float64           `json:"seconds"`

	sites []demoSiteResult
}

// demoSiteResult is what one tenant would see.
type demoSiteResult struct {
	name      string
	companies []analytics.Company
	coverage  []analytics.VerdictCount
}

var errUnbalanced = errors.New("the ledger does not balance")

// Run drives the demo. It fails when the ledger does not balance.
func (c *demoCommand) Run(ctx context.Context, t terminal) error {
	began := time.Now()
	data, err := os.MkdirTemp("", "metiva-demo-")
	if err != nil {
		return fmt.Errorf("making a temporary data directory: %w", err)
	}
	// Postgres, as root, runs as another user and has to pass through.
	if err := os.Chmod(data, 0o755); err != nil { //nolint:gosec // see above; what is inside is closed
		return fmt.Errorf("opening the temporary data directory: %w", err)
	}
	if c.Keep {
		t.printf("the data stays in %s\n", data)
	} else {
		defer func() { _ = stack.Remove(data) }()
	}
	flags := storeFlags{dataFlags: c.dataFlags}
	flags.Data = data
	cfg, err := flags.stackConfig(t)
	if err != nil {
		return err
	}
	var result demoResult
	err = stack.Run(ctx, cfg, func(ctx context.Context, s *stack.Stack) error {
		demo, err := s.SeedDemo(ctx)
		if err != nil {
			return err
		}
		var failed error
		return errors.Join(serveDemoSites(ctx, s, demo, func() {
			t.printf("\nsending visits\n")
			browser, err := chromium.Find(os.Getenv)
			if err != nil {
				t.printf("no Chromium here: the demo website is not loaded in a browser (make chromium installs one)\n")
				browser = ""
			}
			result, failed = runVisits(ctx, s, demo, browser)
		}), failed)
	})
	if err != nil {
		return err
	}
	result.Seconds = time.Since(began).Seconds()
	result.print(t)
	if !result.Balanced {
		return errUnbalanced
	}
	return nil
}

// runVisits sends every visit, waits until each event is accounted for, and
// reads what the tenants would see. Without a Chromium the visits are those
// through the HTTP door.
func runVisits(ctx context.Context, s *stack.Stack, demo stack.Demo, browser string) (demoResult, error) {
	d := newDriver(s.Addresses().CollectorURL, demo.Sites)
	if err := d.untilKnown(ctx); err != nil {
		return demoResult{}, err
	}
	for _, v := range demoVisits() {
		if err := d.visit(ctx, v); err != nil {
			return demoResult{}, err
		}
	}
	if err := d.refusals(ctx); err != nil {
		return demoResult{}, err
	}
	if browser != "" {
		for _, site := range demo.Sites {
			if err := browse(ctx, browser, site.Origin+"/"); err != nil {
				return demoResult{}, err
			}
			d.sent++ // at least its page view
		}
	}
	conn, err := clickhouse.Open(clickhouse.Config{URL: s.Addresses().ClickHouseURL})
	if err != nil {
		return demoResult{}, err
	}
	defer func() { _ = conn.Close() }()
	ledger, err := settled(ctx, analytics.NewOperator(conn), uint64(d.sent))
	if err != nil {
		return demoResult{}, err
	}
	return readResult(ctx, conn, demo, ledger)
}

const (
	settleTimeout = 45 * time.Second
	settleEvery   = 200 * time.Millisecond
	demoPeriod    = 24 * time.Hour
	companiesMax  = 100
)

// settled waits until the ledger has received what was sent and balances. What
// it is at the time-out is returned as it is: the caller reports it.
func settled(ctx context.Context, operator *analytics.Operator, sent uint64) (analytics.Ledger, error) {
	deadline := time.After(settleTimeout)
	tick := time.NewTicker(settleEvery)
	defer tick.Stop()
	for {
		ledger, err := operator.Ledger(ctx, time.Now().Add(-demoPeriod))
		if err != nil {
			return analytics.Ledger{}, err
		}
		if ledger.Total.Received >= sent && ledger.Total.Balanced && ledger.Total.Unreported == 0 {
			return ledger, nil
		}
		select {
		case <-deadline:
			// Nothing was killed: whatever was sent has to be reported.
			ledger.Total.Balanced = ledger.Total.Balanced && ledger.Total.Received >= sent && ledger.Total.Unreported == 0
			return ledger, nil
		case <-ctx.Done():
			return analytics.Ledger{}, ctx.Err()
		case <-tick.C:
		}
	}
}

func readResult(ctx context.Context, conn *clickhouse.Conn, demo stack.Demo, ledger analytics.Ledger) (demoResult, error) {
	result := demoResult{
		Received: ledger.Total.Received, Accepted: ledger.Total.Accepted, Written: ledger.Total.Written,
		Balanced: ledger.Total.Balanced, Dropped: make(map[string]uint64), Companies: []string{},
	}
	for reason, n := range ledger.Total.DroppedAtEdge {
		result.Dropped[reason] += n
	}
	for _, reasons := range ledger.Total.DroppedLater {
		for reason, n := range reasons {
			result.Dropped[reason] += n
		}
	}
	period := analytics.Period{From: time.Now().Add(-demoPeriod), To: time.Now().Add(time.Hour)}
	for _, site := range demo.Sites {
		claim, err := tenant.OperatorClaim(site.CompanyID, operator())
		if err != nil {
			return demoResult{}, err
		}
		reader, err := analytics.NewReader(conn, claim)
		if err != nil {
			return demoResult{}, err
		}
		companies, err := reader.Companies(ctx, period, companiesMax)
		if err != nil {
			return demoResult{}, err
		}
		coverage, err := reader.Coverage(ctx, period)
		if err != nil {
			return demoResult{}, err
		}
		result.sites = append(result.sites, demoSiteResult{site.Name, companies, coverage})
		for _, c := range companies {
			if !slices.Contains(result.Companies, c.Name) {
				result.Companies = append(result.Companies, c.Name)
			}
		}
	}
	slices.Sort(result.Companies)
	return result, nil
}

func (r demoResult) print(t terminal) {
	for _, site := range r.sites {
		t.printf("\nCompanies that visited %s\n", site.name)
		printCompanies(t, site.companies)
		t.printf("\nNot shown, by reason\n")
		printCoverage(t, site.coverage)
	}
	t.printf("\nDropped, by reason\n")
	t.table("reason | events", func(row func(...any)) {
		reasons := make([]string, 0, len(r.Dropped))
		for reason := range r.Dropped {
			reasons = append(reasons, reason)
		}
		slices.Sort(reasons)
		for _, reason := range reasons {
			row(reason, r.Dropped[reason])
		}
	})
	t.printf("\n")
	_ = json.NewEncoder(t.out).Encode(r)
}
