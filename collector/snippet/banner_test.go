package snippet_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/metiva-io/metiva/consent"
)

const bannerShown = `!!document.querySelector('dialog[open]')`

func TestBanner(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		attributes, lang, yes, no string
	}{
		"nl":          {`data-banner="nl"`, "nl", "Ja, dat mag", "Nee, liever niet"},
		"en":          {`data-banner="en"`, "en", "Yes, you may", "No, thank you"},
		"of-the-page": {`data-banner data-privacy="/privacy"`, "en", "Yes, you may", "No, thank you"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, tab := newEdge(t), newTab(t)
			e.tag = tagWith(c.attributes + ` data-engagement="off" data-text-version="banner-1"`)
			e.headers.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; connect-src 'self'; require-trusted-types-for 'script'; trusted-types 'none'")
			run(t, tab, navigate(e.URL+"/1"), until(bannerShown))
			e.nextView(t, "/1")
			var seen struct {
				Lang, Label, Answers, Links, Focus string
				Equal, Covers                      bool
			}
			run(t, tab, jsInto(`(() => { const d = document.querySelector('dialog'), [a, b] = d.querySelectorAll('button'), style = (x) => JSON.stringify(['color', 'backgroundColor', 'fontSize', 'fontWeight', 'borderWidth', 'minHeight', 'padding'].map((k) => getComputedStyle(x)[k]))
				return {Lang: d.lang, Label: d.getAttribute('aria-label'), Answers: a.textContent.trim() + '|' + b.textContent.trim(), Links: [...d.querySelectorAll('a')].map((x) => x.getAttribute('href')).join(),
					Focus: document.activeElement.tagName, Equal: style(a) === style(b) && a.offsetHeight === b.offsetHeight && a.offsetHeight >= 44, Covers: d.offsetHeight > innerHeight / 2} })()`, &seen))
			if seen.Lang != c.lang || seen.Label == "" || seen.Answers != c.yes+"|"+c.no || !seen.Equal || seen.Covers || seen.Focus != "BODY" ||
				(seen.Links == "/privacy") != strings.Contains(c.attributes, "privacy") {
				t.Errorf("%+v", seen)
			}
			if text := stored(t, tab); text != "" {
				t.Errorf("stored before a choice: %s", text)
			}
			press := func(nth int) {
				t.Helper()
				run(t, tab, js(fmt.Sprintf(`document.querySelectorAll('dialog button')[%d].click()`, nth)))
			}

			// Refused: asked no more, and nothing that tells visitors apart is kept.
			press(1)
			if call := receive(t, e.choices); call.Claim.Source != consent.SourceBanner || call.Claim.Choice.Answer != consent.AnswerRefused || call.Claim.TextVersion != "banner-1" {
				t.Errorf("refused as %s", call.raw)
			}
			run(t, tab, until(`localStorage.getItem('visitor') === '{"text_version":"banner-1"}'`), navigate(e.URL+"/2"))
			e.nextView(t, "/2")
			var again bool
			run(t, tab, js(`new Promise((done) => setTimeout(done, 50))`), jsInto(bannerShown, &again))
			if again {
				t.Error("the banner asks again after a refusal")
			}
			// The same place changes the choice.
			run(t, tab, js(`visitor('consent', 'show')`), until(bannerShown))
			press(0)
			if call := receive(t, e.choices); call.Claim.Source != consent.SourceBanner || call.Claim.Choice.Answer != consent.AnswerGranted {
				t.Errorf("granted as %s", call.raw)
			}
			run(t, tab, until(`localStorage.getItem('visitor').includes('token-1')`), navigate(e.URL+"/3"))
			e.nextWith(t, "token-1")
			run(t, tab, js(`visitor('consent', 'show'); visitor('consent', 'show')`), until(bannerShown))
			press(1)
			if call := receive(t, e.choices); call.Token != "token-1" || call.Claim.Choice.Answer != consent.AnswerRefused {
				t.Errorf("refused as %s", call.raw)
			}
			run(t, tab, until(`localStorage.getItem('visitor') === '{"text_version":"banner-1"}'`))
			// Another text is another question.
			e.tag = tagWith(c.attributes + ` data-text-version="banner-2"`)
			run(t, tab, navigate(e.URL+"/4"), until(bannerShown))
			e.nextWith(t, "")
		})
	}
}

func TestNoBannerForWhoObjects(t *testing.T) {
	t.Parallel()
	e, tab := newEdge(t), newTab(t)
	e.tag = tagWith(`data-banner="nl" data-text-version="banner-1"`)
	run(t, tab, beforeLoad(`Object.defineProperty(Navigator.prototype, 'globalPrivacyControl', {get: () => true})`), navigate(e.URL+"/1"))
	var shown bool
	run(t, tab, js(`visitor('consent', 'grant', {text_version: 'banner-1'}); new Promise((done) => setTimeout(done, 50))`), jsInto(bannerShown, &shown))
	if shown || len(e.choices)+len(e.beacons) != 0 {
		t.Errorf("banner %v, %d calls, %d beacons", shown, len(e.choices), len(e.beacons))
	}
}

// TestBannerAfterWithdrawing: whoever takes back what they agreed to, or says no by
// the page's own button, is not asked again by the next page; an opt-out that is
// taken back has answered nothing.
func TestBannerAfterWithdrawing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		do    string
		asked bool
	}{
		"withdrawn":    {`visitor('consent', 'grant'); visitor('consent', 'withdraw')`, false},
		"refused":      {`visitor('consent', 'deny')`, false},
		"never-opted":  {`visitor('optin')`, true},
		"only-visited": {``, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, tab := newEdge(t), newTab(t)
			e.tag = tagWith(`data-banner="nl" data-engagement="off" data-text-version="banner-1"`)
			run(t, tab, navigate(e.URL+"/1"), until(bannerShown), js(c.do))
			e.nextView(t, "/1")
			if !c.asked {
				run(t, tab, until(`localStorage.getItem('visitor') === '{"text_version":"banner-1"}'`))
			} else if text := stored(t, tab); text != "" {
				t.Errorf("stored %s", text)
			}
			run(t, tab, navigate(e.URL+"/2"))
			e.nextView(t, "/2")
			if c.asked {
				run(t, tab, until(bannerShown))
				return
			}
			var again bool
			run(t, tab, js(`new Promise((done) => setTimeout(done, 100))`), jsInto(bannerShown, &again))
			if again {
				t.Error("the banner asks again")
			}
		})
	}
}

// TestBannerWithoutText: nobody can agree to a text without a version, and the
// console says so.
func TestBannerWithoutText(t *testing.T) {
	t.Parallel()
	for name, attribute := range map[string]string{"none": ``, "empty": `data-text-version`} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, tab := newEdge(t), newTab(t)
			e.tag = tagWith(`data-banner="nl" data-debug ` + attribute)
			run(t, tab, beforeLoad(listen), navigate(e.URL+"/1"), until(`said.includes('visitor: banner dropped no data-text-version')`))
			var shown bool
			run(t, tab, jsInto(bannerShown, &shown))
			if shown {
				t.Error("the banner asks about nothing")
			}
		})
	}
}
