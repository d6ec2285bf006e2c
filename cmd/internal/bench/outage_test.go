package bench

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/schemas/metivav1"
)

// TestFindings gives the check topics with one fault each.
func TestFindings(t *testing.T) {
	t.Parallel()
	id := func(n byte) []byte { return append(make([]byte, 15), n) }
	record := func(n byte, sealed string, marked bool) *metivav1.CollectedEvent {
		return &metivav1.CollectedEvent{EventId: id(n), SealedAddress: []byte(sealed), Replayed: marked}
	}
	type want struct{ lost, invented, doubled, marked, copies int64 }
	for name, c := range map[string]struct {
		topic    []*metivav1.CollectedEvent
		accepted bool
		want     want
	}{
		"once":                        {[]*metivav1.CollectedEvent{record(1, "a", false)}, true, want{}},
		"once, with the mark":         {[]*metivav1.CollectedEvent{record(1, "a", true)}, true, want{marked: 1}},
		"a copy with the mark":        {[]*metivav1.CollectedEvent{record(1, "a", false), record(1, "a", true), record(1, "a", true)}, true, want{marked: 2, copies: 2}},
		"two without the mark":        {[]*metivav1.CollectedEvent{record(1, "a", false), record(1, "a", false)}, true, want{doubled: 1, copies: 1}},
		"a copy of something else":    {[]*metivav1.CollectedEvent{record(1, "a", false), record(1, "b", true)}, true, want{doubled: 1, marked: 1, copies: 1}},
		"not there":                   {nil, true, want{lost: 1}},
		"not there, and not promised": {nil, false, want{}},
		"there, and not promised":     {[]*metivav1.CollectedEvent{record(1, "a", false)}, false, want{}},
		"never sent":                  {[]*metivav1.CollectedEvent{record(1, "a", false), record(2, "b", false)}, true, want{invented: 1}},
		"no id":                       {[]*metivav1.CollectedEvent{record(1, "a", false), {SealedAddress: []byte("b")}}, true, want{invented: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var f findings
			held := copiesOf{accepted: c.accepted}
			events := map[[16]byte]*copiesOf{[16]byte(id(1)): &held}
			for _, e := range c.topic {
				value, err := proto.Marshal(e)
				if err != nil {
					t.Fatal(err)
				}
				if err := f.event(events, value); err != nil {
					t.Fatal(err)
				}
			}
			f.judge(&held)
			if got := (want{f.lost, f.invented, f.doubled, f.marked, f.copies}); got != c.want {
				t.Errorf("found %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestOutageReportFails(t *testing.T) {
	t.Parallel()
	if err := (OutageReport{Summary: OutageSummary{Balanced: true, StallP99Ms: 1e6}}).Check(); err != nil {
		t.Errorf("a slow run fails: %v", err)
	}
	for name, s := range map[string]OutageSummary{
		"not 2xx": {Not2xx: 1, Balanced: true}, "lost": {Lost: 1, Balanced: true}, "invented": {Invented: 1, Balanced: true},
		"doubled": {Doubled: 1, Balanced: true}, "not balanced": {},
	} {
		if err := (OutageReport{Summary: s}).Check(); err == nil {
			t.Errorf("%s does not fail the run", name)
		}
	}
}

func TestMessages(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]struct {
		status int
		body   string
		closes bool
	}{
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok":                         {200, "ok", false},
		"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n":                   {204, "", true},
		"POST /v1/events HTTP/1.1\r\nHost: a\r\ncontent-length: 3\r\n\r\n{\"}":   {0, "{\"}", false},
		"HTTP/1.1 503 No\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n": {503, "", false},
	} {
		var m message
		if err := m.read(bufio.NewReader(strings.NewReader(text))); err != nil {
			t.Errorf("%q: %v", text, err)
		} else if m.status != want.status || string(m.body()) != want.body || m.closes != want.closes || string(m.raw) != text {
			t.Errorf("%q is read as %d, %q, %v", text, m.status, m.body(), m.closes)
		}
	}
	for _, text := range []string{
		"", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 xyz\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
	} {
		var m message
		if err := m.read(bufio.NewReader(strings.NewReader(text))); err == nil {
			t.Errorf("%q is read", text)
		}
	}
}

// TestBalancerSendsOnce: a collector that closes the connection under a request
// makes it fail; one that is not ready gets none.
func TestBalancerSendsOnce(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	asked, served := make(chan struct{}, 8), make(chan struct{})
	go func() {
		defer close(served)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			var m message
			if m.read(bufio.NewReader(conn)) == nil {
				asked <- struct{}{}
			}
			_ = conn.Close()
		}
	}()
	never := errors.New("not ready")
	good := &backend{address: ln.Addr().String(), ready: func(context.Context) error { return nil }}
	bad := &backend{address: "127.0.0.1:1", ready: func(context.Context) error { return never }}
	b, err := startBalancer(t.Context(), bad, good)
	if err != nil {
		t.Fatal(err)
	}
	o := &outage{balancer: &balancer{backends: []*backend{good}}}
	if err := o.untilUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	load := steady{address: b.address(), connections: 1, rate: 100, began: time.Now(), visitors: visitors{host: b.address(), siteKey: siteKey, results: true}}
	stop, done := make(chan struct{}), make(chan []shot)
	go func() { done <- load.run(t.Context(), stop) }()
	<-asked
	<-asked
	close(stop)
	shots := <-done
	b.stop()
	_ = ln.Close()
	<-served
	if n := len(asked) + 2; n != len(shots) {
		t.Errorf("%d requests arrived, %d were sent", n, len(shots))
	}
	for _, s := range shots {
		if s.status != 502 || s.accepted {
			t.Errorf("a request that failed is answered %d", s.status)
		}
	}
}

func TestSumMetrics(t *testing.T) {
	t.Parallel()
	const text = "# HELP a_total x\na_total{cause=\"one\"} 2\na_total{cause=\"two\"} 3.5\na_total_more 7\nb{marked=\"true\"} 4\nb{marked=\"false\"} 9\nc 1e+03\n"
	m, err := sumMetrics(strings.NewReader(text), "a_total", `b{marked="true"}`, "c")
	if err != nil || m["a_total"] != 5.5 || m[`b{marked="true"}`] != 4 || m["c"] != 1000 {
		t.Errorf("%v, %v", m, err)
	}
	if _, err := sumMetrics(strings.NewReader("c x\n"), "c"); err == nil {
		t.Error("a value that is no number is read")
	}
}

func TestOutageConfig(t *testing.T) {
	t.Parallel()
	good := OutageConfig{
		BinDir: "bin", Rate: 100, Connections: 8, Calm: time.Second, Stall: time.Second, Away: time.Second, Duration: time.Minute,
		Progress: io.Discard, Log: slog.New(slog.DiscardHandler),
	}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*OutageConfig){
		"no folder":      func(c *OutageConfig) { c.BinDir = "" },
		"no rate":        func(c *OutageConfig) { c.Rate = 0 },
		"no connections": func(c *OutageConfig) { c.Connections = 0 },
		"no stall":       func(c *OutageConfig) { c.Stall = 0 },
		"too short":      func(c *OutageConfig) { c.Duration = 10 * time.Second },
		"too long":       func(c *OutageConfig) { c.Duration = 2 * time.Hour },
	} {
		c := good
		change(&c)
		if c.Validate() == nil {
			t.Errorf("%s is no fault", name)
		}
	}
}

func TestParsePressure(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"some avg10=16.71 avg60=19.42 avg300=20.35 total=632588393\nfull avg10=0.51 avg60=0.09 avg300=0.02 total=67676758\n": 632588393 * time.Microsecond,
		"full avg10=0.51 total=67676758\n": 0, "some total=x\n": 0, "": 0,
	} {
		if got := parsePressure(text); got != want {
			t.Errorf("%q is read as %s", text, got)
		}
	}
}
