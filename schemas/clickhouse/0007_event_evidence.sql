-- The subdivision an event came from (ISO 3166-2), only with the visitor's consent
-- and from databases that know it, and what confirmed its company beside the
-- network (metiva.v1.Confirmation). Both are empty else, and in rows from before this
-- migration.
ALTER TABLE events
    ADD COLUMN IF NOT EXISTS region LowCardinality(String) COMMENT 'with consent only' AFTER country,
    ADD COLUMN IF NOT EXISTS confirmation LowCardinality(String) COMMENT 'form; only when verdict is company' AFTER resolution_source;

ALTER TABLE events
    ADD CONSTRAINT IF NOT EXISTS region_needs_consent CHECK region = '' OR consent IN ('analytics', 'identified');

ALTER TABLE events
    ADD CONSTRAINT IF NOT EXISTS confirmation_needs_verdict CHECK confirmation = '' OR verdict = 'company';
