package browser

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"
)

// TestPrerendering: a page the browser prepares is counted when it is shown, and
// not before. Chromium does not prepare pages in a tab that is watched by the
// inspector, so the pages of this test say by themselves how far they are.
func TestPrerendering(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	prepared, shown := make(chan struct{}, 1), make(chan string, 1)
	goOn := make(chan struct{})
	tell := func(w http.ResponseWriter) { w.WriteHeader(http.StatusNoContent) }
	s.pages.HandleFunc("GET /from", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = fmt.Fprintf(w, `<!doctype html><title>from</title><script type="speculationrules">{"prerender":[{"urls":["/to"],"eagerness":"immediate"}]}</script>
<script async src="%s/v1/s.js" data-site="%s"></script><script>fetch('/go').then(() => { location.href = '/to' })</script>`, s.edge.URL, s.Key)
	})
	s.pages.HandleFunc("GET /to", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = fmt.Fprintf(w, `<!doctype html><title>to</title><script src="%s/v1/s.js" data-site="%s"></script><script>
history.replaceState(null, '', '/to?tab=1'); history.replaceState(null, '', '/to')
if (document.prerendering) { fetch('/prepared'); document.addEventListener('prerenderingchange', () => fetch('/shown?as=prerendered')) } else fetch('/shown?as=loaded')</script>`, s.edge.URL, s.Key)
	})
	s.pages.HandleFunc("GET /go", func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-goOn:
		case <-r.Context().Done():
		}
		tell(w)
	})
	s.pages.HandleFunc("GET /prepared", func(w http.ResponseWriter, _ *http.Request) { prepared <- struct{}{}; tell(w) })
	s.pages.HandleFunc("GET /shown", func(w http.ResponseWriter, r *http.Request) { shown <- r.URL.Query().Get("as"); tell(w) })
	tab, err := chromedp.CallBrowser(shared.browser, target.CreateTarget, target.CreateTargetParams{URL: s.Origin + "/from"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = chromedp.CallBrowser(shared.browser, target.CloseTarget, target.CloseTargetParams(tab))
	})
	within(t, "the browser to prepare the page", prepared)
	s.sent(t, 1)
	// What the prepared page would send is on its way before what it has told us.
	if n, flying := s.edge.counts(); n+flying != 1 {
		t.Errorf("the page that is prepared has sent something")
	}
	close(goOn)
	if as := within(t, "the page to be shown", shown); as != "prerendered" {
		t.Errorf("the page was %s anew", as)
	}
	s.sent(t, 2)
	s.holds(t, "page_view /from denied", "page_view /to denied")
}

// within waits for something a page tells.
func within[T any](t *testing.T, what string, told <-chan T) (out T) {
	t.Helper()
	select {
	case out = <-told:
	case <-time.After(waitMax):
		t.Fatalf("not within %s: %s", waitMax, what)
	}
	return out
}
