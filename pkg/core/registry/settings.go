package registry

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/metiva-io/metiva/consent"
	"github.com/metiva-io/metiva/pkg/tenant"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// SiteChange is what SetSite changes; nil leaves a setting as it is.
type SiteChange struct {
	Mode          *metivav1.SiteMode
	HonourDNT     *bool
	RetentionDays *int
	// AllowedOrigins replace the present ones.
	AllowedOrigins []string
	TCFVendor      *int
	CMP            *consent.CMP
	GrantDays      *int
	// CustomProperties replace the present ones; an empty list takes none.
	CustomProperties []string
	// NetworkPrecision lets an address in a business network be sealed as that
	// network, /25 to /29. Whoever turns it on accepts the assessment anew, with
	// InterestAcceptedBy: what was accepted before was about a /24.
	NetworkPrecision *bool
	// Visits change where the site's visits end, from each visitor's next event on.
	Visits VisitChange
	// InterestAcceptedBy names who accepts the legitimate-interest assessment now.
	InterestAcceptedBy *string
}

// normalise checks every field and returns the canonical form, or all faults.
func (c SiteChange) normalise() (SiteChange, error) {
	var faults []error
	fault := func(wrong bool, format string, args ...any) {
		if wrong {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	if c.Mode == nil && c.HonourDNT == nil && c.RetentionDays == nil && c.AllowedOrigins == nil && c.TCFVendor == nil &&
		c.CMP == nil && c.GrantDays == nil && c.CustomProperties == nil && c.NetworkPrecision == nil && c.InterestAcceptedBy == nil && c.Visits.isZero() {
		faults = append(faults, errors.New("there is nothing to change"))
	}
	if c.Mode != nil {
		label, known := schemas.Labels(metivav1.SiteMode_SITE_MODE_UNSPECIFIED)[*c.Mode]
		fault(!known || label == "none", "unknown site mode")
	}
	if c.RetentionDays != nil {
		fault(*c.RetentionDays < RetentionDaysMin || *c.RetentionDays > RetentionDaysMax, "retention must be %d to %d days", RetentionDaysMin, RetentionDaysMax)
	}
	if c.AllowedOrigins != nil {
		origins, err := canonicalOrigins(c.AllowedOrigins)
		c.AllowedOrigins, faults = origins, append(faults, err)
	}
	if c.TCFVendor != nil {
		fault(*c.TCFVendor < 0 || *c.TCFVendor > tcfVendorMax, "a TCF vendor is a number from 1 to %d, or 0 for none", tcfVendorMax)
	}
	if c.CMP != nil {
		fault(*c.CMP != "" && !c.CMP.Known(), "the consent platform is not one we read")
	}
	if c.GrantDays != nil {
		fault(*c.GrantDays < 0 || *c.GrantDays > GrantDaysMax, "a grant lasts 1 to %d days, or 0 for the default", GrantDaysMax)
	}
	faults = append(faults, checkProperties(c.CustomProperties), c.Visits.check())
	if c.NetworkPrecision != nil {
		fault(*c.NetworkPrecision && c.InterestAcceptedBy == nil, "a finer precision of addresses needs the legitimate-interest assessment accepted anew: say who accepts it")
	}
	if c.InterestAcceptedBy != nil {
		name, err := cleanName("name of who accepted the assessment", *c.InterestAcceptedBy)
		c.InterestAcceptedBy, faults = &name, append(faults, err)
	}
	if err := errors.Join(faults...); err != nil {
		return SiteChange{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return c, nil
}

// tcfVendorMax is what a TC string has room for.
const tcfVendorMax = 1<<16 - 1

// SetSite changes settings of a site.
func (s *Store) SetSite(ctx context.Context, claim tenant.Claim, siteID string, c SiteChange) (Site, error) {
	c, err := c.normalise()
	if err != nil {
		return Site{}, err
	}
	var mode *string
	if c.Mode != nil {
		label := schemas.Label(*c.Mode)
		mode = &label
	}
	return s.changeSite(ctx, claim, siteID, "setting a site", func(ctx context.Context, tx tenant.Tx) (int64, error) {
		tag, err := tx.Exec(ctx, querySetSite, siteID, mode, c.HonourDNT, c.RetentionDays, c.AllowedOrigins,
			c.TCFVendor, (*string)(c.CMP), c.GrantDays, c.CustomProperties, c.InterestAcceptedBy, c.NetworkPrecision,
			c.Visits.IdleMinutes, c.Visits.TimeZone, c.Visits.AtCampaign)
		if err != nil || tag.RowsAffected() == 0 || c.AllowedOrigins == nil {
			return tag.RowsAffected(), err
		}
		return tag.RowsAffected(), checkFormsStay(ctx, tx, siteID)
	})
}

// checkFormsStay refuses origins that leave a form's redirect address on none.
func checkFormsStay(ctx context.Context, tx tenant.Tx, siteID string) error {
	sites, err := selectSites(ctx, tx, siteID)
	if err != nil {
		return err
	}
	for _, site := range sites {
		for _, form := range site.Forms {
			for _, address := range form.RedirectURLs {
				if checkRedirect(address, site.AllowedOrigins) != nil {
					return fmt.Errorf("%w: the form %s is sent back to an origin that would not be allowed any more", ErrInvalid, form.FormID)
				}
			}
		}
	}
	return nil
}

// errUnchanged ends a change that would change nothing; no record is queued.
var errUnchanged = errors.New("it is so already")

// changeSiteTo is changeSite for a change that may turn out to be none.
func (s *Store) changeSiteTo(ctx context.Context, claim tenant.Claim, siteID, doing string, what func(ctx context.Context, tx tenant.Tx, site Site) error) (Site, error) {
	var before Site
	site, err := s.changeSite(ctx, claim, siteID, doing, func(ctx context.Context, tx tenant.Tx) (int64, error) {
		tag, err := tx.Exec(ctx, queryTouchSite, siteID) // takes the site's lock
		if err != nil || tag.RowsAffected() == 0 {
			return 0, err
		}
		sites, err := selectSites(ctx, tx, siteID)
		if err != nil || len(sites) != 1 {
			return 0, err
		}
		before = sites[0]
		before.Version-- // as it is unless this commits
		return 1, what(ctx, tx, before)
	})
	if errors.Is(err, errUnchanged) {
		return before, nil
	}
	return site, err
}

// AddText adds a text visitors of the site agree to. A version never stands for
// another text, language or promise about visits: ErrConflict. Adding the same one
// again changes nothing.
func (s *Store) AddText(ctx context.Context, claim tenant.Claim, siteID string, t ConsentText) (Site, error) {
	if err := t.check(); err != nil {
		return Site{}, err
	}
	sum := sha256.Sum256([]byte(t.Body))
	return s.changeSiteTo(ctx, claim, siteID, "adding a text", func(ctx context.Context, tx tenant.Tx, site Site) error {
		for _, known := range site.Texts {
			if known.Version != t.Version {
				continue
			}
			if known.SHA256 == sum && known.Language == t.Language && known.LinksVisits == t.LinksVisits {
				return errUnchanged
			}
			return fmt.Errorf("the version stands for another text: %w", ErrConflict)
		}
		if len(site.Texts) >= schemas.ConsentTextsMax {
			return fmt.Errorf("a site has at most %d texts: %w", schemas.ConsentTextsMax, ErrLimit)
		}
		_, err := tx.Exec(ctx, queryInsertText, siteID, t.Version, t.Language, t.Body, sum[:], t.LinksVisits)
		return err
	})
}

// SetForm registers what may be captured of a form, or replaces it.
func (s *Store) SetForm(ctx context.Context, claim tenant.Claim, siteID string, p FormPolicy) (Site, error) {
	fields, err := json.Marshal(p.Fields)
	if err != nil {
		return Site{}, fmt.Errorf("encoding the fields of a form: %w", err)
	}
	if p.RedirectURLs == nil {
		p.RedirectURLs = []string{}
	}
	return s.changeSiteTo(ctx, claim, siteID, "setting a form", func(ctx context.Context, tx tenant.Tx, site Site) error {
		if err := p.check(site.Texts, site.AllowedOrigins); err != nil {
			return err
		}
		known := false
		for _, f := range site.Forms {
			known = known || f.FormID == p.FormID
		}
		if !known && len(site.Forms) >= schemas.FormsMax {
			return fmt.Errorf("a site has at most %d forms: %w", schemas.FormsMax, ErrLimit)
		}
		tag, err := tx.Exec(ctx, queryUpsertForm, siteID, p.FormID, string(fields), p.TextVersions, p.RedirectURLs)
		if err == nil && tag.RowsAffected() == 0 {
			return errUnchanged
		}
		return err
	})
}

// RemoveForm ends the capture of a form.
func (s *Store) RemoveForm(ctx context.Context, claim tenant.Claim, siteID, formID string) (Site, error) {
	return s.changeSiteTo(ctx, claim, siteID, "removing a form", func(ctx context.Context, tx tenant.Tx, _ Site) error {
		tag, err := tx.Exec(ctx, queryDeleteForm, siteID, formID)
		if err == nil && tag.RowsAffected() == 0 {
			return ErrNotFound
		}
		return err
	})
}
