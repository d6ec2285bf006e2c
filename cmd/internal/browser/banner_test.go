package browser

import (
	"crypto/sha256"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

const (
	bannerYes = `dialog button:nth-of-type(1)`
	bannerNo  = `dialog button:nth-of-type(2)`
)

// asked waits for the banner and returns what it asks.
func (b *tab) asked() string {
	b.t.Helper()
	b.until(`document.querySelector('dialog[open] button')`)
	return strings.TrimSpace(ask[string](b, `document.querySelector('dialog').firstChild.textContent`))
}

func TestBannerGrant(t *testing.T) {
	for name, c := range map[string]struct{ path, version, language string }{
		"dutch":   {"/test/banner", "demo-banner-2-nl", "nl"},
		"english": {"/test/banner/en", "demo-banner-2-en", "en"},
		"policy":  {"/test/csp", "demo-banner-2-en", "en"},
	} {
		t.Run(name, func(t *testing.T) {
			s, b := visit(t)
			b.beforeLoad(`window.violations = []; document.addEventListener('securitypolicyviolation', (e) => violations.push(e.violatedDirective + ' ' + e.blockedURI))`)
			b.open(c.path)
			b.sent(1)
			shown := b.asked()
			b.nothingStored()
			b.click(bannerYes)
			s.edge.until(t, "/v1/consent", 1)
			b.until(`Object.keys(localStorage).length > 0 && !document.querySelector('dialog')`)
			if got := ask[[]string](b, `violations`); len(got) != 0 {
				t.Errorf("the page's policy was violated: %q", got)
			}
			b.open(c.path)
			b.sent(3)
			if ask[bool](b, `!!document.querySelector('dialog')`) {
				t.Error("it asks again")
			}
			b.leave()
			s.holds(t, "page_view "+c.path+" denied", "engagement "+c.path+" analytics", "page_view "+c.path+" analytics", "engagement "+c.path+" analytics")
			rec := s.consentsHold(t, "given analytics banner "+c.version)[0]
			if sum := sha256.Sum256([]byte(shown)); string(rec.GetTextSha256()) != string(sum[:]) || rec.GetLanguage() != c.language {
				t.Errorf("the record is of another text, or language %q, than was shown: %s", rec.GetLanguage(), shown)
			}
		})
	}
}

func TestBannerRefusal(t *testing.T) {
	s, b := visit(t)
	b.open("/test/banner")
	b.sent(1)
	b.asked()
	b.click(bannerNo)
	s.edge.until(t, "/v1/consent", 1)
	b.open("/test/banner")
	b.sent(2)
	b.until(`window.visitor && visitor.ready`)
	if ask[bool](b, `!!document.querySelector('dialog')`) {
		t.Error("it asks again what was refused")
	}
	// The same place where it was refused: the visitor may change their mind.
	b.click(`[data-visitor*='"show"']`)
	b.asked()
	b.click(bannerYes)
	s.edge.until(t, "/v1/consent", 2)
	b.until(`JSON.parse(localStorage.visitor || '{}').token`)
	b.click(`[data-visitor*='"withdraw"']`)
	s.edge.until(t, "/v1/consent", 3)
	b.leave()
	s.holds(t, "page_view /test/banner denied", "page_view /test/banner denied")
	s.consentsHold(t, "refused denied banner demo-banner-2-nl", "given analytics banner demo-banner-2-nl", "withdrawn withdrawn demo-banner-2-nl")
}

// TestBannerIsFair: both answers look the same, are large enough for a finger, can
// be reached by keyboard, and nothing of the page is covered that cannot be scrolled
// to.
func TestBannerIsFair(t *testing.T) {
	s, b := visit(t)
	for _, width := range []int64{390, 1280} {
		b.run(chromedp.EmulateViewport(width, 800))
		b.open("/test/banner")
		b.asked()
		looks := ask[[]string](b, `[...document.querySelectorAll('dialog button')].map((e) => { const c = getComputedStyle(e), r = e.getBoundingClientRect()
			return [c.color, c.backgroundColor, c.fontSize, c.fontWeight, c.borderColor, c.opacity, Math.round(r.height), Math.round(r.width), r.height >= 44, r.left >= 0 && r.right <= innerWidth, r.bottom <= innerHeight].join(' ') })`)
		if len(looks) != 2 || looks[0] != looks[1] || !strings.HasSuffix(looks[0], "true true true") {
			t.Errorf("at %d px the answers look like %q", width, looks)
		}
		b.until(`getComputedStyle(document.querySelector('dialog')).fontFamily === getComputedStyle(document.body).fontFamily`)
		if ask[bool](b, `document.activeElement !== document.body`) {
			t.Error("it takes the focus")
		}
		if got := ask[string](b, `document.querySelector('dialog').getAttribute('aria-label') + ' ' + document.querySelector('dialog').lang`); got != "Toestemming nl" {
			t.Errorf("a screen reader hears %q", got)
		}
	}
	// By keyboard alone: to the refusal and back to the page.
	b.js(`document.querySelector('dialog a').focus()`)
	b.run(chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent(kb.Enter))
	s.edge.until(t, "/v1/consent", 1)
	b.leave()
	s.holds(t, "page_view /test/banner denied", "page_view /test/banner denied")
	s.consentsHold(t, "refused denied banner demo-banner-2-nl")
}
