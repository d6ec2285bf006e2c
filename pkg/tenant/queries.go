package tenant

// All SQL of the package, except the catalogue check (catalogue.sql).
const (
	// queryEnter sets the context for this transaction and returns the one it
	// found, which must be none.
	queryEnter = `
WITH before AS MATERIALIZED (
  SELECT coalesce(current_setting('app.company_id', true), '') AS company_id
)
SELECT before.company_id,
       set_config('app.company_id', $1, true),
       set_config('app.actor', $2, true),
       set_config('row_security', 'on', true)
FROM before`

	queryAllBrands = `SELECT set_config('app.brand_ids', '*', true)`

	// queryMembership limits the transaction to the member's brands by the same
	// row it reads the role from.
	queryMembership = `
SELECT role, status, version,
       set_config('app.brand_ids', coalesce(array_to_string(brand_ids, ','), '*'), true)
FROM core.memberships WHERE user_id = $1`

	queryTenantStatus = `SELECT status FROM core.tenants WHERE company_id = current_setting('app.company_id')`

	queryRoleFlags = `
SELECT r.rolname, r.rolsuper, r.rolbypassrls, r.rolcreaterole,
       EXISTS (SELECT FROM pg_auth_members m WHERE m.member = r.oid),
       current_setting('is_superuser') = 'on',
       session_user = current_user
FROM pg_roles r WHERE r.rolname = current_user`

	// queryReadableTenantTables lists the tenant tables a role may read without
	// a context of its own: all those it has a privilege on, except the ones
	// with a policy made for it.
	queryReadableTenantTables = `
SELECT coalesce(string_agg(c.oid::regclass::text, ', ' ORDER BY c.oid::regclass::text), '')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm') AND n.nspname = 'core'
  AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'company_id' AND NOT a.attisdropped)
  AND (has_table_privilege(c.oid, 'SELECT, INSERT, UPDATE, DELETE') OR has_any_column_privilege(c.oid, 'SELECT, INSERT, UPDATE'))
  AND NOT EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid
                  AND (SELECT oid FROM pg_roles WHERE rolname = current_user) = ANY (p.polroles))`
)
