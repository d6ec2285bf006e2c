package collector

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/metiva-io/metiva/pkg/waittest"
)

// fakeConn is a connection from an address of choice.
type fakeConn struct {
	net.Conn
	from   net.Addr
	closed chan struct{}
	once   sync.Once
}

func (f *fakeConn) RemoteAddr() net.Addr { return f.from }
func (f *fakeConn) Close() error {
	f.once.Do(func() { close(f.closed) })
	return nil
}

// fakeListener hands out what it is given: an address, or an error.
type fakeListener struct {
	net.Listener
	next  []any
	given []*fakeConn
}

func (f *fakeListener) Accept() (net.Conn, error) {
	if len(f.next) == 0 {
		return nil, net.ErrClosed
	}
	one := f.next[0]
	f.next = f.next[1:]
	if err, failed := one.(error); failed {
		return nil, err
	}
	c := &fakeConn{from: net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(one.(string)), 40000)), closed: make(chan struct{})}
	f.given = append(f.given, c)
	return c, nil
}

func acceptAll(t *testing.T, ln *listener) (taken []net.Conn) {
	t.Helper()
	for {
		c, err := ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			return taken
		}
		if err != nil {
			t.Fatal(err)
		}
		taken = append(taken, c)
	}
}

func (e *edge) refusedConnections(t *testing.T) map[string]float64 {
	t.Helper()
	return e.byLabel(t, "metiva_collector_connections_refused_total")
}

func TestConnectionsOfOneAddress(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		from  []string
		taken int
	}{
		"one address":       {[]string{"145.221.10.1", "145.221.10.1", "145.221.10.1"}, 2},
		"two addresses":     {[]string{"145.221.10.1", "145.221.10.2", "145.221.10.1", "145.221.10.2", "145.221.10.2"}, 4},
		"one IPv6 /64":      {[]string{"2a02:a44f::1", "2a02:a44f::2", "2a02:a44f::ffff:1", "2a02:a44f:0:1::1"}, 3},
		"IPv4 in IPv6":      {[]string{"::ffff:145.221.10.1", "145.221.10.1", "145.221.10.1"}, 2},
		"a trusted proxy":   {[]string{"81.2.3.4", "81.2.3.4", "81.2.3.4", "81.2.3.4"}, 4},
		"a private network": {[]string{"192.168.1.1", "192.168.1.1", "192.168.1.1"}, 3},
		"this machine":      {[]string{"127.0.0.1", "127.0.0.1", "127.0.0.1"}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEdge(t, nil, func(c *Config) {
				c.ConnectionsPerAddressMax, c.TrustedNetworks = 2, []netip.Prefix{netip.MustParsePrefix("81.2.3.0/24")}
			})
			fake := &fakeListener{}
			for _, from := range c.from {
				fake.next = append(fake.next, from)
			}
			ln := e.newListener(fake)
			taken := acceptAll(t, ln)
			if len(taken) != c.taken {
				t.Errorf("%d connections taken, want %d", len(taken), c.taken)
			}
			refused := e.refusedConnections(t)[refusedAddress]
			if int(refused) != len(c.from)-c.taken {
				t.Errorf("%v counted as refused", refused)
			}
			if open := e.metricSums(t)["metiva_collector_connections"]; int(open) != c.taken {
				t.Errorf("gauge %v", open)
			}
			closed := 0
			for _, f := range fake.given {
				select {
				case <-f.closed:
					closed++
				default:
				}
			}
			if closed != int(refused) {
				t.Errorf("%d closed, %v refused", closed, refused)
			}
			for _, conn := range taken {
				_, _ = conn.Close(), conn.Close() // twice: it counts once
			}
			if len(ln.open) != 0 || len(ln.byAddress) != 0 {
				t.Errorf("%d connections and %d addresses are remembered", len(ln.open), len(ln.byAddress))
			}
			for _, from := range c.from[:1] {
				fake.next = append(fake.next, from)
			}
			if again := acceptAll(t, ln); len(again) != 1 {
				t.Error("an address stays refused after its connections have ended")
			}
			if strings.Contains(e.logged.String(), "145.221") {
				t.Error("an address was logged")
			}
		})
	}
}

func TestConnectionsOfAll(t *testing.T) {
	t.Parallel()
	e := newEdge(t, nil, func(c *Config) { c.ConnectionsMax = 3 })
	fake := &fakeListener{}
	for i := range 5 {
		fake.next = append(fake.next, fmt.Sprintf("145.221.10.%d", i))
	}
	if taken := acceptAll(t, e.newListener(fake)); len(taken) != 3 {
		t.Errorf("%d connections taken", len(taken))
	}
	if refused := e.refusedConnections(t)[refusedAll]; refused != 2 {
		t.Errorf("%v refused", refused)
	}
}

// TestAcceptingOutlastsAShortage: without a free descriptor the server would end.
func TestAcceptingOutlastsAShortage(t *testing.T) {
	t.Parallel()
	e := newEdge(t, nil, nil)
	fake := &fakeListener{next: []any{
		&net.OpError{Op: "accept", Err: syscall.EMFILE}, "145.221.10.1", &net.OpError{Op: "accept", Err: syscall.ECONNABORTED}, "145.221.10.2",
	}}
	if taken := acceptAll(t, e.newListener(fake)); len(taken) != 2 {
		t.Errorf("%d connections taken", len(taken))
	}
	if refused := e.refusedConnections(t)[refusedSystem]; refused != 2 {
		t.Errorf("%v counted", refused)
	}
}

// TestRefusedConnectionIsReset goes through the kernel: the peer learns at once.
func TestRefusedConnectionIsReset(t *testing.T) {
	t.Parallel()
	e := startEdge(t, func(c *Config) { c.ConnectionsMax = 1 })
	first := e.dial("GET /v1/s.js HTTP/1.1\r\nHost: x\r\n\r\n")
	res, err := http.ReadResponse(bufio.NewReader(first), nil)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	// The reset may come before the dialler has looked at its new connection.
	second, err := net.Dial("tcp", strings.TrimPrefix(e.url, "http://"))
	if err == nil {
		defer second.Close()
		_, err = second.Read(make([]byte, 1))
	}
	if err == nil || !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.EOF) {
		t.Errorf("over the limit: %v", err)
	}
	first.Close()
	waittest.Until(t, 10*time.Second, "a place for the next connection", func() bool {
		a, err := e.try(http.MethodGet, PathScript, nil, nil)
		return err == nil && a.status == http.StatusOK
	})
}

// TestWhatTheKernelAcceptedIsServed: connections that wait in the queue when the
// collector stops are answered and not reset.
func TestWhatTheKernelAcceptedIsServed(t *testing.T) {
	t.Parallel()
	e := newEdge(t, nil, func(c *Config) { c.DrainGrace = 5 * time.Second })
	tcp, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e.url = "http://" + tcp.Addr().String()
	const queued = 60
	var conns []net.Conn
	for range queued {
		conns = append(conns, e.dial("GET /v1/s.js HTTP/1.1\r\nHost: x\r\n\r\n"))
	}
	ln := e.newListener(tcp)
	server := e.newServer()
	served := make(chan error, 1)
	// Nobody accepts before the stop has begun: all of them are in the queue.
	ln.closing.Store(true)
	e.stopping.Store(true)
	go func() { served <- server.Serve(ln) }()
	if err := e.drain(server, ln, time.Now().Add(20*time.Second)); err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	for i, conn := range conns {
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusOK || !res.Close {
			t.Errorf("connection %d: %d, closing %v", i, res.StatusCode, res.Close)
		}
	}
}
