package collector

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/valyala/fasthttp"

	"github.com/metiva-io/metiva/pkg/waittest"
	"github.com/metiva-io/metiva/schemas"
)

// A request that panics once its events are counted in does not stay counted in.
func TestAPanicLeavesTheFlight(t *testing.T) {
	t.Parallel()
	e := newEdge(t, nil, nil)
	e.log.refuse = func(topic string) error {
		if topic == schemas.TopicControlKeys {
			panic("x")
		}
		return nil
	}
	e.applySite(siteRecord())
	e.applySalt(testCompany, "2026-11-22")
	e.CaughtUp()
	e.start()
	if a := e.post(e.body(newPage(e))); a.status != 500 {
		t.Errorf("answered %d", a.status)
	}
	if n := e.inFlight.Load(); n != 0 {
		t.Errorf("%d events wait for ever", n)
	}
	wantLedger(t, e.stoppedLedger(), map[string]uint64{testCompany + "/internal": 1})
}

// faultyCounter cannot count.
type faultyCounter struct{ prometheus.Counter }

func (faultyCounter) Add(float64) { panic("x") }

// A panic while requests are counted that are done with together, on a goroutine
// nobody stands above, costs none of them its answer.
func TestAPanicWhileCountingTogether(t *testing.T) {
	t.Parallel()
	e := newEdge(t, nil, nil)
	e.metrics.accepted = faultyCounter{e.metrics.accepted}
	_, _ = e.startServing(false)
	hold := make(chan struct{})
	e.log.hold, e.log.arrived, e.log.over = hold, make(chan struct{}, 10), t.Context().Done()
	conn, from := e.second()
	if _, err := io.WriteString(conn, ordinaryPost(batchOf(eventOf()))); err != nil {
		t.Fatal(err)
	}
	<-e.log.arrived
	close(hold)
	if a, err := readAnswered(from); err != nil || a.status != http.StatusNoContent {
		t.Errorf("answered %d, %v", a.status, err)
	}
	if n := e.metricSums(t)["metiva_collector_panics_total"]; n != 1 {
		t.Errorf("%v panics are counted", n)
	}
}

// What cannot be told anew is told to come again.
func TestAPanicWhileTellingAnew(t *testing.T) {
	t.Parallel()
	answer := []byte("HTTP/1.1 204 No Content\r\n\r\n")
	if told := retold(answer, func(*fasthttp.Response) { panic("x") }); !bytes.HasPrefix(told, []byte("HTTP/1.1 503 ")) {
		t.Errorf("told %q", told)
	}
}

// faultyAck is done, and cannot be asked.
type faultyAck struct{ *memoryAck }

func (faultyAck) Err() error { panic("x") }

// faulty is a Producer of those.
type faulty struct{ *memoryLog }

func (p faulty) Produce(topic string, partition int, key, value []byte) (Ack, error) {
	ack, err := p.memoryLog.Produce(topic, partition, key, value)
	if m, ok := ack.(*memoryAck); ok && topic == schemas.TopicEventsCollected {
		return faultyAck{m}, nil
	}
	return ack, err
}

// A panic once the records are durable ends that request alone, although no server
// stands above it any more.
func TestAPanicBehindTheHandler(t *testing.T) {
	t.Parallel()
	log := &memoryLog{hold: make(chan struct{}), arrived: make(chan struct{}, 10), over: t.Context().Done()}
	e := newEdge(t, faulty{log}, nil)
	e.log = log
	e.applySite(siteRecord())
	e.applySalt(testCompany, "2026-11-22")
	e.CaughtUp()
	e.start()
	conn := e.dial(e.rawPost("?r=0", "", newPage(e)))
	<-log.arrived
	close(log.hold)
	from := bufio.NewReader(conn)
	if a, err := readAnswered(from); err != nil || a.status != 500 || a.Reason != "internal" {
		t.Errorf("answered %d %s, %v", a.status, a.body, err)
	}
	if _, err := io.WriteString(conn, "GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if a, err := readAnswered(from); err != nil || a.status != 404 {
		t.Errorf("the next request: %d, %v", a.status, err)
	}
	if n := e.inFlight.Load(); n != 0 {
		t.Errorf("%d events wait for ever", n)
	}
	wantLedger(t, e.stoppedLedger(), map[string]uint64{testCompany + "/internal": 1})
}

// untold is a Producer whose acks cannot be waited for.
type untold struct{ *memoryLog }

func (p untold) tell(*waiter) bool     { panic("x") }
func (p untold) Done() <-chan struct{} { return nil }
func (p untold) Err() error            { return nil }

func (p untold) Produce(topic string, partition int, key, value []byte) (Ack, error) {
	if topic != schemas.TopicEventsCollected {
		return p.memoryLog.Produce(topic, partition, key, value)
	}
	return p, nil
}

// A panic while an ordinary request is left waiting ends its connection, of which nothing stays.
func TestAPanicWhileLeavingToWait(t *testing.T) {
	t.Parallel()
	e := newEdge(t, untold{&memoryLog{}}, nil)
	l, served := e.startServing(false)
	conn, from := e.second()
	if _, err := io.WriteString(conn, ordinaryPost(batchOf(eventOf()))); err != nil {
		t.Fatal(err)
	}
	if _, err := from.ReadByte(); err == nil {
		t.Error("it is answered")
	}
	waitConns(t, l, 0, 0)
	waitServed(t, served, 1)
	if n := e.inFlight.Load(); n != 0 {
		t.Errorf("%d events wait for ever", n)
	}
}

// sweeping is a Producer whose acks are waited for while the listener sweeps, as
// it does when the machine stood still for a while.
type sweeping struct {
	*memoryLog
	conn    *conn
	waiting []*waiter
}

func (p *sweeping) tell(w *waiter) bool {
	p.waiting = append(p.waiting, w)
	p.conn.listener.sweep(time.Now().Add(time.Hour))
	return true
}
func (p *sweeping) Done() <-chan struct{} { return alwaysDone }
func (p *sweeping) Err() error            { return nil }

func (p *sweeping) Produce(topic string, partition int, key, value []byte) (Ack, error) {
	if topic != schemas.TopicEventsCollected {
		return p.memoryLog.Produce(topic, partition, key, value)
	}
	return p, nil
}

// A request is not taken for overdue while its waiters are entered.
func TestNothingIsOverdueBeforeItWaits(t *testing.T) {
	t.Parallel()
	c, _ := pair(t, timeouts{read: time.Minute, idle: time.Minute, ack: time.Second})
	producer := &sweeping{memoryLog: &memoryLog{}, conn: c}
	e := newEdge(t, producer, nil)
	e.applySite(siteRecord())
	e.applySalt(testCompany, "2026-11-22")
	e.CaughtUp()
	var ctx fasthttp.RequestCtx
	if err := ctx.Request.Read(bufio.NewReader(strings.NewReader(e.rawPost("", "", newPage(e), newPage(e), newPage(e))))); err != nil {
		t.Fatal(err)
	}
	ctx.Init2(c, nil, false)
	e.handle(&ctx)
	if ctx.Response.StatusCode() != 200 || len(producer.waiting) != 3 {
		t.Fatalf("answered %d, %d wait", ctx.Response.StatusCode(), len(producer.waiting))
	}
	for _, w := range producer.waiting {
		finishAll(w)
	}
	if n := e.inFlight.Load(); n != 0 {
		t.Errorf("%d events wait for ever", n)
	}
}

// The clock of the machine may be set: nobody's time ends, or begins anew, by it.
func TestSettingTheClockEndsNothing(t *testing.T) {
	t.Parallel()
	c, _ := pair(t, timeouts{read: 10 * time.Second, idle: 75 * time.Second, ack: 5 * time.Second})
	r := &request{}
	c.hold(r, nil)
	c.held.since.Store(c.listener.clock.Load())
	set := time.Now()
	*(*uint64)(unsafe.Pointer(&set)) += uint64(time.Hour/time.Second) << 30 // the wall clock alone
	c.listener.sweep(set)
	if !c.held.claim(r) || c.isDue(c.listener.clock.Load()) {
		t.Error("an hour has passed for the connection")
	}
}

// The part of a request that came together with the one before it has its time
// like any other.
func TestHalfARequestBehindAnother(t *testing.T) {
	t.Parallel()
	for name, half := range map[string]func(whole string) string{
		"half its headers": func(whole string) string { return whole[:40] },
		"half its body":    func(whole string) string { return whole[:len(whole)-10] },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := startEdge(t, func(c *Config) { c.ReadTimeout, c.IdleTimeout = 200*time.Millisecond, time.Hour })
			from := bufio.NewReader(e.dial(e.rawPost("", "", newPage(e)) + half(e.rawPost("", "", newPage(e)))))
			for i, want := range []int{200, 408} {
				if a, err := readAnswered(from); err != nil || a.status != want {
					t.Fatalf("answer %d: %d %s, %v", i, a.status, a.body, err)
				}
			}
		})
	}
}

// Who waits for "100 Continue" gets it, also behind an answer that is told anew.
func TestContinueBehindAHeldAnswer(t *testing.T) {
	t.Parallel()
	for name, failure := range map[string]error{"accepted": nil, "failed": errTest} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log := &memoryLog{hold: make(chan struct{}), ackErr: failure, arrived: make(chan struct{}, 10), over: t.Context().Done()}
			e := newEdge(t, log, nil)
			e.applySite(siteRecord())
			e.applySalt(testCompany, "2026-11-22")
			e.CaughtUp()
			e.start()
			head, body, _ := strings.Cut(e.rawPost("", "Expect: 100-continue\r\n", newPage(e)), "\r\n\r\n")
			conn := e.dial(e.rawPost("", "", newPage(e)) + head + "\r\n\r\n")
			<-log.arrived
			close(log.hold)
			from := bufio.NewReader(conn)
			wants := []int{200, 100, 200}
			if failure != nil {
				wants = []int{503, 100, 503}
			}
			for i, want := range wants {
				a, err := readAnswered(from)
				if err != nil || a.status != want {
					t.Fatalf("answer %d: %d %s, %v", i, a.status, a.body, err)
				}
				if want != 100 {
					continue
				}
				if _, err := io.WriteString(conn, body); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// startListener runs the collector over a listener the test can look into.
func (e *edge) startListener() *listener {
	e.t.Helper()
	tcp, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		e.t.Fatal(err)
	}
	e.url = "http://" + tcp.Addr().String()
	ln := e.newListener(tcp)
	var ctx context.Context
	ctx, e.cancel = context.WithCancel(context.Background())
	go func() { e.ended <- e.run(ctx, ln) }()
	e.t.Cleanup(func() { _ = e.stop() })
	return ln
}

// oneConn waits until the listener has one connection for which cond holds.
func oneConn(t *testing.T, ln *listener, what string, cond func(*conn) bool) {
	t.Helper()
	waittest.Until(t, 20*time.Second, what, func() bool {
		ln.mu.Lock()
		defer ln.mu.Unlock()
		for c := range ln.open {
			return cond(c)
		}
		return false
	})
}

// A request on a connection that ends before its records are durable is waited
// for no longer than others, and a stop does not leave without its count.
func TestARequestOutlivesItsConnection(t *testing.T) {
	t.Parallel()
	log := &memoryLog{hold: make(chan struct{}), arrived: make(chan struct{}, 10), over: t.Context().Done()}
	e := newEdge(t, log, func(c *Config) { c.AckTimeout, c.DrainGrace = 4*time.Second, 10*time.Second })
	e.log = log
	e.applySite(siteRecord())
	e.applySalt(testCompany, "2026-11-22")
	e.CaughtUp()
	ln := e.startListener()
	far := e.dial(e.rawPost("", "", newPage(e)))
	<-log.arrived
	// Else the stop comes first, and the server reads nothing after this request.
	untilSeen(t, func() bool { return heldOf(ln) == 1 })
	e.cancel()
	oneConn(t, ln, "the server ends the connection behind its answer", func(c *conn) bool {
		c.held.mu.Lock()
		defer c.held.mu.Unlock()
		return c.held.closing
	})
	if _, err := io.WriteString(far, e.rawPost("", "", newPage(e))); err != nil {
		t.Fatal(err)
	}
	oneConn(t, ln, "the second request waits for the answer to the first", func(c *conn) bool {
		c.held.mu.Lock()
		defer c.held.mu.Unlock()
		return c.held.waiting
	})
	log.mu.Lock()
	first := log.hold
	log.hold = make(chan struct{}) // the second is never acknowledged
	log.mu.Unlock()
	close(first)
	<-log.arrived
	wantLedger(t, e.stoppedLedger(), map[string]uint64{testCompany + "/none": 1, testCompany + "/unacknowledged": 1})
	if n := e.inFlight.Load(); n != 0 {
		t.Errorf("%d events are in flight", n)
	}
}

// A stop whose time is over answers those that still wait for their records, and
// counts them.
func TestAStopAnswersWhoWaits(t *testing.T) {
	t.Parallel()
	e, _ := startWatched(t, func(c *Config) { c.AckTimeout, c.DrainTimeout = time.Minute, 600*time.Millisecond })
	e.log.mu.Lock()
	e.log.hold, e.log.arrived = make(chan struct{}), make(chan struct{}, 1)
	e.log.mu.Unlock()
	far := e.dial(e.rawPost("", "", newPage(e)))
	<-e.log.arrived
	if err := e.stop(); err == nil {
		t.Error("the stop had time enough")
	}
	if a, err := readAnswered(bufio.NewReader(far)); err != nil || a.status != 503 {
		t.Errorf("answered %d %s, %v", a.status, a.body, err)
	}
	wantLedger(t, ledgerOf(t, e.log.of(schemas.TopicLedgerEdge)), map[string]uint64{testCompany + "/unacknowledged": 1})
	if n := e.inFlight.Load(); n != 0 {
		t.Errorf("%d events are in flight", n)
	}
}
