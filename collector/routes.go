package collector

import (
	"github.com/valyala/fasthttp"
)

// Paths of the collector.
const (
	PathEvents   = "/v1/events"
	PathCaptures = "/v1/captures"
	PathPixel    = "/v1/pixel.gif"
)

// routeEvents is the name of POST /v1/events in metrics.
const routeEvents = "events"

// routePanic is that of a request that panicked.
const routePanic = "panic"

// route answers one request and returns the route's name for the metrics. An answer
// that is held is given when its records are durable: r is not the caller's then.
func (c *Collector) route(ctx *fasthttp.RequestCtx, r *request) (name string, held bool) {
	switch string(ctx.Path()) {
	case PathEvents:
		switch {
		case ctx.IsPost():
			held = c.serveEvents(ctx, r)
		case ctx.IsOptions():
			c.servePreflight(ctx, r)
		default:
			methodNotAllowed(ctx, "POST, OPTIONS")
		}
		return routeEvents, held
	case PathConsent:
		switch {
		case ctx.IsPost(), ctx.IsDelete():
			c.serveConsentCall(ctx, r)
		case ctx.IsOptions():
			c.servePreflight(ctx, r)
			if ctx.Response.StatusCode() == fasthttp.StatusNoContent {
				ctx.Response.Header.Set("Access-Control-Allow-Methods", "POST, DELETE")
			}
		default:
			methodNotAllowed(ctx, "POST, DELETE, OPTIONS")
		}
		return "consent", false
	case PathCaptures:
		switch {
		case ctx.IsPost():
			c.serveCaptures(ctx, r)
		case ctx.IsOptions():
			c.servePreflight(ctx, r)
		default:
			methodNotAllowed(ctx, "POST, OPTIONS")
		}
		return "captures", false
	case PathPixel:
		if !ctx.IsGet() {
			methodNotAllowed(ctx, "GET")
		} else {
			c.servePixel(ctx, r)
		}
		return "pixel", false
	case PathScript:
		c.scripts.serveCurrent(ctx)
		return "script", false
	case PathAdapters:
		c.adapters.serveCurrent(ctx)
		return "script", false
	case PathBanner:
		c.banner.serveCurrent(ctx)
		return "script", false
	}
	if of, version, ok := c.scriptsAt(ctx.Path()); ok {
		of.serveVersion(ctx, version)
		return "script", false
	}
	ctx.SetStatusCode(fasthttp.StatusNotFound)
	return "none", false
}

func methodNotAllowed(ctx *fasthttp.RequestCtx, allow string) {
	ctx.Response.Header.Set("Allow", allow)
	ctx.SetStatusCode(fasthttp.StatusMethodNotAllowed)
}

// preflightSeconds is how long a browser may remember a preflight: two hours is
// the most Chromium does.
const preflightSeconds = "7200"

// servePreflight has no body and so no site: it allows what any site allows.
// The answer to the request itself is checked against its own site.
func (c *Collector) servePreflight(ctx *fasthttp.RequestCtx, r *request) {
	if !c.allowOrigin(ctx, r) {
		ctx.SetStatusCode(fasthttp.StatusForbidden)
		return
	}
	h := &ctx.Response.Header
	h.Set("Access-Control-Allow-Methods", "POST")
	h.Set("Access-Control-Allow-Headers", "Content-Type, Content-Encoding")
	h.Set("Access-Control-Max-Age", preflightSeconds)
	ctx.SetStatusCode(fasthttp.StatusNoContent)
}

// allowOrigin lets the page read the answer when some site allows its origin.
func (c *Collector) allowOrigin(ctx *fasthttp.RequestCtx, r *request) bool {
	if !r.hasOrigin || !r.knownOrigin && !c.sites.known(r.origin) {
		varyByOrigin(&ctx.Response)
		return false
	}
	allowOriginIn(&ctx.Response, r.origin)
	return true
}
