-- Whole days in a form that is read faster (ADR 0041). What was counted so far is dropped
-- and counted again; until then questions read the rows. Repeating this migration loses
-- nothing.

-- A counting may be under way: of a core that is to be stopped, or of one that was first
-- to migrate. It would say that its day stands after its rows are dropped below. Every day
-- changes here, so that no counting stands that begins before the margin is over. It
-- may be repeated: the greatest moment stands.
INSERT INTO changed_days (tenant_bucket, company_id, source, day, changed_at)
SELECT tenant_bucket, company_id, source, day, now64(3)
FROM changed_days
GROUP BY tenant_bucket, company_id, source, day;

TRUNCATE TABLE IF EXISTS counted_days;

-- Rows of an earlier counting would be deleted a day at a time.
TRUNCATE TABLE IF EXISTS traffic_daily;

-- A counting's day and moment as one number: one comparison of a row instead of two.
ALTER TABLE traffic_daily
    ADD COLUMN IF NOT EXISTS counting UInt64 DEFAULT bitOr(bitShiftLeft(toUInt64(toUInt16(day)), 44), toUInt64(toUnixTimestamp64Milli(built_at))) COMMENT 'day and built_at: the day''s number times 2^44, and milliseconds since 1970' CODEC(ZSTD(1));

DROP TABLE IF EXISTS closed_visits SYNC;

-- The visits of a day, each in its newest version and with the columns reports ask for:
-- no FINAL is needed, texts that repeat are numbers of a dictionary, and what reports
-- group by is one text (its parts escaped, a line each). Visits of companies lie apart
-- from the others, because most questions about companies need only them. No visitor id
-- and no visit key is here.
CREATE TABLE IF NOT EXISTS closed_visits
(
    tenant_bucket        UInt8,
    company_id           LowCardinality(String),
    day                  Date,
    built_at             DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    counting             UInt64 DEFAULT bitOr(bitShiftLeft(toUInt64(toUInt16(day)), 44), toUInt64(toUnixTimestamp64Milli(built_at))) COMMENT 'day and built_at' CODEC(ZSTD(1)),
    named                UInt8 COMMENT '1 when the verdict is company' CODEC(ZSTD(1)),
    brand_id             LowCardinality(String),
    site_id              LowCardinality(String),
    visit_id             FixedString(16) CODEC(NONE),
    started_at           DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    ended_at             DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    verdict              LowCardinality(String),
    account_id           String CODEC(ZSTD(1)),
    account_hash         UInt64 COMMENT '0 without an account; what companies are counted by' CODEC(ZSTD(1)),
    account_name         String CODEC(ZSTD(1)),
    account_domain       String CODEC(ZSTD(1)),
    confidence           Float32 CODEC(ZSTD(1)),
    resolution_source    LowCardinality(String),
    confirmation         LowCardinality(String),
    country              LowCardinality(String),
    first_channel        LowCardinality(String),
    first_traffic_source LowCardinality(String),
    first_campaign_name  LowCardinality(String),
    source_key           LowCardinality(String) COMMENT 'channel and traffic source',
    campaign_key         LowCardinality(String) COMMENT 'campaign source, medium and name',
    device_key           LowCardinality(String) COMMENT 'device, family of browser and of system',
    consent              LowCardinality(String),
    captured             Bool,
    bounce               Bool,
    page_views           UInt32 CODEC(T64, ZSTD(1)),
    engaged_ms           UInt64 CODEC(T64, ZSTD(1)),
    entry_page           UInt8 COMMENT 'where the page it began with stands among its pages, from 1; 0 when it is not among them',
    exit_page            UInt8,
    page_keys            Array(LowCardinality(String)) COMMENT 'host and path; the arrays of pages are of one length',
    page_paths           Array(LowCardinality(String)),
    page_view_counts     Array(UInt32) CODEC(ZSTD(1)),
    page_engaged_ms      Array(UInt64) CODEC(ZSTD(1)),
    page_first_at        Array(DateTime64(3, 'UTC')) CODEC(ZSTD(1)),
    expires_at           DateTime('UTC') CODEC(Delta, ZSTD(1)),

    CONSTRAINT tenant_bucket_range CHECK tenant_bucket < 16,
    CONSTRAINT tenant_known CHECK company_id != ''
)
ENGINE = ReplacingMergeTree
PARTITION BY (tenant_bucket, toYYYYMM(day))
ORDER BY (company_id, named, counting, site_id, account_id, visit_id)
TTL expires_at
SETTINGS non_replicated_deduplication_window = 10000;

DROP TABLE IF EXISTS pages_daily SYNC;

-- What the visits of a day saw of each page.
CREATE TABLE IF NOT EXISTS pages_daily
(
    tenant_bucket UInt8,
    company_id    LowCardinality(String),
    day           Date,
    built_at      DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    counting      UInt64 DEFAULT bitOr(bitShiftLeft(toUInt64(toUInt16(day)), 44), toUInt64(toUnixTimestamp64Milli(built_at))) COMMENT 'day and built_at' CODEC(ZSTD(1)),
    brand_id      LowCardinality(String),
    site_id       LowCardinality(String),
    page_key      LowCardinality(String) COMMENT 'host and path',
    views         UInt64 CODEC(T64, ZSTD(1)),
    visits        UInt64 CODEC(T64, ZSTD(1)),
    companies     Array(UInt64) COMMENT 'distinct account_hash' CODEC(ZSTD(1)),
    entries       UInt64 CODEC(T64, ZSTD(1)),
    exits         UInt64 CODEC(T64, ZSTD(1)),
    engaged_ms    UInt64 CODEC(T64, ZSTD(1)),
    expires_at    DateTime('UTC') CODEC(Delta, ZSTD(1)),

    CONSTRAINT tenant_bucket_range CHECK tenant_bucket < 16,
    CONSTRAINT tenant_known CHECK company_id != ''
)
ENGINE = ReplacingMergeTree
PARTITION BY (tenant_bucket, toYYYYMM(day))
ORDER BY (company_id, counting, site_id, brand_id, page_key)
TTL expires_at
SETTINGS non_replicated_deduplication_window = 10000;

DROP TABLE IF EXISTS groups_daily SYNC;

-- The visits of a day by what reports group them by: a kind for each report.
CREATE TABLE IF NOT EXISTS groups_daily
(
    tenant_bucket UInt8,
    company_id    LowCardinality(String),
    day           Date,
    built_at      DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    counting      UInt64 DEFAULT bitOr(bitShiftLeft(toUInt64(toUInt16(day)), 44), toUInt64(toUnixTimestamp64Milli(built_at))) COMMENT 'day and built_at' CODEC(ZSTD(1)),
    kind          LowCardinality(String) COMMENT 'sources, campaigns, devices, countries, reasons, consent',
    brand_id      LowCardinality(String),
    site_id       LowCardinality(String),
    group_key     LowCardinality(String) COMMENT 'the values, escaped, a line each',
    visits        UInt64 CODEC(T64, ZSTD(1)),
    companies     Array(UInt64) COMMENT 'distinct account_hash; none for consent' CODEC(ZSTD(1)),
    page_views    UInt64 CODEC(T64, ZSTD(1)),
    bounces       UInt64 CODEC(T64, ZSTD(1)),
    captures      UInt64 CODEC(T64, ZSTD(1)),
    engaged_ms    UInt64 CODEC(T64, ZSTD(1)),
    expires_at    DateTime('UTC') CODEC(Delta, ZSTD(1)),

    CONSTRAINT tenant_bucket_range CHECK tenant_bucket < 16,
    CONSTRAINT tenant_known CHECK company_id != ''
)
ENGINE = ReplacingMergeTree
PARTITION BY (tenant_bucket, toYYYYMM(day))
ORDER BY (company_id, kind, counting, site_id, brand_id, group_key)
TTL expires_at
SETTINGS non_replicated_deduplication_window = 10000;
