package metiva

import (
	"context"
	"errors"
	"fmt"
	"os/user"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/metiva-io/metiva/cmd/internal/stack"
	"github.com/metiva-io/metiva/pkg/core/registry"
	"github.com/metiva-io/metiva/pkg/tenant"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// operator names who runs the command, for the audit log.
func operator() string {
	u, err := user.Current()
	if err != nil {
		return "operator:unknown"
	}
	return operatorNamed(u.Username)
}

// operatorNamed fits a user name of this machine into the form of an actor:
// DOMAIN\user and names with spaces are legal there.
func operatorNamed(name string) string {
	const bytesMax = 64
	name = strings.Map(func(r rune) rune {
		if r < 0x80 && (unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("._@-", r)) {
			return r
		}
		return '_'
	}, name)
	return "operator:" + name[:min(len(name), bytesMax)]
}

// withRegistry opens the registry of the given stores, or of the stack running
// in the data directory.
func (f storeFlags) withRegistry(ctx context.Context, do func(*registry.Store) error) error {
	urls, err := f.postgres()
	if err != nil {
		return err
	}
	store, closeAll, err := stack.OpenRegistry(ctx, urls)
	if err != nil {
		return err
	}
	defer closeAll()
	return do(store)
}

// postgres are the addresses of the given store, or of the stack's.
func (f storeFlags) postgres() (stack.PostgresURLs, error) {
	urls := stack.PostgresURLs{RW: f.PostgresRW, Worker: f.PostgresWorker}
	if urls.RW.IsZero() != urls.Worker.IsZero() {
		return urls, errors.New("METIVA_POSTGRES_URL and METIVA_POSTGRES_WORKER_URL go together: set both, or neither for the stack in the data directory")
	}
	if !urls.RW.IsZero() {
		return urls, nil
	}
	running, err := stack.Find(f.Data)
	return running.Postgres, err
}

// table prints rows with aligned columns.
func (t terminal) table(head string, rows func(row func(cells ...any))) {
	w := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, strings.ReplaceAll(head, " | ", "\t"))
	rows(func(cells ...any) {
		for i, c := range cells {
			if i > 0 {
				_, _ = fmt.Fprint(w, "\t")
			}
			_, _ = fmt.Fprint(w, c)
		}
		_, _ = fmt.Fprintln(w)
	})
	_ = w.Flush()
}

type agencyCommand struct {
	Create agencyCreate `cmd:"" help:"Create an agency and the tenant it owns."`
	List   agencyList   `cmd:"" help:"List agencies."`
}

type agencyCreate struct {
	storeFlags
	Name string `required:"" help:"Name of the agency."`
}

// Run creates the agency.
func (c *agencyCreate) Run(ctx context.Context, t terminal) error {
	return c.withRegistry(ctx, func(s *registry.Store) error {
		a, err := s.CreateAgency(ctx, operator(), c.Name)
		if err == nil {
			t.printf("agency %s, with its own tenant %s\n", a.ID, a.CompanyID)
		}
		return err
	})
}

type agencyList struct{ storeFlags }

// Run lists agencies.
func (c *agencyList) Run(ctx context.Context, t terminal) error {
	return c.withRegistry(ctx, func(s *registry.Store) error {
		all, err := s.ListAgencies(ctx, operator())
		if err != nil {
			return err
		}
		t.table("agency | own tenant | name | created", func(row func(...any)) {
			for _, a := range all {
				row(a.ID, a.CompanyID, a.Name, a.CreatedAt.Format(time.DateOnly))
			}
		})
		return nil
	})
}

type tenantCommand struct {
	Create tenantCreate `cmd:"" help:"Create a client tenant of an agency."`
	List   tenantList   `cmd:"" help:"List tenants."`
}

type tenantCreate struct {
	storeFlags
	Agency string `required:"" help:"Agency id (agy_…)."`
	Name   string `required:"" help:"Name of the client company."`
}

// Run creates the tenant with a first brand of its name.
func (c *tenantCreate) Run(ctx context.Context, t terminal) error {
	return c.withRegistry(ctx, func(s *registry.Store) error {
		created, err := s.CreateTenant(ctx, operator(), c.Agency, c.Name)
		if err != nil {
			return err
		}
		claim, err := tenant.OperatorClaim(created.CompanyID, operator())
		if err != nil {
			return err
		}
		brand, err := s.CreateBrand(ctx, claim, c.Name)
		if err != nil {
			return err
		}
		t.printf("tenant %s, with brand %s\n", created.CompanyID, brand.ID)
		return nil
	})
}

type tenantList struct {
	storeFlags
	Agency string `help:"Agency id; all agencies when left out."`
}

// Run lists tenants.
func (c *tenantList) Run(ctx context.Context, t terminal) error {
	return c.withRegistry(ctx, func(s *registry.Store) error {
		all, err := s.ListTenants(ctx, operator(), c.Agency)
		if err != nil {
			return err
		}
		t.table("tenant | agency | kind | active | name | created", func(row func(...any)) {
			for _, x := range all {
				row(x.CompanyID, x.AgencyID, x.Kind, x.Active, x.Name, x.CreatedAt.Format(time.DateOnly))
			}
		})
		return nil
	})
}

type siteCommand struct {
	Create siteCreate `cmd:"" help:"Register a site and print its snippet."`
	List   siteList   `cmd:"" help:"List the sites of a tenant."`

	Show      siteShow        `cmd:"" help:"Print a site's settings, texts and forms."`
	Set       siteSet         `cmd:"" help:"Change settings of a site."`
	RotateKey siteRotateKey   `cmd:"" name:"rotate-key" help:"Give a site a new key; the present one stays valid for a while."`
	Text      siteTextCommand `cmd:"" help:"Texts a site's visitors agree to."`
	Form      siteFormCommand `cmd:"" help:"Forms of a site that may be captured."`
	Score     siteScore       `cmd:"" help:"Change how a site's accounts are scored: key pages and thresholds."`
}

type siteCreate struct {
	storeFlags
	Company    string   `required:"" help:"Tenant (cmp_…)."`
	Brand      string   `help:"Brand (brd_…); the tenant's first when left out."`
	Name       string   `required:"" help:"Name of the site."`
	Origin     []string `required:"" help:"Origin whose pages may send, scheme://host[:port]; repeatable."`
	Mode       string   `default:"company" enum:"company,count,off" help:"What to record without consent: company, count or off."`
	AcceptedBy string   `name:"accepted-by" help:"Who accepted the tenant's legitimate-interest assessment for company-level visits."`
}

// Run registers the site.
func (c *siteCreate) Run(ctx context.Context, t terminal) error {
	return c.withRegistry(ctx, func(s *registry.Store) error {
		claim, err := tenant.OperatorClaim(c.Company, operator())
		if err != nil {
			return err
		}
		if c.Brand == "" {
			brands, err := s.ListBrands(ctx, claim)
			if err != nil {
				return err
			}
			if len(brands) == 0 {
				return errors.New("the tenant has no brand yet")
			}
			c.Brand = brands[0].ID
		}
		mode := metivav1.SiteMode(metivav1.SiteMode_value["SITE_MODE_"+strings.ToUpper(c.Mode)])
		site, err := s.CreateSite(ctx, claim, registry.NewSite{
			BrandID: c.Brand, Name: c.Name, AllowedOrigins: c.Origin, Mode: mode, InterestAcceptedBy: c.AcceptedBy,
		})
		if err != nil {
			return err
		}
		collectorURL := "https://YOUR-COLLECTOR"
		if running, err := stack.Find(c.Data); err == nil {
			collectorURL = running.CollectorURL
		}
		t.printf("site %s\n\n  <script async src=\"%s/v1/s.js\" data-site=\"%s\"></script>\n\n", site.ID, collectorURL, site.Keys[0].Key)
		t.printf("or, pinned to the present script:\n\n  %s\n\n", pinnedTag(collectorURL, site.Keys[0].Key))
		return nil
	})
}

type siteList struct {
	storeFlags
	Company string `required:"" help:"Tenant (cmp_…)."`
}

// Run lists the sites.
func (c *siteList) Run(ctx context.Context, t terminal) error {
	return c.withRegistry(ctx, func(s *registry.Store) error {
		claim, err := tenant.OperatorClaim(c.Company, operator())
		if err != nil {
			return err
		}
		all, err := s.ListSites(ctx, claim)
		if err != nil {
			return err
		}
		t.table("site | name | mode | active | version | texts | forms | origins | keys", func(row func(...any)) {
			for _, x := range all {
				var keys []string
				for _, k := range x.Keys {
					keys = append(keys, k.Key)
				}
				row(x.ID, x.Name, schemas.Label(x.Mode), x.Active, x.Version, len(x.Texts), len(x.Forms), strings.Join(x.AllowedOrigins, ","), strings.Join(keys, ","))
			}
		})
		return nil
	})
}
