package snippet_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// eagerRetry makes the snippet's backoff far shorter, notes it in waits, and lets
// fetch fail while down is above zero, which it counts down. The timers of 30 s are
// those by which the tests wait.
const eagerRetry = `window.waits = []; window.down = 0; { const later = window.setTimeout
	window.setTimeout = (f, ms) => { if (ms > 900 && ms != 3e4) { waits.push(ms); ms = 1 } return later(f, ms) }
	const original = window.fetch; window.fetch = (...a) => down-- > 0 ? Promise.reject(new TypeError('Failed to fetch')) : original(...a) }; `

// listen keeps what the snippet prints in the page.
const listen = `window.said = []; console.log = (...a) => { said.push(a.join(' ').trim()) }; `

// TestLongOutage: however long the collector is away, a page that lives on has lost
// nothing, a grant neither, and comes back less and less often.
func TestLongOutage(t *testing.T) {
	t.Parallel()
	e, tab := newEdge(t), newTab(t)
	e.tag = tagWith(`data-engagement="off"`)
	run(t, tab, beforeLoad(eagerRetry+`down = 30`), navigate(e.URL+"/1"), js(`visitor('consent', 'grant', {text_version: 'nl-1'})`))
	e.nextView(t, "/1")
	if call := receive(t, e.choices); call.Claim.TextVersion != "nl-1" {
		t.Errorf("granted as %s", call.raw)
	}
	run(t, tab, until(`!!localStorage.getItem('visitor')`), js(`history.pushState(null, '', '/2')`))
	e.nextWith(t, "token-0")
	var waits []float64
	run(t, tab, jsInto(`waits`, &waits))
	if len(waits) != 30 {
		t.Fatalf("%d waits, want one for each failure", len(waits))
	}
	for i, ms := range waits {
		if least := float64(int(500) << min(i+1, 9)); ms < least || ms > 2*least {
			t.Errorf("wait %d is %g ms, want %g or up to twice that", i, ms, least)
		}
	}
}

// TestLongQueue: of what waits the latest hundred events stay, and the grant made
// before them.
func TestLongQueue(t *testing.T) {
	t.Parallel()
	e, tab := newEdge(t), newTab(t)
	e.tag = tagWith(`data-engagement="off"`)
	run(t, tab, beforeLoad(slowRetry+`; const original = window.fetch
		window.fetch = (...a) => window.down ? Promise.reject(new TypeError('Failed to fetch')) : original(...a)`), navigate(e.URL+"/1"))
	e.nextView(t, "/1")
	run(t, tab, js(`down = true; visitor('consent', 'grant', {text_version: 'nl-1'}); for (let n = 0; n < 150; n++) history.pushState(null, '', '/v' + n)`),
		until(`window.waits`), js(`down = false; dispatchEvent(new Event('online'))`))
	receive(t, e.choices)
	for n := 50; n < 150; n++ {
		if ev := e.oneWith(t, ""); ev.URL != fmt.Sprintf("%s/v%d", e.URL, n) {
			t.Fatalf("instead of view %d: %s", n, shown(ev))
		}
	}
	run(t, tab, until(`!!localStorage.getItem('visitor')`))
}

// TestAbsurdRetryAfter: a wait no timer can hold does not end at once.
func TestAbsurdRetryAfter(t *testing.T) {
	t.Parallel()
	for _, after := range []string{"86400", "2147484", "3000000", "99999999999", "1e400", "-5", "Sun, 06 Nov 2094 08:49:37 GMT"} {
		t.Run(after, func(t *testing.T) {
			t.Parallel()
			e, tab := newEdge(t), newTab(t)
			e.Config.Handler = withStatus(e.Config.Handler, "/v1/events", http.StatusServiceUnavailable, http.Header{"Retry-After": {after}})
			run(t, tab, beforeLoad(`window.waits = []; const later = window.setTimeout
				window.setTimeout = (f, ms) => { if (ms > 900 && ms != 3e4) waits.push(ms); return later(f, ms) }`), navigate(e.URL+"/1"), until(`waits.length`))
			var waits []float64
			run(t, tab, js(`new Promise((done) => setTimeout(done, 50))`), jsInto(`waits`, &waits))
			if len(waits) != 1 || waits[0] >= 1<<31 {
				t.Errorf("waits %g ms", waits)
			}
			if after == "86400" && waits[0] < 86400e3 {
				t.Errorf("waits %g ms where a day was asked for", waits[0])
			}
		})
	}
}

// TestARefusalInNoWordsOfOurs: what a proxy refuses with a page of its own is not sent
// again, and holds nothing up; one that says so and is cut short is.
func TestARefusalInNoWordsOfOurs(t *testing.T) {
	t.Parallel()
	for status, again := range map[int]bool{http.StatusNotFound: false, http.StatusForbidden: false, http.StatusRequestEntityTooLarge: false, http.StatusOK: true} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			e, tab := newEdge(t), newTab(t)
			e.tag = tagWith(`data-engagement="off"`)
			run(t, tab, beforeLoad(eagerRetry+fmt.Sprintf(`{ const original = window.fetch, refused = new Set()
				window.fetch = async (url, init) => {
					const said = await original(url, init)
					const { id, url: page } = JSON.parse(init.body).events?.[0] ?? {}
					if (!page?.endsWith('/1') || refused.has(id)) return said
					refused.add(id)
					return new Response('<html>no</html>', {status: %d})
				} }`, status)), navigate(e.URL+"/1"))
			id := e.nextView(t, "/1").Events[0].ID
			if again && e.nextView(t, "/1").Events[0].ID != id {
				t.Error("sent again as another")
			}
			run(t, tab, js(`history.pushState(null, '', '/2')`))
			e.nextView(t, "/2")
			var waits []float64
			run(t, tab, jsInto(`waits`, &waits))
			if len(waits) > 0 != again {
				t.Errorf("waits %g ms", waits)
			}
		})
	}
}

// TestTooLarge: what could never be sent is dropped, and holds nothing up.
func TestTooLarge(t *testing.T) {
	t.Parallel()
	e, tab := newEdge(t), newTab(t)
	e.tag = tagWith("data-debug")
	run(t, tab, beforeLoad(listen), navigate(e.URL+"/1"))
	e.nextView(t, "/1")
	run(t, tab, js(`visitor('capture', {form: 'contact', fields: {message: '\u20ac'.repeat(15000)}, text_version: 'form-nl-1'})
		visitor('capture', {form: 'contact', fields: {message: '\u20ac'.repeat(14000)}, text_version: 'form-nl-1'})`),
		until(`said.includes('visitor: captures dropped too_large')`))
	if p := receive(t, e.captures); strings.Count(p.raw, "€") != 14000 {
		t.Errorf("captured %d characters", strings.Count(p.raw, "€"))
	}
	e.quiet(t, tab)
	if len(e.captures) != 0 {
		t.Error("captured again")
	}
}

// TestSentTwice: two clicks on a form's button are one capture; the form filled in
// otherwise is another.
func TestSentTwice(t *testing.T) {
	t.Parallel()
	e, tab := newEdge(t), newTab(t)
	e.pages["/p"] = strings.Replace(contactForm, `action="/sent"`, `action="/sent" target="elsewhere"`, 1) + `<iframe name="elsewhere"></iframe>`
	sent := make(chan struct{}, 10)
	e.Config.Handler = also(e.Config.Handler, "/sent", func(*http.Request) { sent <- struct{}{} })
	run(t, tab, navigate(e.URL+"/p"), chromedp.Click("#box"), js(`f.requestSubmit(); f.requestSubmit()`))
	first := receive(t, e.captures)
	run(t, tab, js(`f.requestSubmit(); f.elements.name.value = 'Piet'; f.requestSubmit()`))
	if second := receive(t, e.captures); second.ID == first.ID || second.Fields["name"] != "Piet" {
		t.Errorf("then captured %s", second.raw)
	}
	run(t, tab, js(`visitor('capture', {form: 'contact', fields: {email: 'a@example.nl'}, text_version: 'x'}); visitor('capture', {form: 'contact', fields: {email: 'a@example.nl'}, text_version: 'x'})
		visitor('capture', {form: 'other', fields: {}, text_version: 'x'})`))
	for _, want := range []string{"contact", "other"} {
		if p := receive(t, e.captures); p.Form != want {
			t.Errorf("captured %s, want %s", p.raw, want)
		}
	}
}

// TestAutomated: a browser that a program drives says so.
func TestAutomated(t *testing.T) {
	t.Parallel()
	for _, driven := range []bool{true, false} {
		t.Run(fmt.Sprint(driven), func(t *testing.T) {
			t.Parallel()
			e, tab := newEdge(t), newTab(t)
			run(t, tab, beforeLoad(fmt.Sprintf(`Object.defineProperty(Navigator.prototype, 'webdriver', {get: () => %t})`, driven)), navigate(e.URL+"/1"))
			if b := e.nextView(t, "/1"); strings.Contains(b.raw, `"automated":true`) != driven || strings.Contains(b.raw, "automated") != driven {
				t.Errorf("sent %s", b.raw)
			}
		})
	}
}

// withStatus answers a path with a status and a header after it was served.
func withStatus(next http.Handler, path string, status int, header http.Header) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != path {
			next.ServeHTTP(w, r)
			return
		}
		for name, values := range header {
			w.Header()[name] = values
		}
		w.WriteHeader(status)
	})
}
