package ledgercheck

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/metiva-io/metiva/pkg/core/analytics"
)

// Config tunes the comparison. Zero values mean the default.
type Config struct {
	// Interval is the pause between two comparisons (default 5 min).
	Interval time.Duration
	// Settle is the age at which an event must have its row (default 10 min).
	Settle time.Duration
	// Window is how far back every hour is compared each time (default 3 h).
	Window time.Duration
	// KeepDifferent is how long an hour that does not balance is compared again
	// (default 168 h, as long as Kafka keeps events).
	KeepDifferent time.Duration
	// LateEvery is the pause between two comparisons of every hour of KeepDifferent
	// (default 24 h): what collectors kept in their spools for longer than Window comes to
	// hours that were compared without it.
	LateEvery time.Duration
}

// Validate reports every fault of the configuration.
func (c Config) Validate() error {
	var faults []error
	for name, d := range map[string]time.Duration{"Interval": c.Interval, "Settle": c.Settle, "Window": c.Window, "KeepDifferent": c.KeepDifferent, "LateEvery": c.LateEvery} {
		if d < 0 || d > 31*24*time.Hour {
			faults = append(faults, fmt.Errorf("ledgercheck: %s %s is not between 0 and 744 h", name, d))
		}
	}
	return errors.Join(faults...)
}

func (c Config) withDefaults() Config {
	for _, d := range []struct {
		value *time.Duration
		is    time.Duration
	}{{&c.Interval, 5 * time.Minute}, {&c.Settle, 10 * time.Minute}, {&c.Window, 3 * time.Hour}, {&c.KeepDifferent, 7 * 24 * time.Hour}, {&c.LateEvery, 24 * time.Hour}} {
		if *d.value == 0 {
			*d.value = d.is
		}
	}
	return c
}

// Ledger is where counts are and results are kept (analytics.Operator).
type Ledger interface {
	AddUp(ctx context.Context, q analytics.LedgerQuestion) (analytics.Ledger, error)
	KeepLedgerChecks(ctx context.Context, checks []analytics.LedgerCheck) error
	HoursToCheck(ctx context.Context, since time.Time) (unbalanced []time.Time, newest time.Time, err error)
	KeptLedgerChecks(ctx context.Context, from, to time.Time) ([]analytics.LedgerCheck, error)
}

// Deps are what the comparison works with. All are needed.
type Deps struct {
	Ledger     Ledger
	Now        func() time.Time
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Pairs of stages, as they stand in the metric's label.
const (
	pairCollectorEnrich = "collector_enrich"
	pairEnrichSink      = "enrich_sink"
	pairDoubled         = "doubled"
)

type metrics struct {
	difference *prometheus.GaugeVec
	hours      prometheus.Gauge
	last, late prometheus.Gauge
	failures   prometheus.Counter
	took       prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		difference: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "metiva_ledger_difference_events",
			Help: "Events that the ledger lacks behind a stage or has twice, over all hours that do not balance.",
		}, []string{"pair"}),
		hours: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "metiva_ledger_unbalanced_hours", Help: "Hours of tenants that do not balance.",
		}),
		last: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "metiva_ledger_last_check_timestamp_seconds", Help: "When the last comparison of the ledger ended.",
		}),
		late: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "metiva_ledger_last_late_check_timestamp_seconds", Help: "When all hours of the last days were last compared; 0 before the first time.",
		}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "metiva_ledger_check_failures_total", Help: "Comparisons of the ledger that could not be made.",
		}),
		took: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "metiva_ledger_check_seconds", Help: "Time of one comparison of the ledger.", Buckets: prometheus.ExponentialBuckets(0.01, 4, 8),
		}),
	}
	for _, c := range []prometheus.Collector{m.difference, m.hours, m.last, m.late, m.failures, m.took} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("registering the metrics of the ledger's comparison: %w", err)
		}
	}
	for _, pair := range []string{pairCollectorEnrich, pairEnrichSink, pairDoubled} {
		m.difference.WithLabelValues(pair).Set(0)
	}
	return m, nil
}
