package export

import (
	"context"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/pkg/core/registry"
	"github.com/metiva-io/metiva/pkg/embedded/clickhouse/clickhousetest"
	"github.com/metiva-io/metiva/pkg/embedded/postgres/postgrestest"
	"github.com/metiva-io/metiva/pkg/postgres"
	"github.com/metiva-io/metiva/pkg/secret"
	"github.com/metiva-io/metiva/pkg/tenant"
	"github.com/metiva-io/metiva/schemas"
	chschema "github.com/metiva-io/metiva/schemas/clickhouse"
	schema "github.com/metiva-io/metiva/schemas/postgres"
)

const operator = "operator:test"

func TestMain(m *testing.M) {
	if code, child := clickhousetest.Child(); child {
		os.Exit(code)
	}
	postgrestest.Main(m)
}

// world is a registry and a ClickHouse.
type world struct {
	t     *testing.T
	db    *postgrestest.Server
	conn  *clickhouse.Conn
	pool  *tenant.Pool
	store *registry.Store
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, db: postgrestest.Start(t)}
	var err error
	if w.pool, err = tenant.OpenPool(t.Context(), postgres.Config{URL: w.db.URL(schema.RoleRW), ConnectionsMax: 4}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.pool.Close)
	worker, err := tenant.OpenWorker(t.Context(), postgres.Config{URL: w.db.URL(schema.RoleWorker), ConnectionsMax: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(worker.Close)
	w.store = registry.NewStore(w.pool, worker)
	if w.conn, err = clickhouse.Open(clickhouse.Config{URL: secret.New(clickhousetest.Start(t).URL())}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.conn.Close() })
	if _, err := clickhouse.Migrate(context.Background(), w.conn, chschema.Files, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	return w
}

// tenant makes a tenant with a site that has a text and a form, and rows.
func (w *world) tenant(name string, events int) tenant.Claim {
	w.t.Helper()
	ctx := w.t.Context()
	check := func(err error) {
		w.t.Helper()
		if err != nil {
			w.t.Fatal(err)
		}
	}
	agency, err := w.store.CreateAgency(ctx, operator, "Agency of "+name)
	check(err)
	client, err := w.store.CreateTenant(ctx, operator, agency.ID, name)
	check(err)
	claim, err := tenant.OperatorClaim(client.CompanyID, operator)
	check(err)
	brand, err := w.store.CreateBrand(ctx, claim, "Brand of "+name)
	check(err)
	site, err := w.store.CreateSite(ctx, claim, registry.NewSite{BrandID: brand.ID, Name: "Site of " + name, AllowedOrigins: []string{"https://www.example.com"}, InterestAcceptedBy: "Anna"})
	check(err)
	_, err = w.store.AddText(ctx, claim, site.ID, registry.ConsentText{Version: "v1", Language: "nl", Body: "Text of " + name})
	check(err)
	_, err = w.store.SetForm(ctx, claim, site.ID, registry.FormPolicy{FormID: "contact", Fields: []registry.FormField{{Name: "email", Kind: "email"}}, TextVersions: []string{"v1"}})
	check(err)
	for i := range events {
		check(w.conn.Insert(ctx, "events", "", []clickhouse.Column{
			{Name: "tenant_bucket", Values: []uint8{schemas.TenantBucket(client.CompanyID)}},
			{Name: "company_id", Values: []string{client.CompanyID}},
			{Name: "site_id", Values: []string{site.ID}},
			{Name: "event_id", Values: [][]byte{{byte(i)}}},
			{Name: "path", Values: []string{"/of/" + name}},
			{Name: "received_at", Values: []time.Time{time.Now()}},
			{Name: "expires_at", Values: []time.Time{time.Now().AddDate(1, 0, 0)}},
		}))
	}
	return claim
}
