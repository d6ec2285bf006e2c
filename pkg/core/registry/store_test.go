package registry_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/metiva-io/metiva/pkg/core/registry"
	"github.com/metiva-io/metiva/pkg/tenant"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

func TestCreateAndList(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	claim, site := w.tenantWithSite("Alpha")
	if site.CompanyID != claim.CompanyID() || len(site.Keys) != 1 || !tenant.ValidID(tenant.PrefixSiteKey, site.Keys[0].Key) ||
		site.Mode != metivav1.SiteMode_SITE_MODE_COMPANY || !site.HonourDNT || !site.Active || site.Version != 1 ||
		site.RetentionDays != registry.RetentionDaysDefault || site.InterestAcceptedBy != "" || !site.InterestAcceptedAt.IsZero() {
		t.Errorf("new site: %+v", site)
	}
	if got := strings.Join(site.AllowedOrigins, " "); got != "http://localhost:8080 https://www.example.com" {
		t.Errorf("origins: %s", got)
	}
	agencies, err := w.store.ListAgencies(t.Context(), operator)
	if err != nil || len(agencies) != 1 || agencies[0].Name != "Agency of Alpha" {
		t.Fatalf("agencies: %+v, %v", agencies, err)
	}
	tenants, err := w.store.ListTenants(t.Context(), operator, agencies[0].ID)
	if err != nil || len(tenants) != 2 {
		t.Fatalf("tenants: %+v, %v", tenants, err)
	}
	own, client := tenants[0], tenants[1]
	if own.Kind != registry.KindAgency || own.CompanyID != agencies[0].CompanyID || client.Kind != registry.KindClient ||
		client.CompanyID != claim.CompanyID() || !client.Active || client.AgencyID != agencies[0].ID {
		t.Errorf("tenants: %+v", tenants)
	}
	brands, err := w.store.ListBrands(t.Context(), claim)
	if err != nil || len(brands) != 1 {
		t.Fatalf("brands: %+v, %v", brands, err)
	}
	accepted, err := w.store.CreateSite(t.Context(), claim, registry.NewSite{
		BrandID: brands[0].ID, Name: "Strict", AllowedOrigins: []string{"https://a.example"},
		Mode: metivav1.SiteMode_SITE_MODE_COUNT, IgnoreDNT: true, RetentionDays: 30, InterestAcceptedBy: "Jo de Vries",
	})
	if err != nil {
		t.Fatal(err)
	}
	sites, err := w.store.ListSites(t.Context(), claim)
	if err != nil || len(sites) != 2 || sites[1].ID != accepted.ID {
		t.Fatalf("sites: %+v, %v", sites, err)
	}
	if s := sites[1]; s.Mode != metivav1.SiteMode_SITE_MODE_COUNT || s.HonourDNT || s.RetentionDays != 30 ||
		s.InterestAcceptedBy != "Jo de Vries" || time.Since(s.InterestAcceptedAt) > time.Minute {
		t.Errorf("site: %+v", s)
	}
	if _, err := w.store.CreateBrand(t.Context(), claim, "Brand"); !errors.Is(err, registry.ErrConflict) {
		t.Errorf("a second brand of that name: %v", err)
	}
}

func TestInvalidInput(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	claim, site := w.tenantWithSite("Alpha")
	good := func() registry.NewSite {
		return registry.NewSite{BrandID: site.BrandID, Name: "n", AllowedOrigins: []string{"https://a.example"}}
	}
	for name, change := range map[string]func(*registry.NewSite){
		"brand":       func(n *registry.NewSite) { n.BrandID = "brd_x" },
		"no name":     func(n *registry.NewSite) { n.Name = "  " },
		"long name":   func(n *registry.NewSite) { n.Name = strings.Repeat("é", registry.NameRunesMax+1) },
		"control":     func(n *registry.NewSite) { n.Name = "a\x00b" },
		"not UTF-8":   func(n *registry.NewSite) { n.Name = "a\xff" },
		"no origin":   func(n *registry.NewSite) { n.AllowedOrigins = nil },
		"bad origin":  func(n *registry.NewSite) { n.AllowedOrigins = []string{"https://*.example"} },
		"many":        func(n *registry.NewSite) { n.AllowedOrigins = make([]string, registry.OriginsPerSiteMax+1) },
		"mode":        func(n *registry.NewSite) { n.Mode = 99 },
		"retention":   func(n *registry.NewSite) { n.RetentionDays = registry.RetentionDaysMax + 1 },
		"negative":    func(n *registry.NewSite) { n.RetentionDays = -1 },
		"accepted by": func(n *registry.NewSite) { n.InterestAcceptedBy = "\n\n" },
	} {
		n := good()
		change(&n)
		if _, err := w.store.CreateSite(t.Context(), claim, n); !errors.Is(err, registry.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := w.store.CreateAgency(t.Context(), operator, ""); !errors.Is(err, registry.ErrInvalid) {
		t.Errorf("agency without a name: %v", err)
	}
	if _, err := w.store.CreateAgency(t.Context(), "jo", "Agency"); !errors.Is(err, tenant.ErrInvalidClaim) {
		t.Errorf("actor without a kind: %v", err)
	}
	if _, err := w.store.CreateTenant(t.Context(), operator, "agy_1", "T"); !errors.Is(err, registry.ErrInvalid) {
		t.Errorf("agency id: %v", err)
	}
	if _, err := w.store.CreateTenant(t.Context(), operator, tenant.NewID(tenant.PrefixAgency), "T"); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("unknown agency: %v", err)
	}
	if _, err := w.store.RotateSiteKey(t.Context(), claim, site.ID, registry.KeyOverlapMax+1); !errors.Is(err, registry.ErrInvalid) {
		t.Errorf("overlap: %v", err)
	}
	if _, err := w.store.ListTenants(t.Context(), operator, "agy_1"); !errors.Is(err, registry.ErrInvalid) {
		t.Errorf("list: %v", err)
	}
}

// TestNoStoreCallReachesAnotherTenant calls everything that takes an id with
// the claim of A and the ids of B.
func TestNoStoreCallReachesAnotherTenant(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, _ := w.tenantWithSite("Alpha")
	b, siteB := w.tenantWithSite("Beta")
	before, err := w.store.ListSites(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.store.CreateSite(t.Context(), a, registry.NewSite{BrandID: siteB.BrandID, Name: "n", AllowedOrigins: []string{"https://a.example"}})
	if !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("a site on B's brand: %v", err)
	}
	if _, err := w.store.SuspendSite(t.Context(), a, siteB.ID); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("suspending: %v", err)
	}
	if _, err := w.store.ResumeSite(t.Context(), a, siteB.ID); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("resuming: %v", err)
	}
	if _, err := w.store.RotateSiteKey(t.Context(), a, siteB.ID, 0); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("rotating: %v", err)
	}
	if err := w.store.SuspendTenant(t.Context(), a); err != nil {
		t.Errorf("suspending A: %v", err)
	}
	for _, claim := range []tenant.Claim{a, b} {
		sites, err := w.store.ListSites(t.Context(), claim)
		if err != nil || len(sites) != 1 || sites[0].CompanyID != claim.CompanyID() {
			t.Errorf("sites of %s: %+v, %v", claim.CompanyID(), sites, err)
		}
		brands, err := w.store.ListBrands(t.Context(), claim)
		if err != nil || len(brands) != 1 || brands[0].CompanyID != claim.CompanyID() {
			t.Errorf("brands of %s: %+v, %v", claim.CompanyID(), brands, err)
		}
	}
	after, err := w.store.ListSites(t.Context(), b)
	if err != nil || len(after) != 1 || after[0].Version != before[0].Version || after[0].Keys[0] != before[0].Keys[0] || !after[0].Active {
		t.Errorf("B's site changed: %+v, %v", after, err)
	}
	tenants, err := w.store.ListTenants(t.Context(), operator, "")
	if err != nil || len(tenants) != 4 {
		t.Fatalf("tenants: %+v, %v", tenants, err)
	}
	for _, x := range tenants {
		if x.Active == (x.CompanyID == a.CompanyID()) {
			t.Errorf("tenant %s active: %v", x.Name, x.Active)
		}
	}
	if _, err := w.store.ListSites(t.Context(), tenant.Claim{}); !errors.Is(err, tenant.ErrNoClaim) {
		t.Errorf("without a claim: %v", err)
	}
}
