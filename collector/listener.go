package collector

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// listener hands out connections it can still reach when the collector stops:
// the server waits for a first request, or the rest of one, as long as while
// serving.
type listener struct {
	net.Listener
	// readBy is when reading ends, in Unix nanoseconds; 0 while serving.
	readBy atomic.Int64

	mu   sync.Mutex
	open map[*conn]struct{}
}

func newListener(ln net.Listener) *listener {
	return &listener{Listener: ln, open: map[*conn]struct{}{}}
}

// Accept waits for the next connection.
func (l *listener) Accept() (net.Conn, error) {
	inner, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: inner, listener: l, accepted: time.Now(), peer: peerAddr(inner.RemoteAddr())}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open[c] = struct{}{}
	return c, nil
}

// drain ends reading after the grace: of requests that are still being sent, and
// of connections opened so shortly ago that their first one may be on its way.
// One that has been silent for longer was opened in advance and ends at once.
// Requests that have arrived whole are not touched.
func (l *listener) drain(now time.Time, grace time.Duration) {
	by := now.Add(grace)
	l.readBy.Store(by.UnixNano())
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.open {
		end := by
		if patience := c.accepted.Add(grace); !c.spoke.Load() && patience.Before(end) {
			end = patience
		}
		c.stopReading(end)
	}
}

// closeAll ends what is left when the time for draining is over.
func (l *listener) closeAll() {
	l.mu.Lock()
	open := make([]*conn, 0, len(l.open))
	for c := range l.open {
		open = append(open, c)
	}
	l.mu.Unlock()
	for _, c := range open {
		_ = c.Close() // nobody is left to tell
	}
}

// conn is one connection of a listener.
type conn struct {
	net.Conn
	listener *listener
	accepted time.Time
	peer     netip.Addr
	spoke    atomic.Bool // has sent a byte

	reading, writing deadline
	stopping         sync.Mutex // no later deadline replaces that of a stop
}

func (c *conn) Close() error {
	c.listener.mu.Lock()
	delete(c.listener.open, c)
	c.listener.mu.Unlock()
	return c.Conn.Close()
}

// isSilent reports whether a connection never sent a byte: browsers open some in
// advance, and no event was lost with one.
func isSilent(nc net.Conn) bool {
	c, ok := nc.(*conn)
	return ok && !c.spoke.Load()
}
