-- The cluster's roles. Run once per cluster by an administrator (superuser, or
-- the provider's administrative role); running it again changes nothing.
-- Passwords are not set here: a login role without a password cannot log in.
-- Plain SQL without psql commands, each statement on its own.
-- Run it in the application's database: the last statement is about that one.

DO $$
BEGIN
  -- Owns every schema and table, and is nobody's login.
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'app_owner') THEN
    CREATE ROLE app_owner NOLOGIN NOINHERIT;
  END IF;
  -- Runs migrations by becoming app_owner.
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'app_migrate') THEN
    CREATE ROLE app_migrate LOGIN NOINHERIT IN ROLE app_owner;
  END IF;
  -- Serves requests: owns nothing, is a member of nothing, bypasses nothing.
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'app_rw') THEN
    CREATE ROLE app_rw LOGIN NOINHERIT;
  END IF;
  -- The login service: schema identity only.
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'app_login') THEN
    CREATE ROLE app_login LOGIN NOINHERIT;
  END IF;
  -- Outbox and schedules: no tenant table.
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'app_worker') THEN
    CREATE ROLE app_worker LOGIN NOINHERIT;
  END IF;
  -- pg_dump: reads everything, writes nothing. The only role that bypasses
  -- row-level security, so it is kept apart from every process that serves.
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'app_backup') THEN
    CREATE ROLE app_backup LOGIN INHERIT BYPASSRLS IN ROLE pg_read_all_data;
  END IF;
EXCEPTION
  -- Two administrators at once: the other one made the role.
  WHEN duplicate_object OR unique_violation THEN NULL;
END
$$;

-- app_owner makes its schemas here. Nobody makes temporary tables: they are
-- behind no policy and outlive a tenant's transaction, and core refuses to start
-- where its roles may create one.
DO $$
BEGIN
  EXECUTE format('GRANT CREATE ON DATABASE %I TO app_owner', current_database());
  EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
END
$$;
