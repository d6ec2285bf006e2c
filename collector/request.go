package collector

import (
	"bytes"
	"context"
	"errors"
	"hash/maphash"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/metiva-io/metiva/collector/beacon"
	"github.com/metiva-io/metiva/collector/mask"
	"github.com/metiva-io/metiva/collector/spool"
	"github.com/metiva-io/metiva/consent"
	"github.com/metiva-io/metiva/pkg/seal"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// request is the memory of one request, reused through a pool. Slices of the
// body and headers in it are good until the handler returns; end drops them.
type request struct {
	c        *Collector
	received time.Time

	// Of the headers.
	chunked   bool   // the body came with a transfer encoding
	origin    []byte // normalised
	hasOrigin bool
	foreign   bool // an Origin or Referer that is no web origin
	userAgent []byte
	prefetch  bool
	signals   consent.Signals
	address   seal.Address
	// networkLimited: the address is a visitor's, not of a private network.
	networkLimited bool

	site     *site
	decision consent.Decision
	visitKey visitKey
	salted   bool

	batch   beacon.Batch
	total   int  // events of the request
	counted bool // the ledger has them
	results []result

	// retryAfter is when the limit that refused events has room again.
	retryAfter time.Duration

	scratch     *seal.Scratch
	networkHash *maphash.Hash
	inflated    []byte // the body, if it came compressed
	page        mask.Page
	event       *builder
	answer      []byte
	ackTimer    *time.Timer // stopped between requests
}

func newRequest(c *Collector) *request {
	timer := time.NewTimer(c.cfg.AckTimeout)
	timer.Stop()
	return &request{c: c, scratch: seal.NewScratch(), networkHash: &maphash.Hash{}, event: newBuilder(), ackTimer: timer}
}

// end drops everything that belongs to the visitor or to the request's memory.
func (r *request) end() {
	r.scratch.Forget()
	r.networkHash.Reset()
	r.event.forget()
	clear(r.results)
	r.batch.Release()
	*r = request{
		c: r.c, scratch: r.scratch, networkHash: r.networkHash, page: r.page, event: r.event, batch: r.batch,
		results: r.results[:0], answer: r.answer[:0], inflated: r.inflated[:0], origin: r.origin[:0], ackTimer: r.ackTimer,
	}
}

// refuse counts the whole request under one reason, unless it is counted.
func (r *request) refuse(reason metivav1.Reason) {
	if r.counted {
		return
	}
	r.counted = true
	company, siteID := "", ""
	if r.site != nil {
		company, siteID = r.site.companyID, r.site.siteID
	}
	r.c.count(company, siteID, r.received, reason, max(1, r.total))
}

// settle counts each result.
func (r *request) settle() {
	if r.counted {
		return
	}
	r.counted = true
	for i := range r.results {
		r.c.count(r.site.companyID, r.site.siteID, r.received, r.results[i].reason, 1)
	}
}

// readOrigin takes the Origin header or, without one, the Referer's origin.
func (r *request) readOrigin(ctx *fasthttp.RequestCtx) {
	h, name := &ctx.Request.Header, "Origin"
	raw := h.Peek(name)
	if len(raw) == 0 {
		name = "Referer"
		raw = h.Peek(name)
	}
	if len(raw) == 0 || r.chunked && !arrived(h, name) {
		return
	}
	r.origin, r.hasOrigin = mask.AppendOrigin(r.origin[:0], raw)
	r.foreign = !r.hasOrigin
}

// readVisitor takes what the headers say about the visitor: signals, agent and
// address. It is called once the site is known and may record something.
func (r *request) readVisitor(ctx *fasthttp.RequestCtx) {
	h := &ctx.Request.Header
	r.signals.GPC = says(h.PeekAll("Sec-GPC"), "1")
	r.signals.DNT = says(h.PeekAll("DNT"), "1")
	r.prefetch = isPrefetch(h)
	r.userAgent = ctx.UserAgent()
	if len(r.userAgent) > userAgentBytesMax {
		r.userAgent = r.userAgent[:userAgentBytesMax]
	}
	client := clientAddr(peerAddr(ctx.RemoteAddr()), h.PeekAll("X-Forwarded-For"), r.c.cfg.TrustedNetworks)
	r.address = seal.AddressOf(client, r.scratch)
	r.networkLimited = client.IsValid() && !client.IsPrivate() && !client.IsLoopback() && !client.IsLinkLocalUnicast()
}

// says reports whether any value of a header is exactly this.
func says(values [][]byte, want string) bool {
	for _, v := range values {
		if string(bytes.TrimSpace(v)) == want {
			return true
		}
	}
	return false
}

// isPrefetch recognises Sec-Purpose and its predecessors.
func isPrefetch(h *fasthttp.RequestHeader) bool {
	for _, name := range [...]string{"Sec-Purpose", "Purpose", "X-Purpose", "X-Moz"} {
		for _, v := range h.PeekAll(name) {
			if containsFold(v, "prefetch") || containsFold(v, "prerender") || containsFold(v, "preview") {
				return true
			}
		}
	}
	return false
}

func containsFold(b []byte, lower string) bool {
	for i := 0; i+len(lower) <= len(b); i++ {
		if bytes.EqualFold(b[i:i+len(lower)], []byte(lower)) {
			return true
		}
	}
	return false
}

// decide makes the decision for all events of the request: consent is the
// visitor's, not the event's. The reason says why none of them is produced.
func (r *request) decide(token []byte) metivav1.Reason {
	c := r.c
	proof := c.deps.Tokens.Verify(r.site.siteID, token, r.received)
	r.signals.Proof = c.withdrawals.Check(r.site.companyID, proof)
	r.decision = consent.Decide(r.site.policy, r.signals)
	switch {
	case !r.decision.Allows():
		return r.decision.Reason()
	case r.prefetch:
		return metivav1.Reason_REASON_PREFETCH
	case !r.address.IsValid():
		return metivav1.Reason_REASON_NO_ADDRESS
	}
	return metivav1.Reason_REASON_UNSPECIFIED
}

// prepare makes the visit key and the tenant's data key ready.
func (r *request) prepare() error {
	hasher := r.c.salts.lookup(r.site.companyID, r.received)
	if r.salted = hasher != nil; r.salted {
		r.visitKey = hasher.key(r.site.siteID, r.decision, r.address, familyOf(r.userAgent))
	} else {
		r.c.metrics.saltMissing.Inc()
	}
	return r.prepareKey()
}

// prepareKey waits for a data key when the tenant has none for now. It is
// bounded by itself and not by the connection: a key that is nearly published
// serves the next request.
func (r *request) prepareKey() error {
	if r.c.sealer.HasKey(r.site.companyID) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), r.c.cfg.AckTimeout)
	defer cancel()
	return r.c.sealer.Prepare(ctx, r.site.companyID)
}

// awaitAcks waits for the records of the request, all within one AckTimeout.
func (r *request) awaitAcks() {
	waiting, expired := false, false
	for i := range r.results {
		res := &r.results[i]
		if res.ack == nil {
			continue
		}
		select {
		case <-res.ack.Done():
		default:
			if !waiting {
				waiting = true
				r.ackTimer.Reset(r.c.cfg.AckTimeout)
			}
			if !expired {
				select {
				case <-res.ack.Done():
				case <-r.ackTimer.C:
					expired = true
				}
			}
		}
		if !isDone(res.ack) || res.ack.Err() != nil {
			res.reason = metivav1.Reason_REASON_UNACKNOWLEDGED
		}
		res.ack = nil
	}
	r.ackTimer.Stop()
}

func isDone(ack Ack) bool {
	select {
	case <-ack.Done():
		return true
	default:
		return false
	}
}

// produce seals, encodes and hands over one event. A panic fails this event
// alone.
func (r *request) produce(res *result, e *incoming) {
	defer func() {
		if p := recover(); p != nil {
			r.c.panicked(p)
			res.reason, res.ack = metivav1.Reason_REASON_INTERNAL, nil
		}
	}()
	res.reason = r.build(e)
	if res.reason != metivav1.Reason_REASON_UNSPECIFIED {
		return
	}
	err := r.sealAndEncode(e)
	if errors.Is(err, seal.ErrNoKey) { // midnight, or the key's last message
		if err = r.prepareKey(); err == nil {
			err = r.sealAndEncode(e)
		}
	}
	switch {
	case errors.Is(err, errRecordTooLarge):
		res.reason = metivav1.Reason_REASON_TOO_LARGE
		return
	case errors.Is(err, seal.ErrNoKey), errors.Is(err, context.DeadlineExceeded), errors.Is(err, spool.ErrFull):
		r.c.metrics.dataKeyFailures.Inc()
		res.reason = refusalReason(err)
		return
	case err != nil:
		res.reason = metivav1.Reason_REASON_INTERNAL
		return
	}
	res.ack, err = r.send()
	if err != nil {
		res.ack, res.reason = nil, refusalReason(err)
	}
}
