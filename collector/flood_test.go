package collector

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestFloodOfRefusedRequests: what is refused as a whole is paid for by its
// network, and by nobody else.
func TestFloodOfRefusedRequests(t *testing.T) {
	t.Parallel()
	foreign := func(e *edge) any { return e.body(newPage(e)) }
	for name, c := range map[string]struct {
		body    func(e *edge) any
		change  func(map[string]string)
		status  int
		limited bool
	}{
		"unknown site":     {func(e *edge) any { b := e.body(newPage(e)); b["site"] = "pk_other"; return b }, func(map[string]string) {}, 403, true},
		"foreign origin":   {foreign, header("Origin", "https://evil.example"), 403, true},
		"malformed":        {func(*edge) any { return "{" }, func(map[string]string) {}, 400, true},
		"unsupported type": {foreign, header("Content-Type", "application/xml"), 415, true},
		"an objection":     {func(*edge) any { return "{" }, header("Sec-GPC", "1"), 400, false},
		"a proxy":          {func(*edge) any { return "{" }, header("X-Forwarded-For", "192.168.4.4"), 400, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := startEdge(t, func(c *Config) { c.NetworkEventsPerSecond = 1 }) // and ten at once
			for range burstSeconds {
				if a := e.post(c.body(e), c.change); a.status != c.status {
					t.Fatalf("answered %d %s", a.status, a.body)
				}
			}
			a := e.post(c.body(e), c.change)
			if !c.limited {
				if a.status != c.status {
					t.Errorf("answered %d %s", a.status, a.body)
				}
				return
			}
			if a.status != 429 || a.Reason != "rate_limited" || a.header.Get("Retry-After") != "1" {
				t.Errorf("answered %d %s, Retry-After %q", a.status, a.body, a.header.Get("Retry-After"))
			}
			if got := limitedEvents(t, e)["network"]; got != 1 {
				t.Errorf("%v counted as limited", got)
			}
			if a := e.post(e.body(newPage(e))); a.status != 429 {
				t.Errorf("events of the network are answered %d", a.status)
			}
			if a := e.post(e.body(newPage(e)), header("X-Forwarded-For", "145.222.1.1")); a.status != 200 {
				t.Errorf("another network is answered %d", a.status)
			}
		})
	}
}

func TestPixelFloodIsCountedAsLimited(t *testing.T) {
	t.Parallel()
	e := startEdge(t, func(c *Config) { c.NetworkEventsPerSecond = 1 })
	for range burstSeconds + 3 {
		if a := e.do(http.MethodGet, PathPixel+"?site=pk_other", nil, browserHeaders()); a.status != 200 {
			t.Fatalf("answered %d", a.status)
		}
	}
	wantLedger(t, e.stoppedLedger(), map[string]uint64{"/unknown_site": burstSeconds, "/rate_limited": 3})
}

// TestSlowClients: whoever sends or reads too slowly loses the connection, and
// nobody can stretch a time by sending a byte now and then.
func TestSlowClients(t *testing.T) {
	t.Parallel()
	const limit = 300 * time.Millisecond
	head := "POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nOrigin: " + testOrigin + "\r\nContent-Length: 60000\r\n\r\n"
	for name, c := range map[string]struct{ first, each, answer string }{
		"headers":         {"POST /v1/events HTTP/1.1\r\n", "X-A: b\r\n", "408"},
		"one header":      {"POST /v1/events HTTP/1.1\r\nX-A: ", "b", "408"},
		"the body":        {head, "{", "408"},
		"chunks":          {strings.Replace(head, "Content-Length: 60000", "Transfer-Encoding: chunked", 1), "1\r\n{\r\n", "408"},
		"nothing at all":  {"", "", ""},
		"after a request": {"GET /v1/s.js HTTP/1.1\r\nHost: x\r\n\r\n", "", "200"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := startEdge(t, func(c *Config) { c.ReadTimeout, c.IdleTimeout = limit, limit })
			begun := time.Now()
			conn := e.dial(c.first)
			ended := make(chan string, 1)
			go func() {
				answer, _ := io.ReadAll(bufio.NewReader(conn))
				ended <- string(answer)
			}()
			tick := time.NewTicker(limit / 10)
			defer tick.Stop()
			for {
				select {
				case answer := <-ended:
					if took := time.Since(begun); took > 20*limit {
						t.Errorf("it took %v", took)
					}
					if c.answer != "" && !strings.HasPrefix(answer, "HTTP/1.1 "+c.answer) || c.answer == "" && strings.Contains(answer, " 200 ") {
						t.Errorf("answered %q", answer)
					}
					return
				case <-tick.C:
					_, _ = io.WriteString(conn, c.each) // fails once it has ended
				case <-time.After(20 * time.Second):
					t.Fatal("the connection stays open")
				}
			}
		})
	}
}

// TestSlowReader: a client that asks and does not read is let go when its answers
// no longer fit into the kernel's buffers.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	e, ln := startWatched(t, func(c *Config) { c.WriteTimeout = 300 * time.Millisecond })
	conn := e.dial()
	if tcp, ok := conn.(*net.TCPConn); ok {
		if err := tcp.SetReadBuffer(4 << 10); err != nil {
			t.Fatal(err)
		}
	}
	asking := make(chan error, 1)
	go func() {
		request := strings.Repeat("GET /v1/s.js HTTP/1.1\r\nHost: x\r\n\r\n", 1000)
		for {
			if _, err := io.WriteString(conn, request); err != nil {
				asking <- err
				return
			}
		}
	}()
	select {
	case <-asking:
	case <-time.After(20 * time.Second):
		t.Fatal("the collector goes on answering somebody who does not read")
	}
	waitConns(t, ln, 0, 0)
}
