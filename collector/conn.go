package collector

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// conn is one connection of a listener. The server's goroutine reads and writes
// it. An answer that waits for Kafka is held in it, and written by whoever learns
// that the records are durable: the server's goroutine waits for the next request
// meanwhile, and is not woken twice for each.
type conn struct {
	// What each request uses comes first, and so shares cache lines.
	net.Conn
	listener *listener
	peer     netip.Addr
	raw      syscall.RawConn // nil where there is no socket: nothing is held then
	// due is when reading ends, by the listener's clock: of the request that is being
	// sent, or of the wait for the next one. 0 while one is handled.
	due   atomic.Int64
	spoke atomic.Bool // has sent a byte

	// The server's goroutine alone uses these.
	arriving  bool // some of a request has come
	unwritten bool // a request was handled, and its answer not written yet
	holding   bool // the next answer to be written is held
	broken    bool // an answer was lost: nothing may be written after it
	// usual is what is held, if it is; owed is one that was to be held, and which the
	// server is to write with its headers instead.
	usual, owed *usualAnswer

	held held
	out  outgoing
	in   incomingBytes

	limited  bool       // its address has a limit
	stopping sync.Mutex // no later deadline replaces that of a stop
	accepted time.Time
	key      uint64 // of its address
}

// outgoing is what push writes. One goroutine at a time writes to a connection:
// who holds the answer, or else the server's.
type outgoing struct {
	push    func(fd uintptr) (done bool)
	rest    []byte
	written int
	err     error
}

// incomingBytes is what pull reads: one system call's, into memory that connections take
// turns with while they wait.
type incomingBytes struct {
	pull   func(fd uintptr) (done bool)
	max    int
	memory *readMemory
	n      int
	err    error
}

// readMemory is what a request is read into.
type readMemory struct{ b []byte }

func (l *listener) newConn(inner net.Conn) *conn {
	now := time.Now()
	c := &conn{Conn: inner, listener: l, accepted: now, peer: peerAddr(inner.RemoteAddr()), arriving: true}
	c.due.Store(l.at(now.Add(l.timeouts.read)))
	c.held.since.Store(notWaiting)
	if socket, ok := inner.(syscall.Conn); ok {
		if raw, err := socket.SyscallConn(); err == nil {
			c.raw = raw
		}
	}
	c.held.changed = make(chan struct{}, 1)
	c.out.push = func(fd uintptr) bool {
		c.out.written, c.out.err = syscall.Write(int(fd), c.out.rest)
		return true
	}
	c.in.pull = func(fd uintptr) bool {
		in := &c.in
		in.memory = l.memories.Get().(*readMemory)
		for {
			in.n, in.err = syscall.Read(int(fd), in.memory.b[:min(in.max, len(in.memory.b))])
			switch {
			case in.err == nil:
				return true
			case errors.Is(in.err, syscall.EINTR):
			case errors.Is(in.err, syscall.EAGAIN):
				c.forgetRead()
				return false
			default:
				in.err = os.NewSyscallError("read", in.err)
				return true
			}
		}
	}
	return c
}

// forgetRead gives the memory back that was read into.
func (c *conn) forgetRead() {
	if m := c.in.memory; m != nil {
		c.in.memory, c.in.n = nil, 0
		c.listener.memories.Put(m)
	}
}

// begin is called before a request is handled: what was answered before it goes
// first. It reports whether the answer to this one may be held.
func (c *conn) begin() (mayHold bool) {
	c.arriving = false
	c.due.Store(0)
	pipelined := c.unwritten
	c.unwritten = true
	c.held.settleBefore(c, pipelined)
	return !pipelined && c.raw != nil
}

// Read reads for the server. Ordinary requests that come while it waits for the next
// one are served here, and the server sees none of them.
func (c *conn) Read(b []byte) (int, error) {
	for {
		between := !c.arriving
		if between {
			c.due.Store(c.listener.clock.Load() + int64(c.listener.timeouts.idle))
		}
		var n int
		var err error
		if between && c.mayServe() {
			if n, err = c.readServing(b); n == 0 && err == nil {
				continue
			}
		} else {
			n, err = c.Conn.Read(b)
		}
		if n > 0 {
			c.arrive()
			if !c.spoke.Load() {
				c.spoke.Store(true)
			}
			return n, err
		}
		if err == nil || !isTimeout(err) || c.listener.readBy.Load() != 0 || c.isDue(c.listener.clock.Load()) {
			return n, err
		}
		c.readOn() // its end was of an earlier request
	}
}

// mayServe reports whether what comes next may be served by the connection: nothing of
// the server's is on its way.
func (c *conn) mayServe() bool {
	return c.raw != nil && c.listener.serve != nil && !c.unwritten && !c.holding && !c.broken && c.owed == nil
}

// readServing reads what has come and serves it, or hands it to the server. Both
// results are zero when it was served.
func (c *conn) readServing(b []byte) (n int, err error) {
	c.in.max = len(b)
	err = c.raw.Read(c.in.pull)
	defer c.forgetRead()
	switch {
	case err != nil:
		return 0, err
	case c.in.err != nil:
		return 0, c.in.err
	case c.in.n == 0:
		return 0, io.EOF
	}
	raw := c.in.memory.b[:c.in.n]
	if c.listener.serve(c, raw) {
		return 0, nil
	}
	n = copy(b, raw)
	clear(raw) // it may be a form, which the server's handler overwrites where it has it
	return n, nil
}

// arrive begins the time a request has, if it has not begun: the first bytes may
// have come with the request before it, and were read then.
func (c *conn) arrive() {
	if !c.arriving {
		c.arriving = true
		c.due.Store(c.listener.clock.Load() + int64(c.listener.timeouts.read))
	}
}

// isDue reports whether reading should have ended.
func (c *conn) isDue(now int64) bool {
	due := c.due.Load()
	return due != 0 && now >= due
}

// endReading ends reading because it is due.
func (c *conn) endReading() {
	c.stopping.Lock()
	defer c.stopping.Unlock()
	if c.listener.readBy.Load() == 0 {
		_ = c.SetReadDeadline(longAgo) // of a connection that is closed already
	}
}

// longAgo is a deadline that has passed, whatever the clock says.
var longAgo = time.Unix(1, 0)

// readOn takes back what endReading did.
func (c *conn) readOn() {
	c.stopping.Lock()
	defer c.stopping.Unlock()
	if c.listener.readBy.Load() == 0 {
		_ = c.SetReadDeadline(time.Time{}) // of a connection that is closed already
	}
}

// stopReading ends reading at a moment, also one that is under way.
func (c *conn) stopReading(at time.Time) {
	c.stopping.Lock()
	defer c.stopping.Unlock()
	_ = c.SetReadDeadline(at) // of a connection that is closed already
}

var errAnswerLost = errors.New("the answer to an earlier request was lost")

// Write writes an answer, or keeps it where it is to be held.
func (c *conn) Write(b []byte) (int, error) {
	c.unwritten = false
	if c.holding {
		c.holding = false
		out, kept := c.held.keep(b, c.usual)
		if kept {
			return len(b), nil
		}
		return len(b), c.send(out)
	}
	c.held.await(false)
	if c.broken {
		return 0, errAnswerLost
	}
	out := b
	if c.owed != nil {
		out, c.owed = c.owed.whole(b), nil
	}
	return len(b), c.send(out)
}

// send writes all of b, within the timeout for writing.
func (c *conn) send(b []byte) error {
	n, err := c.trySend(b)
	if err != nil || n == len(b) {
		return err
	}
	if err := c.SetWriteDeadline(time.Now().Add(c.listener.timeouts.write)); err != nil {
		return err
	}
	if _, err := c.Conn.Write(b[n:]); err != nil {
		return err
	}
	return c.SetWriteDeadline(time.Time{})
}

// trySend writes what the socket takes at once.
func (c *conn) trySend(b []byte) (written int, err error) {
	if c.raw == nil {
		return 0, nil
	}
	c.out.rest = b
	err = c.raw.Write(c.out.push)
	c.out.rest = nil
	if err != nil {
		return 0, err
	}
	switch {
	case c.out.err == nil:
		return c.out.written, nil
	case errors.Is(c.out.err, syscall.EAGAIN), errors.Is(c.out.err, syscall.EINTR):
		return 0, nil
	default:
		return 0, os.NewSyscallError("write", c.out.err)
	}
}

// Close ends the connection, after the answer it holds.
func (c *conn) Close() error {
	if c.held.closeAfter() {
		return nil
	}
	return c.abort()
}

// abort ends the connection at once. A request whose records are still waited for
// stays in the listener's sight until it is settled.
func (c *conn) abort() error {
	if !c.held.abandon() {
		c.listener.leave(c)
	}
	return c.Conn.Close()
}

// isSilent reports whether a connection never sent a byte: browsers open some in
// advance, and no event was lost with one.
func isSilent(nc net.Conn) bool {
	c, ok := nc.(*conn)
	return ok && !c.spoke.Load()
}
