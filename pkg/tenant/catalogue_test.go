package tenant_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/metiva-io/metiva/pkg/embedded/postgres/postgrestest"
	"github.com/metiva-io/metiva/pkg/postgres"
	"github.com/metiva-io/metiva/pkg/tenant"
	schema "github.com/metiva-io/metiva/schemas/postgres"
)

func TestTheSchemaHasNoFindings(t *testing.T) {
	t.Parallel()
	db := postgrestest.Start(t)
	findings, err := tenant.Findings(t.Context(), raw(t, db, schema.RoleRW))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range findings {
		t.Error(f)
	}
}

func TestAnEmptyDatabaseIsAFinding(t *testing.T) {
	t.Parallel()
	db := postgrestest.StartEmpty(t)
	_, err := tenant.OpenPool(t.Context(), postgres.Config{URL: db.URL(schema.RoleRW)})
	if !errors.Is(err, tenant.ErrUnsafeDatabase) || !strings.Contains(err.Error(), "migrations have not run") {
		t.Errorf("got %v", err)
	}
}

const tenantPolicy = `company_id = (SELECT current_setting('app.company_id')::core.company_id)`

// TestEachPlantedFaultIsFound proves that the catalogue test can fail: each
// fault is planted in a transaction that is rolled back, so one database does
// for all.
func TestEachPlantedFaultIsFound(t *testing.T) {
	t.Parallel()
	db := postgrestest.Start(t)
	admin := raw(t, db, "metiva_admin")
	var database string
	if err := admin.QueryRow(t.Context(), `SELECT current_database()`).Scan(&database); err != nil {
		t.Fatal(err)
	}
	newTable := `CREATE TABLE core.deals (company_id core.company_id NOT NULL DEFAULT current_setting('app.company_id'), id text NOT NULL, PRIMARY KEY (company_id, id))`
	secured := newTable + `; ALTER TABLE core.deals ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
		CREATE POLICY tenant ON core.deals USING (` + tenantPolicy + `) WITH CHECK (` + tenantPolicy + `)`
	for name, c := range map[string]struct{ plant, want string }{
		"a good table":              {secured, ""},
		"no row security":           {newTable, "core.deals: row-level security not enabled and forced"},
		"not forced":                {`ALTER TABLE core.sites NO FORCE ROW LEVEL SECURITY`, "core.sites: row-level security not enabled and forced"},
		"disabled":                  {`ALTER TABLE core.brands DISABLE ROW LEVEL SECURITY`, "core.brands: row-level security not enabled and forced"},
		"policy dropped":            {`DROP POLICY tenant ON core.sites`, "core.sites: no policy for all commands"},
		"extra permissive policy":   {`CREATE POLICY open ON core.sites USING (true)`, "core.sites: permissive policy not bound to the context: open"},
		"policy with a way out":     {`ALTER POLICY tenant ON core.sites USING (` + tenantPolicy + ` OR name = 'demo')`, "core.sites: permissive policy not bound to the context: tenant"},
		"open check":                {`ALTER POLICY tenant ON core.sites WITH CHECK (true)`, "core.sites: permissive policy not bound to the context: tenant"},
		"context may be missing":    {`ALTER POLICY tenant ON core.sites USING (company_id = current_setting('app.company_id', true))`, "core.sites: policy reads a context that may be missing: tenant"},
		"worker policy widened":     {`CREATE POLICY worker ON core.sites FOR SELECT TO app_worker USING (true)`, "core.sites: permissive policy not bound to the context: worker"},
		"worker policy for the app": {`DROP POLICY worker ON core.outbox; CREATE POLICY worker ON core.outbox TO app_rw, app_worker USING (true)`, "core.outbox: permissive policy not bound to the context: worker to app_rw, app_worker"},
		"brand policy dropped":      {`DROP POLICY brand ON core.sites`, "core.sites: no restrictive brand policy"},
		"brands' policy dropped":    {`DROP POLICY brand ON core.brands`, "core.brands: no restrictive brand policy"},
		"nullable":                  {`ALTER TABLE core.sites DROP CONSTRAINT sites_pkey CASCADE; ALTER TABLE core.sites ALTER company_id DROP NOT NULL`, "core.sites: company_id may be null"},
		"no default":                {`ALTER TABLE core.sites ALTER company_id DROP DEFAULT`, "core.sites: company_id has no default from the context"},
		"global unique index":       {`CREATE UNIQUE INDEX sites_name ON core.sites (name)`, "core.sites: unique index without company_id: core.sites_name"},
		"simple foreign key":        {`ALTER TABLE core.brands ADD UNIQUE (id); ALTER TABLE core.sites ADD CONSTRAINT loose FOREIGN KEY (brand_id) REFERENCES core.brands (id)`, "core.sites: foreign key without company_id: loose"},
		"truncate granted":          {`GRANT TRUNCATE ON core.sites TO app_rw`, "core.sites: app_rw has TRUNCATE, REFERENCES or TRIGGER"},
		"owned by the app":          {`ALTER TABLE core.brands OWNER TO app_rw`, "core.brands: app_rw owns it"},
		"unlisted global table":     {`CREATE TABLE core.settings (name text PRIMARY KEY)`, "core.settings: table without company_id"},
		"partition":                 {`CREATE TABLE core.ev (company_id core.company_id NOT NULL DEFAULT current_setting('app.company_id'), n int) PARTITION BY RANGE (n); ALTER TABLE core.ev ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; CREATE POLICY tenant ON core.ev USING (` + tenantPolicy + `) WITH CHECK (` + tenantPolicy + `); CREATE TABLE core.ev_1 PARTITION OF core.ev FOR VALUES FROM (0) TO (9)`, "core.ev_1: row-level security not enabled and forced"},
		"materialised view":         {`CREATE MATERIALIZED VIEW core.mv AS SELECT 1`, "core.mv: materialised view"},
		"view of its owner":         {`CREATE VIEW core.v AS SELECT * FROM core.sites`, "core.v: view without security_invoker"},
		"view of the caller":        {`CREATE VIEW core.v WITH (security_invoker = true) AS SELECT * FROM core.sites`, ""},
		"security definer":          {`CREATE FUNCTION core.f() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'`, "core.f(): SECURITY DEFINER function that app_rw may call"},
		"bypass":                    {`ALTER ROLE app_rw BYPASSRLS`, "app_rw: superuser, BYPASSRLS"},
		"member of the owner":       {`GRANT app_owner TO app_rw`, "app_rw: superuser, BYPASSRLS"},
		"worker becomes superuser":  {`ALTER ROLE app_worker SUPERUSER`, "app_worker: superuser"},
		"temporary tables":          {`DO $$ BEGIN EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO PUBLIC', current_database()); END $$`, database + ": app_rw may create temporary tables in the database"},
		"may create":                {`GRANT CREATE ON SCHEMA core TO app_rw`, "core: app_rw may create objects"},
	} {
		t.Run(name, func(t *testing.T) {
			// Not parallel: roles are the cluster's, and one connection serves all.
			tx, err := admin.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = tx.Rollback(t.Context()) }()
			if _, err := tx.Exec(t.Context(), c.plant, pgx.QueryExecModeSimpleProtocol); err != nil {
				t.Fatal(err)
			}
			findings, err := tenant.Findings(t.Context(), tx)
			if err != nil {
				t.Fatal(err)
			}
			found := false
			for _, f := range findings {
				found = found || strings.HasPrefix(f.String(), c.want)
			}
			if c.want == "" && len(findings) > 0 {
				t.Errorf("findings on a good schema: %v", findings)
			}
			if c.want != "" && !found {
				t.Errorf("not found: %s; found: %v", c.want, findings)
			}
		})
	}
}

func TestOpenPoolRefusesRolesThatPassRowSecurity(t *testing.T) {
	t.Parallel()
	db := postgrestest.Start(t)
	for role, why := range map[string]string{
		"metiva_admin":     "superuser",
		schema.RoleBackup:  "BYPASSRLS",
		schema.RoleMigrate: "member of another role",
	} {
		_, err := tenant.OpenPool(t.Context(), postgres.Config{URL: db.URL(role)})
		if !errors.Is(err, tenant.ErrUnsafeDatabase) || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: got %v", role, err)
		}
	}
	if err := postgres.Administer(t.Context(), db.AdminURL(), `ALTER TABLE core.sites NO FORCE ROW LEVEL SECURITY`); err != nil {
		t.Fatal(err)
	}
	if _, err := tenant.OpenPool(t.Context(), postgres.Config{URL: db.URL(schema.RoleRW)}); !errors.Is(err, tenant.ErrUnsafeDatabase) {
		t.Errorf("a schema with a hole: got %v", err)
	}
}

func TestOpenWorkerRefusesARoleThatReadsTenantTables(t *testing.T) {
	t.Parallel()
	db := postgrestest.Start(t)
	worker, err := tenant.OpenWorker(t.Context(), postgres.Config{URL: db.URL(schema.RoleWorker)})
	if err != nil {
		t.Fatal(err)
	}
	worker.Close()
	if _, err := tenant.OpenWorker(t.Context(), postgres.Config{URL: db.URL(schema.RoleRW)}); !errors.Is(err, tenant.ErrUnsafeDatabase) {
		t.Errorf("app_rw as the worker: got %v", err)
	}
	if err := postgres.Administer(t.Context(), db.AdminURL(), `GRANT SELECT (name) ON core.sites TO app_worker`); err != nil {
		t.Fatal(err)
	}
	if _, err := tenant.OpenWorker(t.Context(), postgres.Config{URL: db.URL(schema.RoleWorker)}); !errors.Is(err, tenant.ErrUnsafeDatabase) {
		t.Errorf("a worker with a column of a tenant table: got %v", err)
	}
}

func TestEachRoleReachesOnlyWhatItIsFor(t *testing.T) {
	t.Parallel()
	db := postgrestest.Start(t)
	pool := openPool(t, db, 1)
	claim, brand := found(t, pool, "Alpha")
	fillEveryTable(t, db, claim, brand)
	count := func(role, table string) (n int, err error) {
		err = raw(t, db, role).QueryRow(t.Context(), `SELECT count(*) FROM `+table).Scan(&n)
		return n, err
	}
	for _, table := range tenantTables(t, raw(t, db, "metiva_admin")) {
		if n, err := count(schema.RoleLogin, table); err == nil {
			t.Errorf("app_login reads %d rows of %s", n, table)
		}
		if n, err := count(schema.RoleBackup, table); err != nil || n == 0 {
			t.Errorf("app_backup reads %d rows of %s: %v", n, table, err)
		}
		if n, err := count(schema.RoleMigrate, table); err == nil {
			t.Errorf("app_migrate reads %d rows of %s without becoming the owner", n, table)
		}
	}
	for table, readable := range map[string]bool{
		"core.directory": true, "core.outbox": true, "core.salts_published": true,
		"core.tenants": false, "core.agencies": false, "core.brands": false, "core.sites": false, "core.memberships": false, "core.suppressions": false,
	} {
		if n, err := count(schema.RoleWorker, table); (err == nil && n > 0) != readable {
			t.Errorf("app_worker on %s: %d rows, %v", table, n, err)
		}
	}
	if _, err := raw(t, db, schema.RoleWorker).Exec(t.Context(), `SELECT site_key FROM core.site_keys`); err == nil {
		t.Error("app_worker reads site keys")
	}
	owner := raw(t, db, schema.RoleMigrate)
	if _, err := owner.Exec(t.Context(), `SET ROLE app_owner`); err != nil {
		t.Fatal(err)
	}
	if _, err := owner.Exec(t.Context(), `SELECT * FROM core.sites`); err == nil {
		t.Error("the owner reads tenants' rows without a context")
	}
	if _, err := raw(t, db, schema.RoleBackup).Exec(t.Context(), `DELETE FROM core.outbox`); err == nil {
		t.Error("app_backup writes")
	}
}
