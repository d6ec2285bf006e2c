package demosite

import (
	"fmt"
	"html/template"
	"net/http"
	"strings"

	"github.com/metiva-io/metiva/collector/snippet"
)

// testPage is one page for developers and browser tests: one way to install the
// script, or one thing it should notice.
type testPage struct {
	Path, Title string
	// Text says what to try and what to expect.
	Text string
	// Template under pages/test; empty for a page with nothing but its text.
	Template string
	// Tag are the attributes of the script's element beside src and data-site.
	Tag template.HTMLAttr
	// Pinned loads the present script by its version, with its integrity hash.
	Pinned bool
	// Policy replaces the usual content security policy; COLLECTOR stands for the
	// collector's origin.
	Policy string
	// Hidden pages are not on the index: another page leads to them.
	Hidden bool
}

// strictPolicy lets a page load and send nothing but the script's own.
const strictPolicy = "default-src 'none'; script-src COLLECTOR; connect-src COLLECTOR; style-src 'self'; img-src 'self'; " +
	"require-trusted-types-for 'script'; trusted-types 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// testPolicy is that of the other test pages: their own scripts, forms and requests
// too.
const testPolicy = "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self' COLLECTOR; connect-src 'self' COLLECTOR; " +
	"base-uri 'none'; form-action 'self' COLLECTOR; frame-ancestors 'none'"

// testPages lists them in the order of the index.
func testPages() []testPage {
	const api = `data-consent data-text-version="demo-banner-1-nl"`
	return []testPage{
		{Path: "/test/plain", Title: "Plain", Text: "The one line, without attributes: a page view, nothing stored."},
		{Path: "/test/spa", Title: "Single page", Template: "spa.html", Text: "The address changes by pushState and replaceState: a view for each new path, none for a new query."},
		{Path: "/test/hash", Title: "Routes in the fragment", Template: "hash.html", Tag: `data-hash`, Text: "With data-hash a route such as #/one is a page."},
		{Path: "/test/back", Title: "Back and forward", Template: "back.html", Text: "Shown again from the back/forward cache is a view."},
		{Path: "/test/prerender", Title: "Prerendering", Template: "prerender.html", Policy: testPolicy + "; script-src-elem 'self' COLLECTOR 'inline-speculation-rules'", Text: "The browser prepares the next page. It is counted when it is shown, and not before."},
		{Path: "/test/prerendered", Title: "Prerendered", Hidden: true, Text: "This page may have been prepared before you came."},
		{Path: "/test/csp", Title: "Strict policy", Policy: strictPolicy, Tag: `data-banner="en" data-text-version="demo-banner-2-en"`, Text: "No script but ours, no inline style, trusted types: the script and its banner work."},
		{Path: "/test/integrity", Title: "Pinned script", Policy: strictPolicy, Pinned: true, Text: "The script by version, with its integrity hash."},
		{Path: "/test/consent", Title: "Consent by the page", Template: "consent.html", Tag: api + ` data-props="plan"`, Text: "The page asks by itself and tells the script what the visitor chose."},
		{Path: "/test/banner", Title: "Banner, Dutch", Tag: `data-banner data-privacy="/privacy" data-text-version="demo-banner-2-nl"`, Template: "banner.html", Text: "The small banner in the page's language, which is Dutch here."},
		{Path: "/test/banner/en", Title: "Banner, English", Tag: `data-banner="en" data-privacy="/privacy" data-text-version="demo-banner-2-en"`, Template: "banner.html", Text: "The same in English."},
		{Path: "/test/links", Title: "Links and own events", Template: "links.html", Tag: api + ` data-props="plan seats"`, Text: "With consent: a link to elsewhere, a download, and events of the page's own script."},
		{Path: "/test/long", Title: "Long page", Template: "long.html", Tag: api, Text: "With consent: how long the page was visible and how far it was scrolled, once, when it is left."},
		{Path: "/test/form", Title: "Marked form", Template: "form.html", Tag: api, Text: "Captured only with the form's own box ticked, and only the marked fields. The form goes on to the site as ever."},
		{Path: "/test/form/fetch", Title: "Form sent by script", Template: "formfetch.html", Tag: api, Text: "The page sends the form by itself and hands us what the visitor agreed to."},
		{Path: "/test/form/plain", Title: "Form without script", Template: "formplain.html", Text: "Posted to the collector by the browser itself, which comes back to the home page."},
		{Path: "/test/form/sent", Title: "Sent", Hidden: true, Tag: api, Text: "The site has the form."},
	}
}

// testView is what a template of a test page sees.
type testView struct {
	view
	Test      testPage
	Pages     []testPage
	Integrity string
	Collector string
}

// addTestPages serves the test pages and their index under /test/.
func addTestPages(mux *http.ServeMux, base view, collector string) {
	all := testPages()
	index := testPage{Path: "/test/{$}", Title: "Test pages", Template: "index.html", Text: "For developers: each page is one way to install the script, or one thing it should notice. data-debug is on."}
	for _, p := range append(all, index) {
		v := testView{view: base, Test: p, Pages: all, Collector: collector}
		v.Path, v.Title = p.Path, p.Title
		if p.Pinned {
			script := snippet.Script()
			v.ScriptURL = collector + "/v1/s." + snippet.Version(script) + ".js"
			v.Integrity = snippet.Integrity(script)
		}
		files := []string{"pages/test/layout.html"}
		if p.Template != "" {
			files = append(files, "pages/test/"+p.Template)
		}
		tmpl := template.Must(template.New("layout.html").ParseFS(embedded, files...))
		policy := p.Policy
		if policy == "" {
			policy = testPolicy
		}
		policy = strings.ReplaceAll(policy, "COLLECTOR", collector)
		show := func(w http.ResponseWriter, _ *http.Request) { render(w, tmpl, v, policy) }
		mux.HandleFunc("GET "+p.Path, show)
		if p.Path == "/test/spa" {
			mux.HandleFunc("GET /test/spa/{route...}", show)
		}
	}
	// What a site does with a form is its own business; this one does nothing.
	mux.HandleFunc("POST /test/form/sent", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/test/form/sent", http.StatusSeeOther)
	})
	mux.HandleFunc("POST /test/form/taken", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("GET /test/files/{name}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", r.PathValue("name")))
		w.Header().Set("Content-Type", "application/pdf")
		_, _ = w.Write([]byte("%PDF-1.4\n%%EOF\n"))
	})
}
