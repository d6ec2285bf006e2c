package collector

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/consent"
	"github.com/metiva-io/metiva/pkg/embedded/kafka/kafkatest"
	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/pkg/seal"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// brokerEdge is a collector on a broker, wired as its process wires it.
type brokerEdge struct {
	*edge
	broker *kafkatest.Broker
	client *kafka.Client
	stopIO func()
}

func startBrokerEdge(t *testing.T, change func(*Config)) *brokerEdge {
	t.Helper()
	return joinBroker(t, startBroker(t), testKeys(t), siteRecord(), change)
}

// startBroker runs a broker with every topic.
func startBroker(t *testing.T) *kafkatest.Broker {
	t.Helper()
	broker := kafkatest.Start(t)
	for _, topic := range schemas.Topics() {
		if topic.Compacted() {
			broker.CreateCompacted(topic.Name)
		} else {
			broker.CreateTopic(topic.Name, topic.Partitions)
		}
	}
	return broker
}

// joinBroker runs a collector on a broker that may have others.
func joinBroker(t *testing.T, broker *kafkatest.Broker, keys map[string]seal.KeyMaterial, site *metivav1.SiteRecord, change func(*Config)) *brokerEdge {
	t.Helper()
	b := &brokerEdge{broker: broker}
	log := slog.New(slog.DiscardHandler)
	var err error
	if b.client, err = kafka.NewClient(kafka.Config{Brokers: b.broker.Addrs(), ClientID: "edge-test"}, log, prometheus.NewRegistry()); err != nil {
		t.Fatal(err)
	}
	producer, err := b.client.NewProducer(kafka.ProducerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	b.edge = newEdgeWith(t, KafkaProducer(producer), keys, change)
	b.deps.Ping = b.client.Ping

	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = producer.Run(ctx) })
	tables := []*kafka.Table{
		b.client.NewTable(schemas.TopicControlSites, b.ApplySite),
		b.client.NewTable(schemas.TopicControlKeys, b.ApplyKey),
		b.client.NewTable(schemas.TopicControlWithdrawals, b.ApplyWithdrawal),
	}
	b.publishControl(producer, site)
	for _, table := range tables {
		wg.Go(func() { _ = table.Run(ctx) })
	}
	for _, table := range tables {
		select {
		case <-table.Ready():
		case <-time.After(20 * time.Second):
			t.Fatal("a control table does not catch up")
		}
	}
	b.CaughtUp()
	b.stopIO = sync.OnceFunc(func() { cancel(); wg.Wait(); _ = b.client.Close() })
	t.Cleanup(func() { b.stopIO() }) // after the collector's own end
	b.start()
	return b
}

// publishControl writes the test's site and salt to their topics.
func (b *brokerEdge) publishControl(producer *kafka.Producer, rec *metivav1.SiteRecord) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	site, err := proto.Marshal(rec)
	if err != nil {
		b.t.Fatal(err)
	}
	saltKey, salt := b.saltRecord(testCompany, "2026-11-22")
	for _, r := range []record{{topic: schemas.TopicControlSites, key: []byte(testSite), value: site}, {topic: schemas.TopicControlKeys, key: saltKey, value: salt}} {
		if err := producer.ProduceSync(ctx, r.topic, 0, r.key, r.value); err != nil {
			b.t.Fatal(err)
		}
	}
}

// readAll reads a topic to its end. Records of a plain topic come as a table's do.
func (b *brokerEdge) readAll(topic string) []record {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var mu sync.Mutex
	var out []record
	table := b.client.NewTable(topic, func(key, value []byte) error {
		mu.Lock()
		defer mu.Unlock()
		out = append(out, record{topic: topic, key: append([]byte(nil), key...), value: append([]byte(nil), value...)})
		return nil
	})
	done := make(chan struct{})
	go func() { defer close(done); _ = table.Run(ctx) }()
	select {
	case <-table.Ready():
	case <-ctx.Done():
		b.t.Fatalf("%s cannot be read", topic)
	}
	cancel()
	<-done
	return out
}

func TestThroughKafka(t *testing.T) {
	t.Parallel()
	b := startBrokerEdge(t, nil)
	const requests, perRequest = 20, 3
	var wg sync.WaitGroup
	for range requests {
		wg.Go(func() {
			a, err := b.try(http.MethodPost, PathEvents, b.body(newPage(b.edge), newPage(b.edge), newPage(b.edge)), browserHeaders())
			if err != nil || a.outcomes() != "accepted accepted accepted" {
				t.Errorf("%v: %d %s", err, a.status, a.body)
			}
		})
	}
	wg.Wait()
	if err := b.stop(); err != nil {
		t.Fatal(err)
	}
	for _, r := range b.readAll(schemas.TopicControlKeys) {
		if err := b.opener.ApplyKey(r.key, r.value); err != nil {
			t.Error(err)
		}
	}
	events := b.readAll(schemas.TopicEventsCollected)
	if len(events) != requests*perRequest {
		t.Fatalf("%d events are in Kafka, want %d", len(events), requests*perRequest)
	}
	b.log = &memoryLog{} // open reads keys from here; the opener has them already
	for _, r := range events {
		var ev metivav1.CollectedEvent
		if err := proto.Unmarshal(r.value, &ev); err != nil {
			t.Fatal(err)
		}
		if network, agent := b.open(&ev); network != "145.221.173.0/24" || agent != testAgent {
			t.Errorf("sealed %s %q", network, agent)
		}
	}
	if n := b.broker.HighWatermark(schemas.TopicEventsCollected, int(schemas.TenantBucket(testCompany))); n != requests*perRequest {
		t.Errorf("the tenant's partition holds %d events", n)
	}
	wantLedger(t, ledgerOf(t, b.readAll(schemas.TopicLedgerEdge)), map[string]uint64{testCompany + "/none": requests * perRequest})
	if err := b.ready.get(ReadyKafka); err != nil {
		t.Errorf("Kafka was not seen: %v", err)
	}
}

func TestWithdrawalThroughKafka(t *testing.T) {
	t.Parallel()
	b := startBrokerEdge(t, nil)
	token := b.token(3)
	subject := [consent.IDBytes]byte{7, 7, 7}
	value, err := proto.Marshal(&metivav1.Withdrawal{CompanyId: testCompany, SubjectId: subject[:], Sequence: 3})
	if err != nil {
		t.Fatal(err)
	}
	if a := b.post(b.bodyWithToken(token, newPage(b.edge))); a.outcomes() != "accepted" {
		t.Fatalf("%s", a.body)
	}
	if err := b.deps.Producer.ProduceSync(t.Context(), schemas.TopicControlWithdrawals, 0, consent.WithdrawalRecordKey(testCompany, subject), value); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !b.withdrawals.Withdrawn(testCompany, subject, 3) {
		if time.Since(began) > 20*time.Second {
			t.Fatal("the withdrawal does not arrive")
		}
		<-tick.C
	}
	if a := b.post(b.bodyWithToken(token, newPage(b.edge))); a.outcomes() != "accepted" {
		t.Fatalf("%s", a.body)
	}
	if err := b.stop(); err != nil {
		t.Fatal(err)
	}
	states := map[metivav1.ConsentState]int{}
	for _, r := range b.readAll(schemas.TopicEventsCollected) {
		var ev metivav1.CollectedEvent
		if err := proto.Unmarshal(r.value, &ev); err != nil {
			t.Fatal(err)
		}
		states[ev.GetConsent()]++
	}
	if states[metivav1.ConsentState_CONSENT_STATE_ANALYTICS] != 1 || states[metivav1.ConsentState_CONSENT_STATE_WITHDRAWN] != 1 {
		t.Errorf("states %v", states)
	}
}

func TestStalledBrokerIsAnsweredRetry(t *testing.T) {
	t.Parallel()
	b := startBrokerEdge(t, func(c *Config) { c.AckTimeout = 200 * time.Millisecond })
	if a := b.post(b.body(newPage(b.edge))); a.outcomes() != "accepted" {
		t.Fatalf("%s", a.body)
	}
	resume := b.broker.Stall()
	stalled := newPage(b.edge)
	a := b.post(b.body(stalled))
	if a.status != http.StatusServiceUnavailable || a.outcomes() != "retry:unacknowledged" || a.header.Get("Retry-After") == "" {
		t.Errorf("stalled: %d %s", a.status, a.body)
	}
	resume()
	// The client sends the same event again, until it is accepted.
	deadline := time.Now().Add(20 * time.Second)
	for a.outcomes() != "accepted" && time.Now().Before(deadline) {
		a = b.post(b.body(stalled))
	}
	if a.outcomes() != "accepted" {
		t.Fatalf("after the stall: %s", a.body)
	}
	if err := b.stop(); err != nil {
		t.Fatal(err)
	}
	b.stopIO() // flush what was given up by the requests
	counts := ledgerOf(t, b.reread(schemas.TopicLedgerEdge))
	events := uint64(len(b.reread(schemas.TopicEventsCollected)))
	accepted, unacknowledged := counts[testCompany+"/none"], counts[testCompany+"/unacknowledged"]
	if accepted != 2 || unacknowledged < 1 || events < accepted || events > accepted+unacknowledged {
		t.Errorf("%d accepted, %d unacknowledged, %d in Kafka", accepted, unacknowledged, events)
	}
}

// reread reads with a client of its own, after the collector's is closed.
func (b *brokerEdge) reread(topic string) []record {
	b.t.Helper()
	client, err := kafka.NewClient(kafka.Config{Brokers: b.broker.Addrs(), ClientID: "reader"}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		b.t.Fatal(err)
	}
	defer client.Close()
	reader := &brokerEdge{edge: b.edge, client: client}
	return reader.readAll(topic)
}
