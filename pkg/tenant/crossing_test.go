package tenant_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/metiva-io/metiva/pkg/embedded/postgres/postgrestest"
	"github.com/metiva-io/metiva/pkg/tenant"
)

// TestNoCrossingUnderLoad: a pool of two connections, 32 goroutines, two
// tenants, and contexts cancelled at random moments. No run may ever see the
// other tenant's brand, and no connection may be lost.
func TestNoCrossingUnderLoad(t *testing.T) {
	t.Parallel()
	db := postgrestest.Start(t)
	pool := openPool(t, db, 2)
	a, brandA := found(t, pool, "Alpha")
	b, brandB := found(t, pool, "Beta")
	var (
		wg             sync.WaitGroup
		good, cut, bad atomic.Int64
	)
	for g := range 32 {
		claim, own := a, brandA
		if g%2 == 1 {
			claim, own = b, brandB
		}
		wg.Go(func() {
			for range 30 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rand.IntN(100_000))*time.Microsecond)
				err := tenant.Run(ctx, pool, claim, func(ctx context.Context, tx tenant.Tx) error {
					var id, company, setting string
					err := tx.QueryRow(ctx, `SELECT id, company_id, current_setting('app.company_id') FROM core.brands`).Scan(&id, &company, &setting)
					if err == nil && (id != own || company != claim.CompanyID() || setting != company) {
						bad.Add(1)
						t.Errorf("tenant %s saw brand %s of %s under %s", claim.CompanyID(), id, company, setting)
					}
					if err == nil && rand.IntN(4) == 0 {
						_, err = tx.Exec(ctx, `SELECT pg_sleep(0.005)`)
					}
					return err
				})
				cancel()
				switch {
				case err == nil:
					good.Add(1)
				case errors.Is(err, tenant.ErrContextLeak):
					t.Error(err)
				default:
					cut.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if good.Load() == 0 || cut.Load() == 0 || bad.Load() > 0 {
		t.Errorf("good %d, cut %d, bad %d: the test did not exercise both", good.Load(), cut.Load(), bad.Load())
	}
	if err := tenant.Run(t.Context(), pool, a, func(context.Context, tenant.Tx) error { return nil }); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	t.Logf("runs: %d good, %d cut", good.Load(), cut.Load())
}

// BenchmarkRun is one entry, one query and one commit: three round trips.
func BenchmarkRun(b *testing.B) {
	db := postgrestest.Start(b)
	pool := openPool(b, db, 2)
	claim, _ := found(b, pool, "Alpha")
	for b.Loop() {
		err := tenant.Run(b.Context(), pool, claim, func(ctx context.Context, tx tenant.Tx) error {
			var n int
			return tx.QueryRow(ctx, `SELECT count(*) FROM core.brands`).Scan(&n)
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}
