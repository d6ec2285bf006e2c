package collector

import (
	"bytes"
	"strconv"

	"github.com/valyala/fasthttp"

	"github.com/metiva-io/metiva/schemas/metivav1"
)

// serveEvents is POST /v1/events.
func (c *Collector) serveEvents(ctx *fasthttp.RequestCtx, r *request) {
	c.allowOrigin(ctx, r)
	if status, reason := r.read(ctx); reason != metivav1.Reason_REASON_UNSPECIFIED {
		r.refuse(reason)
		if reason == metivav1.Reason_REASON_ORIGIN_NOT_ALLOWED {
			ctx.Response.Header.Del("Access-Control-Allow-Origin")
		}
		if reason == metivav1.Reason_REASON_NOT_READY {
			ctx.Response.Header.Set("Retry-After", strconv.Itoa(retryAfterSeconds(c.cfg)))
		}
		refuseRequest(ctx, status, reason)
		return
	}
	r.readVisitor(ctx)
	whole := r.decide(r.batch.Consent)
	r.handleAll(whole)
	r.settle()
	c.answerResults(ctx, r)
	c.metrics.requestSeconds.Observe(c.now().Sub(r.received).Seconds())
}

// read parses the body and finds the site. A reason refuses the whole request.
func (r *request) read(ctx *fasthttp.RequestCtx) (status int, reason metivav1.Reason) {
	if !isReadable(ctx) {
		return fasthttp.StatusUnsupportedMediaType, metivav1.Reason_REASON_UNSUPPORTED_TYPE
	}
	if err := r.batch.Parse(ctx.PostBody(), r.c.cfg.EventsPerRequestMax); err != nil {
		return fasthttp.StatusBadRequest, metivav1.Reason_REASON_MALFORMED
	}
	r.total = r.batch.Total
	r.signals.OptOut = r.batch.OptOut
	if len(r.batch.Site) == 0 {
		return fasthttp.StatusBadRequest, metivav1.Reason_REASON_MALFORMED
	}
	if status, reason = r.findSite(r.batch.Site); reason != metivav1.Reason_REASON_UNSPECIFIED {
		return status, reason
	}
	// A script's request carries an Origin, or at least a Referer; one of a
	// sandboxed frame ("null") belongs to no site.
	if !r.hasOrigin || !r.site.allows(r.origin) {
		return fasthttp.StatusForbidden, metivav1.Reason_REASON_ORIGIN_NOT_ALLOWED
	}
	if r.total > r.c.cfg.EventsPerRequestMax {
		return fasthttp.StatusRequestEntityTooLarge, metivav1.Reason_REASON_TOO_LARGE
	}
	return 0, metivav1.Reason_REASON_UNSPECIFIED
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

// isReadable accepts the two content types with any parameters, and no content
// encoding. sendBeacon sends text/plain, which needs no preflight.
func isReadable(ctx *fasthttp.RequestCtx) bool {
	if len(ctx.Request.Header.ContentEncoding()) > 0 {
		return false
	}
	kind, _, _ := bytes.Cut(ctx.Request.Header.ContentType(), []byte{';'})
	kind = bytes.TrimSpace(kind)
	return bytes.EqualFold(kind, []byte("application/json")) || bytes.EqualFold(kind, []byte("text/plain"))
}

// handleAll gives every event of the batch a result and waits for Kafka. A
// reason for the whole request is every event's.
func (r *request) handleAll(whole metivav1.Reason) {
	c, n := r.c, int64(len(r.batch.Events))
	if whole == metivav1.Reason_REASON_UNSPECIFIED {
		defer c.leave(n)
		if !c.enter(n) {
			whole = metivav1.Reason_REASON_UNACKNOWLEDGED
		} else if err := r.prepare(); err != nil {
			c.metrics.dataKeyFailures.Inc()
			whole = metivav1.Reason_REASON_UNACKNOWLEDGED
		}
	}
	for i := range r.batch.Events {
		e := incomingOf(&r.batch.Events[i], r.batch.SentAtMs)
		res := result{reason: whole}
		if e.idOK {
			res.id = r.batch.Events[i].ID
		}
		if whole == metivav1.Reason_REASON_UNSPECIFIED {
			r.produce(&res, &e)
		}
		r.results = append(r.results, res)
	}
	r.awaitAcks()
}

// enter counts events in; false when too many wait for Kafka already. Each
// enter needs its leave.
func (c *Collector) enter(n int64) bool {
	now := c.inFlight.Add(n)
	c.metrics.inFlight.Set(float64(now))
	return now <= int64(c.cfg.InFlightEventsMax)
}

func (c *Collector) leave(n int64) {
	c.metrics.inFlight.Set(float64(c.inFlight.Add(-n)))
}
