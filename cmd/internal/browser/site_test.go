package browser

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/metiva-io/metiva/cmd/internal/stack"
	"github.com/metiva-io/metiva/cmd/metiva/demosite"
	"github.com/metiva-io/metiva/pkg/core/registry"
)

// site is one test's website: registered like the demo's, on an origin of its own,
// with a proxy of its own before the collector.
type site struct {
	ID, Key string
	Origin  string
	edge    *edge
	// unledgered: a collector was killed, whose last counts are lost with it.
	unledgered bool

	// pages answers before the demo website does, when it has the path.
	pages *http.ServeMux
}

// option changes a site before its test begins.
type option func(*registry.SiteChange)

// networks numbers the visitors: each test's is another /24 of one company.
var networks atomic.Int32

// company is who holds the networks of the tests' visitors.
const company = "ING"

func newSite(t *testing.T, options ...option) *site {
	t.Helper()
	s := &site{pages: http.NewServeMux()}
	s.edge = newEdge(t, shared.stack.Addresses().CollectorURL, fmt.Sprintf("145.221.%d.10", networks.Add(1)))
	var demo http.Handler
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h, pattern := s.pages.Handler(r); pattern != "" {
			h.ServeHTTP(w, r)
			return
		}
		demo.ServeHTTP(w, r)
	}))
	t.Cleanup(web.Close)
	s.Origin = web.URL
	s.register(t, options)
	cfg := demosite.Config{CollectorURL: s.edge.URL, SiteKey: s.Key, Origin: s.Origin}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	demo = demosite.Handler(cfg)
	return s
}

// register makes the site as the demo's are made and waits until the collector
// knows all of it.
func (s *site) register(t *testing.T, options []option) {
	t.Helper()
	created, err := shared.store.CreateSite(t.Context(), shared.claim, registry.NewSite{
		BrandID: shared.brand, Name: t.Name(), AllowedOrigins: []string{s.Origin}, InterestAcceptedBy: actor,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.ID, s.Key = created.ID, created.Keys[0].Key
	if _, err := stack.EnsureConsent(t.Context(), shared.store, created, s.Origin); err != nil {
		t.Fatal(err)
	}
	// The last change adds an origin, which the collector names once it has it.
	last := "https://" + created.ID[4:] + ".example"
	change := registry.SiteChange{AllowedOrigins: []string{s.Origin, last}}
	for _, apply := range options {
		apply(&change)
	}
	if _, err := shared.store.SetSite(t.Context(), shared.claim, s.ID, change); err != nil {
		t.Fatal(err)
	}
	wait(t, waitMax, func() error {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodOptions, s.edge.target+"/v1/events", nil)
		if err != nil {
			return err
		}
		req.Header.Set("Origin", last)
		req.Header.Set("Access-Control-Request-Method", http.MethodPost)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusNoContent {
			return fmt.Errorf("the collector does not know the site yet: %s", res.Status)
		}
		return nil
	})
}

// waitMax bounds every wait for the browser.
const waitMax = 30 * time.Second
