package registry

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/metiva-io/metiva/consent"
	"github.com/metiva-io/metiva/pkg/tenant"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// selectSites reads one site, or all when siteID is empty, with valid keys,
// texts and forms.
func selectSites(ctx context.Context, tx tenant.Tx, siteID string) ([]Site, error) {
	rows, err := tx.Query(ctx, querySelectSite, siteID)
	if err != nil {
		return nil, err
	}
	sites, err := pgx.CollectRows(rows, scanSite)
	if err != nil {
		return nil, err
	}
	keys, err := selectOf(ctx, tx, querySelectSiteKeys, siteID, scanKey)
	if err != nil {
		return nil, err
	}
	texts, err := selectOf(ctx, tx, querySelectTexts, siteID, scanText)
	if err != nil {
		return nil, err
	}
	forms, err := selectOf(ctx, tx, querySelectForms, siteID, scanForm)
	if err != nil {
		return nil, err
	}
	rules, err := selectOf(ctx, tx, querySelectScoreRules, siteID, scanScoreRules)
	if err != nil {
		return nil, err
	}
	for i := range sites {
		id := sites[i].ID
		if of := rules[id]; len(of) == 1 {
			sites[i].ScoreRules = of[0]
		}
		sites[i].Keys, sites[i].Texts, sites[i].Forms = keys[id], texts[id], forms[id]
	}
	return sites, nil
}

// selectOf reads rows that begin with the id of their site.
func selectOf[T any](ctx context.Context, tx tenant.Tx, query, siteID string, scan func(row pgx.Row) (string, T, error)) (map[string][]T, error) {
	rows, err := tx.Query(ctx, query, siteID)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := map[string][]T{}
	for rows.Next() {
		of, item, err := scan(rows)
		if err != nil {
			return nil, err
		}
		out[of] = append(out[of], item)
	}
	return out, rows.Err()
}

func scanKey(row pgx.Row) (of string, k SiteKey, err error) {
	var retires *time.Time
	err = row.Scan(&of, &k.Key, &retires)
	if retires != nil {
		k.RetiresAt = *retires
	}
	return of, k, err
}

func scanText(row pgx.Row) (of string, t ConsentText, err error) {
	var sum []byte
	err = row.Scan(&of, &t.Version, &t.Language, &t.LinksVisits, &sum, &t.CreatedAt)
	copy(t.SHA256[:], sum)
	return of, t, err
}

func scanForm(row pgx.Row) (of string, p FormPolicy, err error) {
	var fields []byte
	if err = row.Scan(&of, &p.FormID, &fields, &p.TextVersions, &p.RedirectURLs); err != nil {
		return of, p, err
	}
	if err = json.Unmarshal(fields, &p.Fields); err != nil {
		err = fmt.Errorf("reading the fields of a form: %w", err)
	}
	return of, p, err
}

func scanSite(row pgx.CollectableRow) (Site, error) {
	var (
		s         Site
		mode, cmp string
		accepted  *time.Time
	)
	err := row.Scan(&s.CompanyID, &s.BrandID, &s.ID, &s.Name, &s.AllowedOrigins, &mode, &s.HonourDNT,
		&s.RetentionDays, &s.Active, &s.InterestAcceptedBy, &accepted, &s.TCFVendor, &cmp, &s.GrantDays, &s.CustomProperties,
		&s.NetworkPrecision, &s.Visits.IdleMinutes, &s.Visits.TimeZone, &s.Visits.AtCampaign, &s.Version, &s.CreatedAt)
	s.CMP = consent.CMP(cmp)
	if accepted != nil {
		s.InterestAcceptedAt = *accepted
	}
	for m, label := range schemas.Labels(metivav1.SiteMode_SITE_MODE_UNSPECIFIED) {
		if label == mode {
			s.Mode = m
		}
	}
	return s, err
}

// TextOf reads one text of a site, its body included.
func (s *Store) TextOf(ctx context.Context, claim tenant.Claim, siteID, version string) (ConsentText, error) {
	var t ConsentText
	err := tenant.Run(ctx, s.pool, claim, func(ctx context.Context, tx tenant.Tx) (err error) {
		t, err = selectText(ctx, tx, siteID, version)
		return err
	})
	if err != nil {
		return ConsentText{}, fmt.Errorf("reading a text: %w", publicError(err))
	}
	return t, nil
}

func selectText(ctx context.Context, tx tenant.Tx, siteID, version string) (ConsentText, error) {
	rows, err := tx.Query(ctx, querySelectText, siteID, version)
	if err != nil {
		return ConsentText{}, err
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (t ConsentText, err error) {
		var sum []byte
		err = row.Scan(&t.Version, &t.Language, &t.LinksVisits, &t.Body, &sum, &t.CreatedAt)
		if len(sum) == sha256.Size {
			t.SHA256 = [sha256.Size]byte(sum)
		}
		return t, err
	})
	if err != nil {
		return ConsentText{}, err
	}
	if len(found) == 0 {
		return ConsentText{}, ErrNotFound
	}
	return found[0], nil
}
