package browser

import (
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

func TestLinksAndOwnEvents(t *testing.T) {
	s, b := visit(t)
	b.open("/test/links")
	b.sent(1)
	b.agree()
	b.js(`document.addEventListener('click', (e) => e.target.closest('a') && e.preventDefault())`)
	b.click(`#outbound`)
	b.click(`#nested i`)
	b.click(`#download`)
	b.click(`#inside`)
	b.click(`#mail`)
	b.click(`[data-visitor*='"calculated"']`)
	b.click(`[data-visitor*='"opened"']`)
	b.leave()
	s.holds(t, "page_view /test/links denied",
		"click /test/links analytics outbound example.org", "click /test/links analytics outbound example.net",
		"click /test/links analytics download masked/test/files/brochure.pdf",
		"custom /test/links analytics calculated {'plan':'pro','seats':'12'}", "custom /test/links analytics opened",
		"engagement /test/links analytics")
	for _, p := range s.edge.list("/v1/events") {
		for _, e := range p.batch().Events {
			if props, ok := e["props"].(map[string]any); ok && props["email"] != nil {
				t.Errorf("a property the tag does not name was sent: %v", e)
			}
		}
	}
}

// TestFollowedLinks: a link that is followed leaves the page at once, and its event
// arrives all the same.
func TestFollowedLinks(t *testing.T) {
	s, b := visit(t)
	elsewhere := newSite(t) // another port of this machine, whose address is masked
	b.open("/test/links")
	b.sent(1)
	b.agree()
	b.js(`document.getElementById('outbound').href = ` + quoted(elsewhere.Origin+"/test/plain") + `; document.getElementById('outbound').target = ''`)
	b.click(`#outbound`)
	b.until(`location.origin === ` + quoted(elsewhere.Origin))
	b.leave()
	s.holds(t, "page_view /test/links denied", "click /test/links analytics outbound masked", "engagement /test/links analytics")
	elsewhere.holds(t, "page_view /test/plain denied")
}

func TestEngagement(t *testing.T) {
	s, b := visit(t)
	b.open("/test/long")
	b.sent(1)
	began := time.Now()
	b.agree()
	b.js(`scrollTo(0, document.documentElement.scrollHeight * 0.6 - innerHeight)`)
	b.until(`scrollY > 1000`)
	b.js(`new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))`)
	b.js(`scrollTo(0, 0)`)
	b.pause(1200 * time.Millisecond)
	b.leave()
	took := time.Since(began)
	rows := s.holds(t, "page_view /test/long denied", "engagement /test/long analytics")
	e := rows[len(rows)-1]
	if e.Scroll < 55 || e.Scroll > 65 {
		t.Errorf("scrolled to %d%%, want 60", e.Scroll)
	}
	if ms := time.Duration(e.EngagementMs) * time.Millisecond; ms < time.Second || ms > took+time.Second {
		t.Errorf("visible for %s of %s", ms, took)
	}
}

// TestTimeInTheBackground: only the time the page was visible counts, and there is
// one engagement for one view, however often the visitor looks away.
func TestTimeInTheBackground(t *testing.T) {
	s, b := visit(t)
	b.open("/test/long")
	b.sent(1)
	b.agree()
	other, closeOther := chromedp.NewContext(b.ctx, chromedp.WithNewWindow(false))
	defer closeOther()
	if err := chromedp.Do(other, chromedp.Navigate(s.Origin+"/assets/blad.svg")); err != nil {
		t.Fatal(err)
	}
	b.until(`document.visibilityState === 'hidden'`)
	b.pause(1500 * time.Millisecond)
	closeOther()
	b.until(`document.visibilityState === 'visible'`)
	b.leave()
	rows := s.holds(t, "page_view /test/long denied", "engagement /test/long analytics")
	if e := rows[len(rows)-1]; e.EngagementMs > 1500 {
		t.Errorf("%d ms, among them those in the background", e.EngagementMs)
	}
}

// TestEngagementOfEachView: in a single-page application each view has its own.
func TestEngagementOfEachView(t *testing.T) {
	s, b := visit(t)
	b.open("/test/long")
	b.sent(1)
	b.agree()
	b.js(`history.pushState(null, '', '/test/long/two')`)
	b.js(`history.pushState(null, '', '/test/long/three')`)
	b.leave()
	s.holds(t, "page_view /test/long denied", "engagement /test/long analytics",
		"page_view /test/long/two analytics", "engagement /test/long/two analytics",
		"page_view /test/long/three analytics", "engagement /test/long/three analytics")
}
