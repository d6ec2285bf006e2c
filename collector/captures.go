package collector

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"

	"github.com/valyala/fasthttp"

	"github.com/metiva-io/metiva/collector/form"
	"github.com/metiva-io/metiva/collector/mask"
	"github.com/metiva-io/metiva/consent"
	"github.com/metiva-io/metiva/pkg/seal"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// capture is one POST /v1/captures. It lives as long as the request and is
// cleared with it, for it holds what the visitor typed.
type capture struct {
	r       *request
	post    form.Post
	encoded bool // posted by a form, without script
	form    *siteForm
	// redirect is the registered address to send the visitor back to.
	redirect string
	event    incoming
	decision consent.Capture
	fields   []form.Kept
	salt     *visitHasher // nil when the tenant has none for the day
}

// serveCaptures is POST /v1/captures: a form's post in JSON, or as a browser
// sends a form without script.
func (c *Collector) serveCaptures(ctx *fasthttp.RequestCtx, r *request) {
	r.total = 1
	p := &capture{r: r}
	defer p.forget(ctx)
	c.allowOrigin(ctx, r)
	status, reason := p.read(ctx)
	status, reason = r.limitRefusal(ctx, status, reason)
	if reason == metivav1.Reason_REASON_UNSPECIFIED {
		r.readVisitor(ctx)
		reason = p.take(ctx)
	}
	r.refuse(reason)
	if reason == metivav1.Reason_REASON_ORIGIN_NOT_ALLOWED {
		ctx.Response.Header.Del("Access-Control-Allow-Origin")
	}
	p.answer(ctx, status, reason)
	c.metrics.requestSeconds.Observe(c.now().Sub(r.received).Seconds())
}

// forget overwrites what the visitor typed, in the body and in every copy of it:
// the memory is used again.
func (p *capture) forget(ctx *fasthttp.RequestCtx) {
	p.post.Clear()
	clear(p.r.inflated)
	clear(ctx.Request.Body())
	clear(p.fields)
}

// read parses the post and finds site, form and the way back. A reason refuses
// the request, with its status.
func (p *capture) read(ctx *fasthttp.RequestCtx) (status int, reason metivav1.Reason) {
	r, known := p.r, false
	if p.encoded, known = captureKind(ctx.Request.Header.ContentType()); !known {
		return fasthttp.StatusUnsupportedMediaType, metivav1.Reason_REASON_UNSUPPORTED_TYPE
	}
	body, status, reason := r.body(ctx)
	if reason != metivav1.Reason_REASON_UNSPECIFIED {
		return status, reason
	}
	parse := p.post.ParseJSON
	if p.encoded {
		parse = p.post.ParseEncoded
	}
	if reason := reasonOfPost(parse(body)); reason == metivav1.Reason_REASON_TOO_LARGE {
		return fasthttp.StatusRequestEntityTooLarge, reason
	} else if reason != metivav1.Reason_REASON_UNSPECIFIED || len(p.post.Site) == 0 {
		return fasthttp.StatusBadRequest, metivav1.Reason_REASON_MALFORMED
	}
	r.signals.OptOut = p.post.OptOut
	if status, reason = r.findSite(p.post.Site); reason != metivav1.Reason_REASON_UNSPECIFIED {
		return status, reason
	}
	// A post of a form carries an Origin too; "null" belongs to no site.
	if !r.hasOrigin || !r.site.allows(r.origin) {
		return fasthttp.StatusForbidden, metivav1.Reason_REASON_ORIGIN_NOT_ALLOWED
	}
	if p.form = r.site.forms[string(p.post.Form)]; p.form != nil && len(p.post.Redirect) > 0 {
		p.redirect, _ = p.form.policy.Redirect(p.post.Redirect)
	}
	return fasthttp.StatusOK, metivav1.Reason_REASON_UNSPECIFIED
}

// captureKind accepts JSON, as for events, and a form's encoding; both in UTF-8
// only. A form with enctype multipart/form-data is refused: it is for files.
func captureKind(contentType []byte) (encoded, known bool) {
	kind, parameters, _ := bytes.Cut(contentType, []byte{';'})
	for len(parameters) > 0 {
		var parameter []byte
		parameter, parameters, _ = bytes.Cut(parameters, []byte{';'})
		name, value, _ := bytes.Cut(parameter, []byte{'='})
		if bytes.EqualFold(bytes.TrimSpace(name), []byte("charset")) && !bytes.EqualFold(bytes.Trim(value, ` "`), []byte("utf-8")) {
			return false, false
		}
	}
	switch string(bytes.ToLower(bytes.TrimSpace(kind))) {
	case "application/json", "text/plain":
		return false, true
	case "application/x-www-form-urlencoded":
		return true, true
	}
	return false, false
}

func reasonOfPost(err error) metivav1.Reason {
	switch {
	case err == nil:
		return metivav1.Reason_REASON_UNSPECIFIED
	case errors.Is(err, form.ErrTooLarge):
		return metivav1.Reason_REASON_TOO_LARGE
	}
	return metivav1.Reason_REASON_MALFORMED
}

// take decides about the post and makes it durable. The reason is why not.
func (p *capture) take(ctx *fasthttp.RequestCtx) metivav1.Reason {
	if reason := p.decide(); reason != metivav1.Reason_REASON_UNSPECIFIED {
		return reason
	}
	occurredAtMs, reason := p.check(ctx)
	if reason != metivav1.Reason_REASON_UNSPECIFIED {
		return reason
	}
	c, r := p.r.c, p.r
	defer c.leave(1)
	if !c.enter(1) {
		return metivav1.Reason_REASON_OVERLOADED
	}
	var ok bool
	if ok, r.retryAfter = c.captures.admit(r); !ok {
		return metivav1.Reason_REASON_RATE_LIMITED
	}
	admitted := 0
	if admitted, r.retryAfter = c.limits.admit(r, 1); admitted == 0 {
		return metivav1.Reason_REASON_RATE_LIMITED
	}
	if err := r.prepare(); err != nil {
		c.metrics.dataKeyFailures.Inc()
		return refusalReason(err)
	}
	return p.publish(occurredAtMs)
}

// decide is about consent, form, text and the way back; nothing of the fields is
// read before it allows the capture.
func (p *capture) decide() metivav1.Reason {
	r, c := p.r, p.r.c
	proof := c.deps.Tokens.Verify(r.site.siteID, p.post.Token, r.received)
	r.signals.Proof = c.withdrawals.Check(r.site.companyID, proof)
	d := consent.Decide(r.site.policy, r.signals)
	switch {
	case r.isBot(d):
		return metivav1.Reason_REASON_BOT
	case !d.Allows():
		return d.Reason()
	case p.form == nil:
		return metivav1.Reason_REASON_UNKNOWN_FORM
	case len(p.post.Redirect) > 0 && p.redirect == "":
		return metivav1.Reason_REASON_REDIRECT_NOT_ALLOWED
	}
	p.identify()
	box := consent.Box{Given: p.post.Given, TextVersion: string(p.post.TextVersion), Language: string(p.post.Language)}
	p.decision = consent.Capturable(r.site.policy, r.signals, box, p.form.texts, p.ownKey(keyOfReceipt), r.received)
	r.decision = p.decision.Decision()
	switch {
	case !p.decision.Allows():
		return p.decision.Reason()
	case r.prefetch:
		return metivav1.Reason_REASON_PREFETCH
	case !r.address.IsValid():
		return metivav1.Reason_REASON_NO_ADDRESS
	}
	return metivav1.Reason_REASON_UNSPECIFIED
}

// identify reads the capture's id. A form without script has none to give: the
// collector makes one, and what a browser posts again is another capture.
func (p *capture) identify() {
	r := p.r
	p.salt = r.c.salts.lookup(r.site.companyID, r.received)
	p.event = incoming{kind: metivav1.EventType_EVENT_TYPE_FORM, url: p.post.URL, referrer: p.post.Referrer, atMs: p.post.AtMs, sentAtMs: p.post.SentAtMs}
	if p.encoded {
		p.event.atMs = r.received.UnixMilli()
		p.event.sentAtMs = p.event.atMs
	}
	if p.encoded && len(p.post.ID) == 0 {
		p.event.id, p.event.idOK = newID(r.received), true
	} else {
		p.event.id, p.event.idOK = parseID(p.post.ID)
	}
	p.event.complete = p.encoded || p.post.HasAt && len(p.post.URL) > 0
}

// check reads page, time and fields.
func (p *capture) check(ctx *fasthttp.RequestCtx) (occurredAtMs int64, reason metivav1.Reason) {
	r, e := p.r, &p.event
	if !e.complete || !e.idOK {
		return 0, metivav1.Reason_REASON_MALFORMED
	}
	ownURL := len(e.url) > 0
	if !ownURL { // a form that does not name its page
		if e.url = ctx.Request.Header.Peek("Referer"); len(e.url) == 0 {
			e.url = r.origin
		}
	}
	if len(e.url) > mask.URLBytesMax || len(e.referrer) > mask.URLBytesMax {
		return 0, metivav1.Reason_REASON_TOO_LARGE
	}
	if r.page.Reduce(e.url) != nil {
		return 0, metivav1.Reason_REASON_MALFORMED
	}
	if !r.site.allows(r.page.Origin) {
		return 0, metivav1.Reason_REASON_ORIGIN_NOT_ALLOWED
	}
	if !ownURL && string(r.page.Path) == "/" {
		// What browsers tell another site is the origin: the path is not known.
		r.page.Path = r.page.Path[:0]
	}
	if occurredAtMs, reason = r.c.occurredAt(e, r.received); reason != metivav1.Reason_REASON_UNSPECIFIED {
		return 0, reason
	}
	fields, leftOut, err := p.post.Fields(p.form.policy)
	r.c.metrics.fieldsLeftOut.Add(float64(leftOut))
	p.fields = fields
	if err != nil {
		return 0, reasonOfPost(err)
	}
	if p.size() > schemas.CaptureBytesMax {
		return 0, metivav1.Reason_REASON_TOO_LARGE
	}
	return occurredAtMs, metivav1.Reason_REASON_UNSPECIFIED
}

// eventBytesMax is more than an event takes beside its fields, and
// fieldBytesMore than protobuf writes around a name and a value.
const (
	eventBytesMax  = 6 << 10
	fieldBytesMore = 16
)

// size is what the record takes at most: nothing is published for one that is
// too large.
func (p *capture) size() int {
	n := eventBytesMax
	for _, f := range p.fields {
		n += len(f.Name) + len(f.Value) + seal.Overhead + fieldBytesMore
	}
	return n
}

// What a key of a capture is for. They differ from visitOfNetwork and
// visitOfVisitor: no such key equals one of a visit.
const (
	keyOfReceipt = 'r'
	keyOfPost    = 'f'
)

// ownKey is 16 bytes nobody can guess, for the receipt and the visit of a person
// without a visitor id: from the tenant's salt of the day and the capture's id,
// so that a repetition has the same; random without a salt.
func (p *capture) ownKey(purpose byte) [schemas.IDBytes]byte {
	if p.salt == nil {
		return randomVisitKey()
	}
	return p.salt.eventKey(purpose, p.r.site.siteID, p.event.id)
}

// publish makes the capture durable: the subject's key, the record of the
// consent it rests on, and then the event, so that none is there without what it
// needs. The capture is repeated as a whole when one of them fails.
func (p *capture) publish(occurredAtMs int64) metivav1.Reason {
	r, c := p.r, p.r.c
	ctx, cancel := context.WithTimeout(context.Background(), c.cfg.AckTimeout)
	defer cancel()
	key, err := c.sealer.NewSubjectKey(ctx, r.site.companyID, p.decision.SubjectID())
	if err != nil {
		c.metrics.dataKeyFailures.Inc()
		return refusalReason(err)
	}
	defer key.Forget()
	var recordID [schemas.IDBytes]byte
	_, _ = rand.Read(recordID[:]) // crypto/rand never returns an error
	visit := r.visitKey
	if _, linked := r.decision.VisitorID(); !linked || !r.salted {
		visit = p.ownKey(keyOfPost)
	}
	event, err := p.eventOf(p.decision, key, recordID, visit, occurredAtMs)
	if err != nil {
		return reasonOfSealing(err)
	}
	value, err := schemas.Encode(nil, event)
	switch {
	case err != nil:
		return metivav1.Reason_REASON_INTERNAL
	case len(value) > schemas.CaptureBytesMax-schemas.ReplayMarkBytes:
		return metivav1.Reason_REASON_TOO_LARGE
	}
	if err := c.publishConsent(ctx, p.consentRecord(p.decision, recordID)); err != nil {
		return refusalReason(err)
	}
	return p.send(visit, value)
}

// reasonOfSealing: a key that ended between its making and its use is made again
// by the repetition.
func reasonOfSealing(err error) metivav1.Reason {
	if errors.Is(err, seal.ErrNoKey) {
		return metivav1.Reason_REASON_UNACKNOWLEDGED
	}
	return metivav1.Reason_REASON_INTERNAL
}

// send hands the event over and waits for it.
func (p *capture) send(visit visitKey, value []byte) metivav1.Reason {
	r := p.r
	key := append([]byte{r.site.bucket}, visit[:]...)
	partition := schemas.EventPartitionIn(r.site.bucket, visit[:], r.c.cfg.Partitions)
	ack, err := r.c.deps.Producer.Produce(schemas.TopicEventsCollected, partition, key, value)
	if err != nil {
		return refusalReason(err)
	}
	r.results = append(r.results[:0], result{ack: ack})
	r.awaitAcks()
	return r.results[0].reason
}

// receipt is what the visitor can name the capture by.
func (p *capture) receipt() string {
	id := p.decision.SubjectID()
	return hex.EncodeToString(id[:])
}
