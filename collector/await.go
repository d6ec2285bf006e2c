package collector

import (
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/metiva-io/metiva/schemas/metivav1"
)

// patience tells requests that they have waited for AckTimeout. Those that begin
// to wait within one slice of it share a channel: a timer for each costs more
// than the wait itself.
type patience struct {
	timeout time.Duration
	current atomic.Pointer[slice]
}

// slice is the requests that began to wait at about the same time.
type slice struct{ over chan struct{} }

// slicesPerTimeout is how many fit into the timeout: it is exceeded by one at most.
const slicesPerTimeout = 50

// over is closed timeout after now, or at most a slice later.
func (p *patience) over() <-chan struct{} {
	if s := p.current.Load(); s != nil {
		return s.over
	}
	s := &slice{over: make(chan struct{})}
	if !p.current.CompareAndSwap(nil, s) {
		return p.over()
	}
	length := p.timeout / slicesPerTimeout
	time.AfterFunc(length, func() { p.current.CompareAndSwap(s, nil) })
	time.AfterFunc(p.timeout+length, func() { close(s.over) })
	return s.over
}

// awaitAcks waits for the records of the request, all within one AckTimeout. It
// reports whether all of them became durable.
func (r *request) awaitAcks() (all bool) {
	var over <-chan struct{}
	for i := range r.results {
		ack := r.results[i].ack
		if ack == nil || isDone(ack) {
			continue
		}
		if over == nil {
			over = r.c.patience.over()
		}
		select {
		case <-ack.Done():
		case <-over:
			return r.collect()
		}
	}
	return r.collect()
}

// teller is an Ack that tells those who wait. It may do so from any goroutine, and
// keeps none waiting.
type teller interface {
	// tell lets finishAll be called with w, once; false when the ack is done.
	tell(w *waiter) bool
}

// waiter is one of those that wait for an Ack; they make a list.
type waiter struct {
	next *waiter
	r    *request
}

// hold leaves the request to whoever learns that its records are durable: true,
// and r is not the caller's any more. It returns false when there is nothing to
// wait for, or no way but to wait here. With usual, that is the answer.
func (r *request) hold(status int, usual *usualAnswer) bool {
	if !r.mayHold() {
		return false
	}
	r.status = status
	if !r.conn.hold(r, usual) {
		return false
	}
	if r.leave() {
		return true
	}
	r.conn.letGo()
	return false
}

// holdAnswer does so with an answer that is written already. r has its status.
func (r *request) holdAnswer(answer []byte) bool {
	if !r.mayHold() || !r.conn.holdWritten(r, answer) {
		return false
	}
	if r.leave() {
		return true
	}
	r.conn.takeBack()
	return false
}

// mayHold reports whether there is something to wait for, and a way to do it
// elsewhere.
func (r *request) mayHold() (waits bool) {
	if r.conn == nil || len(r.results) > heldResultsMax {
		return false
	}
	for i := range r.results {
		if ack := r.results[i].ack; ack != nil {
			if _, ok := ack.(teller); !ok {
				return false
			}
			waits = true
		}
	}
	return waits
}

// leave lets those who know when the records are durable end the request; false when
// all are, and it is the caller's still.
func (r *request) leave() bool {
	conn := r.conn
	r.left.Store(1) // for this function
	for i := range r.results {
		res := &r.results[i]
		if res.ack == nil {
			continue
		}
		res.waiter = waiter{r: r}
		r.left.Add(1)
		if !res.ack.(teller).tell(&res.waiter) {
			r.left.Add(-1)
		}
	}
	conn.held.since.Store(conn.listener.clock.Load()) // it may be overdue from here on
	if r.left.Add(-1) > 0 {
		return true
	}
	return !conn.held.claim(r) // or it has waited for too long already
}

// heldResultsMax: a longer answer may come in more than one piece.
const heldResultsMax = 16

// finishesAtOnce is how many requests finishAll counts before it sends their answers:
// what counting needs stays in the processor's cache meanwhile, and so does what
// sending needs.
const finishesAtOnce = 64

// finished is a connection whose request was counted, and what it is told instead of
// the answer it holds, if anything.
type finished struct {
	conn   *conn
	retell func(*fasthttp.Response)
}

// finishAll tells those on a list that the record they wait for is durable, or
// failed.
func finishAll(first *waiter) {
	var now time.Time
	var t tally
	var memory [finishesAtOnce]finished
	counted := memory[:0]
	for w := first; w != nil; {
		r := w.r
		w = w.next // it was its request's, which may end here
		if r.left.Add(-1) != 0 || !r.conn.held.claim(r) {
			continue
		}
		if now.IsZero() {
			now = r.c.now()
		}
		counted = append(counted, r.finish(now, true, &t))
		if len(counted) == cap(counted) {
			t.flush()
			counted = tellAll(counted)
		}
	}
	t.flush()
	tellAll(counted)
}

// tellAll sends the answers, and gives the emptied list back.
func tellAll(counted []finished) []finished {
	for i := range counted {
		counted[i].conn.settle(counted[i].retell)
	}
	clear(counted)
	return counted[:0]
}

// finish counts a request that was left waiting; its answer can be sent then. With
// done it is of no use to anybody afterwards, and is used again.
func (r *request) finish(now time.Time, done bool, t *tally) finished {
	c, conn := r.c, r.conn
	retell, panicked := r.conclude(now, t)
	if done && !panicked {
		r.end()
		c.requests.Put(r)
	}
	return finished{conn, retell}
}

// finishOverdue is the end of a request whose records may become durable later.
func (r *request) finishOverdue() {
	var t tally
	f := r.finish(r.c.now(), false, &t)
	t.flush()
	f.conn.settle(f.retell)
}

// conclude counts a request, and returns what is answered in place of "accepted",
// if anything is. No server stands above it that would survive its panic.
func (r *request) conclude(now time.Time, t *tally) (retell func(*fasthttp.Response), panicked bool) {
	defer func() {
		if p := recover(); p != nil {
			r.c.panicked(p)
			r.leaveFlight()
			r.refuse(metivav1.Reason_REASON_INTERNAL)
			r.c.metrics.request(routePanic, fasthttp.StatusInternalServerError)
			retell, panicked = tellPanic, true
		}
	}()
	if !r.collect() {
		retell = r.retell()
	}
	t.leave(r)
	r.settleInto(t)
	r.c.metrics.requestSeconds.Observe(now.Sub(r.received).Seconds())
	t.answer(r)
	return retell, false
}

// tellPanic answers a request that panicked.
func tellPanic(res *fasthttp.Response) {
	refuseRequest(res, fasthttp.StatusInternalServerError, metivav1.Reason_REASON_INTERNAL)
}

// retell is what is answered in place of "accepted".
func (r *request) retell() func(*fasthttp.Response) {
	var told fasthttp.Response
	r.c.answerResults(&told, r, false)
	r.status = told.StatusCode()
	return func(res *fasthttp.Response) {
		res.SetStatusCode(told.StatusCode())
		res.SetBodyRaw(told.Body())
		for name, value := range told.Header.All() {
			res.Header.SetBytesKV(name, value)
		}
	}
}

// collect takes the outcomes of the records: those that are not durable are to be
// sent again. It reports whether all are.
func (r *request) collect() (all bool) {
	all = true
	for i := range r.results {
		res := &r.results[i]
		if res.ack == nil {
			continue
		}
		if !isDone(res.ack) || res.ack.Err() != nil {
			res.reason, all = metivav1.Reason_REASON_UNACKNOWLEDGED, false
		}
		res.ack = nil
	}
	return all
}

func isDone(ack Ack) bool {
	select {
	case <-ack.Done():
		return true
	default:
		return false
	}
}
