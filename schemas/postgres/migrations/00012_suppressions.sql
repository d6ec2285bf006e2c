-- +goose Up
-- Networks that are never resolved to a company: a tenant's own offices, for that
-- tenant alone; and, under the id no tenant has, those of organisations that asked not
-- to be named, for everybody. They are configuration that somebody gave, never a
-- visitor's address.

CREATE TABLE core.suppressions (
  company_id core.company_id NOT NULL DEFAULT current_setting('app.company_id'),
  prefix     cidr            NOT NULL CHECK (masklen(prefix) >= CASE family(prefix) WHEN 4 THEN 8 ELSE 20 END),
  -- Why, and who said so: "operator:name".
  reason     text            NOT NULL CHECK (char_length(reason) BETWEEN 1 AND 120 AND reason = btrim(reason)),
  added_by   text            NOT NULL CHECK (octet_length(added_by) BETWEEN 1 AND 128),
  added_at   timestamptz     NOT NULL DEFAULT now(),
  PRIMARY KEY (company_id, prefix)
);

ALTER TABLE core.suppressions ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON core.suppressions TO app_rw
  USING (company_id = (SELECT current_setting('app.company_id')::core.company_id))
  WITH CHECK (company_id = (SELECT current_setting('app.company_id')::core.company_id));
-- No role that serves a tenant writes what is for everybody.
CREATE POLICY worker ON core.suppressions TO app_worker
  USING (company_id = 'cmp_00000000000000000000') WITH CHECK (company_id = 'cmp_00000000000000000000');
GRANT SELECT, INSERT, DELETE ON core.suppressions TO app_rw, app_worker;

ALTER TABLE core.outbox DROP CONSTRAINT outbox_topic_check;
ALTER TABLE core.outbox ADD CONSTRAINT outbox_topic_check
  CHECK (topic IN ('control.sites', 'control.erasures', 'control.withdrawals', 'control.suppressions'));
GRANT INSERT ON core.outbox TO app_worker;

-- +goose Down
REVOKE INSERT ON core.outbox FROM app_worker;
DELETE FROM core.outbox WHERE topic = 'control.suppressions';
ALTER TABLE core.outbox DROP CONSTRAINT outbox_topic_check;
ALTER TABLE core.outbox ADD CONSTRAINT outbox_topic_check
  CHECK (topic IN ('control.sites', 'control.erasures', 'control.withdrawals'));
DROP TABLE core.suppressions;
