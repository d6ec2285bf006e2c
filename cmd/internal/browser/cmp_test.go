package browser

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/metiva-io/metiva/consent"
	"github.com/metiva-io/metiva/pkg/core/registry"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// doubles are the platforms that no registry has, as the tests of the adapters play
// them.
const doubles = "../../../collector/snippet/testdata/cmp/"

// platform is a consent platform on a page.
type platform struct {
	// script is a file of doubles, or of a package below the cache.
	script string
	// before and after are scripts around it.
	before, after string
	// accept and refuse are what a visitor does, in JavaScript.
	accept, refuse string
	cmp            consent.CMP
}

func double(name string, cmp consent.CMP, options string) platform {
	if options != "" {
		options = "window.double = {" + name + ": " + options + "}"
	}
	return platform{script: doubles + name + ".js", before: options, accept: "visit." + name + ".accept()", refuse: "visit." + name + ".refuse()", cmp: cmp}
}

// press clicks a button of a platform once it is there.
func press(selector string) string {
	return fmt.Sprintf(`(async () => { let b; while (!(b = document.querySelector(%s))) await new Promise((done) => setTimeout(done, 10)); b.click() })()`, quoted(selector))
}

func platforms() map[string]platform {
	packages := filepath.Join(cacheDir(), "consent-platforms")
	return map[string]platform{
		"cookiebot":      double("cookiebot", consent.CMPCookiebot, ""),
		"onetrust":       double("onetrust", consent.CMPOneTrust, ""),
		"cookieyes":      double("cookieyes", consent.CMPCookieYes, ""),
		"complianz":      double("complianz", consent.CMPComplianz, ""),
		"wpconsent":      double("wpconsent", consent.CMPWPConsentAPI, `{type: 'optin'}`),
		"didomi":         double("didomi", consent.CMPDidomi, ""),
		"usercentrics 2": double("usercentrics2", consent.CMPUsercentrics, ""),
		"usercentrics 3": double("usercentrics3", consent.CMPUsercentrics, ""),
		"klaro": {
			script: filepath.Join(packages, "klaro@0.7.22/package/dist/klaro.js"), cmp: consent.CMPKlaro,
			before: `window.klaroConfig = {lang: 'en', acceptAll: true, services: [{name: 'metiva', title: 'Metiva', purposes: ['analytics']}, {name: 'ads', title: 'Ads', purposes: ['marketing']}]}`,
			accept: press(`#klaro .cm-btn-success:not(.cm-btn-info), #klaro .cm-btn-accept-all`),
			refuse: `klaro.getManager().changeAll(false); klaro.getManager().saveAndApplyConsents()`,
		},
		"vanilla-cookieconsent": {
			script: filepath.Join(packages, "vanilla-cookieconsent@3.1.0/package/dist/cookieconsent.umd.js"), cmp: consent.CMPVanillaCookieConsent,
			after: `CookieConsent.run({hideFromBots: false, categories: {necessary: {enabled: true, readOnly: true}, analytics: {}},
				language: {default: 'en', translations: {en: {
					consentModal: {title: 'Cookies', acceptAllBtn: 'Accept', acceptNecessaryBtn: 'Reject', showPreferencesBtn: 'Preferences'},
					preferencesModal: {title: 'Preferences', acceptAllBtn: 'Accept', acceptNecessaryBtn: 'Reject', savePreferencesBtn: 'Save', sections: [{title: 'Analytics', linkedCategory: 'analytics'}]}}}}})`,
			accept: press(`#cc-main .cm [data-role=all]`),
			refuse: `CookieConsent.showPreferences(); ` + press(`#cc-main .pm [data-role=necessary]`),
		},
	}
}

// servePlatform serves a page with a platform, our script, and a text.
func (s *site) servePlatform(t *testing.T, p platform, tag string) {
	t.Helper()
	code, err := os.ReadFile(p.script)
	if err != nil {
		t.Fatalf("%v: run `make consent-platforms`", err)
	}
	s.pages.HandleFunc("GET /platform.js", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/javascript; charset=utf-8")
		_, _ = w.Write(code)
	})
	s.pages.HandleFunc("GET /cmp/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = fmt.Fprintf(w, `<!doctype html><html lang="nl"><meta charset="utf-8"><title>platform</title>
<script async src="%s/v1/s.js" data-site="%s" data-text-version="%s" %s></script><h1>A page with a consent platform</h1>
<script>%s</script><script src="/platform.js"></script><script>%s</script>`, s.edge.URL, s.Key, text, tag, p.before, p.after)
	})
}

// TestPlatforms: without a choice there is no consent; a yes of the visitor is
// exchanged for a token, under the platform's name; a no takes it back.
func TestPlatforms(t *testing.T) {
	t.Parallel()
	for name, p := range platforms() {
		t.Run(name, func(t *testing.T) {
			s, b := visit(t, func(c *registry.SiteChange) { c.CMP = &p.cmp })
			s.servePlatform(t, p, `data-cmp="`+string(p.cmp)+`"`)
			b.open("/cmp/")
			b.sent(1)
			s.edge.until(t, "/v1/cmp.js", 1)
			b.push("/cmp/undecided")
			b.sent(2)
			b.js(p.accept)
			s.edge.until(t, "/v1/consent", 1)
			b.until(`localStorage.visitor`)
			b.push("/cmp/yes")
			s.stored(t, 4) // or the withdrawal reaches them on their way
			b.js(p.refuse)
			s.edge.until(t, "/v1/consent", 2)
			b.push("/cmp/no")
			b.sent(5)
			b.leave()
			s.holds(t, "page_view /cmp/ denied", "page_view /cmp/undecided denied", "engagement /cmp/undecided analytics",
				"page_view /cmp/yes analytics", "page_view /cmp/no denied")
			source := "cmp:" + string(p.cmp)
			recs := s.consentsHold(t, "given analytics "+source+" "+text, "withdrawn withdrawn "+source+" "+text)
			for _, r := range recs {
				if r.GetRawSignal() == "" || r.GetCmpId() != string(p.cmp) {
					t.Errorf("the record lacks the platform or its signal: %v", r)
				}
			}
			if recs[0].GetKind() != metivav1.ConsentKind_CONSENT_KIND_GIVEN || strings.EqualFold(recs[0].GetRawSignal(), recs[1].GetRawSignal()) {
				t.Errorf("yes and no have the signals %q and %q", recs[0].GetRawSignal(), recs[1].GetRawSignal())
			}
		})
	}
}

// TestPlatformOfAnotherSite: a platform the site has not registered grants nothing.
func TestPlatformOfAnotherSite(t *testing.T) {
	s, b := visit(t)
	p := platforms()["cookiebot"]
	s.servePlatform(t, p, `data-cmp="cookiebot"`)
	b.open("/cmp/")
	b.sent(1)
	s.edge.until(t, "/v1/cmp.js", 1)
	b.js(p.accept)
	got := s.edge.until(t, "/v1/consent", 1)
	if got[0].Status == http.StatusOK && strings.Contains(got[0].Answer, `"token"`) {
		t.Errorf("answered %s", got[0].Answer)
	}
	b.push("/cmp/yes")
	b.sent(2)
	b.nothingStored()
	b.leave()
	s.holds(t, "page_view /cmp/ denied", "page_view /cmp/yes denied")
	s.consentsHold(t)
}

// TestConsentModeLowers: it takes a grant out of use, and neither gives nor withdraws
// one.
func TestConsentModeLowers(t *testing.T) {
	s, b := visit(t)
	p := double("consentmode", "", "")
	s.servePlatform(t, p, `data-consent data-cmp="consent_mode"`)
	b.open("/cmp/")
	b.sent(1)
	s.edge.until(t, "/v1/cmp.js", 1)
	b.js(p.accept)
	b.push("/cmp/hint")
	b.sent(2)
	b.js(`visitor('consent', 'grant', {text_version: ` + quoted(text) + `})`)
	s.edge.until(t, "/v1/consent", 1)
	b.until(`localStorage.visitor`)
	b.push("/cmp/yes")
	s.stored(t, 4) // or the withdrawal reaches them on their way
	b.js(p.refuse)
	b.push("/cmp/lowered")
	b.sent(5)
	b.leave()
	s.holds(t, "page_view /cmp/ denied", "page_view /cmp/hint denied", "engagement /cmp/hint analytics", "page_view /cmp/yes analytics", "page_view /cmp/lowered denied")
	s.consentsHold(t, "given analytics api "+text)
}
