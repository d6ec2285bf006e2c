package browser

import (
	"slices"
	"testing"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/storage"
)

// deviceSpy notes every access of the page to what a browser stores.
const deviceSpy = `window.touched = []
	for (const name of ['localStorage', 'sessionStorage', 'indexedDB', 'caches', 'cookieStore']) {
		const original = Object.getOwnPropertyDescriptor(window, name)
		if (original) Object.defineProperty(window, name, {get() { touched.push(name); return original.get.call(window) }})
	}
	const jar = Object.getOwnPropertyDescriptor(Document.prototype, 'cookie')
	Object.defineProperty(document, 'cookie', {get() { touched.push('cookie'); return jar.get.call(document) }, set(v) { touched.push('cookie='); jar.set.call(document, v) }})`

// onDevice is what the browser holds of the page's site, as kind and name.
const onDevice = `(async () => [
	...document.cookie.split(';').filter(Boolean).map((c) => 'cookie ' + c),
	...Object.keys(localStorage).map((k) => 'local ' + k),
	...Object.keys(sessionStorage).map((k) => 'session ' + k),
	...(await indexedDB.databases()).map((d) => 'indexed ' + d.name),
	...(await caches.keys()).map((k) => 'cache ' + k),
])()`

// nothingStored fails when the browser holds anything of the site.
func (b *tab) nothingStored() {
	b.t.Helper()
	if got := ask[[]string](b, onDevice); len(got) != 0 {
		b.t.Errorf("stored on the device: %q", got)
	}
	if jar := call(b, network.GetCookies, network.GetCookiesParams{}); len(jar.Cookies) != 0 {
		b.t.Errorf("%d cookies", len(jar.Cookies))
	}
}

// TestNothingBeforeAGrant: before the visitor has agreed nothing is written, and
// nothing read by a page whose tag does not say that the site has choices.
func TestNothingBeforeAGrant(t *testing.T) {
	t.Parallel()
	for path, reads := range map[string][]string{
		"/test/plain": nil, "/test/spa": nil, "/test/csp": {"localStorage"}, "/test/consent": {"localStorage"},
		"/test/banner": {"localStorage"}, "/test/form/plain": nil,
	} {
		t.Run(path, func(t *testing.T) {
			s, b := visit(t)
			b.beforeLoad(deviceSpy)
			b.open(path)
			b.sent(1)
			b.js(`scrollTo(0, 100)`)
			touched := ask[[]string](b, `touched`)
			slices.Sort(touched)
			if got := slices.Compact(touched); !slices.Equal(got, reads) {
				t.Errorf("the script touched %q, want %q", got, reads)
			}
			used := call(b, storage.GetUsageAndQuota, storage.GetUsageAndQuotaParams{Origin: s.Origin})
			if used.Usage != 0 {
				t.Errorf("%v bytes stored", used.Usage)
			}
			b.nothingStored()
			b.leave()
			s.holds(t, "page_view "+path+" denied")
			for _, p := range s.edge.list("/") {
				if p.Header.Get("Cookie") != "" {
					t.Error("a cookie was sent")
				}
			}
		})
	}
}

// TestStoredUnderAGrant: one entry, which goes with the grant.
func TestStoredUnderAGrant(t *testing.T) {
	s, b := visit(t)
	b.open("/test/consent")
	b.sent(1)
	b.agree()
	if got := ask[[]string](b, onDevice); !slices.Equal(got, []string{"local visitor"}) {
		t.Errorf("on the device: %q", got)
	}
	b.click(`[data-visitor*='"withdraw"']`)
	s.edge.until(t, "/v1/consent", 2)
	b.until(`Object.keys(localStorage).length === 0`)
	b.nothingStored()
	b.leave()
	s.holds(t, "page_view /test/consent denied")
}
