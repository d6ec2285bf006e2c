package collector

import (
	"maps"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// metrics of the collector. No label names a tenant, a site or a visitor.
type metrics struct {
	accepted prometheus.Counter
	byReason []prometheus.Counter // by the reason's number

	requests        *prometheus.CounterVec
	kinds           atomic.Pointer[map[requestKind]prometheus.Counter] // of requests; replaced, never changed
	addingKind      sync.Mutex
	requestSeconds  prometheus.Histogram
	panics          prometheus.Counter
	saltMissing     prometheus.Counter
	invalidControl  *prometheus.CounterVec
	serverErrors    prometheus.Counter
	ledgerUnsent    prometheus.Gauge
	dataKeyFailures prometheus.Counter
	limited         *prometheus.CounterVec

	fieldsLeftOut     prometheus.Counter
	propertiesLeftOut prometheus.Counter
	refused           *prometheus.CounterVec
	connections       prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer, siteCount func() int, inFlight func() int64) (*metrics, error) {
	events := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "metiva_collector_events_total",
		Help: "Events by outcome; accepted + dropped + retry are all events received.",
	}, []string{"outcome", "reason"})
	m := &metrics{
		accepted: events.WithLabelValues(outcomeAccepted.String(), "none"),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "metiva_collector_requests_total",
			Help: "Requests by route and status code.",
		}, []string{"route", "status"}),
		requestSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "metiva_collector_request_seconds",
			Help:    "Time from the last byte of a request with events to its answer, acknowledgement included.",
			Buckets: []float64{.001, .0025, .005, .01, .015, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "metiva_collector_panics_total",
			Help: "Events and requests whose handling panicked.",
		}),
		saltMissing: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "metiva_collector_visit_salt_missing_total",
			Help: "Requests of tenants without a visit salt for the day: each event counts as its own visit.",
		}),
		invalidControl: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "metiva_collector_control_records_invalid_total",
			Help: "Control records that could not be applied, by topic.",
		}, []string{"topic"}),
		serverErrors: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "metiva_collector_connection_errors_total",
			Help: "Errors of the HTTP server on single connections. Their texts hold peer addresses and are not logged.",
		}),
		ledgerUnsent: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "metiva_collector_ledger_unsent_entries",
			Help: "Counts not yet acknowledged on ledger.edge.",
		}),
		dataKeyFailures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "metiva_collector_data_key_failures_total",
			Help: "Requests that had to be retried because no data key could be published.",
		}),
		limited: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "metiva_collector_rate_limited_events_total",
			Help: "Events over a limit, by the limit that refused them: network, site or tenant.",
		}, []string{"limit"}),
		fieldsLeftOut: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "metiva_collector_capture_fields_left_out_total",
			Help: "Form fields not captured because their value is not of its kind, or reads as a card number, IBAN, BSN or token.",
		}),
		propertiesLeftOut: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "metiva_collector_custom_properties_left_out_total",
			Help: "Properties of custom events that their site has not registered.",
		}),
	}
	m.refused = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "metiva_collector_connections_refused_total",
		Help: "Connections refused: all (too many are open), address (too many of one address), system (no descriptor or memory).",
	}, []string{"reason"})
	m.connections = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "metiva_collector_connections",
		Help: "Open connections.",
	})
	m.kinds.Store(&map[requestKind]prometheus.Counter{})
	labels := schemas.Labels(metivav1.Reason_REASON_UNSPECIFIED)
	m.byReason = make([]prometheus.Counter, slices.Max(slices.Collect(maps.Keys(labels)))+1)
	for reason, label := range labels {
		if reason != metivav1.Reason_REASON_UNSPECIFIED {
			m.byReason[reason] = events.WithLabelValues(outcomeOf(reason).String(), label)
		}
	}
	sites := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "metiva_collector_sites",
		Help: "Sites known from control.sites.",
	}, func() float64 { return float64(siteCount()) })
	waiting := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "metiva_collector_events_in_flight",
		Help: "Events waiting for Kafka's acknowledgement.",
	}, func() float64 { return float64(inFlight()) })
	for _, c := range []prometheus.Collector{
		events, m.requests, m.requestSeconds, waiting, m.panics, m.saltMissing,
		m.invalidControl, m.serverErrors, m.ledgerUnsent, m.dataKeyFailures, m.limited, m.refused, m.connections,
		m.fieldsLeftOut, m.propertiesLeftOut, sites,
	} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// refusedConnection counts a connection that was not taken.
func (m *metrics) refusedConnection(reason string) { m.refused.WithLabelValues(reason).Inc() }

// requestKind is a route with a status code.
type requestKind struct {
	route  string
	status int
}

// request counts a request. The counters are kept, since finding one by its
// labels costs more than all else here.
func (m *metrics) request(route string, status int) { m.requestsOf(route, status, 1) }

// requestsOf counts n requests of a kind.
func (m *metrics) requestsOf(route string, status, n int) {
	kinds := m.kinds.Load()
	counter, known := (*kinds)[requestKind{route, status}]
	if !known {
		counter = m.addKind(requestKind{route, status})
	}
	counter.Add(float64(n))
}

func (m *metrics) addKind(k requestKind) prometheus.Counter {
	m.addingKind.Lock()
	defer m.addingKind.Unlock()
	counter := m.requests.WithLabelValues(k.route, strconv.Itoa(k.status))
	kinds := maps.Clone(*m.kinds.Load())
	kinds[k] = counter
	m.kinds.Store(&kinds)
	return counter
}

// count adds n events of one outcome.
func (m *metrics) count(reason metivav1.Reason, n int) {
	c := m.accepted
	if reason != metivav1.Reason_REASON_UNSPECIFIED {
		if int(reason) >= len(m.byReason) || m.byReason[reason] == nil {
			return
		}
		c = m.byReason[reason]
	}
	c.Add(float64(n))
}
