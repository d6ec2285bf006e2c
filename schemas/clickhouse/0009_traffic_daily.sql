-- Counts of whole days, so that a question about months does not read every event
-- (ADR 0036). They are never added to: a day is counted from events as a whole, under
-- the time its counting began (built_at), and stands only as long as nothing of that day
-- was written since. A batch that is written twice, a replay and a late event can so
-- make a day be counted again, and never be counted twice.

-- When rows of a day were last written: the greatest moment stands, so it may be told any
-- number of times.
CREATE TABLE IF NOT EXISTS changed_days
(
    tenant_bucket UInt8,
    company_id    LowCardinality(String),
    day           Date COMMENT 'of received_at, UTC',
    changed_at    SimpleAggregateFunction(max, DateTime64(3, 'UTC')) CODEC(Delta, ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY (tenant_bucket, toYYYYMM(day))
ORDER BY (company_id, day)
TTL day + INTERVAL 61 MONTH
SETTINGS non_replicated_deduplication_window = 10000;

-- The time is the server's at the insert, not the rows': a repetition that writes
-- what was missing tells the later moment.
CREATE MATERIALIZED VIEW IF NOT EXISTS changed_days_of_events TO changed_days AS
SELECT tenant_bucket, company_id, toDate(received_at) AS day, max(now64(3)) AS changed_at
FROM events
GROUP BY tenant_bucket, company_id, day;

-- The days before this migration. It may be repeated: the greatest moment stands.
INSERT INTO changed_days (tenant_bucket, company_id, day, changed_at)
SELECT tenant_bucket, company_id, toDate(received_at) AS day, now64(3)
FROM events
GROUP BY tenant_bucket, company_id, day;

-- Which counting of a day stands: the newest, until the first of its events expires.
CREATE TABLE IF NOT EXISTS counted_days
(
    tenant_bucket UInt8,
    company_id    LowCardinality(String),
    day           Date,
    built_at      DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    expires_at    DateTime('UTC') CODEC(Delta, ZSTD(1))
)
ENGINE = ReplacingMergeTree(built_at)
PARTITION BY (tenant_bucket, toYYYYMM(day))
ORDER BY (company_id, day)
TTL expires_at
SETTINGS non_replicated_deduplication_window = 10000;

-- The counts of a day by site, verdict, class of automated visitor and company. A visit
-- key is of one day, so the visits of days may be added up. Rows of a counting that
-- does not stand are left over until they are dropped, and in no answer.
CREATE TABLE IF NOT EXISTS traffic_daily
(
    tenant_bucket     UInt8,
    company_id        LowCardinality(String),
    day               Date,
    built_at          DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    brand_id          LowCardinality(String),
    site_id           LowCardinality(String),
    verdict           LowCardinality(String),
    bot               LowCardinality(String),
    account_id        String CODEC(ZSTD(1)),
    account_name      String COMMENT 'as of the day''s last event, like domain, confidence and source' CODEC(ZSTD(1)),
    account_domain    String CODEC(ZSTD(1)),
    confidence        Float32 CODEC(ZSTD(1)),
    resolution_source LowCardinality(String),
    events            UInt64 CODEC(T64, ZSTD(1)),
    page_views        UInt64 CODEC(T64, ZSTD(1)),
    visits            UInt64 COMMENT 'distinct visit keys of page views' CODEC(T64, ZSTD(1)),
    last_at           DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    expires_at        DateTime('UTC') COMMENT 'of the day''s first event that goes' CODEC(Delta, ZSTD(1)),

    CONSTRAINT tenant_bucket_range CHECK tenant_bucket < 16,
    CONSTRAINT tenant_known CHECK company_id != ''
)
ENGINE = ReplacingMergeTree
PARTITION BY (tenant_bucket, toYYYYMM(day))
ORDER BY (company_id, day, built_at, site_id, brand_id, verdict, bot, account_id)
TTL expires_at
SETTINGS non_replicated_deduplication_window = 10000;
