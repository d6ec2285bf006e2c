package enrich

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// Steps as they stand in the label "step".
const (
	stepDecode  = "decode"
	stepOpen    = "open"
	stepSource  = "source"
	stepBot     = "bot"
	stepCompany = "company"
	stepDevice  = "device"
	stepPerson  = "person"
	stepBuild   = "build"
)

// stepSampleEvery: steps take less than the clock costs to read twice, so one
// event in this many is timed.
const stepSampleEvery = 64

type metrics struct {
	in  prometheus.Counter
	out *prometheus.CounterVec
	// By the number of the value.
	drops     []prometheus.Counter // of metivav1.Reason
	verdicts  []prometheus.Counter // of metivav1.Verdict
	bots      []prometheus.Counter // of metivav1.BotClass
	channels  []prometheus.Counter // of metivav1.Channel
	captures  map[metivav1.MailDomain]prometheus.Counter
	withdrawn prometheus.Counter
	control   *prometheus.CounterVec
	steps     map[string]prometheus.Observer
	batch     prometheus.Histogram
	lag       *prometheus.GaugeVec
	database  prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	vector := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
	}
	drops := vector("metiva_enrich_drops_total", "Collected records dropped, by reason.", "reason")
	verdicts := vector("metiva_enrich_verdicts_total", "Events by verdict of the company resolution.", "verdict")
	bots := vector("metiva_enrich_bots_total", "Events by bot class.", "class")
	channels := vector("metiva_enrich_channels_total", "Page views of people by channel.", "channel")
	captures := vector("metiva_enrich_captures_total", "Captures, by what the domain of the e-mail address says of a company.", "mail_domain")
	steps := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "metiva_enrich_step_seconds", Help: "Time of one step of one event; one event in 64 is measured.",
		Buckets: []float64{1e-7, 2.5e-7, 5e-7, 1e-6, 2.5e-6, 5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 1e-3, 1e-2},
	}, []string{"step"})
	m := &metrics{
		in:        counter("metiva_enrich_records_in_total", "Records read from events.collected."),
		out:       vector("metiva_enrich_records_out_total", "Acknowledged records, by kind: event, drop, dead, capture.", "kind"),
		withdrawn: counter("metiva_enrich_withdrawn_total", "Events reduced to company level because the visitor withdrew."),
		control:   vector("metiva_enrich_control_invalid_total", "Records of control topics that could not be read, by topic.", "topic"),
		batch: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "metiva_enrich_batch_seconds", Help: "Time from reading a batch to its commit.", Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
		}),
		lag: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "metiva_enrich_lag_seconds", Help: "Age of the last event enriched, from its receipt at the edge, by partition.",
		}, []string{"partition"}),
		database: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "metiva_enrich_database_build_time_seconds", Help: "Build time of the address database in use, Unix seconds.",
		}),
		drops:    childrenOf[metivav1.Reason](drops, 0),
		verdicts: childrenOf[metivav1.Verdict](verdicts, 0),
		bots:     childrenOf[metivav1.BotClass](bots, 0),
		channels: childrenOf[metivav1.Channel](channels, 0),
		captures: make(map[metivav1.MailDomain]prometheus.Counter),
		steps:    make(map[string]prometheus.Observer),
	}
	for value, label := range schemas.Labels(metivav1.MailDomain_MAIL_DOMAIN_UNSPECIFIED) {
		m.captures[value] = captures.WithLabelValues(label)
	}
	for _, step := range []string{stepDecode, stepOpen, stepSource, stepBot, stepCompany, stepDevice, stepPerson, stepBuild} {
		m.steps[step] = steps.WithLabelValues(step)
	}
	var faults []error
	for _, c := range []prometheus.Collector{m.in, m.out, drops, verdicts, bots, channels, captures, m.withdrawn, m.control, steps, m.batch, m.lag, m.database} {
		if err := reg.Register(c); err != nil {
			faults = append(faults, fmt.Errorf("registering metrics: %w", err))
		}
	}
	return m, errors.Join(faults...)
}

// childrenOf makes the counters of all values of an enum ahead, so that
// counting looks nothing up and absent reasons read as zero. They stand at the
// number of their value; the zero value has none.
func childrenOf[E interface {
	comparable
	schemas.Enum
}](v *prometheus.CounterVec, zero E) []prometheus.Counter {
	var out []prometheus.Counter
	for value, label := range schemas.Labels(zero) {
		if value == zero {
			continue
		}
		if missing := int(value.Number()) + 1 - len(out); missing > 0 {
			out = append(out, make([]prometheus.Counter, missing)...)
		}
		out[value.Number()] = v.WithLabelValues(label)
	}
	return out
}

// addAll adds what a batch has counted, by the number of the value: partitions count on
// their own, so that an event waits for no other's.
func addAll(to []prometheus.Counter, counted *[valuesMax]int) {
	for value, n := range counted[:len(to)] {
		if n > 0 && to[value] != nil {
			to[value].Add(float64(n))
		}
	}
}

func (m *metrics) setLag(partition int, age time.Duration) {
	m.lag.WithLabelValues(strconv.Itoa(partition)).Set(max(age, 0).Seconds())
}

// forgetLag ends the series of a partition that this process gives back: its
// last value would stand for ever.
func (m *metrics) forgetLag(partition int) {
	m.lag.DeleteLabelValues(strconv.Itoa(partition))
}

// stopwatch times the steps of one event, or none.
type stopwatch struct {
	m    *metrics
	last time.Time
}

func (m *metrics) watch(sampled bool) stopwatch {
	if !sampled {
		return stopwatch{}
	}
	return stopwatch{m: m, last: time.Now()}
}

func (w *stopwatch) lap(step string) {
	if w.m == nil {
		return
	}
	now := time.Now()
	w.m.steps[step].Observe(now.Sub(w.last).Seconds())
	w.last = now
}
