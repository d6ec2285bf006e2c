package stack

import (
	"context"
	"fmt"
	"strconv"

	"github.com/metiva-io/metiva/pkg/core/registry"
	"github.com/metiva-io/metiva/pkg/postgres"
	"github.com/metiva-io/metiva/pkg/tenant"
)

// Demo is the demo agency's sites.
type Demo struct{ Sites []DemoSite }

// DemoSite is one client of the demo agency with its website.
type DemoSite struct {
	CompanyID, Name, SiteID, SiteKey string
	// Origin is where the demo website is served; Listen its address.
	Origin, Listen string
}

const (
	demoActor      = "operator:demo"
	demoAgency     = "Bureau Voorbeeld"
	demoAcceptedBy = "the demo's own set-up"
)

// demoClients are the two client tenants of the demo agency, each with a site.
func demoClients() []string { return []string{"De Vries Media", "Brouwer Retail"} }

// OpenRegistry connects to the registry as core does. Close ends it.
func OpenRegistry(ctx context.Context, urls PostgresURLs) (store *registry.Store, closeAll func(), err error) {
	pool, err := tenant.OpenPool(ctx, postgres.Config{URL: urls.RW})
	if err != nil {
		return nil, nil, fmt.Errorf("opening the registry: %w", err)
	}
	worker, err := tenant.OpenWorker(ctx, postgres.Config{URL: urls.Worker})
	if err != nil {
		pool.Close()
		return nil, nil, fmt.Errorf("opening the registry: %w", err)
	}
	return registry.NewStore(pool, worker), func() { worker.Close(); pool.Close() }, nil
}

// SeedDemo makes sure the demo agency with two clients and their sites exists,
// and that the sites allow the origins the demo websites are served from.
func (s *Stack) SeedDemo(ctx context.Context) (Demo, error) {
	store, closeAll, err := OpenRegistry(ctx, s.addr.Postgres)
	if err != nil {
		return Demo{}, err
	}
	defer closeAll()
	agency, err := ensureAgency(ctx, store)
	if err != nil {
		return Demo{}, err
	}
	tenants, err := store.ListTenants(ctx, demoActor, agency.ID)
	if err != nil {
		return Demo{}, err
	}
	byName := make(map[string]registry.Tenant)
	for _, t := range tenants {
		byName[t.Name] = t
	}
	var demo Demo
	for i, name := range demoClients() {
		preferred := 0
		if s.cfg.DemoPort != 0 {
			preferred = s.cfg.DemoPort + i
		}
		port, err := s.lay.port(ctx, "demo-site-"+strconv.Itoa(i+1), preferred)
		if err != nil {
			return Demo{}, err
		}
		listen := "127.0.0.1:" + strconv.Itoa(port)
		t, found := byName[name]
		if !found {
			if t, err = store.CreateTenant(ctx, demoActor, agency.ID, name); err != nil {
				return Demo{}, err
			}
		}
		site, err := ensureSite(ctx, store, t, "http://"+listen)
		if err != nil {
			return Demo{}, err
		}
		if site, err = EnsureConsent(ctx, store, site, "http://"+listen); err != nil {
			return Demo{}, err
		}
		demo.Sites = append(demo.Sites, DemoSite{
			CompanyID: t.CompanyID, Name: t.Name, SiteID: site.ID, SiteKey: site.Keys[0].Key,
			Origin: "http://" + listen, Listen: listen,
		})
	}
	return demo, nil
}

func ensureAgency(ctx context.Context, store *registry.Store) (registry.Agency, error) {
	agencies, err := store.ListAgencies(ctx, demoActor)
	if err != nil {
		return registry.Agency{}, err
	}
	for _, a := range agencies {
		if a.Name == demoAgency {
			return a, nil
		}
	}
	return store.CreateAgency(ctx, demoActor, demoAgency)
}

// ensureSite finds the tenant's site that allows origin, or creates it: another
// port than last time is another origin.
func ensureSite(ctx context.Context, store *registry.Store, t registry.Tenant, origin string) (registry.Site, error) {
	claim, err := tenant.OperatorClaim(t.CompanyID, demoActor)
	if err != nil {
		return registry.Site{}, err
	}
	sites, err := store.ListSites(ctx, claim)
	if err != nil {
		return registry.Site{}, err
	}
	for _, site := range sites {
		for _, o := range site.AllowedOrigins {
			if o == origin && site.Active && len(site.Keys) > 0 {
				return site, nil
			}
		}
	}
	brandID := ""
	if brands, err := store.ListBrands(ctx, claim); err != nil {
		return registry.Site{}, err
	} else if len(brands) > 0 {
		brandID = brands[0].ID
	} else {
		brand, err := store.CreateBrand(ctx, claim, t.Name)
		if err != nil {
			return registry.Site{}, err
		}
		brandID = brand.ID
	}
	name := "Website " + t.Name
	if len(sites) > 0 {
		name = fmt.Sprintf("%s (%s)", name, origin)
	}
	return store.CreateSite(ctx, claim, registry.NewSite{
		BrandID: brandID, Name: name, AllowedOrigins: []string{origin}, InterestAcceptedBy: demoAcceptedBy,
	})
}
