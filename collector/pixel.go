package collector

import (
	"github.com/valyala/fasthttp"

	"github.com/metiva-io/metiva/schemas/metivav1"
)

// pixelGIF is a transparent 1×1 GIF of 43 bytes.
const pixelGIF = "GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"

// servePixel is GET /v1/pixel.gif, for pages without script: one page view
// under the same rules. The answer is the image whatever became of the event.
func (c *Collector) servePixel(ctx *fasthttp.RequestCtx, r *request) {
	r.total = 1
	if reason := r.readPixel(ctx); reason != metivav1.Reason_REASON_UNSPECIFIED {
		_, reason = r.limitRefusal(ctx, 0, reason)
		r.refuse(reason)
	} else {
		r.settle()
	}
	h := &ctx.Response.Header
	h.Set("Cache-Control", "no-store")
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	h.Set("X-Content-Type-Options", "nosniff")
	ctx.SetContentType("image/gif")
	ctx.SetBodyString(pixelGIF)
}

// readPixel makes an event of a pixel request. The page is the parameter u, or
// the Referer. A page without referrer policy sends no Origin and maybe no
// Referer; what is there must be the site's.
func (r *request) readPixel(ctx *fasthttp.RequestCtx) metivav1.Reason {
	args := ctx.QueryArgs()
	key := args.Peek("site")
	if len(key) == 0 {
		return metivav1.Reason_REASON_MALFORMED
	}
	if _, reason := r.findSite(key); reason != metivav1.Reason_REASON_UNSPECIFIED {
		return reason
	}
	if r.foreign || r.hasOrigin && !r.site.allows(r.origin) {
		return metivav1.Reason_REASON_ORIGIN_NOT_ALLOWED
	}
	page := args.Peek("u")
	if len(page) == 0 {
		page = ctx.Request.Header.Peek("Referer")
	}
	r.readVisitor(ctx)
	if whole := r.decide(nil); whole != metivav1.Reason_REASON_UNSPECIFIED {
		return whole
	}
	defer r.c.leave(1)
	if !r.c.enter(1) {
		return metivav1.Reason_REASON_OVERLOADED
	}
	if admitted, _ := r.c.limits.admit(r, 1); admitted == 0 {
		return metivav1.Reason_REASON_RATE_LIMITED
	}
	if err := r.prepare(); err != nil {
		return refusalReason(err)
	}
	atMs := r.received.UnixMilli()
	e := incoming{
		id: newID(r.received), idOK: true, complete: true, kind: metivav1.EventType_EVENT_TYPE_PAGE_VIEW,
		url: page, atMs: atMs, sentAtMs: atMs,
	}
	r.results = append(r.results, result{})
	r.produce(&r.results[0], &e)
	r.leaveWork()
	r.awaitAcks()
	return metivav1.Reason_REASON_UNSPECIFIED
}
