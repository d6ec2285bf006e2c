package collector

import (
	"cmp"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/metiva-io/metiva/collector/spool"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// reasonCase is one way to be refused.
type reasonCase struct {
	name    string
	path    string // PathEvents when empty
	config  func(*Config)
	site    func(*metivav1.SiteRecord)
	setup   func(*edge)
	body    func(*edge) any
	headers []func(map[string]string)
	status  int
	// outcomes of the events, or the reason of the whole answer.
	outcomes string
	reason   string
	ledger   map[string]uint64
	reasons  []metivav1.Reason
}

const testBot = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"

func one(e *edge) any { return e.body(newPage(e)) }

func changed(name string, value any) func(*edge) any {
	return func(e *edge) any { return e.body(newPage(e).with(name, value)) }
}

func reasonCases() []reasonCase {
	text := func(s string) func(*edge) any { return func(*edge) any { return s } }
	company := func(reason string, n uint64) map[string]uint64 {
		return map[string]uint64{testCompany + "/" + reason: n}
	}
	ms := func(e *edge, d time.Duration) int64 { return e.clock.Now().Add(d).UnixMilli() }
	const tooOld, future = metivav1.Reason_REASON_TOO_OLD, metivav1.Reason_REASON_FUTURE
	return []reasonCase{
		{name: "accepted", body: one, status: 200, outcomes: "accepted", ledger: company("none", 1), reasons: []metivav1.Reason{metivav1.Reason_REASON_UNSPECIFIED}},
		{name: "unknown site", body: func(e *edge) any { b := e.body(newPage(e), newPage(e)); b["site"] = "pk_other"; return b }, status: 403, reason: "unknown_site", ledger: map[string]uint64{"/unknown_site": 2}, reasons: []metivav1.Reason{metivav1.Reason_REASON_UNKNOWN_SITE}},
		{name: "inactive site", site: func(s *metivav1.SiteRecord) { s.Active = false }, body: one, status: 403, reason: "unknown_site", ledger: map[string]uint64{"/unknown_site": 1}},
		{name: "foreign origin", body: one, headers: []func(map[string]string){header("Origin", "https://evil.example")}, status: 403, reason: "origin_not_allowed", ledger: company("origin_not_allowed", 1), reasons: []metivav1.Reason{metivav1.Reason_REASON_ORIGIN_NOT_ALLOWED}},
		{name: "origin null", body: one, headers: []func(map[string]string){header("Origin", "null")}, status: 403, reason: "origin_not_allowed", ledger: company("origin_not_allowed", 1)},
		{name: "no origin", body: one, headers: []func(map[string]string){header("Origin", "")}, status: 403, reason: "origin_not_allowed", ledger: company("origin_not_allowed", 1)},
		{name: "referer for origin", body: one, headers: []func(map[string]string){header("Origin", ""), header("Referer", testOrigin+"/x")}, status: 200, outcomes: "accepted", ledger: company("none", 1)},
		{name: "page elsewhere", body: changed("url", "https://evil.example/"), status: 200, outcomes: "dropped:origin_not_allowed", ledger: company("origin_not_allowed", 1)},
		{name: "large body", body: text(`{"site":"` + strings.Repeat("x", 64<<10) + `"}`), status: 413, reason: "too_large", ledger: map[string]uint64{"/too_large": 1}, reasons: []metivav1.Reason{metivav1.Reason_REASON_TOO_LARGE}},
		{name: "long batch", body: func(e *edge) any { b := e.body(); b["events"] = make([]page, 51); return b }, status: 413, reason: "too_large", ledger: company("too_large", 51)},
		{name: "long url", body: changed("url", testOrigin+"/"+strings.Repeat("a", 5000)), status: 200, outcomes: "dropped:too_large", ledger: company("too_large", 1)},
		{name: "no json", body: text(`{"site":`), status: 400, reason: "malformed", ledger: map[string]uint64{"/malformed": 1}, reasons: []metivav1.Reason{metivav1.Reason_REASON_MALFORMED}},
		{name: "empty body", body: text(``), status: 400, reason: "malformed", ledger: map[string]uint64{"/malformed": 1}},
		{name: "no site", body: func(e *edge) any { b := e.body(newPage(e)); delete(b, "site"); return b }, status: 400, reason: "malformed", ledger: map[string]uint64{"/malformed": 1}},
		{name: "engagement without consent", body: func(e *edge) any {
			return e.body(newPage(e), newPage(e).with("type", "engagement").with("visible_ms", 1).with("scroll", 1))
		}, status: 200, outcomes: "accepted dropped:consent_required", ledger: map[string]uint64{testCompany + "/none": 1, testCompany + "/consent_required": 1}, reasons: []metivav1.Reason{metivav1.Reason_REASON_CONSENT_REQUIRED}},
		{name: "other type", body: changed("type", "video"), status: 200, outcomes: "dropped:malformed", ledger: company("malformed", 1)},
		{name: "random uuid", body: changed("id", "9b2f5c1e-7c1e-4b44-9f0a-1d2e3f405162"), status: 200, outcomes: "dropped:malformed", ledger: company("malformed", 1)},
		{name: "no web page", body: changed("url", "file:///etc/passwd"), status: 200, outcomes: "dropped:malformed", ledger: company("malformed", 1)},
		{name: "bad among good", body: func(e *edge) any { return e.body(newPage(e), newPage(e).with("at", "now"), newPage(e)) }, status: 200, outcomes: "accepted dropped:malformed accepted", ledger: map[string]uint64{testCompany + "/none": 2, testCompany + "/malformed": 1}},
		{name: "oldest accepted", body: func(e *edge) any { return e.body(newPage(e).with("at", ms(e, -24*time.Hour))) }, status: 200, outcomes: "accepted", ledger: company("none", 1)},
		{name: "too old", body: func(e *edge) any { return e.body(newPage(e).with("at", ms(e, -24*time.Hour-time.Millisecond))) }, status: 200, outcomes: "dropped:too_old", ledger: company("too_old", 1), reasons: []metivav1.Reason{tooOld}},
		{name: "a little ahead", body: func(e *edge) any { return e.body(newPage(e).with("at", ms(e, 5*time.Minute))) }, status: 200, outcomes: "accepted", ledger: company("none", 1)},
		{name: "future", body: func(e *edge) any { return e.body(newPage(e).with("at", ms(e, 5*time.Minute+time.Millisecond))) }, status: 200, outcomes: "dropped:future", ledger: company("future", 1), reasons: []metivav1.Reason{future}},
		{name: "future without send time", body: func(e *edge) any {
			b := e.body(newPage(e).with("at", ms(e, time.Hour)))
			delete(b, "sent_at")
			return b
		}, status: 200, outcomes: "dropped:future", ledger: company("future", 1)},
		{name: "gpc", body: one, headers: []func(map[string]string){header("Sec-GPC", "1")}, status: 200, outcomes: "dropped:objected", ledger: company("objected", 1), reasons: []metivav1.Reason{metivav1.Reason_REASON_OBJECTED}},
		{name: "gpc off", body: one, headers: []func(map[string]string){header("Sec-GPC", "0")}, status: 200, outcomes: "accepted", ledger: company("none", 1)},
		{name: "dnt", body: one, headers: []func(map[string]string){header("DNT", "1")}, status: 200, outcomes: "dropped:objected", ledger: company("objected", 1)},
		{name: "dnt not honoured", site: func(s *metivav1.SiteRecord) { s.HonourDnt = false }, body: one, headers: []func(map[string]string){header("DNT", "1")}, status: 200, outcomes: "accepted", ledger: company("none", 1)},
		{name: "opt-out", body: func(e *edge) any { b := e.body(newPage(e)); b["opt_out"] = true; return b }, status: 200, outcomes: "dropped:objected", ledger: company("objected", 1)},
		{name: "off", site: func(s *metivav1.SiteRecord) { s.Mode = metivav1.SiteMode_SITE_MODE_OFF }, body: one, status: 200, outcomes: "dropped:off", ledger: company("off", 1), reasons: []metivav1.Reason{metivav1.Reason_REASON_OFF}},
		{name: "mode unset", site: func(s *metivav1.SiteRecord) { s.Mode = 0 }, body: one, status: 200, outcomes: "dropped:off", ledger: company("off", 1)},
		{name: "count only", site: func(s *metivav1.SiteRecord) { s.Mode = metivav1.SiteMode_SITE_MODE_COUNT }, body: one, status: 200, outcomes: "dropped:count_only", ledger: company("count_only", 1), reasons: []metivav1.Reason{metivav1.Reason_REASON_COUNT_ONLY}},
		{name: "prefetch", body: one, headers: []func(map[string]string){header("Sec-Purpose", "Prefetch;prerender")}, status: 200, outcomes: "dropped:prefetch", ledger: company("prefetch", 1), reasons: []metivav1.Reason{metivav1.Reason_REASON_PREFETCH}},
		{name: "old prefetch", body: one, headers: []func(map[string]string){header("Purpose", "prefetch")}, status: 200, outcomes: "dropped:prefetch", ledger: company("prefetch", 1)},
		{name: "bot", body: func(e *edge) any { return e.body(newPage(e), newPage(e)) }, headers: []func(map[string]string){header("User-Agent", testBot)}, status: 200, outcomes: "dropped:bot dropped:bot", ledger: company("bot", 2), reasons: []metivav1.Reason{metivav1.Reason_REASON_BOT}},
		{name: "bots pass", config: func(c *Config) { c.Bots = BotsPass }, body: one, headers: []func(map[string]string){header("User-Agent", testBot)}, status: 200, outcomes: "accepted", ledger: company("none", 1)},
		{name: "headless", body: one, headers: []func(map[string]string){header("User-Agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/156.0.0.0 Safari/537.36")}, status: 200, outcomes: "accepted", ledger: company("none", 1)},
		{name: "bot elsewhere", body: one, headers: []func(map[string]string){header("User-Agent", testBot), header("Origin", "https://evil.example")}, status: 403, reason: "origin_not_allowed", ledger: company("origin_not_allowed", 1)},
		{name: "bot that objects", body: one, headers: []func(map[string]string){header("User-Agent", testBot), header("Sec-GPC", "1")}, status: 200, outcomes: "dropped:objected", ledger: company("objected", 1)},
		{name: "bot at a site that is off", site: func(s *metivav1.SiteRecord) { s.Mode = metivav1.SiteMode_SITE_MODE_OFF }, body: one, headers: []func(map[string]string){header("User-Agent", testBot)}, status: 200, outcomes: "dropped:off", ledger: company("off", 1)},
		{name: "bot at a site that counts", site: func(s *metivav1.SiteRecord) { s.Mode = metivav1.SiteMode_SITE_MODE_COUNT }, body: one, headers: []func(map[string]string){header("User-Agent", testBot)}, status: 200, outcomes: "dropped:bot", ledger: company("bot", 1)},
		{name: "bot ahead of a visit", body: one, headers: []func(map[string]string){header("User-Agent", testBot), header("Sec-Purpose", "prefetch")}, status: 200, outcomes: "dropped:bot", ledger: company("bot", 1)},
		{name: "form post", body: one, headers: []func(map[string]string){header("Content-Type", "application/x-www-form-urlencoded")}, status: 415, reason: "unsupported_type", ledger: map[string]uint64{"/unsupported_type": 1}, reasons: []metivav1.Reason{metivav1.Reason_REASON_UNSUPPORTED_TYPE}},
		{name: "compressed by name only", body: one, headers: []func(map[string]string){header("Content-Encoding", "gzip")}, status: 400, reason: "malformed", ledger: map[string]uint64{"/malformed": 1}},
		{name: "compressed otherwise", body: one, headers: []func(map[string]string){header("Content-Encoding", "compress")}, status: 415, reason: "unsupported_type", ledger: map[string]uint64{"/unsupported_type": 1}},
		{name: "json", body: one, headers: []func(map[string]string){header("Content-Type", "Application/JSON; charset=utf-8")}, status: 200, outcomes: "accepted", ledger: company("none", 1)},
		{name: "no acknowledgement", config: func(c *Config) { c.AckTimeout = 30 * time.Millisecond }, setup: func(e *edge) { e.log.hold = make(chan struct{}) }, body: func(e *edge) any { return e.body(newPage(e), newPage(e)) }, status: 503, outcomes: "retry:unacknowledged retry:unacknowledged", ledger: company("unacknowledged", 2), reasons: []metivav1.Reason{metivav1.Reason_REASON_UNACKNOWLEDGED}},
		{name: "refused by kafka", setup: func(e *edge) { e.log.ackErr = errTest }, body: one, status: 503, outcomes: "retry:unacknowledged", ledger: company("unacknowledged", 1)},
		{name: "buffer full", setup: func(e *edge) {
			e.log.refuse = func(topic string) error {
				if topic == schemas.TopicEventsCollected {
					return errTest
				}
				return nil
			}
		}, body: one, status: 503, outcomes: "retry:unacknowledged", ledger: company("unacknowledged", 1)},
		{name: "no data key", setup: func(e *edge) {
			e.log.refuse = func(topic string) error {
				if topic == schemas.TopicControlKeys {
					return errTest
				}
				return nil
			}
		}, body: one, status: 503, outcomes: "retry:unacknowledged", ledger: company("unacknowledged", 1)},
		{name: "too many in flight", config: func(c *Config) { c.InFlightEventsMax = 1 }, body: func(e *edge) any { return e.body(newPage(e), newPage(e)) }, status: 503, outcomes: "retry:overloaded retry:overloaded", ledger: company("overloaded", 2), reasons: []metivav1.Reason{metivav1.Reason_REASON_OVERLOADED}},
		{name: "spool full", setup: func(e *edge) { e.log.refuse = refusing(schemas.TopicEventsCollected, spool.ErrFull) }, body: one, status: 503, outcomes: "retry:overloaded", ledger: company("overloaded", 1)},
		{name: "no room for the data key", setup: func(e *edge) { e.log.refuse = refusing(schemas.TopicControlKeys, spool.ErrFull) }, body: one, status: 503, outcomes: "retry:overloaded", ledger: company("overloaded", 1)},
		{name: "over the quota", config: func(c *Config) { c.TenantEventsPerMinute = 2 }, body: func(e *edge) any { return e.body(newPage(e), newPage(e), newPage(e)) }, status: 200, outcomes: "accepted accepted retry:rate_limited", ledger: map[string]uint64{testCompany + "/none": 2, testCompany + "/rate_limited": 1}, reasons: []metivav1.Reason{metivav1.Reason_REASON_RATE_LIMITED}},
		{name: "starting", setup: func(e *edge) { e.caughtUp.Store(false) }, body: one, status: 503, reason: "not_ready", ledger: map[string]uint64{"/not_ready": 1}, reasons: []metivav1.Reason{metivav1.Reason_REASON_NOT_READY}},
		{name: "panic in one event", setup: func(e *edge) {
			n := 0
			e.log.onEvent = func(*metivav1.CollectedEvent) {
				if n++; n == 2 {
					panic("jan@example.nl")
				}
			}
		}, body: func(e *edge) any { return e.body(newPage(e), newPage(e), newPage(e)) }, status: 200, outcomes: "accepted dropped:internal accepted", ledger: map[string]uint64{testCompany + "/none": 2, testCompany + "/internal": 1}, reasons: []metivav1.Reason{metivav1.Reason_REASON_INTERNAL}},
	}
}

// refusing fails what is produced to one topic.
func refusing(topic string, err error) func(string) error {
	return func(t string) error {
		if t == topic {
			return err
		}
		return nil
	}
}

func TestEveryReason(t *testing.T) {
	t.Parallel()
	covered := map[metivav1.Reason]bool{
		metivav1.Reason_REASON_NO_ADDRESS: true, // TestNoAddress: a TCP peer always has one
	}
	for _, tc := range append(reasonCases(), captureReasonCases()...) {
		for _, r := range tc.reasons {
			covered[r] = true
		}
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			e := newEdge(t, nil, tc.config)
			rec := siteRecord()
			if tc.site != nil {
				tc.site(rec)
			}
			e.applySite(rec)
			e.applySalt(testCompany, "2026-11-22")
			e.CaughtUp()
			if tc.setup != nil {
				tc.setup(e)
			}
			e.start()
			h := browserHeaders()
			for _, change := range tc.headers {
				change(h)
			}
			a := e.do(http.MethodPost, cmp.Or(tc.path, PathEvents), tc.body(e), h)
			if a.status != tc.status || a.outcomes() != tc.outcomes || a.Reason != tc.reason {
				t.Errorf("answered %d %q %q, want %d %q %q", a.status, a.outcomes(), a.Reason, tc.status, tc.outcomes, tc.reason)
			}
			if retry := a.header.Get("Retry-After"); (retry != "") != (tc.status == http.StatusServiceUnavailable || tc.status == http.StatusTooManyRequests) {
				t.Errorf("Retry-After is %q", retry)
			}
			wantLedger(t, e.stoppedLedger(), tc.ledger)
			if accepted := int(tc.ledger[testCompany+"/none"]); tc.setup == nil && len(e.log.events(t)) != accepted {
				t.Errorf("%d events were produced, %d accepted", len(e.log.events(t)), accepted)
			}
			if strings.Contains(e.logged.String(), "jan@example.nl") {
				t.Error("the log quotes a panic")
			}
		})
	}
	for number := range metivav1.Reason_name {
		if r := metivav1.Reason(number); r < metivav1.Reason_REASON_DUPLICATE && !covered[r] {
			t.Errorf("no case for %v", r)
		}
	}
}
