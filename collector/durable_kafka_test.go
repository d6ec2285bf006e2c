package collector

import (
	"context"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/collector/spool"
	"github.com/metiva-io/metiva/pkg/embedded/kafka/kafkatest"
	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/pkg/waittest"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// durableEdge is a collector over a broker and a spool, wired as its process
// wires it.
type durableEdge struct {
	*brokerEdge
	durable *Durable
}

// newTestBroker has every topic.
func newTestBroker(t *testing.T, opts kafkatest.Options) *kafkatest.Broker {
	t.Helper()
	broker := kafkatest.StartWith(t, opts)
	for _, topic := range schemas.Topics() {
		if topic.Compacted() {
			broker.CreateCompacted(topic.Name)
		} else {
			broker.CreateTopic(topic.Name, topic.Partitions)
		}
	}
	return broker
}

// startDurableEdge runs a collector; keys is that of an earlier run, or nil.
func startDurableEdge(t *testing.T, broker *kafkatest.Broker, dir string, before *durableEdge, client kafka.Config, producer kafka.ProducerConfig) *durableEdge {
	t.Helper()
	b := &durableEdge{brokerEdge: &brokerEdge{broker: broker}}
	log := slog.New(slog.DiscardHandler)
	client.Brokers, client.ClientID = broker.Addrs(), "edge-test"
	var err error
	if b.client, err = kafka.NewClient(client, log, prometheus.NewRegistry()); err != nil {
		t.Fatal(err)
	}
	p, err := b.client.NewProducer(producer)
	if err != nil {
		t.Fatal(err)
	}
	reg := prometheus.NewRegistry()
	buffer, err := spool.Open(spool.Config{Dir: dir}, spool.Deps{Log: log, Registry: reg, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	ready, kafkaEnded := &readiness{states: map[string]error{}}, make(chan struct{})
	b.durable, err = NewDurable(DurableConfig{}, DurableDeps{
		Kafka: KafkaProducer(p), RunKafka: func(ctx context.Context) error { defer close(kafkaEnded); return p.Run(ctx) }, Spool: buffer, Readiness: ready, Log: log, Registry: reg, Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	b.edge = newEdge(t, b.durable, noLimits)
	b.deps.Ping = b.durable.Ping(b.client.Ping)
	if before != nil {
		b.keys, b.opener = before.keys, before.opener
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := b.durable.Run(ctx); err != nil {
			t.Errorf("the durable producer ended: %v", err)
		}
	})
	b.stopIO = sync.OnceFunc(func() { cancel(); wg.Wait() })
	t.Cleanup(func() { // after the collector's own end
		b.stopIO()
		<-kafkaEnded // a stop does not wait for a Kafka that is away
		_ = b.client.Close()
	})
	b.applySite(siteRecord())
	b.applySalt(testCompany, "2026-11-22")
	b.CaughtUp()
	b.durable.BeginReplay(b.Superseded)
	b.start()
	return b
}

// load is what a load of requests has seen.
type load struct {
	mu    sync.Mutex
	ids   []string
	took  []time.Duration
	other []string
}

// run sends one event after another from each of the workers until stop.
func (l *load) run(b *durableEdge, workers int, stop <-chan struct{}) (wait func()) {
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-stop:
					return
				case <-tick.C:
				}
				page := newPage(b.edge)
				began := time.Now()
				a, err := b.try(http.MethodPost, PathEvents, b.body(page), browserHeaders())
				l.add(page["id"].(string), time.Since(began), a, err)
			}
		})
	}
	return wg.Wait
}

func (l *load) add(id string, took time.Duration, a answered, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.took = append(l.took, took)
	if err != nil || a.status != http.StatusOK || a.outcomes() != "accepted" {
		l.other = append(l.other, fmt.Sprintf("%v %d %s", err, a.status, a.body))
		return
	}
	l.ids = append(l.ids, strings.ReplaceAll(id, "-", ""))
}

func (l *load) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.took)
}

// check holds answers, topic and keys against what a 2xx promises.
func (l *load) check(t *testing.T, b *durableEdge) {
	t.Helper()
	if len(l.other) > 0 {
		t.Errorf("%d of %d requests were not accepted, the first: %s", len(l.other), len(l.took), l.other[0])
	}
	slices.Sort(l.took)
	t.Logf("%d requests, p50 %v, p99 %v, longest %v", len(l.took), l.took[len(l.took)/2], l.took[len(l.took)*99/100], l.took[len(l.took)-1])
	for _, r := range b.reread(schemas.TopicControlKeys) {
		if err := b.opener.ApplyKey(r.key, r.value); err != nil {
			t.Error(err)
		}
	}
	b.log = &memoryLog{} // open reads keys from here; the opener has them already
	plain, marked, sealed := map[string]int{}, map[string]int{}, map[string]string{}
	for _, r := range b.reread(schemas.TopicEventsCollected) {
		var e metivav1.CollectedEvent
		if err := proto.Unmarshal(r.value, &e); err != nil {
			t.Fatal(err)
		}
		id := hex.EncodeToString(e.GetEventId())
		if e.GetReplayed() {
			marked[id]++
		} else {
			plain[id]++
		}
		if before, ok := sealed[id]; ok && before != string(e.GetSealedAddress()) {
			t.Error("copies of one acceptance are sealed differently (ADR 0018)")
		}
		sealed[id] = string(e.GetSealedAddress())
		if _, agent := b.open(&e); agent != testAgent {
			t.Fatal("an event does not open")
		}
	}
	copies := 0
	for _, id := range l.ids {
		if plain[id] > 1 || plain[id]+marked[id] == 0 {
			t.Fatalf("an accepted event is there %d times, and %d times with the mark", plain[id], marked[id])
		}
		copies += plain[id] + marked[id] - 1
	}
	t.Logf("%d accepted, %d marked, %d of them copies", len(l.ids), len(marked), copies)
}

func (b *durableEdge) drained(t *testing.T) {
	t.Helper()
	waittest.Until(t, 30*time.Second, "the spool is empty", func() bool {
		return b.durable.deps.Spool.Stats() == spool.Stats{BytesMax: b.durable.deps.Spool.Stats().BytesMax}
	})
}

func TestAnOutageDoesNotShow(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		opts   kafkatest.Options
		client kafka.Config
		cfg    kafka.ProducerConfig
		fault  func(b *kafkatest.Broker) (end func())
	}{
		"stall": {fault: func(b *kafkatest.Broker) func() { return b.Stall() }},
		// Kafka's producer gives batches up in the middle, and cannot say whether
		// they are in the log.
		"stall beyond the delivery time-out": {
			client: kafka.Config{RequestTimeout: 200 * time.Millisecond}, cfg: kafka.ProducerConfig{DeliveryTimeout: 600 * time.Millisecond},
			fault: func(b *kafkatest.Broker) func() { return b.Stall() },
		},
		"broker gone and back": {
			opts:  kafkatest.Options{Durable: true},
			fault: func(b *kafkatest.Broker) func() { b.Stop(); return b.Restart },
		},
		"connections cut": {fault: func(b *kafkatest.Broker) func() { b.CutNext(kafkatest.Produce, 20); return func() {} }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			broker := newTestBroker(t, c.opts)
			b := startDurableEdge(t, broker, t.TempDir(), nil, c.client, c.cfg)
			var l load
			stop := make(chan struct{})
			wait := l.run(b, 12, stop)
			waittest.Until(t, 20*time.Second, "the load has begun", func() bool { return l.count() > 100 })
			end := c.fault(broker)
			during := time.After(2 * time.Second)
			<-during
			end()
			after := l.count()
			waittest.Until(t, 20*time.Second, "the load goes on", func() bool { return l.count() > after+200 })
			close(stop)
			wait()
			b.drained(t)
			if err := b.stop(); err != nil {
				t.Error(err)
			}
			b.stopIO()
			l.check(t, b)
			counts := ledgerMax(t, b.reread(schemas.TopicLedgerEdge))
			if counts[testCompany+"/none"] != uint64(len(l.ids)) {
				t.Errorf("the ledger counts %v, %d were accepted", counts, len(l.ids))
			}
		})
	}
}

// ledgerMax sums the greatest count of each key, as the sink does: a replayed
// entry may follow a later one.
func ledgerMax(t *testing.T, records []record) map[string]uint64 {
	t.Helper()
	greatest, out := map[string]uint64{}, map[string]uint64{}
	names := map[string]string{}
	for _, r := range records {
		var e metivav1.LedgerEntry
		if err := proto.Unmarshal(r.value, &e); err != nil {
			t.Fatal(err)
		}
		greatest[string(r.key)] = max(greatest[string(r.key)], e.GetCount())
		names[string(r.key)] = e.GetCompanyId() + "/" + schemas.Label(e.GetReason())
	}
	for key, n := range greatest {
		out[names[key]] += n
	}
	return out
}

// A collector stops while Kafka is away; the next one sends what it left.
func TestARestartSendsWhatTheSpoolHolds(t *testing.T) {
	t.Parallel()
	broker, dir := newTestBroker(t, kafkatest.Options{}), t.TempDir()
	b := startDurableEdge(t, broker, dir, nil, kafka.Config{}, kafka.ProducerConfig{})
	var l load
	stop := make(chan struct{})
	wait := l.run(b, 8, stop)
	waittest.Until(t, 20*time.Second, "the load has begun", func() bool { return l.count() > 50 })
	resume := broker.Stall()
	stalled := l.count()
	waittest.Until(t, 20*time.Second, "events are taken without Kafka", func() bool { return l.count() > stalled+200 })
	close(stop)
	wait()
	began := time.Now()
	if err := b.stop(); err != nil {
		t.Error(err)
	}
	b.stopIO()
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("the stop took %v", took)
	}
	resume()
	again := startDurableEdge(t, broker, dir, b, kafka.Config{}, kafka.ProducerConfig{})
	again.drained(t)
	if err := again.stop(); err != nil {
		t.Error(err)
	}
	again.stopIO()
	l.check(t, again)
	if counts := ledgerMax(t, again.reread(schemas.TopicLedgerEdge)); counts[testCompany+"/none"] != uint64(len(l.ids)) {
		t.Errorf("the ledger counts %v, %d were accepted", counts, len(l.ids))
	}
}
