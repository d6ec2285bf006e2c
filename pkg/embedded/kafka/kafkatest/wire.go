package kafkatest

import (
	"encoding/binary"
	"errors"
	"net"
	"sync"
)

// wire sits between the brokers and their connections, to stall requests and
// to cut connections in place of an answer.
type wire struct {
	mu    sync.Mutex
	cond  *sync.Cond
	still bool
	cuts  map[int16]int // in place of the answer
	early map[int16]int // in place of reading the request
	seen  map[int16]int
	made  int // connections
	conns map[*wireConn]struct{}
}

func newWire() *wire {
	w := &wire{cuts: map[int16]int{}, early: map[int16]int{}, seen: map[int16]int{}, conns: map[*wireConn]struct{}{}}
	w.cond = sync.NewCond(&w.mu)
	return w
}

func (w *wire) listen(network, address string) (net.Listener, error) {
	ln, err := net.Listen(network, address)
	if err != nil {
		return nil, err
	}
	return &wireListener{Listener: ln, wire: w}, nil
}

func (w *wire) stall() {
	w.mu.Lock()
	w.still = true
	w.mu.Unlock()
}

func (w *wire) resume() {
	w.mu.Lock()
	w.still = false
	w.mu.Unlock()
	w.cond.Broadcast()
}

func (w *wire) waitMoving() {
	w.mu.Lock()
	for w.still {
		w.cond.Wait()
	}
	w.mu.Unlock()
}

func (w *wire) set(counts map[int16]int, key int16, n int) {
	w.mu.Lock()
	counts[key] = n
	w.mu.Unlock()
}

func (w *wire) get(counts map[int16]int, key int16) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return counts[key]
}

// take uses up one of the cuts that were ordered.
func (w *wire) take(counts map[int16]int, key int16) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if counts[key] == 0 {
		return false
	}
	counts[key]--
	return true
}

// closeAll ends the connections that a closed cluster has left open.
func (w *wire) closeAll() {
	w.mu.Lock()
	conns := make([]*wireConn, 0, len(w.conns))
	for c := range w.conns {
		conns = append(conns, c)
	}
	w.mu.Unlock()
	for _, c := range conns {
		_ = c.Close()
	}
}

type wireListener struct {
	net.Listener
	wire *wire
}

func (l *wireListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &wireConn{Conn: conn, wire: l.wire}
	l.wire.mu.Lock()
	l.wire.conns[c] = struct{}{}
	l.wire.made++
	l.wire.mu.Unlock()
	return c, nil
}

// wireConn follows the framing of requests, so that it knows which request a
// response belongs to: the broker answers in order, with one Write each.
type wireConn struct {
	net.Conn
	wire *wire

	mu   sync.Mutex
	head []byte // the first six bytes of a request: size and API key
	skip int    // bytes of the current request still to come
	keys []int16
}

func (c *wireConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if !c.follow(p[:n]) {
		_ = c.Close()
		return 0, errCut
	}
	c.wire.waitMoving()
	return n, err
}

// follow reports whether the request may be read on.
func (c *wireConn) follow(p []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(p) > 0 {
		if c.skip > 0 {
			n := min(c.skip, len(p))
			c.skip -= n
			p = p[n:]
			continue
		}
		n := min(6-len(c.head), len(p))
		c.head = append(c.head, p[:n]...)
		p = p[n:]
		if len(c.head) == 6 {
			c.skip = int(binary.BigEndian.Uint32(c.head)) - 2
			key := int16(binary.BigEndian.Uint16(c.head[4:]))
			c.keys = append(c.keys, key)
			c.head = c.head[:0]
			c.wire.mu.Lock()
			c.wire.seen[key]++
			c.wire.mu.Unlock()
			if c.wire.take(c.wire.early, key) {
				return false
			}
		}
	}
	return true
}

var errCut = errors.New("connection cut by the test")

func (c *wireConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	key := int16(-1)
	if len(c.keys) > 0 {
		key = c.keys[0]
		c.keys = c.keys[1:]
	}
	c.mu.Unlock()
	if c.wire.take(c.wire.cuts, key) {
		_ = c.Close()
		return 0, errCut
	}
	return c.Conn.Write(p)
}

func (c *wireConn) Close() error {
	c.wire.mu.Lock()
	delete(c.wire.conns, c)
	c.wire.mu.Unlock()
	return c.Conn.Close()
}
