package browser

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// tab is a browser tab with a profile of its own.
type tab struct {
	t    *testing.T
	ctx  context.Context
	site *site
}

// newTab opens a tab and fails the test for any error that reaches the page.
func newTab(t *testing.T, s *site) *tab {
	t.Helper()
	ctx, stop := chromedp.NewContext(shared.browser, chromedp.WithNewBrowserContext())
	var mu sync.Mutex
	var faults []string
	exceptions := chromedp.Events(ctx, runtime.ExceptionThrown)
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
	return &tab{t: t, ctx: ctx, site: s}
}

// visit makes a site and a tab for one test.
func visit(t *testing.T, options ...option) (*site, *tab) {
	t.Helper()
	t.Parallel()
	s := newSite(t, options...)
	return s, newTab(t, s)
}

func (b *tab) run(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, waitMax)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.t.Fatal(err)
	}
}

// open loads a page of the site, and waits until the driver knows it: what it asks the
// page before then is refused.
func (b *tab) open(path string) {
	b.t.Helper()
	b.run(chromedp.Navigate(b.site.Origin + path))
	b.until(`document`)
}

// leave goes to an empty page, as a visitor who closes the site does.
func (b *tab) leave() {
	b.t.Helper()
	b.run(chromedp.Navigate("about:blank"))
}

// js runs a script in the page and waits for its promise.
func (b *tab) js(script string) {
	b.t.Helper()
	b.run(chromedp.Evaluate[chromedp.Void](script, chromedp.EvalAwaitPromise))
}

// ask is the value of an expression in the page, or of its promise.
func ask[T any](b *tab, script string) (out T) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, waitMax)
	defer cancel()
	out, err := chromedp.Run(ctx, chromedp.Evaluate[T](script, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("%s: %v", script, err)
	}
	return out
}

// until waits until an expression in the page holds, over a navigation if need be.
func (b *tab) until(condition string) {
	b.t.Helper()
	wait(b.t, waitMax, func() error {
		holds, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool](`!!(`+condition+`)`))
		if err == nil && !holds {
			err = fmt.Errorf("not so in the page: %s", condition)
		}
		return err
	})
}

// started waits until the script runs in the page.
func (b *tab) started() {
	b.t.Helper()
	b.until(`window.visitor && visitor.ready`)
}

// sent waits until the collector has answered for n events of this test.
func (b *tab) sent(n int) {
	b.t.Helper()
	b.site.sent(b.t, n)
}

func (s *site) sent(t *testing.T, n int) {
	t.Helper()
	wait(t, waitMax, func() error {
		if got, _ := s.edge.counts(); got < n {
			return fmt.Errorf("%d events were sent, want %d", got, n)
		}
		return nil
	})
}

// beforeLoad runs a script in every page of the tab before its own scripts.
func (b *tab) beforeLoad(script string) {
	b.t.Helper()
	call(b, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: script})
}

// call sends a command of the DevTools protocol.
func call[P, R any](b *tab, cmd cdp.Command[P, R], params P) (out R) {
	b.t.Helper()
	b.run(chromedp.Func(func(ctx context.Context, target *chromedp.Target) (err error) {
		out, err = cdp.Call(ctx, target, cmd, params)
		return err
	}))
	return out
}

// quoted is a string of JavaScript.
func quoted(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`, "\n", `\n`).Replace(text) + "'"
}

// click clicks as a visitor does, once the element is there.
func (b *tab) click(selector string) {
	b.t.Helper()
	b.run(chromedp.Click(chromedp.CSS(selector)))
}

// fill types into a field.
func (b *tab) fill(selector, text string) {
	b.t.Helper()
	b.run(chromedp.SendKeys(chromedp.CSS(selector), text))
}

// pause lets a time pass in the page: for what is measured in time.
func (b *tab) pause(d time.Duration) {
	b.t.Helper()
	b.js(fmt.Sprintf(`new Promise((done) => setTimeout(done, %d))`, d.Milliseconds()))
}
