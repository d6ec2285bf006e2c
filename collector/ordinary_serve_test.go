package collector

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/metiva-io/metiva/pkg/waittest"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// startServing runs a collector whose connections serve ordinary requests, or, with
// never, leave all to the server. served counts them.
func (e *edge) startServing(never bool) (*listener, *atomic.Int64) {
	e.t.Helper()
	e.applySite(siteRecord())
	e.applySalt(testCompany, "2026-11-22")
	e.CaughtUp()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		e.t.Fatal(err)
	}
	e.url = "http://" + ln.Addr().String()
	l, served := e.newListener(ln), &atomic.Int64{}
	serve := l.serve
	l.serve = func(c *conn, raw []byte) bool {
		if never || !serve(c, raw) {
			return false
		}
		spoil(raw) // as the next request that is read into it does
		served.Add(1)
		return true
	}
	ctx, cancel := context.WithCancel(context.Background())
	e.cancel = cancel
	go func() { e.ended <- e.run(ctx, l) }()
	e.t.Cleanup(func() { _ = e.stop() })
	return l, served
}

// waitServed waits until so many requests were served as ordinary ones. They are counted
// just after they are answered.
func waitServed(t *testing.T, served *atomic.Int64, n int64) {
	t.Helper()
	waittest.Until(t, 10*time.Second, "the requests are served as ordinary ones", func() bool { return served.Load() == n })
}

const notFound = "GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n"

// second dials and has a first answer, since the server takes the first request of
// each connection.
func (e *edge) second() (net.Conn, *bufio.Reader) {
	e.t.Helper()
	conn := e.dial(notFound)
	from := bufio.NewReader(conn)
	if a, err := readAnswered(from); err != nil || a.status != http.StatusNotFound {
		e.t.Fatal(a.status, err)
	}
	return conn, from
}

// secondAnswers sends bytes behind a first request, then ends its side, and returns
// all that is answered to them, without the dates.
func (e *edge) secondAnswers(send string) string {
	conn, from := e.second()
	defer conn.Close()
	if _, err := io.WriteString(conn, send); err == nil {
		_ = conn.(*net.TCPConn).CloseWrite()
	}
	var out strings.Builder
	for {
		if _, err := from.Peek(1); err != nil {
			return out.String()
		}
		res, err := http.ReadResponse(from, nil)
		if err != nil {
			return out.String() + err.Error()
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		res.Header.Del("Date")
		names := slices.Sorted(maps.Keys(res.Header))
		fmt.Fprintf(&out, "%s %v %v %q %v %v\n", res.Status, names, res.Header, body, res.Close, err)
	}
}

// TestOrdinaryIsAnsweredAsByTheServer sends every hostile request for events to a
// collector that serves ordinary ones itself and to one that does not: answers,
// counts and records are the same.
func TestOrdinaryIsAnsweredAsByTheServer(t *testing.T) {
	t.Parallel()
	keys := testKeys(t)
	mine, theirs := newEdgeWith(t, nil, keys, roomyLimits), newEdgeWith(t, nil, keys, roomyLimits)
	_, served := mine.startServing(false)
	theirs.startServing(true)
	sends := []string{ordinaryPost(batchOf(eventOf())), ordinaryPost(batchOf(eventOf(), eventOf("id", `"x"`))), ordinaryPost(batchOf(eventOf()), "Sec-GPC: 1")}
	for _, h := range hostileRows() {
		if send := unasked(h.send); strings.HasPrefix(send, ordinaryLine) {
			sends = append(sends, send)
		}
	}
	for _, send := range sends {
		if a, b := mine.secondAnswers(send), theirs.secondAnswers(send); a != b {
			t.Errorf("%.300q\nis answered %s\nand by the server %s", send, a, b)
		}
		if a, b := fmt.Sprint(mine.ledgerCounts()), fmt.Sprint(theirs.ledgerCounts()); a != b {
			t.Fatalf("%.300q\nis counted %s\nand by the server %s", send, a, b)
		}
		if a, b := lastOf(t, mine), lastOf(t, theirs); a != b {
			t.Errorf("%.300q\nbecomes %s\nand by the server %s", send, a, b)
		}
	}
	if n := served.Load(); n < 200 {
		t.Errorf("%d of %d requests were served as ordinary ones", n, len(sends))
	}
	t.Logf("%d of %d requests were served as ordinary ones", served.Load(), len(sends))
	for _, name := range []string{"metiva_collector_requests_total", "metiva_collector_events_total", "metiva_collector_panics_total"} {
		if a, b := mine.metricSums(t)[name], theirs.metricSums(t)[name]; a != b {
			t.Errorf("%s is %v and by the server %v", name, a, b)
		}
	}
}

// lastOf writes down the last event produced, but for what is random in it.
func lastOf(t *testing.T, e *edge) string {
	t.Helper()
	events := e.log.events(t)
	if len(events) == 0 {
		return "nothing"
	}
	last := events[len(events)-1]
	network, agent := e.open(last)
	last.SealedAddress, last.SealedUserAgent, last.WriterId = nil, nil, ""
	text, err := json.Marshal(last)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(len(events), network, agent, string(text))
}

// The answer to an ordinary request says so when its record failed.
func TestOrdinaryIsToldOfFailure(t *testing.T) {
	t.Parallel()
	e := newEdge(t, nil, nil)
	hold := make(chan struct{})
	e.log.hold, e.log.arrived, e.log.over, e.log.ackErr = hold, make(chan struct{}, 10), t.Context().Done(), io.ErrClosedPipe
	_, served := e.startServing(false)
	conn, from := e.second()
	if _, err := io.WriteString(conn, ordinaryPost(batchOf(eventOf()))); err != nil {
		t.Fatal(err)
	}
	<-e.log.arrived
	close(hold)
	a, err := readAnswered(from)
	if err != nil || a.status != http.StatusServiceUnavailable || a.outcomes() != "retry:unacknowledged" {
		t.Errorf("answered %d %s, %v", a.status, a.body, err)
	}
	waitServed(t, served, 1)
}

// A panic in an ordinary request is its own: it is answered, and the connection and
// the next request are as good as before.
func TestOrdinarySurvivesAPanic(t *testing.T) {
	t.Parallel()
	e := newEdge(t, nil, nil)
	l, served := e.startServing(false)
	usual := e.sites.lookup([]byte(testKey))
	broken := *usual
	broken.salts = nil // the handler looks there
	e.sites.active.Store(testKey, &broken)
	conn, from := e.second()
	for _, want := range []int{http.StatusInternalServerError, http.StatusNoContent} {
		if _, err := io.WriteString(conn, ordinaryPost(batchOf(eventOf()))); err != nil {
			t.Fatal(err)
		}
		a, err := readAnswered(from)
		if err != nil || a.status != want {
			t.Fatalf("answered %d %s, %v, want %d", a.status, a.body, err, want)
		}
		e.sites.active.Store(testKey, usual)
	}
	waitServed(t, served, 2)
	if sums := e.metricSums(t); sums["metiva_collector_panics_total"] != 1 {
		t.Errorf("%v panics are counted", sums["metiva_collector_panics_total"])
	}
	if in := e.inFlight.Load(); in != 0 {
		t.Errorf("%d events are in flight", in)
	}
	_ = conn.Close()
	waitConns(t, l, 0, 0)
	if err := e.stop(); err != nil {
		t.Error(err)
	}
	wantLedger(t, e.ledgerCounts(), map[string]uint64{testCompany + "/internal": 1, testCompany + "/none": 1})
}

// A connection that is to end while an ordinary request is handled, or its answer
// held, ends behind the answer: the server does not know of the request.
func TestOrdinaryIsAnsweredBeforeTheEnd(t *testing.T) {
	t.Parallel()
	for _, handling := range []bool{true, false} {
		e := newEdge(t, nil, nil)
		l, _ := e.startServing(false)
		hold := make(chan struct{})
		e.log.hold, e.log.arrived, e.log.over = hold, make(chan struct{}, 10), t.Context().Done()
		end := func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			for c := range l.open {
				_ = c.Close()
			}
		}
		if handling {
			e.log.onEvent = func(*metivav1.CollectedEvent) { end() }
		}
		conn, from := e.second()
		if _, err := io.WriteString(conn, ordinaryPost(batchOf(eventOf()))); err != nil {
			t.Fatal(err)
		}
		<-e.log.arrived
		if !handling {
			untilSeen(t, func() bool { return heldOf(l) == 1 })
			end()
		}
		close(hold)
		if a, err := readAnswered(from); err != nil || a.status != http.StatusNoContent {
			t.Errorf("handling %v: answered %d, %v", handling, a.status, err)
		}
		if _, err := from.ReadByte(); err != io.EOF {
			t.Errorf("handling %v: the connection does not end: %v", handling, err)
		}
		if n := len(e.log.of(schemas.TopicEventsCollected)); n != 1 {
			t.Errorf("handling %v: %d events", handling, n)
		}
	}
}

// heldOf is how many connections hold an answer.
func heldOf(l *listener) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.open {
		c.held.mu.Lock()
		if c.held.busy && c.held.here {
			n++
		}
		c.held.mu.Unlock()
	}
	return n
}

// What was read for the server does not stay in the memory it was read into.
func TestWhatIsReadForTheServerIsForgotten(t *testing.T) {
	t.Parallel()
	c, far := pair(t, timeouts{idle: 1 << 40, read: 1 << 40})
	memory := &readMemory{b: make([]byte, 1<<10)}
	c.listener.memories.New = func() any { return memory }
	c.arriving = false
	const form = "POST /v1/captures HTTP/1.1\r\n\r\nname=" + typedWord
	if _, err := io.WriteString(far, form); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1<<10)
	if n, err := c.Read(b); err != nil || string(b[:n]) != form {
		t.Fatalf("read %q, %v", b[:n], err)
	}
	if bytes.Contains(memory.b, []byte(typedWord)) {
		t.Error("it is still there")
	}
}

// TestAnOrdinaryRequestDoesNotAllocate: from the socket to the socket.
func TestAnOrdinaryRequestDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes pools allocate")
	}
	producer := &toldLater{}
	e := newEdge(t, producer, noLimits)
	e.applySite(siteRecord())
	e.applySalt(testCompany, "2026-11-22")
	e.CaughtUp()
	c, far := pair(t, timeouts{idle: 1 << 40, read: 1 << 40})
	c.arriving, c.listener.serve = false, e.serveOrdinary
	request := []byte(ordinaryPost(batchOf(eventOf())))
	answer := e.sites.lookup([]byte(testKey)).answerTo([]byte(testOrigin)).at(e.now().Unix())
	received, b := make([]byte, len(answer)), make([]byte, 8<<10)
	run := func() {
		if _, err := far.Write(request); err != nil {
			t.Fatal(err)
		}
		if n, err := c.readServing(b); n != 0 || err != nil || producer.waiting == nil {
			t.Fatal("it is not served here", n, err)
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
