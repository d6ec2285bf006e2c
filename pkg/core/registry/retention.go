package registry

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// SiteRetention is how long a site's rows are kept.
type SiteRetention struct {
	CompanyID, SiteID string
	Days              int
}

// Retentions lists the retention of every site of every tenant, suspended ones too:
// what was collected of them goes as well. Actor is who asks.
func (s *Store) Retentions(ctx context.Context, actor string) ([]SiteRetention, error) {
	return collect(ctx, s, actor, "", "", querySelectRetentions, func(row pgx.CollectableRow) (r SiteRetention, err error) {
		return r, row.Scan(&r.CompanyID, &r.SiteID, &r.Days)
	})
}
