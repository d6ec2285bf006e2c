package snippet_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

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
		"timed-out":       {http.StatusRequestTimeout, ""},
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
			run(t, tab, navigateBare(e.URL+"/r"))
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
	run(t, tab, navigateBare(e.URL+"/f"))
	e.nextView(t, "/f")
	e.quiet(t, tab)
}

// slowRetry makes the snippet's backoff far longer than a test.
const slowRetry = `{ const later = window.setTimeout; window.setTimeout = (f, ms) => { if (ms > 900) { window.waits = true; ms += 1e6 } return later(f, ms) } }`

func TestOfflineThenOnline(t *testing.T) {
	t.Parallel()
	e, tab := newEdge(t), newTab(t)
	// A long wait before the retry: only the event can send it in this test.
	run(t, tab, beforeLoad(slowRetry+`; const original = window.fetch
		window.fetch = (...a) => window.down ? Promise.reject(new TypeError('Failed to fetch')) : original(...a)`),
		navigateBare(e.URL+"/o"))
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

// TestUnsentGoesOutWithThePage is not parallel: the browser has one quota for what
// outlives a page, which the tests of large batches use up.
func TestUnsentGoesOutWithThePage(t *testing.T) {
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
		navigateBare(e.URL+"/weg"))
	<-refused
	id := e.nextView(t, "/weg").Events[0].ID
	run(t, tab, until(`window.waits === true`), navigateBare(e.URL+"/without"))
	if got := e.nextView(t, "/weg").Events[0].ID; got != id {
		t.Errorf("sent on the way out as %s, was %s", got, id)
	}
}

// TestBatchesStayUnder64KiB: views made while the collector is away go out in as
// many requests as they need. The double checks the length of each.
func TestBatchesStayUnder64KiB(t *testing.T) {
	t.Parallel()
	e, tab := newEdge(t), newTab(t)
	e.tag = tagWith(`data-props="a b c d e f" data-engagement="off"`)
	run(t, tab, beforeLoad(`const original = window.fetch
		window.fetch = (...a) => window.down ? Promise.reject(new TypeError('Failed to fetch')) : original(...a)`), navigate(e.URL+"/"))
	e.nextView(t, "/")
	run(t, tab, js(`down = true; visitor('consent', 'token', 'tok'); const long = '\u20ac'.repeat(2000)
		for (let n = 0; n < 40; n++) visitor('event', 'e' + n, {a: long, b: long, c: long, d: long, e: long, f: long})
		down = false; dispatchEvent(new Event('online'))`))
	for n := range 40 {
		if ev := e.one(t); ev.Name != fmt.Sprintf("e%d", n) {
			t.Fatalf("event %d is %+v", n, ev)
		}
	}
	e.quiet(t, tab)
}

// TestUndeliveredUnderConsentIsKept: what fails is sent by the next page, once
// there is consent, and by none without.
func TestUndeliveredUnderConsentIsKept(t *testing.T) {
	t.Parallel()
	for name, granted := range map[string]bool{"granted": true, "not-granted": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, tab := newEdge(t), newTab(t)
			e.tag = tagWith(`data-consent data-engagement="off"`)
			run(t, tab, navigate(e.URL+"/1"))
			e.nextView(t, "/1")
			if granted {
				run(t, tab, js(`visitor('consent', 'grant', {text_version: 'nl-1'})`), until(`!!localStorage.getItem('visitor')`))
			}
			run(t, tab, js(`window.fetch = () => { window.failed = true; return Promise.reject(new TypeError('Failed to fetch')) }; navigator.sendBeacon = () => true
				history.pushState(null, '', '/lost')`), until(`window.failed === true`), navigate(e.URL+"/2"))
			want, token := []string{e.URL + "/2"}, ""
			if granted {
				want, token = []string{e.URL + "/lost", e.URL + "/2"}, "token-0"
			}
			var got []string
			for len(got) < len(want) {
				for _, ev := range e.nextWith(t, token).Events {
					got = append(got, ev.URL)
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("the next page sends views of %v, want %v", got, want)
			}
			if text := stored(t, tab); strings.Contains(text, "lost") {
				t.Errorf("still stored: %s", text)
			}
		})
	}
}

// TestDebug: the console says of every event what became of it, and why.
func TestDebug(t *testing.T) {
	t.Parallel()
	e, tab := newEdge(t), newTab(t)
	e.tag = tagWith("data-debug")
	e.answer = func(n int, _ beacon) (int, string) { return http.StatusOK, []string{"accepted", "dropped"}[min(n, 1)] }
	run(t, tab, beforeLoad(`window.said = []; const log = console.log; console.log = (...a) => { said.push(a.join(' ').trim()); log(...a) }`), navigate(e.URL+"/1"))
	e.next(t)
	var said []string
	run(t, tab, until(`said.length === 1`), js(`visitor('event', 'x'); history.pushState(null, '', '/2')`))
	e.next(t)
	run(t, tab, until(`said.length === 3`), js(`visitor('optout'); history.pushState(null, '', '/3')`), until(`said.length >= 4`), jsInto(`said`, &said))
	if got := strings.Join(said, "; "); !strings.HasPrefix(got, "visitor: page_view accepted; visitor: custom dropped consent_required; visitor: page_view dropped") ||
		!strings.HasSuffix(got, "visitor: page_view dropped objected") {
		t.Errorf("the console says %s", got)
	}
}
