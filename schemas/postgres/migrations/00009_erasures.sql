-- +goose Up
-- Erasures: what was asked, how far it is, and the certificate at its end. One row for
-- each subject of a tenant and one for the tenant itself, which stays after the
-- tenant's other rows are gone. It names nobody but by random ids.

CREATE DOMAIN core.erasure_id AS text CHECK (VALUE ~ '^era_[0-9a-hjkmnp-tv-z]{20}$');

CREATE TABLE core.erasures (
  company_id   core.company_id NOT NULL DEFAULT current_setting('app.company_id') REFERENCES core.tenants (company_id),
  id           core.erasure_id NOT NULL,
  kind         text            NOT NULL CHECK (kind IN ('visitor', 'contact', 'tenant')),
  -- The visitor id, or the receipt id of a captured person without one; empty for the
  -- tenant.
  subject_id   bytea           NOT NULL CHECK (octet_length(subject_id) = CASE kind WHEN 'tenant' THEN 0 ELSE 16 END),
  -- The step that was finished last.
  state        text            NOT NULL DEFAULT 'requested'
               CHECK (state IN ('requested', 'tombstoned', 'keys_destroyed', 'rows_deleted', 'verified', 'certified')),
  -- 1, and one more each time rows were found after the certificate.
  round        integer         NOT NULL DEFAULT 1 CHECK (round > 0),
  requested_by text            NOT NULL CHECK (char_length(requested_by) BETWEEN 1 AND 80),
  requested_at timestamptz     NOT NULL,
  -- The moment on the tombstone; the same in every attempt.
  erased_at    timestamptz     NOT NULL,
  -- {"<what>": count}: what was found to be erased, kept before it is.
  found        jsonb           NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(found) = 'object' AND octet_length(found::text) <= 65536),
  -- The signed certificate as JSON, byte by byte.
  certificate  bytea           CHECK (octet_length(certificate) BETWEEN 1 AND 65536),
  updated_at   timestamptz     NOT NULL DEFAULT now(),
  PRIMARY KEY (company_id, id),
  UNIQUE (company_id, subject_id),
  CHECK ((state = 'certified') <= (certificate IS NOT NULL))
);

ALTER TABLE core.erasures ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON core.erasures
  USING (company_id = (SELECT current_setting('app.company_id')::core.company_id))
  WITH CHECK (company_id = (SELECT current_setting('app.company_id')::core.company_id));
GRANT SELECT, INSERT, UPDATE ON core.erasures TO app_rw;

-- An erased tenant keeps its row without its name, and is never active again.
ALTER TABLE core.tenants DROP CONSTRAINT tenants_status_check;
ALTER TABLE core.tenants ADD CONSTRAINT tenants_status_check CHECK (status IN ('active', 'suspended', 'erased'));

-- +goose StatementBegin
CREATE FUNCTION core.erased_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF OLD.status = 'erased' AND NEW.status <> 'erased' THEN
    RAISE EXCEPTION 'an erased tenant stays erased' USING ERRCODE = 'check_violation';
  END IF;
  RETURN NEW;
END
$$;
-- +goose StatementEnd
REVOKE ALL ON FUNCTION core.erased_stays() FROM PUBLIC;
CREATE TRIGGER erased_stays BEFORE UPDATE ON core.tenants FOR EACH ROW EXECUTE FUNCTION core.erased_stays();

-- The texts visitors agreed to are proof and go only with their tenant.
-- +goose StatementBegin
CREATE FUNCTION core.texts_stay() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NOT EXISTS (SELECT FROM core.erasures WHERE kind = 'tenant' AND state <> 'requested') THEN
    RAISE EXCEPTION 'texts go only with their tenant' USING ERRCODE = 'insufficient_privilege';
  END IF;
  RETURN NULL;
END
$$;
-- +goose StatementEnd
REVOKE ALL ON FUNCTION core.texts_stay() FROM PUBLIC;
CREATE TRIGGER texts_stay BEFORE DELETE ON core.consent_texts FOR EACH STATEMENT EXECUTE FUNCTION core.texts_stay();
GRANT DELETE ON core.consent_texts TO app_rw;

-- +goose Down
REVOKE DELETE ON core.consent_texts FROM app_rw;
DROP TRIGGER texts_stay ON core.consent_texts;
DROP FUNCTION core.texts_stay();
DROP TRIGGER erased_stays ON core.tenants;
DROP FUNCTION core.erased_stays();
-- Erased tenants are suspended to a release that knows no erasures.
ALTER TABLE core.tenants NO FORCE ROW LEVEL SECURITY;
UPDATE core.tenants SET status = 'suspended' WHERE status = 'erased';
ALTER TABLE core.tenants FORCE ROW LEVEL SECURITY;
ALTER TABLE core.tenants DROP CONSTRAINT tenants_status_check;
ALTER TABLE core.tenants ADD CONSTRAINT tenants_status_check CHECK (status IN ('active', 'suspended'));
DROP TABLE core.erasures;
DROP DOMAIN core.erasure_id;
