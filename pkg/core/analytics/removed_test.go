package analytics

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/schemas"
)

// TestRemovedStaysRemoved: a visit that was removed, because a late event came to be
// the first of another, stands in no answer and no count, before a merge, after one,
// and when an older version of it is read again behind the merge.
func TestRemovedStaysRemoved(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c := migrated(t)
	r, err := NewReader(c, tenant("cmp_a"))
	if err != nil {
		t.Fatal(err)
	}
	first := visit{company: "cmp_a", n: 1, minutes: 3, account: "ing.nl", pages: []string{"/old"}, version: 7}
	check := func(when string) {
		t.Helper()
		feed, err := r.LiveFeed(ctx, Filter{Period: week()}, Page{})
		if err != nil || !slices.Equal(ids(feed), []string{"ing.nl//new"}) {
			t.Errorf("%s the feed is %v, %v", when, ids(feed), err)
		}
		companies, err := r.VisitingCompanies(ctx, CompanyFilter{Filter: Filter{Period: week()}}, Page{})
		if err != nil || len(companies.Items) != 1 || companies.Items[0].Visits != 1 {
			t.Errorf("%s the companies are %+v, %v", when, companies.Items, err)
		}
		pages, err := r.Pages(ctx, Filter{Period: week()}, Page{})
		if err != nil || len(pages.Items) != 1 || pages.Items[0].Path != "/new" {
			t.Errorf("%s the pages are %+v, %v", when, pages.Items, err)
		}
		scores, err := r.Scores(ctx, "gone.nl", Filter{Period: week()}, Page{})
		if err != nil || len(scores.Items) != 0 {
			t.Errorf("%s the days are %+v, %v", when, scores.Items, err)
		}
	}
	day := func(version, removed int) {
		if err := c.Exec(ctx, `INSERT INTO accounts_daily (tenant_bucket, company_id, site_id, account_id, day, expires_at, score, version, removed)
SELECT {bucket:UInt8}, 'cmp_a', 'sit_1', 'gone.nl', toDate({day:UInt32}), now() + 86400, 50, {version:UInt64}, {removed:UInt8}`,
			clickhouse.Param("bucket", schemas.TenantBucket("cmp_a")), clickhouse.Param("day", int(from.Unix()/86_400)), clickhouse.Param("version", version), clickhouse.Param("removed", removed)); err != nil {
			t.Fatal(err)
		}
	}
	insertVisits(t, c, first)
	insertVisits(t, c,
		visit{company: "cmp_a", n: 1, minutes: 3, account: "ing.nl", version: 8, removed: true},
		visit{company: "cmp_a", n: 2, minutes: 2, account: "ing.nl", pages: []string{"/new"}, version: 8})
	day(1, 0)
	if scores, err := r.Scores(ctx, "gone.nl", Filter{Period: week()}, Page{}); err != nil || len(scores.Items) != 1 {
		t.Fatalf("the day is %+v, %v", scores.Items, err)
	}
	day(2, 1)
	check("before a merge")
	for _, when := range []string{"after a merge", "after a second merge"} {
		for _, table := range []string{"visits", "accounts_daily"} {
			if err := c.Exec(ctx, "OPTIMIZE TABLE "+table+" FINAL"); err != nil {
				t.Fatal(err)
			}
		}
		var rows uint64
		if err := c.QueryRow(ctx, "SELECT count() FROM visits").Scan(&rows); err != nil || rows != 2 {
			t.Fatalf("%s the table holds %d rows, %v: the removal was forgotten", when, rows, err)
		}
		check(when)
		insertVisits(t, c, first)
		day(1, 0)
		check(when + " and an older version")
	}
}
