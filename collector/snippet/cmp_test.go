package snippet_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"github.com/metiva-io/metiva/collector/choice"
	"github.com/metiva-io/metiva/collector/snippet"
	"github.com/metiva-io/metiva/collector/snippet/internal/bundle"
	"github.com/metiva-io/metiva/consent"
)

// platformPage is a page with consent platforms and cmp.js, and with a recorder in
// the place of the core: it keeps every call of visitor as JSON.
type platformPage struct {
	// tag has further attributes of the snippet's tag.
	tag string
	// before and after are scripts around cmp.js: a name in testdata/cmp without .js,
	// a path below the folder of packages, or script text that begins with a space.
	before, after []string
}

const recorder = `window.calls = []
	window.visitor = (...call) => { calls.push(JSON.stringify(call)) }
	visitor.ready = true
	window.settle = async () => { window.settled = false; await window.clicked; for (let i = 0; i < 5; i++) await new Promise((done) => setTimeout(done)); window.settled = true }`

// servePlatforms serves pages by their path.
func servePlatforms(t *testing.T, pages map[string]platformPage) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/cmp.js", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/javascript; charset=utf-8")
		_, _ = w.Write(snippet.Adapters())
	})
	mux.Handle("GET /doubles/", http.StripPrefix("/doubles/", http.FileServer(http.Dir("testdata/cmp"))))
	mux.Handle("GET /packages/", http.StripPrefix("/packages/", http.FileServer(http.Dir(packagesFolder()))))
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		p, ok := pages[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = fmt.Fprintf(w, `<!doctype html><title>%s</title><script>%s</script><script type="text/plain" data-site="pk_test" %s></script><body>`, r.URL.Path, recorder, p.tag)
		for _, name := range p.before {
			_, _ = io.WriteString(w, scriptElement(name))
		}
		_, _ = io.WriteString(w, `<script src="/v1/cmp.js"></script>`)
		for _, name := range p.after {
			_, _ = io.WriteString(w, scriptElement(name))
		}
		_, _ = io.WriteString(w, "<p>page")
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

// scriptElement is the element of a script as platformPage names it.
func scriptElement(name string) string {
	switch {
	case strings.HasPrefix(name, " "):
		return "<script>" + name + "</script>"
	case strings.Contains(name, "@"):
		return `<script src="/packages/` + name + `"></script>`
	}
	return `<script src="/doubles/` + name + `.js"></script>`
}

// packagesFolder is where .ci/tools/consent-platforms installs.
func packagesFolder() string {
	cache := os.Getenv("METIVA_CACHE")
	if cache == "" {
		base := os.Getenv("XDG_CACHE_HOME")
		if base == "" {
			base = filepath.Join(os.Getenv("HOME"), ".cache")
		}
		cache = filepath.Join(base, "metiva")
	}
	return filepath.Join(cache, "consent-platforms")
}

// said is a call the adapters make. analytics is true, false or null.
func said(source, analytics, raw string) string {
	return fmt.Sprintf(`["consent","cmp",{"source":%q,"analytics":%s,"raw":%q}]`, source, analytics, raw)
}

// act is one thing that happens on the page and the calls that follow from it.
type act struct {
	do   string
	want []string
}

// play runs the acts on a page and checks the calls after each: exactly those
// wanted, and no other.
func play(t *testing.T, tab context.Context, acts []act) {
	t.Helper()
	var want []string
	for i, a := range acts {
		want = append(want, a.want...)
		if a.do != "" {
			run(t, tab, js(a.do))
		}
		// A platform that loads late is found at one of the looks; whatever else the
		// act causes has happened when the page has settled.
		if len(a.want) > 0 {
			ctx, cancel := context.WithTimeout(tab, waitMax)
			err := chromedp.Do(ctx, until(fmt.Sprintf(`calls.length >= %d`, len(want))))
			cancel()
			if err != nil {
				t.Errorf("waiting for %d calls: %v", len(want), err)
			}
		}
		var got []string
		run(t, tab, js(`void settle()`), until(`window.settled`), jsInto(`calls`, &got))
		if !slices.Equal(got, want) {
			t.Fatalf("act %d, %s:\ngot  %s\nwant %s", i, a.do, strings.Join(got, "\n     "), strings.Join(want, "\n     "))
		}
	}
	for _, made := range want {
		if strings.HasPrefix(made, "[") {
			judge(t, made)
		}
	}
}

// judge checks a call with the collector's own parser and the consent package: it must
// be a claim that can be read, and say there what it says here.
func judge(t *testing.T, made string) {
	t.Helper()
	var words [3]json.RawMessage
	var said struct {
		Source, Raw string
		Analytics   *bool
	}
	if err := errors.Join(json.Unmarshal([]byte(made), &words), json.Unmarshal(words[2], &said)); err != nil {
		t.Fatal(err)
	}
	claim := map[string]any{"source": said.Source, "raw": said.Raw}
	byString := said.Source == "tcf" || said.Source == "consent_mode"
	if !byString {
		claim = map[string]any{"source": "cmp", "cmp": said.Source, "raw": said.Raw, "text_version": "nl-1"}
		if said.Analytics != nil {
			claim["made"], claim["answer"] = true, map[bool]string{true: "granted", false: "refused"}[*said.Analytics]
		}
	}
	body, err := json.Marshal(map[string]any{"site": "pk_test", "claim": claim})
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := choice.Parse(body)
	if err != nil {
		t.Fatalf("the collector cannot read %s: %v", body, err)
	}
	want := consent.AnswerNone
	switch {
	case said.Source == "tcf": // the strings of the double are none
		return
	case said.Analytics == nil, *said.Analytics && byString:
	case *said.Analytics:
		want = consent.AnswerGranted
	default:
		want = consent.AnswerRefused
	}
	if got := parsed.Claim.Answer(consent.Policy{}, time.Now()); got != want {
		t.Errorf("%s: answer %d, want %d", made, got, want)
	}
}

// story is a page and what happens on it; the first act is the loading.
type story struct {
	page platformPage
	acts []act
}

// playAll plays stories one after the other in one tab, each for a new visitor.
// back is one more visitor, who comes to the page of a story again and again.
func playAll(t *testing.T, stories map[string]story) (back func(t *testing.T, name string, acts ...act)) {
	t.Helper()
	pages := map[string]platformPage{}
	for name, s := range stories {
		pages["/"+name] = s.page
	}
	url, tab := servePlatforms(t, pages), newTab(t)
	back = func(t *testing.T, name string, acts ...act) {
		t.Helper()
		run(t, tab, navigateBare(url+"/"+strings.ReplaceAll(name, " ", "%20")))
		play(t, tab, acts)
	}
	// What a page wrote last may still be on its way to the cookies: reading them waits
	// for it, and they are cleared until there are none.
	forget := func(t *testing.T) {
		t.Helper()
		run(t, tab, js(`if (location.protocol !== "about:") void document.cookie`))
		for {
			var left network.GetCookiesResult
			run(t, tab, call(network.ClearBrowserCookies, cdp.Empty{}, nil), call(network.GetCookies, network.GetCookiesParams{URLs: []string{url}}, &left))
			if len(left.Cookies) == 0 {
				return
			}
		}
	}
	for name, s := range stories {
		t.Run(name, func(t *testing.T) {
			forget(t)
			back(t, name, s.acts...)
		})
	}
	forget(t)
	return back
}

// lateScript loads a double after everything else on the page has loaded.
func lateScript(name string) string {
	return fmt.Sprintf(`document.head.appendChild(Object.assign(document.createElement('script'), {src: '/doubles/%s.js'})); void 0`, name)
}

func options(literal string) string { return " window.double = {" + literal + "}" }

// TestEveryPlatform plays the same story on every double: nothing is said before a
// choice but that there is none; the choice is passed on once; events without a
// change are not; a refusal of something else is not; taking back and agreeing again
// are. And the stories of a choice made earlier, a refusal, and a platform that loads
// after us.
func TestEveryPlatform(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		// double is the file, visit its object on the page, tag what the site configures.
		double, visit, source, tag string
		// raw of the states; none is the one before a choice.
		none, yes, no string
		// repeat fires the platform's events without a change; other changes a choice
		// that is none of ours.
		repeat, other string
	}{
		{
			double: "cookiebot", source: "cookiebot",
			none:   "necessary=1,preferences=0,statistics=0,marketing=0,method=null",
			yes:    "necessary=1,preferences=1,statistics=1,marketing=1,method=explicit",
			no:     "necessary=1,preferences=0,statistics=0,marketing=0,method=explicit",
			repeat: `dispatchEvent(new Event('CookiebotOnConsentReady')); dispatchEvent(new Event('CookiebotOnAccept'))`,
			other:  `visit.cookiebot.acceptMarketingToo(false)`,
		},
		{
			double: "onetrust", source: "onetrust",
			none: "C0001", yes: "C0001,C0002,C0003,C0004", no: "C0001",
			repeat: `dispatchEvent(new CustomEvent('OneTrustGroupsUpdated', {detail: ['C0001', 'C0002']})); dispatchEvent(new Event('OTConsentApplied'))`,
			other:  `visit.onetrust.acceptOnly('C0002')`,
		},
		{
			double: "cookieyes", source: "cookieyes",
			none:   "necessary=1,functional=0,analytics=0,performance=0,advertisement=0,law=gdpr",
			yes:    "necessary=1,functional=1,analytics=1,performance=1,advertisement=1,law=gdpr",
			no:     "necessary=1,functional=0,analytics=0,performance=0,advertisement=0,law=gdpr",
			repeat: `document.dispatchEvent(new CustomEvent('cookieyes_banner_load'))`,
			other:  `visit.cookieyes.acceptAnalyticsOnly()`,
		},
		{
			double: "complianz", source: "complianz",
			none: "statistics=deny,type=optin", yes: "statistics=allow,type=optin", no: "statistics=deny,type=optin",
			repeat: `for (const name of ['cmplz_fire_categories', 'cmplz_banner_status', 'cmplz_status_change']) document.dispatchEvent(new CustomEvent(name))`,
			other:  `visit.complianz.only('statistics')`,
		},
		{
			double: "didomi", source: "didomi",
			none:   "cookies=null,measure_content_performance=null,market_research=null",
			yes:    "cookies=true,measure_content_performance=true,market_research=true",
			no:     "cookies=false,measure_content_performance=false,market_research=false",
			repeat: `visit.didomi.again()`,
			other:  `visit.didomi.only('cookies', 'market_research')`,
		},
		{
			double: "usercentrics2", source: "usercentrics",
			none:   "Metiva visits  companies=null,Google Analytics=null",
			yes:    "Metiva visits  companies=true,Google Analytics=true",
			no:     "Metiva visits  companies=false,Google Analytics=false",
			repeat: `dispatchEvent(new Event('UC_UI_INITIALIZED')); dispatchEvent(new CustomEvent('UC_UI_CMP_EVENT', {detail: {type: 'CMP_SHOWN'}}))`,
			other:  `visit.usercentrics2.only('mtv1', 'HkocEodjb7')`,
		},
		{
			double: "usercentrics3", source: "usercentrics",
			none: "Metiva=null", yes: "Metiva=true", no: "Metiva=false",
			repeat: `dispatchEvent(new Event('UC_UI_INITIALIZED')); dispatchEvent(new CustomEvent('UC_UI_CMP_EVENT', {detail: {type: 'CMP_SHOWN'}}))`,
			other:  `visit.usercentrics3.only('mtv1')`,
		},
		{
			double: "tcf", source: "tcf", tag: `data-cmp-vendor="755"`,
			none: "", yes: "CQacceptAAAAA.YAAA", no: "CQrefuseAAAAA.YAAA",
			repeat: `visit.tcf.reopen()`,
			other:  `visit.tcf.accept()`,
		},
	} {
		visit := "visit." + c.double
		none, yes, no := said(c.source, "null", c.none), said(c.source, "true", c.yes), said(c.source, "false", c.no)
		stored := func(choice string) string { return options(c.double + `: {stored: '` + choice + `'}`) }
		stories := map[string]story{
			"choice": {platformPage{before: []string{c.double}}, []act{
				{"", []string{none}},
				{visit + `.accept()`, []string{yes}},
				{c.repeat, nil},
				{c.other, nil},
				{visit + `.refuse()`, []string{no}},
				{visit + `.refuse()`, nil},
				{visit + `.accept()`, []string{yes}},
			}},
			"refusal": {platformPage{before: []string{c.double}}, []act{
				{"", []string{none}}, {visit + `.refuse()`, []string{no}}, {visit + `.accept()`, []string{yes}},
			}},
			"earlier yes": {platformPage{before: []string{stored("accept"), c.double}}, []act{{"", []string{yes}}, {c.repeat, nil}}},
			"earlier no":  {platformPage{before: []string{stored("refuse"), c.double}}, []act{{"", []string{no}}, {c.repeat, nil}}},
			"after us":    {platformPage{after: []string{c.double}}, []act{{"", []string{none}}, {visit + `.accept()`, []string{yes}}, {visit + `.refuse()`, []string{no}}}},
			"much later": {platformPage{before: []string{stored("accept")}}, []act{
				{"", nil}, {lateScript(c.double), []string{yes}}, {visit + `.refuse()`, []string{no}},
			}},
		}
		for name, s := range stories {
			s.page.tag = c.tag
			stories[name] = s
		}
		t.Run(c.double, func(t *testing.T) {
			t.Parallel()
			playAll(t, stories)
		})
	}
}

// TestTrapsOfPlatforms are what single platforms say that is no consent.
func TestTrapsOfPlatforms(t *testing.T) {
	t.Parallel()
	bot := func(method string) string {
		return "necessary=1,preferences=1,statistics=1,marketing=1,method=" + method
	}
	groups := "C0001,C0002,C0003,C0004"
	platforms := map[string]map[string]story{}
	for name, c := range map[string]struct {
		tag    string
		before []string
		acts   []act
	}{
		"cookiebot: scrolling is no choice": {before: []string{"cookiebot"}, acts: []act{
			{"", []string{said("cookiebot", "null", "necessary=1,preferences=0,statistics=0,marketing=0,method=null")}},
			{`visit.cookiebot.scroll()`, nil},
			{`visit.cookiebot.accept()`, []string{said("cookiebot", "true", bot("explicit"))}},
		}},
		"cookiebot: an old implied yes": {before: []string{options(`cookiebot: {stored: 'scroll'}`), "cookiebot"}, acts: []act{
			{"", []string{said("cookiebot", "null", bot("implied"))}},
		}},
		"cookiebot: renewing takes a yes back": {before: []string{options(`cookiebot: {stored: 'accept'}`), "cookiebot"}, acts: []act{
			{"", []string{said("cookiebot", "true", bot("explicit"))}},
			{`Cookiebot.renew(); dispatchEvent(new Event('CookiebotOnConsentReady'))`, []string{said("cookiebot", "false", "necessary=1,preferences=0,statistics=0,marketing=0,method=null")}},
			{`dispatchEvent(new Event('CookiebotOnConsentReady'))`, nil},
			{`Cookiebot.withdraw()`, nil},
		}},
		"cookiebot: a category of the site": {tag: `data-cmp-category="marketing"`, before: []string{"cookiebot"}, acts: []act{
			{"", []string{said("cookiebot", "null", "necessary=1,preferences=0,statistics=0,marketing=0,method=null")}},
			{`visit.cookiebot.acceptMarketingToo(false)`, []string{said("cookiebot", "false", "necessary=1,preferences=1,statistics=1,marketing=0,method=explicit")}},
		}},
		"onetrust: a choice that has lapsed": {before: []string{options(`onetrust: {stored: 'accept', lapsed: true}`), "onetrust"}, acts: []act{
			{"", []string{said("onetrust", "null", groups)}},
			{`double.onetrust.lapsed = false; visit.onetrust.accept()`, []string{said("onetrust", "true", groups)}},
		}},
		"onetrust: opt-out": {before: []string{options(`onetrust: {model: 'opt-out'}`), "onetrust"}, acts: []act{
			{"", []string{said("onetrust", "null", groups)}},
			{`visit.onetrust.close()`, nil},
			{`visit.onetrust.accept()`, nil},
			{`visit.onetrust.refuse()`, []string{said("onetrust", "false", "C0001")}},
		}},
		"onetrust: implied consent": {before: []string{options(`onetrust: {model: 'implied consent'}`), "onetrust"}, acts: []act{
			{"", []string{said("onetrust", "null", groups)}}, {`visit.onetrust.close()`, nil},
		}},
		"onetrust: closed without a choice": {before: []string{"onetrust"}, acts: []act{
			{"", []string{said("onetrust", "null", "C0001")}}, {`visit.onetrust.close()`, []string{said("onetrust", "false", "C0001")}},
		}},
		"onetrust: always active": {before: []string{options(`onetrust: {always: ['C0002']}`), "onetrust"}, acts: []act{
			{"", []string{said("onetrust", "null", "C0001,C0002")}}, {`visit.onetrust.refuse()`, nil}, {`visit.onetrust.accept()`, nil},
		}},
		"onetrust: settings before the script": {before: []string{options(`onetrust: {settingsFirst: true, stored: 'accept'}`), "onetrust"}, acts: []act{
			{"", nil}, {`visit.onetrust.load()`, []string{said("onetrust", "true", groups)}},
		}},
		"cookieyes: opt-out": {before: []string{options(`cookieyes: {law: 'ccpa'}`), "cookieyes"}, acts: []act{
			{"", []string{said("cookieyes", "null", "necessary=1,functional=1,analytics=1,performance=1,advertisement=1,law=ccpa")}},
			{`visit.cookieyes.accept()`, nil},
			{`visit.cookieyes.refuse()`, []string{said("cookieyes", "false", "necessary=1,functional=0,analytics=0,performance=0,advertisement=0,law=ccpa")}},
		}},
		"complianz: opt-out": {before: []string{options(`complianz: {type: 'optout'}`), "complianz"}, acts: []act{
			{"", []string{said("complianz", "null", "statistics=allow,type=optout")}},
			{`visit.complianz.dismiss()`, nil},
			{`visit.complianz.accept()`, nil},
			{`visit.complianz.refuse()`, []string{said("complianz", "false", "statistics=deny,type=optout")}},
		}},
		"complianz: another region":            {before: []string{options(`complianz: {type: 'other'}`), "complianz"}, acts: []act{{"", []string{said("complianz", "null", "statistics=allow,type=other")}}, {`visit.complianz.dismiss()`, nil}}},
		"complianz: statistics without asking": {before: []string{options(`complianz: {type: 'optinstats'}`), "complianz"}, acts: []act{{"", []string{said("complianz", "null", "statistics=allow,type=optinstats")}}, {`visit.complianz.dismiss()`, nil}}},
		"complianz: anonymous statistics are others": {before: []string{"complianz"}, acts: []act{
			{"", []string{said("complianz", "null", "statistics=deny,type=optin")}},
			{`cmplz_has_consent('statistics-anonymous') && visit.complianz.only('marketing')`, []string{said("complianz", "false", "statistics=deny,type=optin")}},
		}},
		"didomi: not ready": {before: []string{options(`didomi: {notReady: true, stored: 'accept'}`), "didomi"}, acts: []act{
			{"", nil}, {`visit.didomi.start()`, []string{said("didomi", "true", "cookies=true,measure_content_performance=true,market_research=true")}},
		}},
		"didomi: to be asked again": {before: []string{options(`didomi: {expired: true, stored: 'accept'}`), "didomi"}, acts: []act{
			{"", []string{said("didomi", "null", "cookies=true,measure_content_performance=true,market_research=true")}},
		}},
		"didomi: purposes without storage": {before: []string{"didomi"}, acts: []act{
			{"", []string{said("didomi", "null", "cookies=null,measure_content_performance=null,market_research=null")}},
			{`visit.didomi.only('measure_content_performance', 'market_research')`, []string{said("didomi", "false", "cookies=false,measure_content_performance=true,market_research=true")}},
		}},
		"didomi: no GDPR": {before: []string{options(`didomi: {regulation: 'cpra'}`), "didomi"}, acts: []act{
			{"", []string{said("didomi", "null", "cookies=true,measure_content_performance=true,market_research=true")}},
			{`visit.didomi.refuse()`, []string{said("didomi", "false", "cookies=false,measure_content_performance=false,market_research=false")}},
		}},
		"didomi: a reset takes a yes back": {before: []string{options(`didomi: {stored: 'accept'}`), "didomi"}, acts: []act{
			{"", []string{said("didomi", "true", "cookies=true,measure_content_performance=true,market_research=true")}},
			{`visit.didomi.reset()`, []string{said("didomi", "false", "cookies=null,measure_content_performance=null,market_research=null")}},
		}},
		"didomi: a purpose of the site": {tag: `data-cmp-category="create_ads_profile"`, before: []string{"didomi"}, acts: []act{
			{"", []string{said("didomi", "null", "create_ads_profile=null")}},
			{`visit.didomi.only('cookies')`, []string{said("didomi", "false", "create_ads_profile=false")}},
			{`visit.didomi.only('create_ads_profile')`, []string{said("didomi", "true", "create_ads_profile=true")}},
		}},
		"usercentrics 2: outside the Union": {before: []string{options(`usercentrics2: {region: 'none'}`), "usercentrics2"}, acts: []act{
			{"", []string{said("usercentrics", "null", "Metiva visits  companies=null,Google Analytics=null")}},
		}},
		"usercentrics 2: one service of two": {before: []string{"usercentrics2"}, acts: []act{
			{"", []string{said("usercentrics", "null", "Metiva visits  companies=null,Google Analytics=null")}},
			{`visit.usercentrics2.only('mtv1')`, []string{said("usercentrics", "false", "Metiva visits  companies=true,Google Analytics=false")}},
		}},
		"usercentrics 2: a service of the site": {tag: `data-cmp-category="mtv1"`, before: []string{"usercentrics2"}, acts: []act{
			{"", []string{said("usercentrics", "null", "Metiva visits  companies=null")}},
			{`visit.usercentrics2.only('mtv1')`, []string{said("usercentrics", "true", "Metiva visits  companies=true")}},
		}},
		"usercentrics 2: no service of that name": {tag: `data-cmp-category="nothing"`, before: []string{"usercentrics2"}, acts: []act{
			{"", nil}, {`visit.usercentrics2.accept()`, nil},
		}},
		"usercentrics 3: given by default": {before: []string{options(`usercentrics3: {implied: true}`), "usercentrics3"}, acts: []act{
			{"", []string{said("usercentrics", "null", "Metiva=null")}}, {`visit.usercentrics3.accept()`, []string{said("usercentrics", "true", "Metiva=true")}},
		}},
		"usercentrics 3: not started": {before: []string{options(`usercentrics3: {notStarted: true, stored: 'accept'}`), "usercentrics3"}, acts: []act{
			{"", nil}, {`visit.usercentrics3.start()`, []string{said("usercentrics", "true", "Metiva=true")}},
		}},
		"tcf: the stub": {before: []string{options(`tcf: {stub: true, stored: 'accept'}`), "tcf"}, acts: []act{
			{"", nil}, {`visit.tcf.load()`, []string{said("tcf", "true", "CQacceptAAAAA.YAAA")}},
		}},
		"tcf: the GDPR does not apply": {before: []string{options(`tcf: {gdprApplies: false, stored: 'accept'}`), "tcf"}, acts: []act{
			{"", nil}, {`visit.tcf.accept()`, nil},
		}},
		"tcf: no storage":     {before: []string{options(`tcf: {stored: 'accept', purposes: {1: false}}`), "tcf"}, acts: []act{{"", []string{said("tcf", "false", "CQacceptAAAAA.YAAA")}}}},
		"tcf: no measurement": {before: []string{options(`tcf: {stored: 'accept', purposes: {8: false, 9: false}}`), "tcf"}, acts: []act{{"", []string{said("tcf", "false", "CQacceptAAAAA.YAAA")}}}},
		"tcf: not our vendor": {tag: `data-cmp-vendor="755"`, before: []string{options(`tcf: {stored: 'accept', vendors: {755: false}}`), "tcf"}, acts: []act{{"", []string{said("tcf", "false", "CQacceptAAAAA.YAAA")}}}},
		"tcf: a string no record holds": {before: []string{options(`tcf: {stored: 'accept', strings: {accept: 'C'.repeat(2049)}}`), "tcf"}, acts: []act{
			{"", nil}, {`visit.tcf.refuse()`, []string{said("tcf", "false", "CQrefuseAAAAA.YAAA")}},
		}},
		"consent mode: a default is no choice": {before: []string{options(`consentmode: {default: 'granted'}`), "consentmode"}, acts: []act{
			{"", nil},
			{`visit.consentmode.tagManager(); visit.consentmode.update({ad_storage: 'granted'})`, nil},
			{`visit.consentmode.update({analytics_storage: 'denied'})`, []string{said("consent_mode", "false", "G110")}},
			{`visit.consentmode.refuse()`, nil},
			{`visit.consentmode.accept()`, []string{said("consent_mode", "true", "G111")}},
		}},
		"consent mode: an update before us": {before: []string{options(`consentmode: {stored: 'refuse'}`), "consentmode"}, acts: []act{
			{"", []string{said("consent_mode", "false", "G100")}},
		}},
		"wp: nobody manages consent": {before: []string{"wpconsent"}, acts: []act{
			{"", nil},
			{`visit.wpconsent.define('optin')`, []string{said("wp_consent_api", "null", "statistics=deny,type=optin")}},
			{`wp_set_consent('statistics-anonymous', 'allow')`, nil},
			{`visit.wpconsent.accept()`, []string{said("wp_consent_api", "true", "statistics=allow,type=optin")}},
			{`visit.wpconsent.accept()`, nil},
			{`wp_set_consent('marketing', 'deny')`, nil},
			{`visit.wpconsent.refuse()`, []string{said("wp_consent_api", "false", "statistics=deny,type=optin")}},
		}},
		"wp: a refusal": {before: []string{options(`wpconsent: {type: 'optin'}`), "wpconsent"}, acts: []act{
			{"", []string{said("wp_consent_api", "null", "statistics=deny,type=optin")}},
			{`visit.wpconsent.refuse()`, []string{said("wp_consent_api", "false", "statistics=deny,type=optin")}},
		}},
		"wp: an earlier yes": {before: []string{options(`wpconsent: {fallback: 'optin', stored: 'accept'}`), "wpconsent"}, acts: []act{
			{"", []string{said("wp_consent_api", "true", "statistics=allow,type=optin")}},
		}},
		"wp: opt-out": {before: []string{options(`wpconsent: {type: 'optout'}`), "wpconsent"}, acts: []act{
			{"", []string{said("wp_consent_api", "null", "statistics=allow,type=optout")}},
			{`visit.wpconsent.accept()`, nil},
			{`visit.wpconsent.refuse()`, []string{said("wp_consent_api", "false", "statistics=deny,type=optout")}},
		}},
	} {
		platform, trap, _ := strings.Cut(name, ": ")
		if platforms[platform] == nil {
			platforms[platform] = map[string]story{}
		}
		platforms[platform][trap] = story{platformPage{tag: c.tag, before: c.before}, c.acts}
	}
	for platform, stories := range platforms {
		t.Run(platform, func(t *testing.T) {
			t.Parallel()
			playAll(t, stories)
		})
	}
}

func TestAdaptersAreSmall(t *testing.T) {
	t.Parallel()
	sizes, err := bundle.SizesOf(snippet.Adapters())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes, %d with brotli", sizes.Raw, sizes.Brotli)
	if sizes.Brotli > bundle.AdaptersBrotliBytesMax {
		t.Errorf("%d bytes with brotli, want at most %d", sizes.Brotli, bundle.AdaptersBrotliBytesMax)
	}
}
