package collector

import (
	"bufio"
	"bytes"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

// held is the answer a connection holds until its request's records are durable.
// Two things must happen, in any order: the server writes the answer (keep), and
// the request is settled (settle). The later of the two sends it. The answer says
// that all is well; for a request that turns out otherwise it is told anew.
type held struct {
	mu      sync.Mutex
	served  bool   // a request is handled that the server does not know of
	busy    bool   // an answer is held, or about to be
	here    bool   // it was written
	settled bool   // its records are durable, or failed
	closing bool   // the connection ends after it
	gone    bool   // the connection has ended
	answer  []byte // in memory, or one that many connections share
	memory  []byte
	retell  func(*fasthttp.Response) // of a settled request that failed
	request *request                 // whose records are waited for; nil once it is settled
	// since is when it began to wait, by the listener's clock. Only claimOverdue reads
	// it, at first without mu: most connections hold nothing when they are looked at.
	since atomic.Int64
	// changed gets a token when the state has changed and somebody waits.
	waiting bool
	changed chan struct{}
}

// notWaiting is since when nothing is overdue.
const notWaiting = math.MaxInt64

// hold begins to hold the next answer; false when the connection has ended. The
// server's goroutine calls it. The request is not overdue before since is set. With
// usual, the server writes that answer without its headers.
func (c *conn) hold(r *request, usual *usualAnswer) bool {
	h := &c.held
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.gone {
		return false
	}
	c.holding, c.usual = true, usual
	h.busy, h.here, h.settled, h.closing, h.retell = true, false, false, false, nil
	h.request = r
	return true
}

// letGo ends the holding before anything is held.
func (c *conn) letGo() {
	c.holding, c.usual = false, nil
	c.held.mu.Lock()
	c.held.busy = false
	c.held.mu.Unlock()
}

// holdWritten holds an answer that is written already, and is not to be changed; false
// when the connection has ended.
func (c *conn) holdWritten(r *request, answer []byte) bool {
	h := &c.held
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.gone {
		return false
	}
	h.served = false
	h.busy, h.here, h.settled, h.retell = true, true, false, nil
	h.request, h.answer = r, answer
	return true
}

// takeBack ends the holding of a request that is settled already, and is served here
// again.
func (c *conn) takeBack() {
	c.held.mu.Lock()
	c.held.busy, c.held.served = false, true
	c.held.mu.Unlock()
}

// drop ends the holding of a request that nobody will settle.
func (h *held) drop(r *request) {
	if !h.claim(r) { // it is not held, or somebody else settles it
		return
	}
	h.mu.Lock()
	h.busy = false
	h.tell()
	h.mu.Unlock()
}

// enter begins a request the server does not know of, once no answer is held.
func (h *held) enter() {
	h.mu.Lock()
	h.awaitLocked(false)
	h.served = true
	h.mu.Unlock()
}

// leave ends it, with its answer sent. It reports whether the connection was to end
// meanwhile.
func (h *held) leave() (closing bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.served = false
	return h.closing
}

// keep takes the answer. It returns false, and what is to be sent, when the
// request is settled already.
func (h *held) keep(b []byte, usual *usualAnswer) (out []byte, kept bool) {
	if usual != nil {
		b = usual.whole(b)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.settled {
		h.busy = false
		return retold(b, h.retell), false
	}
	if h.answer = b; usual == nil { // b is the server's
		h.memory = append(h.memory[:0], b...)
		h.answer = h.memory
	}
	h.here = true
	return nil, true
}

// settle says that the request's records are durable, or, with retell, what to
// answer instead. It sends the answer if it is there.
func (c *conn) settle(retell func(*fasthttp.Response)) {
	h := &c.held
	h.mu.Lock()
	if !h.here {
		h.settled, h.retell = true, retell
		gone := h.gone
		h.tell()
		h.mu.Unlock()
		if gone {
			c.listener.leave(c)
		}
		return
	}
	out := retold(h.answer, retell)
	n, err := c.trySend(out)
	if err == nil && n < len(out) {
		h.mu.Unlock()
		go c.sendRest(out[n:]) // somebody reads slowly, and must not keep the others waiting
		return
	}
	h.sent(c, err)
}

// sendRest sends what the socket did not take at once.
func (c *conn) sendRest(rest []byte) {
	err := c.send(rest)
	c.held.mu.Lock()
	c.held.sent(c, err)
}

// sent ends the holding. Under mu, which it gives back.
func (h *held) sent(c *conn, err error) {
	h.busy = false
	closing := h.closing || h.gone || err != nil
	h.tell()
	h.mu.Unlock()
	if closing {
		_ = c.abort() // nobody is left to tell
	}
}

// tell wakes the server's goroutine if it waits. Under mu.
func (h *held) tell() {
	if h.waiting {
		select {
		case h.changed <- struct{}{}:
		default:
		}
	}
}

// await waits until no answer is held, or, with settled, until the request of the
// one that is held is settled.
func (h *held) await(settled bool) {
	h.mu.Lock()
	h.awaitLocked(settled)
	h.mu.Unlock()
}

// awaitLocked does so under mu, which it gives back while it waits.
func (h *held) awaitLocked(settled bool) {
	for h.busy && (!settled || !h.settled) {
		h.waiting = true
		h.mu.Unlock()
		<-h.changed
		h.mu.Lock()
	}
	h.waiting = false
}

// settleBefore sees to an answer that is held when the next request has come
// already: a client that does not wait for answers gets them in order. One that
// the server has not written yet, because the next request came with its own, is
// only in the server's memory: it cannot be told anew, so the connection ends.
func (h *held) settleBefore(c *conn, pipelined bool) {
	if !pipelined || !c.holding {
		h.await(false)
		return
	}
	c.holding, c.owed, c.usual = false, c.usual, nil
	h.await(true)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.busy = false
	c.broken = c.broken || h.retell != nil
}

// closeAfter lets the connection end after the answer that is held, or that of a
// request the server does not know of; false when there is none.
func (h *held) closeAfter() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.served || h.busy && h.here {
		h.closing = true
		return true
	}
	return false
}

// abandon notes that the connection has ended. It reports whether a request is
// not settled yet.
func (h *held) abandon() (pending bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.gone = true
	return h.busy && !h.settled
}

// claim takes the request, to settle it; false when somebody else has: its records
// became durable, or it waited for too long.
func (h *held) claim(r *request) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.request != r {
		return false
	}
	h.request = nil
	h.since.Store(notWaiting)
	return true
}

// claimOverdue takes the request if it waits since before a moment.
func (h *held) claimOverdue(before int64) *request {
	if h.since.Load() >= before {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.since.Load() >= before { // another waits by now
		return nil
	}
	r := h.request
	h.request = nil
	h.since.Store(notWaiting)
	return r
}

// retold is the answer with what it says replaced. What was written behind it
// (100 Continue, for the next request) stays.
func retold(answer []byte, retell func(*fasthttp.Response)) []byte {
	if retell == nil {
		return answer
	}
	return toldAnew(answer, retell)
}

// toldAnew never panics: no server stands above those who send.
func toldAnew(answer []byte, retell func(*fasthttp.Response)) (told []byte) {
	unable := []byte(fmt.Sprintf("HTTP/1.1 %d %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
		fasthttp.StatusServiceUnavailable, fasthttp.StatusMessage(fasthttp.StatusServiceUnavailable)))
	defer func() {
		if recover() != nil {
			told = unable
		}
	}()
	var res fasthttp.Response
	res.Header.SetNoDefaultContentType(true)
	from := bufio.NewReader(bytes.NewReader(answer))
	if err := res.Read(from); err != nil {
		return unable
	}
	res.ResetBody()
	res.Header.SetStatusMessage(nil) // else the text of the first status stays
	retell(&res)
	var out bytes.Buffer
	w := bufio.NewWriter(&out)
	_ = res.Write(w) // into memory
	_, _ = w.ReadFrom(from)
	_ = w.Flush()
	return out.Bytes()
}

// timeouts of a connection. Looking at the clock and moving timers with each
// request costs more than reading it; so the ends are compared with the clock by
// sweep, ten times in the shortest of them or every sweepMax.
type timeouts struct{ read, idle, write, ack time.Duration }

const (
	sweepMax     = 100 * time.Millisecond
	sweepMin     = 5 * time.Millisecond
	sweepsInTime = 10
)

func (t timeouts) sweepEvery() time.Duration {
	return max(sweepMin, min(sweepMax, t.read/sweepsInTime, t.idle/sweepsInTime, t.ack/sweepsInTime))
}

// keepTime sweeps until stop.
func (l *listener) keepTime(stop <-chan struct{}) {
	ticker := time.NewTicker(l.timeouts.sweepEvery())
	defer ticker.Stop()
	for {
		select {
		case now := <-ticker.C:
			l.sweep(now)
		case <-stop:
			return
		}
	}
}

// sweep ends what is due: the reading of a request or the wait for one, and the
// wait for its records.
func (l *listener) sweep(now time.Time) {
	at := l.at(now)
	l.clock.Store(at)
	var silent []*conn
	var late []*request
	l.mu.Lock()
	for c := range l.open {
		if c.isDue(at) {
			silent = append(silent, c)
		}
		if r := c.held.claimOverdue(at - int64(l.timeouts.ack)); r != nil {
			late = append(late, r)
		}
	}
	l.mu.Unlock()
	for _, c := range silent {
		c.endReading()
	}
	for _, r := range late {
		r.finishOverdue()
	}
}
