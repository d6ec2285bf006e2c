package collector

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/valyala/fasthttp"

	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// choiceOutcome is what became of a call to /v1/consent.
type choiceOutcome string

const (
	choiceGranted   choiceOutcome = "granted"
	choiceRefused   choiceOutcome = "refused"   // the visitor said no, and it is recorded
	choiceWithdrawn choiceOutcome = "withdrawn" // and it is recorded
	choiceRead      choiceOutcome = "read"
	choiceDeclined  choiceOutcome = "declined" // no grant, and nothing recorded
	choiceInvalid   choiceOutcome = "invalid"  // nothing was decided
	choiceRetry     choiceOutcome = "retry"
)

// choiceReason says why a claim is not exchanged for a token, or a token not
// taken. The set is closed; calls that are refused before that have a
// metivav1.Reason.
type choiceReason string

const (
	reasonNothingKept       choiceReason = "nothing_kept"
	reasonChoiceObjected    choiceReason = "objected"
	reasonContradicted      choiceReason = "contradicted"
	reasonSourceNotAccepted choiceReason = "source_not_accepted"
	reasonNotGranted        choiceReason = "not_granted"
	reasonUnknownText       choiceReason = "unknown_text" // as REASON_UNKNOWN_TEXT
	reasonInvalidToken      choiceReason = "invalid_token"
)

// consentAnswer is the answer to a call.
type consentAnswer struct {
	status  int
	outcome choiceOutcome
	reason  choiceReason // empty: none

	state metivav1.ConsentState // unspecified: the answer names none
	// Of a grant, and of a token that is read back.
	token       string
	expiresAt   time.Time
	textVersion string
	sequence    uint64
	readBack    bool
	receipt     []byte // id of the consent record

	// refused is set when the whole call is refused; retryAfter is its wait.
	refused    metivav1.Reason
	retryAfter time.Duration
}

// newChoiceCounter registers the metric of calls. No label names a tenant, a site or
// a visitor.
func newChoiceCounter(reg prometheus.Registerer) (*prometheus.CounterVec, error) {
	choices := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "metiva_collector_consent_choices_total",
		Help: "Calls to /v1/consent by what became of them and why. The ledger counts events only.",
	}, []string{"outcome", "reason"})
	if err := reg.Register(choices); err != nil {
		return nil, fmt.Errorf("registering the metric of consent calls: %w", err)
	}
	return choices, nil
}

// limitedChoice is the answer to a call over a limit.
func limitedChoice(wait time.Duration) consentAnswer {
	return consentAnswer{status: fasthttp.StatusTooManyRequests, outcome: choiceRetry, refused: metivav1.Reason_REASON_RATE_LIMITED, retryAfter: wait}
}

// answerChoice counts a call and writes its answer.
func (c *Collector) answerChoice(ctx *fasthttp.RequestCtx, a consentAnswer) {
	if a.refused != metivav1.Reason_REASON_UNSPECIFIED {
		switch a.refused {
		case metivav1.Reason_REASON_NOT_READY:
			a.outcome, a.retryAfter = choiceRetry, c.cfg.RetryAfter
		case metivav1.Reason_REASON_RATE_LIMITED:
			a.outcome = choiceRetry
		default:
		}
		c.choices.WithLabelValues(string(a.outcome), schemas.Label(a.refused)).Inc()
		switch {
		case a.refused == metivav1.Reason_REASON_ORIGIN_NOT_ALLOWED:
			ctx.Response.Header.Del("Access-Control-Allow-Origin")
		case a.refused == metivav1.Reason_REASON_UNSUPPORTED_TYPE:
			ctx.Response.Header.Set("Accept-Encoding", acceptedEncodings)
		case a.retryAfter > 0:
			setRetryAfter(&ctx.Response, a.retryAfter)
		}
		refuseRequest(&ctx.Response, a.status, a.refused)
		return
	}
	reason := "none"
	if a.reason != "" {
		reason = string(a.reason)
	}
	c.choices.WithLabelValues(string(a.outcome), reason).Inc()
	ctx.SetStatusCode(a.status)
	setJSON(&ctx.Response)
	ctx.SetBody(a.appendJSON(nil))
}

// appendJSON writes the answer. Every text in it is of letters, digits, dots and
// dashes: nothing to escape.
func (a *consentAnswer) appendJSON(b []byte) []byte {
	b = append(b, '{')
	member := func(name string) {
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(b, '"')
		b = append(b, name...)
		b = append(b, `":`...)
	}
	text := func(name, value string) {
		if value == "" {
			return
		}
		member(name)
		b = append(b, '"')
		b = append(b, value...)
		b = append(b, '"')
	}
	if a.state != metivav1.ConsentState_CONSENT_STATE_UNSPECIFIED {
		text("state", schemas.Label(a.state))
	} else {
		text("error", "the token was not issued for this site")
	}
	text("reason", string(a.reason))
	text("token", a.token)
	if a.readBack {
		member("sequence")
		b = strconv.AppendUint(b, a.sequence, 10)
		text("text_version", a.textVersion)
	}
	if !a.expiresAt.IsZero() {
		member("expires_at")
		b = strconv.AppendInt(b, a.expiresAt.UnixMilli(), 10)
	}
	text("receipt", hex.EncodeToString(a.receipt))
	return append(b, '}')
}
