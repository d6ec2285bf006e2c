package collector

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/consent"
	"github.com/metiva-io/metiva/pkg/seal"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

const (
	testCompany = "cmp_aaaaaaaaaaaaaaaaaaaa"
	testSite    = "sit_aaaaaaaaaaaaaaaaaaaa"
	testKey     = "pk_aaaaaaaaaaaaaaaaaaaaaaaa"
	testOrigin  = "https://www.example.nl"
	testAgent   = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36"
	testVisitor = "145.221.173.91"
)

// testClock is a settable time source.
type testClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *testClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *testClock) Set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = t
}

// readiness remembers what was reported.
type readiness struct {
	mu     sync.Mutex
	states map[string]error
}

func (r *readiness) Set(name string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.states[name] = err
}

func (r *readiness) get(name string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.states[name]
}

// edge is a running collector with all that surrounds it.
type edge struct {
	*Collector
	t      testing.TB
	log    *memoryLog
	clock  *testClock
	ready  *readiness
	logged *syncBuffer
	reg    *prometheus.Registry
	tokens *consent.Tokens
	opener *seal.Opener
	keys   map[string]seal.KeyMaterial
	url    string
	cancel context.CancelFunc
	ended  chan error
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func siteRecord() *metivav1.SiteRecord {
	return &metivav1.SiteRecord{
		CompanyId: testCompany, BrandId: "brd_aaaaaaaaaaaaaaaaaaaa", SiteId: testSite, SiteKeys: []string{testKey},
		AllowedOrigins: []string{testOrigin, "http://localhost:8080"}, Mode: metivav1.SiteMode_SITE_MODE_COMPANY, HonourDnt: true,
		RetentionDays: 400, Active: true, Version: 1,
	}
}

// testKeys makes one set of keys per test.
func testKeys(t testing.TB) map[string]seal.KeyMaterial {
	t.Helper()
	dir := t.TempDir()
	if err := seal.GenerateDevelopmentKeys(dir); err != nil {
		t.Fatal(err)
	}
	out := map[string]seal.KeyMaterial{}
	for _, purpose := range seal.Purposes() {
		m, err := seal.ReadKeyFile(filepath.Join(dir, seal.KeyFileName(purpose)), purpose)
		if err != nil {
			t.Fatal(err)
		}
		out[purpose] = m
	}
	return out
}

// newEdge builds a collector over producer; nil is a new memoryLog.
func newEdge(t testing.TB, producer Producer, change func(*Config)) *edge {
	t.Helper()
	return newEdgeWith(t, producer, testKeys(t), change)
}

// newEdgeWith builds a collector that shares its keys with others.
func newEdgeWith(t testing.TB, producer Producer, keys map[string]seal.KeyMaterial, change func(*Config)) *edge {
	t.Helper()
	e := &edge{
		t: t, clock: &testClock{now: time.Date(2026, 11, 22, 12, 0, 30, 0, time.UTC)}, logged: &syncBuffer{},
		ready: &readiness{states: map[string]error{}}, reg: prometheus.NewRegistry(), keys: keys, ended: make(chan error, 1),
	}
	if producer == nil {
		e.log = &memoryLog{over: t.Context().Done()}
		producer = e.log
	}
	resolver, err := e.keys[seal.PurposeResolverPrivate].PrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	edgeKey, err := e.keys[seal.PurposeEdgePrivate].PrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	if e.tokens, err = consent.NewTokens(e.keys[seal.PurposeConsentToken].Secret()); err != nil {
		t.Fatal(err)
	}
	e.opener = seal.NewOpener(resolver)
	cfg := Config{Name: "edge", TrustedNetworks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8")}, LedgerInterval: 10 * time.Millisecond}
	if change != nil {
		change(&cfg)
	}
	e.Collector, err = New(cfg, Deps{
		Producer: producer, Ping: func(context.Context) error { return nil }, ResolverKey: resolver.Public(), EdgeKey: edgeKey, Tokens: e.tokens,
		Snippet: []byte("snippet();"), Released: [][]byte{[]byte(olderScript), []byte("snippet();")}, Adapters: []byte("adapters();"), Banner: []byte("banner();"), ReleasedAdapters: [][]byte{[]byte(olderAdapters)}, Readiness: e.ready, Log: slog.New(slog.NewTextHandler(e.logged, &slog.HandlerOptions{Level: slog.LevelDebug})), Registry: e.reg, Now: e.clock.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// startEdge runs a collector that knows the test's site and salt.
func startEdge(t testing.TB, change func(*Config)) *edge {
	t.Helper()
	e := newEdge(t, nil, change)
	e.applySite(siteRecord())
	e.applySalt(testCompany, "2026-11-22")
	e.CaughtUp()
	e.start()
	return e
}

func (e *edge) start() {
	e.t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		e.t.Fatal(err)
	}
	e.url = "http://" + ln.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	e.cancel = cancel
	go func() { e.ended <- e.Run(ctx, ln) }()
	e.t.Cleanup(func() { _ = e.stop() })
}

// stop ends the collector and returns what Run returned.
func (e *edge) stop() error {
	e.cancel()
	err := <-e.ended
	e.ended <- err
	return err
}

func (e *edge) applySite(rec *metivav1.SiteRecord) {
	e.t.Helper()
	value, err := proto.Marshal(rec)
	if err != nil {
		e.t.Fatal(err)
	}
	if err := e.ApplySite([]byte(rec.GetSiteId()), value); err != nil {
		e.t.Fatal(err)
	}
}

func (e *edge) saltRecord(company, day string) (key, value []byte) {
	e.t.Helper()
	pub, err := e.keys[seal.PurposeEdgePublic].PublicKey()
	if err != nil {
		e.t.Fatal(err)
	}
	var salt [32]byte
	copy(salt[:], day+company)
	rec, err := seal.WrapSalt(pub, company, day, salt)
	if err != nil {
		e.t.Fatal(err)
	}
	value, err = proto.Marshal(&metivav1.KeyRecord{Kind: &metivav1.KeyRecord_VisitSalt{VisitSalt: rec}})
	if err != nil {
		e.t.Fatal(err)
	}
	return seal.SaltRecordKey(company, day), value
}

func (e *edge) applySalt(company, day string) {
	e.t.Helper()
	key, value := e.saltRecord(company, day)
	if err := e.ApplyKey(key, value); err != nil {
		e.t.Fatal(err)
	}
}

// open reads the sealed values of an event with the keys produced so far.
func (e *edge) open(ev *metivav1.CollectedEvent) (network, agent string) {
	e.t.Helper()
	for _, r := range e.log.of(schemas.TopicControlKeys) {
		if err := e.opener.ApplyKey(r.key, r.value); err != nil {
			e.t.Fatal(err)
		}
	}
	b := seal.Binding{CompanyID: ev.GetCompanyId(), SiteID: ev.GetSiteId(), EventID: [16]byte(ev.GetEventId()), Field: seal.FieldAddress}
	truncated, err := e.opener.OpenAddress(b, ev.GetSealedAddress())
	if err != nil {
		e.t.Fatal(err)
	}
	if len(ev.GetSealedUserAgent()) > 0 {
		b.Field = seal.FieldUserAgent
		plain, err := e.opener.OpenBytes(nil, b, ev.GetSealedUserAgent())
		if err != nil {
			e.t.Fatal(err)
		}
		agent = string(plain)
	}
	return truncated.Prefix().String(), agent
}

// page is one event as the snippet sends it.
type page map[string]any

func newPage(e *edge) page {
	return page{"id": uuid.Must(uuid.NewV7()).String(), "type": "page_view", "at": e.clock.Now().UnixMilli(), "url": testOrigin + "/a", "referrer": "https://www.google.com/search?q=x"}
}

func (p page) with(name string, value any) page {
	out := maps.Clone(p)
	out[name] = value
	return out
}

// body is a batch of events for the test's site, sent now.
func (e *edge) body(pages ...page) map[string]any {
	return map[string]any{"site": testKey, "sent_at": e.clock.Now().UnixMilli(), "events": pages}
}

// answered is the collector's answer.
type answered struct {
	status  int
	header  http.Header
	body    []byte
	Results []struct{ ID, Outcome, Reason string }
	Reason  string
}

func (a answered) outcomes() string {
	var out []string
	for _, r := range a.Results {
		out = append(out, strings.TrimSuffix(r.Outcome+":"+r.Reason, ":"))
	}
	return strings.Join(out, " ")
}

func browserHeaders() map[string]string {
	return map[string]string{"Origin": testOrigin, "Content-Type": "text/plain;charset=UTF-8", "User-Agent": testAgent, "X-Forwarded-For": testVisitor}
}

// do sends a request; body is marshalled unless it is text.
func (e *edge) do(method, path string, body any, headers map[string]string) answered {
	e.t.Helper()
	a, err := e.try(method, path, body, headers)
	if err != nil {
		e.t.Fatal(err)
	}
	return a
}

func (e *edge) try(method, path string, body any, headers map[string]string) (answered, error) {
	var reader io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		reader = strings.NewReader(b)
	default:
		raw, err := json.Marshal(b)
		if err != nil {
			return answered{}, err
		}
		reader = bytes.NewReader(raw)
	}
	req, err := http.NewRequest(method, e.url+path, reader)
	if err != nil {
		return answered{}, err
	}
	for name, value := range headers {
		if value != "" {
			req.Header.Set(name, value)
		}
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 20 * time.Second}
	res, err := client.Do(req)
	if err != nil {
		return answered{}, err
	}
	defer res.Body.Close()
	a := answered{status: res.StatusCode, header: res.Header}
	if a.body, err = io.ReadAll(res.Body); err != nil {
		return answered{}, err
	}
	if strings.HasPrefix(res.Header.Get("Content-Type"), "application/json") {
		if err := json.Unmarshal(a.body, &a); err != nil {
			return answered{}, fmt.Errorf("answer %q: %w", a.body, err)
		}
	}
	return a, nil
}

func (e *edge) post(body any, change ...func(map[string]string)) answered {
	e.t.Helper()
	h := browserHeaders()
	for _, f := range change {
		f(h)
	}
	return e.do(http.MethodPost, PathEvents, body, h)
}

func header(name, value string) func(map[string]string) {
	return func(h map[string]string) { h[name] = value }
}
