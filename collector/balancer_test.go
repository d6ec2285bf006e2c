package collector

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// balancer is a load balancer as strict as there is one: it looks at the
// readiness of each backend every 50 ms, keeps connections to them as long as
// their answers allow, closes those of a backend that is not ready, and sends no
// request twice, so that each fault of a backend is a failed request.
type balancer struct {
	t        *testing.T
	ln       net.Listener
	backends []*backend
	next     atomic.Uint32
	failed   atomic.Int64 // requests answered 502
	reused   atomic.Int64 // requests sent on a connection that had carried one
	closing  atomic.Int64 // answers that ended their connection
	stop     chan struct{}
	running  sync.WaitGroup
}

// backend is one address a collector listens on.
type backend struct {
	addr  string
	ready func() bool

	up   atomic.Bool
	mu   sync.Mutex
	idle []*backendConn
}

type backendConn struct {
	net.Conn
	read *bufio.Reader
}

const readinessEvery = 50 * time.Millisecond

func startBalancer(t *testing.T, backends ...*backend) *balancer {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &balancer{t: t, ln: ln, backends: backends, stop: make(chan struct{})}
	for _, one := range backends {
		b.running.Go(func() { one.watch(b.stop) })
	}
	front := &http.Server{Handler: b, ReadHeaderTimeout: 10 * time.Second}
	b.running.Go(func() { _ = front.Serve(ln) })
	t.Cleanup(func() {
		close(b.stop)
		_ = front.Close()
		b.running.Wait()
		for _, one := range backends {
			one.drop()
		}
	})
	return b
}

// watch follows the readiness of a backend.
func (k *backend) watch(stop chan struct{}) {
	tick := time.NewTicker(readinessEvery)
	defer tick.Stop()
	for {
		ready := k.ready()
		if k.up.Swap(ready); !ready {
			k.drop()
		}
		select {
		case <-stop:
			return
		case <-tick.C:
		}
	}
}

// drop closes the idle connections.
func (k *backend) drop() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range k.idle {
		_ = c.Close()
	}
	k.idle = nil
}

func (k *backend) take() (c *backendConn, reused bool, err error) {
	k.mu.Lock()
	if n := len(k.idle); n > 0 {
		c, k.idle = k.idle[n-1], k.idle[:n-1]
		k.mu.Unlock()
		return c, true, nil
	}
	k.mu.Unlock()
	conn, err := net.DialTimeout("tcp4", k.addr, time.Second)
	if err != nil {
		return nil, false, err
	}
	return &backendConn{Conn: conn, read: bufio.NewReader(conn)}, false, nil
}

func (k *backend) put(c *backendConn) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.up.Load() {
		_ = c.Close()
		return
	}
	k.idle = append(k.idle, c)
}

// ServeHTTP passes one request on, once.
func (b *balancer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	err := b.pass(w, r)
	if err == nil {
		return
	}
	b.failed.Add(1)
	b.t.Logf("failed request: %v", err)
	w.WriteHeader(http.StatusBadGateway)
}

var errNoBackend = errors.New("no backend is ready")

func (b *balancer) pass(w http.ResponseWriter, r *http.Request) error {
	var to *backend
	first := int(b.next.Add(1))
	for i := range b.backends {
		if one := b.backends[(first+i)%len(b.backends)]; one.up.Load() {
			to = one
			break
		}
	}
	if to == nil {
		return errNoBackend
	}
	c, reused, err := to.take()
	if err != nil {
		return err
	}
	if reused {
		b.reused.Add(1)
	}
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	r.Header.Set("X-Forwarded-For", testVisitor)
	if err := r.Write(c); err != nil {
		_ = c.Close()
		return err
	}
	res, err := http.ReadResponse(c.read, r)
	if err != nil {
		_ = c.Close()
		return err
	}
	defer res.Body.Close()
	w.Header().Set("Content-Type", res.Header.Get("Content-Type"))
	w.WriteHeader(res.StatusCode)
	if _, err := io.Copy(w, res.Body); err != nil {
		_ = c.Close()
		return err
	}
	if res.Close {
		b.closing.Add(1)
		_ = c.Close()
		return nil
	}
	to.put(c)
	return nil
}
