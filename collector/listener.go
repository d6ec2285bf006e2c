package collector

import (
	"context"
	"errors"
	"hash/maphash"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// listener hands out connections it can still reach when the collector stops:
// the server waits for a first request, or the rest of one, as long as while
// serving. It refuses connections over their limits.
type listener struct {
	net.Listener
	limits   connectionLimits
	timeouts timeouts
	// serve serves what has come on a connection, or reports that it is the server's
	// to serve; memories are what it is read into, answers what is answered with.
	serve    func(c *conn, raw []byte) (served bool)
	memories sync.Pool // of *readMemory
	answers  sync.Pool // of *answerMemory
	// clock is the time of the last sweep, in nanoseconds since begun: nobody's time
	// ends or begins anew when the machine's clock is set.
	clock atomic.Int64
	begun time.Time
	// readBy is when reading ends, in Unix nanoseconds; 0 while serving.
	readBy atomic.Int64
	// closing is set while what the kernel has accepted already is taken in.
	closing atomic.Bool
	another bool          // another round is due; only Accept uses it
	ended   chan struct{} // closed once nothing more is accepted
	endOnce sync.Once

	mu        sync.Mutex
	open      map[*conn]struct{}
	byAddress map[uint64]int // open connections of limited addresses
}

// connectionLimits bound the open connections. The zero value bounds nothing.
type connectionLimits struct {
	all, perAddress int
	// trusted proxies stand for all visitors behind them and have no limit of
	// their own.
	trusted []netip.Prefix
	// seed makes an address's key in the table, which holds no address.
	seed    maphash.Seed
	refused func(reason string)
	opened  prometheus.Gauge
}

// Why a connection was refused, in metrics.
const (
	refusedAll     = "all"     // too many are open
	refusedAddress = "address" // too many of its address are open
	refusedSystem  = "system"  // the system could not give it
)

// acceptPause is how long accepting rests when the system has no descriptor or
// memory for a connection: some end in the meantime.
const acceptPause = 50 * time.Millisecond

func (c *Collector) newListener(ln net.Listener) *listener {
	l := &listener{
		begun:    time.Now(),
		timeouts: timeouts{read: c.cfg.ReadTimeout, idle: c.cfg.IdleTimeout, write: c.cfg.WriteTimeout, ack: c.cfg.AckTimeout},
		Listener: ln, open: map[*conn]struct{}{}, byAddress: map[uint64]int{}, another: true, ended: make(chan struct{}),
		limits: connectionLimits{
			all: c.cfg.ConnectionsMax, perAddress: c.cfg.ConnectionsPerAddressMax, trusted: c.cfg.TrustedNetworks,
			seed: maphash.MakeSeed(), refused: c.metrics.refusedConnection, opened: c.metrics.connections,
		},
	}
	l.serve = c.serveOrdinary
	l.memories.New = func() any { return &readMemory{b: make([]byte, c.cfg.HeaderBytesMax)} }
	l.answers.New = func() any { return &answerMemory{} }
	return l
}

// at is a moment by the listener's clock.
func (l *listener) at(t time.Time) int64 { return int64(t.Sub(l.begun)) }

// Accept waits for the next connection within the limits.
func (l *listener) Accept() (net.Conn, error) {
	for {
		inner, err := l.Listener.Accept()
		switch {
		case err == nil:
			l.another = true
			if c := l.take(inner); c != nil {
				return c, nil
			}
		case l.closing.Load() && isTimeout(err):
			// Another round for as long as one finds something, and at least one
			// that began here: Accept does not look after the end of a round, and on
			// a busy machine the first may have passed meanwhile.
			if l.another && l.extend() {
				l.another = false
				continue
			}
			l.endOnce.Do(func() { close(l.ended) })
			return nil, io.EOF
		case isPassing(err):
			l.limits.refused(refusedSystem)
			l.rest()
		default:
			l.endOnce.Do(func() { close(l.ended) })
			return nil, err
		}
	}
}

func isTimeout(err error) bool {
	var netErr net.Error
	return errors.As(err, &netErr) && netErr.Timeout()
}

// isPassing finds the errors of accepting that say nothing about the listener.
func isPassing(err error) bool {
	for _, passing := range [...]error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED} {
		if errors.Is(err, passing) {
			return true
		}
	}
	return false
}

func (l *listener) rest() {
	pause := time.NewTimer(acceptPause)
	defer pause.Stop()
	<-pause.C
}

// take enters a connection, or refuses it with a reset: no answer could be read
// by a page, and a flood must not leave connections waiting for their end.
func (l *listener) take(inner net.Conn) *conn {
	c := l.newConn(inner)
	c.key, c.limited = l.limits.keyOf(c.peer)
	reason := ""
	l.mu.Lock()
	switch {
	case l.limits.all > 0 && len(l.open) >= l.limits.all:
		reason = refusedAll
	case c.limited && l.byAddress[c.key] >= l.limits.perAddress:
		reason = refusedAddress
	default:
		l.open[c] = struct{}{}
		if c.limited {
			l.byAddress[c.key]++
		}
		l.limits.opened.Set(float64(len(l.open)))
	}
	l.mu.Unlock()
	if reason == "" {
		return c
	}
	l.limits.refused(reason)
	if tcp, ok := inner.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // else its end would wait for the other side
	}
	_ = inner.Close() // nobody is left to tell
	return nil
}

// leave takes a connection off the table, once.
func (l *listener) leave(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, open := l.open[c]; !open {
		return
	}
	delete(l.open, c)
	l.limits.opened.Set(float64(len(l.open)))
	if !c.limited {
		return
	}
	if l.byAddress[c.key]--; l.byAddress[c.key] <= 0 {
		delete(l.byAddress, c.key)
	}
}

// addressBits6 is the network one household or server has: within it addresses
// cost nothing.
const addressBits6 = 64

// keyOf is the key of an address, IPv6 by its /64; limited is false for trusted
// proxies and for private networks, whose address is a proxy's nobody named.
func (c *connectionLimits) keyOf(peer netip.Addr) (key uint64, limited bool) {
	if c.perAddress <= 0 || !isPublic(peer) || isTrusted(peer, c.trusted) {
		return 0, false
	}
	bits := peer.BitLen()
	if peer.Is6() {
		bits = addressBits6
	}
	network, err := peer.Prefix(bits)
	if err != nil {
		return 0, false
	}
	return maphash.Comparable(c.seed, network), true
}

// isPublic reports whether an address can be a visitor's own.
func isPublic(addr netip.Addr) bool {
	return addr.IsValid() && !addr.IsPrivate() && !addr.IsLoopback() && !addr.IsLinkLocalUnicast()
}

const (
	// queueRound is how long a round waits for connections the kernel accepted
	// before it is told that none is left.
	queueRound = 10 * time.Millisecond
	// queueRoundsMax bounds what newcomers can add.
	queueRoundsMax = 50
)

// endAccepting takes in what the kernel has accepted for us, which closing the
// socket would reset, and then accepts nothing more. A connection that is
// established between the last look and the closing is still reset.
func (l *listener) endAccepting() {
	l.closing.Store(true)
	if !l.extend() {
		return
	}
	bound := time.NewTimer(queueRound * queueRoundsMax)
	defer bound.Stop()
	select {
	case <-l.ended:
	case <-bound.C:
	}
}

// extend begins a round; false where accepting cannot be given an end.
func (l *listener) extend() bool {
	d, ok := l.Listener.(interface{ SetDeadline(t time.Time) error })
	return ok && d.SetDeadline(time.Now().Add(queueRound)) == nil
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

// closeAll ends what is left when the time for draining is over. Requests that still
// wait for their records are overdue: they are answered so, and counted.
func (l *listener) closeAll() {
	l.mu.Lock()
	open := make([]*conn, 0, len(l.open))
	for c := range l.open {
		open = append(open, c)
	}
	l.mu.Unlock()
	for _, c := range open {
		if r := c.held.claimOverdue(notWaiting); r != nil {
			r.finishOverdue()
		}
		_ = c.abort() // nobody is left to tell
	}
}

// awaitEmpty waits until every connection has ended, those included whose answer
// the server has handed over and that hold it.
func (l *listener) awaitEmpty(ctx context.Context) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		l.mu.Lock()
		open := len(l.open)
		l.mu.Unlock()
		if open == 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
