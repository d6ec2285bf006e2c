package snippet_test

import (
	"testing"
)

func TestStrictContentSecurityPolicy(t *testing.T) {
	t.Parallel()
	e, tab := newEdge(t), newTab(t)
	e.headers.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; connect-src 'self'; require-trusted-types-for 'script'; trusted-types 'none'")
	run(t, tab, navigateBare(e.URL+"/csp"))
	e.nextView(t, "/csp")
	e.quiet(t, tab)
}

func TestHostilePages(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ script, check string }{
		"stub":   {`window.visitor = function () { (visitor.q = visitor.q || []).push(arguments) }; visitor('nonsense')`, `!!visitor.ready`},
		"taken":  {`window.visitor = {mine: 1}`, `visitor.mine === 1`},
		"frozen": {`Object.freeze(history)`, `true`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, tab := newEdge(t), newTab(t)
			run(t, tab, beforeLoad(c.script), navigateBare(e.URL+"/h"))
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
		navigateBare(e.URL+"/x"), until(loaded))
	var path string
	run(t, tab, jsInto(`history.pushState(null, '', '/x2'); dispatchEvent(new Event('pagehide')); location.pathname`, &path))
	if path != "/x2" {
		t.Errorf("the page's own navigation broke: %s", path)
	}
}
