package collector

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"image/gif"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/metiva-io/metiva/consent"
	"github.com/metiva-io/metiva/pkg/seal"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

func TestCORS(t *testing.T) {
	t.Parallel()
	e := startEdge(t, nil)
	other := siteRecord()
	other.SiteId, other.SiteKeys, other.AllowedOrigins = "sit_bbbbbbbbbbbbbbbbbbbb", []string{"pk_b"}, []string{"https://b.example.nl"}
	e.applySite(other)
	const allow = "Access-Control-Allow-Origin"

	for origin, want := range map[string]int{testOrigin: 204, "https://WWW.Example.nl:443": 204, "https://b.example.nl": 204, "https://evil.example": 403, "null": 403, "": 403} {
		a := e.do(http.MethodOptions, PathEvents, nil, map[string]string{"Origin": origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"})
		if a.status != want || (a.header.Get(allow) != "") != (want == 204) || a.header.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("preflight from %q: %d, %v", origin, a.status, a.header)
		}
		if want == 204 && (a.header.Get("Access-Control-Allow-Methods") != "POST" || a.header.Get("Access-Control-Allow-Headers") != "Content-Type, Content-Encoding" || a.header.Get("Access-Control-Max-Age") == "") {
			t.Errorf("preflight from %q: %v", origin, a.header)
		}
	}
	a := e.post(e.body(newPage(e)))
	if a.header.Get(allow) != testOrigin || a.header.Get("Vary") != "Origin" {
		t.Errorf("accepted: %v", a.header)
	}
	// Another site's page may preflight, but neither send nor read here.
	a = e.post(e.body(newPage(e)), header("Origin", "https://b.example.nl"))
	if a.status != 403 || a.header.Get(allow) != "" {
		t.Errorf("other site's origin: %d %v", a.status, a.header)
	}
	// A page that may read sees why it was refused.
	if a = e.post(`{"site":`); a.status != 400 || a.header.Get(allow) != testOrigin {
		t.Errorf("malformed: %d %v", a.status, a.header)
	}
	// An origin is gone with its last site.
	if err := e.ApplySite([]byte(other.GetSiteId()), nil); err != nil {
		t.Fatal(err)
	}
	if a := e.do(http.MethodOptions, PathEvents, nil, map[string]string{"Origin": "https://b.example.nl"}); a.status != 403 {
		t.Errorf("removed site's origin: %d", a.status)
	}
}

func TestPixel(t *testing.T) {
	t.Parallel()
	e := startEdge(t, nil)
	get := func(query string, headers map[string]string) {
		t.Helper()
		headers["X-Forwarded-For"], headers["User-Agent"] = testVisitor, cmp.Or(headers["User-Agent"], testAgent)
		a := e.do(http.MethodGet, PathPixel+query, nil, headers)
		if a.status != 200 || a.header.Get("Cache-Control") != "no-store" || a.header.Get("Content-Type") != "image/gif" || len(a.body) != 43 {
			t.Errorf("%s: %d %v, %d bytes", query, a.status, a.header, len(a.body))
		}
		if _, err := gif.Decode(bytes.NewReader(a.body)); err != nil {
			t.Errorf("%s: %v", query, err)
		}
	}
	site := "?site=" + testKey
	page := "&u=" + url.QueryEscape(testOrigin+"/noscript?utm_source=x")
	get(site, map[string]string{"Referer": testOrigin + "/page?x=1"})
	if ev := e.only(1); ev.GetPath() != "/page" || ev.GetConsent() != metivav1.ConsentState_CONSENT_STATE_DENIED || ev.GetEventId()[6]>>4 != 7 || ev.GetOccurredAtMs() != ev.GetReceivedAtMs() {
		t.Errorf("pixel event %v", ev)
	}
	get(site+page, map[string]string{})
	if ev := e.only(2); ev.GetPath() != "/noscript" || ev.GetCampaign().GetSource() != "x" || bytes.Equal(ev.GetEventId(), e.log.events(t)[0].GetEventId()) {
		t.Errorf("pixel event %v", ev)
	}
	get(site+page, map[string]string{"Sec-GPC": "1"})
	get(site+page, map[string]string{"Referer": "https://evil.example/"})
	get(site+page, map[string]string{"Origin": "null"})
	get(site+"&u=https://evil.example/", map[string]string{})
	get(site, map[string]string{})
	get("?site=pk_other"+page, map[string]string{})
	get("", map[string]string{})
	get(site+page, map[string]string{"Purpose": "prefetch"})
	get(site+page, map[string]string{"User-Agent": testBot})
	e.only(2)
	wantLedger(t, e.stoppedLedger(), map[string]uint64{
		testCompany + "/none": 2, testCompany + "/objected": 1, testCompany + "/origin_not_allowed": 3, testCompany + "/malformed": 1, testCompany + "/prefetch": 1, testCompany + "/bot": 1,
		"/unknown_site": 1, "/malformed": 1,
	})
}

func TestScript(t *testing.T) {
	t.Parallel()
	e := startEdge(t, nil)
	a := e.do(http.MethodGet, PathScript, nil, nil)
	etag := a.header.Get("ETag")
	if a.status != 200 || string(a.body) != "snippet();" || a.header.Get("Cache-Control") != "public, max-age=3600" || !strings.HasPrefix(a.header.Get("Content-Type"), "text/javascript") || len(etag) < 10 {
		t.Errorf("%d %v %q", a.status, a.header, a.body)
	}
	if a := e.do(http.MethodGet, PathScript, nil, map[string]string{"If-None-Match": "W/" + etag}); a.status != 304 || len(a.body) != 0 {
		t.Errorf("with its ETag: %d", a.status)
	}
	if a := e.do(http.MethodHead, PathScript, nil, nil); a.status != 200 || len(a.body) != 0 || a.header.Get("Content-Length") != "10" {
		t.Errorf("HEAD: %d %v", a.status, a.header)
	}
}

func TestOtherPathsAndMethods(t *testing.T) {
	t.Parallel()
	e := startEdge(t, nil)
	for request, want := range map[string]int{
		"GET /": 404, "GET /v1/events": 405, "PUT /v1/events": 405, "POST /v1/pixel.gif": 405, "POST /v1/s.js": 405, "GET /metrics": 404, "GET /debug/pprof/": 404,
		"GET /v1/events/../../etc/passwd": 404, "POST /v1/EVENTS": 404,
	} {
		method, path, _ := strings.Cut(request, " ")
		a := e.do(method, path, nil, nil)
		if a.status != want || (a.header.Get("Allow") != "") != (want == 405) || a.header.Get("Server") != "" {
			t.Errorf("%s: %d %v", request, a.status, a.header)
		}
	}
	wantLedger(t, e.stoppedLedger(), map[string]uint64{})
}

// raw sends bytes and reads the answer's status, on its own connection.
func (e *edge) raw(parts ...string) (status int, body string) {
	e.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(e.url, "http://"))
	if err != nil {
		e.t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		e.t.Fatal(err)
	}
	for _, p := range parts {
		if _, err := io.WriteString(conn, p); err != nil {
			break // refused before its end
		}
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	content, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(content)
}

func TestRequestsThatCannotBeRead(t *testing.T) {
	t.Parallel()
	e := startEdge(t, func(c *Config) { c.ReadTimeout = 100 * time.Millisecond })
	head := "POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nOrigin: " + testOrigin + "\r\n"
	for _, tc := range []struct {
		name   string
		parts  []string
		status int
		reason string
	}{
		{"slow body", []string{head, "Content-Length: 100\r\n\r\n", "{"}, 408, "malformed"},
		{"slow headers", []string{"POST /v1/events HT"}, 408, "malformed"},
		{"gigantic length", []string{head, "Content-Length: 99999999999\r\n\r\n{"}, 413, "too_large"},
		{"length beyond numbers", []string{head, "Content-Length: 99999999999999999999999\r\n\r\n{"}, 400, "malformed"},
		{"endless chunks", []string{head, "Transfer-Encoding: chunked\r\n\r\n", strings.Repeat(fmt.Sprintf("2000\r\n%s\r\n", strings.Repeat("x", 0x2000)), 9)}, 413, "too_large"},
		{"long header", []string{head, "X: ", strings.Repeat("x", 9<<10), "\r\n\r\n"}, 431, "too_large"},
		{"not HTTP", []string{"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n"}, 400, "malformed"},
	} {
		status, body := e.raw(tc.parts...)
		if status != tc.status || !strings.Contains(body, `"reason":"`+tc.reason+`"`) {
			t.Errorf("%s: %d %s", tc.name, status, body)
		}
	}
	if a := e.post(e.body(newPage(e))); a.outcomes() != "accepted" {
		t.Errorf("after all that: %s", a.body)
	}
	if log := e.logged.String(); strings.Contains(log, "127.0.0.1") {
		t.Errorf("the log names a peer: %s", log)
	}
	wantLedger(t, e.stoppedLedger(), map[string]uint64{"/malformed": 4, "/too_large": 3, testCompany + "/none": 1})
}

func TestStopFinishesOpenRequests(t *testing.T) {
	t.Parallel()
	e := startEdge(t, nil)
	hold := make(chan struct{})
	e.log.mu.Lock()
	e.log.hold, e.log.arrived = hold, make(chan struct{}, 1)
	e.log.mu.Unlock()
	type reply struct {
		answered
		err error
	}
	replies := make(chan reply, 1)
	go func() {
		a, err := e.try(http.MethodPost, PathEvents, e.body(newPage(e)), browserHeaders())
		replies <- reply{a, err}
	}()
	<-e.log.arrived
	if err := e.ready.get(ReadyListener); err != nil {
		t.Errorf("not ready while serving: %v", err)
	}
	e.cancel()
	// The listener closes at once; the request stays open until Kafka answers.
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := net.Dial("tcp", strings.TrimPrefix(e.url, "http://"))
		if err != nil {
			break
		}
		conn.Close()
		select {
		case <-deadline:
			t.Fatal("the listener stays open")
		case <-tick.C:
		}
	}
	if e.ready.get(ReadyListener) == nil {
		t.Error("ready while stopping")
	}
	select {
	case err := <-e.ended:
		t.Fatalf("ended with an open request: %v", err)
	case r := <-replies:
		t.Fatalf("answered without an acknowledgement: %d %v", r.status, r.err)
	default:
	}
	close(hold)
	if r := <-replies; r.err != nil || r.outcomes() != "accepted" {
		t.Errorf("open request: %v %s", r.err, r.body)
	}
	wantLedger(t, e.stoppedLedger(), map[string]uint64{testCompany + "/none": 1})
}

// A request whose end the collector and a proxy may see in different places is
// the last of its connection.
func TestConnectionEndsAfterATransferEncoding(t *testing.T) {
	t.Parallel()
	e := startEdge(t, nil)
	const smuggled = "GET /v1/s.js HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 145.221.10.1\r\n\r\n"
	for name, head := range map[string]string{
		"both lengths": "Content-Length: 84\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"chunks":       "transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
	} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(e.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, "POST /v1/events HTTP/1.1\r\nHost: x\r\n"+head+smuggled); err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(conn)
		var ne net.Error
		if errors.As(err, &ne) && ne.Timeout() {
			t.Errorf("%s: the connection stays open", name)
		}
		if n := strings.Count(string(answer), "HTTP/1.1 "); n != 1 {
			t.Errorf("%s: %d answers: %q", name, n, answer)
		}
	}
}

func TestRunReportsAListenerThatEnds(t *testing.T) {
	t.Parallel()
	e := newEdge(t, nil, nil)
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	if err := e.Run(context.Background(), ln); err == nil {
		t.Error("Run hid that its listener ended")
	}
}

func TestRunEndedBeforeItBegan(t *testing.T) {
	t.Parallel()
	e := newEdge(t, nil, nil)
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := e.Run(ctx, ln); err != nil {
		t.Error(err)
	}
	if conn, err := net.Dial("tcp", ln.Addr().String()); err == nil {
		conn.Close()
		t.Error("the listener is open")
	}
}

func TestPanicOutsideAnEventFailsItsRequestAlone(t *testing.T) {
	t.Parallel()
	e := startEdge(t, nil)
	e.log.mu.Lock()
	e.log.refuse = func(topic string) error {
		if topic == schemas.TopicControlKeys {
			panic("jan@example.nl")
		}
		return nil
	}
	e.log.mu.Unlock()
	if a := e.post(e.body(newPage(e), newPage(e))); a.status != http.StatusInternalServerError || a.Reason != "internal" {
		t.Errorf("%d %s", a.status, a.body)
	}
	e.log.mu.Lock()
	e.log.refuse = nil
	e.log.mu.Unlock()
	if a := e.post(e.body(newPage(e))); a.outcomes() != "accepted" {
		t.Errorf("after the panic: %s", a.body)
	}
	if log := e.logged.String(); strings.Contains(log, "jan@") || !strings.Contains(log, "panic while handling") {
		t.Errorf("log %q", log)
	}
	wantLedger(t, e.stoppedLedger(), map[string]uint64{testCompany + "/internal": 2, testCompany + "/none": 1})
}

func TestRequestMemoryIsForgotten(t *testing.T) {
	t.Parallel()
	e := newEdge(t, nil, nil)
	r := newRequest(e.Collector)
	e.applySite(siteRecord())
	e.applySalt(testCompany, "2026-11-22")
	if err := r.batch.Parse([]byte(`{"site":"`+testKey+`","consent":"x","id":"i","url":"u"}`), 1); err != nil {
		t.Fatal(err)
	}
	r.site, r.total, r.counted, r.userAgent = e.sites.lookup(r.batch.Site), 3, true, []byte(testAgent)
	r.address = seal.AddressOf(netip.MustParseAddr(testVisitor), r.scratch)
	r.decision = consent.Decide(r.site.policy, consent.Signals{})
	r.results = append(r.results, result{hasID: true})
	address, work := r.address, r.work
	r.fill(r.decision, &incoming{}, 1)
	r.end()
	if r.work != nil {
		t.Fatal("the request still has its work")
	}
	r.work = work
	if r.site != nil || r.total != 0 || r.counted || r.userAgent != nil || address.IsValid() || r.decision.Allows() || len(r.results) != 0 || r.results[:1][0].hasID ||
		r.batch.Site != nil || r.batch.Consent != nil || len(r.batch.Events) != 0 || r.event.record.owner != nil {
		t.Errorf("the next request sees something of the last: %+v", r.batch)
	}
}

func TestReadiness(t *testing.T) {
	t.Parallel()
	e := newEdge(t, nil, nil)
	if e.ready.get(ReadyTables) == nil {
		t.Error("ready before the tables are read")
	}
	if a := len(ReadinessNames()); a != 3 {
		t.Errorf("%d names", a)
	}
	e.CaughtUp()
	if err := e.ready.get(ReadyTables); err != nil {
		t.Error(err)
	}
}

func TestBrokenControlRecordsAreCounted(t *testing.T) {
	t.Parallel()
	e := newEdge(t, nil, nil)
	e.applySite(siteRecord())
	saltKey, saltValue := e.saltRecord(testCompany, "2026-11-22")
	otherKey, _ := e.saltRecord("cmp_b", "2026-11-22")
	for topic, apply := range map[string]func() error{
		schemas.TopicControlSites:       func() error { return e.ApplySite([]byte("sit_other"), []byte{0xff}) },
		schemas.TopicControlKeys:        func() error { return e.ApplyKey(otherKey, saltValue) },
		schemas.TopicControlWithdrawals: func() error { return e.ApplyWithdrawal([]byte("x"), []byte("y")) },
	} {
		if err := apply(); err != nil {
			t.Errorf("%s: one bad record ends the table: %v", topic, err)
		}
		if !strings.Contains(e.logged.String(), topic) {
			t.Errorf("%s: not reported", topic)
		}
	}
	if e.sites.lookup([]byte(testKey)) == nil || e.sites.count() != 1 {
		t.Error("a good site is gone")
	}
	if err := e.ApplyKey(saltKey, saltValue); err != nil || e.salts.lookup(testCompany, e.clock.Now()) == nil {
		t.Errorf("a good salt is not there: %v", err)
	}
	// Yesterday's salt is not even opened, and today's is forgotten tomorrow.
	e.applySalt(testCompany, "2026-11-21")
	e.clock.Set(e.clock.Now().Add(24 * time.Hour))
	e.salts.forget()
	if left := *e.salts.of(testCompany).days.Load(); len(left) != 0 {
		t.Errorf("%d salts of past days", len(left))
	}
}

func TestASiteThatChangesIsNeverUnknown(t *testing.T) {
	t.Parallel()
	e := newEdge(t, nil, nil)
	e.applySite(siteRecord())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for version := range uint64(2000) {
			rec := siteRecord()
			rec.Version += version
			e.applySite(rec)
		}
	}()
	for {
		if s := e.sites.lookup([]byte(testKey)); s == nil || !e.sites.known([]byte(testOrigin)) {
			t.Fatal("the site or its origin was away while it changed")
		}
		select {
		case <-ended:
			return
		default:
		}
	}
}

func TestSitesKeepTheirKeysAndVersions(t *testing.T) {
	t.Parallel()
	e := newEdge(t, nil, nil)
	e.applySite(siteRecord())
	if s := e.sites.lookup([]byte(testKey)); !s.allows([]byte(testOrigin)) || s.allows([]byte("https://example.nl")) {
		t.Error("the allowed origins are not as registered")
	}
	odd := siteRecord()
	odd.SiteId, odd.SiteKeys, odd.AllowedOrigins = "sit_odd", []string{"pk_odd"}, []string{"nonsense", "HTTPS://Odd.example.nl:443/"}
	e.applySite(odd)
	if s := e.sites.lookup([]byte("pk_odd")); len(s.origins) != 1 || !s.allows([]byte("https://odd.example.nl")) {
		t.Errorf("origins %q", s.origins)
	}
	thief := siteRecord()
	thief.SiteId, thief.CompanyId = "sit_thief", "cmp_thief"
	e.applySite(thief)
	if s := e.sites.lookup([]byte(testKey)); s != nil {
		t.Errorf("a key claimed twice works for %s", s.companyID)
	}
	thief.Version, thief.Active = thief.GetVersion()+1, false
	e.applySite(thief)
	if s := e.sites.lookup([]byte(testKey)); s == nil || s.companyID != testCompany {
		t.Error("the key does not work again for the site that is left")
	}
	rotated := siteRecord()
	rotated.Version, rotated.SiteKeys = 3, []string{testKey, "pk_new"}
	e.applySite(rotated)
	stale := siteRecord()
	stale.Version, stale.Mode = 2, metivav1.SiteMode_SITE_MODE_OFF
	e.applySite(stale)
	for _, key := range []string{testKey, "pk_new"} {
		if s := e.sites.lookup([]byte(key)); s == nil || s.policy.Mode != metivav1.SiteMode_SITE_MODE_COMPANY {
			t.Errorf("key %s: a stale record won", key)
		}
	}
	rotated.Version, rotated.SiteKeys = 4, []string{"pk_new"}
	e.applySite(rotated)
	if e.sites.lookup([]byte(testKey)) != nil {
		t.Error("the rotated-out key still works")
	}
}

func TestConfigNamesEveryFault(t *testing.T) {
	t.Parallel()
	if err := (Config{}).Validate(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
	bad := Config{Name: strings.Repeat("n", 65), BodyBytesMax: -1, EventsPerRequestMax: -1, HeaderBytesMax: 100, ReadTimeout: -1, Partitions: 17}
	for _, network := range []string{"0.0.0.0/0", "::/0", "::ffff:10.0.0.0/104"} {
		bad.TrustedNetworks = append(bad.TrustedNetworks, netip.MustParsePrefix(network))
	}
	if err := bad.Validate(); err == nil || strings.Count(err.Error(), "\n") != 8 {
		t.Errorf("got %v", err)
	}
	if _, err := New(Config{}, Deps{}); err == nil || strings.Count(err.Error(), "missing") != 12 {
		t.Errorf("got %v", err)
	}
}
