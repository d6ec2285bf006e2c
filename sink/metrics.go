package sink

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	rows      *prometheus.CounterVec
	drops     *prometheus.CounterVec
	expired   *prometheus.CounterVec
	erased    prometheus.Counter
	repeated  prometheus.Counter
	replaced  prometheus.Counter
	missing   *prometheus.CounterVec
	dead      *prometheus.CounterVec
	batches   *prometheus.CounterVec
	retries   *prometheus.CounterVec
	inserts   *prometheus.HistogramVec
	freshness prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		rows: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "metiva_sink_rows_total", Help: "Rows written, by table.",
		}, []string{"table"}),
		drops: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "metiva_sink_drops_total", Help: "Drops written, by the stage that dropped and its reason.",
		}, []string{"stage", "reason"}),
		expired: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "metiva_sink_expired_total", Help: "Versions of visits and of accounts' days that are older than their tenant keeps them, by table.",
		}, []string{"table"}),
		erased: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "metiva_sink_erased_total", Help: "Records of visitors and tenants who were erased, which became a drop or nothing.",
		}),
		repeated: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "metiva_sink_repeated_total", Help: "Records that had their row already and were passed over.",
		}),
		replaced: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "metiva_sink_replaced_total", Help: "Events of a replay whose row was written again.",
		}),
		missing: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "metiva_sink_missing_rows_total", Help: "Rows that ClickHouse took for a repetition and did not have, written under a token of their own, by table.",
		}, []string{"table"}),
		dead: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "metiva_sink_dead_letters_total", Help: "Records put on events.dead, by reason.",
		}, []string{"reason"}),
		batches: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "metiva_sink_batches_total", Help: "Batches committed, by topic.",
		}, []string{"topic"}),
		retries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "metiva_sink_retries_total", Help: "Attempts to write a batch that did not succeed, by topic.",
		}, []string{"topic"}),
		inserts: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "metiva_sink_insert_seconds", Help: "Time of one insert, by table.", Buckets: prometheus.ExponentialBuckets(0.005, 2, 13),
		}, []string{"table"}),
		freshness: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "metiva_sink_freshness_seconds", Help: "From receipt at the collector to the row in ClickHouse, of each event.", Buckets: prometheus.ExponentialBuckets(0.25, 2, 16),
		}),
	}
	for _, c := range []prometheus.Collector{m.rows, m.drops, m.expired, m.erased, m.repeated, m.replaced, m.missing, m.dead, m.batches, m.retries, m.inserts, m.freshness} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
