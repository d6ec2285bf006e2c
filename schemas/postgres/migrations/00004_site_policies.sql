-- +goose Up
-- What a site's visitors may be asked: whose consent counts, the texts they are
-- shown, and the forms that may be captured.

ALTER TABLE core.sites
  -- The vendor a TC string has to name; 0 takes no TC string.
  ADD COLUMN tcf_vendor integer NOT NULL DEFAULT 0 CHECK (tcf_vendor BETWEEN 0 AND 65535),
  -- The consent platform grants are taken from; empty takes none.
  ADD COLUMN cmp text NOT NULL DEFAULT '' CHECK (cmp ~ '^[a-z_]{0,40}$'),
  -- How long a grant lasts; 0 is the default of package consent.
  ADD COLUMN grant_days integer NOT NULL DEFAULT 0 CHECK (grant_days BETWEEN 0 AND 400),
  -- Properties custom events may carry.
  ADD COLUMN custom_properties text[] NOT NULL DEFAULT '{}' CHECK (cardinality(custom_properties) <= 64);

-- The exact texts visitors agree to. They are proof: app_rw may add one and
-- read it, and neither change nor delete it.
CREATE TABLE core.consent_texts (
  company_id core.company_id NOT NULL DEFAULT current_setting('app.company_id'),
  brand_id   core.brand_id   NOT NULL,
  site_id    core.site_id    NOT NULL,
  version    text            NOT NULL CHECK (version ~ '^[A-Za-z0-9.-]{1,64}$'),
  language   text            NOT NULL CHECK (language ~ '^[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*$' AND char_length(language) <= 35),
  body       text            NOT NULL CHECK (octet_length(body) BETWEEN 1 AND 32768),
  sha256     bytea           NOT NULL CHECK (sha256 = sha256(convert_to(body, 'UTF8'))),
  created_at timestamptz     NOT NULL DEFAULT now(),
  -- The primary key is why a version never stands for two texts.
  PRIMARY KEY (company_id, site_id, version),
  FOREIGN KEY (company_id, brand_id, site_id) REFERENCES core.sites (company_id, brand_id, id)
);

CREATE TABLE core.site_forms (
  company_id    core.company_id NOT NULL DEFAULT current_setting('app.company_id'),
  brand_id      core.brand_id   NOT NULL,
  site_id       core.site_id    NOT NULL,
  form_id       text            NOT NULL CHECK (form_id ~ '^[A-Za-z0-9._-]{1,64}$'),
  -- [{"name": …, "kind": …, "required": …}]
  fields        jsonb           NOT NULL CHECK (jsonb_typeof(fields) = 'array' AND jsonb_array_length(fields) BETWEEN 1 AND 32),
  text_versions text[]          NOT NULL CHECK (cardinality(text_versions) BETWEEN 1 AND 64),
  redirect_urls text[]          NOT NULL DEFAULT '{}' CHECK (cardinality(redirect_urls) <= 16),
  created_at    timestamptz     NOT NULL DEFAULT now(),
  updated_at    timestamptz     NOT NULL DEFAULT now(),
  PRIMARY KEY (company_id, site_id, form_id),
  FOREIGN KEY (company_id, brand_id, site_id) REFERENCES core.sites (company_id, brand_id, id) ON DELETE CASCADE
);

ALTER TABLE core.consent_texts ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE core.site_forms    ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant ON core.consent_texts
  USING (company_id = (SELECT current_setting('app.company_id')::core.company_id))
  WITH CHECK (company_id = (SELECT current_setting('app.company_id')::core.company_id));
CREATE POLICY brand ON core.consent_texts AS RESTRICTIVE
  USING ((SELECT current_setting('app.brand_ids')::core.brand_scope) = '*'
         OR brand_id = ANY ((SELECT string_to_array(current_setting('app.brand_ids')::core.brand_scope, ','))::text[]))
  WITH CHECK ((SELECT current_setting('app.brand_ids')::core.brand_scope) = '*'
         OR brand_id = ANY ((SELECT string_to_array(current_setting('app.brand_ids')::core.brand_scope, ','))::text[]));
CREATE POLICY tenant ON core.site_forms
  USING (company_id = (SELECT current_setting('app.company_id')::core.company_id))
  WITH CHECK (company_id = (SELECT current_setting('app.company_id')::core.company_id));
CREATE POLICY brand ON core.site_forms AS RESTRICTIVE
  USING ((SELECT current_setting('app.brand_ids')::core.brand_scope) = '*'
         OR brand_id = ANY ((SELECT string_to_array(current_setting('app.brand_ids')::core.brand_scope, ','))::text[]))
  WITH CHECK ((SELECT current_setting('app.brand_ids')::core.brand_scope) = '*'
         OR brand_id = ANY ((SELECT string_to_array(current_setting('app.brand_ids')::core.brand_scope, ','))::text[]));

GRANT SELECT, INSERT ON core.consent_texts TO app_rw;
GRANT SELECT, INSERT, UPDATE, DELETE ON core.site_forms TO app_rw;

-- +goose Down
DROP TABLE core.site_forms, core.consent_texts;
ALTER TABLE core.sites DROP COLUMN tcf_vendor, DROP COLUMN cmp, DROP COLUMN grant_days, DROP COLUMN custom_properties;
