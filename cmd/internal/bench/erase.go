package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/pkg/core/analytics"
)

// EraseSummary is the last line of a run of RunErase: seconds that ClickHouse's part of an
// erasure took, from the first count to the proof that nothing is left.
type EraseSummary struct {
	// Rows is how many events there were.
	Rows           uint64  `json:"rows"`
	VisitorRows    uint64  `json:"visitor_rows"`
	VisitorSeconds float64 `json:"visitor_s"`
	TenantRows     uint64  `json:"tenant_rows"`
	TenantSeconds  float64 `json:"tenant_s"`
}

// eraseStep is one step of an erasure.
type eraseStep struct {
	subject, step string
	took          time.Duration
}

// EraseReport is what a run measured.
type EraseReport struct {
	EraseSummary
	steps []eraseStep
}

// Write prints the steps and, as the last line, the summary as JSON.
func (r EraseReport) Write(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(table, "erased\tstep\tseconds\t") // Flush reports
	for _, s := range r.steps {
		_, _ = fmt.Fprintf(table, "%s\t%s\t%.1f\t\n", s.subject, s.step, s.took.Seconds())
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("printing the table: %w", err)
	}
	if err := json.NewEncoder(w).Encode(r.EraseSummary); err != nil {
		return fmt.Errorf("printing the figures: %w", err)
	}
	return nil
}

// RunErase fills an embedded ClickHouse as RunReads does, erases one visitor of the
// largest tenant, the one with the most events, and then that tenant. It is ClickHouse's
// part alone: no tombstones, and nobody is waited for. Tables that are kept stay as they
// are: the run erases from a copy.
func RunErase(ctx context.Context, cfg ReadsConfig) (report EraseReport, err error) {
	if err := cfg.Validate(); err != nil {
		return EraseReport{}, err
	}
	say := func(format string, args ...any) { _, _ = fmt.Fprintf(cfg.Progress, format+"\n", args...) }
	if cfg.KeepDir != "" {
		var copied string
		if copied, err = copyOfFilled(ctx, cfg, say); copied != "" {
			defer func() { err = errors.Join(err, os.RemoveAll(copied)) }()
		}
		if err != nil {
			return EraseReport{}, err
		}
		cfg.KeepDir = copied
	}
	r, c, err := readsRig(ctx, cfg)
	if err != nil {
		return EraseReport{}, err
	}
	defer func() { err = errors.Join(err, c.Close(), r.stop()) }()
	if err := readyTables(ctx, cfg, c, time.Now().UTC(), say); err != nil {
		return EraseReport{}, fmt.Errorf("%w%s", err, r.lastLines(serverTable))
	}
	if err := c.QueryRow(ctx, "SELECT count() FROM events").Scan(&report.Rows); err != nil {
		return EraseReport{}, fmt.Errorf("counting events: %w", err)
	}
	visitor, err := busiestVisitor(ctx, c)
	if err != nil {
		return EraseReport{}, err
	}
	if report.VisitorRows, report.VisitorSeconds, err = report.erase(ctx, c, "visitor", visitor, say); err != nil {
		return EraseReport{}, fmt.Errorf("erasing a visitor: %w%s", err, r.lastLines(serverTable))
	}
	if report.TenantRows, report.TenantSeconds, err = report.erase(ctx, c, "tenant", nil, say); err != nil {
		return EraseReport{}, fmt.Errorf("erasing a tenant: %w%s", err, r.lastLines(serverTable))
	}
	return report, nil
}

// copyOfFilled makes sure that the kept tables are filled, and copies them.
func copyOfFilled(ctx context.Context, cfg ReadsConfig, say func(string, ...any)) (dir string, err error) {
	r, c, err := readsRig(ctx, cfg)
	if err != nil {
		return "", err
	}
	err = readyTables(ctx, cfg, c, time.Now().UTC(), say)
	if err = errors.Join(err, c.Close(), r.stop()); err != nil {
		return "", err
	}
	if dir, err = os.MkdirTemp("", "metiva-bench-"); err != nil {
		return "", fmt.Errorf("making a directory for the copy: %w", err)
	}
	if err := os.CopyFS(dir, os.DirFS(cfg.KeepDir)); err != nil {
		return dir, fmt.Errorf("copying the filled tables: %w", err)
	}
	return dir, nil
}

// busiestVisitor is the visitor with the most events of the largest tenant.
func busiestVisitor(ctx context.Context, c *clickhouse.Conn) ([]byte, error) {
	var id string
	err := c.QueryRow(ctx, "SELECT toString(visitor_id) FROM events WHERE company_id = {company:String} AND visitor_id != toFixedString('', 16) GROUP BY visitor_id ORDER BY count() DESC, visitor_id LIMIT 1",
		clickhouse.Param("company", readTenants()[0])).Scan(&id)
	if err != nil {
		return nil, fmt.Errorf("looking for a visitor: %w", err)
	}
	return []byte(id), nil
}

// errRowsLeft says that an erasure left rows, which none may.
var errRowsLeft = errors.New("rows are left")

// erase takes the steps pkg/core/erasure takes in ClickHouse, and returns how many rows
// there were.
func (r *EraseReport) erase(ctx context.Context, c *clickhouse.Conn, subject string, visitor []byte, say func(string, ...any)) (rows uint64, seconds float64, err error) {
	e, err := analytics.NewEraser(c, readTenant(readTenants()[0]), visitor)
	if err != nil {
		return 0, 0, err
	}
	sum := func(counts map[string]uint64) (n uint64) {
		for _, of := range counts {
			n += of
		}
		return n
	}
	began := time.Now()
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"count", func() error {
			counts, err := e.Count(ctx)
			rows = sum(counts)
			return err
		}},
		{"drops", func() error { return e.MarkDropped(ctx) }},
		{"delete", func() error { return e.Delete(ctx, began, "bench_"+subject+"/1") }},
		{"verify", func() error {
			counts, err := e.Count(ctx)
			if err == nil && sum(counts) > 0 {
				err = fmt.Errorf("%w: %d", errRowsLeft, sum(counts))
			}
			if err == nil {
				_, err = e.Proof(ctx)
			}
			return err
		}},
	} {
		at := time.Now()
		if err := step.do(); err != nil {
			return 0, 0, err
		}
		r.steps = append(r.steps, eraseStep{subject, step.name, time.Since(at)})
		say("%s: %s took %s", subject, step.name, time.Since(at).Round(time.Millisecond))
	}
	return rows, rounded(time.Since(began).Seconds(), 1), nil
}
