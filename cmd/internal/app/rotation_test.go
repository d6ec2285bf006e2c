package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/metiva-io/metiva/cmd/internal/app"
	"github.com/metiva-io/metiva/pkg/core/registry"
	"github.com/metiva-io/metiva/pkg/embedded/kafka/kafkatest"
	"github.com/metiva-io/metiva/pkg/embedded/postgres/postgrestest"
	"github.com/metiva-io/metiva/pkg/postgres"
	"github.com/metiva-io/metiva/pkg/seal"
	"github.com/metiva-io/metiva/pkg/tenant"
	"github.com/metiva-io/metiva/pkg/waittest"
	"github.com/metiva-io/metiva/schemas"
	schema "github.com/metiva-io/metiva/schemas/postgres"
)

func TestMain(m *testing.M) { postgrestest.Main(m) }

// pair is core and a collector, run as their processes run, on one broker and one
// database.
type pair struct {
	t             *testing.T
	store         *registry.Store
	public, admin string // addresses of the collector
	broker, keys  string // address of the broker, and the directory of the keys
	stopCollector context.CancelFunc
	collectorEnd  chan error
}

const pairOrigin = "https://www.example.nl"

func startPair(t *testing.T, settings map[string]string) *pair {
	t.Helper()
	db, broker, keys := postgrestest.Start(t), kafkatest.Start(t), t.TempDir()
	for _, topic := range schemas.Topics() {
		if topic.Compacted() {
			broker.CreateCompacted(topic.Name)
		} else {
			broker.CreateTopic(topic.Name, topic.Partitions)
		}
	}
	if err := seal.GenerateDevelopmentKeys(keys); err != nil {
		t.Fatal(err)
	}
	p := &pair{t: t, public: freeAddr(t), admin: freeAddr(t), broker: broker.Addrs()[0], keys: keys, collectorEnd: make(chan error, 1)}
	shared := map[string]string{
		"METIVA_ENV": "development", "METIVA_REGION": "nl", "METIVA_KAFKA_BROKERS": broker.Addrs()[0], "METIVA_KEYS_DIR": keys, "METIVA_LOG_LEVEL": "error",
	}
	with := func(own map[string]string) func(string) (string, bool) {
		return func(name string) (string, bool) {
			if v, ok := own[name]; ok {
				return v, true
			}
			v, ok := shared[name]
			return v, ok
		}
	}
	collectorEnv := map[string]string{"METIVA_COLLECTOR_LISTEN": p.public, "METIVA_ADMIN_LISTEN": p.admin, "METIVA_COLLECTOR_STOP_DELAY": "0s", "METIVA_COLLECTOR_SPOOL_DIR": t.TempDir()}
	for name, value := range settings {
		collectorEnv[name] = value
	}
	var running sync.WaitGroup
	coreCtx, stopCore := context.WithCancel(context.Background())
	collectorCtx, stopCollector := context.WithCancel(context.Background())
	p.stopCollector = stopCollector
	running.Go(func() {
		err := processes()["core"].run(coreCtx, app.System{Stdout: io.Discard, Stderr: io.Discard, Env: with(map[string]string{
			"METIVA_POSTGRES_URL": db.URL(schema.RoleRW).Reveal(), "METIVA_POSTGRES_WORKER_URL": db.URL(schema.RoleWorker).Reveal(),
		})})
		if err != nil {
			t.Errorf("core: %v", err)
		}
	})
	running.Go(func() {
		p.collectorEnd <- processes()["collector"].run(collectorCtx, app.System{Stdout: io.Discard, Stderr: io.Discard, Env: with(collectorEnv)})
	})
	t.Cleanup(func() { stopCollector(); stopCore(); running.Wait() })

	pool, err := tenant.OpenPool(t.Context(), postgres.Config{URL: db.URL(schema.RoleRW), ConnectionsMax: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	worker, err := tenant.OpenWorker(t.Context(), postgres.Config{URL: db.URL(schema.RoleWorker), ConnectionsMax: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(worker.Close)
	p.store = registry.NewStore(pool, worker)
	waittest.Until(t, 30*time.Second, "the collector to be ready", func() bool {
		select {
		case err := <-p.collectorEnd:
			t.Fatalf("the collector ended: %v", err)
		default:
		}
		return p.status("http://"+p.admin+"/readyz") == http.StatusOK
	})
	return p
}

func freeAddr(t *testing.T) string {
	t.Helper()
	var lc net.ListenConfig
	ln, err := lc.Listen(t.Context(), "tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	return ln.Addr().String()
}

// status is the status of a GET, 0 when nobody answers.
func (p *pair) status(url string) int {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	res, err := client.Do(req)
	if err != nil {
		return 0
	}
	_ = res.Body.Close()
	return res.StatusCode
}

// site makes a tenant with one site.
func (p *pair) site() (tenant.Claim, registry.Site) {
	p.t.Helper()
	const actor = "operator:test"
	agency, err := p.store.CreateAgency(p.t.Context(), actor, "Bureau")
	var client registry.Tenant
	if err == nil {
		client, err = p.store.CreateTenant(p.t.Context(), actor, agency.ID, "Klant")
	}
	if err != nil {
		p.t.Fatal(err)
	}
	claim, err := tenant.OperatorClaim(client.CompanyID, actor)
	if err != nil {
		p.t.Fatal(err)
	}
	brand, err := p.store.CreateBrand(p.t.Context(), claim, "Merk")
	var site registry.Site
	if err == nil {
		site, err = p.store.CreateSite(p.t.Context(), claim, registry.NewSite{BrandID: brand.ID, Name: "Site", AllowedOrigins: []string{pairOrigin}})
	}
	if err != nil {
		p.t.Fatal(err)
	}
	return claim, site
}

// view sends a page view and says what became of it: "accepted" or the reason.
func (p *pair) view(key string) string {
	p.t.Helper()
	body := fmt.Sprintf(`{"site":%q,"id":%q,"type":"page_view","at":%d,"url":"%s/a"}`, key, uuid.Must(uuid.NewV7()), time.Now().UnixMilli(), pairOrigin)
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodPost, "http://"+p.public+"/v1/events", bytes.NewReader([]byte(body)))
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "text/plain")
	req.Header.Set("Origin", pairOrigin)
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	res, err := client.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	var answer struct {
		Reason  string
		Results []struct{ Outcome, Reason string }
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		p.t.Fatal(err)
	}
	if len(answer.Results) == 1 {
		return answer.Results[0].Outcome
	}
	return answer.Reason
}

// TestKeyRotationReachesTheCollector: while they overlap both keys work, and then
// the old one does not.
func TestKeyRotationReachesTheCollector(t *testing.T) {
	t.Parallel()
	p := startPair(t, nil)
	claim, site := p.site()
	first := site.Keys[0].Key
	waittest.Until(t, 20*time.Second, "the site to be known", func() bool { return p.view(first) == "accepted" })
	const overlap = 3 * time.Second
	site, err := p.store.RotateSiteKey(t.Context(), claim, site.ID, overlap)
	if err != nil {
		t.Fatal(err)
	}
	second, retires := site.Keys[0].Key, site.Keys[1].RetiresAt
	waittest.Until(t, 20*time.Second, "the new key to be known", func() bool { return p.view(second) == "accepted" })
	if time.Now().After(retires) {
		t.Fatal("the machine is too slow for this test: the overlap has passed")
	}
	if got := p.view(first); got != "accepted" && time.Now().Before(retires) {
		t.Errorf("the old key within the overlap: %s", got)
	}
	waittest.Until(t, 20*time.Second, "the old key to stop", func() bool { return p.view(first) == "unknown_site" })
	if time.Now().Before(retires.Add(-time.Second)) { // the clock is the database's
		t.Error("the old key stopped before its time")
	}
	if got := p.view(second); got != "accepted" {
		t.Errorf("the new key after the overlap: %s", got)
	}
}

// TestProfilesAreOnTheAdminListenerOnly, as are metrics and readiness.
func TestProfilesAreOnTheAdminListenerOnly(t *testing.T) {
	t.Parallel()
	p := startPair(t, nil)
	for _, path := range []string{"/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/profile?seconds=1", "/debug/pprof/goroutine", "/metrics", "/readyz", "/healthz"} {
		if got := p.status("http://" + p.admin + path); got != http.StatusOK {
			t.Errorf("the admin listener answers %s with %d", path, got)
		}
		if got := p.status("http://" + p.public + path); got != http.StatusNotFound {
			t.Errorf("the public listener answers %s with %d", path, got)
		}
	}
}

// TestAStoppingCollectorServesUntilItIsNoticed: readiness says no at once, and the
// public listener answers on.
func TestAStoppingCollectorServesUntilItIsNoticed(t *testing.T) {
	t.Parallel()
	p := startPair(t, map[string]string{"METIVA_COLLECTOR_STOP_DELAY": "2s"})
	begun := time.Now()
	p.stopCollector()
	waittest.Until(t, 10*time.Second, "readiness to say no", func() bool { return p.status("http://"+p.admin+"/readyz") == http.StatusServiceUnavailable })
	if noticed := time.Since(begun); noticed < time.Second {
		if got := p.status("http://" + p.public + "/v1/s.js"); got != http.StatusOK {
			t.Errorf("the public listener answers %d while it stands by", got)
		}
	} else {
		t.Logf("readiness said no after %v: too late to look at the public listener", noticed)
	}
	select {
	case err := <-p.collectorEnd:
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if took := time.Since(begun); took < 2*time.Second {
			t.Errorf("it stopped after %v", took)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the collector does not stop")
	}
}
