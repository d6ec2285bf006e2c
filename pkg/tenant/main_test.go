package tenant_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/metiva-io/metiva/pkg/embedded/postgres/postgrestest"
	"github.com/metiva-io/metiva/pkg/postgres"
	"github.com/metiva-io/metiva/pkg/tenant"
	schema "github.com/metiva-io/metiva/schemas/postgres"
)

func TestMain(m *testing.M) { postgrestest.Main(m, func() error { return goleak.Find() }) }

// openPool is the pool of app_rw on a test's database.
func openPool(t testing.TB, db *postgrestest.Server, size int) *tenant.Pool {
	t.Helper()
	pool, err := tenant.OpenPool(t.Context(), postgres.Config{URL: db.URL(schema.RoleRW), ConnectionsMax: size})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// raw is a bare connection of a role, as an attacker or a careless colleague
// would have it.
func raw(t testing.TB, db *postgrestest.Server, role string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), db.URL(role).Reveal())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// found creates a tenant with one brand and returns its claim and the brand.
func found(t testing.TB, pool *tenant.Pool, name string) (tenant.Claim, string) {
	t.Helper()
	claim, err := tenant.OperatorClaim(tenant.NewID(tenant.PrefixCompany), "operator:test")
	if err != nil {
		t.Fatal(err)
	}
	brand := tenant.NewID(tenant.PrefixBrand)
	err = tenant.Found(t.Context(), pool, claim, func(ctx context.Context, tx tenant.Tx) error {
		if _, err := tx.Exec(ctx, `INSERT INTO core.tenants (agency_id, kind, name) VALUES ($1, 'client', $2)`,
			tenant.NewID(tenant.PrefixAgency), name); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `INSERT INTO core.brands (id, name) VALUES ($1, $2)`, brand, "brand of "+name)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return claim, brand
}
