package snippet_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/metiva-io/metiva/collector/snippet"
)

// throttle is how much slower than this one the processor of a cheap telephone
// is, as in the browser's own emulation.
const throttle = 4

// TestNoLongTasks measures what the snippet adds to the page's own tasks: the
// evaluation of the file, and the handling of what a visitor does. The best of
// several runs counts, multiplied: a clock of a throttled browser on a busy machine
// measures the machine. Browsers parse an async script off the page's thread.
func TestNoLongTasks(t *testing.T) {
	t.Parallel()
	e, tab := newEdge(t), newTab(t)
	e.tag = ""
	e.pages["/p"] = strings.Repeat("<p>Een alinea tekst, zodat er iets op te maken is.", 500) + `<a id="out" href="https://www.example.org/">x</a><form id="f" name="f"><input id="i"></form>
		<script>addEventListener('click', (e) => e.preventDefault()); addEventListener('submit', (e) => e.preventDefault())</script>`
	source := strings.NewReplacer("`", "\\`", "\\", "\\\\", "${", "\\${").Replace(string(snippet.Script()))
	const runs, msMax = 25, 5.0
	took := map[string][]float64{}
	for range runs {
		run(t, tab, navigateBare(e.URL+"/p"))
		var ms map[string]float64
		run(t, tab, jsInto("(() => { const tag = document.createElement('script'); tag.dataset.site = 'pk_test'; tag.type = 'text/plain'; tag.src = '/v1/s.js'; document.head.append(tag); const ms = {}\n"+
			"const time = (name, act) => { const from = performance.now(); act(); ms[name] = performance.now() - from }\n"+
			"const start = new Function(`"+source+"`); time('evaluation', start); visitor('consent', 'token', 'tok')\n"+
			`time('click', () => out.click()); time('input', () => i.dispatchEvent(new Event('input', {bubbles: true}))); time('submit', () => f.requestSubmit())
			time('navigation', () => history.pushState(null, '', '/q')); time('scroll', () => dispatchEvent(new Event('scroll'))); time('event', () => visitor('event', 'x'))
			time('pagehide', () => dispatchEvent(new Event('pagehide'))); return ms })()`, &ms))
		for name, one := range ms {
			took[name] = append(took[name], throttle*one)
		}
	}
	for name, all := range took {
		slices.Sort(all)
		t.Logf("%s: %.1f ms at best, %.1f in the middle", name, all[0], all[len(all)/2])
		if all[0] > msMax {
			t.Errorf("%s takes %.1f ms of a processor %d times slower, at most %.0f wanted", name, all[0], throttle, msMax)
		}
	}
}
