package registry

// All SQL of the package. Queries inside a tenant's context carry no
// company_id: row-level security does, and inserts take it from the context.
const (
	queryInsertTenant    = `INSERT INTO core.tenants (agency_id, kind, name) VALUES ($1, $2, $3) RETURNING created_at`
	queryInsertDirectory = `INSERT INTO core.directory (agency_id, kind) VALUES ($1, $2)`
	queryInsertAgency    = `INSERT INTO core.agencies (id, name) VALUES ($1, $2)`
	querySelectAgency    = `SELECT id, company_id, name, created_at FROM core.agencies`
	querySelectTenant    = `SELECT company_id, agency_id, kind, name, status = 'active', created_at FROM core.tenants`

	// Every change of a site takes this lock first, and the change of the
	// tenant's status takes the row for itself: no site is published as active
	// after its tenant was suspended.
	queryLockTenant      = `SELECT status = 'active' FROM core.tenants WHERE status <> 'erased' FOR SHARE`
	queryActiveTenant    = `SELECT status = 'active' FROM core.tenants FOR UPDATE`
	querySetTenantStatus = `
UPDATE core.tenants SET status = $1, version = version + 1, updated_at = now() WHERE status <> $1 RETURNING company_id`
	querySetDirectoryActive = `UPDATE core.directory SET active = $1`

	queryInsertBrand = `INSERT INTO core.brands (id, name) VALUES ($1, $2) RETURNING company_id, created_at`
	querySelectBrand = `SELECT company_id, id, name, created_at FROM core.brands ORDER BY created_at, id`

	queryCountSites = `SELECT count(*) FROM core.sites`
	queryInsertSite = `
INSERT INTO core.sites (brand_id, id, name, allowed_origins, mode, honour_dnt, retention_days,
                        interest_accepted_by, interest_accepted_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, nullif($8, ''), CASE WHEN $8 = '' THEN NULL ELSE now() END)`
	queryInsertSiteKey = `
INSERT INTO core.site_keys (site_key, brand_id, site_id) SELECT $1, brand_id, id FROM core.sites WHERE id = $2`
	querySelectRetentions = `SELECT company_id, id, retention_days FROM core.sites ORDER BY id`
	querySiteIDs          = `SELECT id FROM core.sites ORDER BY created_at, id`
	querySelectSite       = `
SELECT company_id, brand_id, id, name, allowed_origins, mode, honour_dnt, retention_days, active,
       coalesce(interest_accepted_by, ''), interest_accepted_at, tcf_vendor, cmp, grant_days, custom_properties,
       network_precision, visit_idle_minutes, visit_time_zone, visit_campaign, version, created_at
FROM core.sites WHERE $1 = '' OR id = $1 ORDER BY created_at, id`
	querySelectSiteKeys = `
SELECT site_id, site_key, retires_at FROM core.site_keys
WHERE ($1 = '' OR site_id = $1) AND NOT retired AND (retires_at IS NULL OR retires_at > now())
ORDER BY site_id, retires_at NULLS FIRST, created_at DESC`

	querySelectTexts = `
SELECT site_id, version, language, links_visits, sha256, created_at FROM core.consent_texts
WHERE $1 = '' OR site_id = $1 ORDER BY site_id, created_at, version`
	querySelectForms = `
SELECT site_id, form_id, fields, text_versions, redirect_urls FROM core.site_forms
WHERE $1 = '' OR site_id = $1 ORDER BY site_id, form_id`
	querySelectText = `
SELECT version, language, links_visits, body, sha256, created_at FROM core.consent_texts WHERE site_id = $1 AND version = $2`
	queryInsertText = `
INSERT INTO core.consent_texts (brand_id, site_id, version, language, body, sha256, links_visits)
SELECT brand_id, id, $2, $3, $4, $5, $6 FROM core.sites WHERE id = $1`
	// No row comes back from a form that is so already.
	queryUpsertForm = `
INSERT INTO core.site_forms AS f (brand_id, site_id, form_id, fields, text_versions, redirect_urls)
SELECT brand_id, id, $2, $3::jsonb, $4, $5 FROM core.sites WHERE id = $1
ON CONFLICT (company_id, site_id, form_id) DO UPDATE
SET fields = excluded.fields, text_versions = excluded.text_versions, redirect_urls = excluded.redirect_urls, updated_at = now()
WHERE (f.fields, f.text_versions, f.redirect_urls) IS DISTINCT FROM (excluded.fields, excluded.text_versions, excluded.redirect_urls)`
	querySelectScoreRules = `
SELECT id, score_rules FROM core.sites WHERE ($1 = '' OR id = $1) AND score_rules <> '{}' ORDER BY id`
	// The change of the site's version goes before it (queryTouchSite).
	querySetScoreRules = `UPDATE core.sites SET score_rules = $2::jsonb WHERE id = $1`
	queryDeleteForm    = `DELETE FROM core.site_forms WHERE site_id = $1 AND form_id = $2`

	// Null leaves a setting as it is.
	querySetSite = `
UPDATE core.sites SET
  mode = coalesce($2, mode), honour_dnt = coalesce($3, honour_dnt), retention_days = coalesce($4, retention_days),
  allowed_origins = coalesce($5, allowed_origins), tcf_vendor = coalesce($6, tcf_vendor), cmp = coalesce($7, cmp),
  grant_days = coalesce($8, grant_days), custom_properties = coalesce($9, custom_properties),
  interest_accepted_by = coalesce($10, interest_accepted_by),
  interest_accepted_at = CASE WHEN $10::text IS NULL THEN interest_accepted_at ELSE now() END,
  network_precision = coalesce($11, network_precision),
  visit_idle_minutes = coalesce($12, visit_idle_minutes), visit_time_zone = coalesce($13, visit_time_zone),
  visit_campaign = coalesce($14, visit_campaign),
  version = version + 1, updated_at = now()
WHERE id = $1`
	querySetSiteActive = `
UPDATE core.sites SET active = $2, version = version + 1, updated_at = now() WHERE id = $1`
	queryTouchSite = `
UPDATE core.sites SET version = version + 1, updated_at = now() WHERE id = $1`
	// A key that was already being rotated out ends now: at most two are valid.
	queryRetireKeys = `
UPDATE core.site_keys
SET retires_at = CASE WHEN retires_at IS NULL THEN now() + $2::interval ELSE least(retires_at, now()) END
WHERE site_id = $1 AND NOT retired`
	queryMarkRetired = `
UPDATE core.site_keys SET retired = true WHERE site_id = $1 AND NOT retired AND retires_at <= now()`

	queryInsertOutbox = `INSERT INTO core.outbox (topic, record_key, value) VALUES ($1, $2, $3)`
)

// SQL of the worker role: the directory, the outbox and schedules.
const (
	queryDirectory = `
SELECT company_id FROM core.directory
WHERE ($1 = '' OR agency_id = $1) AND ($2 = '' OR kind = $2) ORDER BY created_at, company_id`

	queryAgencyActive = `SELECT active FROM core.directory WHERE agency_id = $1 AND kind = 'agency'`
	// Creating a client shares the lock of its agency, erasing the agency takes it.
	queryShareClients = `SELECT pg_advisory_xact_lock_shared(hashtextextended('clients of ' || $1, 0))`
	queryLockClients  = `SELECT pg_advisory_xact_lock(hashtextextended('clients of ' || $1, 0))`

	queryTryLock = `SELECT pg_try_advisory_xact_lock($1)`
	queryLock    = `SELECT pg_advisory_xact_lock($1)`

	queryPending = `
SELECT id, topic, record_key, value FROM core.outbox WHERE done_at IS NULL ORDER BY id LIMIT $1`
	queryMarkDone = `UPDATE core.outbox SET done_at = now() WHERE id = ANY ($1) AND done_at IS NULL`
	queryBacklog  = `SELECT count(*) FROM core.outbox WHERE done_at IS NULL`
	// The newest record of each key stays, for Republish.
	queryPurge = `
DELETE FROM core.outbox o WHERE o.done_at < now() - interval '1 day'
  AND EXISTS (SELECT FROM core.outbox n WHERE n.topic = o.topic AND n.record_key = o.record_key AND n.id > o.id)`
	queryPurgeSalts = `DELETE FROM core.salts_published WHERE tombstoned_at < now() - interval '30 days'`
	queryLatestDone = `
SELECT id, topic, record_key FROM (
  SELECT DISTINCT ON (topic, record_key) id, topic, record_key, value, done_at
  FROM core.outbox ORDER BY topic, record_key, id DESC
) latest WHERE done_at IS NOT NULL AND octet_length(value) > 0 ORDER BY id`
	queryMarkPending = `UPDATE core.outbox SET done_at = NULL WHERE id = ANY ($1)`

	queryKeysDue = `
SELECT DISTINCT company_id, site_id FROM core.site_keys WHERE NOT retired AND retires_at <= now() LIMIT 100`

	querySaltsMissing = `
SELECT d.company_id, to_char(g.day, 'YYYY-MM-DD')
FROM core.directory d CROSS JOIN unnest($1::date[]) AS g (day)
LEFT JOIN core.salts_published s ON s.company_id = d.company_id AND s.day = g.day
WHERE d.active AND (s.company_id IS NULL OR (s.tombstoned_at IS NULL AND s.recipient_id <> $2))
ORDER BY g.day, d.company_id LIMIT $3`
	queryInsertSalt = `
INSERT INTO core.salts_published (company_id, day, recipient_id) VALUES ($1, $2::text::date, $3)
ON CONFLICT (company_id, day) DO UPDATE SET recipient_id = excluded.recipient_id, published_at = now()`
	querySaltsOver = `
SELECT company_id, to_char(day, 'YYYY-MM-DD') FROM core.salts_published
WHERE tombstoned_at IS NULL AND day <= $1::text::date ORDER BY day, company_id LIMIT $2`
	queryTombstoneSalt = `
UPDATE core.salts_published SET tombstoned_at = now() WHERE company_id = $1 AND day = $2::text::date`
	querySaltsAlive = `
SELECT company_id, to_char(day, 'YYYY-MM-DD') FROM core.salts_published
WHERE tombstoned_at IS NULL AND day >= $1::text::date`
	queryForgetSalt = `DELETE FROM core.salts_published WHERE company_id = $1 AND day = $2::text::date`
)
