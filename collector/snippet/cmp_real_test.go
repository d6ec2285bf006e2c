package snippet_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// The platforms that run for real, as .ci/tools/consent-platforms installs them.
const (
	klaroScript   = "klaro@0.7.22/package/dist/klaro.js"
	vanillaScript = "vanilla-cookieconsent@3.1.0/package/dist/cookieconsent.umd.js"
)

func needPackages(t *testing.T) {
	t.Helper()
	for _, script := range []string{klaroScript, vanillaScript} {
		if _, err := os.Stat(filepath.Join(packagesFolder(), script)); err != nil {
			t.Fatalf("%v: run `make consent-platforms`", err)
		}
	}
}

// klaroConfig has a service that is ours, one of others and one without a choice.
func klaroConfig(name, ours string) string {
	return fmt.Sprintf(` window.%s = {lang: 'en', acceptAll: true, services: [
		{name: 'metiva', title: 'Metiva', purposes: ['analytics']%s},
		{name: 'ads', title: 'Ads', purposes: ['marketing']},
		{name: 'session', title: 'Session', purposes: ['functional'], required: true, default: true}]}`, name, ours)
}

// click presses a button of the page once it is there, as a visitor does.
func click(selector string) string {
	return fmt.Sprintf(`window.clicked = (async () => { let b; while (!(b = document.querySelector(%q))) await new Promise((done) => setTimeout(done, 5)); b.click() })(); void 0`, selector)
}

const (
	klaroAccept  = `#klaro .cm-btn-success:not(.cm-btn-info), #klaro .cm-btn-accept-all`
	klaroDecline = `#klaro .cn-decline`
)

func TestKlaro(t *testing.T) {
	t.Parallel()
	needPackages(t)
	none, yes, no := said("klaro", "null", "metiva=null"), said("klaro", "true", "metiva=true"), said("klaro", "false", "metiva=false")
	config := klaroConfig("klaroConfig", "")
	// What stays true or has no switch is no choice; a refusal of it is one.
	noChoice := func(ours string) story {
		return story{platformPage{before: []string{klaroConfig("klaroConfig", ours), klaroScript}}, []act{
			{"", []string{none}}, {click(klaroAccept), nil},
		}}
	}
	stories := map[string]story{
		"the notice": {platformPage{before: []string{config, klaroScript}}, []act{
			{"", []string{none}},
			{click(klaroAccept), []string{yes}},
			{`klaro.getManager().saveAndApplyConsents()`, nil},
			{`klaro.show(undefined, true)`, nil},
			// A switch moved and not saved is no choice.
			{click(`#service-item-metiva`), nil},
			{click(`#klaro .cm-btn-accept`), []string{no}},
			{`klaro.getManager().changeAll(true); klaro.getManager().saveAndApplyConsents()`, []string{yes}},
			{`klaro.getManager().resetConsents()`, []string{said("klaro", "false", "metiva=null")}},
		}},
		"refused": {platformPage{before: []string{config, klaroScript}}, []act{{"", []string{none}}, {click(klaroDecline), []string{no}}}},
		"one service only": {platformPage{before: []string{config, klaroScript}}, []act{
			{"", []string{none}},
			{`klaro.getManager().updateConsent('ads', true)`, nil},
			{`klaro.getManager().saveAndApplyConsents()`, []string{no}},
		}},
		"another service is ours": {platformPage{tag: `data-cmp-category="ads"`, before: []string{config, klaroScript}}, []act{
			{"", []string{said("klaro", "null", "ads=null")}}, {click(klaroAccept), []string{said("klaro", "true", "ads=true")}},
		}},
		"no such service":   {platformPage{tag: `data-cmp-category="x"`, before: []string{config, klaroScript}}, []act{{"", nil}, {click(klaroAccept), nil}}},
		"after us":          {platformPage{after: []string{config, klaroScript}}, []act{{"", []string{none}}, {click(klaroAccept), []string{yes}}}},
		"set up much later": {platformPage{before: []string{klaroScript}, after: []string{klaroConfig("late", "")}}, []act{{"", nil}, {`klaro.setup(late)`, []string{none}}, {click(klaroAccept), []string{yes}}}},
		"ticked beforehand": noChoice(", default: true"),
		"required":          noChoice(", required: true"),
		"opt-out":           noChoice(", optOut: true"),
	}
	back := playAll(t, stories)
	// Coming back: what was chosen is said once on each page.
	back(t, "after us", act{"", []string{none}}, act{click(klaroAccept), []string{yes}})
	back(t, "refused", act{"", []string{yes}}, act{`klaro.getManager().changeAll(false); klaro.getManager().saveAndApplyConsents()`, []string{no}})
	back(t, "after us", act{"", []string{no}})
}

func vanillaConfig(analytics, more string) string {
	return fmt.Sprintf(` window.startPlatform = () => CookieConsent.run({hideFromBots: false, %s categories: {necessary: {enabled: true, readOnly: true}, analytics: {%s}, ads: {}},
		language: {default: 'en', translations: {en: {
			consentModal: {title: 'Cookies', acceptAllBtn: 'Accept', acceptNecessaryBtn: 'Reject', showPreferencesBtn: 'Preferences'},
			preferencesModal: {title: 'Preferences', acceptAllBtn: 'Accept', acceptNecessaryBtn: 'Reject', savePreferencesBtn: 'Save', closeIconLabel: 'Close',
				sections: [{title: 'Analytics', linkedCategory: 'analytics'}, {title: 'Ads', linkedCategory: 'ads'}]}}}}})`, more, analytics)
}

func TestVanillaCookieConsent(t *testing.T) {
	t.Parallel()
	needPackages(t)
	const start = " startPlatform()"
	none, yes, no := said("vanilla_cookieconsent", "null", "analytics=0"), said("vanilla_cookieconsent", "true", "analytics=1"), said("vanilla_cookieconsent", "false", "analytics=0")
	page := func(analytics, more string) platformPage {
		return platformPage{before: []string{vanillaScript, vanillaConfig(analytics, more), start}}
	}
	const accept, refuse = `#cc-main .cm [data-role=all]`, `#cc-main .cm [data-role=necessary]`
	stories := map[string]story{
		"the banner": {page("", ""), []act{
			{"", []string{none}},
			{click(accept), []string{yes}},
			{`CookieConsent.acceptCategory(['analytics', 'ads'])`, nil},
			{`CookieConsent.showPreferences()`, nil},
			// A switch moved and not saved is no choice.
			{click(`#cc-main .pm input[value=analytics]`), nil},
			{click(`#cc-main .pm [data-role=save]`), []string{no}},
			{`CookieConsent.acceptCategory('analytics')`, []string{yes}},
			{`CookieConsent.reset(true)`, nil},
			{`void startPlatform()`, []string{no}},
		}},
		"refused":           {page("", ""), []act{{"", []string{none}}, {click(refuse), []string{no}}}},
		"one category only": {page("", ""), []act{{"", []string{none}}, {`CookieConsent.acceptCategory('ads')`, []string{no}}}},
		"no such category": {platformPage{tag: `data-cmp-category="x"`, before: page("", "").before}, []act{
			{"", nil}, {click(accept), nil},
		}},
		"opt-out": {page("", "mode: 'opt-out',"), []act{
			{"", []string{none}}, {click(accept), nil}, {`CookieConsent.acceptCategory([])`, []string{no}},
		}},
		"ticked beforehand": {page("enabled: true", ""), []act{{"", []string{none}}, {click(accept), nil}}},
		"read-only":         {page("readOnly: true", ""), []act{{"", []string{none}}, {click(refuse), nil}}},
		"after us":          {platformPage{after: page("", "").before}, []act{{"", []string{none}}, {click(accept), []string{yes}}}},
		"much later": {platformPage{before: []string{vanillaScript, vanillaConfig("", "")}}, []act{
			{"", nil}, {`void startPlatform()`, []string{none}}, {click(accept), []string{yes}},
		}},
	}
	back := playAll(t, stories)
	// Coming back: what was chosen is said once on each page.
	back(t, "after us", act{"", []string{none}}, act{click(accept), []string{yes}})
	back(t, "refused", act{"", []string{yes}}, act{`CookieConsent.acceptCategory([])`, []string{no}})
	back(t, "after us", act{"", []string{no}})
}

// TestSeveralPlatforms: each speaks for itself and the core takes the most
// restrictive; within one look the refusals go first.
func TestSeveralPlatforms(t *testing.T) {
	t.Parallel()
	bot := func(yes int, method string) string {
		return fmt.Sprintf("necessary=1,preferences=%d,statistics=%d,marketing=%d,method=%s", yes, yes, yes, method)
	}
	playAll(t, map[string]story{
		"earlier choices contradict": {platformPage{before: []string{
			options(`cookiebot: {stored: 'accept'}, tcf: {stored: 'refuse'}, consentmode: {stored: 'refuse'}`), "cookiebot", "tcf", "consentmode",
		}}, []act{
			{"", []string{
				said("tcf", "false", "CQrefuseAAAAA.YAAA"), said("consent_mode", "false", "G100"), said("cookiebot", "true", bot(1, "explicit")),
			}},
			{`visit.cookiebot.refuse(); visit.tcf.accept(); visit.consentmode.accept()`, []string{
				said("cookiebot", "false", bot(0, "explicit")), said("tcf", "true", "CQacceptAAAAA.YAAA"), said("consent_mode", "true", "G111"),
			}},
		}},
		"a platform and its carrier": {platformPage{before: []string{options(`wpconsent: {type: 'optin'}`), "complianz", "wpconsent"}}, []act{
			{"", []string{said("complianz", "null", "statistics=deny,type=optin"), said("wp_consent_api", "null", "statistics=deny,type=optin")}},
			{`visit.complianz.accept(); visit.wpconsent.accept()`, []string{
				said("complianz", "true", "statistics=allow,type=optin"), said("wp_consent_api", "true", "statistics=allow,type=optin"),
			}},
		}},
	})
}

// everyDouble is all of them on one page, as far as they go together.
var everyDouble = []string{"cookiebot", "onetrust", "cookieyes", "complianz", "wpconsent", "didomi", "usercentrics2", "tcf", "consentmode"}

// TestAdaptersReadNothingOfTheDevice: no cookie, no storage, no new global, whatever
// the platforms say.
func TestAdaptersReadNothingOfTheDevice(t *testing.T) {
	t.Parallel()
	url := servePlatforms(t, map[string]platformPage{"/": {
		before: slices.Concat([]string{options(`wpconsent: {type: 'optin'}`)}, everyDouble, []string{" window.names = Object.keys(window)"}),
	}})
	tab := newTab(t)
	run(t, tab, beforeLoad(deviceWatch), navigateBare(url+"/"), until(`calls.length >= 8`),
		js(`for (const platform of Object.values(visit)) platform.accept()`), until(`calls.length >= 17`))
	var touched, names []string
	run(t, tab, jsInto(`touched`, &touched), jsInto(`Object.keys(window).filter((name) => !names.includes(name) && name !== 'names')`, &names))
	if len(touched) != 0 || len(names) != 0 {
		t.Errorf("touched %v, new globals %v", touched, names)
	}
}

// deviceWatch notes every use of what keeps something on the device.
const deviceWatch = `window.touched = []
	for (const name of ['localStorage', 'sessionStorage', 'indexedDB', 'caches', 'cookieStore']) {
		const original = Object.getOwnPropertyDescriptor(window, name)
		if (original) Object.defineProperty(window, name, {get() { touched.push(name); return original.get.call(window) }})
	}
	Object.defineProperty(document, 'cookie', {get() { touched.push('cookie'); return '' }, set() { touched.push('cookie=') }})`

// TestPlatformsThatFail: whatever a platform or the page does, nothing of it reaches
// the page's error handlers (newTab watches them), and the others are still heard.
func TestPlatformsThatFail(t *testing.T) {
	t.Parallel()
	const names = `'Cookiebot OneTrust OnetrustActiveGroups getCkyConsent complianz cmplz_has_consent wp_has_consent Didomi UC_UI __ucCmp klaro __tcfapi dataLayer'.split(' ')`
	cookieYes := said("cookieyes", "null", "necessary=1,functional=0,analytics=0,performance=0,advertisement=0,law=gdpr")
	playAll(t, map[string]story{
		"getters that throw": {platformPage{before: []string{
			` for (const name of ` + names + `) if (name !== 'getCkyConsent') Object.defineProperty(window, name, {get() { throw new Error(name) }})`, "cookieyes",
		}}, []act{{"", []string{cookieYes}}}},
		"other things by those names": {platformPage{before: []string{
			` for (const name of ` + names + `) window[name] = [1, 'x', null, () => { throw 1 }, {consent: {}}, new Proxy({}, {get() { throw 2 }})][name.length % 6]`, "cookieyes",
		}}, []act{{`for (const name of ['UC_CONSENT', 'cc:onConsent', 'wp_listen_for_consent_change', 'OneTrustGroupsUpdated']) dispatchEvent(new CustomEvent(name, {detail: 7}))`, []string{cookieYes}}}},
		"elements by those names": {platformPage{before: []string{
			` for (const name of ` + names + `) document.head.append(Object.assign(document.createElement('form'), {id: name}))`, "cookieyes",
		}}, []act{{"", []string{cookieYes}}}},
		"frozen": {platformPage{before: []string{"consentmode", " Object.freeze(dataLayer)", "cookieyes"}}, []act{{"", []string{cookieYes}}}},
		"no core yet": {platformPage{before: []string{" window.core = visitor; delete window.visitor", "cookieyes"}}, []act{
			{`visit.cookieyes.refuse()`, nil},
			{`window.visitor = core`, []string{said("cookieyes", "false", "necessary=1,functional=0,analytics=0,performance=0,advertisement=0,law=gdpr")}},
		}},
		"a core that throws": {platformPage{before: []string{" window.visitor = Object.assign((...call) => { calls.push(JSON.stringify(call)); throw new Error('no') }, {ready: true})", "cookieyes"}}, []act{
			{"", []string{cookieYes}},
			{`visit.cookieyes.refuse()`, []string{said("cookieyes", "false", "necessary=1,functional=0,analytics=0,performance=0,advertisement=0,law=gdpr")}},
		}},
	})
}

// TestTheWaitIsBounded: the looks for a platform that is not there end, and one that
// announces itself is heard even then.
func TestTheWaitIsBounded(t *testing.T) {
	t.Parallel()
	needPackages(t)
	url := servePlatforms(t, map[string]platformPage{"/": {before: []string{vanillaScript, vanillaConfig("", "")}}})
	tab := newTab(t)
	// Our time runs as fast as it can; every wait is written down.
	run(t, tab, beforeLoad(`{ const later = window.setTimeout; window.waits = []
		window.setTimeout = (run, ms, ...rest) => {
			if (!ms || !new Error().stack.includes('/v1/cmp.js')) return later(run, ms, ...rest)
			waits.push(ms)
			return later(run, 0, ...rest)
		} }`),
		navigateBare(url+"/"), until(`waits.includes(25600)`), js(`void settle()`), until(`window.settled`))
	var waits []int
	run(t, tab, jsInto(`waits`, &waits))
	if want := []int{50, 100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600}; !slices.Equal(waits, want) {
		t.Errorf("waits %v, want %v", waits, want)
	}
	play(t, tab, []act{{"", nil}, {`void startPlatform()`, []string{said("vanilla_cookieconsent", "null", "analytics=0")}}})
}
