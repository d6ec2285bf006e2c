-- +goose Up
-- Sites and their keys.

CREATE TABLE core.sites (
  company_id      core.company_id NOT NULL DEFAULT current_setting('app.company_id'),
  brand_id        core.brand_id   NOT NULL,
  id              core.site_id    NOT NULL,
  name            core.name       NOT NULL,
  allowed_origins text[]          NOT NULL CHECK (cardinality(allowed_origins) BETWEEN 1 AND 50),
  mode            text            NOT NULL DEFAULT 'company' CHECK (mode IN ('company', 'count', 'off')),
  honour_dnt      boolean         NOT NULL DEFAULT true,
  retention_days  integer         NOT NULL DEFAULT 395 CHECK (retention_days BETWEEN 1 AND 3650),
  active          boolean         NOT NULL DEFAULT true,
  -- The tenant's own legitimate-interest assessment: who accepted it, when.
  -- Both or neither.
  interest_accepted_by text        CHECK (char_length(interest_accepted_by) BETWEEN 1 AND 120),
  interest_accepted_at timestamptz CHECK ((interest_accepted_by IS NULL) = (interest_accepted_at IS NULL)),
  -- Rises with each change; the record on control.sites carries it.
  version         bigint          NOT NULL DEFAULT 1,
  created_at      timestamptz     NOT NULL DEFAULT now(),
  updated_at      timestamptz     NOT NULL DEFAULT now(),
  PRIMARY KEY (company_id, id),
  -- The target of site_keys' reference, so that a key's brand is its site's.
  UNIQUE (company_id, brand_id, id),
  FOREIGN KEY (company_id, brand_id) REFERENCES core.brands (company_id, id)
);

-- A key belongs to one site of one tenant, in the whole database: hence the
-- primary key without company_id, the one exception the catalogue test lists.
-- Keys are 120 random bits made by the server and never taken from input, so
-- a refused duplicate tells nobody anything.
CREATE TABLE core.site_keys (
  site_key   core.site_key   NOT NULL PRIMARY KEY,
  company_id core.company_id NOT NULL DEFAULT current_setting('app.company_id'),
  brand_id   core.brand_id   NOT NULL,
  site_id    core.site_id    NOT NULL,
  created_at timestamptz     NOT NULL DEFAULT now(),
  -- Set when the key is rotated out: it is valid until then.
  retires_at timestamptz,
  -- True once the site was published without the key.
  retired    boolean         NOT NULL DEFAULT false CHECK (NOT retired OR retires_at IS NOT NULL),
  FOREIGN KEY (company_id, brand_id, site_id) REFERENCES core.sites (company_id, brand_id, id) ON DELETE CASCADE
);
CREATE INDEX site_keys_site ON core.site_keys (company_id, site_id);
CREATE INDEX site_keys_due ON core.site_keys (retires_at) WHERE NOT retired AND retires_at IS NOT NULL;

ALTER TABLE core.sites     ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE core.site_keys ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant ON core.sites
  USING (company_id = (SELECT current_setting('app.company_id')::core.company_id))
  WITH CHECK (company_id = (SELECT current_setting('app.company_id')::core.company_id));
CREATE POLICY brand ON core.sites AS RESTRICTIVE
  USING ((SELECT current_setting('app.brand_ids')::core.brand_scope) = '*'
         OR brand_id = ANY ((SELECT string_to_array(current_setting('app.brand_ids')::core.brand_scope, ','))::text[]))
  WITH CHECK ((SELECT current_setting('app.brand_ids')::core.brand_scope) = '*'
         OR brand_id = ANY ((SELECT string_to_array(current_setting('app.brand_ids')::core.brand_scope, ','))::text[]));
CREATE POLICY tenant ON core.site_keys TO app_rw
  USING (company_id = (SELECT current_setting('app.company_id')::core.company_id))
  WITH CHECK (company_id = (SELECT current_setting('app.company_id')::core.company_id));
CREATE POLICY brand ON core.site_keys AS RESTRICTIVE TO app_rw
  USING ((SELECT current_setting('app.brand_ids')::core.brand_scope) = '*'
         OR brand_id = ANY ((SELECT string_to_array(current_setting('app.brand_ids')::core.brand_scope, ','))::text[]))
  WITH CHECK ((SELECT current_setting('app.brand_ids')::core.brand_scope) = '*'
         OR brand_id = ANY ((SELECT string_to_array(current_setting('app.brand_ids')::core.brand_scope, ','))::text[]));
-- The schedule that retires keys: which sites are due, not which keys.
CREATE POLICY worker ON core.site_keys FOR SELECT TO app_worker USING (true);

GRANT SELECT, INSERT, UPDATE, DELETE ON core.sites, core.site_keys TO app_rw;
GRANT SELECT (company_id, site_id, retires_at, retired) ON core.site_keys TO app_worker;

-- +goose Down
DROP TABLE core.site_keys, core.sites;
