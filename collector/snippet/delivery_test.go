package snippet_test

import (
	"net/http"
	"testing"

	"github.com/chromedp/chromedp"
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
