package metiva

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/cmd/internal/app"
	"github.com/metiva-io/metiva/enrich"
	"github.com/metiva-io/metiva/enrich/company"
	"github.com/metiva-io/metiva/enrich/geo"
	"github.com/metiva-io/metiva/enrich/geo/geotest"
	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/pkg/core/registry"
	"github.com/metiva-io/metiva/pkg/embedded/clickhouse/clickhousetest"
	"github.com/metiva-io/metiva/pkg/embedded/kafka/kafkatest"
	"github.com/metiva-io/metiva/pkg/embedded/postgres/postgrestest"
	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/pkg/postgres"
	"github.com/metiva-io/metiva/pkg/seal"
	"github.com/metiva-io/metiva/pkg/secret"
	"github.com/metiva-io/metiva/pkg/tenant"
	"github.com/metiva-io/metiva/pkg/tombstone"
	"github.com/metiva-io/metiva/pkg/waittest"
	"github.com/metiva-io/metiva/schemas"
	schema "github.com/metiva-io/metiva/schemas/clickhouse"
	"github.com/metiva-io/metiva/schemas/metivav1"
	postgresschema "github.com/metiva-io/metiva/schemas/postgres"
	"github.com/metiva-io/metiva/sink"
	store "github.com/metiva-io/metiva/sink/clickhouse"
)

// line is the pipeline from events.collected on, in this process, on real engines,
// with two tenants.
type line struct {
	t       *testing.T
	addrs   []string
	client  *kafka.Client
	sender  *kafka.Producer
	db      *postgrestest.Server
	rows    *clickhouse.Conn
	rowsURL string
	keys    string
	sealer  *seal.Sealer
	private seal.PrivateKey
	a, b    registry.Site
}

func newLine(t *testing.T) *line {
	t.Helper()
	l := &line{t: t, db: postgrestest.Start(t), keys: t.TempDir(), rowsURL: clickhousetest.Start(t).URL()}
	broker := kafkatest.Start(t)
	l.addrs = broker.Addrs()
	for _, topic := range schemas.Topics() {
		if topic.Compacted() {
			broker.CreateCompacted(topic.Name, topic.Partitions)
		} else {
			broker.CreateTopic(topic.Name, topic.Partitions)
		}
	}
	var err error
	l.client, err = kafka.NewClient(kafka.Config{Brokers: l.addrs, ClientID: "test"}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	l.must(err)
	t.Cleanup(func() { _ = l.client.Close() })
	l.sender, err = l.client.NewProducer(kafka.ProducerConfig{Linger: time.Millisecond})
	l.must(err)
	t.Cleanup(l.start(l.sender.Run))
	l.rows, err = clickhouse.Open(clickhouse.Config{URL: secret.New(l.rowsURL)})
	l.must(err)
	t.Cleanup(func() { _ = l.rows.Close() })
	_, err = clickhouse.Migrate(context.Background(), l.rows, schema.Files, slog.New(slog.DiscardHandler))
	l.must(err)
	l.must(seal.GenerateDevelopmentKeys(l.keys))
	read := func(purpose string) seal.KeyMaterial {
		m, err := seal.ReadKeyFile(filepath.Join(l.keys, seal.KeyFileName(purpose)), purpose)
		l.must(err)
		return m
	}
	l.private, err = read(seal.PurposeResolverPrivate).PrivateKey()
	l.must(err)
	public, err := read(seal.PurposeResolverPublic).PublicKey()
	l.must(err)
	l.sealer, err = seal.NewSealer(public, "collector-1", func(_ context.Context, rec *metivav1.DataKey) error {
		l.send(schemas.TopicControlKeys, 0, seal.RecordKeyOf(rec), &metivav1.KeyRecord{Kind: &metivav1.KeyRecord_DataKey{DataKey: rec}})
		return nil
	}, time.Now)
	l.must(err)
	l.tenants()
	return l
}

func (l *line) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

// tenants makes two tenants with a site each, and publishes these with a form.
func (l *line) tenants() {
	l.t.Helper()
	pool, err := tenant.OpenPool(l.t.Context(), postgres.Config{URL: l.db.URL(postgresschema.RoleRW)})
	l.must(err)
	defer pool.Close()
	worker, err := tenant.OpenWorker(l.t.Context(), postgres.Config{URL: l.db.URL(postgresschema.RoleWorker)})
	l.must(err)
	defer worker.Close()
	s := registry.NewStore(pool, worker)
	agency, err := s.CreateAgency(l.t.Context(), "operator:test", "Bureau")
	l.must(err)
	for _, site := range []*registry.Site{&l.a, &l.b} {
		made, err := s.CreateTenant(l.t.Context(), "operator:test", agency.ID, "Client")
		l.must(err)
		claim, err := tenant.OperatorClaim(made.CompanyID, "operator:test")
		l.must(err)
		brand, err := s.CreateBrand(l.t.Context(), claim, "Brand")
		l.must(err)
		*site, err = s.CreateSite(l.t.Context(), claim, registry.NewSite{BrandID: brand.ID, Name: "Site", AllowedOrigins: []string{"https://www.example.nl"}})
		l.must(err)
		l.send(schemas.TopicControlSites, 0, []byte(site.ID), &metivav1.SiteRecord{
			CompanyId: site.CompanyID, SiteId: site.ID, Version: 1, AllowedOrigins: site.AllowedOrigins,
			Texts: []*metivav1.ConsentText{{Version: "v1", Language: "nl", LinksVisits: true}},
			Forms: []*metivav1.FormPolicy{{FormId: "contact", TextVersions: []string{"v1"}, Fields: []*metivav1.FormField{{Name: "email", Kind: metivav1.FieldKind_FIELD_KIND_EMAIL}}}},
		})
	}
}

// start runs f; what it returns ends it.
func (l *line) start(f func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	return sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			l.t.Errorf("stopping: %v", err)
		}
	})
}

func (l *line) send(topic string, partition int, key []byte, m proto.Message) {
	l.t.Helper()
	value, err := schemas.Encode(nil, m)
	l.must(err)
	l.must(l.sender.ProduceSync(l.t.Context(), topic, partition, key, value))
}

// event puts an event on events.collected as a collector does.
func (l *line) event(site registry.Site, change func(*metivav1.CollectedEvent)) {
	l.t.Helper()
	now := time.Now().UnixMilli()
	e := &metivav1.CollectedEvent{
		EventId: random(16), CompanyId: site.CompanyID, BrandId: site.BrandID, SiteId: site.ID,
		Type: metivav1.EventType_EVENT_TYPE_PAGE_VIEW, ReceivedAtMs: now, OccurredAtMs: now - 20, ClientAtMs: now - 20,
		Consent: metivav1.ConsentState_CONSENT_STATE_DENIED, VisitKey: random(16),
		Host: "www.example.nl", Path: "/prijzen", WriterId: "collector-1", RetentionDays: 30,
	}
	if change != nil {
		change(e)
	}
	l.must(l.sealer.Prepare(l.t.Context(), e.GetCompanyId()))
	b := seal.Binding{CompanyID: e.GetCompanyId(), SiteID: e.GetSiteId(), EventID: [16]byte(e.GetEventId()), Field: seal.FieldAddress}
	var err error
	e.SealedAddress, err = l.sealer.SealAddress(nil, b, seal.AddressOf(netip.MustParseAddr("145.221.1.2"), seal.NewScratch()))
	l.must(err)
	b.Field = seal.FieldUserAgent
	e.SealedUserAgent, err = l.sealer.SealBytes(nil, b, []byte("Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0"))
	l.must(err)
	if c := e.GetFormCapture(); c != nil {
		b.SubjectID, b.Field = [16]byte(c.GetSubjectId()), seal.FormField("email")
		key, err := l.sealer.NewSubjectKey(l.t.Context(), b.CompanyID, b.SubjectID)
		l.must(err)
		sealed, err := key.SealField(nil, b, []byte(eraseEmail))
		l.must(err)
		c.SealedFields = map[string][]byte{"email": sealed}
	}
	l.send(schemas.TopicEventsCollected, schemas.EventPartition(e.GetCompanyId(), e.GetVisitKey(), schemas.TenantBuckets), e.GetVisitKey(), e)
}

const eraseEmail = "Canary.Jan@ING.nl"

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}

// granted is an event of a visitor with a grant.
func granted(visitor []byte) func(*metivav1.CollectedEvent) {
	return func(e *metivav1.CollectedEvent) {
		e.Consent, e.VisitorId, e.ConsentSeq, e.VisitKey = metivav1.ConsentState_CONSENT_STATE_ANALYTICS, visitor, 5, visitor
	}
}

// filledIn is a form of a subject; visitor is nil for one without a grant.
func filledIn(visitor, subject []byte) func(*metivav1.CollectedEvent) {
	return func(e *metivav1.CollectedEvent) {
		if visitor != nil {
			granted(visitor)(e)
		}
		e.Type, e.Consent, e.ConsentTextVersion = metivav1.EventType_EVENT_TYPE_FORM, metivav1.ConsentState_CONSENT_STATE_IDENTIFIED, "v1"
		e.Detail = &metivav1.CollectedEvent_FormCapture{FormCapture: &metivav1.FormCapture{FormId: "contact", SubjectId: subject, ConsentRecordId: random(16)}}
	}
}

// workers runs an enrich and a sink in groups of their own: those of a new name read
// everything from the start.
func (l *line) workers(suffix string) (stop func()) {
	l.t.Helper()
	databases, err := geo.OpenDatabases(geotest.Small(l.t, "1.0.2026010203", "145.221.0.0,145.221.255.255,15625,ING Bank N.V."))
	l.must(err)
	l.t.Cleanup(func() { _ = databases.Close() })
	chain, err := company.NewChain(company.Config{})
	l.must(err)
	log := slog.New(slog.DiscardHandler)
	enricher, err := enrich.New(enrich.Config{
		Group: "enrich" + suffix, BatchWaitMax: time.Millisecond, Visits: enrich.VisitConfig{SendEvery: 50 * time.Millisecond, CheckpointEvery: 200 * time.Millisecond},
	}, enrich.Deps{
		Kafka: l.client, Opener: seal.NewOpener(l.private), Databases: databases, Chain: chain, Now: time.Now, Log: log, Registerer: prometheus.NewRegistry(),
	})
	l.must(err)
	consumer, err := l.client.NewConsumer(kafka.ConsumerConfig{Group: sink.Group + suffix, Topics: sink.Topics()})
	l.must(err)
	erased := tombstone.NewSet()
	table := l.client.NewTable(schemas.TopicControlErasures, erased.Apply)
	stopTable := l.start(table.Run)
	<-table.Ready()
	writer, err := sink.New(sink.Config{BatchAgeMax: 10 * time.Millisecond}, sink.Deps{
		Consumer: consumer, Dead: l.sender, Store: store.New(l.rows), Log: log, Metrics: prometheus.NewRegistry(), Now: time.Now, Erased: erased,
	})
	l.must(err)
	stopEnrich, stopSink := l.start(enricher.Run), l.start(writer.Run)
	return func() { stopEnrich(); stopSink(); stopTable() }
}

// settled waits until the groups have done all there is.
func (l *line) settled(suffix string) {
	l.t.Helper()
	behind := func(group, topic string) bool {
		ends, err := l.client.EndOffsets(l.t.Context(), topic)
		l.must(err)
		done, err := l.client.CommittedOffsets(l.t.Context(), group, topic)
		l.must(err)
		for partition, end := range ends {
			if done[partition] < end && end > 0 {
				return true
			}
		}
		return false
	}
	waittest.Until(l.t, time.Minute, "everything to be written", func() bool {
		if behind("enrich"+suffix, schemas.TopicEventsCollected) {
			return false
		}
		for _, topic := range sink.Topics() {
			if behind(sink.Group+suffix, topic) {
				return false
			}
		}
		return true
	})
}

// command runs metiva on the line's stores.
func (l *line) command(in, settle string, args ...string) (string, error) {
	l.t.Helper()
	var out bytes.Buffer
	args = append(args, "--kafka-brokers", strings.Join(l.addrs, ","), "--clickhouse-url", l.rowsURL,
		"--postgres-url", l.db.URL(postgresschema.RoleRW).Reveal(), "--postgres-worker-url", l.db.URL(postgresschema.RoleWorker).Reveal(),
		"--keys-dir", l.keys, "--env", "development", "--grace", "200ms", "--settle", settle)
	err := Run(l.t.Context(), app.System{Args: args, Stdin: strings.NewReader(in), Stdout: &out, Stderr: io.Discard})
	return out.String(), err
}

// count counts rows by table, all versions.
func (l *line) count(where string) map[string]uint64 {
	l.t.Helper()
	out := make(map[string]uint64)
	for _, table := range schema.Tables() {
		var n uint64
		if strings.Contains(where, "visitor_id") && table.VisitorColumn == "" {
			continue
		}
		l.must(l.rows.QueryRow(l.t.Context(), "SELECT count() FROM "+table.Name+" WHERE "+where).Scan(&n))
		if n > 0 {
			out[table.Name] = n
		}
	}
	return out
}

// checksum is of all rows of a tenant, but for when they were inserted where again is
// set: a replay writes versions again.
func (l *line) checksum(site registry.Site, again bool) map[string]string {
	l.t.Helper()
	out := make(map[string]string)
	for _, table := range schema.Tables() {
		if table.Name == "ledger_edge" {
			continue // enrich reports what it counted some seconds later
		}
		columns := "*"
		if again {
			if columns = "* EXCEPT inserted_at"; table.Kind != schema.Base {
				continue
			}
		}
		var n, sum uint64
		l.must(l.rows.QueryRow(l.t.Context(), "SELECT count(), sum(cityHash64("+columns+")) FROM "+table.Name+" FINAL WHERE company_id = '"+site.CompanyID+"'").Scan(&n, &sum))
		out[table.Name] = fmt.Sprintf("%d rows, %x", n, sum)
	}
	return out
}
