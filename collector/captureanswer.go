package collector

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strconv"

	"github.com/valyala/fasthttp"

	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// answer tells the client what became of the post. Status is that of a request
// that is refused as a whole, and 200 otherwise.
func (p *capture) answer(ctx *fasthttp.RequestCtx, status int, reason metivav1.Reason) {
	out := outcomeOf(reason)
	switch {
	case reason == metivav1.Reason_REASON_RATE_LIMITED:
		status = fasthttp.StatusTooManyRequests
		setRetryAfter(&ctx.Response, p.r.retryAfter)
	case out == outcomeRetry:
		status = fasthttp.StatusServiceUnavailable
		setRetryAfter(&ctx.Response, p.r.c.cfg.RetryAfter)
	case reason == metivav1.Reason_REASON_UNSUPPORTED_TYPE:
		ctx.Response.Header.Set("Accept-Encoding", acceptedEncodings)
	}
	ctx.Response.Header.Set("Cache-Control", "no-store")
	if p.encoded {
		p.answerForm(ctx, status, out)
		return
	}
	ctx.SetStatusCode(status)
	setJSON(&ctx.Response)
	switch {
	case reason == metivav1.Reason_REASON_UNSUPPORTED_TYPE:
		ctx.SetBodyString(`{"error":"` + captureTypes + `","outcome":"dropped","reason":"` + schemas.Label(reason) + `"}`)
	case out == outcomeAccepted:
		ctx.SetBodyString(`{"outcome":"accepted","receipt":"` + p.receipt() + `"}`)
	case status == fasthttp.StatusOK || out == outcomeRetry:
		ctx.SetBodyString(`{"outcome":"` + out.String() + `","reason":"` + schemas.Label(reason) + `"}`)
	default:
		ctx.SetBodyString(`{"error":"` + errorText(reason) + `","outcome":"dropped","reason":"` + schemas.Label(reason) + `"}`)
	}
}

const captureTypes = "send application/json, text/plain with JSON, or application/x-www-form-urlencoded, in UTF-8; multipart/form-data is not taken"

// answerForm answers a browser that left its page for this answer. It goes back
// to the page the form names, whatever became of the post; but a visitor who has
// to send it again is told so instead, for the post is not kept.
func (p *capture) answerForm(ctx *fasthttp.RequestCtx, status int, out outcome) {
	if p.redirect != "" && out != outcomeRetry {
		ctx.SetStatusCode(fasthttp.StatusSeeOther)
		ctx.Response.Header.Set("Location", p.redirect) // as registered; nothing of the post
		return
	}
	ctx.SetStatusCode(status)
	p.r.c.pages.serve(ctx, out)
}

// pages are what a visitor sees who is sent back nowhere, by outcome: in Dutch
// and English, without script.
type pages struct {
	dutch, english [3][]byte // by outcome
	policy         string
}

const pageStyle = `:root{color-scheme:light dark;font:1.125rem/1.5 system-ui,sans-serif}` +
	`body{margin:0;min-height:100vh;display:grid;place-items:center}` +
	`main{max-width:32rem;padding:1.5rem}h1{font-size:1.75rem;line-height:1.2;margin:0 0 .5rem}p{margin:0}`

func newPages() pages {
	page := func(language, title, text string) []byte {
		return fmt.Appendf(nil, `<!doctype html><html lang="%s"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">`+
			`<meta name="robots" content="noindex"><title>%s</title><style>%s</style></head><body><main><h1>%[2]s</h1><p>%[4]s</p></main></body></html>`, language, title, pageStyle, text)
	}
	sum := sha256.Sum256([]byte(pageStyle))
	p := pages{policy: "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"}
	p.dutch[outcomeAccepted] = page("nl", "Bedankt", "Uw gegevens zijn ontvangen.")
	p.dutch[outcomeDropped] = page("nl", "Niet bewaard", "Wat u invulde is niet bewaard. Neem zo nodig op een andere manier contact op.")
	p.dutch[outcomeRetry] = page("nl", "Nog niet gelukt", "Uw gegevens konden nog niet worden bewaard. Ga terug en verstuur het formulier opnieuw.")
	p.english[outcomeAccepted] = page("en", "Thank you", "Your details have been received.")
	p.english[outcomeDropped] = page("en", "Not kept", "What you filled in was not kept. If you need an answer, please get in touch in another way.")
	p.english[outcomeRetry] = page("en", "Not yet", "Your details could not be kept yet. Please go back and send the form again.")
	return p
}

func (p *pages) serve(ctx *fasthttp.RequestCtx, out outcome) {
	h := &ctx.Response.Header
	h.Set("Content-Security-Policy", p.policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Add("Vary", "Accept-Language")
	ctx.SetContentType("text/html; charset=utf-8")
	if prefersDutch(ctx.Request.Header.Peek("Accept-Language")) {
		ctx.SetBodyString(string(p.dutch[out]))
		return
	}
	ctx.SetBodyString(string(p.english[out]))
}

// prefersDutch reports whether Dutch stands before English in Accept-Language
// (RFC 9110, section 12.5.4). A weight that cannot be read counts as 0.
func prefersDutch(header []byte) bool {
	dutch, english := 0.0, 0.0
	for len(header) > 0 {
		var one []byte
		one, header, _ = bytes.Cut(header, []byte{','})
		tag, parameter, weighted := bytes.Cut(one, []byte{';'})
		weight := 1.0
		if weighted {
			text, _ := bytes.CutPrefix(bytes.TrimSpace(parameter), []byte("q="))
			weight, _ = strconv.ParseFloat(string(text), 64)
		}
		primary, _, _ := bytes.Cut(bytes.TrimSpace(tag), []byte{'-'})
		switch string(bytes.ToLower(primary)) {
		case "nl":
			dutch = max(dutch, weight)
		case "en":
			english = max(english, weight)
		}
	}
	return dutch > english
}
