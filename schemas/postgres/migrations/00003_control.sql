-- +goose Up
-- What goes from Postgres to the control topics.

-- Records are written in the transaction of the change they tell of, and
-- published in the order of id. For one record key that order is the order of
-- the changes: a writer holds the lock of the record's own row (its site)
-- before it takes an id. The newest record of each key stays after it was
-- published, so an emptied topic can be filled again.
CREATE TABLE core.outbox (
  company_id core.company_id NOT NULL DEFAULT current_setting('app.company_id'),
  id         bigint          NOT NULL GENERATED ALWAYS AS IDENTITY,
  topic      text            NOT NULL CHECK (topic IN ('control.sites', 'control.erasures', 'control.withdrawals')),
  record_key bytea           NOT NULL CHECK (octet_length(record_key) BETWEEN 1 AND 256),
  -- Empty: the record is removed from the topic.
  value      bytea           NOT NULL CHECK (octet_length(value) <= 65536),
  created_at timestamptz     NOT NULL DEFAULT now(),
  done_at    timestamptz,
  PRIMARY KEY (company_id, id)
);
CREATE INDEX outbox_pending ON core.outbox (id) WHERE done_at IS NULL;
CREATE INDEX outbox_latest ON core.outbox (topic, record_key, id DESC);

ALTER TABLE core.outbox ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON core.outbox TO app_rw
  USING (company_id = (SELECT current_setting('app.company_id')::core.company_id))
  WITH CHECK (company_id = (SELECT current_setting('app.company_id')::core.company_id));
CREATE POLICY worker ON core.outbox TO app_worker USING (true) WITH CHECK (true);
GRANT INSERT ON core.outbox TO app_rw;
GRANT SELECT, DELETE, UPDATE (done_at) ON core.outbox TO app_worker;

-- +goose StatementBegin
CREATE FUNCTION core.outbox_wake() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('metiva_outbox', '');
  RETURN NULL;
END
$$;
-- +goose StatementEnd
REVOKE ALL ON FUNCTION core.outbox_wake() FROM PUBLIC;
CREATE TRIGGER outbox_wake AFTER INSERT ON core.outbox FOR EACH STATEMENT EXECUTE FUNCTION core.outbox_wake();

-- A new tenant needs its visit salts at once.
-- +goose StatementBegin
CREATE FUNCTION core.directory_wake() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('metiva_outbox', 'directory');
  RETURN NULL;
END
$$;
-- +goose StatementEnd
REVOKE ALL ON FUNCTION core.directory_wake() FROM PUBLIC;
CREATE TRIGGER directory_wake AFTER INSERT OR UPDATE ON core.directory
  FOR EACH STATEMENT EXECUTE FUNCTION core.directory_wake();

-- Which visit salts were published, and to which collectors' key. No salt,
-- wrapped or not, is ever stored here.
CREATE TABLE core.salts_published (
  company_id    core.company_id NOT NULL DEFAULT current_setting('app.company_id'),
  day           date            NOT NULL,
  recipient_id  bytea           NOT NULL CHECK (octet_length(recipient_id) = 8),
  published_at  timestamptz     NOT NULL DEFAULT now(),
  tombstoned_at timestamptz,
  PRIMARY KEY (company_id, day)
);
CREATE INDEX salts_published_alive ON core.salts_published (day) WHERE tombstoned_at IS NULL;

ALTER TABLE core.salts_published ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON core.salts_published TO app_rw
  USING (company_id = (SELECT current_setting('app.company_id')::core.company_id))
  WITH CHECK (company_id = (SELECT current_setting('app.company_id')::core.company_id));
CREATE POLICY worker ON core.salts_published TO app_worker USING (true) WITH CHECK (true);
GRANT SELECT ON core.salts_published TO app_rw;
GRANT SELECT, INSERT, UPDATE, DELETE ON core.salts_published TO app_worker;

-- +goose Down
DROP TABLE core.salts_published;
DROP TRIGGER directory_wake ON core.directory;
DROP FUNCTION core.directory_wake();
DROP TABLE core.outbox;
DROP FUNCTION core.outbox_wake();
