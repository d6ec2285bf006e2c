package analytics

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/schemas"
)

// benchVisits is the size of the table that BenchmarkQuestions asks.
var benchVisits = flag.Int("bench-visits", 100_000, "visits in the table of BenchmarkQuestions, of ten tenants")

const (
	benchDays = 90
	// fillChunk keeps a statement well within the time an answer may take.
	fillChunk = 50_000
)

// fillVisits makes visits of one tenant inside the engine: forty in a hundred of 5,000
// companies, four pages each, over benchDays. One in ten comes in a second, newer
// version.
const fillVisits = `INSERT INTO visits (tenant_bucket, company_id, brand_id, site_id, visit_id, visit_key, version, started_at, ended_at, duration_ms, page_views, events,
	bounce, entry_host, entry_path, exit_host, exit_path, first_channel, first_traffic_source, first_campaign_name, device, browser_family, country, consent,
	verdict, account_id, account_name, account_domain, resolution_source, confidence, asn, prefix_bits,
	page_hosts, page_paths, page_view_counts, page_engaged_ms, page_scroll_percents, page_first_at, expires_at, last_received_at)
SELECT {bucket:UInt8}, {company:String}, 'brd_1', concat('sit_', toString(h % 3)), substring(SHA256(toString(number)), 1, 16), substring(MD5(toString(number)), 1, 16), {version:UInt64},
	{from:DateTime64(3, 'UTC')} + toIntervalMillisecond(h % {span_ms:UInt64}) AS at, at + INTERVAL 3 MINUTE, 180000, 1 + h % 4 AS pages, pages,
	pages = 1, 'www.example.nl', p[1], 'www.example.nl', p[-1], c, if(c = 'organic_search', 'google', ''), if(c = 'email', 'autumn', ''),
	['desktop', 'mobile', 'tablet'][1 + h % 3], if(h % 5 = 0, 'chrome', ''), ['NL', 'NL', 'NL', 'BE', 'DE'][1 + h % 5], if(h % 5 = 0, 'analytics', 'denied'),
	if(named, 'company', ['isp', 'mobile', 'hosting'][1 + h % 3]), if(named, concat('account-', a, '.nl'), ''), if(named, concat('Account ', a), ''), if(named, concat('account-', a, '.nl'), ''),
	'asn', 0.75, h % 60000, 24,
	arrayMap(x -> 'www.example.nl', p), p, arrayMap(x -> toUInt32(1), p), arrayMap(x -> toUInt64(0), p), arrayMap(x -> toUInt8(0), p), arrayMap((x, i) -> at + toIntervalMinute(i), p, arrayEnumerate(p)),
	toDateTime('2100-01-01', 'UTC'), at
FROM (
	SELECT number, sipHash64(number) AS h, ['direct', 'organic_search', 'referral', 'email', 'organic_social'][1 + h % 5] AS c, h % 10 < 4 AS named,
		toString(sipHash64(number, 2) % 5000) AS a, arrayMap(i -> ['/', '/pricing', '/contact', concat('/blog/', toString((h + i) % 300))][1 + (h + i) % 4], range(1 + h % 4)) AS p
	FROM numbers({first:UInt64}, {n:UInt64})
)`

const fillDays = `INSERT INTO accounts_daily (tenant_bucket, company_id, site_id, day, account_id, account_name, visits, human_visits, page_views, score, depth_points, first_seen_day, version, expires_at)
SELECT {bucket:UInt8}, {company:String}, concat('sit_', toString(h % 3)), toDate({from:DateTime64(3, 'UTC')}) + h % 90 AS d, concat('account-', toString(number % 5000), '.nl'), '', 2, 1, 4, h % 101, h % 101, d - h % 40, 1, toDateTime('2100-01-01', 'UTC')
FROM (SELECT number, sipHash64(number, 3) AS h FROM numbers({n:UInt64}))`

func filled(b *testing.B) (*clickhouse.Conn, *Reader) {
	b.Helper()
	ctx := context.Background()
	c := migrated(b)
	perTenant := *benchVisits / 10
	for i := range 10 {
		company := fmt.Sprintf("cmp_%d", i)
		common := []clickhouse.Option{
			clickhouse.Param("bucket", schemas.TenantBucket(company)), clickhouse.Param("company", company), clickhouse.Param("from", from),
			clickhouse.Param("span_ms", (benchDays * 24 * time.Hour).Milliseconds()),
		}
		fill := func(n int, version uint64) {
			for first := 0; first < n; first += fillChunk {
				err := c.Exec(ctx, fillVisits, append(slices.Clone(common), clickhouse.Param("first", i*perTenant+first),
					clickhouse.Param("n", min(fillChunk, n-first)), clickhouse.Param("version", version))...)
				if err != nil {
					b.Fatal(err)
				}
			}
		}
		fill(perTenant, 1)
		fill(perTenant/10, 2)
		if err := c.Exec(ctx, fillDays, append(slices.Clone(common), clickhouse.Param("n", perTenant/10))...); err != nil {
			b.Fatal(err)
		}
	}
	r, err := NewReader(c, tenant("cmp_3"))
	if err != nil {
		b.Fatal(err)
	}
	return c, r
}

// BenchmarkQuestions asks each question about thirty days of one of ten tenants.
func BenchmarkQuestions(b *testing.B) {
	ctx := context.Background()
	c, r := filled(b)
	var bytes, rows uint64
	err := c.QueryRow(ctx, "SELECT sum(bytes_on_disk), sum(rows) FROM system.parts WHERE active AND table = 'visits' AND database = currentDatabase()").Scan(&bytes, &rows)
	if err != nil {
		b.Fatal(err)
	}
	f := Filter{Period: Period{from.AddDate(0, 0, 30), from.AddDate(0, 0, 60)}}
	ask := map[string]func() error{
		"feed":      func() error { _, err := r.LiveFeed(ctx, f, Page{}); return err },
		"companies": func() error { _, err := r.VisitingCompanies(ctx, CompanyFilter{Filter: f}, Page{}); return err },
		"filtered companies": func() error {
			g := CompanyFilter{Filter: f, ScoreMin: 50, Returning: true, Sort: ByScore}
			g.Page, g.Country = "/pricing", "NL"
			_, err := r.VisitingCompanies(ctx, g, Page{})
			return err
		},
		"timeline":  func() error { _, err := r.Timeline(ctx, "account-7.nl", f, Page{}); return err },
		"scores":    func() error { _, err := r.Scores(ctx, "account-7.nl", f, Page{}); return err },
		"pages":     func() error { _, err := r.Pages(ctx, f, Page{}); return err },
		"sources":   func() error { _, err := r.Sources(ctx, f, Page{}); return err },
		"campaigns": func() error { _, err := r.Campaigns(ctx, f, Page{}); return err },
		"devices":   func() error { _, err := r.Devices(ctx, f, Page{}); return err },
		"reasons":   func() error { _, err := r.Reasons(ctx, f, Page{}); return err },
		"consent":   func() error { _, err := r.ConsentRates(ctx, f); return err },
		"funnel":    func() error { _, err := r.Funnel(ctx, f, []string{"/", "/pricing", "/contact"}); return err },
	}
	for name, question := range ask {
		b.Run(name, func(b *testing.B) {
			var took []time.Duration
			for b.Loop() {
				start := time.Now()
				if err := question(); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(start))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)*95/100].Microseconds())/1000, "p95-ms")
			b.ReportMetric(float64(bytes)/float64(rows), "bytes/row")
		})
	}
}
