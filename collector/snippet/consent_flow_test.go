package snippet_test

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/metiva-io/metiva/collector/choice"
	"github.com/metiva-io/metiva/consent"
)

// stored is what the origin's storage holds of ours.
func stored(t *testing.T, tab context.Context) string {
	t.Helper()
	var text string
	run(t, tab, jsInto(`localStorage.length > 1 ? 'more than one' : localStorage.getItem('visitor') || ''`, &text))
	return text
}

// nextWith returns the next beacon, which must carry the token.
func (e *edge) nextWith(t *testing.T, token string) beacon {
	t.Helper()
	b := e.next(t)
	if b.Consent != token {
		t.Errorf("consent %q, want %q: %s", b.Consent, token, b.raw)
	}
	return b
}

func TestGrantIsKeptAndReadBack(t *testing.T) {
	t.Parallel()
	e, tab := newEdge(t), newTab(t)
	e.tag = tagWith(`data-consent data-engagement="off"`)
	open := func(path, token string) {
		t.Helper()
		run(t, tab, navigate(e.URL+path))
		e.nextView(t, path)
	}
	open("/1", "")
	run(t, tab, js(`visitor('consent', 'grant', {text_version: 'nl-1'})`))
	call := receive(t, e.choices)
	if call.Token != "" || call.ID == "" || !call.HasClaim || call.Claim.Source != consent.SourceAPI || call.Claim.TextVersion != "nl-1" ||
		call.Claim.Choice != (consent.Choice{Answer: consent.AnswerGranted, Made: true}) {
		t.Errorf("granted as %s", call.raw)
	}
	run(t, tab, until(`!!localStorage.getItem('visitor')`))
	run(t, tab, js(`history.pushState(null, '', '/spa')`))
	e.nextWith(t, "token-0")

	// A later page reads it back; asking again changes nothing.
	run(t, tab, navigate(e.URL+"/2"))
	e.nextWith(t, "token-0")
	run(t, tab, js(`visitor('consent', 'grant', {text_version: 'nl-1'}); history.pushState(null, '', '/3')`))
	e.nextWith(t, "token-0")
	// Another text is another grant, of the same visitor.
	run(t, tab, js(`visitor('consent', 'grant', {text_version: 'nl-2'})`))
	if call := receive(t, e.choices); call.Token != "token-0" || call.Claim.TextVersion != "nl-2" {
		t.Errorf("another text: %s", call.raw)
	}
	run(t, tab, until(`localStorage.getItem('visitor').includes('token-1')`), js(`history.pushState(null, '', '/4')`))
	e.nextWith(t, "token-1")

	// Withdrawn: the collector knows, and the device is clear.
	run(t, tab, js(`visitor('consent', 'withdraw')`))
	if call := receive(t, e.choices); call.Action != choice.Withdraw || call.Token != "token-1" {
		t.Errorf("withdrawn as %s", call.raw)
	}
	run(t, tab, until(`localStorage.length === 0`), js(`history.pushState(null, '', '/5')`))
	e.nextWith(t, "")
	run(t, tab, navigate(e.URL+"/6"))
	e.nextWith(t, "")
	if len(e.choices) != 0 {
		t.Errorf("one call too many: %s", receive(t, e.choices).raw)
	}
}

func TestRefusal(t *testing.T) {
	t.Parallel()
	e, tab := newEdge(t), newTab(t)
	e.tag = tagWith(`data-consent data-engagement="off"`)
	run(t, tab, navigate(e.URL+"/1"))
	e.nextView(t, "/1")
	run(t, tab, js(`visitor('consent', 'deny', {text_version: 'nl-1'}); visitor('event', 'plan'); history.pushState(null, '', '/2')`))
	if call := receive(t, e.choices); call.Claim.Choice != (consent.Choice{Answer: consent.AnswerRefused, Made: true}) || call.Token != "" {
		t.Errorf("refused as %s", call.raw)
	}
	e.nextView(t, "/2")
	if text := stored(t, tab); text != "" {
		t.Errorf("a refusal left %s", text)
	}
	// After a grant, a refusal takes it back.
	run(t, tab, js(`visitor('consent', 'grant', {text_version: 'nl-1'})`), until(`!!localStorage.getItem('visitor')`), js(`visitor('consent', 'deny')`))
	receive(t, e.choices)
	if call := receive(t, e.choices); call.Token != "token-1" || call.Claim.Choice.Answer != consent.AnswerRefused {
		t.Errorf("refused as %s", call.raw)
	}
	run(t, tab, until(`localStorage.length === 0`))
}

// TestMindChangedBeforeTheAnswer: a grant that is refused while its token is on
// its way is taken back when the token comes.
func TestMindChangedBeforeTheAnswer(t *testing.T) {
	t.Parallel()
	e, tab := newEdge(t), newTab(t)
	run(t, tab, navigate(e.URL+"/1"))
	e.nextView(t, "/1")
	run(t, tab, js(`visitor('consent', 'grant', {text_version: 'nl-1'}); visitor('consent', 'deny')`))
	receive(t, e.choices)
	seen := receive(t, e.choices).raw + receive(t, e.choices).raw
	if !strings.Contains(seen, `"refused"`) || !strings.Contains(seen, `{"site":"pk_test","token":"token-0","withdraw":true}`) {
		t.Errorf("after the grant: %s", seen)
	}
	run(t, tab, until(`localStorage.length === 0`))
}

// TestWithdrawalIsNotLost: what the collector could not be told stays, as a
// withdrawal and not as a grant, until it can.
func TestWithdrawalIsNotLost(t *testing.T) {
	t.Parallel()
	e, tab := newEdge(t), newTab(t)
	e.tag = tagWith(`data-consent data-engagement="off"`)
	var down atomic.Bool
	e.refusals = func(int) int {
		if down.Load() {
			return http.StatusServiceUnavailable
		}
		return http.StatusOK
	}
	run(t, tab, beforeLoad(`navigator.sendBeacon = () => false`), navigate(e.URL+"/1"))
	e.nextView(t, "/1")
	run(t, tab, js(`visitor('consent', 'grant', {text_version: 'nl-1'})`), until(`!!localStorage.getItem('visitor')`))
	receive(t, e.choices)
	down.Store(true)
	run(t, tab, js(`visitor('consent', 'withdraw')`))
	receive(t, e.choices)
	if text := stored(t, tab); text != `{"withdraw":"token-0"}` {
		t.Errorf("stored %s", text)
	}
	down.Store(false)
	run(t, tab, navigate(e.URL+"/2"))
	if call := receive(t, e.choices); call.Action != choice.Withdraw || call.Token != "token-0" {
		t.Errorf("the next page sends %s", call.raw)
	}
	e.nextWith(t, "")
	run(t, tab, until(`localStorage.length === 0`))
}

func TestOptOut(t *testing.T) {
	t.Parallel()
	e, tab := newEdge(t), newTab(t)
	e.tag = tagWith(`data-consent data-engagement="off"`)
	e.pages["/1"] = `<a id="out" href="#visitor-optout">Meet mij niet</a>`
	run(t, tab, navigate(e.URL+"/1"))
	e.nextView(t, "/1")
	run(t, tab, js(`visitor('consent', 'grant', {text_version: 'nl-1'})`), until(`!!localStorage.getItem('visitor')`), js(`out.click(); history.pushState(null, '', '/2')`))
	receive(t, e.choices)
	if call := receive(t, e.choices); call.Action != choice.Withdraw {
		t.Errorf("an objection sends %s", call.raw)
	}
	run(t, tab, until(`localStorage.getItem('visitor') === '{"optout":true}'`), navigate(e.URL+"/3"), until(loaded))
	run(t, tab, js(`visitor('consent', 'grant', {text_version: 'nl-1'}); history.pushState(null, '', '/4'); visitor('optin'); history.pushState(null, '', '/5')`))
	e.nextView(t, "/5")
	if text := stored(t, tab); text != "" {
		t.Errorf("after the objection was taken back: %s", text)
	}
	if len(e.choices) != 0 {
		t.Errorf("one call too many: %s", receive(t, e.choices).raw)
	}
}

// TestEveryTabFollows: a choice in one tab holds in the others.
func TestEveryTabFollows(t *testing.T) {
	t.Parallel()
	e, tab := newEdge(t), newTab(t)
	e.tag = tagWith(`data-consent data-engagement="off"`)
	e.pages["/1"] = `<iframe id="other" src="/2"></iframe>`
	run(t, tab, navigate(e.URL+"/1"))
	e.next(t)
	e.next(t)
	run(t, tab, until(`!!other.contentWindow.visitor`), js(`visitor('consent', 'grant', {text_version: 'nl-1'})`), until(`!!localStorage.getItem('visitor')`))
	receive(t, e.choices)
	waitFor := func(token string) {
		t.Helper()
		for i := 0; ; i++ {
			run(t, tab, js(`other.contentWindow.history.pushState(null, '', '/other' + Math.random())`))
			if e.next(t).Consent == token {
				return
			}
			if i > 100 {
				t.Fatalf("the other frame never sends %q", token)
			}
		}
	}
	waitFor("token-0")
	run(t, tab, js(`visitor('consent', 'withdraw')`))
	receive(t, e.choices)
	waitFor("")
}

func TestRefusedGrantKeepsNothing(t *testing.T) {
	t.Parallel()
	e, tab := newEdge(t), newTab(t)
	e.refusals = func(int) int { return http.StatusUnprocessableEntity }
	run(t, tab, navigate(e.URL+"/1"))
	e.nextView(t, "/1")
	run(t, tab, js(`visitor('consent', 'grant', {text_version: 'nobody-knows'})`))
	receive(t, e.choices)
	run(t, tab, js(`history.pushState(null, '', '/2')`))
	e.nextWith(t, "")
	if text := stored(t, tab); text != "" {
		t.Errorf("stored %s", text)
	}
}
