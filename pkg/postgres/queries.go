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
