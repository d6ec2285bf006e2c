package bench

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// balancer is the one address of several collectors. It is strict: it looks at
// the readiness of each, keeps connections to them as long as their answers
// allow, and sends no request twice, so that each fault of a collector is a
// failed request.
type balancer struct {
	ln       net.Listener
	backends []*backend
	next     atomic.Uint32
	cancel   context.CancelFunc
	running  sync.WaitGroup

	mu      sync.Mutex
	stopped bool
	clients map[net.Conn]struct{}
}

const (
	readinessEvery = 100 * time.Millisecond
	// idleMax is how long balancers usually keep a connection nobody uses.
	idleMax            = time.Minute
	messageBufferBytes = 8 << 10
)

// backend is one of the addresses behind it.
type backend struct {
	address string
	ready   func(context.Context) error

	up   atomic.Bool
	mu   sync.Mutex
	idle []*backendConn
}

type backendConn struct {
	net.Conn
	reader *bufio.Reader
	answer message
	since  time.Time // it has been idle
}

func startBalancer(ctx context.Context, backends ...*backend) (*balancer, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listening for the balancer: %w", err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	b := &balancer{ln: ln, backends: backends, cancel: cancel, clients: make(map[net.Conn]struct{})}
	for _, one := range backends {
		b.running.Go(func() { one.watch(ctx) })
	}
	b.running.Go(b.accept)
	return b, nil
}

func (b *balancer) address() string { return b.ln.Addr().String() }

// stop ends every connection and returns when nothing runs any more.
func (b *balancer) stop() {
	b.cancel()
	_ = b.ln.Close()
	b.mu.Lock()
	b.stopped = true
	for conn := range b.clients {
		_ = conn.Close()
	}
	b.mu.Unlock()
	b.running.Wait()
	for _, one := range b.backends {
		one.drop()
	}
}

func (b *balancer) accept() {
	for {
		conn, err := b.ln.Accept()
		if err != nil {
			return
		}
		b.mu.Lock()
		if b.stopped {
			_ = conn.Close()
		} else {
			b.clients[conn] = struct{}{}
			b.running.Go(func() { b.serve(conn) })
		}
		b.mu.Unlock()
	}
}

const badGateway = "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"

// serve passes the requests of one client on.
func (b *balancer) serve(conn net.Conn) {
	defer func() {
		_ = conn.Close()
		b.mu.Lock()
		delete(b.clients, conn)
		b.mu.Unlock()
	}()
	reader := bufio.NewReaderSize(conn, messageBufferBytes)
	var request message
	for request.read(reader) == nil {
		answered := b.pass(request.raw, conn)
		if answered == nil {
			continue
		}
		if _, err := io.WriteString(conn, badGateway); err != nil {
			return
		}
	}
}

var errNoBackend = errors.New("no collector is ready")

// pass sends a request to a collector and its answer to the client.
func (b *balancer) pass(request []byte, client io.Writer) error {
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
	c, err := to.take()
	if err != nil {
		return err
	}
	if err := c.exchange(request); err != nil {
		_ = c.Close()
		return err
	}
	// A client that has gone is no fault of the collector's.
	_, _ = client.Write(c.answer.raw)
	if c.answer.closes {
		return c.Close()
	}
	to.put(c)
	return nil
}

func (c *backendConn) exchange(request []byte) error {
	if err := c.SetDeadline(time.Now().Add(answerWait)); err != nil {
		return fmt.Errorf("passing a request on: %w", err)
	}
	if _, err := c.Write(request); err != nil {
		return fmt.Errorf("passing a request on: %w", err)
	}
	return c.answer.read(c.reader)
}

// watch follows the readiness of a backend.
func (k *backend) watch(ctx context.Context) {
	tick := time.NewTicker(readinessEvery)
	defer tick.Stop()
	for {
		ready := k.ready(ctx) == nil
		if k.up.Store(ready); !ready {
			k.drop()
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (k *backend) drop() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range k.idle {
		_ = c.Close()
	}
	k.idle = nil
}

// take returns the connection used last, or a new one.
func (k *backend) take() (*backendConn, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for len(k.idle) > 0 && time.Since(k.idle[0].since) > idleMax {
		_ = k.idle[0].Close()
		k.idle = k.idle[1:]
	}
	if n := len(k.idle); n > 0 {
		c := k.idle[n-1]
		k.idle = k.idle[:n-1]
		return c, nil
	}
	conn, err := net.DialTimeout("tcp", k.address, answerWait) //nolint:noctx // bounded by its time-out
	if err != nil {
		return nil, fmt.Errorf("connecting to a collector: %w", err)
	}
	return &backendConn{Conn: conn, reader: bufio.NewReaderSize(conn, messageBufferBytes)}, nil
}

func (k *backend) put(c *backendConn) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.up.Load() {
		_ = c.Close()
		return
	}
	c.since = time.Now()
	k.idle = append(k.idle, c)
}

// message is a request or an answer, as it came.
type message struct {
	raw    []byte
	status int // of an answer
	head   int // bytes before the body
	closes bool
}

func (m *message) body() []byte { return m.raw[m.head:] }

// read reads one message with a Content-Length, or without a body.
func (m *message) read(r *bufio.Reader) error {
	*m = message{raw: m.raw[:0]}
	length := 0
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return fmt.Errorf("reading a message: %w", err)
		}
		first := len(m.raw) == 0
		m.raw = append(m.raw, line...)
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			break
		}
		if first {
			if rest, ok := bytes.CutPrefix(line, []byte("HTTP/1.1 ")); ok {
				if m.status, err = strconv.Atoi(string(rest[:min(3, len(rest))])); err != nil {
					return errAnswer
				}
			}
			continue
		}
		name, value, _ := bytes.Cut(line, []byte{':'})
		value = bytes.TrimSpace(value)
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			if length, err = strconv.Atoi(string(value)); err != nil || length < 0 || length > messageBytesMax {
				return errAnswer
			}
		case bytes.EqualFold(name, []byte("Connection")):
			m.closes = bytes.EqualFold(value, []byte("close"))
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			return errAnswer
		}
	}
	m.head = len(m.raw)
	m.raw = append(m.raw, make([]byte, length)...)
	if _, err := io.ReadFull(r, m.raw[m.head:]); err != nil {
		return fmt.Errorf("reading a message: %w", err)
	}
	return nil
}

// messageBytesMax is far more than either side sends here.
const messageBytesMax = 1 << 20
