package snippet_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/storage"
	"github.com/chromedp/chromedp"

	"github.com/metiva-io/metiva/collector/snippet"
	"github.com/metiva-io/metiva/collector/snippet/chromium"
)

const siteKey = "pk_test"

// waitMax bounds every wait for something that must come.
const waitMax = 20 * time.Second

type event struct {
	ID       string `json:"id"`
	Type     string `json:"type"`
	At       int64  `json:"at"`
	URL      string `json:"url"`
	Referrer string `json:"referrer"`
}

type beacon struct {
	Site    string  `json:"site"`
	SentAt  int64   `json:"sent_at"`
	Consent string  `json:"consent"`
	Events  []event `json:"events"`

	header http.Header
	raw    string
}

// edge is a double of the collector's HTTP door with pages beside it. answer
// decides what the n-th beacon (from 0) gets; nil accepts all.
type edge struct {
	*httptest.Server
	beacons chan beacon
	pages   map[string]string

	mu      sync.Mutex
	answer  func(n int, b beacon) (status int, outcome string)
	count   int
	faults  []string
	headers http.Header // added to pages
}

func newEdge(t *testing.T) *edge {
	t.Helper()
	e := &edge{beacons: make(chan beacon, 100), pages: map[string]string{}, headers: http.Header{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/s.js", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/javascript; charset=utf-8")
		_, _ = w.Write(snippet.Script())
	})
	mux.HandleFunc("POST /v1/events", e.receive)
	mux.HandleFunc("GET /without", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, "<!doctype html><title>without</title>")
	})
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		for name, values := range e.headers {
			w.Header()[name] = values
		}
		head := e.pages[r.URL.Path]
		_, _ = fmt.Fprintf(w, "<!doctype html><title>%s</title>%s%s<p>page", r.URL.Path, head, tag)
	})
	e.Server = httptest.NewServer(mux)
	t.Cleanup(func() {
		e.Close()
		e.mu.Lock()
		defer e.mu.Unlock()
		for _, fault := range e.faults {
			t.Error(fault)
		}
	})
	return e
}

const tag = `<script async src="/v1/s.js" data-site="` + siteKey + `"></script>`

func (e *edge) receive(w http.ResponseWriter, r *http.Request) {
	raw, err := io.ReadAll(r.Body)
	var b beacon
	if err == nil {
		err = json.Unmarshal(raw, &b)
	}
	b.header, b.raw = r.Header, string(raw)
	e.mu.Lock()
	n := e.count
	e.count++
	if err != nil {
		e.faults = append(e.faults, "beacon cannot be read: "+err.Error())
	}
	if got := r.Header.Get("Content-Type"); got != "text/plain;charset=UTF-8" {
		e.faults = append(e.faults, "content type "+got+" would need a preflight")
	}
	if r.Header.Get("Cookie") != "" {
		e.faults = append(e.faults, "a cookie was sent")
	}
	status, outcome := http.StatusOK, "accepted"
	if e.answer != nil {
		status, outcome = e.answer(n, b)
	}
	e.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	results := make([]map[string]string, 0, len(b.Events))
	for _, ev := range b.Events {
		results = append(results, map[string]string{"id": ev.ID, "outcome": outcome})
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"results": results})
	e.beacons <- b
}

func (e *edge) next(t *testing.T) beacon {
	t.Helper()
	select {
	case b := <-e.beacons:
		return b
	case <-time.After(waitMax):
		t.Fatal("no beacon came")
		return beacon{}
	}
}

// nextView returns the next beacon and checks that it is one view of path.
func (e *edge) nextView(t *testing.T, path string) beacon {
	t.Helper()
	b := e.next(t)
	if b.Site != siteKey || len(b.Events) != 1 {
		t.Fatalf("beacon %s: want one event of %s", b.raw, siteKey)
	}
	if ev := b.Events[0]; ev.Type != "page_view" || ev.URL != e.URL+path {
		t.Fatalf("event %+v: want a view of %s", ev, e.URL+path)
	}
	return b
}

// quiet fails when another beacon has come. It asks the page to send one last
// view of its own first, so that nothing is still on its way: beacons of one
// page arrive in order.
func (e *edge) quiet(t *testing.T, tab context.Context) {
	t.Helper()
	run(t, tab, js(`history.pushState(null, '', '/last-`+t.Name()[strings.LastIndex(t.Name(), "/")+1:]+`')`))
	b := e.next(t)
	if len(b.Events) != 1 || !strings.Contains(b.Events[0].URL, "/last-") {
		t.Errorf("one beacon too many: %s", b.raw)
	}
}

// browser is the one browser of this package; each test has a tab with a
// profile of its own.
var browser = sync.OnceValue(func() (b struct {
	path string
	tab  context.Context
	stop func()
	err  error
},
) {
	b.stop = func() {}
	if b.path, b.err = chromium.Find(os.Getenv); b.err != nil {
		return b
	}
	tab, stop, err := chromium.Start(context.Background(), b.path)
	if err != nil {
		b.err = err
		return b
	}
	b.tab, b.stop = tab, stop
	return b
})

func TestMain(m *testing.M) {
	code := m.Run()
	browser().stop()
	os.Exit(code)
}

// newTab opens a tab with a profile of its own in the one browser of this
// package, and fails the test for any error that reaches the page.
func newTab(t *testing.T) context.Context {
	t.Helper()
	b := browser()
	if b.err != nil {
		t.Fatal(b.err)
	}
	tab, stop := chromedp.NewContext(b.tab, chromedp.WithNewBrowserContext())
	var mu sync.Mutex
	var faults []string
	exceptions := chromedp.Events(tab, runtime.ExceptionThrown)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		for ev, err := range exceptions {
			if err != nil {
				return
			}
			mu.Lock()
			faults = append(faults, fmt.Sprintf("exception in the page: %s %+v", ev.ExceptionDetails.Text, ev.ExceptionDetails.Exception))
			mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		stop()
		<-watched
		mu.Lock()
		defer mu.Unlock()
		for _, f := range faults {
			t.Error(f)
		}
	})
	return tab
}

func run(t *testing.T, tab context.Context, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	ctx, cancel := context.WithTimeout(tab, waitMax)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		t.Fatal(err)
	}
}

func js(script string) chromedp.Action[chromedp.Void] {
	return chromedp.Evaluate[chromedp.Void](script)
}

func jsInto[T any](script string, out *T) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, tab *chromedp.Target) (err error) {
		*out, err = chromedp.Evaluate[T](script)(ctx, tab)
		return err
	})
}

func until(condition string) chromedp.Action[chromedp.Void] {
	return chromedp.Poll[chromedp.Void](condition, chromedp.WithPollingInterval(10*time.Millisecond))
}

// call sends a command of the DevTools protocol.
func call[P, R any](cmd cdp.Command[P, R], params P, out *R) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, tab *chromedp.Target) error {
		res, err := cdp.Call(ctx, tab, cmd, params)
		if out != nil {
			*out = res
		}
		return err
	})
}

// loaded is a script's condition: the snippet has started.
const loaded = `!!(window.visitor && visitor.ready)`

// beforeLoad runs a script in every page of the tab before its own scripts.
func beforeLoad(script string) chromedp.Action[chromedp.Void] {
	return call(page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: script}, nil)
}

func TestPageViewOnLoad(t *testing.T) {
	t.Parallel()
	e, tab := newEdge(t), newTab(t)
	run(t, tab, chromedp.Navigate(e.URL+"/prijzen?utm_source=nieuwsbrief&email=jan@example.nl&utm_medium=mail#token=geheim"))
	b := e.nextView(t, "/prijzen?utm_source=nieuwsbrief&utm_medium=mail")
	ev := b.Events[0]
	if id := ev.ID; len(id) != 36 || id[14] != '7' || !strings.ContainsAny(id[19:20], "89ab") {
		t.Errorf("id %q is no UUIDv7", ev.ID)
	}
	ms := strings.ReplaceAll(ev.ID[:13], "-", "")
	if want := fmt.Sprintf("%012x", ev.At); ms != want {
		t.Errorf("time in the id is %s, want %s", ms, want)
	}
	if b.SentAt < ev.At || time.Since(time.UnixMilli(ev.At)).Abs() > time.Minute {
		t.Errorf("times: at %d, sent at %d", ev.At, b.SentAt)
	}
	if b.Consent != "" || ev.Referrer != "" {
		t.Errorf("consent %q, referrer %q: want none", b.Consent, ev.Referrer)
	}
	all := b.raw + fmt.Sprint(b.header)
	for _, private := range []string{"jan@example", "geheim", "token"} {
		if strings.Contains(all, private) {
			t.Errorf("%q left the page: %s", private, all)
		}
	}
	e.quiet(t, tab)
}

func TestViewsOfASinglePageApplication(t *testing.T) {
	t.Parallel()
	e, tab := newEdge(t), newTab(t)
	run(t, tab, chromedp.Navigate(e.URL+"/a"))
	e.nextView(t, "/a")
	do := func(script string) { t.Helper(); run(t, tab, js(script)) }

	do(`history.pushState({}, '', '/b')`)
	if b := e.nextView(t, "/b"); b.Events[0].Referrer != e.URL+"/" {
		t.Errorf("referrer %q, want the site itself", b.Events[0].Referrer)
	}
	do(`history.replaceState({}, '', '/b?tab=2'); history.replaceState({}, '', '/b#x'); history.pushState({}, '', '/b?tab=3')`)
	do(`history.replaceState({}, '', '/c')`)
	e.nextView(t, "/c")
	do(`history.go(-2)`)
	e.nextView(t, "/a")
	e.quiet(t, tab)
}

func TestBackForwardCache(t *testing.T) {
	t.Parallel()
	e, tab := newEdge(t), newTab(t)
	run(t, tab, chromedp.Navigate(e.URL+"/een"))
	first := e.nextView(t, "/een")
	run(t, tab, js(`window.kept = true`), chromedp.Navigate(e.URL+"/twee"))
	e.nextView(t, "/twee")
	var kept bool
	run(t, tab, js(`history.back()`))
	again := e.nextView(t, "/een")
	run(t, tab, jsInto(`window.kept === true`, &kept))
	if !kept {
		if !chromium.Packaged(browser().path) {
			t.Error("the page was loaded anew, so this test says nothing about the back/forward cache")
		}
		t.Log("this build of Chromium has no back/forward cache: TestShownAgain checks the event alone")
	}
	if again.Events[0].ID == first.Events[0].ID {
		t.Error("a page shown again is a new view and needs a new id")
	}
	e.quiet(t, tab)
}

func TestShownAgain(t *testing.T) {
	t.Parallel()
	e, tab := newEdge(t), newTab(t)
	run(t, tab, chromedp.Navigate(e.URL+"/weer"))
	first := e.nextView(t, "/weer")
	run(t, tab, js(`dispatchEvent(new PageTransitionEvent('pageshow', {persisted: false}))
		dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}))`))
	if again := e.nextView(t, "/weer"); again.Events[0].ID == first.Events[0].ID || again.Events[0].Referrer != "" {
		t.Errorf("shown again as %+v", again.Events[0])
	}
	e.quiet(t, tab)
}

func TestPrerenderedPageWaits(t *testing.T) {
	t.Parallel()
	e, tab := newEdge(t), newTab(t)
	run(t, tab, beforeLoad(`let hidden = true
		Object.defineProperty(Document.prototype, 'prerendering', {get: () => hidden})
		window.activate = () => { hidden = false; document.dispatchEvent(new Event('prerenderingchange')) }`),
		chromedp.Navigate(e.URL+"/vooraf"), until(loaded))
	// Nothing is watched yet: not even a change of address is a view.
	run(t, tab, js(`history.replaceState(null, '', '/getoond'); activate(); activate()`))
	e.nextView(t, "/getoond")
	e.quiet(t, tab)
}

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
		chromedp.Navigate(e.URL+"/leeg"))
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

func TestRetryKeepsTheID(t *testing.T) {
	t.Parallel()
	for name, first := range map[string]struct {
		status  int
		outcome string
	}{
		"unavailable":     {http.StatusServiceUnavailable, "retry"},
		"too-many":        {http.StatusTooManyRequests, "retry"},
		"event-outcome":   {http.StatusOK, "retry"},
		"unreadable-body": {http.StatusBadGateway, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, tab := newEdge(t), newTab(t)
			e.answer = func(n int, _ beacon) (int, string) {
				if n < 2 {
					return first.status, first.outcome
				}
				return http.StatusOK, "accepted"
			}
			run(t, tab, chromedp.Navigate(e.URL+"/r"))
			id := e.nextView(t, "/r").Events[0].ID
			for range 2 {
				if got := e.nextView(t, "/r").Events[0].ID; got != id {
					t.Errorf("sent again as %s, was %s", got, id)
				}
			}
			e.quiet(t, tab)
		})
	}
}

func TestRefusedEventsAreNotRetried(t *testing.T) {
	t.Parallel()
	e, tab := newEdge(t), newTab(t)
	e.answer = func(n int, _ beacon) (int, string) {
		if n == 0 {
			return http.StatusForbidden, ""
		}
		return http.StatusOK, "dropped"
	}
	run(t, tab, chromedp.Navigate(e.URL+"/f"))
	e.nextView(t, "/f")
	e.quiet(t, tab)
}

// slowRetry makes the snippet's backoff far longer than a test.
const slowRetry = `{ const later = window.setTimeout; window.setTimeout = (f, ms) => { window.waits = true; return later(f, ms + 1e6) } }`

func TestOfflineThenOnline(t *testing.T) {
	t.Parallel()
	e, tab := newEdge(t), newTab(t)
	// A long wait before the retry: only the event can send it in this test.
	run(t, tab, beforeLoad(slowRetry+`; const original = window.fetch
		window.fetch = (...a) => window.down ? Promise.reject(new TypeError('Failed to fetch')) : original(...a)`),
		chromedp.Navigate(e.URL+"/o"))
	e.nextView(t, "/o")
	run(t, tab, js(`window.down = true; history.pushState(null, '', '/o1'); history.pushState(null, '', '/o2')`))
	run(t, tab, until(`window.waits === true`), js(`window.down = false; dispatchEvent(new Event('online'))`))
	seen := map[string]bool{}
	for len(seen) < 2 {
		for _, ev := range e.next(t).Events {
			if seen[ev.URL] {
				t.Errorf("%s sent twice", ev.URL)
			}
			seen[ev.URL] = true
		}
	}
	if !seen[e.URL+"/o1"] || !seen[e.URL+"/o2"] {
		t.Errorf("views made offline: %v", seen)
	}
	e.quiet(t, tab)
}

func TestUnsentGoesOutWithThePage(t *testing.T) {
	t.Parallel()
	e, tab := newEdge(t), newTab(t)
	refused := make(chan struct{}, 1)
	e.answer = func(n int, _ beacon) (int, string) {
		if n == 0 {
			refused <- struct{}{}
			return http.StatusServiceUnavailable, "retry"
		}
		return http.StatusOK, "accepted"
	}
	// A long wait before the retry: only pagehide can send it in this test.
	run(t, tab, beforeLoad(slowRetry),
		chromedp.Navigate(e.URL+"/weg"))
	<-refused
	id := e.nextView(t, "/weg").Events[0].ID
	run(t, tab, until(`window.waits === true`), chromedp.Navigate(e.URL+"/without"))
	if got := e.nextView(t, "/weg").Events[0].ID; got != id {
		t.Errorf("sent on the way out as %s, was %s", got, id)
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
				chromedp.Navigate(e.URL+"/g"), until(loaded))
			var sent []string
			run(t, tab, jsInto(`history.pushState(null, '', '/g2'); dispatchEvent(new Event('pagehide')); dispatchEvent(new Event('online')); sent`, &sent))
			if (len(sent) > 0) != c.sends {
				t.Errorf("sent %v, want sending %v", sent, c.sends)
			}
		})
	}
}

func TestStrictContentSecurityPolicy(t *testing.T) {
	t.Parallel()
	e, tab := newEdge(t), newTab(t)
	e.headers.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; connect-src 'self'; require-trusted-types-for 'script'; trusted-types 'none'")
	run(t, tab, chromedp.Navigate(e.URL+"/csp"))
	e.nextView(t, "/csp")
	e.quiet(t, tab)
}

func TestConsentTokenStaysInMemory(t *testing.T) {
	t.Parallel()
	e, tab := newEdge(t), newTab(t)
	run(t, tab, chromedp.Navigate(e.URL+"/k"))
	if b := e.nextView(t, "/k"); b.Consent != "" {
		t.Errorf("consent %q before any grant", b.Consent)
	}
	for i, step := range []struct{ call, want string }{
		{`visitor('consent', 'token', 'v1.abc')`, "v1.abc"},
		{`visitor('nonsense'); visitor(); visitor('consent', 'token', 'v1.def')`, "v1.def"},
		{`visitor('consent', 'token', {toString() { throw 1 }})`, ""},
		{`visitor('consent', 'token', 'v1.ghi'); visitor('consent', 'withdraw')`, ""},
	} {
		path := fmt.Sprintf("/k%d", i)
		run(t, tab, js(step.call+`; history.pushState(null, '', '`+path+`')`))
		if b := e.nextView(t, path); b.Consent != step.want {
			t.Errorf("after %s: consent %q, want %q", step.call, b.Consent, step.want)
		}
	}
	run(t, tab, chromedp.Navigate(e.URL+"/nieuw"))
	if b := e.nextView(t, "/nieuw"); b.Consent != "" {
		t.Errorf("the token outlived its document: %q", b.Consent)
	}
}

func TestWithdrawalReachesWhatStillWaits(t *testing.T) {
	t.Parallel()
	e, tab := newEdge(t), newTab(t)
	run(t, tab, beforeLoad(slowRetry+`; const original = window.fetch
		window.fetch = (...a) => window.down ? Promise.reject(new TypeError('Failed to fetch')) : original(...a)`),
		chromedp.Navigate(e.URL+"/w"))
	e.nextView(t, "/w")
	run(t, tab, js(`window.down = true; visitor('consent', 'token', 'v1.abc'); history.pushState(null, '', '/w1')`),
		until(`window.waits === true`),
		js(`visitor('consent', 'withdraw'); window.down = false; dispatchEvent(new Event('online'))`))
	if b := e.nextView(t, "/w1"); b.Consent != "" {
		t.Errorf("consent %q was sent after it was withdrawn", b.Consent)
	}
}

func TestHostilePages(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ script, check string }{
		"stub":   {`window.visitor = function () { (visitor.q = visitor.q || []).push(arguments) }; visitor('nonsense')`, `visitor.ready === true`},
		"taken":  {`window.visitor = {mine: 1}`, `visitor.mine === 1`},
		"frozen": {`Object.freeze(history)`, `true`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, tab := newEdge(t), newTab(t)
			run(t, tab, beforeLoad(c.script), chromedp.Navigate(e.URL+"/h"))
			e.nextView(t, "/h")
			var ok bool
			run(t, tab, jsInto(c.check, &ok))
			if !ok {
				t.Errorf("%s does not hold", c.check)
			}
		})
	}
}

func TestPageWhereNothingWorks(t *testing.T) {
	t.Parallel()
	e, tab := newEdge(t), newTab(t)
	run(t, tab, beforeLoad(`window.fetch = () => { throw new Error('no fetch') }; navigator.sendBeacon = () => { throw new Error('no beacon') }
		Object.defineProperty(window, 'crypto', {value: undefined})
		addEventListener('unhandledrejection', (e) => { throw e.reason })`),
		chromedp.Navigate(e.URL+"/x"), until(loaded))
	var path string
	run(t, tab, jsInto(`history.pushState(null, '', '/x2'); dispatchEvent(new Event('pagehide')); location.pathname`, &path))
	if path != "/x2" {
		t.Errorf("the page's own navigation broke: %s", path)
	}
}
