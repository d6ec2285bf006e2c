package metiva

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/metiva-io/metiva/consent"
	"github.com/metiva-io/metiva/pkg/core/registry"
	"github.com/metiva-io/metiva/pkg/tenant"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// siteFlags name a site of a tenant.
type siteFlags struct {
	storeFlags
	Company string `required:"" help:"Tenant (cmp_…)."`
	Site    string `required:"" help:"Site (sit_…)."`
}

// with opens the registry as the site's tenant.
func (f siteFlags) with(ctx context.Context, do func(s *registry.Store, claim tenant.Claim) error) error {
	return f.withRegistry(ctx, func(s *registry.Store) error {
		claim, err := tenant.OperatorClaim(f.Company, operator())
		if err != nil {
			return err
		}
		return do(s, claim)
	})
}

// change makes one change and says which version of the registration it led to.
func (f siteFlags) change(ctx context.Context, t terminal, do func(s *registry.Store, claim tenant.Claim) (registry.Site, error)) error {
	return f.with(ctx, func(s *registry.Store, claim tenant.Claim) error {
		site, err := do(s, claim)
		if err == nil {
			t.printf("site %s is at version %d\n", site.ID, site.Version)
		}
		return err
	})
}

type siteSet struct {
	siteFlags
	Mode          *string  `enum:"company,count,off" help:"What to record without consent: company, count or off."`
	HonourDNT     *bool    `name:"honour-dnt" negatable:"" help:"Take DNT: 1 as an objection."`
	RetentionDays *int     `name:"retention-days" help:"How long events are kept."`
	Origin        []string `help:"Origin whose pages may send; repeatable, replaces all."`
	TCFVendor     *int     `name:"tcf-vendor" help:"Vendor a TC string has to name; 0 takes no TC string."`
	CMP           *string  `name:"cmp" help:"Consent platform grants are taken from, such as cookiebot; none takes none."`
	GrantDays     *int     `name:"grant-days" help:"How long a grant lasts; 0 is the default, a year."`
	Property      []string `xor:"properties" help:"Property custom events may carry; repeatable, replaces all."`
	NoProperties  bool     `name:"no-properties" xor:"properties" help:"Take no properties of custom events."`
	Precision     *string  `enum:"truncated,network" help:"How addresses are cut: truncated is /24 or /48; network is the business network of /25 to /29 where a collector knows one, and needs --accepted-by."`
	VisitIdle     *int     `name:"visit-idle-minutes" help:"Silence that ends a visit, 1 to 240 minutes; 30 at first."`
	VisitMidnight *string  `name:"visit-midnight" help:"End visits at midnight in this time zone, such as Europe/Amsterdam; none lets them go on."`
	VisitCampaign *bool    `name:"visit-campaign" negatable:"" help:"Begin a visit at a page view with another campaign."`
	AcceptedBy    *string  `name:"accepted-by" help:"Who accepts the tenant's legitimate-interest assessment for company-level visits."`
}

// Run changes the site's settings.
func (c *siteSet) Run(ctx context.Context, t terminal) error {
	change := registry.SiteChange{
		HonourDNT: c.HonourDNT, RetentionDays: c.RetentionDays, TCFVendor: c.TCFVendor,
		GrantDays: c.GrantDays, InterestAcceptedBy: c.AcceptedBy,
	}
	if c.Mode != nil {
		mode := metivav1.SiteMode(metivav1.SiteMode_value["SITE_MODE_"+strings.ToUpper(*c.Mode)])
		change.Mode = &mode
	}
	if c.CMP != nil {
		cmp := consent.CMP(*c.CMP)
		if cmp == "none" {
			cmp = ""
		}
		change.CMP = &cmp
	}
	if c.Precision != nil {
		network := *c.Precision == precisionNetwork
		change.NetworkPrecision = &network
	}
	change.Visits = registry.VisitChange{IdleMinutes: c.VisitIdle, TimeZone: c.VisitMidnight, AtCampaign: c.VisitCampaign}
	if c.VisitMidnight != nil && *c.VisitMidnight == noMidnight {
		change.Visits.TimeZone = new(string)
	}
	if len(c.Origin) > 0 {
		change.AllowedOrigins = c.Origin
	}
	if len(c.Property) > 0 {
		change.CustomProperties = c.Property
	} else if c.NoProperties {
		change.CustomProperties = []string{}
	}
	return c.change(ctx, t, func(s *registry.Store, claim tenant.Claim) (registry.Site, error) {
		return s.SetSite(ctx, claim, c.Site, change)
	})
}

// noMidnight lets visits go on over midnight.
const noMidnight = "none"

// The precisions of addresses.
const (
	precisionTruncated = "truncated"
	precisionNetwork   = "network"
)

type siteRotateKey struct {
	siteFlags
	Overlap time.Duration `default:"336h" help:"How long the present key stays valid; at most 90 days."`
}

// Run gives the site a new key.
func (c *siteRotateKey) Run(ctx context.Context, t terminal) error {
	return c.with(ctx, func(s *registry.Store, claim tenant.Claim) error {
		site, err := s.RotateSiteKey(ctx, claim, c.Site, c.Overlap)
		if err != nil {
			return err
		}
		for _, k := range site.Keys {
			if k.RetiresAt.IsZero() {
				t.printf("new key  %s\n", k.Key)
			} else {
				t.printf("old key  %s, valid until %s\n", k.Key, k.RetiresAt.Format(time.RFC3339))
			}
		}
		return nil
	})
}

type siteShow struct{ siteFlags }

// Run prints everything about the site.
func (c *siteShow) Run(ctx context.Context, t terminal) error {
	return c.with(ctx, func(s *registry.Store, claim tenant.Claim) error {
		all, err := s.ListSites(ctx, claim)
		if err != nil {
			return err
		}
		for _, site := range all {
			if site.ID == c.Site {
				printSite(t, site)
				return nil
			}
		}
		return fmt.Errorf("site: %w", registry.ErrNotFound)
	})
}

func printSite(t terminal, s registry.Site) {
	or := func(text, none string) string {
		if text == "" || text == "0" {
			return none
		}
		return text
	}
	t.table("setting | value", func(row func(...any)) {
		row("site", s.ID)
		row("name", s.Name)
		row("active", s.Active)
		row("version", s.Version)
		for _, k := range s.Keys {
			until := ""
			if !k.RetiresAt.IsZero() {
				until = " until " + k.RetiresAt.Format(time.RFC3339)
			}
			row("key", k.Key+until)
		}
		row("origins", strings.Join(s.AllowedOrigins, " "))
		row("mode", schemas.Label(s.Mode))
		row("honours DNT", s.HonourDNT)
		row("keeps events", fmt.Sprintf("%d days", s.RetentionDays))
		row("precision of addresses", precisionOf(s))
		row("visits end", visitRulesOf(s))
		row("assessment accepted by", or(s.InterestAcceptedBy, "nobody"))
		row("TCF vendor", or(fmt.Sprint(s.TCFVendor), "none"))
		row("consent platform", or(string(s.CMP), "none"))
		row("grants last", or(fmt.Sprint(s.GrantDays), fmt.Sprint(int(consent.GrantAgeDefault.Hours()/24)))+" days")
		for _, setting := range scoreSettings(s.ScoreRules) {
			row(setting[0], setting[1])
		}
		row("custom properties", or(strings.Join(s.CustomProperties, " "), "none"))
	})
	if len(s.Texts) > 0 {
		t.printf("\n")
		t.table("text | language | links visits | sha256 | added", func(row func(...any)) {
			for _, x := range s.Texts {
				row(x.Version, x.Language, map[bool]string{true: "yes", false: "no"}[x.LinksVisits], hex.EncodeToString(x.SHA256[:]), x.CreatedAt.Format(time.DateOnly))
			}
		})
	}
	for _, f := range s.Forms {
		t.printf("\n")
		policy, _ := json.MarshalIndent(f, "", "  ") // strings and booleans only
		t.printf("form %s\n", policy)
	}
}

func visitRulesOf(s registry.Site) string {
	out := fmt.Sprintf("after %d minutes of silence", s.Visits.IdleMinutes)
	if s.Visits.TimeZone != "" {
		out += ", at midnight in " + s.Visits.TimeZone
	}
	if s.Visits.AtCampaign {
		out += ", at another campaign"
	}
	return out
}

func precisionOf(s registry.Site) string {
	if s.NetworkPrecision {
		return precisionNetwork
	}
	return precisionTruncated
}

type siteTextCommand struct {
	Add  siteTextAdd  `cmd:"" help:"Add a text visitors agree to."`
	Show siteTextShow `cmd:"" help:"Print a text exactly as it was added."`
}

type siteTextAdd struct {
	siteFlags
	Version  string `required:"" help:"Version: letters, digits, dots and dashes; never used again for another text."`
	Language string `required:"" help:"Language of the text, such as nl or en-GB."`
	// LinksVisits is a statement about the text, so that it never follows from anything.
	LinksVisits bool   `help:"The text says that the person's own visits to the site are kept together with what they fill in."`
	File        string `required:"" type:"path" help:"File with the exact text in UTF-8; the line end at its end is not part of it."`
}

// Run adds the text.
func (c *siteTextAdd) Run(ctx context.Context, t terminal) error {
	raw, err := readBounded(c.File, registry.ConsentTextBytesMax+2)
	if err != nil {
		return err
	}
	body := bytes.TrimSuffix(bytes.TrimSuffix(raw, []byte{'\n'}), []byte{'\r'})
	err = c.change(ctx, t, func(s *registry.Store, claim tenant.Claim) (registry.Site, error) {
		return s.AddText(ctx, claim, c.Site, registry.ConsentText{Version: c.Version, Language: c.Language, LinksVisits: c.LinksVisits, Body: string(body)})
	})
	if errors.Is(err, registry.ErrConflict) {
		return fmt.Errorf("%w: choose a new version, since consents already given name this one", err)
	}
	return err
}

type siteTextShow struct {
	siteFlags
	Version string `required:"" help:"Version of the text."`
}

// Run prints the text and nothing else, so that it can be compared and hashed.
func (c *siteTextShow) Run(ctx context.Context, t terminal) error {
	return c.with(ctx, func(s *registry.Store, claim tenant.Claim) error {
		text, err := s.TextOf(ctx, claim, c.Site, c.Version)
		if err == nil {
			_, err = io.WriteString(t.out, text.Body)
		}
		return err
	})
}

type siteFormCommand struct {
	Set    siteFormSet    `cmd:"" help:"Register what may be captured of a form, or replace it."`
	Remove siteFormRemove `cmd:"" help:"End the capture of a form."`
}

type siteFormSet struct {
	siteFlags
	File string `required:"" type:"path" help:"JSON with form_id, fields (name, kind, required), text_versions and redirect_urls."`
}

// formFileBytesMax is many times what the limits of a form allow.
const formFileBytesMax = 1 << 20

// Run registers the form.
func (c *siteFormSet) Run(ctx context.Context, t terminal) error {
	raw, err := readBounded(c.File, formFileBytesMax)
	if err != nil {
		return err
	}
	var policy registry.FormPolicy
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&policy); err != nil {
		return fmt.Errorf("reading the form's policy: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errors.New("reading the form's policy: there is something after it")
	}
	return c.change(ctx, t, func(s *registry.Store, claim tenant.Claim) (registry.Site, error) {
		return s.SetForm(ctx, claim, c.Site, policy)
	})
}

type siteFormRemove struct {
	siteFlags
	Form string `required:"" help:"Form id."`
}

// Run ends the capture of the form.
func (c *siteFormRemove) Run(ctx context.Context, t terminal) error {
	return c.change(ctx, t, func(s *registry.Store, claim tenant.Claim) (registry.Site, error) {
		return s.RemoveForm(ctx, claim, c.Site, c.Form)
	})
}

// readBounded reads a file of at most so many bytes.
func readBounded(path string, bytesMax int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	raw, err := io.ReadAll(io.LimitReader(f, bytesMax+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	if int64(len(raw)) > bytesMax {
		return nil, fmt.Errorf("%s has more than %d bytes", path, bytesMax)
	}
	return raw, nil
}
