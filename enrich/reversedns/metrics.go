package reversedns

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	networks [outcomes]prometheus.Counter
	wait     prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	networks := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "metiva_enrich_reverse_dns_networks_total", Help: "Networks whose names were asked for, by outcome; over_budget: batches that did not wait for one.",
	}, []string{"outcome"})
	m := &metrics{wait: prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "metiva_enrich_reverse_dns_wait_seconds", Help: "How long a batch waited for the names of its networks.",
		Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
	})}
	for o := range outcomes {
		m.networks[o] = networks.WithLabelValues(o.String())
	}
	var faults []error
	for _, c := range []prometheus.Collector{networks, m.wait} {
		if err := reg.Register(c); err != nil {
			faults = append(faults, fmt.Errorf("registering metrics: %w", err))
		}
	}
	return m, errors.Join(faults...)
}

func (m *metrics) count(o Outcome) { m.networks[o].Inc() }
