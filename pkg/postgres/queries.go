package postgres

const (
	queryRolesPresent = `
SELECT (SELECT count(*) FROM pg_roles WHERE rolname = ANY($1)),
       (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)`

	queryGrantCreate = `
DO $$ BEGIN
  IF NOT has_database_privilege('app_owner', current_database(), 'CREATE') THEN
    EXECUTE format('GRANT CREATE ON DATABASE %I TO app_owner', current_database());
  END IF;
END $$`

	// Temporary tables outlive a tenant's transaction and have no policies
	// (pkg/tenant, catalogue.sql). Only the database's owner may do this; where
	// that is neither we nor app_owner, the administrator does (roles.sql).
	queryRevokeTemporary = `
DO $$ BEGIN
  IF has_database_privilege('app_rw', current_database(), 'TEMPORARY')
     AND (SELECT pg_has_role(current_user, datdba, 'USAGE') FROM pg_database WHERE datname = current_database()) THEN
    EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
  END IF;
EXCEPTION WHEN internal_error THEN NULL; -- another starter did it at the same moment
END $$`

	// CREATE SCHEMA IF NOT EXISTS is not safe against another starter doing the
	// same at the same moment.
	queryCreateCore = `
DO $$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'core') THEN
    CREATE SCHEMA core;
  END IF;
EXCEPTION WHEN duplicate_schema OR unique_violation THEN NULL;
END $$`
)
