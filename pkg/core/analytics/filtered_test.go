package analytics

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/metiva-io/metiva/pkg/clickhouse"
)

// filteredBy are filters with what each leaves, said without ClickHouse. The pages of the
// fixture's visits follow from their number.
func filteredBy() map[string]struct {
	f    Filter
	keep func(Visit) bool
} {
	return map[string]struct {
		f    Filter
		keep func(Visit) bool
	}{
		"nothing":           {Filter{}, func(Visit) bool { return true }},
		"site":              {Filter{Sites: []string{"sit_0"}}, func(v Visit) bool { return v.SiteID == "sit_0" }},
		"no such brand":     {Filter{Brands: []string{"brd_2"}}, func(Visit) bool { return false }},
		"country":           {Filter{Country: "DE"}, func(v Visit) bool { return v.Country == "DE" }},
		"channel, campaign": {Filter{Channel: "email", Campaign: "autumn"}, func(v Visit) bool { return v.Channel == "email" && v.Campaign == "autumn" }},
		"source, site":      {Filter{Source: "news", Sites: []string{"sit_1", "sit_9"}}, func(v Visit) bool { return v.Source == "news" && v.SiteID == "sit_1" }},
		"page":              {Filter{Page: "/contact"}, func(v Visit) bool { return v.PageViews >= 3 }},
		"begin of a page":   {Filter{Page: "/bl*", PageViewsMin: 1}, func(v Visit) bool { return v.PageViews >= 4 }},
		"any page":          {Filter{Page: "*"}, func(Visit) bool { return true }},
		"size":              {Filter{PageViewsMin: 3, CompaniesOnly: true}, func(v Visit) bool { return v.PageViews >= 3 && v.AccountID != "" }},
		"account":           {Filter{Account: "tue.nl"}, func(v Visit) bool { return v.AccountID == "tue.nl" }},
		"accounts":          {Filter{Accounts: []string{"ing.nl", "asml.com"}, Country: "NL"}, func(v Visit) bool { return v.Country == "NL" && (v.AccountID == "ing.nl" || v.AccountID == "asml.com") }},
	}
}

// TestFiltersLeaveWhatTheySay compares every filter's answers, of counted days and of the
// rows of today, with what its visits come to.
func TestFiltersLeaveWhatTheySay(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	d := someDays(t)
	d.age()
	d.count()
	period := Period{d.today.AddDate(0, 0, -daysBack), d.today.AddDate(0, 0, 1)}
	feed, err := d.rows.LiveFeed(ctx, Filter{Period: period}, Page{Limit: 500})
	if err != nil || len(feed.Items) != 5*daysBack {
		t.Fatalf("%d visits, %v", len(feed.Items), err)
	}
	for name, by := range filteredBy() {
		by.f.Period = period
		var kept []Visit
		for _, v := range feed.Items {
			if by.keep(v) {
				kept = append(kept, v)
			}
		}
		t.Run(name, func(t *testing.T) {
			sameFeed(t, d.both, by.f, kept)
			sameCompanies(t, d.both, CompanyFilter{Filter: by.f, Sort: CompanySort(len(name) % 4)}, kept)
			sameGroups(t, d.both, by.f, kept)
		})
	}
}

func sameFeed(t *testing.T, r *Reader, f Filter, want []Visit) {
	t.Helper()
	got, err := all(Page{Limit: 20}, func(p Page) (List[Visit], error) { return r.LiveFeed(context.Background(), f, p) })
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("a feed of %d visits, %v; %d are left", len(got), err, len(want))
	}
}

// all asks page by page.
func all[T any](p Page, ask func(Page) (List[T], error)) (out []T, err error) {
	for {
		l, err := ask(p)
		if err != nil {
			return nil, err
		}
		out = append(out, l.Items...)
		if p.After = l.Next; l.Next == "" {
			return out, nil
		}
	}
}

func sameCompanies(t *testing.T, r *Reader, f CompanyFilter, visits []Visit) {
	t.Helper()
	of := make(map[string]VisitingCompany)
	for _, v := range visits {
		if v.AccountID == "" {
			continue
		}
		c, seen := of[v.AccountID]
		if !seen { // the newest visit comes first
			c = VisitingCompany{AccountID: v.AccountID, Name: v.Name, Country: v.Country, FirstSeen: time.Unix(0, 0).UTC()}
		}
		c.Visits, c.PageViews, c.EngagedMs = c.Visits+1, c.PageViews+uint64(v.PageViews), c.EngagedMs+v.EngagedMs
		if v.EndedAt.After(c.LastSeen) {
			c.LastSeen = v.EndedAt
		}
		// Scores are of sit_1, the best of the first day.
		if v.AccountID == "ing.nl" && len(f.Brands) == 0 && (len(f.Sites) == 0 || slices.Contains(f.Sites, "sit_1")) {
			c.Score, c.FirstSeen = daysBack-1, from
		}
		of[v.AccountID] = c
	}
	want := slices.Collect(maps.Values(of))
	order := func(c VisitingCompany) int64 {
		return []int64{ByLastSeen: c.LastSeen.UnixMilli(), ByVisits: int64(c.Visits), ByScore: int64(c.Score), ByPageViews: int64(c.PageViews)}[f.Sort]
	}
	got, err := all(Page{Limit: 2}, func(p Page) (List[VisitingCompany], error) { return r.VisitingCompanies(context.Background(), f, p) })
	if err != nil || !slices.IsSortedFunc(got, func(a, b VisitingCompany) int { return cmp.Compare(order(b), order(a)) }) {
		t.Errorf("in order %d: %+v, %v", f.Sort, got, err)
	}
	byID := func(a, b VisitingCompany) int { return cmp.Compare(a.AccountID, b.AccountID) }
	slices.SortFunc(got, byID)
	slices.SortFunc(want, byID)
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("companies in order %d:\n%+v\nof visits:\n%+v", f.Sort, got, want)
	}
	f.ScoreMin, f.New = 1, !from.Before(f.Period.From)
	f.Returning = !f.New
	list, err := r.VisitingCompanies(context.Background(), f, Page{})
	var scored []VisitingCompany
	for _, c := range want {
		if c.Score > 0 {
			scored = append(scored, c)
		}
	}
	if err != nil || fmt.Sprint(list.Items) != fmt.Sprint(scored) {
		t.Errorf("companies with a score: %+v, %v; of visits: %+v", list.Items, err, scored)
	}
}

func sameGroups(t *testing.T, r *Reader, f Filter, visits []Visit) {
	t.Helper()
	ctx := context.Background()
	channels, countries := make(map[string]uint64), make(map[string]map[string]bool)
	var views uint64
	for _, v := range visits {
		channels[v.Channel]++
		views += uint64(v.PageViews)
		if countries[v.Country] == nil {
			countries[v.Country] = make(map[string]bool)
		}
		if v.AccountID != "" {
			countries[v.Country][v.AccountID] = true
		}
	}
	group := func(ask func(*Reader, context.Context, Filter, Page) (List[GroupCount], error)) map[string]GroupCount {
		got, err := all(Page{Limit: 3}, func(p Page) (List[GroupCount], error) { return ask(r, ctx, f, p) })
		if err != nil {
			t.Fatal(err)
		}
		out := make(map[string]GroupCount)
		for _, g := range got {
			out[g.By[0]] = g
		}
		if len(out) != len(got) {
			t.Errorf("a group is there twice: %+v", got)
		}
		return out
	}
	bySources := group((*Reader).Sources)
	for channel, n := range channels {
		if bySources[channel].Visits != n {
			t.Errorf("%d visits of %s, should be %d", bySources[channel].Visits, channel, n)
		}
	}
	byCountries := group((*Reader).Countries)
	for country, companies := range countries {
		if byCountries[country].Companies != uint64(len(companies)) {
			t.Errorf("%d companies of %s, should be %d", byCountries[country].Companies, country, len(companies))
		}
	}
	if len(bySources) != len(channels) || len(byCountries) != len(countries) {
		t.Errorf("%d channels and %d countries, should be %d and %d", len(bySources), len(byCountries), len(channels), len(countries))
	}
	pages, err := all(Page{Limit: 2}, func(p Page) (List[PageCount], error) { return r.Pages(ctx, f, p) })
	var seen, entries uint64
	for _, p := range pages {
		seen, entries = seen+p.Views, entries+p.Entries
	}
	if err != nil || seen != views || entries != uint64(len(visits)) {
		t.Errorf("%d views and %d entries of pages, %v; should be %d and %d", seen, entries, err, views, len(visits))
	}
}

// TestACompanyWhoseLastVisitWentIsDescribedByAnother: it was removed between the list and
// its description.
func TestACompanyWhoseLastVisitWentIsDescribedByAnother(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	d := someDays(t)
	f := Filter{Period: Period{d.today.AddDate(0, 0, -daysBack), d.today.AddDate(0, 0, 1)}}
	span, options, err := d.both.visitSpan(ctx, &f)
	if err != nil {
		t.Fatal(err)
	}
	span.named = true
	of := make(map[uint64]*listedCompany)
	var numbers []uint64
	for _, account := range []string{"ing.nl", "tue.nl"} {
		var number uint64
		if err := d.c.QueryRow(ctx, "SELECT greatest(xxHash64({a:String}), 1)", clickhouse.Param("a", account)).Scan(&number); err != nil {
			t.Fatal(err)
		}
		of[number] = &listedCompany{lastBegan: d.today.Add(-time.Hour - time.Millisecond)}
		numbers = append(numbers, number)
	}
	if err := d.both.lastVisits(ctx, span, append(options, clickhouse.Param("numbers", numbers)), of); err != nil {
		t.Fatal(err)
	}
	if got := []string{of[numbers[0]].Name, of[numbers[1]].Name}; !slices.Equal(got, []string{"ING.NL", "TUE.NL"}) {
		t.Errorf("companies are described as %q", got)
	}
}
