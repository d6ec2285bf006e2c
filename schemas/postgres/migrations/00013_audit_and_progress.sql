-- +goose Up
-- How far the counting of an erasure is, so that each row, key and record that goes is
-- counted once, over all attempts: {"pass", "pending", "seen", "base"}
-- (pkg/core/erasure/tally.go).
ALTER TABLE core.erasures ADD COLUMN progress jsonb NOT NULL DEFAULT '{}'
  CHECK (jsonb_typeof(progress) = 'object' AND octet_length(progress::text) <= 65536);

-- Who did what with a tenant's data. Rows are added and never changed: no role has more
-- than SELECT and INSERT. Each holds the hash of the one before it (pkg/core/audit), so a
-- row that was changed or taken away in between is found.
CREATE TABLE core.audit_records (
  company_id core.company_id NOT NULL DEFAULT current_setting('app.company_id') REFERENCES core.tenants (company_id),
  seq        bigint          NOT NULL CHECK (seq > 0),
  at         timestamptz     NOT NULL,
  actor      text            NOT NULL CHECK (octet_length(actor) BETWEEN 1 AND 128),
  action     text            NOT NULL CHECK (action ~ '^[a-z][a-z_.]{0,59}$'),
  outcome    text            NOT NULL CHECK (outcome IN ('begun', 'done', 'failed', 'denied')),
  -- An object of JSON, kept byte by byte: the hash is over it. No value of a visitor.
  details    text            NOT NULL CHECK (jsonb_typeof(details::jsonb) = 'object' AND octet_length(details) <= 65536),
  previous   bytea           NOT NULL CHECK (octet_length(previous) = 32),
  hash       bytea           NOT NULL CHECK (octet_length(hash) = 32),
  PRIMARY KEY (company_id, seq)
);

ALTER TABLE core.audit_records ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON core.audit_records
  USING (company_id = (SELECT current_setting('app.company_id')::core.company_id))
  WITH CHECK (company_id = (SELECT current_setting('app.company_id')::core.company_id));
GRANT SELECT, INSERT ON core.audit_records TO app_rw;

-- +goose Down
DROP TABLE core.audit_records;
ALTER TABLE core.erasures DROP COLUMN progress;
