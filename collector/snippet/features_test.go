package snippet_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/chromedp/chromedp"
)

// granted opens a page whose tag and body are given, and gives it consent.
func granted(t *testing.T, attributes, body string) (*edge, context.Context) {
	t.Helper()
	e, tab := newEdge(t), newTab(t)
	e.tag = tagWith(attributes)
	e.pages["/p"] = body
	run(t, tab, navigate(e.URL+"/p"))
	e.nextView(t, "/p")
	run(t, tab, js(`visitor('consent', 'token', 'tok')`))
	return e, tab
}

// one returns the next event, which must be under the consent of granted.
func (e *edge) one(t *testing.T) event {
	t.Helper()
	return e.oneWith(t, "tok")
}

// oneWith returns the next event, of this beacon or the next, which must carry the token.
func (e *edge) oneWith(t *testing.T, token string) event {
	t.Helper()
	if len(e.rest) == 0 {
		e.rest = e.nextWith(t, token).Events
	}
	first := e.rest[0]
	e.rest = e.rest[1:]
	return first
}

func TestClicks(t *testing.T) {
	t.Parallel()
	const links = `<a id="out" href="https://www.example.org/secret?a=b#c"><b id="inner">x</b></a><a id="file" href="/brochure.PDF?token=1">x</a>
		<a id="named" href="/x" download>x</a><a id="own" href="/y.html">x</a><a id="mail" href="mailto:jan@example.nl">x</a>
		<script>addEventListener('click', (e) => e.preventDefault())</script>`
	e, tab := granted(t, `data-engagement="off"`, links)
	for _, c := range []struct{ id, kind, target string }{
		{"inner", "outbound", "https://www.example.org"},
		{"file", "download", e.URL + "/brochure.PDF"},
		{"named", "download", e.URL + "/x"},
	} {
		run(t, tab, js(`own.click(); mail.click(); document.body.click(); `+c.id+`.click()`))
		if ev := e.one(t); ev.Type != "click" || ev.Kind != c.kind || ev.Target != c.target || ev.URL != e.URL+"/p" {
			t.Errorf("%s: %+v", c.id, ev)
		}
	}
	run(t, tab, js(`out.dispatchEvent(new MouseEvent('auxclick', {button: 2, bubbles: true})); out.dispatchEvent(new MouseEvent('auxclick', {button: 1, bubbles: true}))`))
	if ev := e.one(t); ev.Kind != "outbound" {
		t.Errorf("the middle button: %+v", ev)
	}
	e.quiet(t, tab)
}

func TestSwitchedOff(t *testing.T) {
	t.Parallel()
	e, tab := granted(t, `data-outbound="off" data-download="off" data-form="off" data-engagement="off" data-custom="off"`,
		`<a id="out" href="https://www.example.org/">x</a><a id="file" href="/a.pdf">x</a><form id="f" name="f"><input id="i"></form>
		<script>addEventListener('click', (e) => e.preventDefault()); addEventListener('submit', (e) => e.preventDefault())</script>`)
	run(t, tab, js(`out.click(); file.click(); i.dispatchEvent(new Event('input', {bubbles: true})); f.requestSubmit(); visitor('event', 'x'); dispatchEvent(new Event('pagehide'))`))
	e.quiet(t, tab)
}

func TestCustomEvents(t *testing.T) {
	t.Parallel()
	e, tab := granted(t, `data-engagement="off" data-props="plan price paid list none"`, "")
	run(t, tab, js(`visitor('event', 'plan_chosen', {plan: 'gold', price: 12.5, paid: true, list: [1], none: null, email: 'jan@example.nl'})`))
	ev := e.one(t)
	if ev.Type != "custom" || ev.Name != "plan_chosen" || fmt.Sprint(ev.Props) != "map[paid:true plan:gold price:12.5]" {
		t.Errorf("%+v", ev)
	}
	run(t, tab, js(`visitor('event', 'bare')`))
	if ev := e.one(t); ev.Name != "bare" || len(ev.Props) != 0 {
		t.Errorf("%+v", ev)
	}
	e.quiet(t, tab)
}

// TestWithoutConsentOnlyViews: everything but a page view stays in the page.
func TestWithoutConsentOnlyViews(t *testing.T) {
	t.Parallel()
	e, tab := granted(t, `data-props="plan"`, `<a id="out" href="https://www.example.org/">x</a><form id="f" name="f"><input id="i"></form>
		<script>addEventListener('click', (e) => e.preventDefault()); addEventListener('submit', (e) => e.preventDefault())</script>`)
	run(t, tab, js(`visitor('consent', 'token'); out.click(); i.dispatchEvent(new Event('input', {bubbles: true})); f.requestSubmit(); visitor('event', 'x', {plan: 1})
		dispatchEvent(new Event('pagehide'))`))
	e.quiet(t, tab)
}

func TestEngagement(t *testing.T) {
	t.Parallel()
	e, tab := granted(t, "", `<div style="height: 9000px">long</div>`)
	run(t, tab, js(`scrollTo(0, 4000)`), until(`scrollY === 4000`), js(`new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))`), js(`scrollTo(0, 0); history.pushState(null, '', '/q')`))
	ev := e.one(t)
	if ev.Type != "engagement" || ev.URL != e.URL+"/p" || ev.VisibleMs == nil || *ev.VisibleMs < 1 || *ev.VisibleMs > waitMax.Milliseconds() || ev.Scroll == nil || *ev.Scroll < 45 || *ev.Scroll > 65 {
		t.Errorf("the view that was left: %s", shown(ev))
	}
	if ev := e.one(t); ev.Type != "page_view" {
		t.Errorf("%+v", ev)
	}
	// Hidden and shown again and left: once for the view.
	run(t, tab, js(`let hidden = true; Object.defineProperty(document, 'hidden', {get: () => hidden}); const change = () => document.dispatchEvent(new Event('visibilitychange', {bubbles: true}))
		change(); hidden = false; change(); hidden = true; change(); dispatchEvent(new Event('pagehide'))`))
	if ev := e.one(t); ev.Type != "engagement" || ev.URL != e.URL+"/q" {
		t.Errorf("%+v", ev)
	}
	e.quiet(t, tab)
}

// shown is an event with what its pointers point to.
func shown(ev event) string {
	raw, err := json.Marshal(ev)
	if err != nil {
		return err.Error()
	}
	return string(raw)
}

// TestEngagementBeginsWithTheGrant: what was done before is not measured.
func TestEngagementBeginsWithTheGrant(t *testing.T) {
	t.Parallel()
	e, tab := newEdge(t), newTab(t)
	run(t, tab, beforeLoad(`const past = performance.now.bind(performance); window.ahead = 0; performance.now = () => past() + ahead`), navigate(e.URL+"/p"))
	e.nextView(t, "/p")
	run(t, tab, js(`ahead = 1e7; visitor('consent', 'token', 'tok'); ahead += 5000; history.pushState(null, '', '/q')`))
	if ev := e.one(t); ev.Type != "engagement" || *ev.VisibleMs < 5000 || *ev.VisibleMs > 1e6 {
		t.Errorf("%+v", ev)
	}
}

func TestHashRouting(t *testing.T) {
	t.Parallel()
	e, tab := newEdge(t), newTab(t)
	e.tag = tagWith("data-hash")
	run(t, tab, navigate(e.URL+"/app#/start?token=geheim"))
	e.nextView(t, "/app/start")
	run(t, tab, js(`location.hash = '#!/prijzen'`))
	e.nextView(t, "/app/prijzen")
	run(t, tab, js(`location.hash = '#access_token=geheim'`), js(`location.hash = '#id_token=geheim'; history.back()`))
	e.quiet(t, tab)
}

const contactForm = `<form id="f" data-visitor-form="contact" method="post" action="/sent">
	<input name="name" data-visitor-field value="Jan"><input name="email" data-visitor-field="e-mail" value="jan@example.nl"><input name="unmarked" value="x">
	<input type="password" name="word" data-visitor-field value="geheim"><input type="hidden" name="hid" data-visitor-field value="geheim">
	<input name="a" autocomplete="cc-number" data-visitor-field value="geheim"><input name="iban" data-visitor-field value="geheim"><input name="BSN" data-visitor-field value="geheim">
	<input type="checkbox" name="news" data-visitor-field value="geheim" checked><input type="file" name="cv" data-visitor-field>
	<select name="topic" data-visitor-field><option>Advies</option></select><textarea name="message" data-visitor-field>Hallo
daar</textarea>
	<input id="box" type="checkbox" data-visitor-consent="form-nl-1"><button id="send">Verstuur</button></form>`

func TestFormWithConsent(t *testing.T) {
	t.Parallel()
	e, tab := newEdge(t), newTab(t)
	sent := make(chan string, 10)
	e.pages["/p"] = contactForm
	e.Config.Handler = also(e.Config.Handler, "/sent", func(r *http.Request) { sent <- r.PostFormValue("unmarked") })
	run(t, tab, navigate(e.URL+"/p"))
	e.nextView(t, "/p")
	run(t, tab, chromedp.Click("#box"), chromedp.Click("#send"))
	p := receive(t, e.captures)
	if p.Site != siteKey || p.Form != "contact" || p.URL != e.URL+"/p" || !p.Consent.Given || p.Consent.TextVersion != "form-nl-1" || len(p.ID) != 36 ||
		fmt.Sprint(p.Fields) != "map[e-mail:jan@example.nl message:Hallo\ndaar name:Jan topic:Advies]" {
		t.Errorf("captured %s", p.raw)
	}
	if strings.Contains(p.raw, "geheim") {
		t.Errorf("a sealed field was read: %s", p.raw)
	}
	if got := receive(t, sent); got != "x" {
		t.Errorf("the page's own post holds %q", got)
	}
}

func TestFormWithoutConsent(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]string{
		"not-ticked":         ``,
		"ticked-beforehand":  `box.setAttribute('checked', '')`,
		"without-a-box":      `box.remove()`,
		"sent-by-the-page":   `box.checked = true; f.addEventListener('submit', (e) => e.preventDefault())`,
		"not-marked":         `box.checked = true; delete f.dataset.visitorForm`,
		"objected":           `box.checked = true; visitor('optout')`,
		"the-form-is-absurd": `box.checked = true; f.innerHTML = '<input name="elements"><input name="dataset">'`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, tab := newEdge(t), newTab(t)
			sent := make(chan string, 10)
			e.pages["/p"] = contactForm
			e.Config.Handler = also(e.Config.Handler, "/sent", func(*http.Request) { sent <- "" })
			run(t, tab, navigate(e.URL+"/p"))
			e.nextView(t, "/p")
			run(t, tab, js(change+`; f.requestSubmit()`))
			if name != "sent-by-the-page" {
				receive(t, sent)
			}
			if len(e.captures) != 0 {
				t.Errorf("captured %s", receive(t, e.captures).raw)
			}
		})
	}
}

// TestFormWhenTheCollectorHangs: the page's own post does not wait.
func TestFormWhenTheCollectorHangs(t *testing.T) {
	t.Parallel()
	e, tab := newEdge(t), newTab(t)
	sent, hang := make(chan string, 10), make(chan struct{})
	defer close(hang)
	e.pages["/p"] = contactForm
	e.Config.Handler = also(e.Config.Handler, "/sent", func(*http.Request) { sent <- "" })
	e.Config.Handler = also(e.Config.Handler, "/v1/captures", func(*http.Request) { <-hang })
	run(t, tab, navigate(e.URL+"/p"))
	var ms float64
	run(t, tab, jsInto(`box.checked = true; { const from = performance.now(); f.requestSubmit(); performance.now() - from }`, &ms))
	receive(t, sent)
	if ms > 300 {
		t.Errorf("submitting took %g ms", ms)
	}
}

func TestCaptureByThePage(t *testing.T) {
	t.Parallel()
	e, tab := newEdge(t), newTab(t)
	e.pages["/p"] = contactForm
	var failed atomic.Bool
	e.refusals = func(int) int {
		if failed.CompareAndSwap(false, true) {
			return http.StatusServiceUnavailable
		}
		return http.StatusOK
	}
	run(t, tab, navigate(e.URL+"/p"))
	e.nextView(t, "/p")
	var own string
	run(t, tab, jsInto(`const fields = {email: 'jan@example.nl', password: 'geheim', iban: 'geheim'}
		visitor('capture', {form: 'contact', fields, text_version: 'form-nl-1'}); fields.password`, &own))
	p, again := receive(t, e.captures), receive(t, e.captures)
	if p.Form != "contact" || fmt.Sprint(p.Fields) != "map[email:jan@example.nl]" || p.Consent.TextVersion != "form-nl-1" || again.raw != p.raw {
		t.Errorf("captured %s, again %s", p.raw, again.raw)
	}
	if own != "geheim" {
		t.Error("the page's own object was changed")
	}
	run(t, tab, js(`box.checked = true; visitor('capture', f)`))
	if form := receive(t, e.captures); form.Fields["name"] != "Jan" || form.ID == p.ID {
		t.Errorf("captured %s", form.raw)
	}
}

func TestFormEvents(t *testing.T) {
	t.Parallel()
	e, tab := granted(t, `data-engagement="off"`, `<form id="one" name="enquiry"><input id="i" name="name" value="geheim"><input name="id"></form><form id="two"><input id="j"></form>
		<form><input id="k"></form><script>addEventListener('submit', (e) => e.preventDefault())</script>`)
	run(t, tab, js(`for (const el of [k, i, i]) el.dispatchEvent(new Event('input', {bubbles: true}))`))
	if ev := e.one(t); ev.Type != "form" || ev.Action != "start" || ev.Form != "enquiry" {
		t.Errorf("%+v", ev)
	}
	run(t, tab, js(`two.requestSubmit()`))
	if ev := e.one(t); ev.Action != "submit" || ev.Form != "two" {
		t.Errorf("%+v", ev)
	}
	e.quiet(t, tab)
}

// also serves a path beside the others.
func also(next http.Handler, path string, seen func(*http.Request)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != path {
			next.ServeHTTP(w, r)
			return
		}
		seen(r)
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = fmt.Fprint(w, "<!doctype html><title>sent</title>")
	})
}
