package enrich

import (
	"bytes"
	"context"
	"crypto/rand"
	"log/slog"
	"net/netip"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/enrich/company"
	"github.com/metiva-io/metiva/enrich/geo"
	"github.com/metiva-io/metiva/enrich/geo/geotest"
	"github.com/metiva-io/metiva/pkg/embedded/kafka/kafkatest"
	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/pkg/seal"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

const (
	tenant  = "cmp_0123456789abcdefghjk"
	ingAddr = "145.221.10.77"
	kpnAddr = "77.161.10.10"
	six     = "2001:67c:6ec::1"
	// agent is a browser's, with a word no other text here has.
	agent    = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 CanaryAgent"
	botAgent = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html) CanaryAgent"
	waitMax  = 30 * time.Second
)

// world is a broker with the product's topics, a collector's sealer and what
// a worker needs.
type world struct {
	t       testing.TB
	broker  *kafkatest.Broker
	client  *kafka.Client
	sender  *kafka.Producer
	sealer  *seal.Sealer
	opener  *seal.Opener
	private seal.PrivateKey
	log     *syncBuffer
	reg     *prometheus.Registry
	deps    Deps
	// publish says what the sealer does with a new key.
	publish seal.PublishKey
}

// syncBuffer is a log's memory.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) bytes() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return bytes.Clone(b.buf.Bytes())
}

func newWorld(t testing.TB) *world {
	t.Helper()
	broker := kafkatest.Start(t)
	w := &world{t: t, broker: broker, log: &syncBuffer{}, reg: prometheus.NewRegistry()}
	logger := slog.New(slog.NewJSONHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var err error
	if w.client, err = kafka.NewClient(kafka.Config{Brokers: broker.Addrs(), ClientID: "test"}, logger, w.reg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.client.Close() })
	for _, topic := range schemas.Topics() {
		if topic.Compacted() {
			broker.CreateCompacted(topic.Name, topic.Partitions)
		} else {
			broker.CreateTopic(topic.Name, topic.Partitions)
		}
	}
	if w.sender, err = w.client.NewProducer(kafka.ProducerConfig{}); err != nil {
		t.Fatal(err)
	}
	w.goRun(w.sender.Run)
	w.publish = w.putKey
	w.keys()
	databases, err := geo.OpenDatabases(geotest.Small(t, "1.0.2026010203",
		"145.221.0.0,145.221.255.255,15625,ING Bank N.V.",
		"77.160.0.0,77.175.255.255,1136,KPN B.V.",
		"2001:67c:6ec::,2001:67c:6ec:ffff:ffff:ffff:ffff:ffff,1145,SURF B.V.",
	))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = databases.Close() })
	chain, err := company.NewChain(company.Config{})
	if err != nil {
		t.Fatal(err)
	}
	w.deps = Deps{
		Kafka: w.client, Opener: w.opener, Databases: databases, Chain: chain,
		Now: time.Now, Log: logger, Registerer: w.reg,
	}
	return w
}

// keys makes a key pair, a sealer on its public and an opener on its private
// half.
func (w *world) keys() {
	w.t.Helper()
	dir := w.t.TempDir()
	if err := seal.GenerateDevelopmentKeys(dir); err != nil {
		w.t.Fatal(err)
	}
	read := func(purpose string) seal.KeyMaterial {
		m, err := seal.ReadKeyFile(filepath.Join(dir, seal.KeyFileName(purpose)), purpose)
		if err != nil {
			w.t.Fatal(err)
		}
		return m
	}
	private, err := read(seal.PurposeResolverPrivate).PrivateKey()
	if err != nil {
		w.t.Fatal(err)
	}
	public, err := read(seal.PurposeResolverPublic).PublicKey()
	if err != nil {
		w.t.Fatal(err)
	}
	w.private, w.opener = private, seal.NewOpener(private)
	w.sealer, err = seal.NewSealer(public, "collector-1", func(ctx context.Context, rec *metivav1.DataKey) error {
		return w.publish(ctx, rec)
	}, time.Now)
	if err != nil {
		w.t.Fatal(err)
	}
}

// goRun runs f until the test ends.
func (w *world) goRun(f func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	w.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("stopping: %v", err)
		}
	})
}

func (w *world) send(topic string, partition int, key, value []byte) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), waitMax)
	defer cancel()
	if err := w.sender.ProduceSync(ctx, topic, partition, key, value); err != nil {
		w.t.Fatalf("sending to %s: %v", topic, err)
	}
}

func keyRecord(rec *metivav1.DataKey) []byte {
	value, err := proto.Marshal(&metivav1.KeyRecord{Kind: &metivav1.KeyRecord_DataKey{DataKey: rec}})
	if err != nil {
		panic(err)
	}
	return value
}

func (w *world) putKey(_ context.Context, rec *metivav1.DataKey) error {
	w.send(schemas.TopicControlKeys, 0, seal.RecordKeyOf(rec), keyRecord(rec))
	return nil
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}

// event makes a sealed event as a collector does; change is applied before it
// is sealed.
func (w *world) event(address, userAgent string, change func(*metivav1.CollectedEvent)) *metivav1.CollectedEvent {
	w.t.Helper()
	now := time.Now().UnixMilli()
	e := &metivav1.CollectedEvent{
		EventId: random(16), CompanyId: tenant, BrandId: "brd_a", SiteId: "sit_a",
		Type: metivav1.EventType_EVENT_TYPE_PAGE_VIEW, ReceivedAtMs: now, OccurredAtMs: now - 20, ClientAtMs: now - 20,
		Consent: metivav1.ConsentState_CONSENT_STATE_DENIED, VisitKey: random(16),
		Host: "www.example.nl", Path: "/prijzen", ReferrerHost: "www.google.nl",
		Campaign: &metivav1.Campaign{Source: "nieuwsbrief"}, WriterId: "collector-1", RetentionDays: 30,
	}
	if change != nil {
		change(e)
	}
	if err := w.sealer.Prepare(w.t.Context(), e.GetCompanyId()); err != nil {
		w.t.Fatal(err)
	}
	b := seal.Binding{CompanyID: e.GetCompanyId(), SiteID: e.GetSiteId(), EventID: [16]byte(e.GetEventId()), Field: seal.FieldAddress}
	var err error
	scratch := seal.NewScratch()
	if e.SealedAddress, err = w.sealer.SealAddress(nil, b, seal.AddressOf(netip.MustParseAddr(address), scratch)); err != nil {
		w.t.Fatal(err)
	}
	if userAgent != "" {
		b.Field = seal.FieldUserAgent
		if e.SealedUserAgent, err = w.sealer.SealBytes(nil, b, []byte(userAgent)); err != nil {
			w.t.Fatal(err)
		}
	}
	return e
}

func analytics(visitor []byte, sequence uint64) func(*metivav1.CollectedEvent) {
	return func(e *metivav1.CollectedEvent) {
		e.Consent = metivav1.ConsentState_CONSENT_STATE_ANALYTICS
		e.VisitorId, e.ConsentSeq = visitor, sequence
	}
}

// put sends an event as the collector does.
func (w *world) put(e *metivav1.CollectedEvent) {
	w.t.Helper()
	value, err := schemas.Encode(nil, e)
	if err != nil {
		w.t.Fatal(err)
	}
	w.send(schemas.TopicEventsCollected, schemas.EventPartition(e.GetCompanyId(), e.GetVisitKey(), schemas.TenantBuckets), e.GetVisitKey(), value)
}

// worker makes a worker and returns it before it runs.
func (w *world) worker() *Worker {
	w.t.Helper()
	worker, err := New(Config{BatchWaitMax: time.Millisecond}, w.deps)
	if err != nil {
		w.t.Fatal(err)
	}
	return worker
}

// outputs reads everything on events.enriched and events.dead.
type outputs struct {
	t       testing.TB
	records chan kafka.Record
}

func (w *world) outputs() *outputs {
	w.t.Helper()
	consumer, err := w.client.NewConsumer(kafka.ConsumerConfig{
		Group: "test-reader", Topics: []string{schemas.TopicEventsEnriched, schemas.TopicEventsDead},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	o := &outputs{t: w.t, records: make(chan kafka.Record, 1024)}
	w.goRun(func(ctx context.Context) error {
		return consumer.Run(ctx, func(ctx context.Context, c *kafka.Claim) error {
			for {
				batch, err := c.NextBatch(ctx, kafka.BatchLimit{RecordsMax: 100})
				if err != nil {
					return nil //nolint:nilerr // the test ends
				}
				for _, r := range batch.Records {
					r.Key, r.Value = bytes.Clone(r.Key), bytes.Clone(r.Value)
					o.records <- r
				}
			}
		})
	})
	return o
}

// take waits for the given numbers of enriched and dead records.
func (o *outputs) take(enriched, dead int) (records []*metivav1.EnrichedRecord, letters, raw []kafka.Record) {
	o.t.Helper()
	timeout := time.After(waitMax)
	for len(records) < enriched || len(letters) < dead {
		select {
		case r := <-o.records:
			raw = append(raw, r)
			if r.Topic == schemas.TopicEventsDead {
				letters = append(letters, r)
				continue
			}
			record := new(metivav1.EnrichedRecord)
			if err := proto.Unmarshal(r.Value, record); err != nil {
				o.t.Fatal(err)
			}
			records = append(records, record)
		case <-timeout:
			o.t.Fatalf("%d of %d enriched and %d of %d dead records came", len(records), enriched, len(letters), dead)
		}
	}
	return records, letters, raw
}
