package collector

import (
	"context"
	"errors"
	"hash/maphash"
	"net"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/metiva-io/metiva/collector/beacon"
	"github.com/metiva-io/metiva/collector/mask"
	"github.com/metiva-io/metiva/collector/spool"
	"github.com/metiva-io/metiva/consent"
	"github.com/metiva-io/metiva/pkg/businessnet"
	"github.com/metiva-io/metiva/pkg/seal"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// request is what is kept of one request until it is answered. It is reused
// through a pool.
type request struct {
	c        *Collector
	received time.Time
	chunked  bool // the body came with a transfer encoding
	site     *site
	total    int   // events of the request
	counted  bool  // the ledger has them
	entered  int64 // events in Collector.inFlight
	results  []result
	// retryAfter is when the limit that refused events has room again.
	retryAfter time.Duration
	// conn is the connection where it may hold the answer, or nil; left are the
	// records that are waited for.
	conn   *conn
	left   atomic.Int32
	status int // of the answer that is held

	// work is nil once the records are handed over: see work.
	*work
}

// work is the memory a request needs until its records are handed over. It goes
// back to its pool before the request waits for Kafka: hundreds wait at a time,
// and the few works they take turns with stay in the processor's cache. Slices of
// the body and of the headers in it are good until the handler returns; forget
// drops them.
type work struct {
	headers   headers
	origin    []byte // normalised
	hasOrigin bool
	// knownOrigin: some site allows it; false is not known yet.
	knownOrigin bool
	// usual is the answer for that origin; nil before the site is known.
	usual     *usualAnswer
	foreign   bool // an Origin or Referer that is no web origin
	userAgent []byte
	prefetch  bool
	signals   consent.Signals
	address   seal.Address
	// networkLimited: the address is a visitor's, not of a private network.
	networkLimited bool

	decision consent.Decision
	visitKey visitKey
	salted   bool

	batch       beacon.Batch
	scratch     *seal.Scratch
	networkHash *maphash.Hash
	inflated    []byte // the body, if it came compressed
	page        mask.Page
	event       *builder
}

func newRequest(c *Collector) *request {
	return &request{c: c, work: newWork()}
}

func newWork() *work {
	return &work{scratch: seal.NewScratch(), networkHash: &maphash.Hash{}, event: newBuilder()}
}

// begin takes a request and its work from their pools.
func (c *Collector) begin() *request {
	r := c.requests.Get().(*request)
	if r.work == nil {
		r.work = c.works.Get().(*work)
	}
	return r
}

// leaveWork gives the work back: nothing of it is read from here on.
func (r *request) leaveWork() {
	if w := r.work; w != nil {
		r.work = nil
		w.forget()
		r.c.works.Put(w)
	}
}

// end drops everything that belongs to the request.
func (r *request) end() {
	r.leaveWork()
	clear(r.results)
	r.site, r.total, r.counted, r.entered, r.results = nil, 0, false, 0, r.results[:0]
	r.chunked, r.retryAfter, r.conn, r.status = false, 0, nil, 0
	r.left.Store(0)
}

// forget drops everything that belongs to the visitor or to the request's memory.
func (w *work) forget() {
	w.headers.forget()
	w.scratch.Forget()
	w.networkHash.Reset()
	w.event.forget()
	w.batch.Release()
	w.origin, w.hasOrigin, w.knownOrigin, w.usual, w.foreign = w.origin[:0], false, false, nil, false
	w.userAgent, w.prefetch, w.signals = nil, false, consent.Signals{}
	w.address, w.networkLimited = seal.Address{}, false
	w.decision, w.visitKey, w.salted = consent.Decision{}, visitKey{}, false
	w.inflated = w.inflated[:0]
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

// settle counts the results.
func (r *request) settle() {
	var t tally
	r.settleInto(&t)
	t.flush()
}

// settleInto counts the results, those in a row with one reason at once.
func (r *request) settleInto(t *tally) {
	if r.counted {
		return
	}
	r.counted = true
	for rest := r.results; len(rest) > 0; {
		n := 1
		for n < len(rest) && rest[n].reason == rest[0].reason {
			n++
		}
		t.count(r, rest[0].reason, n)
		rest = rest[n:]
	}
}

// readHeaders takes in the headers and the origin: the Origin header or, without
// one, the Referer's.
func (r *request) readHeaders(ctx *fasthttp.RequestCtx) {
	h := &ctx.Request.Header
	r.headers.read(h)
	name, raw := "Origin", r.headers.origin
	if len(raw) == 0 {
		name, raw = "Referer", r.headers.referer
	}
	if len(raw) == 0 || r.chunked && !arrived(h, name) {
		return
	}
	if r.c.sites.known(raw) { // as the sites write it: nothing to normalise
		r.origin, r.hasOrigin, r.knownOrigin = append(r.origin[:0], raw...), true, true
		return
	}
	r.origin, r.hasOrigin = mask.AppendOrigin(r.origin[:0], raw)
	r.foreign = !r.hasOrigin
}

// readVisitor takes what the headers say about the visitor: signals, agent and
// address. It is called once the site is known and may record something.
func (r *request) readVisitor(ctx *fasthttp.RequestCtx) {
	r.readVisitorOf(ctx.UserAgent(), ctx.Conn())
}

// readVisitorOf does so with the agent and the connection.
func (r *request) readVisitorOf(userAgent []byte, from net.Conn) {
	r.signals.GPC = r.headers.gpc
	r.signals.DNT = r.headers.dnt
	r.prefetch = r.headers.prefetch
	r.userAgent = userAgent
	if len(r.userAgent) > userAgentBytesMax {
		r.userAgent = r.userAgent[:userAgentBytesMax]
	}
	r.readAddress(from)
}

// readAddress takes the client's address.
func (r *request) readAddress(from net.Conn) {
	client := clientAddr(peerOf(from), r.headers.forwarded, r.c.cfg.TrustedNetworks)
	r.address = seal.AddressIn(client, r.businessNetworks(), r.scratch)
	r.networkLimited = isPublic(client)
}

// businessNetworks are those the address may be cut to instead of its /24: none,
// unless the collector has them and the site is registered for it.
func (r *request) businessNetworks() *businessnet.Set {
	if r.site == nil || !r.site.networkPrecision || r.c.deps.BusinessNetworks == nil {
		return nil
	}
	return r.c.deps.BusinessNetworks()
}

// decide makes the decision for all events of the request: consent is the
// visitor's, not the event's. The reason says why none of them is produced.
func (r *request) decide(token []byte) metivav1.Reason {
	c := r.c
	proof := c.deps.Tokens.Verify(r.site.siteID, token, r.received)
	r.signals.Proof = c.withdrawals.Check(r.site.companyID, proof)
	r.decision = consent.Decide(r.site.policy, r.signals)
	switch {
	case r.isBot(r.decision):
		return metivav1.Reason_REASON_BOT
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
	hasher := r.site.salts.at(r.received)
	if r.salted = hasher != nil; r.salted {
		r.visitKey = hasher.key(r.site.siteID, r.decision, r.address, familyOf(r.userAgent))
	} else {
		r.c.metrics.saltMissing.Inc()
	}
	if r.c.sealer.HasKeyAt(r.site.companyID, r.received) {
		return nil
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
