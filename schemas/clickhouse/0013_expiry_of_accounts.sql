-- The rows that account for events expire with the tenant's retention too (ADR 0038).
-- They hold nothing of a visit, and the records they come from do not say how long
-- their tenant keeps them: a row is kept 13 months, as before, unless
-- `metiva retention apply` brings its end nearer.
ALTER TABLE drops
    ADD COLUMN IF NOT EXISTS expires_at DateTime('UTC') DEFAULT toDateTime(received_at, 'UTC') + INTERVAL 13 MONTH COMMENT 'received_at and 13 months, or the retention where that is shorter' CODEC(Delta, ZSTD(1));

ALTER TABLE drops MODIFY TTL expires_at;

ALTER TABLE ledger_edge
    ADD COLUMN IF NOT EXISTS expires_at DateTime('UTC') DEFAULT minute + INTERVAL 13 MONTH COMMENT 'minute and 13 months, or the retention where that is shorter' CODEC(Delta, ZSTD(1));

ALTER TABLE ledger_edge MODIFY TTL expires_at;
