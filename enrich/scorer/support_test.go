package scorer

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/pkg/embedded/kafka/kafkatest"
	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

const (
	waitMax = 30 * time.Second
	// noon is 22 November 2026, 12:00 in UTC.
	noon    = int64(1_795_348_800_000)
	noonDay = int32(20_779)
	dayMs   = int64(86_400_000)
	// lastDay is the one the tests' clock begins on, relative to noonDay.
	lastDay = 5
)

// world is a broker with the product's topics.
type world struct {
	t      testing.TB
	broker *kafkatest.Broker
	client *kafka.Client
	sender *kafka.Producer
	log    *syncBuffer
	deps   Deps

	clockMu sync.Mutex
	clock   time.Time
}

type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, broker: kafkatest.Start(t), log: &syncBuffer{}, clock: time.UnixMilli(noon + lastDay*dayMs + dayMs/4)}
	logger := slog.New(slog.NewJSONHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var err error
	if w.client, err = kafka.NewClient(kafka.Config{Brokers: w.broker.Addrs(), ClientID: "test"}, logger, prometheus.NewRegistry()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.client.Close() })
	for _, topic := range schemas.Topics() {
		if topic.Compacted() {
			w.broker.CreateCompacted(topic.Name, topic.Partitions)
		} else {
			w.broker.CreateTopic(topic.Name, topic.Partitions)
		}
	}
	if w.sender, err = w.client.NewProducer(kafka.ProducerConfig{}); err != nil {
		t.Fatal(err)
	}
	w.goRun(w.sender.Run)
	w.deps = Deps{Kafka: w.client, Now: w.now, Log: logger, Registerer: prometheus.NewRegistry()}
	return w
}

func (w *world) now() time.Time {
	w.clockMu.Lock()
	defer w.clockMu.Unlock()
	return w.clock
}

func (w *world) pass(d time.Duration) {
	w.clockMu.Lock()
	defer w.clockMu.Unlock()
	w.clock = w.clock.Add(d)
}

// goRun runs f until stop, or the end of the test.
func (w *world) goRun(f func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("stopping: %v", err)
		}
	})
	w.t.Cleanup(stop)
	return stop
}

func (w *world) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), waitMax)
	w.t.Cleanup(cancel)
	return ctx
}

func (w *world) send(topic string, partition int, key string, value []byte) {
	w.t.Helper()
	if err := w.sender.ProduceSync(w.ctx(), topic, partition, []byte(key), value); err != nil {
		w.t.Fatalf("sending to %s: %v", topic, err)
	}
}

func encoded(t testing.TB, m proto.Message) []byte {
	t.Helper()
	value, err := schemas.Encode(nil, m)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// visitOf is a human visit of an account, number n, on a day relative to the first.
func visitOf(company, account string, day, n int, paths ...string) *metivav1.Visit {
	at := noon + int64(day)*dayMs + int64(n)*60_000
	id := make([]byte, schemas.IDBytes)
	copy(id, fmt.Sprintf("%03d %03d %s", day, n, account))
	v := &metivav1.Visit{
		VisitId: id, CompanyId: company, BrandId: "brd_a", SiteId: "sit_a", VisitKey: id, Version: 2, StartedAtMs: at, EndedAtMs: at + 5000,
		PageViews: uint32(len(paths)), Country: "NL", RetentionDays: 30, LastReceivedAtMs: at + 6000,
		Resolution: &metivav1.Resolution{Verdict: metivav1.Verdict_VERDICT_COMPANY, AccountId: account, Name: "Name of " + account, Domain: account, Confidence: 0.85},
	}
	for i, path := range paths {
		v.Pages = append(v.Pages, &metivav1.VisitPage{Host: "www.example.nl", Path: path, Views: 1, FirstAtMs: at + int64(i)*2000})
	}
	return v
}

// publish writes visits to visits.enriched as enrich does.
func (w *world) publish(visits ...*metivav1.Visit) {
	w.t.Helper()
	for _, v := range visits {
		p := schemas.VisitPartition(v.GetCompanyId(), v.GetResolution().GetAccountId(), v.GetVisitKey(), len16(w.t))
		w.send(schemas.TopicVisitsEnriched, p, "key", encoded(w.t, v))
	}
}

func len16(t testing.TB) int {
	t.Helper()
	for _, topic := range schemas.Topics() {
		if topic.Name == schemas.TopicVisitsEnriched {
			return topic.Partitions
		}
	}
	t.Fatal("the topic is gone")
	return 0
}

// site registers a site with two key pages.
func (w *world) site(company string) {
	w.t.Helper()
	w.send(schemas.TopicControlSites, 0, "sit_a", encoded(w.t, &metivav1.SiteRecord{
		CompanyId: company, BrandId: "brd_a", SiteId: "sit_a", Version: 1,
		ScoreRules: &metivav1.ScoreRules{HotScore: 40, KeyPages: []*metivav1.KeyPage{
			{Name: "pricing", Path: "/pricing", Weight: 60}, {Name: "demo", Path: "/demo*", Weight: 40},
		}},
	}))
}

func (w *world) worker(cfg Config) *Worker {
	w.t.Helper()
	deps := w.deps
	deps.Registerer = prometheus.NewRegistry()
	worker, err := New(cfg, deps)
	if err != nil {
		w.t.Fatal(err)
	}
	return worker
}

// all reads a topic as it is now.
func (w *world) all(topic string) (records []kafka.Record) {
	w.t.Helper()
	ends, err := w.client.EndOffsets(w.ctx(), topic)
	if err != nil {
		w.t.Fatal(err)
	}
	for partition, end := range ends {
		_, err := w.client.ReadRange(w.ctx(), kafka.Range{Topic: topic, Partition: partition, From: -1, To: end, Compacted: true}, func(r *kafka.Record) error {
			records = append(records, kafka.Record{Partition: r.Partition, Offset: r.Offset, Key: bytes.Clone(r.Key), Value: bytes.Clone(r.Value), Headers: slices.Clone(r.Headers)})
			return nil
		})
		if err != nil {
			w.t.Fatal(err)
		}
	}
	return records
}

// outcome is what consumers know of a tenant in the end: the newest version of each
// day and every signal once. Versions are left out; copies of a signal must be equal.
func (w *world) outcome(company string) string {
	w.t.Helper()
	days, signals := make(map[string]*metivav1.AccountDay), make(map[string][]byte)
	var lines []string
	for _, r := range w.all(schemas.TopicAccountsEnriched) {
		d := new(metivav1.AccountDay)
		if err := proto.Unmarshal(r.Value, d); err != nil {
			w.t.Fatal(err)
		}
		key := fmt.Sprintf("%s %d", r.Key, d.GetDay())
		if known := days[key]; d.GetCompanyId() == company && known.GetVersion() <= d.GetVersion() {
			if known != nil && known.GetVersion() == d.GetVersion() && !proto.Equal(known, d) {
				w.t.Errorf("two days of one version: %v and %v", known, d)
			}
			days[key] = d
		}
	}
	for _, d := range days {
		d.Version, d.CompanyId = 0, ""
		lines = append(lines, fmt.Sprintf("day %s %d score %d %s", d.GetAccountId(), d.GetDay(), d.GetScore(), hex.EncodeToString(encoded(w.t, d))))
	}
	for _, r := range w.all(schemas.TopicAccountSignals) {
		s := new(metivav1.Signal)
		if err := proto.Unmarshal(r.Value, s); err != nil {
			w.t.Fatal(err)
		}
		if s.GetCompanyId() != company {
			continue
		}
		id := string(s.GetSignalId())
		if known, again := signals[id]; again {
			if !bytes.Equal(known, r.Value) {
				w.t.Errorf("two signals with one id")
			}
			continue
		}
		signals[id] = r.Value
		lines = append(lines, fmt.Sprintf("signal %v %s %d %d %d %s %q", s.GetKind(), s.GetAccountId(), s.GetDay(), s.GetScore(), s.GetDaysAway(), s.GetKeyPage(), s.GetVisitId()))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
