package collector

import (
	"bytes"
	"errors"

	"github.com/valyala/fasthttp"

	"github.com/metiva-io/metiva/consent"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// serveEvents is POST /v1/events. When it returns true the answer is held until the
// records are durable, and r is no longer the caller's.
func (c *Collector) serveEvents(ctx *fasthttp.RequestCtx, r *request) (held bool) {
	if status, reason := r.read(ctx); reason != metivav1.Reason_REASON_UNSPECIFIED {
		c.allowOrigin(ctx, r)
		status, reason = r.limitRefusal(ctx, status, reason)
		r.refuse(reason)
		switch reason {
		case metivav1.Reason_REASON_ORIGIN_NOT_ALLOWED:
			ctx.Response.Header.Del("Access-Control-Allow-Origin")
		case metivav1.Reason_REASON_UNSUPPORTED_TYPE:
			ctx.Response.Header.Set("Accept-Encoding", acceptedEncodings)
		case metivav1.Reason_REASON_NOT_READY:
			setRetryAfter(&ctx.Response, c.cfg.RetryAfter)
		case metivav1.Reason_REASON_RATE_LIMITED:
			setRetryAfter(&ctx.Response, r.retryAfter)
		default:
		}
		refuseRequest(&ctx.Response, status, reason)
		return false
	}
	r.readVisitor(ctx)
	whole := r.decide(r.batch.Consent)
	r.handleAll(whole)
	// Written while the memory for it is in the processor's cache, as it is when
	// every record becomes durable: after the wait it is not any more.
	c.answerResults(&ctx.Response, r, wantsNoResults(ctx))
	usual := r.usual
	if ctx.Response.StatusCode() != fasthttp.StatusNoContent {
		usual.allow(&ctx.Response)
		usual = nil
	}
	r.leaveWork()
	if r.hold(ctx.Response.StatusCode(), usual) {
		return true
	}
	if usual != nil {
		usual.allow(&ctx.Response)
	}
	if !r.awaitAcks() {
		ctx.SetStatusCode(fasthttp.StatusOK)
		ctx.Response.ResetBody()
		c.answerResults(&ctx.Response, r, false)
	}
	r.count()
	return false
}

// count counts a request whose records are durable, or have failed.
func (r *request) count() {
	r.leaveFlight()
	r.settle()
	r.c.metrics.requestSeconds.Observe(r.c.now().Sub(r.received).Seconds())
}

// read reads the body and opens it. A reason refuses the whole request.
func (r *request) read(ctx *fasthttp.RequestCtx) (status int, reason metivav1.Reason) {
	if !isReadable(ctx.Request.Header.ContentType()) {
		return fasthttp.StatusUnsupportedMediaType, metivav1.Reason_REASON_UNSUPPORTED_TYPE
	}
	body, status, reason := r.body(ctx)
	if reason != metivav1.Reason_REASON_UNSPECIFIED {
		return status, reason
	}
	return r.open(body)
}

// open parses the body and finds the site. Nothing is counted, and nothing of it lasts.
func (r *request) open(body []byte) (status int, reason metivav1.Reason) {
	if err := r.batch.Parse(body, r.c.cfg.EventsPerRequestMax); err != nil {
		return fasthttp.StatusBadRequest, metivav1.Reason_REASON_MALFORMED
	}
	r.total = r.batch.Total
	r.signals.OptOut = r.batch.OptOut
	if r.batch.Refused {
		r.signals.Page = consent.AnswerRefused
	}
	if len(r.batch.Site) == 0 {
		return fasthttp.StatusBadRequest, metivav1.Reason_REASON_MALFORMED
	}
	if status, reason = r.findSite(r.batch.Site); reason != metivav1.Reason_REASON_UNSPECIFIED {
		return status, reason
	}
	// A script's request carries an Origin, or at least a Referer; one of a
	// sandboxed frame ("null") belongs to no site.
	if r.hasOrigin {
		r.usual = r.site.answerTo(r.origin)
	}
	if r.usual == nil {
		return fasthttp.StatusForbidden, metivav1.Reason_REASON_ORIGIN_NOT_ALLOWED
	}
	if r.total > r.c.cfg.EventsPerRequestMax {
		return fasthttp.StatusRequestEntityTooLarge, metivav1.Reason_REASON_TOO_LARGE
	}
	return 0, metivav1.Reason_REASON_UNSPECIFIED
}

// body is the request's body, decompressed if it has to be.
func (r *request) body(ctx *fasthttp.RequestCtx) (body []byte, status int, reason metivav1.Reason) {
	body = ctx.PostBody()
	enc, known := encodingOf(&r.headers)
	if !known {
		return nil, fasthttp.StatusUnsupportedMediaType, metivav1.Reason_REASON_UNSUPPORTED_TYPE
	}
	if enc == encodingNone {
		return body, 0, metivav1.Reason_REASON_UNSPECIFIED
	}
	var err error
	r.inflated, err = r.c.inflater.inflate(r.inflated, body, enc)
	switch {
	case errors.Is(err, errInflatedTooLarge):
		return nil, fasthttp.StatusRequestEntityTooLarge, metivav1.Reason_REASON_TOO_LARGE
	case err != nil:
		return nil, fasthttp.StatusBadRequest, metivav1.Reason_REASON_MALFORMED
	}
	return r.inflated, 0, metivav1.Reason_REASON_UNSPECIFIED
}

// findSite looks the site key up.
func (r *request) findSite(key []byte) (status int, reason metivav1.Reason) {
	if !r.c.caughtUp.Load() {
		return fasthttp.StatusServiceUnavailable, metivav1.Reason_REASON_NOT_READY
	}
	if r.site = r.c.sites.lookup(key); r.site == nil {
		return fasthttp.StatusForbidden, metivav1.Reason_REASON_UNKNOWN_SITE
	}
	return 0, metivav1.Reason_REASON_UNSPECIFIED
}

// isReadable accepts the two content types with any parameters. sendBeacon sends text/plain, which needs no preflight.
func isReadable(contentType []byte) bool {
	kind, _, _ := bytes.Cut(contentType, []byte{';'})
	kind = bytes.TrimSpace(kind)
	return bytes.EqualFold(kind, []byte("application/json")) || bytes.EqualFold(kind, []byte("text/plain"))
}

// handleAll gives every event of the batch a result; those that are produced are
// still to be waited for. A reason for the whole request is every event's.
func (r *request) handleAll(whole metivav1.Reason) {
	c, n := r.c, int64(len(r.batch.Events))
	admitted := len(r.batch.Events)
	if whole == metivav1.Reason_REASON_UNSPECIFIED {
		r.entered = n
		if !c.enter(n) {
			whole = metivav1.Reason_REASON_OVERLOADED
		} else if admitted, r.retryAfter = c.limits.admit(r, admitted); admitted == 0 {
			whole = metivav1.Reason_REASON_RATE_LIMITED
		} else if err := r.prepare(); err != nil {
			c.metrics.dataKeyFailures.Inc()
			whole = refusalReason(err)
		}
	}
	for i := range r.batch.Events {
		e := incomingOf(&r.batch.Events[i], r.batch.SentAtMs)
		res := result{reason: whole}
		if e.idOK {
			res.id, res.hasID = [idTextBytes]byte(r.batch.Events[i].ID), true
		}
		switch {
		case whole != metivav1.Reason_REASON_UNSPECIFIED:
		case i >= admitted:
			res.reason = metivav1.Reason_REASON_RATE_LIMITED
		default:
			r.produce(&res, &e)
		}
		r.results = append(r.results, res)
	}
}

// enter counts events in; false when too many wait for Kafka already. Each
// enter needs its leave.
func (c *Collector) enter(n int64) bool {
	return c.inFlight.Add(n) <= int64(c.cfg.InFlightEventsMax)
}

func (c *Collector) leave(n int64) { c.inFlight.Add(-n) }

// leaveFlight counts out what handleAll has counted in.
func (r *request) leaveFlight() {
	if r.entered != 0 {
		r.c.leave(r.entered)
		r.entered = 0
	}
}
