package export

import (
	"context"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/metiva-io/metiva/pkg/core/registry"
	"github.com/metiva-io/metiva/pkg/tenant"
	"github.com/metiva-io/metiva/schemas"
)

// Facts is what the registry knows of a tenant, without keys of any kind.
type Facts struct {
	CompanyID string    `json:"company_id"`
	AgencyID  string    `json:"agency_id"`
	Kind      string    `json:"kind"`
	Name      string    `json:"name"`
	Active    bool      `json:"active"`
	CreatedAt time.Time `json:"created_at"`
	Brands    []Brand   `json:"brands"`
	Sites     []Site    `json:"sites"`
	// SuppressedNetworks are those the tenant has set never to be resolved.
	SuppressedNetworks []SuppressedNetwork `json:"suppressed_networks"`
}

// SuppressedNetwork is a network the tenant gave as a setting.
type SuppressedNetwork struct {
	Prefix  string    `json:"prefix"`
	Reason  string    `json:"reason"`
	AddedBy string    `json:"added_by"`
	AddedAt time.Time `json:"added_at"`
}

// Brand is a subdivision of the tenant.
type Brand struct {
	BrandID   string    `json:"brand_id"`
	Name      string    `json:"name"`
	CreatedAt time.Time `json:"created_at"`
}

// Site is a website with its settings.
type Site struct {
	SiteID             string                `json:"site_id"`
	BrandID            string                `json:"brand_id"`
	Name               string                `json:"name"`
	Active             bool                  `json:"active"`
	AllowedOrigins     []string              `json:"allowed_origins"`
	Mode               string                `json:"mode"`
	HonourDNT          bool                  `json:"honour_dnt"`
	RetentionDays      int                   `json:"retention_days"`
	InterestAcceptedBy string                `json:"interest_accepted_by,omitempty"`
	InterestAcceptedAt *time.Time            `json:"interest_accepted_at,omitempty"`
	TCFVendor          int                   `json:"tcf_vendor,omitempty"`
	CMP                string                `json:"cmp,omitempty"`
	GrantDays          int                   `json:"grant_days,omitempty"`
	CustomProperties   []string              `json:"custom_properties"`
	NetworkPrecision   bool                  `json:"network_precision"`
	VisitIdleMinutes   int                   `json:"visit_idle_minutes"`
	VisitTimeZone      string                `json:"visit_time_zone,omitempty"`
	VisitAtCampaign    bool                  `json:"visit_at_campaign"`
	ScoreRules         registry.ScoreRules   `json:"score_rules"`
	Texts              []Text                `json:"texts"`
	Forms              []registry.FormPolicy `json:"forms"`
	Version            uint64                `json:"version"`
	CreatedAt          time.Time             `json:"created_at"`
}

// Text is what visitors agree to.
type Text struct {
	Version     string    `json:"version"`
	Language    string    `json:"language"`
	LinksVisits bool      `json:"links_visits"`
	Body        string    `json:"body"`
	SHA256      string    `json:"sha256"`
	CreatedAt   time.Time `json:"created_at"`
}

// NotInFacts names the tables of Postgres with a tenant's rows that the facts leave
// out, and why. A test holds that all others are in them.
func NotInFacts() map[string]string {
	return map[string]string{
		"agencies":        "the agency's own record, whose tenant is another",
		"directory":       "an index of tenants",
		"memberships":     "people of the tenant, who belong to sign-in",
		"site_keys":       "keys",
		"outbox":          "the same facts on their way to Kafka",
		"erasures":        "which persons were erased: the record of it stays where it is",
		"salts_published": "days of salts, which are keys",
		"audit_records":   "who did what with the data: operators, whose record it stays",
	}
}

// readFacts reads what the claim reaches.
func readFacts(ctx context.Context, store *registry.Store, claim tenant.Claim) (Facts, error) {
	t, err := store.TenantOf(ctx, claim)
	if err != nil {
		return Facts{}, fmt.Errorf("exporting the registry: %w", err)
	}
	out := Facts{
		CompanyID: t.CompanyID, AgencyID: t.AgencyID, Kind: string(t.Kind), Name: t.Name, Active: t.Active, CreatedAt: t.CreatedAt.UTC(),
		Brands: []Brand{}, Sites: []Site{}, SuppressedNetworks: []SuppressedNetwork{},
	}
	brands, err := store.ListBrands(ctx, claim)
	if err != nil {
		return Facts{}, fmt.Errorf("exporting the registry: %w", err)
	}
	for _, b := range brands {
		out.Brands = append(out.Brands, Brand{b.ID, b.Name, b.CreatedAt.UTC()})
	}
	networks, err := store.Suppressions(ctx, claim)
	if err != nil {
		return Facts{}, fmt.Errorf("exporting the registry: %w", err)
	}
	for _, n := range networks {
		out.SuppressedNetworks = append(out.SuppressedNetworks, SuppressedNetwork{n.Prefix.String(), n.Reason, n.AddedBy, n.AddedAt.UTC()})
	}
	sites, err := store.ListSites(ctx, claim)
	if err != nil {
		return Facts{}, fmt.Errorf("exporting the registry: %w", err)
	}
	for _, s := range sites {
		site := siteOf(s)
		for _, known := range s.Texts {
			text, err := store.TextOf(ctx, claim, s.ID, known.Version)
			if err != nil {
				return Facts{}, fmt.Errorf("exporting the registry: %w", err)
			}
			site.Texts = append(site.Texts, Text{
				text.Version, text.Language, text.LinksVisits, text.Body, hex.EncodeToString(text.SHA256[:]), text.CreatedAt.UTC(),
			})
		}
		out.Sites = append(out.Sites, site)
	}
	return out, nil
}

// siteOf is a site without its keys and texts.
func siteOf(s registry.Site) Site {
	out := Site{
		SiteID: s.ID, BrandID: s.BrandID, Name: s.Name, Active: s.Active, AllowedOrigins: orNone(s.AllowedOrigins), Mode: schemas.Label(s.Mode),
		HonourDNT: s.HonourDNT, RetentionDays: s.RetentionDays, InterestAcceptedBy: s.InterestAcceptedBy, TCFVendor: s.TCFVendor, CMP: string(s.CMP),
		GrantDays: s.GrantDays, CustomProperties: orNone(s.CustomProperties), NetworkPrecision: s.NetworkPrecision,
		VisitIdleMinutes: s.Visits.IdleMinutes, VisitTimeZone: s.Visits.TimeZone, VisitAtCampaign: s.Visits.AtCampaign, ScoreRules: s.ScoreRules,
		Texts: []Text{}, Forms: orNone(s.Forms), Version: s.Version, CreatedAt: s.CreatedAt.UTC(),
	}
	if !s.InterestAcceptedAt.IsZero() {
		at := s.InterestAcceptedAt.UTC()
		out.InterestAcceptedAt = &at
	}
	return out
}

// orNone is an empty list for none, never null.
func orNone[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
