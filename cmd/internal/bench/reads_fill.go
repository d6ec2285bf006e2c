package bench

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/schemas"
)

const (
	// fillDays is how far back the rows go.
	fillDays = 90
	// fillVisitsChunk is how many visits one statement makes: all tenants', of
	// consecutive minutes, as sinks write them.
	fillVisitsChunk = 100_000
	// fillEventsPerVisit is a little less than what comes of a visit.
	fillEventsPerVisit = 2.95
	// fillReadTimeout is longer than one statement of the fill.
	fillReadTimeout = 5 * time.Minute
)

// readTenants are the tenants of the filled tables, the largest first: half of all
// visits, a fifth, a tenth and so on (fillCommon).
func readTenants() []string {
	out := make([]string, 8)
	for i := range out {
		out[i] = fmt.Sprintf("cmp_bench%d", i)
	}
	return out
}

// fillCommon makes one visit of each number: whose it is, when, from where, which pages.
// Everything comes of hashes of the number, so events and visits agree.
const fillCommon = `
	SELECT number AS n, sipHash64(n) AS h, sipHash64(n, 1) AS h1, sipHash64(n, 2) AS h2, sipHash64(n, 3) AS h3,
		h % 100 AS share, multiIf(share < 50, 1, share < 70, 2, share < 80, 3, share < 88, 4, share < 93, 5, share < 97, 6, share < 99, 7, 8) AS tenant,
		{companies:Array(String)}[tenant] AS company, {buckets:Array(UInt8)}[tenant] AS bucket,
		{from:DateTime64(3, 'UTC')} + toIntervalMillisecond(intDiv(n * {step_us:UInt64}, 1000) + h1 % 60000) AS at,
		concat('sit_', toString(tenant), if(h1 % 10 < 7, 'a', if(h1 % 10 < 9, 'b', 'c'))) AS site,
		h2 % 100 < 8 AS robot,
		if(robot, 'denied', if(h2 % 1000 < 795, 'denied', if(h2 % 1000 < 990, 'analytics', 'identified'))) AS state,
		NOT robot AND h3 % 100 < 27 AS named, toString(toUInt32(20000 * pow((h3 % 1000003) / 1000003, 3))) AS account,
		least(12, 1 + toUInt32(-2.1 * log(((h1 % 1000033) + 1) / 1000034))) AS views,
		arrayMap(i -> toUInt32(800 * pow((sipHash64(n, i) % 10007) / 10007, 3)), range(views)) AS page_numbers,
		arrayMap(p -> multiIf(p = 0, '/', p = 1, '/pricing', p = 2, '/contact', p % 3 = 0, concat('/products/line-', toString(p)), concat('/blog/2026/article-', toString(p))), page_numbers) AS paths,
		['direct', 'direct', 'organic_search', 'organic_search', 'organic_search', 'referral', 'email', 'organic_social', 'paid_search', 'paid_social'][1 + h % 10] AS channel,
		multiIf(channel = 'direct', '', channel = 'email', 'newsletter', ['google', 'bing', 'linkedin', 'duckduckgo', 'nu.nl'][1 + h1 % 5]) AS traffic,
		channel IN ('email', 'paid_search', 'paid_social') AS paid,
		['NL', 'NL', 'NL', 'NL', 'NL', 'NL', 'BE', 'BE', 'DE', 'DE', 'GB', 'FR', 'US', 'ES', 'PL', 'IT'][1 + h2 % 16] AS land,
		['desktop', 'desktop', 'desktop', 'mobile', 'mobile', 'tablet'][1 + h3 % 6] AS class,
		['chrome', 'chrome', 'chrome', 'safari', 'firefox', 'edge'][1 + h1 % 6] AS browser, ['windows', 'windows', 'macos', 'android', 'ios', 'linux'][1 + h2 % 6] AS system,
		multiIf(robot, 'bot', named, 'company', h3 % 100 < 70, 'isp', h3 % 100 < 85, 'mobile', h3 % 100 < 92, 'hosting', h3 % 100 < 97, 'unknown', 'ambiguous_truncation') AS decided
	FROM numbers({first:UInt64}, {n:UInt64})`

// fillEvents writes a page view for each page, and an engagement besides where the
// visitor consented. Ids sort by time, like UUIDv7.
const fillEvents = `INSERT INTO events (tenant_bucket, company_id, brand_id, site_id, event_id, type, received_at, occurred_at, enriched_at, consent, visit_key, visitor_id,
	host, path, referrer_host, campaign_source, campaign_medium, campaign_name, channel, traffic_source, device, browser_family, system_family, bot, country, verdict,
	account_id, account_name, account_domain, confidence, resolution_source, asn, prefix_bits, database_build_at, sealed_address, source_partition, source_offset, writer_id,
	retention_days, expires_at, engagement_ms, scroll_percent, acceptance_id)
SELECT bucket, company, 'brd_1', site, concat(unhex(leftPad(hex(toUInt64(toUnixTimestamp64Milli(seen))), 12, '0')), substring(reinterpretAsFixedString(sipHash128(n, step)), 1, 10)),
	if(step > views, 'engagement', 'page_view') AS kind, at + toIntervalSecond(step * 20) AS seen, seen, seen + INTERVAL 1 SECOND, state,
	reinterpretAsFixedString(sipHash128(n, 'key')), if(state = 'denied', toFixedString('', 16), reinterpretAsFixedString(sipHash128(n % 200000, 'visitor'))),
	'www.example.nl', paths[1 + (step - 1) % views], if(traffic = '', '', concat(traffic, '.com')), if(paid, traffic, ''), if(paid, 'cpc', ''), if(paid, concat('campaign ', toString(h1 % 40)), ''),
	if(kind = 'page_view', channel, ''), if(kind = 'page_view', traffic, ''), class, browser, system, if(robot, ['crawler', 'monitor', 'headless', 'hosting'][1 + h1 % 4], 'none'), land, decided,
	if(named, concat('account-', account, '.nl'), ''), if(named, concat('Account ', account), ''), if(named, concat('account-', account, '.nl'), ''), if(named, 0.75, 0), if(named, 'asn', ''),
	h1 % 60000, 24, {from:DateTime64(3, 'UTC')}, randomString(54), bucket, n * 16 + step, 'collector-1', 400, seen + INTERVAL 400 DAY,
	if(kind = 'page_view', 0, h2 % 90000), if(kind = 'page_view', 0, h2 % 100), randomString(16)
FROM (` + fillCommon + `)
ARRAY JOIN range(1, 1 + if(robot, 1, if(state = 'denied', views, 2 * views))) AS step`

// fillVisits writes the visits of those that are no robots. One in ten is written again
// a chunk later, as a newer version.
const fillVisits = `INSERT INTO visits (tenant_bucket, company_id, brand_id, site_id, visit_id, visit_key, visitor_id, version, started_at, ended_at, duration_ms, engaged_ms, page_views, events,
	bounce, entry_host, entry_path, exit_host, exit_path, first_channel, first_traffic_source, first_campaign_source, first_campaign_medium, first_campaign_name, first_touch_at,
	last_channel, last_traffic_source, last_touch_at, device, browser_family, system_family, country, verdict, account_id, account_name, account_domain, confidence, resolution_source,
	asn, prefix_bits, database_build_at, consent, captured, page_hosts, page_paths, page_view_counts, page_engaged_ms, page_scroll_percents, page_first_at, scroll_percent_max,
	retention_days, last_received_at, expires_at)
SELECT bucket, company, 'brd_1', site, reinterpretAsFixedString(sipHash128(n, 'visit')), reinterpretAsFixedString(sipHash128(n, 'key')),
	if(state = 'denied', toFixedString('', 16), reinterpretAsFixedString(sipHash128(n % 200000, 'visitor'))), {version:UInt64}, at + INTERVAL 20 SECOND AS started, at + toIntervalSecond(20 * views) AS ended,
	20000 * (views - 1), if(state = 'denied', 0, views * (h2 % 90000)), views, if(state = 'denied', views, 2 * views),
	views = 1, 'www.example.nl', paths[1], 'www.example.nl', paths[-1], channel, traffic, if(paid, traffic, ''), if(paid, 'cpc', ''), if(paid, concat('campaign ', toString(h1 % 40)), ''), started,
	channel, traffic, started, class, browser, system, land, decided, if(named, concat('account-', account, '.nl'), ''), if(named, concat('Account ', account), ''), if(named, concat('account-', account, '.nl'), ''),
	if(named, 0.75, 0), if(named, 'asn', ''), h1 % 60000, 24, {from:DateTime64(3, 'UTC')}, state, state = 'identified',
	arrayMap(p -> 'www.example.nl', arrayDistinct(paths) AS seen), seen, arrayMap(p -> toUInt32(countEqual(paths, p)), seen),
	arrayMap(p -> if(state = 'denied', toUInt64(0), h2 % 90000), seen), arrayMap(p -> if(state = 'denied', toUInt8(0), toUInt8(h2 % 100)), seen),
	arrayMap(p -> started + toIntervalSecond(20 * (indexOf(paths, p) - 1)), seen), if(state = 'denied', 0, h2 % 100), 400, ended, started + INTERVAL 400 DAY
FROM (` + fillCommon + `)
WHERE NOT robot AND ({version:UInt64} = 1 OR h3 % 10 = 0)`

// fillAccounts writes the days of the companies that the visits are of.
const fillAccounts = `INSERT INTO accounts_daily (tenant_bucket, company_id, brand_id, site_id, day, account_id, account_name, account_domain, country, confidence, visits, human_visits, page_views, engaged_ms,
	score, recency_points, depth_points, key_pages_points, key_page_names, key_page_weights, key_page_visits, engagement_points, first_seen_day, first_at, last_at, version, retention_days, expires_at)
SELECT tenant_bucket, company_id, 'brd_1', site_id, toDate(started_at) AS on_day, account_id, any(account_name), any(account_domain), any(country), 0.75, count(), count(), sum(page_views), sum(engaged_ms),
	(sipHash64(account_id, on_day) % 101) AS points, 0, points, 0, ['pricing'], [50], [1], 0, on_day - sipHash64(account_id) % 60, min(started_at), max(ended_at), 1, 400, on_day + INTERVAL 400 DAY
FROM visits FINAL
WHERE tenant_bucket = {bucket:UInt8} AND company_id = {company:String} AND verdict = 'company'
GROUP BY tenant_bucket, company_id, site_id, on_day, account_id`

// fillLedger writes what collectors counted: a minute in three somebody objects.
const fillLedger = `INSERT INTO ledger_edge (tenant_bucket, company_id, site_id, minute, stage, reason, writer_id, count)
SELECT {bucket:UInt8}, {company:String}, concat('sit_', {tenant:String}, ['a', 'b', 'c'][1 + number % 3]), toDateTime({from:DateTime64(3, 'UTC')}) + intDiv(number, 3) * 60, 'edge', reason, 'collector-1', 1 + number % 5
FROM numbers({n:UInt64}) ARRAY JOIN if(sipHash64(number) % 3 = 0, ['none', 'objected'], ['none']) AS reason`

// fillReads fills the tables up to a moment, fillDays back, with at least so many rows of
// events.
func fillReads(ctx context.Context, c *clickhouse.Conn, rows int, until time.Time, say func(string, ...any)) error {
	from := until.AddDate(0, 0, -fillDays)
	visits := int(float64(rows) / fillEventsPerVisit)
	companies := readTenants()
	buckets := make([]uint8, len(companies))
	for i, company := range companies {
		buckets[i] = schemas.TenantBucket(company)
	}
	exec := func(what, sql string, options ...clickhouse.Option) error {
		options = append(options, clickhouse.Param("from", from), clickhouse.Setting("max_partitions_per_insert_block", 0), clickhouse.Setting("max_insert_threads", 2))
		if err := c.Exec(ctx, sql, options...); err != nil {
			return fmt.Errorf("filling %s: %w", what, err)
		}
		return nil
	}
	chunk := func(what, sql string, first, version int) error {
		return exec(what, sql,
			clickhouse.Param("companies", companies), clickhouse.Param("buckets", buckets), clickhouse.Param("first", first),
			clickhouse.Param("n", min(fillVisitsChunk, visits-first)), clickhouse.Param("version", version),
			clickhouse.Param("step_us", (fillDays*24*time.Hour).Microseconds()/int64(visits)))
	}
	for first := 0; first < visits; first += fillVisitsChunk {
		if err := chunk("events", fillEvents, first, 0); err != nil {
			return err
		}
		if err := chunk("visits", fillVisits, first, 1); err != nil {
			return err
		}
		if first == 0 {
			continue
		}
		if err := chunk("visits", fillVisits, first-fillVisitsChunk, 2); err != nil {
			return err
		}
	}
	say("filled events and visits")
	for i, company := range companies {
		of := []clickhouse.Option{clickhouse.Param("bucket", buckets[i]), clickhouse.Param("company", company)}
		if err := exec("accounts_daily", fillAccounts, of...); err != nil {
			return err
		}
		err := exec("ledger_edge", fillLedger, append(slices.Clone(of), clickhouse.Param("tenant", fmt.Sprint(i+1)), clickhouse.Param("n", fillDays*24*60*3))...)
		if err != nil {
			return err
		}
	}
	return nil
}
