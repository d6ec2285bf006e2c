package collector

import (
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// outcome is what a client is told about one event.
type outcome uint8

const (
	outcomeAccepted outcome = iota
	outcomeDropped          // sending it again changes nothing
	outcomeRetry            // send it again, with the same id
)

func (o outcome) String() string {
	return [...]string{"accepted", "dropped", "retry"}[o]
}

// outcomeOf is the outcome a reason means for the client.
func outcomeOf(reason metivav1.Reason) outcome {
	switch reason {
	case metivav1.Reason_REASON_UNSPECIFIED:
		return outcomeAccepted
	case metivav1.Reason_REASON_UNACKNOWLEDGED, metivav1.Reason_REASON_OVERLOADED, metivav1.Reason_REASON_NOT_READY, metivav1.Reason_REASON_RATE_LIMITED:
		return outcomeRetry
	default:
		return outcomeDropped
	}
}

// result is the outcome of one event.
type result struct {
	id     [idTextBytes]byte // as sent, checked
	hasID  bool              // what was sent is an id
	reason metivav1.Reason
	ack    Ack // nil when nothing was produced
	waiter waiter
}

// answerResults writes the answer to a request whose events were looked at: 429
// when all of them are over a limit, 503 when all are to be sent again, else 200
// with a result each; 204 when all were accepted and the client asked for none.
func (c *Collector) answerResults(res *fasthttp.Response, r *request, quiet bool) {
	accepted, retry, limited := 0, 0, 0
	var text [answerEventBytes]byte
	for i := range r.results {
		out := outcomeOf(r.results[i].reason)
		switch {
		case out == outcomeAccepted:
			accepted++
		case r.results[i].reason == metivav1.Reason_REASON_RATE_LIMITED:
			limited++
			retry++
		case out == outcomeRetry:
			retry++
		}
	}
	switch len(r.results) {
	case accepted:
		if quiet {
			res.SetStatusCode(fasthttp.StatusNoContent)
			return
		}
	case limited:
		res.SetStatusCode(fasthttp.StatusTooManyRequests)
		setRetryAfter(res, r.retryAfter)
	case retry:
		res.SetStatusCode(fasthttp.StatusServiceUnavailable)
		setRetryAfter(res, max(c.cfg.RetryAfter, r.retryAfter))
	}
	setJSON(res)
	for i := range r.results {
		b := append(text[:0], ',')
		if i == 0 {
			b = append(text[:0], resultsBegin...)
		}
		b = appendResult(b, &r.results[i])
		if i == len(r.results)-1 {
			b = append(b, resultsEnd...)
		}
		res.AppendBody(b)
	}
	if len(r.results) == 0 {
		res.AppendBodyString(resultsBegin + resultsEnd)
	}
}

const (
	// answerEventBytes holds the answer about one event.
	answerEventBytes = 160
	resultsBegin     = `{"results":[`
	resultsEnd       = `]}`
)

// appendResult appends what is said about one event.
func appendResult(b []byte, res *result) []byte {
	out := outcomeOf(res.reason)
	b = append(b, `{"id":"`...)
	if res.hasID {
		b = append(b, res.id[:]...) // hexadecimal and dashes: nothing to escape
	}
	b = append(b, `","outcome":"`...)
	b = append(b, out.String()...)
	b = append(b, '"')
	if out != outcomeAccepted {
		b = append(b, `,"reason":"`...)
		b = append(b, schemas.Label(res.reason)...)
		b = append(b, '"')
	}
	return append(b, '}')
}

// noResults is the query of who asks for no results, as the snippet does: 204 means
// that all was accepted, and anything else says what was not.
const noResults = "r=0"

// wantsNoResults reports whether the client asked for no results: r=0 in the
// query. The header for it, Prefer (RFC 7240), cannot be set on a beacon and
// would cost everybody else a preflight.
func wantsNoResults(ctx *fasthttp.RequestCtx) bool {
	query := ctx.URI().QueryString()
	return string(query) == noResults || len(query) > 0 && string(ctx.QueryArgs().Peek("r")) == "0"
}

// setRetryAfter names the wait in whole seconds, rounded up.
func setRetryAfter(res *fasthttp.Response, wait time.Duration) {
	seconds := max(1, int((wait+time.Second-1)/time.Second))
	res.Header.Set("Retry-After", strconv.Itoa(seconds))
	res.Header.Set("Access-Control-Expose-Headers", "Retry-After")
}

// setJSON marks an answer as JSON, and as nothing a browser may take for
// something else.
func setJSON(res *fasthttp.Response) {
	res.Header.SetContentType("application/json")
	res.Header.SetCanonical([]byte("X-Content-Type-Options"), []byte("nosniff"))
}

// errorTexts say what to change, for people who read the network panel.
func errorText(reason metivav1.Reason) string {
	switch reason {
	case metivav1.Reason_REASON_UNKNOWN_SITE:
		return "the site key is not registered or not active"
	case metivav1.Reason_REASON_ORIGIN_NOT_ALLOWED:
		return "the page's origin is not among the site's allowed origins"
	case metivav1.Reason_REASON_TOO_LARGE:
		return "the request is over its limits"
	case metivav1.Reason_REASON_UNSUPPORTED_TYPE:
		return "send application/json or text/plain, in one content encoding of gzip, deflate, br and zstd or in none"
	case metivav1.Reason_REASON_MALFORMED:
		return "the request cannot be read"
	default:
		return "the request was not handled"
	}
}

// refuseRequest answers a request as a whole.
func refuseRequest(res *fasthttp.Response, status int, reason metivav1.Reason) {
	res.SetStatusCode(status)
	setJSON(res)
	res.SetBodyString(`{"error":"` + errorText(reason) + `","reason":"` + schemas.Label(reason) + `"}`)
}
