package analytics

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/schemas"
)

// VisitRef names a visit within its tenant.
type VisitRef struct {
	CompanyID string
	VisitID   [schemas.IDBytes]byte
	StartedAt time.Time
}

// StandingVisit is how a visit stands: its version, and its company if one is known.
type StandingVisit struct {
	Version    uint64
	AccountID  string
	Confidence float32
}

// standingMax bounds one question: its ids travel in a URL, of which a server takes 1
// MiB.
const standingMax = 4096

const standingVisitsSQL = `SELECT visit_id, version, account_id, confidence FROM visits FINAL
WHERE tenant_bucket IN {buckets:Array(UInt8)} AND company_id IN {companies:Array(String)}
AND started_at >= {from:DateTime64(3, 'UTC')} AND started_at <= {to:DateTime64(3, 'UTC')}
AND visit_id IN (
	SELECT toFixedString(unhex(substring({ids:String}, number * 32 + 1, 32)), 16) FROM numbers({n:UInt64})
) AND` + kept

// StandingVisits tells which of the visits stand: not those that were removed, erased
// or are past their retention.
func (o *Operator) StandingVisits(ctx context.Context, refs []VisitRef) (map[[schemas.IDBytes]byte]StandingVisit, error) {
	out := make(map[[schemas.IDBytes]byte]StandingVisit, len(refs))
	for chunk := range slices.Chunk(refs, standingMax) {
		var companies []string
		var buckets []uint8
		ids := make([]byte, 0, len(chunk)*2*schemas.IDBytes)
		from, to := chunk[0].StartedAt, chunk[0].StartedAt
		for i := range chunk {
			r := &chunk[i]
			if !slices.Contains(companies, r.CompanyID) {
				companies = append(companies, r.CompanyID)
			}
			if b := schemas.TenantBucket(r.CompanyID); !slices.Contains(buckets, b) {
				buckets = append(buckets, b)
			}
			ids = hex.AppendEncode(ids, r.VisitID[:])
			if r.StartedAt.Before(from) {
				from = r.StartedAt
			}
			if r.StartedAt.After(to) {
				to = r.StartedAt
			}
		}
		err := o.conn.Each(ctx, standingVisitsSQL, func(scan func(...any) error) error {
			var id [schemas.IDBytes]byte
			var v StandingVisit
			if err := scan(&id, &v.Version, &v.AccountID, &v.Confidence); err != nil {
				return err
			}
			out[id] = v
			return nil
		}, clickhouse.Param("buckets", buckets), clickhouse.Param("companies", companies), clickhouse.Param("from", from), clickhouse.Param("to", to),
			clickhouse.Param("ids", string(ids)), clickhouse.Param("n", len(chunk)))
		if err != nil {
			return nil, fmt.Errorf("asking which visits stand: %w", err)
		}
	}
	return out, nil
}
