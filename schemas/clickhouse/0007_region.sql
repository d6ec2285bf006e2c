-- The subdivision an event came from (ISO 3166-2), only with the visitor's consent
-- and from databases that know it; empty else, and in rows from before this
-- migration.
ALTER TABLE events
    ADD COLUMN IF NOT EXISTS region LowCardinality(String) COMMENT 'with consent only' AFTER country;

ALTER TABLE events
    ADD CONSTRAINT IF NOT EXISTS region_needs_consent CHECK region = '' OR consent IN ('analytics', 'identified');
