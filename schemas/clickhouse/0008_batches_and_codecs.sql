-- Which insert a row came with: a hash of its deduplication token. A batch that is
-- tried again after a crash knows its own rows by it, and sends them once more under
-- the same token: the table takes none of them twice, and a materialised view that the
-- crash kept from them gets them (ADR 0035). 0 in rows from before this migration. The
-- same for all rows of an insert, so it takes next to no room.
ALTER TABLE events
    ADD COLUMN IF NOT EXISTS batch UInt64 DEFAULT 0 COMMENT 'hash of the token of the insert' CODEC(ZSTD(1));

-- The tokens of inserts that the table knows: at 160 inserts a second those of ten
-- minutes, which a batch that is tried again relies on.
ALTER TABLE events MODIFY SETTING non_replicated_deduplication_window = 100000;

-- Codecs by measurement (docs/operations/storage.md: five million rows of the bench).
-- Names repeat within a tenant's days, so their numbers pack well beside each other; a
-- sealed address begins with the id of its key, which a tenant's day has in common, and
-- has a length, which takes eight bytes a row without a codec.
ALTER TABLE events
    MODIFY COLUMN event_id FixedString(16) CODEC(ZSTD(3)),
    MODIFY COLUMN occurred_at DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    MODIFY COLUMN consent LowCardinality(String) CODEC(ZSTD(1)),
    MODIFY COLUMN visit_key FixedString(16) COMMENT 'anonymous; no key links two days' CODEC(ZSTD(1)),
    MODIFY COLUMN visitor_id FixedString(16) COMMENT 'person level: random id kept by the browser, zero without consent' CODEC(ZSTD(1)),
    MODIFY COLUMN device LowCardinality(String) CODEC(ZSTD(1)),
    MODIFY COLUMN browser_family LowCardinality(String) CODEC(ZSTD(1)),
    MODIFY COLUMN system_family LowCardinality(String) CODEC(ZSTD(1)),
    MODIFY COLUMN country LowCardinality(String) CODEC(ZSTD(1)),
    MODIFY COLUMN region LowCardinality(String) COMMENT 'with consent only' CODEC(ZSTD(1)),
    MODIFY COLUMN verdict LowCardinality(String) CODEC(ZSTD(1)),
    MODIFY COLUMN asn UInt32 CODEC(Delta, ZSTD(1)),
    MODIFY COLUMN sealed_address String COMMENT 'truncated address under the tenant''s key of the day' CODEC(ZSTD(1)),
    MODIFY COLUMN source_offset Int64 COMMENT 'offset of events.collected' CODEC(DoubleDelta, ZSTD(1)),
    MODIFY COLUMN expires_at DateTime('UTC') COMMENT 'received_at and retention_days' CODEC(DoubleDelta, ZSTD(1));
