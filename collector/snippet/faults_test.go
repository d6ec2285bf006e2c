package snippet_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/metiva-io/metiva/collector/choice"
)

// stub is what pages define to call the script before it is there.
const stub = `window.visitor = function () { (visitor.q = visitor.q || []).push(arguments) }; `

// TestQueuedEventsAreUnderTheStoredGrant: what a page calls before the script has
// loaded is under the choice of an earlier page, and of this address.
func TestQueuedEventsAreUnderTheStoredGrant(t *testing.T) {
	t.Parallel()
	e, tab := newEdge(t), newTab(t)
	e.tag = tagWith(`data-consent data-engagement="off"`)
	run(t, tab, beforeLoad(stub+`visitor('event', 'early')`), navigate(e.URL+"/1"))
	e.nextView(t, "/1")
	run(t, tab, js(`visitor('consent', 'grant', {text_version: 'nl-1'})`), until(`!!localStorage.getItem('visitor')`), navigate(e.URL+"/2"))
	if ev := e.oneWith(t, "token-0"); ev.Name != "early" || ev.URL != e.URL+"/2" {
		t.Errorf("first %s", shown(ev))
	}
	if ev := e.oneWith(t, "token-0"); ev.Type != "page_view" {
		t.Errorf("then %s", shown(ev))
	}
}

// TestPrerenderedPageCallsWait: not even a call of the page's own leaves it.
func TestPrerenderedPageCallsWait(t *testing.T) {
	t.Parallel()
	e, tab := newEdge(t), newTab(t)
	e.tag = tagWith(`data-engagement="off"`)
	run(t, tab, beforeLoad(`let hidden = true
		Object.defineProperty(Document.prototype, 'prerendering', {get: () => hidden})
		window.activate = () => { hidden = false; document.dispatchEvent(new Event('prerenderingchange')) }
		window.sent = 0; const original = window.fetch; window.fetch = (...a) => { sent++; return original(...a) }`+"\n"+
		stub+`visitor('consent', 'grant', {text_version: 'nl-1'})`),
		navigate(e.URL+"/1"))
	var sent int
	run(t, tab, js(`visitor('consent', 'token', 'tok'); visitor('event', 'x')`), js(`new Promise((done) => setTimeout(done, 50))`), jsInto(`sent`, &sent), js(`activate()`))
	if sent != 0 {
		t.Errorf("%d requests while the page was prerendered", sent)
	}
	if got := e.nextWith(t, "tok").Events; len(got) != 2 || got[0].Name != "x" || got[1].Type != "page_view" {
		t.Errorf("after it was shown: %+v", got)
	}
}

// TestRefusedBeaconsAreNotLost: a browser that takes no more beacons leaves what it
// refused to the page, should it live on, and to the next page under a grant.
func TestRefusedBeaconsAreNotLost(t *testing.T) {
	t.Parallel()
	e, tab := newEdge(t), newTab(t)
	e.tag = tagWith(`data-consent data-engagement="off"`)
	run(t, tab, navigate(e.URL+"/1"))
	e.nextView(t, "/1")
	run(t, tab, js(`visitor('consent', 'grant', {text_version: 'nl-1'})`), until(`!!localStorage.getItem('visitor')`))
	run(t, tab, js(`navigator.sendBeacon = () => false; history.pushState(null, '', '/2'); dispatchEvent(new Event('pagehide'))`))
	e.nextWith(t, "token-0")
	run(t, tab, js(`window.fetch = () => new Promise(() => {}); history.pushState(null, '', '/3')`),
		js(`new Promise((done) => setTimeout(done, 20))`), js(`history.pushState(null, '', '/4')`), navigate(e.URL+"/5"))
	var seen []string
	for !slices.Contains(seen, "/5") {
		for _, ev := range e.nextWith(t, "token-0").Events {
			seen = append(seen, ev.URL[len(e.URL):])
		}
	}
	if !slices.Equal(seen, []string{"/3", "/4", "/5"}) {
		t.Errorf("the next page sends %v", seen)
	}
}

// TestHiddenDuringAnOutage: a page that is hidden and shown again has lost nothing.
func TestHiddenDuringAnOutage(t *testing.T) {
	t.Parallel()
	e, tab := newEdge(t), newTab(t)
	run(t, tab, beforeLoad(slowRetry+`; window.down = true; const original = window.fetch; navigator.sendBeacon = () => true
		window.fetch = (...a) => window.down ? Promise.reject(new TypeError('Failed to fetch')) : original(...a)`), navigate(e.URL+"/1"),
		until(`window.waits === true`), js(`dispatchEvent(new Event('pagehide')); down = false; dispatchEvent(new Event('online'))`))
	e.nextView(t, "/1")
	e.quiet(t, tab)
}

// TestLongOffline: without a network no attempt counts.
func TestLongOffline(t *testing.T) {
	t.Parallel()
	e, tab := newEdge(t), newTab(t)
	run(t, tab, beforeLoad(slowRetry+`; window.down = true; window.tries = 0; const original = window.fetch
		Object.defineProperty(Navigator.prototype, 'onLine', {get: () => !window.down})
		window.fetch = (...a) => window.down ? (tries++, Promise.reject(new TypeError('Failed to fetch'))) : original(...a)`), navigate(e.URL+"/1"))
	for n := range 10 {
		run(t, tab, until(fmt.Sprintf(`tries > %d`, n)), js(`new Promise((done) => setTimeout(done)).then(() => { dispatchEvent(new Event('online')) })`))
	}
	run(t, tab, until(`tries > 10`), js(`new Promise((done) => setTimeout(done))`), js(`down = false; dispatchEvent(new Event('online'))`))
	e.nextView(t, "/1")
	e.quiet(t, tab)
}

// TestAbsurdStorage: whatever somebody else has written there, the page is measured.
func TestAbsurdStorage(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{"no-json": `{`, "a-text": `"abc"`, "null": `null`, "no-list": `{"events":5}`, "no-events": `{"events":[null,{"need":0}]}`, "no-path": `{"events":[{"need":1,"body":{}}]}`} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, tab := newEdge(t), newTab(t)
			e.tag = tagWith(`data-consent`)
			run(t, tab, navigateBare(e.URL+"/without"), js(fmt.Sprintf(`localStorage.setItem('visitor', %q)`, text)), navigate(e.URL+"/1"))
			e.nextView(t, "/1")
			e.quiet(t, tab)
		})
	}
}

// TestTokenEndsAWish: a grant under way when the site gives a token of its own, or
// takes one out of use, is not put in use by its answer.
func TestTokenEndsAWish(t *testing.T) {
	t.Parallel()
	e, tab := newEdge(t), newTab(t)
	e.tag = tagWith(`data-engagement="off"`)
	run(t, tab, navigate(e.URL+"/1"))
	e.nextView(t, "/1")
	run(t, tab, js(`visitor('consent', 'grant', {text_version: 'nl-1'}); visitor('consent', 'token')`))
	receive(t, e.choices)
	if call := receive(t, e.choices); call.Action != choice.Withdraw || call.Token != "token-0" {
		t.Errorf("after the grant: %s", call.raw)
	}
	run(t, tab, js(`history.pushState(null, '', '/2')`))
	e.nextWith(t, "")
	// Asked again, it is granted.
	run(t, tab, js(`visitor('consent', 'grant', {text_version: 'nl-1'})`), until(`!!localStorage.getItem('visitor')`))
}

// TestAskedForWhileObjecting: a yes that was not sent, because the visitor objected at
// the time, can be given once they do not.
func TestAskedForWhileObjecting(t *testing.T) {
	t.Parallel()
	e, tab := newEdge(t), newTab(t)
	e.tag = tagWith(`data-engagement="off"`)
	run(t, tab, navigate(e.URL+"/1"))
	e.nextView(t, "/1")
	run(t, tab, js(`visitor('optout'); visitor('consent', 'grant', {text_version: 'nl-1'})
		visitor('optin'); visitor('consent', 'grant', {text_version: 'nl-1'})`), until(`/token/.test(localStorage.getItem('visitor'))`))
	if call := receive(t, e.choices); call.Claim.TextVersion != "nl-1" || len(e.choices) != 0 {
		t.Errorf("granted as %s, and %d calls more", call.raw, len(e.choices))
	}
}

// TestWithdrawnElsewhereStaysWithdrawn: a tab that goes away writes no grant back
// which another tab has just taken back.
func TestWithdrawnElsewhereStaysWithdrawn(t *testing.T) {
	t.Parallel()
	e, tab := newEdge(t), newTab(t)
	e.tag = tagWith(`data-consent data-engagement="off"`)
	run(t, tab, beforeLoad(slowRetry), navigate(e.URL+"/1"))
	e.nextView(t, "/1")
	run(t, tab, js(`visitor('consent', 'grant', {text_version: 'nl-1'})`), until(`!!localStorage.getItem('visitor')`),
		js(`window.fetch = () => Promise.reject(new TypeError('Failed to fetch')); navigator.sendBeacon = () => true; history.pushState(null, '', '/2')`), until(`window.waits === true`),
		js(`localStorage.removeItem('visitor'); dispatchEvent(new Event('pagehide'))`))
	if text := stored(t, tab); text != "" {
		t.Errorf("stored %s", text)
	}
}

// TestGrantWithoutText: the console says why nothing happens.
func TestGrantWithoutText(t *testing.T) {
	t.Parallel()
	e, tab := newEdge(t), newTab(t)
	e.tag = tagWith("data-debug")
	run(t, tab, beforeLoad(`window.said = []; console.log = (...a) => { said.push(a.join(' ').trim()) }`), navigate(e.URL+"/1"),
		js(`visitor('consent', 'grant')`), until(`said.includes('visitor: consent dropped')`))
	e.nextView(t, "/1")
}

// TestAnchorsInAHashRoutedPage: a link to a place in the page is no view.
func TestAnchorsInAHashRoutedPage(t *testing.T) {
	t.Parallel()
	e, tab := newEdge(t), newTab(t)
	e.tag = tagWith("data-hash")
	e.pages["/app"] = `<p id="below">x</p>`
	run(t, tab, navigate(e.URL+"/app#/prijzen"))
	e.nextView(t, "/app/prijzen")
	run(t, tab, js(`location.hash = '#below'; location.hash = '#/prijzen'`), js(`location.hash = '#/over'`))
	e.nextView(t, "/app/over")
	run(t, tab, js(`location.hash = '#below'; history.pushState(null, '', '/other#below')`))
	e.nextView(t, "/other")
	e.quiet(t, tab)
}

// TestOddFieldsAndProps: functions are no properties, and more names are sealed.
func TestOddFieldsAndProps(t *testing.T) {
	t.Parallel()
	e, tab := granted(t, `data-engagement="off" data-props="a b c"`, "")
	run(t, tab, js(`visitor('event', 'x', {a: () => 'geheim', b: Symbol('geheim'), c: false})`))
	if ev := e.one(t); fmt.Sprint(ev.Props) != "map[c:false]" {
		t.Errorf("%+v", ev)
	}
	run(t, tab, js(`visitor('capture', {form: 'contact', fields: {user_pin: 'geheim', account_number: 'geheim', wachtwoord: 'geheim', x_cc_num: 'geheim', spinning: 'x', account_name: 'x'}, text_version: 'form-nl-1'})`))
	if p := receive(t, e.captures); fmt.Sprint(p.Fields) != "map[account_name:x spinning:x]" {
		t.Errorf("captured %s", p.raw)
	}
}

// TestFormOfAnotherDocument: its box counts there too.
func TestFormOfAnotherDocument(t *testing.T) {
	t.Parallel()
	e, tab := newEdge(t), newTab(t)
	run(t, tab, navigate(e.URL+"/p"))
	e.nextView(t, "/p")
	run(t, tab, js(`const frame = document.body.appendChild(document.createElement('iframe')); const form = frame.contentDocument.createElement('form')
		form.dataset.visitorForm = 'contact'; visitor('capture', form)`))
	e.quiet(t, tab)
	if len(e.captures) != 0 {
		t.Errorf("captured %s", receive(t, e.captures).raw)
	}
}

// TestAnotherScriptsTag: a script that does not know its own element takes no other
// vendor's for it.
func TestAnotherScriptsTag(t *testing.T) {
	t.Parallel()
	e, tab := newEdge(t), newTab(t)
	e.tag = ""
	e.pages["/1"] = `<script src="/vendor/tag.js" data-site="ABC" type="text/plain"></script>`
	var taken bool
	run(t, tab, navigateBare(e.URL+"/1"), js(`fetch('/v1/s.js').then((r) => r.text()).then((text) => { (0, eval)(text) })`), jsInto(`!!window.visitor`, &taken))
	if taken {
		t.Error("the script has started with another one's tag")
	}
}

// TestBannerBeforeTheBody: a page that is still in its head gets the banner, in the
// letters of its body, and no error.
func TestBannerBeforeTheBody(t *testing.T) {
	t.Parallel()
	e, tab := newEdge(t), newTab(t)
	e.tag = strings.Replace(tagWith(`data-banner="nl" data-text-version="banner-1"`), "async ", "", 1) + `<script src="/slow.js"></script>`
	release := make(chan struct{})
	e.pages["/1"] = `<body style="font-family: monospace"><a id="again" href="#visitor-show">x</a>`
	next := e.Config.Handler
	e.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/slow.js" {
			next.ServeHTTP(w, r)
			return
		}
		<-release
		w.Header().Set("Content-Type", "text/javascript")
	})
	run(t, tab, begin(e.URL+"/1"), until(`!!document.querySelector('dialog[open]')`), js(`new Promise((done) => setTimeout(done, 100))`))
	close(release)
	run(t, tab, until(`document.readyState === 'complete'`), until(`getComputedStyle(document.querySelector('dialog')).fontFamily === 'monospace'`),
		js(`again.focus(); again.click()`), until(`document.activeElement.localName === 'dialog'`))
	e.nextView(t, "/1")
}

// begin begins to open a page and does not wait for it.
func begin(address string) chromedp.Action[chromedp.Void] {
	return js(fmt.Sprintf(`location.href = %q; 0`, address))
}
