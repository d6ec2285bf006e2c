package analytics

// The statements of Counter. Each is of one day, one bucket and some of its tenants.

const ofDay = `
WHERE tenant_bucket = {bucket:UInt8} AND company_id IN {companies:Array(String)}`

const countTraffic = `INSERT INTO traffic_daily (tenant_bucket, company_id, day, built_at, brand_id, site_id, verdict, bot, account_id,
	account_name, account_domain, confidence, resolution_source, events, page_views, visits, last_at, expires_at)
SELECT tenant_bucket, company_id, toDate(received_at) AS on_day, {built:DateTime64(3, 'UTC')}, brand_id, site_id, verdict, bot, account_id,
	argMax(account_name, received_at), argMax(account_domain, received_at), argMax(confidence, received_at), argMax(resolution_source, received_at),
	count(), countIf(type = 'page_view'), uniqExactIf(visit_key, type = 'page_view'), max(received_at), min(expires_at)
FROM events FINAL` + ofDay + ` AND toDate(received_at) = {day:Date} AND expires_at > now()
GROUP BY tenant_bucket, company_id, on_day, brand_id, site_id, verdict, bot, account_id`

// countedOf says that a counting stands until its first row goes. A day without rows
// stands too, as long as anybody knows of it: it would else be counted for ever.
const countedOf = `INSERT INTO counted_days (tenant_bucket, company_id, source, day, built_at, expires_at)
SELECT {bucket:UInt8}, company, {source:String}, {day:Date}, {built:DateTime64(3, 'UTC')}, min(expires) FROM (
	SELECT toString(company_id) AS company, toDateTime({day:Date} + INTERVAL 61 MONTH, 'UTC') AS expires FROM changed_days` + ofDay + ` AND day = {day:Date} AND source = {source:String}
	UNION ALL
	SELECT toString(company_id) AS company, expires_at AS expires FROM `

const countedEnd = ofDay + ` AND day = {day:Date} AND built_at = {built:DateTime64(3, 'UTC')}
) GROUP BY company`

const (
	countedTraffic = countedOf + `traffic_daily` + countedEnd
	countedVisits  = countedOf + `closed_visits` + countedEnd
)

// accountHash is what companies are counted by: 0 is none. Of 64 bits, two among a
// million companies of a tenant are the same once in 37 million tenants.
const accountHash = `if(account_id = '', toUInt64(0), greatest(xxHash64(account_id), 1))`

const closeVisits = `INSERT INTO closed_visits (tenant_bucket, company_id, day, built_at, named, brand_id, site_id, visit_id, started_at, ended_at, verdict, account_id, account_hash,
	account_name, account_domain, confidence, resolution_source, confirmation, country, first_channel, first_traffic_source, first_campaign_name,
	source_key, campaign_key, device_key, consent, captured, bounce, page_views, engaged_ms,
	entry_page, exit_page, seen.page_key, seen.path, seen.views, seen.engaged_ms, seen.first_at, expires_at)
SELECT tenant_bucket, company_id, toDate(started_at), {built:DateTime64(3, 'UTC')}, verdict = 'company', brand_id, site_id, visit_id, started_at, ended_at, verdict, account_id, ` + accountHash + `,
	account_name, account_domain, confidence, resolution_source, confirmation, country, first_channel, first_traffic_source, first_campaign_name,
	` + sourceKey + `,
	` + campaignKey + `,
	` + deviceKey + `,
	consent, captured, bounce, page_views, engaged_ms,
	` + entryPage + `, ` + exitPage + `, ` + pageKeys + `, page_paths, page_view_counts, page_engaged_ms, page_first_at, expires_at
FROM visits FINAL` + ofDay + ` AND started_at >= toDateTime64({day:Date}, 3, 'UTC') AND started_at < toDateTime64({day:Date} + 1, 3, 'UTC') AND expires_at > now()`

const countPages = `INSERT INTO pages_daily (tenant_bucket, company_id, day, built_at, brand_id, site_id, page_key, views, visits, companies, entries, exits, engaged_ms, expires_at)
SELECT tenant_bucket, company_id, day, built_at, brand_id, site_id, page_key, sum(views_of), count(), groupUniqArrayIf(account_hash, account_hash != 0),
	countIf(place = entry_page), countIf(place = exit_page), sum(engaged_of), min(expires_at)
FROM closed_visits
ARRAY JOIN PAGE_KEYS AS page_key, ` + eachPage + ofDay + ` AND day = {day:Date} AND built_at = {built:DateTime64(3, 'UTC')}
GROUP BY tenant_bucket, company_id, day, built_at, brand_id, site_id, page_key`

// eachPage makes, with the keys of pages, a row of each page of a visit.
const eachPage = `PAGE_COUNTS AS views_of, PAGE_LENGTHS AS engaged_of, arrayEnumerate(PAGE_COUNTS) AS place`

const countGroups = `INSERT INTO groups_daily (tenant_bucket, company_id, day, built_at, kind, brand_id, site_id, group_key, visits, companies, page_views, bounces, captures, engaged_ms, expires_at)
SELECT tenant_bucket, company_id, day, built_at, of_kind, brand_id, site_id, key, count(), groupUniqArrayIf(account_hash, account_hash != 0 AND of_kind != '` + byConsent + `'),
	sum(page_views), countIf(bounce), countIf(captured), sum(engaged_ms), min(expires_at)
FROM closed_visits
ARRAY JOIN ['` + bySource + `', '` + byCampaign + `', '` + byDevice + `', '` + byCountry + `', '` + byReason + `', '` + byConsent + `'] AS of_kind,
	[toString(source_key), toString(campaign_key), toString(device_key), ` + countryKey + `, ` + reasonKey + `, toString(consent)] AS key` + ofDay + ` AND day = {day:Date} AND built_at = {built:DateTime64(3, 'UTC')}
GROUP BY tenant_bucket, company_id, day, built_at, of_kind, brand_id, site_id, key`
