-- +goose Up
-- Tenants, agencies, brands and memberships. Every table with company_id is
-- behind row-level security that its own owner cannot pass either (FORCE).
--
-- The context is set per transaction by pkg/tenant: app.company_id and
-- app.brand_ids. Policies read them without "missing_ok" and cast them to a
-- checked domain: no context, or the empty string a finished SET LOCAL leaves
-- behind, is an error and never an empty answer.

CREATE SCHEMA IF NOT EXISTS core;
CREATE SCHEMA identity;
REVOKE ALL ON SCHEMA core, identity FROM PUBLIC;
GRANT USAGE ON SCHEMA core TO app_rw, app_worker;
GRANT USAGE ON SCHEMA identity TO app_login;

CREATE DOMAIN core.company_id AS text CHECK (VALUE ~ '^cmp_[0-9a-hjkmnp-tv-z]{20}$');
CREATE DOMAIN core.agency_id  AS text CHECK (VALUE ~ '^agy_[0-9a-hjkmnp-tv-z]{20}$');
CREATE DOMAIN core.brand_id   AS text CHECK (VALUE ~ '^brd_[0-9a-hjkmnp-tv-z]{20}$');
CREATE DOMAIN core.site_id    AS text CHECK (VALUE ~ '^sit_[0-9a-hjkmnp-tv-z]{20}$');
CREATE DOMAIN core.user_id    AS text CHECK (VALUE ~ '^usr_[0-9a-hjkmnp-tv-z]{20}$');
CREATE DOMAIN core.site_key   AS text CHECK (VALUE ~ '^pk_[0-9a-hjkmnp-tv-z]{24}$');
CREATE DOMAIN core.name       AS text CHECK (char_length(VALUE) BETWEEN 1 AND 120 AND VALUE = btrim(VALUE));
-- Either all brands, or a list that is not empty.
CREATE DOMAIN core.brand_scope AS text
  CHECK (VALUE = '*' OR VALUE ~ '^brd_[0-9a-hjkmnp-tv-z]{20}(,brd_[0-9a-hjkmnp-tv-z]{20})*$');

-- A tenant: its id is the company_id itself.
CREATE TABLE core.tenants (
  company_id core.company_id NOT NULL DEFAULT current_setting('app.company_id') PRIMARY KEY,
  agency_id  core.agency_id  NOT NULL,
  kind       text            NOT NULL CHECK (kind IN ('agency', 'client')),
  name       core.name       NOT NULL,
  status     text            NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'suspended')),
  version    bigint          NOT NULL DEFAULT 1,
  created_at timestamptz     NOT NULL DEFAULT now(),
  updated_at timestamptz     NOT NULL DEFAULT now()
);

-- An agency is a record in the tenant it owns.
CREATE TABLE core.agencies (
  company_id core.company_id NOT NULL DEFAULT current_setting('app.company_id') REFERENCES core.tenants (company_id),
  id         core.agency_id  NOT NULL,
  name       core.name       NOT NULL,
  created_at timestamptz     NOT NULL DEFAULT now(),
  PRIMARY KEY (company_id, id)
);

-- Which tenants exist, whose they are and whether they are active: ids and
-- states, no names. app_worker reads all of it for schedules and operators'
-- lists; app_rw sees and writes its own row.
CREATE TABLE core.directory (
  company_id core.company_id NOT NULL DEFAULT current_setting('app.company_id') PRIMARY KEY,
  agency_id  core.agency_id  NOT NULL,
  kind       text            NOT NULL CHECK (kind IN ('agency', 'client')),
  active     boolean         NOT NULL DEFAULT true,
  created_at timestamptz     NOT NULL DEFAULT now()
);
CREATE INDEX directory_agency ON core.directory (agency_id);

CREATE TABLE core.brands (
  company_id core.company_id NOT NULL DEFAULT current_setting('app.company_id') REFERENCES core.tenants (company_id),
  id         core.brand_id   NOT NULL,
  name       core.name       NOT NULL,
  version    bigint          NOT NULL DEFAULT 1,
  created_at timestamptz     NOT NULL DEFAULT now(),
  updated_at timestamptz     NOT NULL DEFAULT now(),
  PRIMARY KEY (company_id, id),
  UNIQUE (company_id, name)
);

-- What tenant.Run reads before every piece of work of a signed-in user.
CREATE TABLE core.memberships (
  company_id core.company_id NOT NULL DEFAULT current_setting('app.company_id') REFERENCES core.tenants (company_id),
  user_id    core.user_id    NOT NULL,
  role       text            NOT NULL CHECK (role IN ('owner', 'admin', 'account_manager', 'marketer',
                                                      'sales', 'finance', 'analyst', 'privacy_officer')),
  status     text            NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'suspended')),
  -- Null: every brand of the tenant.
  brand_ids  text[]          CHECK (cardinality(brand_ids) > 0),
  version    bigint          NOT NULL DEFAULT 1,
  created_at timestamptz     NOT NULL DEFAULT now(),
  updated_at timestamptz     NOT NULL DEFAULT now(),
  PRIMARY KEY (company_id, user_id)
);

ALTER TABLE core.tenants     ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE core.agencies    ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE core.directory   ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE core.brands      ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE core.memberships ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant ON core.tenants
  USING (company_id = (SELECT current_setting('app.company_id')::core.company_id))
  WITH CHECK (company_id = (SELECT current_setting('app.company_id')::core.company_id));
CREATE POLICY tenant ON core.agencies
  USING (company_id = (SELECT current_setting('app.company_id')::core.company_id))
  WITH CHECK (company_id = (SELECT current_setting('app.company_id')::core.company_id));
CREATE POLICY tenant ON core.directory TO app_rw
  USING (company_id = (SELECT current_setting('app.company_id')::core.company_id))
  WITH CHECK (company_id = (SELECT current_setting('app.company_id')::core.company_id));
CREATE POLICY worker ON core.directory FOR SELECT TO app_worker USING (true);
CREATE POLICY tenant ON core.brands
  USING (company_id = (SELECT current_setting('app.company_id')::core.company_id))
  WITH CHECK (company_id = (SELECT current_setting('app.company_id')::core.company_id));
CREATE POLICY brand ON core.brands AS RESTRICTIVE
  USING ((SELECT current_setting('app.brand_ids')::core.brand_scope) = '*'
         OR id = ANY ((SELECT string_to_array(current_setting('app.brand_ids')::core.brand_scope, ','))::text[]))
  WITH CHECK ((SELECT current_setting('app.brand_ids')::core.brand_scope) = '*'
         OR id = ANY ((SELECT string_to_array(current_setting('app.brand_ids')::core.brand_scope, ','))::text[]));
CREATE POLICY tenant ON core.memberships
  USING (company_id = (SELECT current_setting('app.company_id')::core.company_id))
  WITH CHECK (company_id = (SELECT current_setting('app.company_id')::core.company_id));

GRANT SELECT, INSERT, UPDATE ON core.tenants, core.agencies, core.directory TO app_rw;
GRANT SELECT, INSERT, UPDATE, DELETE ON core.brands, core.memberships TO app_rw;
GRANT SELECT ON core.directory TO app_worker;

-- +goose Down
DROP TABLE core.memberships, core.brands, core.directory, core.agencies, core.tenants;
DROP DOMAIN core.brand_scope, core.name, core.site_key, core.user_id, core.site_id,
            core.brand_id, core.agency_id, core.company_id;
REVOKE USAGE ON SCHEMA core FROM app_rw, app_worker;
DROP SCHEMA identity;
