package retention

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/metiva-io/metiva/pkg/core/analytics"
)

// Config says how often.
type Config struct {
	// Interval is between two runs; a day by default.
	Interval time.Duration
	// RetryAfter is the wait after a run that failed; ten minutes by default.
	RetryAfter time.Duration
}

// DefaultConfig is that of a Config with zeros.
func DefaultConfig() Config {
	return Config{Interval: 24 * time.Hour, RetryAfter: 10 * time.Minute}
}

// Validate lists every fault.
func (c Config) Validate() error {
	var faults []error
	if c.Interval < 0 {
		faults = append(faults, errors.New("the time between two runs of the retention is negative"))
	}
	if c.RetryAfter < 0 {
		faults = append(faults, errors.New("the wait after a failed run of the retention is negative"))
	}
	return errors.Join(faults...)
}

// Rows are those of ClickHouse: an analytics.Retainer.
type Rows interface {
	Shorten(ctx context.Context, of []analytics.Retention) ([]analytics.Beyond, error)
}

// Deps are what a Job works with.
type Deps struct {
	// Sites lists the retention of every site.
	Sites   func(ctx context.Context) ([]analytics.Retention, error)
	Rows    Rows
	Log     *slog.Logger
	Metrics prometheus.Registerer
	Now     func() time.Time
}

// Job applies retentions again and again.
type Job struct {
	cfg  Config
	deps Deps

	runs    *prometheus.CounterVec
	rows    *prometheus.CounterVec
	success prometheus.Gauge
}

// New makes a job.
func New(cfg Config, deps Deps) (*Job, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	d := DefaultConfig()
	if cfg.Interval == 0 {
		cfg.Interval = d.Interval
	}
	if cfg.RetryAfter == 0 {
		cfg.RetryAfter = d.RetryAfter
	}
	j := &Job{
		cfg: cfg, deps: deps,
		runs:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "metiva_retention_runs_total", Help: "Comparisons of rows with their sites' retention, by result: done, failed."}, []string{"result"}),
		rows:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "metiva_retention_shortened_rows_total", Help: "Rows whose end was brought nearer, by table."}, []string{"table"}),
		success: prometheus.NewGauge(prometheus.GaugeOpts{Name: "metiva_retention_last_success_timestamp_seconds", Help: "When all rows were last found or brought within their sites' retention; 0 before the first time."}),
	}
	for _, c := range []prometheus.Collector{j.runs, j.rows, j.success} {
		if err := deps.Metrics.Register(c); err != nil {
			return nil, fmt.Errorf("registering metrics: %w", err)
		}
	}
	for _, result := range []string{"done", "failed"} {
		j.runs.WithLabelValues(result)
	}
	return j, nil
}

// Run applies retentions at once and then at every interval, until ctx ends. A run that
// fails is logged and tried again: it is no reason to end.
func (j *Job) Run(ctx context.Context) error {
	for {
		wait := j.cfg.Interval
		if _, err := j.Once(ctx); err != nil {
			if ctx.Err() != nil {
				return nil //nolint:nilerr // told to stop
			}
			wait = min(wait, j.cfg.RetryAfter)
			j.deps.Log.Error("retention was not applied", "error", err)
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}

// Once applies them now, and returns the rows whose end was brought nearer, also with
// an error: those before it.
func (j *Job) Once(ctx context.Context) (changed []analytics.Beyond, err error) {
	defer func() {
		result := "done"
		if err != nil {
			result = "failed"
		}
		j.runs.WithLabelValues(result).Inc()
	}()
	sites, err := j.deps.Sites(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the sites' retention: %w", err)
	}
	changed, err = j.deps.Rows.Shorten(ctx, sites)
	byTable := make(map[string]uint64)
	for _, b := range changed {
		byTable[b.Table] += b.Rows
	}
	for table, rows := range byTable {
		j.rows.WithLabelValues(table).Add(float64(rows))
		j.deps.Log.Info("rows are kept less long", "table", table, "rows", rows)
	}
	if err != nil {
		return changed, err
	}
	j.success.Set(float64(j.deps.Now().Unix()))
	return changed, nil
}
