package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/pkg/core/analytics"
	embeddedclickhouse "github.com/metiva-io/metiva/pkg/embedded/clickhouse"
	"github.com/metiva-io/metiva/pkg/embedded/supervise"
	"github.com/metiva-io/metiva/pkg/secret"
	schema "github.com/metiva-io/metiva/schemas/clickhouse"
)

// ReadsConfig is the size of a run of RunReads.
type ReadsConfig struct {
	// BinDir holds the binary metiva, which the embedded ClickHouse is, and
	// LibraryPath its library.
	BinDir      string
	LibraryPath string
	// Rows is how many rows events has at least; visits are about a third of them.
	Rows int
	// Asks is how often each question is asked.
	Asks int
	// KeepDir, when given, keeps the filled tables, and has them used again.
	KeepDir string
	// Only, when given, are the questions that are asked.
	Only []string
	// Progress receives one line for each step.
	Progress io.Writer
	Log      *slog.Logger
}

const (
	readRowsMin = 10_000
	readRowsMax = 100_000_000
	asksMax     = 10_000
	serverTable = "clickhouse"
	// seedOfAsks makes the parameters of two runs the same.
	seedOfAsks = 6
)

// Validate reports every fault.
func (c ReadsConfig) Validate() error {
	var faults []error
	if c.BinDir == "" || c.LibraryPath == "" || c.Log == nil || c.Progress == nil {
		faults = append(faults, errors.New("bench: the folder with the binaries, the library, the log or the progress is missing"))
	}
	if c.Rows < readRowsMin || c.Rows > readRowsMax {
		faults = append(faults, fmt.Errorf("bench: rows must be between %d and %d", readRowsMin, readRowsMax))
	}
	if c.Asks < 1 || c.Asks > asksMax {
		faults = append(faults, fmt.Errorf("bench: a question is asked between 1 and %d times", asksMax))
	}
	for _, name := range c.Only {
		if !slices.ContainsFunc(readQuestions(), func(q readQuestion) bool { return q.name == name }) {
			faults = append(faults, fmt.Errorf("bench: there is no question %q", name))
		}
	}
	return errors.Join(faults...)
}

// readTenant is a tenant of the run's own database.
type readTenant string

// CompanyID is the tenant's id.
func (t readTenant) CompanyID() string { return string(t) }

// RunReads fills an embedded ClickHouse and puts every question of a tenant to it, as
// the largest tenant, with parameters that vary. Everything it started has ended when
// it returns, whatever the error.
func RunReads(ctx context.Context, cfg ReadsConfig) (report ReadsReport, err error) {
	if err := cfg.Validate(); err != nil {
		return ReadsReport{}, err
	}
	r, c, err := readsRig(ctx, cfg)
	if err != nil {
		return ReadsReport{}, err
	}
	defer func() { err = errors.Join(err, c.Close(), r.stop()) }()
	say := func(format string, args ...any) { _, _ = fmt.Fprintf(cfg.Progress, format+"\n", args...) }
	until := time.Now().UTC()
	if err := readyTables(ctx, cfg, c, until, say); err != nil {
		return ReadsReport{}, fmt.Errorf("%w%s", err, r.lastLines(serverTable))
	}
	if err := settle(ctx, c, say); err != nil {
		return ReadsReport{}, err
	}
	if report.sizes, err = tableSizes(ctx, c); err != nil {
		return ReadsReport{}, err
	}
	reader, err := analytics.NewReader(c, readTenant(readTenants()[0]))
	if err != nil {
		return ReadsReport{}, err
	}
	say("asking as the tenant of half the rows, %d times each", cfg.Asks)
	for _, q := range readQuestions() {
		if len(cfg.Only) > 0 && !slices.Contains(cfg.Only, q.name) {
			continue
		}
		asked, err := askRepeatedly(ctx, reader, q, cfg.Asks, until, r.pid(serverTable))
		if err != nil {
			return ReadsReport{}, fmt.Errorf("asking %s: %w%s", q.name, err, r.lastLines(serverTable))
		}
		report.questions = append(report.questions, asked)
		say("%s", asked.line())
	}
	return report, nil
}

// askRepeatedly asks once to warm up, and then as often as measured.
func askRepeatedly(ctx context.Context, reader *analytics.Reader, q readQuestion, asks int, until time.Time, engine int) (askedQuestion, error) {
	rng := rand.New(rand.NewPCG(seedOfAsks, uint64(len(q.name)))) //nolint:gosec // the same parameters in each run
	asked := askedQuestion{name: q.name, times: make(map[int][]time.Duration)}
	var before time.Duration
	for i := range asks + 1 {
		p := readParameters{rng: rng, n: i, until: until}
		days := p.days()
		began := time.Now()
		if err := q.ask(ctx, reader, p); err != nil {
			return askedQuestion{}, err
		}
		took := time.Since(began)
		cpu, err := cpuOf(engine)
		if err != nil {
			return askedQuestion{}, err
		}
		if i > 0 {
			asked.times[days] = append(asked.times[days], took)
			asked.cpu += cpu - before
		}
		before = cpu
	}
	return asked, nil
}

// readsRig starts the engine and connects to it.
func readsRig(ctx context.Context, cfg ReadsConfig) (*rig, *clickhouse.Conn, error) {
	if _, err := os.Stat(filepath.Join(cfg.BinDir, "metiva")); err != nil {
		return nil, nil, errors.New("the binary metiva is missing: run make build")
	}
	dir, err := os.MkdirTemp("", "metiva-bench-")
	if err != nil {
		return nil, nil, fmt.Errorf("making a directory for the run: %w", err)
	}
	r := newEngineRig(cfg.BinDir, dir, cfg.Log)
	data := filepath.Join(dir, "data")
	if cfg.KeepDir != "" {
		data = cfg.KeepDir
	}
	socket := filepath.Join(dir, "ch.sock")
	err = os.MkdirAll(data, 0o700)
	if err == nil {
		err = r.launch(ctx, serverTable, socket, supervise.Spec{
			Path: filepath.Join(cfg.BinDir, "metiva"), Args: []string{"embedded", "clickhouse", "--data", data, "--socket", socket, "--library", cfg.LibraryPath},
			Ready: func(ctx context.Context) error { return embeddedclickhouse.Probe(ctx, socket) },
		})
	}
	if err != nil {
		return nil, nil, errors.Join(err, r.stop())
	}
	c, err := clickhouse.Open(clickhouse.Config{URL: secret.New("http+unix://" + socket + "?database=metiva"), ReadTimeout: fillReadTimeout})
	if err != nil {
		return nil, nil, errors.Join(err, r.stop())
	}
	return r, c, nil
}

// readyTables migrates and fills the database, unless it was kept.
func readyTables(ctx context.Context, cfg ReadsConfig, c *clickhouse.Conn, until time.Time, say func(string, ...any)) error {
	if _, err := clickhouse.Migrate(ctx, c, schema.Files, cfg.Log); err != nil {
		return err
	}
	var rows uint64
	if err := c.QueryRow(ctx, "SELECT count() FROM events").Scan(&rows); err != nil {
		return fmt.Errorf("counting the rows that are there: %w", err)
	}
	if rows == 0 {
		say("filling %d rows of %d tenants over %d days", cfg.Rows, len(readTenants()), fillDays)
		began := time.Now()
		if err := fillReads(ctx, c, cfg.Rows, until, say); err != nil {
			return err
		}
		say("filled in %s", time.Since(began).Round(time.Second))
		if err := agePast(ctx, c); err != nil {
			return err
		}
	}
	began, counted := time.Now(), 0
	for {
		n, err := analytics.NewCounter(c).Count(ctx, countAtOnce)
		if err != nil {
			return err
		}
		if counted += n; n == 0 {
			break
		}
	}
	if counted > 0 {
		say("counted %d days of buckets in %s", counted, time.Since(began).Round(time.Second))
	}
	return nil
}

const (
	// settledWithin is how long the engine may take to put away what the filling left.
	settledWithin = 6 * time.Minute
	// replacedMax is how many parts may wait to be deleted: a late merge replaces a few.
	replacedMax = 100
)

// settle waits until the engine has merged what was written and deleted the parts that
// were replaced, but for a few, which it keeps for minutes and then deletes a file at a time, with a sync
// for each folder. No store in use has months of writes behind it in five minutes, and
// meanwhile an answer takes up to twice as long.
func settle(ctx context.Context, c *clickhouse.Conn, say func(string, ...any)) error {
	began := time.Now()
	looks := time.NewTicker(time.Second)
	defer looks.Stop()
	for {
		var replaced, merges uint64
		err := c.QueryRow(ctx, "SELECT countIf(NOT active), (SELECT count() FROM system.merges) FROM system.parts WHERE database = currentDatabase()").Scan(&replaced, &merges)
		if err != nil {
			return fmt.Errorf("asking what the engine is at: %w", err)
		}
		if merges == 0 && replaced <= replacedMax {
			say("settled after %s", time.Since(began).Round(time.Second))
			return nil
		}
		if time.Since(began) > settledWithin {
			return fmt.Errorf("after %s the engine still has %d merges to do and %d parts to delete", settledWithin, merges, replaced)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-looks.C:
		}
	}
}

// countAtOnce is how many days a counter takes on at a time.
const countAtOnce = 100

// agePast makes the days that were filled just now as old as they look: as if they had
// last been written to an hour ago, so that they may be counted.
func agePast(ctx context.Context, c *clickhouse.Conn) error {
	for _, sql := range []string{
		"TRUNCATE TABLE changed_days",
		"INSERT INTO changed_days (tenant_bucket, company_id, source, day, changed_at) SELECT tenant_bucket, company_id, 'events', toDate(received_at) AS d, now64(3) - 3600 FROM events GROUP BY tenant_bucket, company_id, d",
		"INSERT INTO changed_days (tenant_bucket, company_id, source, day, changed_at) SELECT tenant_bucket, company_id, 'visits', toDate(started_at) AS d, now64(3) - 3600 FROM visits GROUP BY tenant_bucket, company_id, d",
	} {
		if err := c.Exec(ctx, sql, clickhouse.Setting("max_partitions_per_insert_block", 0)); err != nil {
			return fmt.Errorf("ageing the filled days: %w", err)
		}
	}
	return nil
}
