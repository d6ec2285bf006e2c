-- Where a page view came from: metiva.v1.Channel, and the campaign's source or the
-- referrer's name. Empty for other types, and in rows from before this migration.
-- The families of browser and system are there since the first migration.
ALTER TABLE events
    ADD COLUMN IF NOT EXISTS channel LowCardinality(String) COMMENT 'default channel group; empty for all but page views' AFTER campaign_name,
    ADD COLUMN IF NOT EXISTS traffic_source LowCardinality(String) COMMENT 'name of the campaign''s source or of the referrer' AFTER channel;
