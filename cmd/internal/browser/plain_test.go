package browser

import (
	"strings"
	"testing"

	"github.com/metiva-io/metiva/collector/snippet/chromium"
)

func TestPlainPage(t *testing.T) {
	s, b := visit(t)
	b.open("/test/plain?utm_source=nieuwsbrief&utm_medium=mail&utm_campaign=mei&email=jan@example.nl#token=geheim")
	b.sent(1)
	b.leave()
	rows := s.holds(t, "page_view /test/plain denied")
	r := rows[0]
	if r.Campaign != "nieuwsbrief/mail/mei" || r.Visitor != "" || r.Browser != "" || r.Device != "desktop" || r.Bot != "none" || r.Company != company {
		t.Errorf("%+v", r)
	}
	s.edge.sentNothingBut(t, "/v1/events")
	for _, p := range s.edge.list("/v1/") {
		for _, private := range []string{"jan@example", "geheim", "token"} {
			if strings.Contains(p.Body, private) || strings.Contains(p.Header.Get("Referer"), private) || p.Header.Get("Cookie") != "" {
				t.Errorf("%s carries %q, a cookie, or both", p.Path, private)
			}
		}
	}
	s.consentsHold(t)
}

// TestDrivenBrowser: whoever says by navigator.webdriver that a program drives the
// browser is counted, and is no visit of a company.
func TestDrivenBrowser(t *testing.T) {
	s, b := visit(t)
	b.beforeLoad(`Object.defineProperty(Navigator.prototype, 'webdriver', {get: () => true})`)
	b.open("/test/plain")
	b.sent(1)
	b.leave()
	rows := s.holds(t, "page_view /test/plain denied")
	if r := rows[0]; r.Bot != "headless" || r.Company != "" {
		t.Errorf("%+v", r)
	}
}

// TestDemoWebsite walks through the pages people see.
func TestDemoWebsite(t *testing.T) {
	s, b := visit(t)
	b.open("/")
	b.sent(1)
	b.click(`a[href="/planten"]`)
	b.sent(2)
	b.click(`a[data-plant="ficus"]`)
	b.sent(3)
	b.js(`history.back()`)
	b.sent(4)
	b.click(`nav a[href="/over-ons"]`)
	b.sent(5)
	b.leave()
	rows := s.holds(t, "page_view / denied", "page_view /planten denied", "page_view /planten/ficus denied", "page_view /planten denied", "page_view /over-ons denied")
	for _, r := range rows {
		if r.Visit != rows[0].Visit {
			t.Errorf("one visit has the keys %s and %s", rows[0].Visit, r.Visit)
		}
	}
}

func TestSinglePageApplication(t *testing.T) {
	s, b := visit(t)
	b.open("/test/spa")
	b.sent(1)
	b.click(`[data-push="/test/spa/one"]`)
	b.sent(2)
	b.click(`[data-push="?tab=2"]`)
	b.click(`[data-push="/test/spa/two"]`)
	b.sent(3)
	b.click(`[data-replace="/test/spa/three"]`)
	b.sent(4)
	b.js(`history.go(-2)`) // over the query, to where the query was pushed upon
	b.sent(5)
	b.open("/test/spa/direct")
	b.sent(6)
	b.leave()
	s.holds(t, "page_view /test/spa denied", "page_view /test/spa/one denied", "page_view /test/spa/two denied",
		"page_view /test/spa/three denied", "page_view /test/spa/one denied", "page_view /test/spa/direct denied")
}

func TestRoutesInTheFragment(t *testing.T) {
	s, b := visit(t)
	b.open("/test/hash#/one")
	b.sent(1)
	b.click(`a[href="#/two"]`)
	b.sent(2)
	b.js(`history.back()`)
	b.sent(3)
	b.leave()
	s.holds(t, "page_view /test/hash/one denied", "page_view /test/hash/two denied", "page_view /test/hash/one denied")
}

func TestFragmentsWithoutRoutes(t *testing.T) {
	s, b := visit(t)
	b.open("/test/plain#/one")
	b.sent(1)
	b.js(`location.hash = '#/two'; history.pushState(null, '', '/test/spa')`)
	b.sent(2)
	b.leave()
	s.holds(t, "page_view /test/plain denied", "page_view /test/spa denied")
}

func TestBackForwardCache(t *testing.T) {
	s, b := visit(t)
	b.open("/test/back")
	b.sent(1)
	b.js(`window.kept = true`)
	b.click(`a[href="/test/plain"]`)
	b.sent(2)
	b.js(`history.back()`)
	b.sent(3)
	if !ask[bool](b, `window.kept === true`) {
		if !chromium.Packaged(shared.chromium) {
			t.Error("the page was loaded anew, so this test says nothing about the back/forward cache")
		}
		t.Log("this build of Chromium has no back/forward cache")
	}
	b.leave()
	rows := s.holds(t, "page_view /test/back denied", "page_view /test/plain denied", "page_view /test/back denied")
	if rows[2].Referrer != "" {
		t.Errorf("the page shown again names the referrer %q: where the visitor came from is not known", rows[2].Referrer)
	}
}

func TestStrictPolicy(t *testing.T) {
	for name, path := range map[string]string{"policy": "/test/csp", "integrity": "/test/integrity"} {
		t.Run(name, func(t *testing.T) {
			s, b := visit(t)
			b.beforeLoad(`window.violations = []; document.addEventListener('securitypolicyviolation', (e) => violations.push(e.violatedDirective + ' ' + e.blockedURI))`)
			b.open(path)
			b.sent(1)
			if got := ask[[]string](b, `violations`); len(got) != 0 {
				t.Errorf("the page's policy was violated: %q", got)
			}
			b.leave()
			s.holds(t, "page_view "+path+" denied")
		})
	}
}
