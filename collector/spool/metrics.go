package spool

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics of a spool. No label comes from a record.
type metrics struct {
	appends     prometheus.Counter
	fsync       prometheus.Histogram
	replayed    prometheus.Counter
	full        prometheus.Counter
	damaged     prometheus.Counter
	tornBytes   prometheus.Counter
	diskErrors  *prometheus.CounterVec
	bytes       prometheus.GaugeFunc
	records     prometheus.GaugeFunc
	oldest      prometheus.GaugeFunc
	capacity    prometheus.Gauge
	segmentsNew prometheus.Counter
}

// diskOperations are the values of the label operation.
var diskOperations = [...]string{"create", "write", "sync", "truncate", "remove", "read", "progress"}

func newMetrics(reg prometheus.Registerer, s *Spool) (*metrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "metiva_collector_spool_" + name, Help: help})
	}
	gauge := func(name, help string, value func() float64) prometheus.GaugeFunc {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "metiva_collector_spool_" + name, Help: help}, value)
	}
	m := &metrics{
		appends:  counter("appended_records_total", "Records fsynced into the spool."),
		replayed: counter("finished_records_total", "Records moved past: Kafka has them, or they are not to be sent any more."),
		full:     counter("full_refusals_total", "Appends refused because the spool was full."),
		damaged:  counter("damaged_bytes_total", "Bytes of segments that could not be read and were skipped: acknowledged records may be lost."),
		tornBytes: counter("torn_bytes_total", "Bytes cut off the last segment at the start: a crash came before their fsync,"+
			" and nobody was told they were durable."),
		segmentsNew: counter("segments_total", "Segments begun."),
		fsync: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "metiva_collector_spool_fsync_seconds", Help: "Time of one write and its fsync.",
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5},
		}),
		diskErrors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "metiva_collector_spool_disk_errors_total", Help: "Operations on the spool's files that failed.",
		}, []string{"operation"}),
		capacity: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "metiva_collector_spool_capacity_bytes", Help: "What the spool may hold.",
		}),
		bytes:   gauge("bytes", "What the spool holds on disk, finished records of unfinished segments included.", func() float64 { return float64(s.Stats().Bytes) }),
		records: gauge("records", "Records that are not finished.", func() float64 { return float64(s.Stats().Records) }),
		oldest:  gauge("oldest_age_seconds", "Age of the oldest unfinished record.", func() float64 { return s.Stats().OldestAge.Seconds() }),
	}
	for _, operation := range diskOperations {
		m.diskErrors.WithLabelValues(operation)
	}
	var errs []error
	for _, c := range []prometheus.Collector{
		m.appends, m.fsync, m.replayed, m.full, m.damaged, m.tornBytes, m.diskErrors, m.bytes, m.records, m.oldest, m.capacity, m.segmentsNew,
	} {
		errs = append(errs, reg.Register(c))
	}
	return m, errors.Join(errs...)
}
