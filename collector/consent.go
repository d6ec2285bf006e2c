package collector

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/metiva-io/metiva/collector/choice"
	"github.com/metiva-io/metiva/consent"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// PathConsent is where consent is given, read back and taken back.
const PathConsent = "/v1/consent"

// consentBodyBytesMax holds a TC string, a token and four further claims, which
// are short unless they are strings themselves.
const consentBodyBytesMax = 8 << 10

// serveConsentCall is POST and DELETE /v1/consent. It counts by itself: the ledger is
// of events only.
func (c *Collector) serveConsentCall(ctx *fasthttp.RequestCtx, r *request) {
	r.counted = true
	if c.allowOrigin(ctx, r) {
		ctx.Response.Header.Set("Access-Control-Expose-Headers", "Retry-After")
	}
	ctx.Response.Header.Set("Cache-Control", "no-store")
	call, status, reason := r.readChoice(ctx)
	if reason != metivav1.Reason_REASON_UNSPECIFIED {
		if status, reason = r.limitRefusal(ctx, status, reason); reason == metivav1.Reason_REASON_RATE_LIMITED {
			c.answerChoice(ctx, limitedChoice(r.retryAfter))
			return
		}
		c.answerChoice(ctx, consentAnswer{status: status, outcome: choiceInvalid, refused: reason})
		return
	}
	r.readVisitor(ctx)
	r.signals.OptOut = call.OptOut
	a := r.handleChoice(&call)
	// What leaves nothing behind costs its network one call too, unless the visitor
	// objects: then nobody looks at the network.
	if a.reason != reasonChoiceObjected && (a.outcome == choiceRead || a.outcome == choiceDeclined || a.outcome == choiceInvalid) {
		if wait, ok := c.limits.admitNetwork(r); !ok {
			a = limitedChoice(wait)
		}
	}
	c.answerChoice(ctx, a)
}

// readChoice reads the body and finds the site.
func (r *request) readChoice(ctx *fasthttp.RequestCtx) (call choice.Call, status int, reason metivav1.Reason) {
	if !isReadable(ctx.Request.Header.ContentType()) {
		return call, fasthttp.StatusUnsupportedMediaType, metivav1.Reason_REASON_UNSUPPORTED_TYPE
	}
	body, status, reason := r.body(ctx)
	switch {
	case reason != metivav1.Reason_REASON_UNSPECIFIED:
		return call, status, reason
	case len(body) > consentBodyBytesMax:
		return call, fasthttp.StatusRequestEntityTooLarge, metivav1.Reason_REASON_TOO_LARGE
	}
	call, err := choice.Parse(body)
	if err != nil || !fits(&call, ctx.IsDelete()) {
		return call, fasthttp.StatusBadRequest, metivav1.Reason_REASON_MALFORMED
	}
	if status, reason = r.findSite([]byte(call.Site)); reason != metivav1.Reason_REASON_UNSPECIFIED {
		return call, status, reason
	}
	if !r.hasOrigin || !r.site.allows(r.origin) {
		return call, fasthttp.StatusForbidden, metivav1.Reason_REASON_ORIGIN_NOT_ALLOWED
	}
	return call, 0, metivav1.Reason_REASON_UNSPECIFIED
}

// fits reports whether the call has what its action needs. A DELETE is a
// withdrawal whether its body says so or not.
func fits(call *choice.Call, isDelete bool) bool {
	if isDelete {
		if call.Action == choice.ReadBack || call.HasClaim || len(call.Others) > 0 {
			return false
		}
		call.Action = choice.Withdraw
	}
	_, idOK := parseID([]byte(call.ID))
	switch call.Action {
	case choice.Choose:
		return idOK && call.HasClaim
	default:
		return call.Token != "" && (idOK || call.ID == "")
	}
}

func (r *request) handleChoice(call *choice.Call) consentAnswer {
	switch call.Action {
	case choice.ReadBack:
		return r.readBack(call)
	case choice.Withdraw:
		held, ok := r.c.deps.Tokens.Read(r.site.siteID, []byte(call.Token))
		if !ok {
			return consentAnswer{status: fasthttp.StatusForbidden, outcome: choiceInvalid, reason: reasonInvalidToken}
		}
		return r.withdraw(call, held, consent.Basis{TextVersion: held.TextVersion, GivenAt: r.received})
	default:
		return r.choose(call)
	}
}

// readBack says what we hold to be true about a token.
func (r *request) readBack(call *choice.Call) consentAnswer {
	a := consentAnswer{status: fasthttp.StatusOK, outcome: choiceRead, state: metivav1.ConsentState_CONSENT_STATE_DENIED}
	held, ok := r.c.deps.Tokens.Read(r.site.siteID, []byte(call.Token))
	if !ok {
		a.reason = reasonInvalidToken
		return a
	}
	r.decide([]byte(call.Token))
	a.state, a.readBack = r.decision.State(), true
	a.sequence, a.textVersion, a.expiresAt = held.Sequence, held.TextVersion, held.ExpiresAt
	return a
}

// choose gives or refuses consent.
func (r *request) choose(call *choice.Call) consentAnswer {
	now, policy := r.received, r.site.policy
	refusal, refused := consent.Refused(policy, call.Claim, now)
	held, holds := r.c.deps.Tokens.Read(r.site.siteID, []byte(call.Token))
	// Whoever refuses after agreeing takes consent back, whatever the browser
	// objects to and whatever the site has become.
	if refused && holds {
		return r.withdraw(call, held, refusal)
	}
	signals := r.signals
	for _, claim := range call.Others {
		signals = signals.With(claim, policy, now)
	}
	basis, err := consent.Grantable(policy, signals, call.Claim, now)
	switch {
	case err == nil:
		return r.grant(call, held, holds, basis)
	case refused && !errors.Is(err, consent.ErrNothingKept) && !errors.Is(err, consent.ErrObjected):
		return r.refuseConsent(call, refusal)
	}
	return declined(err)
}

// declined is the answer to a claim that does not grant. What the visitor's side
// decides is no fault of the call; what the site's set-up lacks is.
func declined(err error) consentAnswer {
	a := consentAnswer{status: fasthttp.StatusOK, outcome: choiceDeclined, reason: reasonNotGranted, state: metivav1.ConsentState_CONSENT_STATE_DENIED}
	switch {
	case errors.Is(err, consent.ErrNothingKept):
		a.reason = reasonNothingKept
	case errors.Is(err, consent.ErrObjected):
		a.reason, a.state = reasonChoiceObjected, metivav1.ConsentState_CONSENT_STATE_OBJECTED
	case errors.Is(err, consent.ErrContradicted):
		a.reason = reasonContradicted
	case errors.Is(err, consent.ErrSourceNotAccepted):
		a.reason, a.status = reasonSourceNotAccepted, fasthttp.StatusUnprocessableEntity
	case errors.Is(err, consent.ErrTextVersion):
		a.reason, a.status = reasonUnknownText, fasthttp.StatusUnprocessableEntity
	}
	return a
}

// grant records a grant and issues its token. A token that still holds keeps its
// visitor id under a later sequence, and its end: renewed on every page, the id
// would have none. After a withdrawal or an expiry the id is a
// new one: the old one's data is being erased, or has lived its 13 months.
func (r *request) grant(call *choice.Call, held consent.Grant, holds bool, basis consent.Basis) consentAnswer {
	own := call.Claim.Source == consent.SourceBanner || call.Claim.Source == consent.SourceAPI
	if _, registered := r.site.text(basis.TextVersion); own && !registered || r.shownVersion(basis) == "" {
		return declined(consent.ErrTextVersion)
	}
	if a, ok := r.admitChoice(); !ok {
		return a
	}
	var visitor [consent.IDBytes]byte
	_, _ = rand.Read(visitor[:]) // crypto/rand never returns an error
	sequence := consent.NextSequence(0, r.received)
	if holds && held.ExpiresAt.After(r.received) && !r.c.withdrawals.Withdrawn(r.site.companyID, held.VisitorID, held.Sequence) {
		visitor, sequence = held.VisitorID, consent.NextSequence(held.Sequence, r.received)
		if held.ExpiresAt.Before(basis.ExpiresAt) {
			basis.ExpiresAt = held.ExpiresAt
		}
	}
	token, err := r.c.deps.Tokens.Issue(r.site.siteID, basis.Grant(visitor, sequence), r.received)
	if err != nil {
		return consentAnswer{status: fasthttp.StatusInternalServerError, outcome: choiceInvalid, refused: metivav1.Reason_REASON_INTERNAL}
	}
	rec := r.consentRecord(call, visitor, sequence, basis)
	rec.State, rec.Kind = metivav1.ConsentState_CONSENT_STATE_ANALYTICS, metivav1.ConsentKind_CONSENT_KIND_GIVEN
	rec.ExpiresAtMs = basis.ExpiresAt.UnixMilli()
	receipt := rec.GetRecordId()
	if a, ok := r.record(rec); !ok {
		return a
	}
	return consentAnswer{
		status: fasthttp.StatusOK, outcome: choiceGranted, state: metivav1.ConsentState_CONSENT_STATE_ANALYTICS,
		token: token, expiresAt: basis.ExpiresAt, receipt: receipt,
	}
}

// refuseConsent records a refusal under a random subject: nothing is kept on the
// device that a later choice could be joined by.
func (r *request) refuseConsent(call *choice.Call, basis consent.Basis) consentAnswer {
	if a, ok := r.admitChoice(); !ok {
		return a
	}
	var subject [consent.IDBytes]byte
	_, _ = rand.Read(subject[:]) // crypto/rand never returns an error
	rec := r.consentRecord(call, subject, consent.NextSequence(0, r.received), basis)
	rec.State, rec.Kind = metivav1.ConsentState_CONSENT_STATE_DENIED, metivav1.ConsentKind_CONSENT_KIND_REFUSED
	receipt := rec.GetRecordId()
	if a, ok := r.record(rec); !ok {
		return a
	}
	return consentAnswer{status: fasthttp.StatusOK, outcome: choiceRefused, state: metivav1.ConsentState_CONSENT_STATE_DENIED, receipt: receipt}
}

// withdraw takes back all consent of a token's subject. It counts here at once and
// everywhere when the withdrawal is on its topic. A repetition does the same again,
// so that none is answered by one whose record may be missing.
func (r *request) withdraw(call *choice.Call, held consent.Grant, basis consent.Basis) consentAnswer {
	// Only the network is limited: a site under attack must not keep its visitors
	// from withdrawing, and nobody can make a token.
	if wait, ok := r.c.limits.admitNetwork(r); !ok {
		return limitedChoice(wait)
	}
	key := consent.WithdrawalRecordKey(r.site.companyID, held.VisitorID)
	value, err := schemas.Encode(nil, &metivav1.Withdrawal{
		CompanyId: r.site.companyID, SiteId: r.site.siteID, SubjectId: held.VisitorID[:],
		Sequence: consent.EverySequence, WithdrawnAtMs: r.received.UnixMilli(),
	})
	if err != nil {
		return consentAnswer{status: fasthttp.StatusInternalServerError, outcome: choiceInvalid, refused: metivav1.Reason_REASON_INTERNAL}
	}
	r.c.applied(schemas.TopicControlWithdrawals, r.c.withdrawals.Apply(key, value))
	ack, err := r.c.deps.Producer.Produce(schemas.TopicControlWithdrawals, 0, key, value)
	if err != nil {
		return r.retryChoice()
	}
	rec := r.consentRecord(call, held.VisitorID, consent.NextSequence(held.Sequence, r.received), basis)
	rec.State, rec.Kind = metivav1.ConsentState_CONSENT_STATE_WITHDRAWN, metivav1.ConsentKind_CONSENT_KIND_WITHDRAWN
	rec.WithdrawalChannel = consent.ChannelPage
	receipt := rec.GetRecordId()
	if a, ok := r.record(rec); !ok {
		return a
	}
	ctx, cancel := context.WithTimeout(context.Background(), r.c.cfg.AckTimeout)
	defer cancel()
	if waitAck(ctx, ack) != nil {
		return r.retryChoice()
	}
	return consentAnswer{status: fasthttp.StatusOK, outcome: choiceWithdrawn, state: metivav1.ConsentState_CONSENT_STATE_WITHDRAWN, receipt: receipt}
}

// consentRecord is the record of a choice, without its state. It holds nothing of
// the request but what package choice lets through.
func (r *request) consentRecord(call *choice.Call, subject [consent.IDBytes]byte, sequence uint64, basis consent.Basis) *metivav1.ConsentRecord {
	rec := &metivav1.ConsentRecord{
		RecordId: make([]byte, schemas.IDBytes), CompanyId: r.site.companyID, SiteId: r.site.siteID, SubjectId: subject[:], Sequence: sequence,
		Purposes: []string{consent.PurposeAnalytics}, Source: basis.Source, RawSignal: rawSignal(basis), GivenAtMs: basis.GivenAt.UnixMilli(),
		Language: basis.Language, UiVariant: unlessPersonal(call.Variant, maskedText), CmpId: basis.CMPID, CmpVersion: basis.CMPVersion, PolicyVersion: r.site.version,
	}
	_, _ = rand.Read(rec.RecordId) // crypto/rand never returns an error
	text, registered := r.site.text(basis.TextVersion)
	if registered {
		rec.TextSha256, rec.Language = text.sha256[:], text.language
	}
	rec.TextVersion = r.shownVersion(basis)
	if rec.Language == "" {
		rec.Language = unlessPersonal(call.Language, "")
	}
	if id, ok := parseID([]byte(call.ID)); ok {
		rec.EvidenceEventId = id[:]
	}
	return rec
}

// admitChoice takes a call within the limits that hold for events.
func (r *request) admitChoice() (consentAnswer, bool) {
	if admitted, wait := r.c.limits.admit(r, 1); admitted == 0 {
		return limitedChoice(wait), false
	}
	return consentAnswer{}, true
}

// admitNetwork takes one call of a request's network.
func (l *limits) admitNetwork(r *request) (wait time.Duration, ok bool) {
	if !r.networkLimited {
		return 0, true
	}
	taken, wait := l.networks.take(l.networkKey(r), r.received, 1)
	l.byNetwork.Add(float64(1 - taken))
	return wait, taken == 1
}

// record makes a consent record durable.
func (r *request) record(rec *metivav1.ConsentRecord) (consentAnswer, bool) {
	r.leaveWork() // the record has memory of its own
	ctx, cancel := context.WithTimeout(context.Background(), r.c.cfg.AckTimeout)
	defer cancel()
	if err := r.c.publishConsent(ctx, rec); err != nil {
		return r.retryChoice(), false
	}
	return consentAnswer{}, true
}

func (r *request) retryChoice() consentAnswer {
	return consentAnswer{status: fasthttp.StatusServiceUnavailable, outcome: choiceRetry, refused: metivav1.Reason_REASON_UNACKNOWLEDGED, retryAfter: r.c.cfg.RetryAfter}
}
