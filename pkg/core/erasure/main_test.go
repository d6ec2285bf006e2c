package erasure

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/pkg/core/analytics"
	"github.com/metiva-io/metiva/pkg/core/registry"
	"github.com/metiva-io/metiva/pkg/embedded/clickhouse/clickhousetest"
	"github.com/metiva-io/metiva/pkg/embedded/kafka/kafkatest"
	"github.com/metiva-io/metiva/pkg/embedded/postgres/postgrestest"
	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/pkg/postgres"
	"github.com/metiva-io/metiva/pkg/seal"
	"github.com/metiva-io/metiva/pkg/secret"
	"github.com/metiva-io/metiva/pkg/tenant"
	"github.com/metiva-io/metiva/schemas"
	schema "github.com/metiva-io/metiva/schemas/clickhouse"
	"github.com/metiva-io/metiva/schemas/metivav1"
	postgresschema "github.com/metiva-io/metiva/schemas/postgres"
)

func TestMain(m *testing.M) {
	if clickhousetest.IsChild() {
		os.Exit(clickhousetest.Main(m))
	}
	postgrestest.Main(m)
}

const operator = "operator:test"

// visitor is the one to be erased, in every tenant the same id.
var visitor = [schemas.IDBytes]byte([]byte("0123456789abcdef"))

// world is real engines with two tenants of one agency.
type world struct {
	t        *testing.T
	db       *postgrestest.Server
	pool     *tenant.Pool
	worker   *tenant.Worker
	registry *registry.Store
	client   *kafka.Client
	producer *kafka.Producer
	rows     *clickhouse.Conn
	signer   Signer
	agency   registry.Agency
	a, b     tenant.Claim
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, db: postgrestest.Start(t)}
	var err error
	must := func() {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	w.pool, err = tenant.OpenPool(t.Context(), postgres.Config{URL: w.db.URL(postgresschema.RoleRW), ConnectionsMax: 4})
	must()
	t.Cleanup(w.pool.Close)
	w.worker, err = tenant.OpenWorker(t.Context(), postgres.Config{URL: w.db.URL(postgresschema.RoleWorker), ConnectionsMax: 4})
	must()
	t.Cleanup(w.worker.Close)
	w.registry = registry.NewStore(w.pool, w.worker)

	broker := kafkatest.Start(t)
	for _, topic := range schemas.Topics() {
		if topic.Compacted() {
			broker.CreateCompacted(topic.Name, topic.Partitions)
		} else {
			broker.CreateTopic(topic.Name, topic.Partitions)
		}
	}
	w.client, err = kafka.NewClient(kafka.Config{Brokers: broker.Addrs(), ClientID: "test"}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	must()
	t.Cleanup(func() { _ = w.client.Close() })
	w.producer, err = w.client.NewProducer(kafka.ProducerConfig{})
	must()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.producer.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })

	w.rows, err = clickhouse.Open(clickhouse.Config{URL: secret.New(clickhousetest.Start(t).URL())})
	must()
	t.Cleanup(func() { _ = w.rows.Close() })
	_, err = clickhouse.Migrate(context.Background(), w.rows, schema.Files, slog.New(slog.DiscardHandler))
	must()
	w.signer, err = NewSigner([]byte("an erasure key of a test, 32 byte"[:32]))
	must()
	w.agency, err = w.registry.CreateAgency(t.Context(), operator, "Bureau")
	must()
	w.a, w.b = w.tenant("Alpha"), w.tenant("Beta")
	return w
}

// tenant makes a client with something in every place that keeps data of tenants.
func (w *world) tenant(name string) tenant.Claim {
	w.t.Helper()
	ctx := w.t.Context()
	made, err := w.registry.CreateTenant(ctx, operator, w.agency.ID, name)
	if err != nil {
		w.t.Fatal(err)
	}
	claim, err := tenant.OperatorClaim(made.CompanyID, operator)
	if err != nil {
		w.t.Fatal(err)
	}
	brand, err := w.registry.CreateBrand(ctx, claim, name)
	if err != nil {
		w.t.Fatal(err)
	}
	site, err := w.registry.CreateSite(ctx, claim, registry.NewSite{BrandID: brand.ID, Name: name, AllowedOrigins: []string{"https://www.example.nl"}})
	if err != nil {
		w.t.Fatal(err)
	}
	err = tenant.Run(ctx, w.pool, claim, func(ctx context.Context, tx tenant.Tx) error {
		for _, s := range []string{
			`INSERT INTO core.consent_texts (brand_id, site_id, version, language, body, sha256) SELECT brand_id, id, 'v1', 'nl', 'x', sha256('x') FROM core.sites`,
			`INSERT INTO core.site_forms (brand_id, site_id, form_id, fields, text_versions) SELECT brand_id, id, 'contact', '[{}]', '{v1}' FROM core.sites`,
			`INSERT INTO core.memberships (user_id, role) VALUES ('` + tenant.NewID(tenant.PrefixUser) + `', 'analyst')`,
		} {
			if _, err := tx.Exec(ctx, s); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.registry.Suppress(ctx, claim, "office", []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}); err != nil {
		w.t.Fatal(err)
	}
	w.fillTopics(made.CompanyID, site.ID)
	w.fillTables(made.CompanyID, site.ID)
	return claim
}

// fillTopics: the site, two captures of the visitor and one of another, a day key, a
// salt, a withdrawal, and states of visits and accounts.
func (w *world) fillTopics(company, site string) {
	w.t.Helper()
	other := [schemas.IDBytes]byte{9}
	put := func(topic string, key []byte, m proto.Message) {
		w.t.Helper()
		value, err := proto.Marshal(m)
		if err == nil {
			err = w.producer.ProduceSync(w.t.Context(), topic, 0, key, value)
		}
		if err != nil {
			w.t.Fatal(err)
		}
	}
	put(schemas.TopicControlSites, []byte(site), &metivav1.SiteRecord{CompanyId: company, SiteId: site})
	for i, subject := range [][schemas.IDBytes]byte{visitor, visitor, other, {}} {
		key := &metivav1.DataKey{CompanyId: company, KeyId: uint64(schemas.TenantBucket(company))<<32 + uint64(len(company))<<16 + uint64(i) + uint64(company[5])<<40, Wrapped: []byte("wrapped")}
		if i < 3 {
			key.SubjectId = subject[:]
		}
		put(schemas.TopicControlKeys, seal.RecordKeyOf(key), &metivav1.KeyRecord{Kind: &metivav1.KeyRecord_DataKey{DataKey: key}})
	}
	put(schemas.TopicControlKeys, seal.SaltRecordKey(company, "2026-11-22"), &metivav1.KeyRecord{Kind: &metivav1.KeyRecord_VisitSalt{VisitSalt: &metivav1.VisitSalt{CompanyId: company}}})
	put(schemas.TopicControlWithdrawals, fmt.Appendf(nil, "%s/%x", company, other), &metivav1.Withdrawal{CompanyId: company, SubjectId: other[:]})
	for i, id := range [][]byte{visitor[:], other[:]} {
		put(schemas.TopicVisitsState, fmt.Appendf(nil, "%s%d", company[4:], i), &metivav1.VisitState{Kind: &metivav1.VisitState_Journal{Journal: &metivav1.VisitJournal{CompanyId: company, VisitorId: id}}})
	}
	put(schemas.TopicControlSuppressions, []byte(company), &metivav1.SuppressionRecord{CompanyId: company, Prefixes: [][]byte{schemas.AppendPrefix(nil, netip.MustParsePrefix("192.0.2.0/24"))}})
	put(schemas.TopicAccountsState, []byte(company+"/x"), &metivav1.AccountState{CompanyId: company, SiteId: site, AccountId: "ing.nl"})
}

const visitorEvents, allEvents = 8, 20

// fillTables: events and visits, some of them of the visitor, over two months.
func (w *world) fillTables(company, site string) {
	w.t.Helper()
	const n = allEvents
	ids, visitors, at, consents, expires, offsets := make([][]byte, n), make([][]byte, n), make([]time.Time, n), make([]string, n), make([]time.Time, n), make([]int64, n)
	for i := range n {
		ids[i], visitors[i], consents[i] = fmt.Appendf(nil, "%s%03d", company[len(company)-13:], i), make([]byte, 16), "denied"
		if i < visitorEvents {
			visitors[i], consents[i] = visitor[:], "analytics"
		}
		at[i] = time.Date(2026, time.Month(10+i%2), 3, 10, i, 0, 0, time.UTC)
		expires[i], offsets[i] = time.Now().AddDate(1, 0, 0), int64(i)
	}
	common := []clickhouse.Column{
		{Name: "tenant_bucket", Values: slices.Repeat([]uint8{schemas.TenantBucket(company)}, n)},
		{Name: "company_id", Values: slices.Repeat([]string{company}, n)},
		{Name: "site_id", Values: slices.Repeat([]string{site}, n)},
	}
	for table, columns := range map[string][]clickhouse.Column{
		"events": {
			{Name: "event_id", Values: ids},
			{Name: "visitor_id", Values: visitors},
			{Name: "consent", Values: consents},
			{Name: "received_at", Values: at},
			{Name: "expires_at", Values: expires},
			{Name: "source_offset", Values: offsets},
		},
		"visits": {
			{Name: "visit_id", Values: ids},
			{Name: "visitor_id", Values: visitors},
			{Name: "consent", Values: consents},
			{Name: "started_at", Values: at},
			{Name: "expires_at", Values: expires},
			{Name: "version", Values: make([]uint64, n)},
			{Name: "removed", Values: make([]uint8, n)},
		},
		"ledger_edge":   {{Name: "minute", Values: at}, {Name: "count", Values: make([]uint64, n)}},
		"ledger_checks": {{Name: "hour", Values: at}},
	} {
		of := slices.Clone(common)
		if table == "ledger_checks" {
			of = of[:2] // an hour of the tenant, of no site
		}
		if err := w.rows.Insert(w.t.Context(), table, "", append(of, columns...)); err != nil {
			w.t.Fatal(err)
		}
	}
}

// eraser is a process of its own, which ends where probe says.
func (w *world) eraser(probe func(string) error) *Eraser {
	w.t.Helper()
	e, err := New(Config{
		Pool: w.pool, Worker: w.worker, Registry: w.registry, Client: w.client, Producer: w.producer,
		Rows: func(claim analytics.VerifiedTenant, visitorID []byte) (Rows, error) {
			return analytics.NewEraser(w.rows, claim, visitorID)
		},
		Signer: w.signer, Log: slog.New(slog.DiscardHandler), Now: time.Now,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	if probe != nil {
		e.probe = probe
	}
	return e
}

// live is what a topic holds now, of one tenant: keys and values as text.
func (w *world) live(topic, company string) map[string]string {
	w.t.Helper()
	out := make(map[string]string)
	err := w.client.Scan(w.t.Context(), topic, func(r *kafka.Record) error {
		name := fmt.Sprintf("%d/%q", r.Partition, r.Key)
		if delete(out, name); len(r.Value) > 0 && strings.Contains(string(r.Key)+string(r.Value), company) {
			out[name] = string(r.Value)
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

// everything is a hash of all that is kept of a tenant, by place.
func (w *world) everything(company string) map[string]string {
	w.t.Helper()
	out := make(map[string]string)
	for _, topic := range schemas.Topics() {
		for key, value := range w.live(topic.Name, company) {
			out[topic.Name+" "+key] = value
		}
	}
	for _, table := range schema.Tables() {
		var n, sum uint64
		sql := "SELECT count(), sum(cityHash64(*)) FROM " + table.Name + " FINAL WHERE company_id = {c:String}"
		if err := w.rows.QueryRow(w.t.Context(), sql, clickhouse.Param("c", company)).Scan(&n, &sum); err != nil {
			w.t.Fatal(err)
		}
		out["clickhouse "+table.Name] = fmt.Sprintf("%d rows, %x", n, sum)
	}
	for _, table := range w.tables() {
		var text string
		sql := "SELECT count(*)::text || coalesce(md5(string_agg(t::text, '|' ORDER BY t::text)), '') FROM " + table + " t WHERE company_id = $1"
		if err := w.admin().QueryRow(w.t.Context(), sql, company).Scan(&text); err != nil {
			w.t.Fatal(err)
		}
		out["postgres "+table] = text
	}
	return out
}

func (w *world) admin() *pgx.Conn {
	w.t.Helper()
	conn, err := pgx.Connect(w.t.Context(), w.db.AdminURL().Reveal())
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// tables are the tenant tables of the database itself.
func (w *world) tables() []string {
	w.t.Helper()
	rows, err := w.admin().Query(w.t.Context(), `SELECT a.attrelid::regclass::text FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
JOIN pg_namespace n ON n.oid = c.relnamespace WHERE a.attname = 'company_id' AND NOT a.attisdropped AND c.relkind IN ('r', 'p') AND n.nspname NOT LIKE 'pg\_%' ORDER BY 1`)
	if err != nil {
		w.t.Fatal(err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		w.t.Fatal(err)
	}
	return names
}

// same fails for every place where the two differ, but for those let.
func same(t *testing.T, who string, before, after map[string]string, let func(place string) bool) {
	t.Helper()
	places := maps.Clone(before)
	maps.Copy(places, after)
	for place := range places {
		if before[place] != after[place] && (let == nil || !let(place)) {
			t.Errorf("%s changed in %s:\n%q\n%q", who, place, before[place], after[place])
		}
	}
}
