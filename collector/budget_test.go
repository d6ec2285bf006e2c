package collector

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"

	"github.com/metiva-io/metiva/consent"
	"github.com/metiva-io/metiva/pkg/seal"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// wholeEvent returns a function that takes one body through everything but HTTP
// and Kafka.
func wholeEvent(t testing.TB, e *edge) func() {
	t.Helper()
	e.applySite(siteRecord())
	e.applySalt(testCompany, "2026-11-22")
	if err := e.sealer.Prepare(t.Context(), testCompany); err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(e.bodyWithToken(e.token(1), newPage(e).with("url", testOrigin+"/articles/2026/11/how-to-count?utm_source=newsletter&utm_medium=email&utm_campaign=spring")))
	if err != nil {
		t.Fatal(err)
	}
	r := newRequest(e.Collector)
	work := r.work
	agent, ip := []byte(testAgent), netip.MustParseAddr(testVisitor)
	return func() {
		r.received = e.now()
		if err := r.batch.Parse(body, 50); err != nil {
			t.Fatal(err)
		}
		r.site = e.sites.lookup(r.batch.Site)
		r.userAgent = agent
		r.address = seal.AddressOf(ip, r.scratch)
		if reason := r.decide(r.batch.Consent); reason != metivav1.Reason_REASON_UNSPECIFIED {
			t.Fatal(reason)
		}
		r.networkLimited = true
		if n, _ := e.limits.admit(r, 1); n != 1 {
			t.Fatal("limited")
		}
		if err := r.prepare(); err != nil {
			t.Fatal(err)
		}
		in := incomingOf(&r.batch.Events[0], r.batch.SentAtMs)
		if reason := r.build(&in); reason != metivav1.Reason_REASON_UNSPECIFIED {
			t.Fatal(reason)
		}
		if err := r.sealAndEncode(&in); err != nil {
			t.Fatal(err)
		}
		r.leaveWork()
		r.end()
		r.work = work
	}
}

// noLimits lets a clock that stands still pass any number of events.
func noLimits(c *Config) {
	c.NetworkEventsPerSecond, c.SiteEventsPerSecond, c.TenantEventsPerMinute = eventsPerSecondMax, eventsPerSecondMax, 1<<40
}

func TestAllocationBudget(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes pools allocate")
	}
	run := wholeEvent(t, newEdge(t, nil, noLimits))
	run()
	if allocs := testing.AllocsPerRun(500, run); allocs != 0 {
		t.Errorf("%v allocations per event", allocs)
	}
}

func BenchmarkEvent(b *testing.B) {
	run := wholeEvent(b, newEdge(b, nil, noLimits))
	b.ReportAllocs()
	for b.Loop() {
		run()
	}
}

func BenchmarkVisitKey(b *testing.B) {
	e := newEdge(b, nil, nil)
	e.applySalt(testCompany, "2026-11-22")
	h := e.salts.lookup(testCompany, e.clock.Now())
	address := seal.AddressOf(netip.MustParseAddr(testVisitor), seal.NewScratch())
	b.ReportAllocs()
	for b.Loop() {
		h.key(testSite, consent.Decision{}, address, familyChrome)
	}
}

// discarded is a Producer that has written everything at once.
type discarded struct{ ack *memoryAck }

func (d discarded) Produce(string, int, []byte, []byte) (Ack, error) { return d.ack, nil }

func (d discarded) ProduceSync(context.Context, string, int, []byte, []byte) error { return nil }

// wholeRequest returns a function that handles one request, between fasthttp's
// reading and writing.
func wholeRequest(t testing.TB) func() {
	t.Helper()
	e, ctx := parsedRequest(t, discarded{&memoryAck{done: closedChan()}})
	return func() {
		ctx.Response.Reset()
		if e.handle(ctx); ctx.Response.StatusCode() != fasthttp.StatusOK || !bytes.Contains(ctx.Response.Body(), []byte(`"accepted"`)) {
			t.Fatalf("answered %s", ctx.Response.Body())
		}
	}
}

// parsedRequest is a collector, and a request as fasthttp has read it.
func parsedRequest(t testing.TB, producer Producer) (*edge, *fasthttp.RequestCtx) {
	t.Helper()
	e := newEdge(t, producer, noLimits)
	e.applySite(siteRecord())
	e.applySalt(testCompany, "2026-11-22")
	e.CaughtUp()
	body, err := json.Marshal(e.bodyWithToken(e.token(1), newPage(e).with("url", testOrigin+"/articles/2026/11/how-to-count?utm_source=newsletter&utm_medium=email&utm_campaign=spring")))
	if err != nil {
		t.Fatal(err)
	}
	ctx := &fasthttp.RequestCtx{}
	ctx.Init(&fasthttp.Request{}, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}, nil)
	var raw strings.Builder
	raw.WriteString("POST " + PathEvents + " HTTP/1.1\r\nHost: c.example.nl\r\n" +
		"sec-ch-ua: \"Chromium\";v=\"156\"\r\nsec-ch-ua-mobile: ?0\r\nsec-ch-ua-platform: \"Linux\"\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: cors\r\nSec-Fetch-Dest: empty\r\n" +
		"Accept: */*\r\nAccept-Language: nl\r\nAccept-Encoding: gzip, deflate, br, zstd\r\nReferer: " + testOrigin + "/\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n")
	for name, value := range browserHeaders() {
		raw.WriteString(name + ": " + value + "\r\n")
	}
	if err := ctx.Request.Read(bufio.NewReader(strings.NewReader(raw.String() + "\r\n" + string(body)))); err != nil {
		t.Fatal(err)
	}
	return e, ctx
}

func TestARequestDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes pools allocate")
	}
	run := wholeRequest(t)
	run()
	if allocs := testing.AllocsPerRun(500, run); allocs != 0 {
		t.Errorf("%v allocations per request", allocs)
	}
}

func BenchmarkRequest(b *testing.B) {
	run := wholeRequest(b)
	b.ReportAllocs()
	for b.Loop() {
		run()
	}
}

// toldLater is a Producer whose one ack keeps who waits for it.
type toldLater struct{ waiting *waiter }

func (l *toldLater) tell(w *waiter) bool                              { l.waiting = w; return true }
func (l *toldLater) Done() <-chan struct{}                            { return alwaysDone }
func (l *toldLater) Err() error                                       { return nil }
func (l *toldLater) Produce(string, int, []byte, []byte) (Ack, error) { return l, nil }

func (l *toldLater) ProduceSync(context.Context, string, int, []byte, []byte) error { return nil }

// alwaysDone is never changed.
var alwaysDone = closedChan()

// TestAHeldAnswerDoesNotAllocate: from the request to the answer in the socket.
func TestAHeldAnswerDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes pools allocate")
	}
	producer := &toldLater{}
	e, ctx := parsedRequest(t, producer)
	c, far := pair(t, timeouts{})
	answer := []byte("HTTP/1.1 204 No Content\r\n\r\n")
	received := make([]byte, len(answer))
	ctx.Init2(c, nil, false)
	run := func() {
		ctx.Response.Reset()
		e.handle(ctx)
		if producer.waiting == nil || !c.holding {
			t.Fatal("the answer is not held")
		}
		if _, err := c.Write(answer); err != nil {
			t.Fatal(err)
		}
		finishAll(producer.waiting)
		producer.waiting = nil
		if _, err := io.ReadFull(far, received); err != nil || !bytes.Equal(received, answer) {
			t.Fatalf("%q, %v", received, err)
		}
	}
	run()
	if allocs := testing.AllocsPerRun(500, run); allocs != 0 {
		t.Errorf("%v allocations per request", allocs)
	}
}
