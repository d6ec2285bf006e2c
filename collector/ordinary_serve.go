package collector

import (
	"bufio"
	"bytes"

	"github.com/valyala/fasthttp"

	"github.com/metiva-io/metiva/schemas/metivav1"
)

// serveOrdinary serves what has come on a connection, if that is one ordinary request
// and nothing else. It returns false, and has done nothing, where the server is to
// serve it: so also every request that is refused as a whole.
func (c *Collector) serveOrdinary(conn *conn, raw []byte) (served bool) {
	if c.stopping.Load() || len(raw) < len(ordinaryLine) || string(raw[:len(ordinaryLine)]) != ordinaryLine {
		return false
	}
	r := c.begin()
	o, ok := r.openOrdinary(raw)
	if !ok {
		r.end()
		c.requests.Put(r)
		return false
	}
	conn.due.Store(0)
	conn.held.enter()
	r.conn = conn
	c.handleOrdinary(conn, r, &o)
	return true
}

// openOrdinary reads a request as far as nothing lasts of it. A panic is the server's
// to have, which comes to it again.
func (r *request) openOrdinary(raw []byte) (o ordinary, ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	r.received = r.c.now()
	if !o.read(raw, &r.headers) || len(o.body) > r.c.cfg.BodyBytesMax || !r.c.sites.known(o.origin) {
		return o, false
	}
	r.origin, r.hasOrigin, r.knownOrigin = append(r.origin[:0], o.origin...), true, true
	_, reason := r.open(o.body)
	return o, reason == metivav1.Reason_REASON_UNSPECIFIED
}

// handleOrdinary handles a request and answers it, or leaves it to its connection until
// its records are durable. It survives its panic, as serve does.
func (c *Collector) handleOrdinary(conn *conn, r *request, o *ordinary) {
	holding := false
	defer func() {
		if p := recover(); p != nil {
			c.panicked(p)
			r.leaveFlight()
			r.refuse(metivav1.Reason_REASON_INTERNAL)
			c.metrics.request(routePanic, fasthttp.StatusInternalServerError)
			if holding { // nobody knows what state it is in
				conn.held.drop(r)
				_ = conn.abort()
				return
			}
			conn.answer(tellPanic)
		}
	}()
	r.readVisitorOf(o.userAgent, conn)
	r.handleAll(r.decide(r.batch.Consent))
	usual := r.usual
	if !r.allAccepted() {
		c.answerUnusual(conn, r, usual)
		return
	}
	answer := usual.at(r.received.Unix())
	r.leaveWork()
	r.status, holding = fasthttp.StatusNoContent, true
	held := r.holdAnswer(answer)
	if holding = false; held {
		return
	}
	c.answerUnusual(conn, r, usual)
}

func (r *request) allAccepted() bool {
	for i := range r.results {
		if r.results[i].reason != metivav1.Reason_REASON_UNSPECIFIED {
			return false
		}
	}
	return true
}

// answerUnusual waits here for the records of a request and answers what became of
// them.
func (c *Collector) answerUnusual(conn *conn, r *request, usual *usualAnswer) {
	r.leaveWork()
	r.awaitAcks()
	r.count()
	if r.allAccepted() {
		c.metrics.request(routeEvents, fasthttp.StatusNoContent)
		conn.finish(usual.at(r.received.Unix()))
	} else {
		conn.answer(func(res *fasthttp.Response) {
			c.answerResults(res, r, true)
			usual.allow(res)
			c.metrics.request(routeEvents, res.StatusCode())
		})
	}
	r.end()
	c.requests.Put(r)
}

// answerMemory is what an answer that is not held is made in.
type answerMemory struct {
	response fasthttp.Response
	out      bytes.Buffer
	w        bufio.Writer
}

// answer writes an answer to an ordinary request that is not held.
func (c *conn) answer(write func(*fasthttp.Response)) {
	m := c.listener.answers.Get().(*answerMemory)
	m.response.Reset()
	m.response.Header.SetNoDefaultContentType(true)
	m.out.Reset()
	m.w.Reset(&m.out)
	write(&m.response)
	_ = m.response.Write(&m.w) // into memory
	_ = m.w.Flush()
	c.finish(m.out.Bytes())
	c.listener.answers.Put(m)
}

// finish sends the answer to an ordinary request, and ends a connection whose other
// side does not take it.
func (c *conn) finish(answer []byte) {
	err := c.send(answer)
	if closing := c.held.leave(); closing || err != nil {
		_ = c.abort()
	}
}
