package collector

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// durableMetrics of a Durable. No label names a tenant.
type durableMetrics struct {
	spooled    [len(causeLabels)]prometheus.Counter
	late       prometheus.Counter
	marked     prometheus.Counter
	unmarked   prometheus.Counter
	superseded prometheus.Counter
	refused    prometheus.Counter
	kafkaUp    prometheus.Gauge
}

func newDurableMetrics(reg prometheus.Registerer, d *Durable) (*durableMetrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "metiva_collector_" + name, Help: help})
	}
	spooled := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "metiva_collector_spooled_records_total",
		Help: "Records handed to the spool, by why: hedged (Kafka was slow), stalled (its partition answers nothing), refused" +
			" (Kafka's producer is full, or gave them up), order (a key or consent they rest on is there), stopping.",
	}, []string{"cause"})
	replayed := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "metiva_collector_replayed_records_total",
		Help: "Records sent from the spool and acknowledged; marked ones may be in Kafka twice.",
	}, []string{"marked"})
	m := &durableMetrics{
		late:       counter("hedged_late_records_total", "Records that Kafka acknowledged after they went to the spool; they are not sent again."),
		marked:     replayed.WithLabelValues("true"),
		unmarked:   replayed.WithLabelValues("false"),
		superseded: counter("superseded_records_total", "Spooled records not sent, because something newer stands in Kafka."),
		refused:    counter("replay_refusals_total", "Answers of Kafka that refuse a spooled record for good."),
		kafkaUp:    prometheus.NewGauge(prometheus.GaugeOpts{Name: "metiva_collector_kafka_up", Help: "1 when Kafka answered the last sign of life."}),
	}
	for i, label := range causeLabels {
		if cause(i) != causeNone {
			m.spooled[i] = spooled.WithLabelValues(label)
		}
	}
	stalled := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "metiva_collector_stalled_partitions",
		Help: "Partitions whose records go to the spool, because Kafka does not answer for them.",
	}, func() float64 {
		n := 0
		for _, l := range *d.lanes.Load() {
			if l.stalled.Load() {
				n++
			}
		}
		return float64(n)
	})
	var errs []error
	for _, c := range []prometheus.Collector{spooled, replayed, m.late, m.superseded, m.refused, m.kafkaUp, stalled} {
		errs = append(errs, reg.Register(c))
	}
	return m, errors.Join(errs...)
}
