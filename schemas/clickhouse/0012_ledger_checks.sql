-- What the comparison of the ledger found of one tenant's hour of receipt (ADR 0039).
-- The newest check stands: read with FINAL. until is the moment up to which the hour
-- was complete when it was checked.
CREATE TABLE IF NOT EXISTS ledger_checks
(
    tenant_bucket     UInt8,
    company_id        LowCardinality(String),
    hour              DateTime('UTC') CODEC(DoubleDelta, ZSTD(1)),
    until             DateTime('UTC') CODEC(Delta, ZSTD(1)),
    received          UInt64 CODEC(T64, ZSTD(1)),
    accepted          UInt64 CODEC(T64, ZSTD(1)),
    dropped_at_edge   UInt64 CODEC(T64, ZSTD(1)),
    enriched          UInt64 COMMENT 'as enrich reported, copies included' CODEC(T64, ZSTD(1)),
    dropped_by_enrich UInt64 CODEC(T64, ZSTD(1)),
    dropped_by_sink   UInt64 CODEC(T64, ZSTD(1)),
    written           UInt64 CODEC(T64, ZSTD(1)),
    replayed          UInt64 COMMENT 'further copies of an acceptance' CODEC(T64, ZSTD(1)),
    unreported        UInt64 COMMENT 'rows whose collector was killed before it reported them' CODEC(T64, ZSTD(1)),
    missing_at_enrich UInt64 CODEC(T64, ZSTD(1)),
    missing_at_sink   UInt64 CODEC(T64, ZSTD(1)),
    doubled           UInt64 CODEC(T64, ZSTD(1)),
    balanced          Bool,
    checked_at        DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),

    CONSTRAINT tenant_bucket_range CHECK tenant_bucket < 16,
    CONSTRAINT tenant_known CHECK company_id != ''
)
ENGINE = ReplacingMergeTree(checked_at)
PARTITION BY (tenant_bucket, toYYYYMM(hour))
ORDER BY (company_id, hour)
TTL hour + INTERVAL 13 MONTH
SETTINGS non_replicated_deduplication_window = 10000;
