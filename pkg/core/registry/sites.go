package registry

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/pkg/tenant"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// CreateSite creates a site with its first key, and queues its record for
// control.sites in the same transaction.
func (s *Store) CreateSite(ctx context.Context, claim tenant.Claim, n NewSite) (Site, error) {
	n, err := n.normalise()
	if err != nil {
		return Site{}, err
	}
	id := tenant.NewID(tenant.PrefixSite)
	var site Site
	err = s.change(ctx, claim, func(ctx context.Context, tx tenant.Tx, tenantActive bool) error {
		var sites int
		if err := tx.QueryRow(ctx, queryCountSites).Scan(&sites); err != nil {
			return err
		}
		if sites >= SitesPerTenantMax {
			return fmt.Errorf("a tenant has at most %d sites: %w", SitesPerTenantMax, ErrLimit)
		}
		if _, err := tx.Exec(ctx, queryInsertSite, n.BrandID, id, n.Name, n.AllowedOrigins,
			schemas.Label(n.Mode), !n.IgnoreDNT, n.RetentionDays, n.InterestAcceptedBy); err != nil {
			return err
		}
		if err := addKey(ctx, tx, id); err != nil {
			return err
		}
		site, err = queueSite(ctx, tx, id, tenantActive)
		return err
	})
	if err != nil {
		return Site{}, fmt.Errorf("creating a site: %w", publicError(err))
	}
	return site, nil
}

// ListSites lists the sites of the claim's tenant that the claim reaches,
// oldest first.
func (s *Store) ListSites(ctx context.Context, claim tenant.Claim) ([]Site, error) {
	var sites []Site
	err := tenant.Run(ctx, s.pool, claim, func(ctx context.Context, tx tenant.Tx) (err error) {
		sites, err = selectSites(ctx, tx, "")
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listing sites: %w", err)
	}
	return sites, nil
}

// SuspendSite makes the site's keys unknown to the collectors; ResumeSite
// makes them known again.
func (s *Store) SuspendSite(ctx context.Context, claim tenant.Claim, siteID string) (Site, error) {
	return s.changeSite(ctx, claim, siteID, "suspending a site", func(ctx context.Context, tx tenant.Tx) (int64, error) {
		tag, err := tx.Exec(ctx, querySetSiteActive, siteID, false)
		return tag.RowsAffected(), err
	})
}

// ResumeSite is the opposite of SuspendSite.
func (s *Store) ResumeSite(ctx context.Context, claim tenant.Claim, siteID string) (Site, error) {
	return s.changeSite(ctx, claim, siteID, "resuming a site", func(ctx context.Context, tx tenant.Tx) (int64, error) {
		tag, err := tx.Exec(ctx, querySetSiteActive, siteID, true)
		return tag.RowsAffected(), err
	})
}

// RotateSiteKey gives the site a new key. The current one stays valid for the
// overlap (0 to KeyOverlapMax); one that was already being rotated out ends
// now, so at most two are valid.
func (s *Store) RotateSiteKey(ctx context.Context, claim tenant.Claim, siteID string, overlap time.Duration) (Site, error) {
	if overlap < 0 || overlap > KeyOverlapMax {
		return Site{}, fmt.Errorf("%w: the overlap must be between 0 and %s", ErrInvalid, KeyOverlapMax)
	}
	return s.changeSite(ctx, claim, siteID, "rotating a site key", func(ctx context.Context, tx tenant.Tx) (int64, error) {
		tag, err := tx.Exec(ctx, queryTouchSite, siteID)
		if err != nil || tag.RowsAffected() == 0 {
			return 0, err
		}
		if _, err := tx.Exec(ctx, queryRetireKeys, siteID, overlap); err != nil {
			return 0, err
		}
		if _, err := tx.Exec(ctx, queryMarkRetired, siteID); err != nil {
			return 0, err
		}
		return tag.RowsAffected(), addKey(ctx, tx, siteID)
	})
}

// SuspendTenant makes every site key of the tenant unknown to the collectors
// and ends its members' access; ResumeTenant undoes it.
func (s *Store) SuspendTenant(ctx context.Context, claim tenant.Claim) error {
	return s.setTenant(ctx, claim, "suspended", false)
}

// CloseAgency suspends an agency's own tenant when check, called while no client of the
// agency can be created, agrees; its error is returned, and nothing is changed then. One
// that is suspended or erased stays as it is.
func (s *Store) CloseAgency(ctx context.Context, claim tenant.Claim, agencyID string, check func(context.Context) error) error {
	err := tenant.Run(ctx, s.pool, claim, func(ctx context.Context, tx tenant.Tx) error {
		if err := LockClients(ctx, tx, agencyID); err != nil {
			return err
		}
		if err := check(ctx); err != nil {
			return err
		}
		var active bool
		if err := tx.QueryRow(ctx, queryActiveTenant).Scan(&active); err != nil || !active {
			return err
		}
		return setTenantIn(ctx, tx, "suspended", false)
	})
	if err != nil {
		return fmt.Errorf("suspending an agency: %w", publicError(err))
	}
	return nil
}

// ResumeTenant is the opposite of SuspendTenant.
func (s *Store) ResumeTenant(ctx context.Context, claim tenant.Claim) error {
	return s.setTenant(ctx, claim, "active", true)
}

func (s *Store) setTenant(ctx context.Context, claim tenant.Claim, status string, active bool) error {
	err := tenant.Run(ctx, s.pool, claim, func(ctx context.Context, tx tenant.Tx) error {
		return setTenantIn(ctx, tx, status, active)
	})
	if err != nil {
		return fmt.Errorf("changing a tenant's status: %w", publicError(err))
	}
	return nil
}

func setTenantIn(ctx context.Context, tx tenant.Tx, status string, active bool) error {
	tag, err := tx.Exec(ctx, querySetTenantStatus, status)
	if err != nil || tag.RowsAffected() == 0 {
		return err // it is in that state already
	}
	if _, err := tx.Exec(ctx, querySetDirectoryActive, active); err != nil {
		return err
	}
	rows, err := tx.Query(ctx, querySiteIDs)
	if err != nil {
		return err
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for _, id := range ids {
		if _, err := tx.Exec(ctx, queryTouchSite, id); err != nil {
			return err
		}
		if _, err := queueSite(ctx, tx, id, active); err != nil {
			return err
		}
	}
	return nil
}

// change runs fn with the tenant's row locked against a change of status. Nothing is
// changed of an erased tenant: that is ErrNotFound.
func (s *Store) change(ctx context.Context, claim tenant.Claim, fn func(ctx context.Context, tx tenant.Tx, tenantActive bool) error) error {
	return changeIn(ctx, s.pool, claim, fn)
}

func changeIn(ctx context.Context, pool *tenant.Pool, claim tenant.Claim, fn func(ctx context.Context, tx tenant.Tx, tenantActive bool) error) error {
	return tenant.Run(ctx, pool, claim, func(ctx context.Context, tx tenant.Tx) error {
		var active bool
		err := tx.QueryRow(ctx, queryLockTenant).Scan(&active)
		if errors.Is(err, pgx.ErrNoRows) {
			return fmt.Errorf("the tenant was erased: %w", ErrNotFound)
		}
		if err != nil {
			return err
		}
		return fn(ctx, tx, active)
	})
}

// changeSite makes one change of a site and queues its record. What returns
// how many sites it changed: none is ErrNotFound.
func (s *Store) changeSite(ctx context.Context, claim tenant.Claim, siteID, doing string, what func(context.Context, tenant.Tx) (int64, error)) (Site, error) {
	if !tenant.ValidID(tenant.PrefixSite, siteID) {
		return Site{}, fmt.Errorf("%w: the site id has the wrong form", ErrInvalid)
	}
	var site Site
	err := s.change(ctx, claim, func(ctx context.Context, tx tenant.Tx, tenantActive bool) error {
		changed, err := what(ctx, tx)
		if err != nil {
			return err
		}
		if changed == 0 {
			return ErrNotFound
		}
		site, err = queueSite(ctx, tx, siteID, tenantActive)
		return err
	})
	if err != nil {
		return Site{}, fmt.Errorf("%s: %w", doing, publicError(err))
	}
	return site, nil
}

func addKey(ctx context.Context, tx tenant.Tx, siteID string) error {
	_, err := tx.Exec(ctx, queryInsertSiteKey, tenant.NewID(tenant.PrefixSiteKey), siteID)
	return err
}

// queueSite writes the site's record to the outbox. The caller has changed the
// site's row in this transaction, so it holds its lock: the order of the
// outbox is the order of the changes.
func queueSite(ctx context.Context, tx tenant.Tx, siteID string, tenantActive bool) (Site, error) {
	sites, err := selectSites(ctx, tx, siteID)
	if err != nil {
		return Site{}, err
	}
	if len(sites) != 1 {
		return Site{}, ErrNotFound
	}
	value, err := proto.MarshalOptions{Deterministic: true}.Marshal(siteRecord(sites[0], tenantActive))
	if err != nil {
		return Site{}, fmt.Errorf("encoding a site record: %w", err)
	}
	if len(value) > SiteRecordBytesMax {
		return Site{}, fmt.Errorf("the site's record would have %d bytes, at most %d are allowed: %w", len(value), SiteRecordBytesMax, ErrLimit)
	}
	_, err = tx.Exec(ctx, queryInsertOutbox, schemas.TopicControlSites, []byte(siteID), value)
	return sites[0], err
}

func siteRecord(s Site, tenantActive bool) *metivav1.SiteRecord {
	keys := make([]string, len(s.Keys))
	for i, k := range s.Keys {
		keys[i] = k.Key
	}
	return &metivav1.SiteRecord{
		CompanyId: s.CompanyID, BrandId: s.BrandID, SiteId: s.ID,
		SiteKeys: keys, AllowedOrigins: s.AllowedOrigins,
		Mode: s.Mode, HonourDnt: s.HonourDNT,
		RetentionDays: uint32(s.RetentionDays),
		Active:        s.Active && tenantActive,
		Version:       s.Version,
		TcfVendor:     uint32(s.TCFVendor), Cmp: string(s.CMP), GrantDays: uint32(s.GrantDays),
		Texts: textRecords(s.Texts), Forms: formRecords(s.Forms), CustomProperties: s.CustomProperties,
		VisitRules:       s.Visits.record(),
		NetworkPrecision: s.NetworkPrecision,
		ScoreRules:       s.ScoreRules.record(),
	}
}

func textRecords(texts []ConsentText) []*metivav1.ConsentText {
	out := make([]*metivav1.ConsentText, len(texts))
	for i, t := range texts {
		out[i] = &metivav1.ConsentText{Version: t.Version, Language: t.Language, Sha256: t.SHA256[:], LinksVisits: t.LinksVisits}
	}
	return out
}

func formRecords(forms []FormPolicy) []*metivav1.FormPolicy {
	out := make([]*metivav1.FormPolicy, len(forms))
	for i, f := range forms {
		fields := make([]*metivav1.FormField, len(f.Fields))
		for j, field := range f.Fields {
			fields[j] = &metivav1.FormField{Name: field.Name, Kind: fieldKind(field.Kind), Required: field.Required}
		}
		out[i] = &metivav1.FormPolicy{FormId: f.FormID, Fields: fields, TextVersions: f.TextVersions, RedirectUrls: f.RedirectURLs}
	}
	return out
}
