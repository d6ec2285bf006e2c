package analytics

import "strings"

// Kinds of groups_daily, which are also the names of their questions.
const (
	bySource   = "sources"
	byCampaign = "campaigns"
	byDevice   = "devices"
	byCountry  = "countries"
	byReason   = "reasons"
	byConsent  = "consent"
)

// A key is some values as one text, because grouping by one is a fraction of the work of
// grouping by several: a line each, escaped, so that two different lists never have one
// key. The constants make it of rows of visits; closed_visits holds it.
const (
	sourceKey   = `concat(` + escapedOpen + `first_channel` + escapedEnd + `, '\n', ` + escapedOpen + `first_traffic_source` + escapedEnd + `)`
	campaignKey = `concat(` + escapedOpen + `first_campaign_source` + escapedEnd + `, '\n', ` + escapedOpen + `first_campaign_medium` + escapedEnd + `, '\n', ` + escapedOpen + `first_campaign_name` + escapedEnd + `)`
	deviceKey   = `concat(` + escapedOpen + `device` + escapedEnd + `, '\n', ` + escapedOpen + `browser_family` + escapedEnd + `, '\n', ` + escapedOpen + `system_family` + escapedEnd + `)`
	countryKey  = escapedOpen + `toString(country)` + escapedEnd
	reasonKey   = escapedOpen + `toString(verdict)` + escapedEnd
	pageKeys    = `arrayMap((host, path) -> concat(` + escapedOpen + `host` + escapedEnd + `, '\n', ` + escapedOpen + `path` + escapedEnd + `), page_hosts, page_paths)`

	escapedOpen = `replaceAll(replaceAll(`
	escapedEnd  = `, '\\', '\\\\'), '\n', '\\n')`

	// entryPage and exitPage are places in a visit's list of pages, from 1; 0 when a page
	// is not in it.
	entryPage = `arrayFirstIndex((host, path) -> host = entry_host AND path = entry_path, page_hosts, page_paths)`
	exitPage  = `arrayFirstIndex((host, path) -> host = exit_host AND path = exit_path, page_hosts, page_paths)`
)

// keyValues takes a key apart.
func keyValues(key string) []string {
	values := strings.Split(key, "\n")
	for i, v := range values {
		if strings.Contains(v, `\`) {
			values[i] = unescaper().Replace(v)
		}
	}
	return values
}

func unescaper() *strings.Replacer { return strings.NewReplacer(`\\`, `\`, `\n`, "\n") }

// inClosed and inVisits put a statement's words in capitals for what closed_visits holds,
// and for what makes it of a row of visits.
func inClosed() *strings.Replacer {
	return strings.NewReplacer("ACCOUNT", "account_hash", "NAMED", "named = 1",
		"SOURCE_KEY", "source_key", "CAMPAIGN_KEY", "campaign_key", "DEVICE_KEY", "device_key",
		"PAGE_KEYS", "seen.page_key", "PAGE_PATHS", "seen.path", "PAGE_COUNTS", "seen.views", "PAGE_LENGTHS", "seen.engaged_ms", "PAGE_MOMENTS", "seen.first_at",
		"ENTRY_PAGE", "entry_page", "EXIT_PAGE", "exit_page", "STARTED_DAY", "day")
}

func inVisits() *strings.Replacer {
	return strings.NewReplacer("ACCOUNT", accountHash, "NAMED", "verdict = 'company'",
		"SOURCE_KEY", sourceKey, "CAMPAIGN_KEY", campaignKey, "DEVICE_KEY", deviceKey,
		"PAGE_KEYS", pageKeys, "PAGE_PATHS", "page_paths", "PAGE_COUNTS", "page_view_counts", "PAGE_LENGTHS", "page_engaged_ms", "PAGE_MOMENTS", "page_first_at",
		"ENTRY_PAGE", entryPage, "EXIT_PAGE", exitPage, "STARTED_DAY", "toDate(started_at)")
}
