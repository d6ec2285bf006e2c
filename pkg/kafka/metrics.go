package kafka

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics of a client; several clients of one process share them.
type metrics struct {
	producedRecords *prometheus.CounterVec // topic
	producedBytes   *prometheus.CounterVec // topic
	produceRetries  *prometheus.CounterVec // topic
	produceFailed   *prometheus.CounterVec // topic, outcome
	produceSeconds  *prometheus.HistogramVec
	producerIDs     prometheus.Counter
	leaderLookups   prometheus.Counter
	produceRequests prometheus.Counter
	bufferedBytes   prometheus.Gauge
	bufferFull      prometheus.Counter

	consumedRecords *prometheus.CounterVec // group, topic
	skippedRecords  *prometheus.CounterVec // topic
	consumerLag     *prometheus.GaugeVec   // group, topic, partition
	handlerErrors   *prometheus.CounterVec // group, topic
	generations     *prometheus.CounterVec // group
	fetchErrors     *prometheus.CounterVec // topic
	tableRecords    *prometheus.CounterVec // topic
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "metiva_kafka_" + name, Help: help}, labels)
	}
	m := &metrics{
		producedRecords: counter("produced_records_total", "Records acknowledged by Kafka.", "topic"),
		producedBytes:   counter("produced_bytes_total", "Bytes of acknowledged batches, compressed.", "topic"),
		produceRetries:  counter("produce_retries_total", "Attempts at a batch after the first.", "topic"),
		produceFailed:   counter("produce_failed_records_total", "Records not acknowledged, by outcome (unwritten, unknown).", "topic", "outcome"),
		produceSeconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "metiva_kafka_produce_seconds", Help: "Age of a batch when it is acknowledged.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"topic"}),
		producerIDs:     prometheus.NewCounter(prometheus.CounterOpts{Name: "metiva_kafka_producer_ids_total", Help: "Producer ids obtained."}),
		leaderLookups:   prometheus.NewCounter(prometheus.CounterOpts{Name: "metiva_kafka_leader_lookups_total", Help: "Requests for the leaders of partitions to produce to."}),
		produceRequests: prometheus.NewCounter(prometheus.CounterOpts{Name: "metiva_kafka_produce_requests_total", Help: "Produce requests, of one batch for each of some partitions."}),
		bufferedBytes:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "metiva_kafka_buffered_bytes", Help: "Bytes accepted and not yet acknowledged."}),
		bufferFull:      prometheus.NewCounter(prometheus.CounterOpts{Name: "metiva_kafka_buffer_full_total", Help: "Records refused because the buffer was full."}),

		consumedRecords: counter("consumed_records_total", "Records handed to handlers.", "group", "topic"),
		skippedRecords:  counter("consumer_skipped_records_total", "Offsets that retention removed before they were read.", "topic"),
		consumerLag: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "metiva_kafka_consumer_lag_records", Help: "Offsets between the end of an owned partition and what was handed out.",
		}, []string{"group", "topic", "partition"}),
		handlerErrors: counter("handler_errors_total", "Handlers that returned with an error.", "group", "topic"),
		generations:   counter("consumer_generations_total", "Group generations joined.", "group"),
		fetchErrors:   counter("fetch_errors_total", "Fetch requests that failed.", "topic"),
		tableRecords:  counter("table_records_total", "Records applied to tables.", "topic"),
	}
	if reg == nil {
		return m, nil
	}
	var errs []error
	m.producedRecords = register(reg, m.producedRecords, &errs)
	m.producedBytes = register(reg, m.producedBytes, &errs)
	m.produceRetries = register(reg, m.produceRetries, &errs)
	m.produceFailed = register(reg, m.produceFailed, &errs)
	m.produceSeconds = register(reg, m.produceSeconds, &errs)
	m.producerIDs = register(reg, m.producerIDs, &errs)
	m.leaderLookups = register(reg, m.leaderLookups, &errs)
	m.produceRequests = register(reg, m.produceRequests, &errs)
	m.bufferedBytes = register(reg, m.bufferedBytes, &errs)
	m.bufferFull = register(reg, m.bufferFull, &errs)
	m.consumedRecords = register(reg, m.consumedRecords, &errs)
	m.skippedRecords = register(reg, m.skippedRecords, &errs)
	m.consumerLag = register(reg, m.consumerLag, &errs)
	m.handlerErrors = register(reg, m.handlerErrors, &errs)
	m.generations = register(reg, m.generations, &errs)
	m.fetchErrors = register(reg, m.fetchErrors, &errs)
	m.tableRecords = register(reg, m.tableRecords, &errs)
	return m, errors.Join(errs...)
}

// register gives the collector that is registered already under the same
// name, when there is one.
func register[C prometheus.Collector](reg prometheus.Registerer, c C, errs *[]error) C {
	err := reg.Register(c)
	var already prometheus.AlreadyRegisteredError
	if errors.As(err, &already) {
		if existing, ok := already.ExistingCollector.(C); ok {
			return existing
		}
	}
	if err != nil {
		*errs = append(*errs, err)
	}
	return c
}

// laneMetrics are those of one topic that are needed for each batch.
type laneMetrics struct {
	records, bytes, retries prometheus.Counter
	seconds                 prometheus.Observer
}

func (m *metrics) ofLane(topic string) laneMetrics {
	return laneMetrics{
		records: m.producedRecords.WithLabelValues(topic),
		bytes:   m.producedBytes.WithLabelValues(topic),
		retries: m.produceRetries.WithLabelValues(topic),
		seconds: m.produceSeconds.WithLabelValues(topic),
	}
}
