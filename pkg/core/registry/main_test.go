package registry_test

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/pkg/core/registry"
	"github.com/metiva-io/metiva/pkg/embedded/postgres/postgrestest"
	"github.com/metiva-io/metiva/pkg/postgres"
	"github.com/metiva-io/metiva/pkg/seal"
	"github.com/metiva-io/metiva/pkg/tenant"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
	schema "github.com/metiva-io/metiva/schemas/postgres"
)

const operator = "operator:test"

func TestMain(m *testing.M) { postgrestest.Main(m, func() error { return goleak.Find() }) }

// world is a database with its store, its publisher and a log in Kafka's
// place.
type world struct {
	t      *testing.T
	db     *postgrestest.Server
	pool   *tenant.Pool
	worker *tenant.Worker
	store  *registry.Store
	topics *topics
	edge   seal.PrivateKey
	clock  *clock
}

func newWorld(t *testing.T) *world {
	t.Helper()
	db := postgrestest.Start(t)
	pool, err := tenant.OpenPool(t.Context(), postgres.Config{URL: db.URL(schema.RoleRW), ConnectionsMax: 4})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	worker, err := tenant.OpenWorker(t.Context(), postgres.Config{URL: db.URL(schema.RoleWorker), ConnectionsMax: 6})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(worker.Close)
	return &world{
		t: t, db: db, pool: pool, worker: worker, store: registry.NewStore(pool, worker),
		topics: &topics{}, edge: edgeKey(t),
		clock: &clock{now: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)},
	}
}

func edgeKey(t *testing.T) seal.PrivateKey {
	t.Helper()
	dir := t.TempDir()
	if err := seal.GenerateDevelopmentKeys(dir); err != nil {
		t.Fatal(err)
	}
	file, err := seal.ReadKeyFile(dir+"/"+seal.KeyFileName(seal.PurposeEdgePrivate), seal.PurposeEdgePrivate)
	if err != nil {
		t.Fatal(err)
	}
	key, err := file.PrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (w *world) publisher() *registry.Publisher { return w.reporting(nil) }

func (w *world) reporting(report func(error)) *registry.Publisher {
	w.t.Helper()
	p, err := registry.NewPublisher(registry.PublisherConfig{
		Pool: w.pool, Worker: w.worker, Kafka: w.topics, Edge: w.edge.Public(),
		Log: slog.New(slog.DiscardHandler), Now: w.clock.read,
		PollEvery: 50 * time.Millisecond, SaltsEvery: 100 * time.Millisecond, Report: report,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

func (w *world) flush(p *registry.Publisher) {
	w.t.Helper()
	if err := p.Flush(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

// tenantWithSite makes an agency's client with a brand and a site.
func (w *world) tenantWithSite(name string) (tenant.Claim, registry.Site) {
	w.t.Helper()
	agency, err := w.store.CreateAgency(w.t.Context(), operator, "Agency of "+name)
	if err != nil {
		w.t.Fatal(err)
	}
	client, err := w.store.CreateTenant(w.t.Context(), operator, agency.ID, name)
	if err != nil {
		w.t.Fatal(err)
	}
	claim := w.claim(client.CompanyID)
	brand, err := w.store.CreateBrand(w.t.Context(), claim, "Brand")
	if err != nil {
		w.t.Fatal(err)
	}
	site, err := w.store.CreateSite(w.t.Context(), claim, registry.NewSite{
		BrandID: brand.ID, Name: "Site of " + name, AllowedOrigins: []string{"https://WWW.Example.com/", "http://localhost:8080"},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return claim, site
}

func (w *world) claim(companyID string) tenant.Claim {
	w.t.Helper()
	claim, err := tenant.OperatorClaim(companyID, operator)
	if err != nil {
		w.t.Fatal(err)
	}
	return claim
}

type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) read() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

type record struct {
	topic      string
	key, value []byte
}

// topics stands in for Kafka: an append-only log. Publishing itself is tested
// against the real protocol in pkg/kafka.
type topics struct {
	mu  sync.Mutex
	log []record
	// refuse, when set, is asked before each record is taken.
	refuse func(n int) error
}

var errDown = errors.New("no broker answers")

func (k *topics) Publish(_ context.Context, topic string, key, value []byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.refuse != nil {
		if err := k.refuse(len(k.log)); err != nil {
			return err
		}
	}
	k.log = append(k.log, record{topic, slices.Clone(key), slices.Clone(value)})
	return nil
}

func (k *topics) all(topic string) []record {
	k.mu.Lock()
	defer k.mu.Unlock()
	var out []record
	for _, r := range k.log {
		if r.topic == topic {
			out = append(out, r)
		}
	}
	return out
}

// table is what a compacted topic holds: the last value of each key.
func (k *topics) table(topic string) map[string][]byte {
	out := map[string][]byte{}
	for _, r := range k.all(topic) {
		if len(r.value) == 0 {
			delete(out, string(r.key))
			continue
		}
		out[string(r.key)] = r.value
	}
	return out
}

func (k *topics) site(t *testing.T, id string) *metivav1.SiteRecord {
	t.Helper()
	value, ok := k.table(schemas.TopicControlSites)[id]
	if !ok {
		t.Fatalf("site %s is not on the topic", id)
	}
	rec := &metivav1.SiteRecord{}
	if err := proto.Unmarshal(value, rec); err != nil {
		t.Fatal(err)
	}
	return rec
}

// forms are the ways bytes may stand in a text dump.
func forms(b []byte) map[string]string {
	return map[string]string{
		"hexadecimal": hex.EncodeToString(b),
		"base64":      base64.StdEncoding.EncodeToString(b)[:40],
		"plain":       string(b),
	}
}

// lastInOrder checks that each version of a site came once and in order, and
// returns the last.
func (k *topics) lastInOrder(t *testing.T, siteID string) (last uint64) {
	t.Helper()
	for _, r := range k.all(schemas.TopicControlSites) {
		if string(r.key) != siteID {
			continue
		}
		rec := &metivav1.SiteRecord{}
		if err := proto.Unmarshal(r.value, rec); err != nil {
			t.Fatal(err)
		}
		if rec.GetVersion() != last+1 {
			t.Fatalf("version %d after %d", rec.GetVersion(), last)
		}
		last = rec.GetVersion()
	}
	return last
}
