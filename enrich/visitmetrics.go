package enrich

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/metiva-io/metiva/enrich/visit"
)

type visitMetrics struct {
	events     *prometheus.CounterVec
	records    *prometheus.CounterVec
	evictions  *prometheus.CounterVec
	dropped    prometheus.Counter
	unreadable prometheus.Counter
	failed     *prometheus.CounterVec
	restore    prometheus.Histogram
	again      prometheus.Counter
	missed     prometheus.Counter
	journals   *prometheus.GaugeVec
	bytes      *prometheus.GaugeVec
	checkpoint *prometheus.GaugeVec
}

func newVisitMetrics(reg prometheus.Registerer) (*visitMetrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	vector := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
	}
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, []string{"partition"})
	}
	m := &visitMetrics{
		events:     vector("metiva_enrich_visit_events_total", "Events given to visits, by outcome: added, late (added out of order), repeated, lost (late for what is folded away), folded (left a full journal).", "outcome"),
		records:    vector("metiva_enrich_visit_records_total", "Acknowledged records of visits, by kind: visit, removal, state, checkpoint, tombstone.", "kind"),
		evictions:  vector("metiva_enrich_visit_evictions_total", "Journals of visits that left memory, by cause: age, size.", "cause"),
		dropped:    counter("metiva_enrich_visit_dropped_total", "Journals taken out because their visitor or tenant was erased or the visitor withdrew."),
		unreadable: counter("metiva_enrich_visit_unreadable_total", "States of visits that could not be written or read."),
		failed:     vector("metiva_enrich_visit_failures_total", "Attempts that failed and are repeated, by what: send, checkpoint.", "what"),
		restore: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "metiva_enrich_visit_restore_seconds", Help: "Time to restore the visits of a partition before its first batch.", Buckets: prometheus.ExponentialBuckets(0.005, 2, 14),
		}),
		again:      counter("metiva_enrich_visit_replayed_total", "Records of events.collected read again to restore visits."),
		missed:     counter("metiva_enrich_visit_missed_total", "Records that retention removed before visits could be restored from them."),
		journals:   gauge("metiva_enrich_visit_journals", "Journals of visits at hand, by partition."),
		bytes:      gauge("metiva_enrich_visit_bytes", "Memory of the journals, about, by partition."),
		checkpoint: gauge("metiva_enrich_visit_checkpoint_time_seconds", "When the last checkpoint of visits was acknowledged, Unix seconds, by partition."),
	}
	var faults []error
	for _, c := range []prometheus.Collector{
		m.events, m.records, m.evictions, m.dropped, m.unreadable, m.failed, m.restore, m.again, m.missed, m.journals, m.bytes, m.checkpoint,
	} {
		if err := reg.Register(c); err != nil {
			faults = append(faults, fmt.Errorf("registering metrics of visits: %w", err))
		}
	}
	return m, errors.Join(faults...)
}

// note exports what a set has met since before.
func (m *visitMetrics) note(partition int, s *visit.Set, before visit.Counts) visit.Counts {
	now := s.Counts()
	for outcome, n := range map[string]uint64{
		"added": now.Added - before.Added, "late": now.Late - before.Late, "repeated": now.Repeated - before.Repeated,
		"lost": now.Lost - before.Lost, "folded": now.Folded - before.Folded,
	} {
		m.events.WithLabelValues(outcome).Add(float64(n))
	}
	m.evictions.WithLabelValues("age").Add(float64(now.EvictedByAge - before.EvictedByAge))
	m.evictions.WithLabelValues("size").Add(float64(now.EvictedBySize - before.EvictedBySize))
	m.dropped.Add(float64(now.Dropped - before.Dropped))
	m.unreadable.Add(float64(now.Unreadable - before.Unreadable))
	journals, bytes := s.Size()
	m.journals.WithLabelValues(strconv.Itoa(partition)).Set(float64(journals))
	m.bytes.WithLabelValues(strconv.Itoa(partition)).Set(float64(bytes))
	return now
}

// forget ends the series of a partition that this process gives back.
func (m *visitMetrics) forget(partition int) {
	for _, v := range []*prometheus.GaugeVec{m.journals, m.bytes, m.checkpoint} {
		v.DeleteLabelValues(strconv.Itoa(partition))
	}
}
