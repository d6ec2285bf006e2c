-- One row per accepted event that became a row: metiva.v1.EnrichedEvent.
--
-- Partitions: the tenant's bucket (schemas.TenantBucket) and the month, so that
-- erasing a tenant rewrites one bucket and an insert of one Kafka partition
-- touches one or two partitions.
--
-- Order: reads are by tenant, site and days. event_id is a UUIDv7 kept as its
-- 16 bytes, which sort by time (ClickHouse's UUID type does not); the sink's
-- look-up of a batch's event ids is a point look-up in this key.
--
-- ReplacingMergeTree is the second net under the sink's own look-up and its
-- insert tokens: the same event under the same day collapses to one row.
CREATE TABLE IF NOT EXISTS events
(
    tenant_bucket     UInt8,
    company_id        LowCardinality(String),
    brand_id          LowCardinality(String),
    site_id           LowCardinality(String),
    event_id          FixedString(16),
    type              LowCardinality(String),
    received_at       DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    occurred_at       DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    enriched_at       DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    consent           LowCardinality(String),
    consent_seq       UInt64 CODEC(T64, ZSTD(1)),
    visit_key         FixedString(16) COMMENT 'anonymous; no key links two days',
    visitor_id        FixedString(16) COMMENT 'person level: random id kept by the browser, zero without consent',
    host              LowCardinality(String),
    path              String CODEC(ZSTD(1)),
    referrer_host     LowCardinality(String),
    campaign_source   LowCardinality(String),
    campaign_medium   LowCardinality(String),
    campaign_name     LowCardinality(String),
    device            LowCardinality(String),
    browser_family    LowCardinality(String),
    system_family     LowCardinality(String),
    bot               LowCardinality(String),
    country           LowCardinality(String),
    verdict           LowCardinality(String),
    account_id        String COMMENT 'set only when verdict is company, as are name and domain' CODEC(ZSTD(1)),
    account_name      String CODEC(ZSTD(1)),
    account_domain    String CODEC(ZSTD(1)),
    confidence        Float32 CODEC(ZSTD(1)),
    resolution_source LowCardinality(String),
    asn               UInt32 CODEC(T64, ZSTD(1)),
    prefix_bits       UInt8,
    database_build_at DateTime('UTC') CODEC(Delta, ZSTD(1)),
    sealed_address    String COMMENT 'truncated address under the tenant''s key of the day; ciphertext does not compress' CODEC(NONE),
    source_partition  Int32 COMMENT 'partition of events.collected' CODEC(ZSTD(1)),
    source_offset     Int64 COMMENT 'offset of events.collected' CODEC(Delta, ZSTD(1)),
    writer_id         LowCardinality(String),
    retention_days    UInt32 CODEC(T64, ZSTD(1)),
    expires_at        DateTime('UTC') COMMENT 'received_at and retention_days' CODEC(Delta, ZSTD(1)),
    inserted_at       DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta, ZSTD(1)),

    INDEX received_at_range received_at TYPE minmax GRANULARITY 1,

    CONSTRAINT tenant_bucket_range CHECK tenant_bucket < 16,
    CONSTRAINT tenant_known CHECK company_id != '',
    CONSTRAINT visitor_needs_consent CHECK visitor_id = toFixedString('', 16) OR consent IN ('analytics', 'identified'),
    CONSTRAINT name_needs_verdict CHECK verdict = 'company' OR (account_id = '' AND account_name = '' AND account_domain = '')
)
ENGINE = ReplacingMergeTree
PARTITION BY (tenant_bucket, toYYYYMM(received_at))
ORDER BY (company_id, site_id, toDate(received_at), event_id)
TTL expires_at
SETTINGS non_replicated_deduplication_window = 10000;
