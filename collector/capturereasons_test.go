package collector

import (
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// captureReasonCases are the ways a capture is refused, for TestEveryReason.
func captureReasonCases() []reasonCase {
	tenant := func(reason string) map[string]uint64 { return map[string]uint64{testCompany + "/" + reason: 1} }
	nobody := func(reason string) map[string]uint64 { return map[string]uint64{"/" + reason: 1} }
	good := func(e *edge) any { return e.captureBody() }
	changed := func(name string, value any) func(*edge) any {
		return func(e *edge) any { return with(e.captureBody(), name, value) }
	}
	box := func(name string, value any) func(*edge) any {
		return func(e *edge) any {
			body := e.captureBody()
			body["consent"] = with(body["consent"].(object), name, value)
			return body
		}
	}
	field := func(name string, value any) func(*edge) any {
		return func(e *edge) any {
			body := e.captureBody()
			body["fields"] = with(body["fields"].(object), name, value)
			return body
		}
	}
	form := func(name, value string) func(*edge) any {
		return func(*edge) any {
			values := maps.Clone(formBody())
			values.Set(name, value)
			return values.Encode()
		}
	}
	headers := func(pairs ...string) (out []func(map[string]string)) {
		for i := 0; i < len(pairs); i += 2 {
			out = append(out, header(pairs[i], pairs[i+1]))
		}
		return out
	}
	mode := func(m metivav1.SiteMode) func(*metivav1.SiteRecord) {
		return func(rec *metivav1.SiteRecord) { rec.Mode = m }
	}
	const encoded = "application/x-www-form-urlencoded"
	cases := []reasonCase{
		{name: "accepted", body: good, ledger: tenant("none")},
		{name: "language is the text's own", body: box("language", nil), ledger: tenant("none")},
		{name: "not given", body: box("given", false), reason: "consent_required", reasons: []metivav1.Reason{metivav1.Reason_REASON_CONSENT_REQUIRED}},
		{name: "given not said", body: changed("consent", object{"text_version": testFormText}), reason: "consent_required"},
		{name: "no consent", body: changed("consent", nil), reason: "consent_required"},
		{name: "a token is no box", body: func(e *edge) any { return with(with(e.captureBody(), "token", e.token(5)), "consent", nil) }, reason: "consent_required"},
		{name: "given is a word", body: box("given", "true"), status: 400, reason: "malformed", ledger: nobody("malformed")},
		{name: "no text", body: box("text_version", nil), reason: "unknown_text", reasons: []metivav1.Reason{metivav1.Reason_REASON_UNKNOWN_TEXT}},
		{name: "another text", body: box("text_version", "form-nl-2"), reason: "unknown_text"},
		{name: "a text of the site only", body: box("text_version", "banner-1"), reason: "unknown_text"},
		{name: "another language", body: box("language", "en"), reason: "unknown_text"},
		{name: "a text that is gone", site: func(rec *metivav1.SiteRecord) { rec.Texts = rec.GetTexts()[1:] }, body: good, reason: "unknown_text"},
		{name: "no form", body: changed("form", nil), reason: "unknown_form", reasons: []metivav1.Reason{metivav1.Reason_REASON_UNKNOWN_FORM}},
		{name: "another form", body: changed("form", "newsletter"), reason: "unknown_form"},
		{name: "faulty policy", site: func(rec *metivav1.SiteRecord) { rec.Forms[0].Fields[1].Name = "password" }, body: good, reason: "unknown_form"},
		{name: "policy twice", site: func(rec *metivav1.SiteRecord) { rec.Forms = append(rec.Forms, rec.GetForms()[0]) }, body: good, reason: "unknown_form"},
		{name: "too many policies", site: func(rec *metivav1.SiteRecord) {
			for range schemas.FormsMax {
				rec.Forms = append(rec.Forms, &metivav1.FormPolicy{})
			}
		}, body: good, reason: "unknown_form"},
		{name: "redirect elsewhere", body: form("metiva_redirect", "https://evil.example/"), headers: headers("Content-Type", encoded), status: 200, ledger: tenant("redirect_not_allowed"), reasons: []metivav1.Reason{metivav1.Reason_REASON_REDIRECT_NOT_ALLOWED}},
		{name: "gpc", body: good, headers: headers("Sec-GPC", "1"), reason: "objected"},
		{name: "dnt", body: good, headers: headers("DNT", "1"), reason: "objected"},
		{name: "dnt not honoured", site: func(rec *metivav1.SiteRecord) { rec.HonourDnt = false }, body: good, headers: headers("DNT", "1"), ledger: tenant("none")},
		{name: "opt-out", body: changed("opt_out", true), reason: "objected"},
		{name: "objected before unknown form", body: changed("form", "x"), headers: headers("Sec-GPC", "1"), reason: "objected"},
		{name: "off", site: mode(metivav1.SiteMode_SITE_MODE_OFF), body: good, reason: "off"},
		{name: "count", site: mode(metivav1.SiteMode_SITE_MODE_COUNT), body: good, reason: "count_only"},
		{name: "prefetch", body: good, headers: headers("Sec-Purpose", "prefetch"), reason: "prefetch"},
		{name: "bot", body: good, headers: headers("User-Agent", testBot), reason: "bot"},
		{name: "bot that posts to another form", body: changed("form", "x"), headers: headers("User-Agent", testBot), reason: "bot"},
		{name: "bot that objects", body: good, headers: headers("User-Agent", testBot, "Sec-GPC", "1"), reason: "objected"},
		{name: "bots pass", config: func(c *Config) { c.Bots = BotsPass }, body: good, headers: headers("User-Agent", testBot), ledger: tenant("none")},
		{name: "no id", body: changed("id", nil), reason: "malformed"},
		{name: "random id", body: changed("id", "9b2f5c1e-7c1e-4b44-9f0a-1d2e3f405162"), reason: "malformed"},
		{name: "no time", body: changed("at", nil), reason: "malformed"},
		{name: "no url", body: changed("url", nil), reason: "malformed"},
		{name: "page elsewhere", body: changed("url", "https://evil.example/"), reason: "origin_not_allowed"},
		{name: "long url", body: changed("url", testOrigin+"/"+strings.Repeat("a", 5000)), reason: "too_large"},
		{name: "too old", body: func(e *edge) any {
			return with(e.captureBody(), "at", e.clock.Now().Add(-25*time.Hour).UnixMilli())
		}, reason: "too_old"},
		{name: "future", body: func(e *edge) any { return with(e.captureBody(), "at", e.clock.Now().Add(time.Hour).UnixMilli()) }, reason: "future"},
		{name: "required is missing", body: field("email", ""), reason: "malformed"},
		{name: "no mail address", body: field("email", "jan"), reason: "malformed"},
		{name: "a field is a number", body: field("name", 1), reason: "malformed"},
		{name: "long field", body: field("message", strings.Repeat("a", schemas.FormFieldBytesMax+1)), reason: "too_large"},
		{name: "unread field of any kind", body: field("other", []any{object{"a": nil}}), ledger: tenant("none")},
		{name: "withheld field", body: field("message", "bsn 123456782"), ledger: tenant("none")},
		{name: "unknown site", body: changed("site", "pk_other"), status: 403, reason: "unknown_site", ledger: nobody("unknown_site")},
		{name: "origin null", body: good, headers: headers("Origin", "null"), status: 403, reason: "origin_not_allowed"},
		{name: "no origin", body: good, headers: headers("Origin", ""), status: 403, reason: "origin_not_allowed"},
		{name: "multipart", body: good, headers: headers("Content-Type", "multipart/form-data; boundary=x"), status: 415, reason: "unsupported_type", ledger: nobody("unsupported_type")},
		{name: "latin-1", body: good, headers: headers("Content-Type", "application/json; charset=iso-8859-1"), status: 415, reason: "unsupported_type", ledger: nobody("unsupported_type")},
		{name: "starting", setup: func(e *edge) { e.caughtUp.Store(false) }, body: good, status: 503, reason: "not_ready", ledger: nobody("not_ready")},
		{name: "too many in flight", setup: func(e *edge) { e.inFlight.Add(int64(e.cfg.InFlightEventsMax)) }, body: good, status: 503, reason: "overloaded"},
		{name: "over the quota", config: func(c *Config) { c.TenantEventsPerMinute = 1 }, setup: func(e *edge) { e.limits.tenants.take(testCompany, e.clock.Now(), 1) }, body: good, status: 429, reason: "rate_limited"},
	}
	for i := range cases {
		tc := &cases[i]
		tc.name, tc.path = "capture: "+tc.name, PathCaptures
		if tc.status == 0 {
			tc.status = http.StatusOK
		}
		if tc.ledger == nil {
			tc.ledger = tenant(tc.reason)
		}
		site := tc.site
		tc.site = func(rec *metivav1.SiteRecord) {
			withForm(rec)
			if site != nil {
				site(rec)
			}
		}
	}
	return cases
}

// TestRefusedCapturesLeaveNothing: a capture that is not taken leaves no key, no
// consent record and no event, and the site's own form goes on.
func TestRefusedCapturesLeaveNothing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		set     [2]string
		headers map[string]string
		reason  string
	}{
		"objected":     {[2]string{}, map[string]string{"Sec-GPC": "1"}, "objected"},
		"no box":       {[2]string{"metiva_consent", "0"}, nil, "consent_required"},
		"unknown text": {[2]string{"metiva_text_version", "x"}, nil, "unknown_text"},
		"no mail":      {[2]string{"email", "x"}, nil, "malformed"},
		"large":        {[2]string{"message", strings.Repeat("a", schemas.FormFieldBytesMax+1)}, nil, "too_large"},
		"id":           {[2]string{"metiva_id", "x"}, nil, "malformed"},
		"page":         {[2]string{"metiva_url", "https://evil.example/"}, nil, "origin_not_allowed"},
		"prefetch":     {[2]string{}, map[string]string{"Sec-Purpose": "prefetch"}, "prefetch"},
		"bot":          {[2]string{}, map[string]string{"User-Agent": testBot}, "bot"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := startFormEdge(t, nil)
			body := formBody()
			if c.set[0] != "" {
				body.Set(c.set[0], c.set[1])
			}
			change := func(h map[string]string) { maps.Copy(h, c.headers) }
			a := e.submit(body, change)
			if a.status != http.StatusSeeOther || a.header.Get("Location") != testRedirect || len(a.body) != 0 {
				t.Errorf("answered %d to %q: %s", a.status, a.header.Get("Location"), a.body)
			}
			body.Del("metiva_redirect")
			if a = e.submit(body, change); a.status != http.StatusOK || a.header.Get("Location") != "" || !strings.Contains(string(a.body), "Niet bewaard") {
				t.Errorf("answered %d: %s", a.status, a.body)
			}
			wantLedger(t, e.stoppedLedger(), map[string]uint64{testCompany + "/" + c.reason: 2})
			for _, r := range e.log.records {
				if r.topic != schemas.TopicLedgerEdge {
					t.Errorf("a record on %s", r.topic)
				}
			}
		})
	}
}
