-- What would break the separation of tenants, found in the catalogue of the
-- database itself: table or object, finding. No row means nothing was found.
-- A tenant table is every table outside the system schemas that has a column
-- company_id. The exceptions are few, and each has its reason.
WITH
exceptions (object, finding, reason) AS (VALUES
  ('core.site_keys', 'unique index without company_id: core.site_keys_pkey',
   'a site key resolves to one tenant; keys are random, made by the server and never taken from input'),
  ('core.directory', 'permissive policy not bound to the context: worker to app_worker',
   'ids and states only; the schedules ask which tenants exist'),
  ('core.site_keys', 'permissive policy not bound to the context: worker to app_worker',
   'by column grant the worker sees which sites have a key to retire, not the keys'),
  ('core.suppressions', 'permissive policy not bound to the context: worker to app_worker',
   'the worker writes the list that holds for every tenant, under an id no tenant has, and sees no other'),
  ('core.outbox', 'permissive policy not bound to the context: worker to app_worker',
   'the publisher moves every tenant''s records to Kafka; app_rw may only insert'),
  ('core.salts_published', 'permissive policy not bound to the context: worker to app_worker',
   'the schedule of visit salts; the table holds no salt')
),
global_tables (object, reason) AS (VALUES
  ('core.schema_migrations', 'goose: which migrations were applied')
),
app_roles (oid, rolname) AS (
  SELECT oid, rolname FROM pg_roles WHERE rolname IN ('app_rw', 'app_login', 'app_worker')
),
own_tables AS (
  SELECT c.oid, format('%I.%I', n.nspname, c.relname) AS object, c.relkind, c.relrowsecurity, c.relforcerowsecurity, c.relowner,
         EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'company_id' AND NOT a.attisdropped) AS tenant
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p', 'f') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
    AND n.nspname NOT LIKE 'pg\_temp%' AND n.nspname NOT LIKE 'pg\_toast%'
),
tt AS (SELECT * FROM own_tables WHERE tenant),
permissive AS (
  SELECT p.*, pg_get_expr(p.polqual, p.polrelid) AS qual, pg_get_expr(p.polwithcheck, p.polrelid) AS chk
  FROM pg_policy p WHERE p.polpermissive
),
found (object, finding) AS (
  SELECT object, 'row-level security not enabled and forced' FROM tt WHERE NOT (relrowsecurity AND relforcerowsecurity)
  UNION ALL
  -- Exactly this form: anything ORed to it, or a context read with missing_ok,
  -- is another expression.
  SELECT object, 'permissive policy not bound to the context: ' || p.polname || ' to '
         || coalesce((SELECT string_agg(r.rolname, ', ' ORDER BY r.rolname) FROM pg_roles r WHERE r.oid = ANY (p.polroles)), 'everyone')
  FROM tt JOIN permissive p ON p.polrelid = tt.oid
  WHERE coalesce(p.qual, p.chk) IS DISTINCT FROM '((company_id)::text = (( SELECT (current_setting(''app.company_id''::text))::core.company_id AS current_setting))::text)'
     OR coalesce(p.chk, p.qual) IS DISTINCT FROM '((company_id)::text = (( SELECT (current_setting(''app.company_id''::text))::core.company_id AS current_setting))::text)'
  UNION ALL
  SELECT object, 'no policy for all commands with USING and CHECK bound to the context' FROM tt
  WHERE NOT EXISTS (SELECT FROM permissive p WHERE p.polrelid = tt.oid AND p.polcmd = '*'
                    AND p.qual LIKE '%app.company_id%' AND p.chk LIKE '%app.company_id%')
  UNION ALL
  SELECT tt.object, 'policy reads a context that may be missing: ' || p.polname
  FROM tt JOIN pg_policy p ON p.polrelid = tt.oid
  WHERE coalesce(pg_get_expr(p.polqual, p.polrelid), '') || coalesce(pg_get_expr(p.polwithcheck, p.polrelid), '') LIKE '%current_setting(%, true)%'
  UNION ALL
  SELECT object, 'no restrictive brand policy' FROM tt
  WHERE (object = 'core.brands' OR EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = tt.oid AND a.attname = 'brand_id' AND NOT a.attisdropped))
    AND NOT EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = tt.oid AND NOT p.polpermissive AND p.polcmd = '*'
                    AND pg_get_expr(p.polqual, p.polrelid) LIKE '%app.brand_ids%' AND pg_get_expr(p.polwithcheck, p.polrelid) LIKE '%app.brand_ids%')
  UNION ALL
  SELECT object, 'company_id may be null' FROM tt JOIN pg_attribute a ON a.attrelid = tt.oid AND a.attname = 'company_id' AND NOT a.attnotnull
  UNION ALL
  SELECT object, 'company_id has no default from the context' FROM tt
  WHERE NOT EXISTS (SELECT FROM pg_attrdef d JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
                    WHERE d.adrelid = tt.oid AND a.attname = 'company_id' AND pg_get_expr(d.adbin, d.adrelid) LIKE '%current_setting(''app.company_id''::text)%')
  UNION ALL
  SELECT object, 'unique index without company_id: ' || i.indexrelid::regclass
  FROM tt JOIN pg_index i ON i.indrelid = tt.oid AND i.indisunique
  WHERE NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = tt.oid AND a.attname = 'company_id' AND a.attnum = ANY (i.indkey::int2[]))
  UNION ALL
  SELECT object, 'exclusion constraint without company_id: ' || k.conname
  FROM tt JOIN pg_constraint k ON k.conrelid = tt.oid AND k.contype = 'x'
  WHERE NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = tt.oid AND a.attname = 'company_id' AND a.attnum = ANY (k.conkey))
  UNION ALL
  SELECT object, 'foreign key without company_id: ' || k.conname
  FROM tt JOIN pg_constraint k ON k.conrelid = tt.oid AND k.contype = 'f'
  WHERE k.confrelid IN (SELECT oid FROM tt)
    AND NOT EXISTS (SELECT FROM generate_subscripts(k.conkey, 1) i
                    JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = k.conkey[i] AND a.attname = 'company_id'
                    JOIN pg_attribute b ON b.attrelid = k.confrelid AND b.attnum = k.confkey[i] AND b.attname = 'company_id')
  UNION ALL
  SELECT object, r.rolname || ' has TRUNCATE, REFERENCES or TRIGGER'
  FROM own_tables t CROSS JOIN app_roles r WHERE has_table_privilege(r.oid, t.oid, 'TRUNCATE, REFERENCES, TRIGGER')
  UNION ALL
  SELECT object, r.rolname || ' owns it' FROM own_tables t JOIN app_roles r ON r.oid = t.relowner
  UNION ALL
  SELECT object, 'table without company_id that is not on the list of global tables' FROM own_tables
  WHERE NOT tenant AND object NOT IN (SELECT object FROM global_tables)
  UNION ALL
  SELECT t.object, r.rolname || ' may write a global table'
  FROM own_tables t CROSS JOIN app_roles r
  WHERE NOT t.tenant AND has_table_privilege(r.oid, t.oid, 'INSERT, UPDATE, DELETE')
  UNION ALL
  SELECT format('%I.%I', n.nspname, c.relname),
         CASE c.relkind WHEN 'm' THEN 'materialised view' ELSE 'view without security_invoker' END
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE n.nspname NOT IN ('pg_catalog', 'information_schema')
    AND (c.relkind = 'm' OR (c.relkind = 'v' AND NOT coalesce(c.reloptions && ARRAY['security_invoker=true', 'security_invoker=on', 'security_invoker=1', 'security_invoker=yes'], false)))
  UNION ALL
  SELECT p.oid::regprocedure::text, 'SECURITY DEFINER function that ' || r.rolname || ' may call'
  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace CROSS JOIN app_roles r
  WHERE p.prosecdef AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND has_function_privilege(r.oid, p.oid, 'EXECUTE')
  UNION ALL
  SELECT r.rolname, 'superuser, BYPASSRLS, CREATEROLE, REPLICATION or a member of another role'
  FROM pg_roles r WHERE r.oid IN (SELECT oid FROM app_roles)
    AND (r.rolsuper OR r.rolbypassrls OR r.rolcreaterole OR r.rolreplication OR EXISTS (SELECT FROM pg_auth_members m WHERE m.member = r.oid))
  UNION ALL
  SELECT n.nspname, r.rolname || ' may create objects in the schema'
  FROM pg_namespace n CROSS JOIN app_roles r WHERE n.nspname IN ('core', 'identity') AND has_schema_privilege(r.oid, n.oid, 'CREATE')
  UNION ALL
  -- A temporary table lives as long as its connection, without any policy: the
  -- next tenant on that connection could read it.
  SELECT current_database()::text, r.rolname || ' may create temporary tables in the database'
  FROM app_roles r WHERE has_database_privilege(r.oid, current_database(), 'TEMPORARY')
  UNION ALL
  SELECT 'core', 'the schema has no tenant tables: the migrations have not run' WHERE NOT EXISTS (SELECT FROM tt WHERE object = 'core.tenants')
)
SELECT object, finding FROM found
WHERE NOT EXISTS (SELECT FROM exceptions e WHERE e.object = found.object AND e.finding = found.finding)
ORDER BY 1, 2
