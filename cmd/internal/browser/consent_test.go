package browser

import (
	"testing"
	"time"

	"github.com/metiva-io/metiva/consent"
)

// text is the version the test pages ask consent with.
const text = "demo-banner-1-nl"

// agree presses the page's own button and waits until the collector has answered.
func (b *tab) agree() {
	b.t.Helper()
	n := len(b.site.edge.list("/v1/consent"))
	b.click(`[data-visitor*='"grant"']`)
	got := b.site.edge.until(b.t, "/v1/consent", n+1)
	if p := got[n]; p.Status != 200 {
		b.t.Fatalf("the grant was answered %d: %s", p.Status, p.Answer)
	}
	b.until(`Object.keys(localStorage).length > 0`)
}

func TestWithoutConsent(t *testing.T) {
	s, b := visit(t)
	b.open("/test/consent")
	b.sent(1)
	b.click(`[data-visitor*='"event"']`)
	b.click(`[data-visitor*='"withdraw"']`)
	b.js(`scrollTo(0, 1e6)`)
	b.open("/test/links")
	b.sent(2)
	b.js(`document.addEventListener('click', (e) => e.preventDefault())`)
	b.click(`#download`)
	b.open("/test/form")
	b.sent(3)
	b.fill(`input[name="email"]`, "jan@example.nl")
	b.leave()
	s.holds(t, "page_view /test/consent denied", "page_view /test/links denied", "page_view /test/form denied")
	s.edge.sentNothingBut(t, "/v1/events")
	for _, p := range s.edge.list("/v1/events") {
		for _, e := range p.batch().Events {
			if e["type"] != "page_view" {
				t.Errorf("sent without consent: %v", e)
			}
		}
	}
	s.consentsHold(t)
}

func TestGrantByThePage(t *testing.T) {
	s, b := visit(t)
	b.open("/test/consent")
	b.sent(1)
	b.agree()
	b.click(`[data-visitor*='"event"']`)
	b.open("/test/plain")
	b.open("/test/consent")
	b.leave()
	rows := s.holds(t, "page_view /test/consent denied", "custom /test/consent analytics calculated {'plan':'pro'}",
		"engagement /test/consent analytics", "page_view /test/plain denied", "page_view /test/consent analytics", "engagement /test/consent analytics")
	visitor := ""
	for _, r := range rows {
		switch {
		case r.Consent == "denied" && r.Visitor != "":
			t.Errorf("a visitor id without consent: %+v", r)
		case r.Consent == "analytics" && (r.Visitor == "" || visitor != "" && r.Visitor != visitor):
			t.Errorf("not the same visitor: %+v", r)
		case r.Consent == "analytics":
			visitor = r.Visitor
		}
	}
	recs := s.consentsHold(t, "given analytics api "+text)
	if got := hexID(recs[0].GetSubjectId()); got != visitor {
		t.Errorf("the record is of %s, the events of %s", got, visitor)
	}
	if len(recs[0].GetTextSha256()) == 0 || recs[0].GetLanguage() != "nl" {
		t.Errorf("the record does not say what was agreed to: %v", recs[0])
	}
}

func TestDeny(t *testing.T) {
	s, b := visit(t)
	b.open("/test/consent")
	b.sent(1)
	b.click(`[data-visitor*='"deny"']`)
	s.edge.until(t, "/v1/consent", 1)
	b.open("/test/spa")
	b.sent(2)
	b.nothingStored()
	b.leave()
	s.holds(t, "page_view /test/consent denied", "page_view /test/spa denied")
	s.consentsHold(t, "refused denied api "+text)
}

func TestWithdraw(t *testing.T) {
	s, b := visit(t)
	b.open("/test/consent")
	b.sent(1)
	b.agree()
	b.click(`[data-visitor*='"withdraw"']`)
	s.edge.until(t, "/v1/consent", 2)
	b.until(`Object.keys(localStorage).length === 0`)
	b.click(`[data-visitor*='"event"']`)
	b.open("/test/spa")
	b.sent(2)
	b.nothingStored()
	b.leave()
	s.holds(t, "page_view /test/consent denied", "page_view /test/spa denied")
	s.consentsHold(t, "given analytics api "+text, "withdrawn withdrawn "+text)
}

func TestAgreeAgainAfterWithdrawing(t *testing.T) {
	s, b := visit(t)
	b.open("/test/consent")
	b.sent(1)
	b.agree()
	b.click(`[data-visitor*='"withdraw"']`)
	s.edge.until(t, "/v1/consent", 2)
	b.until(`Object.keys(localStorage).length === 0`)
	b.agree()
	b.open("/test/long")
	b.leave()
	s.holds(t, "page_view /test/consent denied", "engagement /test/consent analytics", "page_view /test/long analytics", "engagement /test/long analytics")
	recs := s.consentsHold(t, "given analytics api "+text, "withdrawn withdrawn "+text, "given analytics api "+text)
	if string(recs[0].GetSubjectId()) == string(recs[2].GetSubjectId()) {
		t.Error("whoever agrees again is the visitor from before")
	}
}

// TestTokens: only a token the collector signed for this site, and has not seen
// withdrawn or expired, is consent.
func TestTokens(t *testing.T) {
	t.Parallel()
	issue := func(t *testing.T, siteID string, expires time.Duration) string {
		t.Helper()
		token, err := shared.tokens.Issue(siteID, consent.Grant{
			VisitorID: [16]byte{7}, Sequence: 1, TextVersion: text, ExpiresAt: time.Now().Add(expires),
		}, time.Now().Add(-48*time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	for name, c := range map[string]struct {
		token func(t *testing.T, s *site) string
		want  string
	}{
		"good":         {func(t *testing.T, s *site) string { return issue(t, s.ID, time.Hour) }, "analytics"},
		"expired":      {func(t *testing.T, s *site) string { return issue(t, s.ID, -time.Hour) }, "denied"},
		"another site": {func(t *testing.T, _ *site) string { return issue(t, "sit_aaaaaaaaaaaaaaaaaaaaaaaa", time.Hour) }, "denied"},
		"forged": {func(t *testing.T, s *site) string {
			token := []byte(issue(t, s.ID, time.Hour))
			token[len(token)/2] ^= 1
			return string(token)
		}, "denied"},
		"nonsense": {func(*testing.T, *site) string { return "grant-me" }, "denied"},
	} {
		t.Run(name, func(t *testing.T) {
			s, b := visit(t)
			b.open("/test/plain")
			b.sent(1)
			b.js(`visitor('consent', 'token', ` + quoted(c.token(t, s)) + `); history.pushState(null, '', '/test/with-token')`)
			b.sent(3)
			// The token ends before the page does, so that no second engagement follows.
			b.js(`visitor('consent', 'token')`)
			b.leave()
			want := []string{"page_view /test/plain denied", "page_view /test/with-token " + c.want}
			if c.want == "analytics" {
				want = append(want, "engagement /test/plain analytics")
			} else {
				s.edgeHolds(t, "consent_required", 1)
			}
			for _, r := range s.holds(t, want...) {
				if known := r.Visitor != ""; known != (r.Consent == "analytics") {
					t.Errorf("visitor %q under %s", r.Visitor, r.Consent)
				}
			}
		})
	}
}

// doubles of what Chromium does not let a visitor say, or only in its settings.
const (
	privacyControl = `Object.defineProperty(Navigator.prototype, 'globalPrivacyControl', {get: () => true})`
	doNotTrack     = `Object.defineProperty(Navigator.prototype, 'doNotTrack', {get: () => '1'})`
)

func TestObjections(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]string{"gpc": privacyControl, "dnt": doNotTrack} {
		t.Run(name, func(t *testing.T) {
			s, b := visit(t)
			b.beforeLoad(script)
			b.open("/test/banner")
			b.started()
			b.open("/test/consent")
			b.started()
			b.click(`[data-visitor*='"grant"']`)
			b.click(`[data-visitor*='"event"']`)
			b.js(`history.pushState(null, '', '/test/more')`)
			b.nothingStored()
			b.leave()
			s.holds(t)
			s.edge.sentNothingBut(t)
			s.consentsHold(t)
		})
	}
}

func TestOptOut(t *testing.T) {
	s, b := visit(t)
	b.open("/test/consent")
	b.sent(1)
	b.agree()
	b.click(`[data-visitor*='"optout"']`)
	s.edge.until(t, "/v1/consent", 2)
	b.click(`[data-visitor*='"event"']`)
	b.js(`history.pushState(null, '', '/test/more')`)
	b.open("/test/long")
	b.started()
	b.click(`[data-visitor*='"grant"']`)
	b.open("/test/consent")
	b.started()
	b.click(`[data-visitor*='"optin"']`)
	b.open("/test/plain")
	b.sent(2)
	b.leave()
	s.holds(t, "page_view /test/consent denied", "page_view /test/plain denied")
	s.consentsHold(t, "given analytics api "+text, "withdrawn withdrawn "+text)
}
