package collector

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/metiva-io/metiva/schemas"
)

// dial opens a connection and sends the parts.
func (e *edge) dial(parts ...string) net.Conn {
	e.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(e.url, "http://"))
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		e.t.Fatal(err)
	}
	for _, p := range parts {
		if _, err := io.WriteString(conn, p); err != nil {
			e.t.Fatal(err)
		}
	}
	return conn
}

// waitConns returns once n connections are open, of which spoke have sent a byte.
func waitConns(t *testing.T, l *listener, n, spoke int) {
	t.Helper()
	deadline, tick := time.After(10*time.Second), time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		open, loud := 0, 0
		l.mu.Lock()
		for c := range l.open {
			if open++; c.spoke.Load() {
				loud++
			}
		}
		l.mu.Unlock()
		if open == n && loud == spoke {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("%d connections, %d have spoken; want %d, %d", open, loud, n, spoke)
		case <-tick.C:
		}
	}
}

// startWatched runs a collector over a listener the test can look into.
func startWatched(t *testing.T, change func(*Config)) (*edge, *listener) {
	t.Helper()
	e := newEdge(t, nil, change)
	e.applySite(siteRecord())
	e.applySalt(testCompany, "2026-11-22")
	e.CaughtUp()
	return e, e.startListener()
}

const stalledHead = "POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nOrigin: " + testOrigin + "\r\nContent-Length: 100\r\n\r\n{"

func TestStopDoesNotWaitForThoseWhoSendNothing(t *testing.T) {
	t.Parallel()
	e, ln := startWatched(t, func(c *Config) { c.DrainGrace = 200 * time.Millisecond })
	silent, stalled, halfHeader := e.dial(), e.dial(stalledHead), e.dial("POST /v1/ev")
	idle := e.dial("GET /v1/s.js HTTP/1.1\r\nHost: x\r\n\r\n")
	reader := bufio.NewReader(idle)
	res, err := http.ReadResponse(reader, nil)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	waitConns(t, ln, 4, 3)

	begun := time.Now()
	if err := e.stop(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begun); took > 3*time.Second {
		t.Errorf("the stop took %v", took)
	}
	for name, conn := range map[string]net.Conn{"stalled body": stalled, "half a header": halfHeader} {
		answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusRequestTimeout {
			t.Errorf("%s: %d", name, answer.StatusCode)
		}
	}
	if rest, err := io.ReadAll(silent); err != nil || strings.Contains(string(rest), "200 OK") {
		t.Errorf("silent: %q %v", rest, err)
	}
	// Each unfinished request counts as one event; a connection nothing was sent
	// on carried none.
	wantLedger(t, ledgerOf(t, e.log.of(schemas.TopicLedgerEdge)), map[string]uint64{"/malformed": 2})
}

// A request whose last bytes come within the grace is served.
func TestStopLetsARequestArrive(t *testing.T) {
	t.Parallel()
	e, ln := startWatched(t, func(c *Config) { c.DrainGrace = 10 * time.Second })
	conn := e.dial("GET /v1/s.js HTTP/1.1\r\nHo")
	fresh := e.dial()
	waitConns(t, ln, 2, 1)
	e.cancel()
	deadline := time.After(10 * time.Second)
	for tick := time.NewTicker(time.Millisecond); ln.readBy.Load() == 0; {
		select {
		case <-deadline:
			t.Fatal("the stop does not begin")
		case <-tick.C:
		}
	}
	for _, c := range []struct {
		conn net.Conn
		rest string
	}{{conn, "st: x\r\n\r\n"}, {fresh, "GET /v1/s.js HTTP/1.1\r\nHost: x\r\n\r\n"}} {
		if _, err := io.WriteString(c.conn, c.rest); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(bufio.NewReader(c.conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusOK {
			t.Errorf("answered %d", res.StatusCode)
		}
	}
	if err := e.stop(); err != nil {
		t.Error(err)
	}
}

// A request that outlasts the stop leaves time for the counts; counts that
// cannot be published do not begin a time of their own.
func TestStopHasOneBudget(t *testing.T) {
	t.Parallel()
	for name, published := range map[string]bool{"counts published": true, "counts refused": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, _ := startWatched(t, func(c *Config) { c.DrainTimeout, c.AckTimeout = 3*time.Second, 20*time.Second })
			hold := make(chan struct{})
			answered := make(chan struct{})
			e.log.mu.Lock()
			e.log.hold, e.log.arrived = hold, make(chan struct{}, 1)
			e.log.refuse = func(topic string) error {
				if topic == schemas.TopicLedgerEdge && !published {
					return errTest
				}
				return nil
			}
			e.log.mu.Unlock()
			go func() {
				defer close(answered)
				_, _ = e.try(http.MethodPost, PathEvents, e.body(newPage(e)), browserHeaders())
			}()
			defer func() { close(hold); <-answered }()
			<-e.log.arrived
			if a := e.post("{"); a.status != http.StatusBadRequest { // something to publish
				t.Errorf("answered %d", a.status)
			}
			begun := time.Now()
			err := e.stop()
			if took := time.Since(begun); took > 4500*time.Millisecond {
				t.Errorf("the stop took %v", took)
			}
			if err == nil || !strings.Contains(err.Error(), "waiting for open requests") || strings.Contains(err.Error(), "unpublished") == published {
				t.Errorf("stopped with %v", err)
			}
			if got := ledgerOf(t, e.log.of(schemas.TopicLedgerEdge)); (got["/malformed"] == 1) != published {
				t.Errorf("ledger %v", got)
			}
		})
	}
}
