package collector

import (
	"strconv"

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
	case metivav1.Reason_REASON_UNACKNOWLEDGED, metivav1.Reason_REASON_NOT_READY, metivav1.Reason_REASON_RATE_LIMITED:
		return outcomeRetry
	default:
		return outcomeDropped
	}
}

// result is the outcome of one event.
type result struct {
	id     []byte // as sent, checked; nil when it was no id
	reason metivav1.Reason
	ack    Ack // nil when nothing was produced
}

// answerResults writes the answer to a request whose events were looked at:
// 503 when all of them are to be sent again, else 200.
func (c *Collector) answerResults(ctx *fasthttp.RequestCtx, r *request) {
	retry := 0
	b := append(r.answer[:0], `{"results":[`...)
	for i := range r.results {
		res := &r.results[i]
		out := outcomeOf(res.reason)
		if out == outcomeRetry {
			retry++
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"id":"`...)
		b = append(b, res.id...) // hexadecimal and dashes: nothing to escape
		b = append(b, `","outcome":"`...)
		b = append(b, out.String()...)
		b = append(b, '"')
		if out != outcomeAccepted {
			b = append(b, `,"reason":"`...)
			b = append(b, schemas.Label(res.reason)...)
			b = append(b, '"')
		}
		b = append(b, '}')
	}
	b = append(b, `]}`...)
	r.answer = b
	if retry == len(r.results) {
		ctx.SetStatusCode(fasthttp.StatusServiceUnavailable)
		ctx.Response.Header.Set("Retry-After", strconv.Itoa(retryAfterSeconds(c.cfg)))
	}
	ctx.SetContentType("application/json")
	ctx.SetBody(b)
}

func retryAfterSeconds(cfg Config) int { return max(1, int(cfg.RetryAfter.Seconds())) }

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
		return "send application/json or text/plain without content encoding"
	case metivav1.Reason_REASON_MALFORMED:
		return "the request cannot be read"
	default:
		return "the request was not handled"
	}
}

// refuseRequest answers a request as a whole.
func refuseRequest(ctx *fasthttp.RequestCtx, status int, reason metivav1.Reason) {
	ctx.SetStatusCode(status)
	ctx.SetContentType("application/json")
	ctx.SetBodyString(`{"error":"` + errorText(reason) + `","reason":"` + schemas.Label(reason) + `"}`)
}
