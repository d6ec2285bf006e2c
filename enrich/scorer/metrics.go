package scorer

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/metiva-io/metiva/enrich/score"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// Why a state was removed, and why a visit had no part in a score, as they stand in
// labels besides score.Outcome.
const (
	forgottenRetention = "retention"
	forgottenErasure   = "erasure"
	forgottenMemory    = "memory"

	skippedNotShown = "not_shown"
	skippedErased   = "erased"
	skippedInvalid  = "invalid"
	skippedAhead    = "ahead"
)

type metrics struct {
	visits    *prometheus.CounterVec
	outcomes  map[score.Outcome]prometheus.Counter
	days      prometheus.Counter
	signals   map[metivav1.SignalKind]prometheus.Counter
	forgotten *prometheus.CounterVec
	control   *prometheus.CounterVec
	accounts  *prometheus.GaugeVec
	bytes     *prometheus.GaugeVec
	lag       *prometheus.GaugeVec
	batch     prometheus.Histogram
	restore   prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	vector := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
	}
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, []string{"partition"})
	}
	signals := vector("metiva_score_signals_total", "Signals published, by kind.", "kind")
	m := &metrics{
		visits:    vector("metiva_score_visits_total", "Versions of visits read, by outcome: applied, stale, late, full, not_shown, erased, ahead, invalid.", "outcome"),
		days:      prometheus.NewCounter(prometheus.CounterOpts{Name: "metiva_score_account_days_total", Help: "Records of an account's day published."}),
		forgotten: vector("metiva_score_accounts_forgotten_total", "States of accounts removed, by reason: retention, erasure, memory.", "reason"),
		control:   vector("metiva_score_control_invalid_total", "Records of control topics and of accounts.state that could not be read as they are, by topic.", "topic"),
		accounts:  gauge("metiva_score_accounts", "Accounts in memory, by partition."),
		bytes:     gauge("metiva_score_state_bytes", "Memory of the accounts' states, by partition."),
		lag:       gauge("metiva_score_lag_seconds", "Age of the last visit read, from the receipt of its last event at the edge, by partition."),
		batch: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "metiva_score_batch_seconds", Help: "Time from reading a batch to its commit.", Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
		}),
		restore: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "metiva_score_restore_seconds", Help: "Time to read the states of a partition that was taken over.", Buckets: prometheus.ExponentialBuckets(0.01, 2, 14),
		}),
		outcomes: make(map[score.Outcome]prometheus.Counter),
		signals:  make(map[metivav1.SignalKind]prometheus.Counter),
	}
	for _, o := range score.Outcomes() {
		m.outcomes[o] = m.visits.WithLabelValues(o.String())
	}
	for kind, label := range schemas.Labels(metivav1.SignalKind(0)) {
		if kind != 0 {
			m.signals[kind] = signals.WithLabelValues(label)
		}
	}
	for _, reason := range []string{forgottenRetention, forgottenErasure, forgottenMemory} {
		m.forgotten.WithLabelValues(reason)
	}
	var faults []error
	for _, c := range []prometheus.Collector{m.visits, m.days, signals, m.forgotten, m.control, m.accounts, m.bytes, m.lag, m.batch, m.restore} {
		if err := reg.Register(c); err != nil {
			faults = append(faults, fmt.Errorf("registering metrics: %w", err))
		}
	}
	return m, errors.Join(faults...)
}

func (m *metrics) setState(partition int, s *store) {
	label := strconv.Itoa(partition)
	m.accounts.WithLabelValues(label).Set(float64(len(s.byKey)))
	m.bytes.WithLabelValues(label).Set(float64(s.bytes))
}

func (m *metrics) setLag(partition int, age time.Duration) {
	m.lag.WithLabelValues(strconv.Itoa(partition)).Set(max(age, 0).Seconds())
}

// forget ends the series of a partition that this process gives back: their last
// values would stand for ever.
func (m *metrics) forget(partition int) {
	for _, g := range []*prometheus.GaugeVec{m.accounts, m.bytes, m.lag} {
		g.DeleteLabelValues(strconv.Itoa(partition))
	}
}
