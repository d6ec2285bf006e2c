-- The score of an account on one site and day, with the parts it is the sum of:
-- metiva.v1.AccountDay. The key of a row is in all its versions the same, the
-- partition too; the greatest version stands. A removed day stays as its newest
-- version, so that an older one that is read again does not come back: read with
-- FINAL, which leaves it out.
CREATE TABLE IF NOT EXISTS accounts_daily
(
    tenant_bucket               UInt8,
    company_id                  LowCardinality(String),
    brand_id                    LowCardinality(String),
    site_id                     LowCardinality(String),
    day                         Date COMMENT 'in the site''s time zone',
    account_id                  String CODEC(ZSTD(1)),
    account_name                String CODEC(ZSTD(1)),
    account_domain              String CODEC(ZSTD(1)),
    country                     LowCardinality(String),
    confidence                  Float32 CODEC(ZSTD(1)),
    visits                      UInt32 CODEC(T64, ZSTD(1)),
    human_visits                UInt32 COMMENT 'visits with a sign of a human; only they count for what follows' CODEC(T64, ZSTD(1)),
    page_views                  UInt32 CODEC(T64, ZSTD(1)),
    engaged_ms                  UInt64 CODEC(T64, ZSTD(1)),
    score                       UInt8 COMMENT '0 to 100: the sum of the points of the parts' CODEC(ZSTD(1)),
    recency_points              UInt8 CODEC(ZSTD(1)),
    recency_days_since_previous UInt32 CODEC(T64, ZSTD(1)),
    depth_points                UInt8 CODEC(ZSTD(1)),
    depth_page_views            UInt32 CODEC(T64, ZSTD(1)),
    key_pages_points            UInt8 CODEC(ZSTD(1)),
    key_page_names              Array(LowCardinality(String)) COMMENT 'the rules that matched; the two arrays that follow are as long',
    key_page_weights            Array(UInt8) CODEC(ZSTD(1)),
    key_page_visits             Array(UInt32) CODEC(ZSTD(1)),
    engagement_points           UInt8 CODEC(ZSTD(1)),
    engagement_engaged_ms       UInt64 CODEC(T64, ZSTD(1)),
    engagement_interactions     UInt32 CODEC(T64, ZSTD(1)),
    returning_points            UInt8 CODEC(ZSTD(1)),
    returning_earlier_days      UInt32 CODEC(T64, ZSTD(1)),
    first_seen_day              Date COMMENT '1970-01-01 when no human was seen yet' CODEC(ZSTD(1)),
    first_at                    DateTime64(3, 'UTC') COMMENT 'start of the day''s first visit' CODEC(Delta, ZSTD(1)),
    last_at                     DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    version                     UInt64 CODEC(T64, ZSTD(1)),
    formula                     UInt32 CODEC(T64, ZSTD(1)),
    removed                     UInt8 COMMENT 'no visit is left of the day' CODEC(ZSTD(1)),
    capped                      Bool,
    retention_days              UInt32 CODEC(T64, ZSTD(1)),
    expires_at                  DateTime('UTC') COMMENT 'end of the day and retention_days' CODEC(Delta, ZSTD(1)),
    inserted_at                 DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta, ZSTD(1)),

    INDEX account account_id TYPE bloom_filter(0.01) GRANULARITY 1,

    CONSTRAINT tenant_bucket_range CHECK tenant_bucket < 16,
    CONSTRAINT tenant_known CHECK company_id != '',
    CONSTRAINT account_known CHECK account_id != '',
    CONSTRAINT score_range CHECK score <= 100
)
ENGINE = ReplacingMergeTree(version, removed)
PARTITION BY (tenant_bucket, toYYYYMM(day))
ORDER BY (company_id, site_id, day, account_id)
TTL expires_at
SETTINGS non_replicated_deduplication_window = 10000;
