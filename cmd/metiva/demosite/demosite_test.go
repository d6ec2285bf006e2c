package demosite_test

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/metiva-io/metiva/cmd/metiva/demosite"
)

const collectorURL = "http://127.0.0.1:18080"

func get(t *testing.T, path string) *httptest.ResponseRecorder {
	t.Helper()
	h := demosite.Handler(demosite.Config{CollectorURL: collectorURL + "/", SiteKey: "pk_abc", Origin: "http://127.0.0.1:7710"})
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
	return rec
}

func TestPages(t *testing.T) {
	t.Parallel()
	outside := regexp.MustCompile(`(?:src|href)="(?:https?:)?//[^"]*"`)
	for _, path := range []string{"/", "/prijzen", "/planten", "/planten/monstera", "/over-ons", "/privacy", "/bedankt"} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			res := get(t, path)
			body := res.Body.String()
			if res.Code != http.StatusOK {
				t.Fatalf("status %d", res.Code)
			}
			tag := `<script async src="` + collectorURL + `/v1/s.js" data-site="pk_abc" data-banner data-text-version="demo-banner-2-nl" data-privacy="/privacy"></script>`
			if n := strings.Count(body, tag); n != 1 {
				t.Errorf("the snippet stands on the page %d times, want once", n)
			}
			for _, link := range outside.FindAllString(body, -1) {
				if !strings.Contains(link, collectorURL) {
					t.Errorf("the page loads or links to something outside: %s", link)
				}
			}
			if strings.Contains(body, "style=") || strings.Contains(body, "<style") || strings.Contains(body, "onclick") {
				t.Error("inline style or script: the page's own policy forbids it")
			}
			if got := res.Header().Get("Content-Security-Policy"); !strings.Contains(got, "connect-src "+collectorURL+";") {
				t.Errorf("policy does not let the snippet send: %q", got)
			}
			if res.Header().Get("Set-Cookie") != "" {
				t.Error("the page sets a cookie")
			}
		})
	}
}

func TestDeveloperPages(t *testing.T) {
	t.Parallel()
	index := get(t, "/test/")
	if index.Code != http.StatusOK {
		t.Fatalf("the index answers %d", index.Code)
	}
	links := regexp.MustCompile(`href="(/test/[^"]+)"`).FindAllStringSubmatch(index.Body.String(), -1)
	if len(links) < 10 {
		t.Fatalf("the index has %d pages", len(links))
	}
	for _, link := range links {
		res := get(t, link[1])
		body := res.Body.String()
		if res.Code != http.StatusOK || strings.Count(body, `data-site="pk_abc"`) != 1 {
			t.Errorf("%s answers %d, with the script %d times", link[1], res.Code, strings.Count(body, `data-site="pk_abc"`))
		}
		if strings.Contains(body, "style=") || strings.Contains(body, "<style") || strings.Contains(body, "onclick") {
			t.Errorf("%s has inline style or script: its own policy forbids it", link[1])
		}
	}
}

func TestAssetsAndUnknownPaths(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]int{
		"/assets/site.css": http.StatusOK, "/assets/wand.svg": http.StatusOK, "/assets/blad.svg": http.StatusOK,
		"/assets/planten.js": http.StatusOK, "/assets/keuze.js": http.StatusOK, "/assets/test.js": http.StatusOK, "/planten/distel": http.StatusNotFound, "/nergens": http.StatusNotFound,
	} {
		if got := get(t, path).Code; got != want {
			t.Errorf("%s: status %d, want %d", path, got, want)
		}
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"", "127.0.0.1:8080", "javascript:alert(1)", "http://a; script-src *"} {
		if (demosite.Config{CollectorURL: bad, SiteKey: "pk_abc"}).Validate() == nil {
			t.Errorf("collector URL %q passes", bad)
		}
	}
	if err := (demosite.Config{CollectorURL: collectorURL, SiteKey: "pk_abc"}).Validate(); err != nil {
		t.Error(err)
	}
}
