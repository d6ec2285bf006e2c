package collector

import (
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// TestWhatEntersLeaves: however a request ends, its events are no longer counted
// as waiting.
func TestWhatEntersLeaves(t *testing.T) {
	t.Parallel()
	e := startEdge(t, func(c *Config) { c.InFlightEventsMax, c.AckTimeout = 3, 50*time.Millisecond })
	pixel := PathPixel + "?site=" + testKey + "&u=" + testOrigin + "/x"
	seen := browserHeaders()
	if a := e.post(e.body(newPage(e), newPage(e), newPage(e))); a.status != 200 {
		t.Errorf("as many as may be: %d", a.status)
	}
	e.do(http.MethodGet, pixel, nil, seen)
	if a := e.post(e.body(newPage(e), newPage(e), newPage(e), newPage(e))); a.status != 503 {
		t.Errorf("too many: %d", a.status)
	}
	e.log.mu.Lock()
	e.log.hold = make(chan struct{}) // nothing is acknowledged
	e.log.mu.Unlock()
	e.post(e.body(newPage(e)))
	e.do(http.MethodGet, pixel, nil, seen)
	e.log.mu.Lock()
	e.log.refuse = func(topic string) error {
		if topic == schemas.TopicEventsCollected {
			panic("x")
		}
		return nil
	}
	e.log.mu.Unlock()
	e.post(e.body(newPage(e)))
	e.do(http.MethodGet, pixel, nil, seen)
	if n := e.inFlight.Load(); n != 0 {
		t.Errorf("%d events wait for ever", n)
	}
	e.log.mu.Lock()
	e.log.refuse = nil
	e.log.mu.Unlock()
	wantLedger(t, e.stoppedLedger(), map[string]uint64{
		testCompany + "/none": 4, testCompany + "/overloaded": 4, testCompany + "/unacknowledged": 2, testCompany + "/internal": 2,
	})
}

// TestTheLongerWaitIsTold: of a batch that is partly over a limit and partly not
// durable, nobody is told to come back before the limit has room.
func TestTheLongerWaitIsTold(t *testing.T) {
	t.Parallel()
	e := startEdge(t, func(c *Config) { c.TenantEventsPerMinute = 1 })
	e.log.mu.Lock()
	e.log.hold, e.log.ackErr = closedChan(), errTest
	e.log.mu.Unlock()
	a := e.post(e.body(newPage(e), newPage(e)))
	if a.status != 503 || a.outcomes() != "retry:unacknowledged retry:rate_limited" || a.header.Get("Retry-After") != "30" {
		t.Errorf("%d %s, Retry-After %q", a.status, a.outcomes(), a.header.Get("Retry-After"))
	}
}

// TestWaitsAreRoundedUp: who comes back as told is let in.
func TestWaitsAreRoundedUp(t *testing.T) {
	t.Parallel()
	for wait, want := range map[time.Duration]string{
		0: "1", time.Millisecond: "1", time.Second: "1", time.Second + 1: "2", 29*time.Second + 500*time.Millisecond: "30", time.Minute: "60",
	} {
		var ctx fasthttp.RequestCtx
		setRetryAfter(&ctx.Response, wait)
		if got := string(ctx.Response.Header.Peek("Retry-After")); got != want {
			t.Errorf("%s is told as %q", wait, got)
		}
	}
}

// TestARefusedBatchOverTheLimitCountsItsEvents, and that of somebody who objects
// is refused for what it is, without a look at the network.
func TestARefusedBatchOverTheLimitCountsItsEvents(t *testing.T) {
	t.Parallel()
	e := startEdge(t, func(c *Config) { c.NetworkEventsPerSecond = 1 })
	foreign := header("Origin", "https://evil.example")
	batch := func() map[string]any { return e.body(newPage(e), newPage(e), newPage(e)) }
	for range burstSeconds {
		e.post(batch(), foreign)
	}
	if a := e.post(batch(), foreign); a.status != 429 || a.Reason != "rate_limited" {
		t.Errorf("%d %s", a.status, a.body)
	}
	if n := limitedEvents(t, e)["network"]; n != 3 {
		t.Errorf("%v events are counted as limited", n)
	}
	objecting := batch()
	objecting["opt_out"] = true
	if a := e.post(objecting, foreign); a.status != 403 || a.Reason != "origin_not_allowed" {
		t.Errorf("an own opt-out: %d %s", a.status, a.body)
	}
	for _, signal := range []string{"Sec-GPC", "DNT"} {
		if a := e.post(batch(), foreign, header(signal, "1")); a.status != 403 {
			t.Errorf("%s: %d %s", signal, a.status, a.body)
		}
	}
	wantLedger(t, e.stoppedLedger(), map[string]uint64{testCompany + "/origin_not_allowed": 3 * (burstSeconds + 3), testCompany + "/rate_limited": 3})
}

// TestAPanicAfterTheCountIsNotCountedAgain: the events were accepted, whatever
// the answer says.
func TestAPanicAfterTheCountIsNotCountedAgain(t *testing.T) {
	t.Parallel()
	e := newEdge(t, nil, nil)
	e.applySite(siteRecord())
	e.applySalt(testCompany, "2026-11-22")
	e.CaughtUp()
	calls := 0
	e.now = func() time.Time { // the second look at the clock is for the metric, after the count
		if calls++; calls == 2 {
			panic("x")
		}
		return e.clock.Now()
	}
	ctx := &fasthttp.RequestCtx{}
	ctx.Init(&fasthttp.Request{}, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}, nil)
	ctx.Request.Header.SetMethod(fasthttp.MethodPost)
	ctx.Request.SetRequestURI(PathEvents)
	for name, value := range browserHeaders() {
		ctx.Request.Header.Set(name, value)
	}
	body, err := json.Marshal(e.body(newPage(e)))
	if err != nil {
		t.Fatal(err)
	}
	ctx.Request.SetBody(body)
	if e.handle(ctx); calls < 3 || ctx.Response.StatusCode() != fasthttp.StatusInternalServerError {
		t.Fatalf("answered %d after %d looks at the clock", ctx.Response.StatusCode(), calls)
	}
	wantLedger(t, e.ledgerCounts(), map[string]uint64{testCompany + "/none": 1})
	if n := e.metricSums(t)["metiva_collector_events_total"]; n != 1 {
		t.Errorf("the metrics count %v events", n)
	}
}

// TestVisitKeyOfAKnownVisitor is made from the visitor alone, not from networks.
func TestVisitKeyOfAKnownVisitor(t *testing.T) {
	t.Parallel()
	e := startEdge(t, nil)
	token := e.token(1)
	var keys []string
	for i, address := range []string{testVisitor, "84.24.10.1", "2001:db8::1"} {
		if a := e.post(e.bodyWithToken(token, newPage(e)), header("X-Forwarded-For", address)); a.outcomes() != "accepted" {
			t.Fatal(a.outcomes())
		}
		keys = append(keys, string(e.only(i+1).GetVisitKey()))
	}
	if keys[0] != keys[1] || keys[0] != keys[2] {
		t.Error("the visitor's network is in the visit key")
	}
	if a := e.post(e.body(newPage(e))); a.outcomes() != "accepted" || string(e.only(4).GetVisitKey()) == keys[0] {
		t.Error("the visit key is that of before the consent")
	}
}

// TestAnswersOfTheStandByEndTheirConnections, before anything is closed.
func TestAnswersOfTheStandByEndTheirConnections(t *testing.T) {
	t.Parallel()
	e, ln := startWatched(t, func(c *Config) { c.StopDelay = time.Second })
	a, err := e.try(http.MethodGet, PathScript, nil, nil)
	if err != nil || a.status != 200 {
		t.Fatal(a.status, err)
	}
	e.cancel()
	for {
		answer, _, err := e.exchangeRaw("GET " + PathScript + " HTTP/1.1\r\nHost: x\r\n\r\n")
		if ln.closing.Load() {
			t.Fatal("the stand-by is over and no answer ended its connection")
		}
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(answer, "\r\nConnection: close\r\n") {
			return
		}
	}
}

// exchangeRaw sends a request and ends its own side.
func (e *edge) exchangeRaw(send string) (head string, wire []byte, err error) {
	_, wire, err = e.exchange(send, false)
	head, _, _ = strings.Cut(string(wire), "\r\n\r\n")
	return head + "\r\n", wire, err
}

// TestLedgerKeepsWhatWasNotSent, however old it gets.
func TestLedgerKeepsWhatWasNotSent(t *testing.T) {
	t.Parallel()
	clock := &testClock{now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)}
	log := &memoryLog{refuse: func(string) error { return errTest }}
	l := newLedger("w", log, clock.Now)
	l.add("c", "s", clock.Now(), metivav1.Reason_REASON_UNSPECIFIED, 5)
	for range 30 {
		if unsent, err := l.publish(t.Context()); err == nil || unsent != 1 {
			t.Fatalf("%d unsent, %v", unsent, err)
		}
		clock.Set(clock.Now().Add(time.Minute))
	}
	log.refuse = nil
	if _, err := l.publish(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantLedger(t, ledgerOf(t, log.of(schemas.TopicLedgerEdge)), map[string]uint64{"c/none": 5})
}

// TestOpenConnectionsAreShown as they come and go.
func TestOpenConnectionsAreShown(t *testing.T) {
	t.Parallel()
	e, ln := startWatched(t, nil)
	first, second := e.dial(), e.dial()
	waitConns(t, ln, 2, 0)
	if n := e.metricSums(t)["metiva_collector_connections"]; n != 2 {
		t.Errorf("%v connections are shown, not 2", n)
	}
	first.Close()
	second.Close()
	waitConns(t, ln, 0, 0)
	if n := e.metricSums(t)["metiva_collector_connections"]; n != 0 {
		t.Errorf("%v connections are shown after their end", n)
	}
}

// TestDetailsOfAnEventAreForgotten with the request.
func TestDetailsOfAnEventAreForgotten(t *testing.T) {
	t.Parallel()
	b := newBuilder()
	d := b.details
	d.click.Click.TargetHost, d.click.Click.TargetPath, d.form.FormAction.FormId, d.custom.Custom.Name = "a", "b", "c", "d"
	d.custom.Custom.Properties["plan"] = "e"
	d.masked = append(d.masked, "f"...)
	b.detail.Detail = &d.custom
	b.forget()
	if d.click.Click.TargetHost+d.click.Click.TargetPath+d.form.FormAction.FormId+d.custom.Custom.Name != "" || len(d.custom.Custom.Properties) != 0 || d.masked[0] != 0 || b.detail.Detail != nil {
		t.Errorf("%v %v %v %q", d.click.Click, d.form.FormAction, d.custom.Custom, d.masked)
	}
}

// TestAConnectionLeavesOnce: closing one twice makes no room for two.
func TestAConnectionLeavesOnce(t *testing.T) {
	t.Parallel()
	e := newEdge(t, nil, func(c *Config) { c.ConnectionsPerAddressMax = 2 })
	const from = "145.221.10.1"
	fake := &fakeListener{next: []any{from, from}}
	ln := e.newListener(fake)
	taken := acceptAll(t, ln)
	_, _ = taken[0].Close(), taken[0].Close()
	fake.next = []any{from, from, from}
	if n := len(acceptAll(t, ln)); n != 1 {
		t.Errorf("%d connections were taken in the place of one", n)
	}
}
