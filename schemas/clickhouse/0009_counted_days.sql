-- Whole days that were read once for all, so that a question about months reads neither
-- every event nor every version of a visit (ADR 0036). Such a counting is never added
-- to: a day is read from its source as a whole, under the time the reading began
-- (built_at), and stands only as long as nothing of that day was written since. A batch
-- that is written twice, a replay and a late event can so make a day be counted again,
-- and never be counted twice.

-- When rows of a day were last written: the greatest moment stands, so it may be told any
-- number of times. It takes no insert for a repetition of another: a batch that
-- was cut off between here and its table, and is repeated under its token after the day
-- was counted, has to tell the day again.
CREATE TABLE IF NOT EXISTS changed_days
(
    tenant_bucket UInt8,
    company_id    LowCardinality(String),
    source        LowCardinality(String) COMMENT 'the table: events, visits',
    day           Date COMMENT 'of received_at or started_at, UTC',
    changed_at    SimpleAggregateFunction(max, DateTime64(3, 'UTC')) CODEC(Delta, ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY (tenant_bucket, toYYYYMM(day))
ORDER BY (company_id, source, day)
TTL day + INTERVAL 61 MONTH
SETTINGS non_replicated_deduplication_window = 0, replicated_deduplication_window = 0;

-- The time is the server's at the insert, not the rows': a repetition that writes
-- what was missing tells the later moment.
CREATE MATERIALIZED VIEW IF NOT EXISTS changed_days_of_events TO changed_days AS
SELECT tenant_bucket, company_id, 'events' AS source, toDate(received_at) AS day, max(now64(3)) AS changed_at
FROM events
GROUP BY tenant_bucket, company_id, day;

CREATE MATERIALIZED VIEW IF NOT EXISTS changed_days_of_visits TO changed_days AS
SELECT tenant_bucket, company_id, 'visits' AS source, toDate(started_at) AS day, max(now64(3)) AS changed_at
FROM visits
GROUP BY tenant_bucket, company_id, day;

-- The days before this migration. It may be repeated: the greatest moment stands.
INSERT INTO changed_days (tenant_bucket, company_id, source, day, changed_at)
SELECT tenant_bucket, company_id, 'events', toDate(received_at) AS day, now64(3)
FROM events
GROUP BY tenant_bucket, company_id, day;

-- As above; it may be repeated.
INSERT INTO changed_days (tenant_bucket, company_id, source, day, changed_at)
SELECT tenant_bucket, company_id, 'visits', toDate(started_at) AS day, now64(3)
FROM visits
GROUP BY tenant_bucket, company_id, day;

-- Which counting of a day stands: the newest, until the first of its rows expires.
CREATE TABLE IF NOT EXISTS counted_days
(
    tenant_bucket UInt8,
    company_id    LowCardinality(String),
    source        LowCardinality(String),
    day           Date,
    built_at      DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    expires_at    DateTime('UTC') CODEC(Delta, ZSTD(1))
)
ENGINE = ReplacingMergeTree(built_at)
PARTITION BY (tenant_bucket, toYYYYMM(day))
ORDER BY (company_id, source, day)
TTL expires_at
SETTINGS non_replicated_deduplication_window = 10000;

-- The events of a day by site, verdict, class of automated visitor and company.
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
    expires_at        DateTime('UTC') COMMENT 'of the first event of the row that goes' CODEC(Delta, ZSTD(1)),

    CONSTRAINT tenant_bucket_range CHECK tenant_bucket < 16,
    CONSTRAINT tenant_known CHECK company_id != ''
)
ENGINE = ReplacingMergeTree
PARTITION BY (tenant_bucket, toYYYYMM(day))
ORDER BY (company_id, day, built_at, site_id, brand_id, verdict, bot, account_id)
TTL expires_at
SETTINGS non_replicated_deduplication_window = 10000;

-- The visits of a day, each in its newest version and with the columns reports ask for:
-- no FINAL is needed, and texts that repeat are numbers of a dictionary. No visitor id
-- and no visit key is here.
CREATE TABLE IF NOT EXISTS closed_visits
(
    tenant_bucket         UInt8,
    company_id            LowCardinality(String),
    day                   Date,
    built_at              DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    brand_id              LowCardinality(String),
    site_id               LowCardinality(String),
    visit_id              FixedString(16) CODEC(NONE),
    started_at            DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    ended_at              DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    verdict               LowCardinality(String),
    account_id            LowCardinality(String),
    account_hash          UInt64 COMMENT '0 without an account; what companies are counted by' CODEC(ZSTD(1)),
    account_name          LowCardinality(String),
    account_domain        LowCardinality(String),
    confidence            Float32 CODEC(ZSTD(1)),
    resolution_source     LowCardinality(String),
    confirmation          LowCardinality(String),
    country               LowCardinality(String),
    first_channel         LowCardinality(String),
    first_traffic_source  LowCardinality(String),
    first_campaign_source LowCardinality(String),
    first_campaign_medium LowCardinality(String),
    first_campaign_name   LowCardinality(String),
    device                LowCardinality(String),
    browser_family        LowCardinality(String),
    system_family         LowCardinality(String),
    consent               LowCardinality(String),
    captured              Bool,
    bounce                Bool,
    page_views            UInt32 CODEC(T64, ZSTD(1)),
    engaged_ms            UInt64 CODEC(T64, ZSTD(1)),
    entry_host            LowCardinality(String),
    entry_path            LowCardinality(String),
    exit_host             LowCardinality(String),
    exit_path             LowCardinality(String),
    page_hosts            Array(LowCardinality(String)) COMMENT 'the arrays of pages are of one length',
    page_paths            Array(LowCardinality(String)),
    page_view_counts      Array(UInt32) CODEC(ZSTD(1)),
    page_engaged_ms       Array(UInt64) CODEC(ZSTD(1)),
    page_first_at         Array(DateTime64(3, 'UTC')) CODEC(ZSTD(1)),
    expires_at            DateTime('UTC') CODEC(Delta, ZSTD(1)),

    CONSTRAINT tenant_bucket_range CHECK tenant_bucket < 16,
    CONSTRAINT tenant_known CHECK company_id != ''
)
ENGINE = ReplacingMergeTree
PARTITION BY (tenant_bucket, toYYYYMM(day))
ORDER BY (company_id, day, built_at, site_id, verdict, account_id, visit_id)
TTL expires_at
SETTINGS non_replicated_deduplication_window = 10000;

-- What the visits of a day saw of each page.
CREATE TABLE IF NOT EXISTS pages_daily
(
    tenant_bucket UInt8,
    company_id    LowCardinality(String),
    day           Date,
    built_at      DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    brand_id      LowCardinality(String),
    site_id       LowCardinality(String),
    host          LowCardinality(String),
    path          LowCardinality(String),
    views         UInt64 CODEC(T64, ZSTD(1)),
    visits        UInt64 CODEC(T64, ZSTD(1)),
    companies     AggregateFunction(uniqExact, UInt64) COMMENT 'of account_hash' CODEC(ZSTD(1)),
    entries       UInt64 CODEC(T64, ZSTD(1)),
    exits         UInt64 CODEC(T64, ZSTD(1)),
    engaged_ms    UInt64 CODEC(T64, ZSTD(1)),
    expires_at    DateTime('UTC') CODEC(Delta, ZSTD(1)),

    CONSTRAINT tenant_bucket_range CHECK tenant_bucket < 16,
    CONSTRAINT tenant_known CHECK company_id != ''
)
ENGINE = ReplacingMergeTree
PARTITION BY (tenant_bucket, toYYYYMM(day))
ORDER BY (company_id, day, built_at, site_id, brand_id, host, path)
TTL expires_at
SETTINGS non_replicated_deduplication_window = 10000;
