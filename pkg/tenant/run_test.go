package tenant_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/metiva-io/metiva/pkg/embedded/postgres/postgrestest"
	"github.com/metiva-io/metiva/pkg/tenant"
	schema "github.com/metiva-io/metiva/schemas/postgres"
)

// tenantTables lists, from the catalogue, every table with company_id that
// app_rw may select from.
func tenantTables(t *testing.T, conn *pgx.Conn) []string {
	t.Helper()
	rows, err := conn.Query(t.Context(), `
SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'core' AND c.relkind IN ('r', 'p') AND has_table_privilege('app_rw', c.oid, 'SELECT')
  AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'company_id')`)
	if err != nil {
		t.Fatal(err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(names) < 6 {
		t.Fatalf("tenant tables: %v, %v", names, err)
	}
	return names
}

func TestWithoutAContextEveryTenantTableIsAnError(t *testing.T) {
	t.Parallel()
	db := postgrestest.Start(t)
	pool := openPool(t, db, 2)
	_, brand := found(t, pool, "Alpha")
	claim, _ := found(t, pool, "Beta")
	fillEveryTable(t, db, claim, brand)
	conn := raw(t, db, schema.RoleRW)
	admin := raw(t, db, "metiva_admin")
	for _, table := range tenantTables(t, admin) {
		var n int
		err := conn.QueryRow(t.Context(), `SELECT count(*) FROM `+table).Scan(&n)
		if err == nil {
			t.Errorf("%s without a context: %d rows and no error", table, n)
		}
	}
	// After a transaction with a context the setting is there, but empty.
	if _, err := conn.Exec(t.Context(), `BEGIN; SELECT set_config('app.company_id', '`+claim.CompanyID()+`', true); COMMIT`,
		pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
	for _, table := range tenantTables(t, admin) {
		var n int
		err := conn.QueryRow(t.Context(), `SELECT count(*) FROM `+table).Scan(&n)
		if err == nil {
			t.Errorf("%s with an emptied context: %d rows and no error", table, n)
		}
	}
}

// fillEveryTable plants a row of the claim's tenant in each table, past
// row-level security.
func fillEveryTable(t *testing.T, db *postgrestest.Server, claim tenant.Claim, brand string) (site, user string) {
	t.Helper()
	site, user = tenant.NewID(tenant.PrefixSite), tenant.NewID(tenant.PrefixUser)
	admin := raw(t, db, "metiva_admin")
	own := tenant.NewID(tenant.PrefixBrand)
	for _, s := range []string{
		`SELECT set_config('app.company_id', '` + claim.CompanyID() + `', false)`,
		`INSERT INTO core.brands (id, name) VALUES ('` + own + `', 'canary ` + own + `')`,
		`INSERT INTO core.agencies (id, name) VALUES ('` + tenant.NewID(tenant.PrefixAgency) + `', 'canary')`,
		`INSERT INTO core.directory (agency_id, kind) VALUES ('` + tenant.NewID(tenant.PrefixAgency) + `', 'client')`,
		`INSERT INTO core.sites (brand_id, id, name, allowed_origins) VALUES ('` + own + `', '` + site + `', 'canary', '{https://canary.example}')`,
		`INSERT INTO core.site_keys (site_key, brand_id, site_id) VALUES ('` + tenant.NewID(tenant.PrefixSiteKey) + `', '` + own + `', '` + site + `')`,
		`INSERT INTO core.consent_texts (brand_id, site_id, version, language, body, sha256) VALUES ('` + own + `', '` + site + `', 'v1', 'nl', 'x', sha256('x'))`,
		`INSERT INTO core.site_forms (brand_id, site_id, form_id, fields, text_versions) VALUES ('` + own + `', '` + site + `', 'contact', '[{}]', '{v1}')`,
		`INSERT INTO core.memberships (user_id, role) VALUES ('` + user + `', 'analyst')`,
		`INSERT INTO core.outbox (topic, record_key, value) VALUES ('control.sites', 'k', '')`,
		`INSERT INTO core.erasures (id, kind, subject_id, requested_by, requested_at, erased_at) VALUES ('` + tenant.NewID(tenant.PrefixErasure) + `', 'visitor', '\x000102030405060708090a0b0c0d0e0f', 'operator:x', now(), now())`,
		`INSERT INTO core.audit_records (seq, at, actor, action, outcome, details, previous, hash) VALUES (1, now(), 'operator:x', 'tenant.export', 'done', '{}', sha256(''), sha256(''))`,
		`INSERT INTO core.suppressions (prefix, reason, added_by) VALUES ('192.0.2.0/24', 'canary', 'operator:canary')`,
		`INSERT INTO core.salts_published (day, recipient_id) VALUES ('2026-11-22', '\x0102030405060708')`,
	} {
		if _, err := admin.Exec(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
	_ = brand
	return site, user
}

func TestATenantCannotTouchAnothersRows(t *testing.T) {
	t.Parallel()
	db := postgrestest.Start(t)
	pool := openPool(t, db, 2)
	a, _ := found(t, pool, "Alpha")
	b, brandB := found(t, pool, "Beta")
	siteB, userB := fillEveryTable(t, db, b, brandB)
	admin := raw(t, db, "metiva_admin")
	for _, table := range tenantTables(t, admin) {
		inA(t, pool, a, func(ctx context.Context, tx tenant.Tx) error {
			var n int
			err := tx.QueryRow(ctx, `SELECT count(*) FROM `+table+` WHERE company_id <> $1`, a.CompanyID()).Scan(&n)
			if err != nil || n != 0 {
				t.Errorf("%s: A sees %d rows of others (%v)", table, n, err)
			}
			return nil
		})
	}
	for what, sql := range map[string]string{
		"read a brand":        `SELECT id FROM core.brands WHERE id = '` + brandB + `'`,
		"join to a site":      `SELECT s.id FROM core.brands b RIGHT JOIN core.sites s ON true WHERE s.id = '` + siteB + `'`,
		"read through a copy": `TABLE core.memberships`,
		"rename a brand":      `UPDATE core.brands SET name = 'mine' WHERE id = '` + brandB + `' RETURNING id`,
		"suspend a site":      `UPDATE core.sites SET active = false RETURNING id`,
		"rename the tenant":   `UPDATE core.tenants SET name = 'mine' WHERE company_id = '` + b.CompanyID() + `' RETURNING company_id`,
		"delete members":      `DELETE FROM core.memberships WHERE user_id = '` + userB + `' RETURNING user_id`,
		"delete forms":        `DELETE FROM core.site_forms RETURNING form_id`,
		"delete sites":        `DELETE FROM core.sites RETURNING id`,
		"delete keys":         `DELETE FROM core.site_keys RETURNING site_id`,
	} {
		inA(t, pool, a, func(ctx context.Context, tx tenant.Tx) error {
			tag, err := tx.Exec(ctx, sql)
			if err != nil || tag.RowsAffected() != 0 {
				t.Errorf("%s: %d rows, %v", what, tag.RowsAffected(), err)
			}
			return errors.New("no trace")
		})
	}
	for what, sql := range map[string]string{
		"insert for B":           `INSERT INTO core.brands (company_id, id, name) VALUES ('` + b.CompanyID() + `', '` + tenant.NewID(tenant.PrefixBrand) + `', 'planted')`,
		"give a brand to B":      `UPDATE core.brands SET company_id = '` + b.CompanyID() + `'`,
		"site on B's brand":      `INSERT INTO core.sites (brand_id, id, name, allowed_origins) VALUES ('` + brandB + `', '` + tenant.NewID(tenant.PrefixSite) + `', 'x', '{https://x.example}')`,
		"member of B":            `INSERT INTO core.memberships (company_id, user_id, role) VALUES ('` + b.CompanyID() + `', '` + tenant.NewID(tenant.PrefixUser) + `', 'owner')`,
		"outbox record of B":     `INSERT INTO core.outbox (company_id, topic, record_key, value) VALUES ('` + b.CompanyID() + `', 'control.sites', 'x', 'y')`,
		"directory entry of B":   `INSERT INTO core.directory (company_id, agency_id, kind) VALUES ('` + b.CompanyID() + `', '` + tenant.NewID(tenant.PrefixAgency) + `', 'client')`,
		"read the outbox":        `SELECT * FROM core.outbox`,
		"change a text":          `UPDATE core.consent_texts SET body = 'other'`,
		"delete a text":          `DELETE FROM core.consent_texts`,
		"a text on B's site":     `INSERT INTO core.consent_texts (brand_id, site_id, version, language, body, sha256) VALUES ('` + brandB + `', '` + siteB + `', 'v2', 'nl', 'x', sha256('x'))`,
		"truncate":               `TRUNCATE core.sites`,
		"copy rows in":           `COPY core.brands FROM STDIN`,
		"turn row security off":  `SET LOCAL row_security = off; SELECT * FROM core.brands`,
		"become the owner":       `SET LOCAL ROLE app_owner`,
		"alter the table":        `ALTER TABLE core.sites DISABLE ROW LEVEL SECURITY`,
		"make a function":        `CREATE FUNCTION core.f() RETURNS int LANGUAGE sql AS 'SELECT 1'`,
		"write the global table": `INSERT INTO core.schema_migrations (version_id, is_applied) VALUES (99, true)`,
		"another brand scope":    `SELECT set_config('app.brand_ids', '', true); SELECT * FROM core.brands`,
	} {
		err := tenant.Run(t.Context(), pool, a, func(ctx context.Context, tx tenant.Tx) error {
			for _, s := range strings.Split(sql, "; ") {
				if _, err := tx.Exec(ctx, s); err != nil {
					return err
				}
			}
			return nil
		})
		var pg *pgconn.PgError
		if !errors.As(err, &pg) {
			t.Errorf("%s: not refused by the database: %v", what, err)
		}
	}
}

// inA runs fn in a tenant's context and rolls back.
func inA(t *testing.T, pool *tenant.Pool, claim tenant.Claim, fn func(context.Context, tenant.Tx) error) {
	t.Helper()
	rolledBack := errors.New("rolled back on purpose")
	err := tenant.Run(t.Context(), pool, claim, func(ctx context.Context, tx tenant.Tx) error {
		_ = fn(ctx, tx)
		return rolledBack
	})
	if !errors.Is(err, rolledBack) {
		t.Fatalf("running: %v", err)
	}
}

func TestRunRefusals(t *testing.T) {
	t.Parallel()
	db := postgrestest.Start(t)
	pool := openPool(t, db, 2)
	never := func(context.Context, tenant.Tx) error {
		t.Error("the function ran")
		return nil
	}
	if err := tenant.Run(t.Context(), pool, tenant.Claim{}, never); !errors.Is(err, tenant.ErrNoClaim) {
		t.Errorf("zero claim: %v", err)
	}
	stranger, err := tenant.OperatorClaim(tenant.NewID(tenant.PrefixCompany), "operator:test")
	if err != nil {
		t.Fatal(err)
	}
	if err := tenant.Run(t.Context(), pool, stranger, never); !errors.Is(err, tenant.ErrUnknownTenant) {
		t.Errorf("unknown tenant: %v", err)
	}
	known, _ := found(t, pool, "Alpha")
	if err := tenant.Found(t.Context(), pool, known, never); !errors.Is(err, tenant.ErrTenantExists) {
		t.Errorf("founding twice: %v", err)
	}
	if err := tenant.Found(t.Context(), pool, stranger, func(context.Context, tenant.Tx) error { return nil }); !errors.Is(err, pgx.ErrNoRows) {
		t.Errorf("founding nothing: %v", err)
	}
	err = tenant.Run(t.Context(), pool, known, func(ctx context.Context, tx tenant.Tx) error {
		_, _ = tx.Exec(ctx, `SELECT 1/0`)
		return nil // the error is swallowed
	})
	if err == nil {
		t.Error("a transaction that had failed was reported as committed")
	}
	var kept tenant.Tx
	inA(t, pool, known, func(_ context.Context, tx tenant.Tx) error { kept = tx; return nil })
	if _, err := kept.Exec(t.Context(), `SELECT 1`); err == nil {
		t.Error("a kept Tx still works")
	}
	if kept.QueryRow(t.Context(), `SELECT 1`).Scan(new(int)) == nil || kept.SendBatch(t.Context(), &pgx.Batch{}).Close() == nil {
		t.Error("a kept Tx still works")
	}
}

func TestASessionContextThatLeakedClosesTheConnection(t *testing.T) {
	t.Parallel()
	db := postgrestest.Start(t)
	pool := openPool(t, db, 1)
	claim, _ := found(t, pool, "Alpha")
	err := tenant.Run(t.Context(), pool, claim, func(ctx context.Context, tx tenant.Tx) error {
		_, err := tx.Exec(ctx, `SELECT set_config('app.company_id', $1, false)`, claim.CompanyID())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	nothing := func(context.Context, tenant.Tx) error { return nil }
	if err := tenant.Run(t.Context(), pool, claim, nothing); !errors.Is(err, tenant.ErrContextLeak) {
		t.Errorf("after the leak: %v", err)
	}
	if err := tenant.Run(t.Context(), pool, claim, nothing); err != nil {
		t.Errorf("with a new connection: %v", err)
	}
}

// TestNoTemporaryTableOutlivesARun: it would be on the connection, behind no
// policy, when the next tenant gets it.
func TestNoTemporaryTableOutlivesARun(t *testing.T) {
	t.Parallel()
	db := postgrestest.Start(t)
	pool := openPool(t, db, 1)
	claim, _ := found(t, pool, "Alpha")
	err := tenant.Run(t.Context(), pool, claim, func(ctx context.Context, tx tenant.Tx) error {
		_, err := tx.Exec(ctx, `CREATE TEMPORARY TABLE stash AS SELECT * FROM core.brands`)
		return err
	})
	if err == nil {
		t.Error("a tenant's rows were copied to a temporary table")
	}
}

func TestAPanicRollsBackAndFreesTheConnection(t *testing.T) {
	t.Parallel()
	db := postgrestest.Start(t)
	pool := openPool(t, db, 1)
	claim, brand := found(t, pool, "Alpha")
	func() {
		defer func() { _ = recover() }()
		_ = tenant.Run(t.Context(), pool, claim, func(ctx context.Context, tx tenant.Tx) error {
			if _, err := tx.Exec(ctx, `UPDATE core.brands SET name = 'changed'`); err != nil {
				t.Error(err)
			}
			panic("on purpose")
		})
	}()
	var name string
	inA(t, pool, claim, func(ctx context.Context, tx tenant.Tx) error {
		return tx.QueryRow(ctx, `SELECT name FROM core.brands WHERE id = $1`, brand).Scan(&name)
	})
	if name != "brand of Alpha" {
		t.Errorf("the brand is %q", name)
	}
}
