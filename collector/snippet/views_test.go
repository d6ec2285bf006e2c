package snippet_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/metiva-io/metiva/collector/snippet/chromium"
)

func TestPageViewOnLoad(t *testing.T) {
	t.Parallel()
	e, tab := newEdge(t), newTab(t)
	run(t, tab, navigateBare(e.URL+"/prijzen?utm_source=nieuwsbrief&email=jan@example.nl&utm_medium=mail#token=geheim"))
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
	run(t, tab, navigateBare(e.URL+"/a"))
	e.nextView(t, "/a")
	do := func(script string) { t.Helper(); run(t, tab, js(script)) }

	do(`history.pushState({}, '', '/b')`)
	if b := e.nextView(t, "/b"); b.Events[0].Referrer != e.URL {
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
	run(t, tab, navigateBare(e.URL+"/een"))
	first := e.nextView(t, "/een")
	run(t, tab, js(`window.kept = true`), navigateBare(e.URL+"/twee"))
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
	run(t, tab, navigateBare(e.URL+"/weer"))
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
		navigateBare(e.URL+"/vooraf"), until(loaded))
	// Nothing is watched yet: not even a change of address is a view.
	run(t, tab, js(`history.replaceState(null, '', '/getoond'); activate()`))
	e.nextView(t, "/getoond")
	e.quiet(t, tab)
}
