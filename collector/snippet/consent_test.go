package snippet_test

import (
	"fmt"
	"testing"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/storage"
)

func TestNothingIsStored(t *testing.T) {
	t.Parallel()
	e, tab := newEdge(t), newTab(t)
	run(t, tab, beforeLoad(`window.touched = []
		const note = (name) => { touched.push(name) }
		for (const name of ['localStorage', 'sessionStorage', 'indexedDB', 'caches', 'cookieStore']) {
			const original = Object.getOwnPropertyDescriptor(window, name)
			if (original) Object.defineProperty(window, name, {get() { note(name); return original.get.call(window) }})
		}
		const jar = Object.getOwnPropertyDescriptor(Document.prototype, 'cookie')
		Object.defineProperty(document, 'cookie', {get() { note('cookie'); return jar.get.call(document) }, set(v) { note('cookie='); jar.set.call(document, v) }})`),
		navigateBare(e.URL+"/leeg"))
	e.nextView(t, "/leeg")
	run(t, tab, js(`history.pushState(null, '', '/leeg2')`))
	e.nextView(t, "/leeg2")

	var touched []string
	var jar network.GetCookiesResult
	var used storage.GetUsageAndQuotaResult
	run(t, tab, jsInto(`touched`, &touched),
		call(network.GetCookies, network.GetCookiesParams{}, &jar),
		call(storage.GetUsageAndQuota, storage.GetUsageAndQuotaParams{Origin: e.URL}, &used))
	if len(touched) != 0 || len(jar.Cookies) != 0 || used.Usage != 0 {
		t.Errorf("touched %v, %d cookies, %v bytes stored: want none of it", touched, len(jar.Cookies), used.Usage)
	}
	var names []string
	run(t, tab, jsInto(`(() => { const f = document.body.appendChild(document.createElement('iframe'))
		return Object.keys(window).filter((k) => !(k in f.contentWindow) && !['touched', '0'].includes(k)) })()`, &names))
	if len(names) != 1 || names[0] != "visitor" {
		t.Errorf("globals %v, want visitor only", names)
	}
}

func TestObjectionSendsNothing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		script string
		sends  bool
	}{
		"gpc":   {`Object.defineProperty(Navigator.prototype, 'globalPrivacyControl', {get: () => true})`, false},
		"dnt":   {`Object.defineProperty(Navigator.prototype, 'doNotTrack', {get: () => '1'})`, false},
		"dnt-0": {`Object.defineProperty(Navigator.prototype, 'doNotTrack', {get: () => '0'})`, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, tab := newEdge(t), newTab(t)
			run(t, tab, beforeLoad(c.script+`; window.sent = []
				const original = window.fetch
				window.fetch = (...a) => { sent.push('fetch'); return original(...a) }
				navigator.sendBeacon = () => { sent.push('beacon'); return true }`),
				navigateBare(e.URL+"/g"), until(loaded))
			var sent []string
			run(t, tab, jsInto(`history.pushState(null, '', '/g2'); dispatchEvent(new Event('pagehide')); dispatchEvent(new Event('online')); sent`, &sent))
			if (len(sent) > 0) != c.sends {
				t.Errorf("sent %v, want sending %v", sent, c.sends)
			}
		})
	}
}

func TestConsentTokenStaysInMemory(t *testing.T) {
	t.Parallel()
	e, tab := newEdge(t), newTab(t)
	e.tag = tagWith(`data-engagement="off"`)
	run(t, tab, navigateBare(e.URL+"/k"))
	if b := e.nextView(t, "/k"); b.Consent != "" {
		t.Errorf("consent %q before any grant", b.Consent)
	}
	for i, step := range []struct{ call, want string }{
		{`visitor('consent', 'token', 'v1-abc')`, "v1-abc"},
		{`visitor('nonsense'); visitor(); visitor('consent', 'token', 'v1-def')`, "v1-def"},
		{`visitor('consent', 'token', {toString() { throw 1 }})`, ""},
		{`visitor('consent', 'token', 'v1-ghi'); visitor('consent', 'withdraw')`, ""},
	} {
		path := fmt.Sprintf("/k%d", i)
		run(t, tab, js(step.call+`; history.pushState(null, '', '`+path+`')`))
		if b := e.nextView(t, path); b.Consent != step.want {
			t.Errorf("after %s: consent %q, want %q", step.call, b.Consent, step.want)
		}
	}
	run(t, tab, navigateBare(e.URL+"/nieuw"))
	if b := e.nextView(t, "/nieuw"); b.Consent != "" {
		t.Errorf("the token outlived its document: %q", b.Consent)
	}
}

func TestWithdrawalReachesWhatStillWaits(t *testing.T) {
	t.Parallel()
	e, tab := newEdge(t), newTab(t)
	run(t, tab, beforeLoad(slowRetry+`; const original = window.fetch
		window.fetch = (...a) => window.down ? Promise.reject(new TypeError('Failed to fetch')) : original(...a)`),
		navigateBare(e.URL+"/w"))
	e.nextView(t, "/w")
	run(t, tab, js(`window.down = true; visitor('consent', 'token', 'v1-abc'); history.pushState(null, '', '/w1')`),
		until(`window.waits === true`),
		js(`visitor('consent', 'withdraw'); window.down = false; dispatchEvent(new Event('online'))`))
	if b := e.nextView(t, "/w1"); b.Consent != "" {
		t.Errorf("consent %q was sent after it was withdrawn", b.Consent)
	}
}
