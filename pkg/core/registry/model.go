package registry

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/metiva-io/metiva/consent"
	"github.com/metiva-io/metiva/pkg/tenant"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// Limits of input. The database checks the same ones.
const (
	NameRunesMax         = 120
	OriginsPerSiteMax    = 50
	OriginBytesMax       = 300
	SitesPerTenantMax    = 1000
	RetentionDaysMin     = 1
	RetentionDaysMax     = 3650
	RetentionDaysDefault = 395 // 13 months
	KeyOverlapMax        = 90 * 24 * time.Hour
	// GrantDaysMax is the longest a grant may last, 13 months.
	GrantDaysMax = int(consent.GrantAgeMax / (24 * time.Hour))
)

var (
	// ErrInvalid is wrapped by every refusal of input.
	ErrInvalid = errors.New("invalid input")
	// ErrNotFound is returned for an id that does not exist in the claim's
	// tenant, whether or not it exists in another.
	ErrNotFound = errors.New("not found")
	// ErrConflict is returned when a name is taken within the tenant.
	ErrConflict = errors.New("already exists")
	// ErrLimit is returned when the tenant has as many as it may have.
	ErrLimit = errors.New("limit reached")
)

// Agency is an organisation whose people work for several tenants. It owns one
// tenant itself, CompanyID.
type Agency struct {
	ID        string
	CompanyID string
	Name      string
	CreatedAt time.Time
}

// Kind says whose tenant it is.
type Kind string

// The kinds of tenant.
const (
	KindAgency Kind = "agency" // the agency's own
	KindClient Kind = "client"
)

// Tenant is a client company, or an agency's own.
type Tenant struct {
	CompanyID string
	AgencyID  string
	Kind      Kind
	Name      string
	Active    bool
	CreatedAt time.Time
}

// Brand is a subdivision of a tenant.
type Brand struct {
	CompanyID string
	ID        string
	Name      string
	CreatedAt time.Time
}

// SiteKey is a public key a site's snippet sends.
type SiteKey struct {
	Key string
	// RetiresAt is zero for the current key; a rotated one is valid until then.
	RetiresAt time.Time
}

// Site is a website of a brand.
type Site struct {
	CompanyID string
	BrandID   string
	ID        string
	Name      string
	// Keys are those that are valid now, the current one first.
	Keys           []SiteKey
	AllowedOrigins []string
	Mode           metivav1.SiteMode
	HonourDNT      bool
	RetentionDays  int
	Active         bool
	// InterestAcceptedBy and InterestAcceptedAt record who accepted the
	// tenant's legitimate-interest assessment for this site, and when; both
	// zero when nobody has.
	InterestAcceptedBy string
	InterestAcceptedAt time.Time
	// TCFVendor is the vendor a TC string has to name; 0 takes no TC string.
	TCFVendor int
	// CMP is the consent platform grants are taken from; empty takes none.
	CMP consent.CMP
	// GrantDays is how long a grant lasts; 0 is the default of package consent.
	GrantDays int
	// CustomProperties are those custom events may carry.
	CustomProperties []string
	// NetworkPrecision: an address in a known business network of /25 to /29 may be
	// sealed as that network instead of its /24.
	NetworkPrecision bool
	// Visits say where the site's visits end.
	Visits VisitRules
	// ScoreRules is how accounts are scored.
	ScoreRules ScoreRules
	// Texts without their bodies, oldest first.
	Texts     []ConsentText
	Forms     []FormPolicy // by form id
	Version   uint64
	CreatedAt time.Time
}

// NewSite is what CreateSite needs.
type NewSite struct {
	BrandID string
	Name    string
	// AllowedOrigins are brought into canonical form (CanonicalOrigin).
	AllowedOrigins []string
	// Mode defaults to SITE_MODE_COMPANY.
	Mode metivav1.SiteMode
	// IgnoreDNT turns off the default of honouring DNT: 1.
	IgnoreDNT bool
	// RetentionDays defaults to RetentionDaysDefault.
	RetentionDays int
	// InterestAcceptedBy names who accepted the legitimate-interest
	// assessment; empty when nobody has.
	InterestAcceptedBy string
}

// normalise checks every field and returns the canonical form, or all faults.
func (n NewSite) normalise() (NewSite, error) {
	var faults []error
	if !tenant.ValidID(tenant.PrefixBrand, n.BrandID) {
		faults = append(faults, errors.New("the brand id has the wrong form"))
	}
	name, err := cleanName("site name", n.Name)
	faults = append(faults, err)
	n.Name = name
	n.AllowedOrigins, err = canonicalOrigins(n.AllowedOrigins)
	faults = append(faults, err)
	if n.Mode == metivav1.SiteMode_SITE_MODE_UNSPECIFIED {
		n.Mode = metivav1.SiteMode_SITE_MODE_COMPANY
	}
	if _, known := schemas.Labels(metivav1.SiteMode_SITE_MODE_UNSPECIFIED)[n.Mode]; !known {
		faults = append(faults, errors.New("unknown site mode"))
	}
	if n.RetentionDays == 0 {
		n.RetentionDays = RetentionDaysDefault
	}
	if n.RetentionDays < RetentionDaysMin || n.RetentionDays > RetentionDaysMax {
		faults = append(faults, fmt.Errorf("retention must be %d to %d days", RetentionDaysMin, RetentionDaysMax))
	}
	if n.InterestAcceptedBy != "" {
		n.InterestAcceptedBy, err = cleanName("name of who accepted the assessment", n.InterestAcceptedBy)
		faults = append(faults, err)
	}
	if err := errors.Join(faults...); err != nil {
		return NewSite{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return n, nil
}

// cleanName trims a name and refuses one that is empty, too long, no UTF-8, or
// holds characters that do not print.
func cleanName(what, name string) (string, error) {
	name = strings.TrimSpace(name)
	switch {
	case name == "":
		return "", fmt.Errorf("the %s is empty", what)
	case !utf8.ValidString(name):
		return "", fmt.Errorf("the %s is not UTF-8", what)
	case utf8.RuneCountInString(name) > NameRunesMax:
		return "", fmt.Errorf("the %s is longer than %d characters", what, NameRunesMax)
	case strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }):
		return "", fmt.Errorf("the %s holds characters that do not print", what)
	}
	return name, nil
}
