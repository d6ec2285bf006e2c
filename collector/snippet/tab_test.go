package snippet_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/metiva-io/metiva/collector/snippet/chromium"
)

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

// js runs a script in the page and waits for its promise.
func js(script string) chromedp.Action[chromedp.Void] {
	return chromedp.Evaluate[chromedp.Void](script, chromedp.EvalAwaitPromise)
}

// jsInto is js with the script's value, or that of its promise.
func jsInto[T any](script string, out *T) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, tab *chromedp.Target) (err error) {
		*out, err = chromedp.Evaluate[T](script, chromedp.EvalAwaitPromise)(ctx, tab)
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

// navigate opens a page and waits until the snippet runs in it.
func navigate(address string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, tab *chromedp.Target) error {
		if _, err := chromedp.Navigate(address)(ctx, tab); err != nil {
			return err
		}
		return inNewPage(ctx, tab, until(loaded))
	})
}

// navigateBare opens a page, with or without the snippet, and does not wait for it.
func navigateBare(address string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, tab *chromedp.Target) error {
		if _, err := chromedp.Navigate(address)(ctx, tab); err != nil {
			return err
		}
		return inNewPage(ctx, tab, js(`void 0`))
	})
}

// inNewPage does something in a page just opened. The page may be there before the
// driver has heard of it, and what it asks the page before then is refused.
func inNewPage(ctx context.Context, tab *chromedp.Target, do chromedp.Action[chromedp.Void]) error {
	for {
		_, err := do(ctx, tab)
		if err == nil || !strings.Contains(err.Error(), "Cannot find context") {
			return err
		}
	}
}
