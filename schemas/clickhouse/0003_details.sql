-- What an event says by its type, empty for the other types: metiva.v1.Engagement,
-- Click, FormAction, CustomEvent. Recorded only under the visitor's consent, so
-- without consent there are page views and nothing else.
ALTER TABLE events
    ADD COLUMN IF NOT EXISTS engagement_ms UInt32 COMMENT 'how long the page was visible' CODEC(T64, ZSTD(1)),
    ADD COLUMN IF NOT EXISTS scroll_percent UInt8 CODEC(T64, ZSTD(1)),
    ADD COLUMN IF NOT EXISTS click_kind LowCardinality(String) COMMENT 'outbound, download',
    ADD COLUMN IF NOT EXISTS click_host LowCardinality(String),
    ADD COLUMN IF NOT EXISTS click_path String COMMENT 'of a download only, masked' CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS form_action LowCardinality(String) COMMENT 'start, submit',
    ADD COLUMN IF NOT EXISTS form_id LowCardinality(String),
    ADD COLUMN IF NOT EXISTS custom_name LowCardinality(String),
    ADD COLUMN IF NOT EXISTS custom_properties Map(LowCardinality(String), String) COMMENT 'the site''s listed properties, masked' CODEC(ZSTD(1));

ALTER TABLE events
    ADD CONSTRAINT IF NOT EXISTS detail_needs_consent
    CHECK type NOT IN ('engagement', 'click', 'form', 'custom') OR consent IN ('analytics', 'identified');

-- Which acceptance a row is a copy of, and whether the collector had sent it
-- before (ADR 0018). Zero where the record could not be read that far, and in rows
-- from before this migration. A copy is looked up by its time of receipt, which
-- all copies share, and its id.
ALTER TABLE events
    ADD COLUMN IF NOT EXISTS acceptance_id FixedString(16) COMMENT 'of the sealed address: the same in every copy of an acceptance' CODEC(NONE),
    ADD COLUMN IF NOT EXISTS replayed Bool COMMENT 'the collector sent this record again from its spool';

ALTER TABLE drops
    ADD COLUMN IF NOT EXISTS acceptance_id FixedString(16) COMMENT 'of the sealed address: the same in every copy of an acceptance' CODEC(NONE),
    ADD COLUMN IF NOT EXISTS replayed Bool COMMENT 'the collector sent this record again from its spool';

ALTER TABLE drops
    ADD INDEX IF NOT EXISTS received_at_range received_at TYPE minmax GRANULARITY 1;
