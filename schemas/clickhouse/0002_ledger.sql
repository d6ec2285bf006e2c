-- One row per accepted event that did not become a row in events, with its
-- reason: metiva.v1.Drop and the sink's own drops. Nothing of the event is in
-- it. Its identity is the record it came from.
--
-- company_id is empty when the record could not be read far enough to know it.
-- A negative source_partition, -1 - n, means that the record names no source:
-- it is then partition n and offset of events.enriched.
CREATE TABLE IF NOT EXISTS drops
(
    tenant_bucket    UInt8,
    company_id       LowCardinality(String),
    site_id          LowCardinality(String),
    event_id         FixedString(16) COMMENT 'zero when it could not be read',
    received_at      DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    stage            LowCardinality(String),
    reason           LowCardinality(String),
    source_partition Int32 CODEC(ZSTD(1)),
    source_offset    Int64 CODEC(Delta, ZSTD(1)),
    writer_id        LowCardinality(String),
    inserted_at      DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta, ZSTD(1)),

    CONSTRAINT tenant_bucket_range CHECK tenant_bucket < 16
)
ENGINE = ReplacingMergeTree
PARTITION BY (tenant_bucket, toYYYYMM(received_at))
ORDER BY (company_id, site_id, source_partition, source_offset, event_id)
TTL toDateTime(received_at) + INTERVAL 13 MONTH
SETTINGS non_replicated_deduplication_window = 10000;

-- Counts at the edge: metiva.v1.LedgerEntry. A collector's entry is cumulative
-- within its key, so the greatest count is the newest, in whatever order
-- entries arrive: read with FINAL, or max(count) by the whole key.
-- company_id is empty for events whose tenant could not be resolved.
CREATE TABLE IF NOT EXISTS ledger_edge
(
    tenant_bucket UInt8,
    company_id    LowCardinality(String),
    site_id       LowCardinality(String),
    minute        DateTime('UTC') CODEC(DoubleDelta, ZSTD(1)),
    stage         LowCardinality(String),
    reason        LowCardinality(String) COMMENT 'none counts accepted events',
    writer_id     LowCardinality(String),
    count         UInt64 CODEC(T64, ZSTD(1)),

    CONSTRAINT tenant_bucket_range CHECK tenant_bucket < 16
)
ENGINE = ReplacingMergeTree(count)
PARTITION BY (tenant_bucket, toYYYYMM(minute))
ORDER BY (company_id, site_id, minute, stage, reason, writer_id)
TTL minute + INTERVAL 13 MONTH
SETTINGS non_replicated_deduplication_window = 10000;
