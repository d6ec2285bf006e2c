package snippet_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"

	"github.com/metiva-io/metiva/collector/snippet"
)

// TestNoLongTasks measures what the snippet takes of the page's thread on a
// processor four times slower: the evaluation of the file, and the handling of
// what a visitor does. The middle of several runs counts: others use the machine.
func TestNoLongTasks(t *testing.T) {
	t.Parallel()
	e, tab := newEdge(t), newTab(t)
	e.tag = ""
	e.pages["/p"] = `<a id="out" href="https://www.example.org/">x</a><form id="f" name="f"><input id="i"></form>
		<script>addEventListener('click', (e) => e.preventDefault()); addEventListener('submit', (e) => e.preventDefault())</script>`
	run(t, tab, call(emulation.SetCPUThrottlingRate, emulation.SetCPUThrottlingRateParams{Rate: 4}, nil))
	source := strings.NewReplacer("`", "\\`", "\\", "\\\\", "${", "\\${").Replace(string(snippet.Script()))
	const runs, msMax = 7, 5.0
	took := map[string][]float64{}
	for range runs {
		run(t, tab, navigateBare(e.URL+"/p"))
		var ms map[string]float64
		run(t, tab, jsInto("(() => { const tag = document.createElement('script'); tag.dataset.site = 'pk_test'; tag.type = 'text/plain'; tag.src = '/v1/s.js'; document.head.append(tag); const ms = {}\n"+
			"const time = (name, act) => { const from = performance.now(); act(); ms[name] = performance.now() - from }\n"+
			"time('evaluation', () => (0, eval)(`"+source+"`)); visitor('consent', 'token', 'tok')\n"+
			`time('click', () => out.click()); time('input', () => i.dispatchEvent(new Event('input', {bubbles: true}))); time('submit', () => f.requestSubmit())
			time('navigation', () => history.pushState(null, '', '/q')); time('scroll', () => dispatchEvent(new Event('scroll'))); time('event', () => visitor('event', 'x'))
			time('pagehide', () => dispatchEvent(new Event('pagehide'))); return ms })()`, &ms))
		for name, took1 := range ms {
			took[name] = append(took[name], took1)
		}
	}
	for name, all := range took {
		slices.Sort(all)
		if middle := all[len(all)/2]; middle > msMax {
			t.Errorf("%s took %.1f ms, at most %.0f wanted: %v", name, middle, msMax, all)
		}
	}
	t.Logf("milliseconds: %v", took)
}
