package collector

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/metiva-io/metiva/schemas/metivav1"
)

// workersSpare are for connections that have ended while their worker has not;
// the listener holds ConnectionsMax.
const workersSpare = 1 << 10

func (c *Collector) newServer() *fasthttp.Server {
	return &fasthttp.Server{
		Handler:                      c.handle,
		ErrorHandler:                 c.handleUnread,
		ConnState:                    noteArrival,
		Logger:                       silentLogger{c.metrics},
		Concurrency:                  c.cfg.ConnectionsMax + workersSpare,
		ReadBufferSize:               c.cfg.HeaderBytesMax,
		MaxRequestBodySize:           c.cfg.BodyBytesMax,
		CloseOnShutdown:              true,
		DisablePreParseMultipartForm: true,
		NoDefaultServerHeader:        true,
		NoDefaultContentType:         true,
		SecureErrorLogMessage:        true,
	}
}

// noteArrival is told by the server that it has the first byte of a request.
func noteArrival(nc net.Conn, state fasthttp.ConnState) {
	if c, ok := nc.(*conn); ok && state == fasthttp.StateActive {
		c.arrive()
	}
}

// silentLogger counts what the server would log: its texts name peers.
type silentLogger struct{ m *metrics }

func (l silentLogger) Printf(string, ...any) { l.m.serverErrors.Inc() }

// standBy serves on for StopDelay while readiness says no: a load balancer that
// has not noticed yet sends its requests here, and each answer ends its
// connection, so that none is idle, and may be used again, when this ends.
func (c *Collector) standBy() {
	if c.cfg.StopDelay <= 0 {
		return
	}
	c.stopping.Store(true)
	delay := time.NewTimer(c.cfg.StopDelay)
	defer delay.Stop()
	<-delay.C
}

// drain stops accepting and waits until by for the requests that have arrived.
// Those still being sent get the grace.
func (c *Collector) drain(server *fasthttp.Server, ln *listener, by time.Time) error {
	ctx, cancel := context.WithDeadline(context.Background(), by)
	defer cancel()
	c.stopping.Store(true)
	ln.endAccepting()
	now := time.Now()
	ln.drain(now, min(c.cfg.DrainGrace, by.Sub(now)))
	err := server.ShutdownWithContext(ctx)
	if err == nil {
		err = ln.awaitEmpty(ctx)
	}
	// Serve may not have taken the listener yet.
	if closeErr := ln.Close(); closeErr != nil && !errors.Is(closeErr, net.ErrClosed) && err == nil {
		c.log.Debug("listener was closed already", "error", closeErr)
	}
	if err != nil {
		ln.closeAll()
		return fmt.Errorf("waiting for open requests: %w", err)
	}
	return nil
}

// handle serves one request. A panic ends that request only.
func (c *Collector) handle(ctx *fasthttp.RequestCtx) {
	r := c.begin()
	if conn, ok := ctx.Conn().(*conn); ok && conn.begin() {
		r.conn = conn
	}
	r.received = c.now()
	chunked := hasTransferEncoding(&ctx.Request.Header)
	r.chunked = chunked
	route, held := c.serve(ctx, r)
	if chunked || c.stopping.Load() {
		ctx.SetConnectionClose()
	}
	if held { // it ends when its records are durable, and may have ended
		return
	}
	c.metrics.request(route, ctx.Response.StatusCode())
	r.end()
	c.requests.Put(r)
}

// hasTransferEncoding reports whether the body's end was found by its encoding.
// A proxy that went by Content-Length instead may hold the rest of the
// connection for another visitor's request, with an X-Forwarded-For nobody
// checked: it is not read (RFC 9112, section 6.1).
func hasTransferEncoding(h *fasthttp.RequestHeader) bool {
	return arrived(h, fasthttp.HeaderTransferEncoding)
}

// serve routes a request and survives its panic.
func (c *Collector) serve(ctx *fasthttp.RequestCtx, r *request) (route string, held bool) {
	defer func() {
		if p := recover(); p != nil {
			route, held = routePanic, false
			c.panicked(p)
			r.leaveFlight()
			// Events that were not counted yet are counted as failed.
			r.refuse(metivav1.Reason_REASON_INTERNAL)
			ctx.Response.Reset()
			tellPanic(&ctx.Response)
		}
	}()
	r.readHeaders(ctx)
	return c.route(ctx, r)
}

// panicked counts a panic and logs where it happened, once a second at most.
// Its value may quote request data and is not logged.
func (c *Collector) panicked(value any) {
	c.metrics.panics.Inc()
	now := c.now().Unix()
	if last := c.panicLogged.Load(); last == now || !c.panicLogged.CompareAndSwap(last, now) {
		return
	}
	var pcs [16]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs[:])])
	var where []string
	for {
		f, more := frames.Next()
		where = append(where, fmt.Sprintf("%s:%d", f.Function, f.Line))
		if !more {
			break
		}
	}
	c.log.Error("panic while handling an event", "type", fmt.Sprintf("%T", value), "where", where)
}

// handleUnread answers a request that could not be read: too large, too slow,
// or not HTTP. Whether it carried events is unknown; it counts as one, unless
// not one byte of it came.
func (c *Collector) handleUnread(ctx *fasthttp.RequestCtx, err error) {
	status, reason := fasthttp.StatusBadRequest, metivav1.Reason_REASON_MALFORMED
	var small *fasthttp.ErrSmallBuffer
	var netErr net.Error
	switch {
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		status, reason = fasthttp.StatusRequestEntityTooLarge, metivav1.Reason_REASON_TOO_LARGE
	case errors.As(err, &small):
		status, reason = fasthttp.StatusRequestHeaderFieldsTooLarge, metivav1.Reason_REASON_TOO_LARGE
	case errors.As(err, &netErr) && netErr.Timeout():
		status = fasthttp.StatusRequestTimeout
	}
	if conn, ok := ctx.Conn().(*conn); ok {
		conn.begin()
	}
	if !isSilent(ctx.Conn()) {
		c.count("", "", c.now(), reason, 1)
	}
	c.metrics.request("unread", status)
	refuseRequest(&ctx.Response, status, reason)
}

// count adds n events of one outcome to the ledger and the metrics.
func (c *Collector) count(companyID, siteID string, received time.Time, reason metivav1.Reason, n int) {
	c.ledger.add(companyID, siteID, received, reason, n)
	c.metrics.count(reason, n)
}
