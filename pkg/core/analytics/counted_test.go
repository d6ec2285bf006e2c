package analytics

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/pkg/waittest"
	schema "github.com/metiva-io/metiva/schemas/clickhouse"
)

// countedDays are some days of rows of two tenants that end with today, so that countings of
// the days before can stand.
type countedDays struct {
	t     *testing.T
	c     *clickhouse.Conn
	rows  *Reader // reads rows only
	both  *Reader
	today time.Time
	asked int
}

const daysBack = 9

func someDays(t *testing.T) *countedDays {
	t.Helper()
	c := migrated(t)
	d := &countedDays{t: t, c: c, today: time.Now().UTC().Truncate(day)}
	for _, r := range []**Reader{&d.rows, &d.both} {
		reader, err := NewReader(c, tenant("cmp_a"))
		if err != nil {
			t.Fatal(err)
		}
		*r = reader
	}
	d.rows.rowsOnly = true
	d.fill("cmp_a", 0)
	d.fill("cmp_b", 500)
	return d
}

// minutes are those of a fixture's rows, which count from another day.
func (d *countedDays) minutes(back, minute int) int {
	return int(d.today.AddDate(0, 0, -back).Sub(from)/time.Minute) + minute
}

func (d *countedDays) fill(company string, first int) {
	d.t.Helper()
	var visits []visit
	var events []event
	for back := range daysBack {
		for i := range 5 {
			n := first + 5*back + i
			account := []string{"ing.nl", "tue.nl", "", "asml.com", ""}[n%5]
			pages := []string{"/", "/pricing", "/contact", "/blog/a"}[:1+n%4]
			v := visit{company: company, n: n, minutes: d.minutes(back, 100*i), account: account, pages: pages, site: fmt.Sprintf("sit_%d", n%2), country: []string{"NL", "DE"}[n%2]}
			v.channel, v.source, v.campaign = []string{"direct", "email"}[i%2], []string{"", "news"}[i%2], []string{"", "autumn"}[i%2]
			visits = append(visits, v)
			verdict := []string{"company", "company", "isp", "company", "bot"}[n%5]
			for page := range pages {
				events = append(events, event{company, verdict, account, account, byte(i), d.minutes(back, 100*i+page), ""})
			}
		}
		if company == "cmp_a" {
			insertDay(d.t, d.c, company, "ing.nl", int(d.today.AddDate(0, 0, -back).Sub(from)/day), 0, uint8(back))
		}
	}
	insertVisits(d.t, d.c, visits...)
	for i := 0; i < len(events); i += 200 {
		insertEvents(d.t, d.c, events[i:min(i+200, len(events))]...)
	}
}

// age makes all days look last written an hour ago, and counted before that.
func (d *countedDays) age() {
	d.t.Helper()
	for _, sql := range []string{
		"CREATE TABLE IF NOT EXISTS aged AS changed_days", "TRUNCATE TABLE aged",
		"INSERT INTO aged SELECT tenant_bucket, company_id, source, day, now64(3) - 3600 FROM changed_days GROUP BY tenant_bucket, company_id, source, day",
		"TRUNCATE TABLE changed_days", "INSERT INTO changed_days SELECT * FROM aged",
		"CREATE TABLE IF NOT EXISTS aged_counts AS counted_days", "TRUNCATE TABLE aged_counts",
		"INSERT INTO aged_counts SELECT tenant_bucket, company_id, source, day, built_at - 7200, expires_at FROM counted_days FINAL",
		"TRUNCATE TABLE counted_days", "INSERT INTO counted_days SELECT * FROM aged_counts",
	} {
		if err := d.c.Exec(context.Background(), sql, clickhouse.Setting("max_partitions_per_insert_block", 0)); err != nil {
			d.t.Fatal(err)
		}
	}
}

func (d *countedDays) count() {
	d.t.Helper()
	for {
		n, err := NewCounter(d.c).Count(context.Background(), 100)
		if err != nil {
			d.t.Fatal(err)
		}
		if n == 0 {
			return
		}
	}
}

// standing is how many whole days of all that have rows stand, by source.
func (d *countedDays) standing() (events, visits int) {
	d.t.Helper()
	p := Period{d.today.AddDate(0, 0, -daysBack), d.today.AddDate(0, 0, 1)}
	for source, n := range map[string]*int{schema.SourceEvents: &events, schema.SourceVisits: &visits} {
		s, err := d.both.divide(context.Background(), source, p)
		if err != nil {
			d.t.Fatal(err)
		}
		*n = len(s.days)
	}
	return events, visits
}

// same asks every question of both readers and compares the answers. Periods and filters
// take turns.
func (d *countedDays) same(when string) {
	d.t.Helper()
	ctx := context.Background()
	periods := []Period{
		{d.today.AddDate(0, 0, -8).Add(90 * time.Minute), d.today.AddDate(0, 0, -2).Add(200 * time.Minute)},
		{d.today.AddDate(0, 0, -daysBack), d.today.AddDate(0, 0, 1)},
		{d.today.AddDate(0, 0, -6), d.today.AddDate(0, 0, -1)},
	}
	filters := []Filter{
		{}, {Sites: []string{"sit_1"}}, {Country: "DE"}, {}, {Page: "/blog/*"}, {Accounts: []string{"ing.nl", "asml.com"}}, {CompaniesOnly: true, PageViewsMin: 2}, {Channel: "email", Campaign: "autumn"},
	}
	for _, name := range slices.Sorted(maps.Keys(everyQuestion(Filter{}, Period{}))) {
		if d.asked++; d.asked%2 == 0 {
			continue // an odd number of questions: the other half is asked next time
		}
		p, f := periods[d.asked%len(periods)], filters[d.asked/2%len(filters)]
		f.Period = p
		ask := everyQuestion(f, p)[name]
		got, err := ask(ctx, d.both)
		want, err2 := ask(ctx, d.rows)
		if err != nil || err2 != nil {
			d.t.Fatalf("%s, %s, filter %+v: %v, %v", when, name, f, err, err2)
		}
		g, _ := json.Marshal(got)
		w, _ := json.Marshal(want)
		if string(g) != string(w) {
			d.t.Fatalf("%s, %s, filter %+v: with counted days\n%s\nfrom rows\n%s", when, name, f, g, w)
		}
	}
}

type question func(context.Context, *Reader) (any, error)

func everyQuestion(f Filter, p Period) map[string]question {
	two := Page{Limit: 2}
	return map[string]question{
		"live feed": func(ctx context.Context, r *Reader) (any, error) { return r.LiveFeed(ctx, f, Page{}) },
		"companies": func(ctx context.Context, r *Reader) (any, error) {
			return r.VisitingCompanies(ctx, CompanyFilter{Filter: f, Sort: ByVisits}, Page{})
		},
		"first companies": func(ctx context.Context, r *Reader) (any, error) {
			return r.VisitingCompanies(ctx, CompanyFilter{Filter: f, ScoreMin: 1}, two)
		},
		"timeline":  func(ctx context.Context, r *Reader) (any, error) { return r.Timeline(ctx, "tue.nl", f, two) },
		"pages":     func(ctx context.Context, r *Reader) (any, error) { return r.Pages(ctx, f, two) },
		"sources":   func(ctx context.Context, r *Reader) (any, error) { return r.Sources(ctx, f, Page{}) },
		"campaigns": func(ctx context.Context, r *Reader) (any, error) { return r.Campaigns(ctx, f, Page{}) },
		"devices":   func(ctx context.Context, r *Reader) (any, error) { return r.Devices(ctx, f, Page{}) },
		"countries": func(ctx context.Context, r *Reader) (any, error) { return r.Countries(ctx, f, Page{}) },
		"reasons":   func(ctx context.Context, r *Reader) (any, error) { return r.Reasons(ctx, f, Page{}) },
		"consent":   func(ctx context.Context, r *Reader) (any, error) { return r.ConsentRates(ctx, f) },
		"funnel": func(ctx context.Context, r *Reader) (any, error) {
			return r.Funnel(ctx, f, []string{"/", "/pricing", "/contact"})
		},
		"coverage":            func(ctx context.Context, r *Reader) (any, error) { return r.Coverage(ctx, p) },
		"filtered":            func(ctx context.Context, r *Reader) (any, error) { return r.Filtered(ctx, p) },
		"companies of events": func(ctx context.Context, r *Reader) (any, error) { return r.Companies(ctx, p, 100) },
	}
}

// TestCountedDaysAnswerLikeTheirRows: whatever is written, replayed or deleted, and
// wherever a counting was cut off, the answers are those of the rows.
func TestCountedDaysAnswerLikeTheirRows(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	d := someDays(t)
	d.same("before anything is counted")
	d.count()
	if events, visits := d.standing(); events+visits != 0 {
		t.Fatalf("%d days of events and %d of visits were counted while they were written", events, visits)
	}
	d.age()
	d.count()
	if events, visits := d.standing(); events != daysBack-1 || visits != daysBack-1 {
		t.Fatalf("%d days of events and %d of visits stand, all but today should", events, visits)
	}
	d.same("counted")

	// A replay: the same events under other verdicts, visits in newer versions, one removed,
	// and late ones.
	insertEvents(t, d.c, event{"cmp_a", "hosting", "", "", 1, d.minutes(3, 101), ""}, event{"cmp_a", "company", "late.nl", "Late", 9, d.minutes(4, 7), ""})
	insertVisits(t, d.c,
		visit{company: "cmp_a", n: 16, site: "sit_0", version: 3, minutes: d.minutes(3, 100), account: "new.nl", pages: []string{"/", "/new"}},
		visit{company: "cmp_a", n: 21, version: 3, minutes: d.minutes(4, 100), removed: true, site: "sit_1"},
		visit{company: "cmp_a", n: 400, minutes: d.minutes(5, 100), account: "late.nl", pages: []string{"/late"}},
	)
	d.same("after a replay")
	if events, visits := d.standing(); events != daysBack-3 || visits != daysBack-4 {
		t.Errorf("%d days of events and %d of visits stand after two and three changed", events, visits)
	}
	d.age()
	// A counting that is cut off before it says that it stands.
	if err := d.c.Exec(ctx, closeVisits, clickhouse.Param("bucket", 0), clickhouse.Param("companies", []string{"cmp_b"}), clickhouse.Param("day", d.today.AddDate(0, 0, -2).Format(time.DateOnly)), clickhouse.Param("built", time.Now())); err != nil {
		t.Fatal(err)
	}
	d.same("while nothing stands")
	d.count()
	d.same("counted again")
	if events, visits := d.standing(); events != daysBack-1 || visits != daysBack-1 {
		t.Errorf("%d days of events and %d of visits stand again", events, visits)
	}
	for _, table := range slices.Concat(schema.CountedFrom(schema.SourceEvents), schema.CountedFrom(schema.SourceVisits)) {
		if table == "counted_days" {
			continue // the newest row stands
		}
		var most uint64
		if err := d.c.QueryRow(ctx, "SELECT max(n) FROM (SELECT uniqExact(built_at) AS n FROM "+table+" GROUP BY company_id, day)").Scan(&most); err != nil || most != 1 {
			t.Errorf("%s holds %d countings of a day, %v", table, most, err)
		}
	}

	// An erasure.
	for table, column := range map[string]string{"events": "received_at", "visits": "started_at"} {
		sql := "ALTER TABLE " + table + " DELETE WHERE company_id = 'cmp_a' AND account_id = 'ing.nl' AND " + column + " < now() - 86400 * 5"
		if err := d.c.Exec(ctx, sql, clickhouse.Setting("mutations_sync", 2)); err != nil {
			t.Fatal(err)
		}
	}
	erased := Days{CompanyID: "cmp_a", First: d.today.AddDate(0, 0, -daysBack), Last: d.today.AddDate(0, 0, -5)}
	for range 2 {
		if err := NewCounter(d.c).Forget(ctx, erased); err != nil {
			t.Fatal(err)
		}
	}
	d.same("after an erasure")
	var left, others uint64
	if err := d.c.QueryRow(ctx, "SELECT countIf(company_id = 'cmp_a' AND day <= today() - 5), countIf(company_id = 'cmp_b' AND day <= today() - 5) FROM closed_visits").Scan(&left, &others); err != nil || left != 0 || others == 0 {
		t.Errorf("%d rows of forgotten days are left, %d of another tenant, %v", left, others, err)
	}
	d.age()
	d.count()
	d.same("counted after an erasure")
}

// TestADayWithoutRowsIsCountedOnce: all of its rows expired or were deleted.
func TestADayWithoutRowsIsCountedOnce(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	d := someDays(t)
	for _, table := range []string{"events", "visits"} {
		if err := d.c.Exec(ctx, "ALTER TABLE "+table+" DELETE WHERE company_id = 'cmp_a'", clickhouse.Setting("mutations_sync", 2)); err != nil {
			t.Fatal(err)
		}
	}
	if err := NewCounter(d.c).Forget(ctx, Days{CompanyID: "cmp_a", First: d.today.AddDate(0, 0, -daysBack), Last: d.today}); err != nil {
		t.Fatal(err)
	}
	d.age()
	for _, want := range []bool{true, false} {
		if n, err := NewCounter(d.c).Count(ctx, 1000); err != nil || (n > 0) != want {
			t.Fatalf("%d days were due: %v", n, err)
		}
	}
	if events, visits := d.standing(); events != daysBack-1 || visits != daysBack-1 {
		t.Errorf("%d days of events and %d of visits stand", events, visits)
	}
	d.same("counted of nothing")
	d.same("counted of nothing")
	insertEvents(t, d.c, event{"cmp_a", "company", "late.nl", "Late", 9, d.minutes(4, 7), ""})
	if events, _ := d.standing(); events != daysBack-2 {
		t.Errorf("%d days of events stand after a late one", events)
	}
}

// TestARepeatedBatchTellsItsDays: a batch that was cut off between its view and its table
// is repeated under its token, perhaps after the day was counted without it.
func TestARepeatedBatchTellsItsDays(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	c := migrated(t)
	insert := func() {
		t.Helper()
		at := time.Now().UTC().Truncate(day).AddDate(0, 0, -3)
		err := c.Insert(ctx, "events", "one token", []clickhouse.Column{
			{Name: "company_id", Values: []string{"cmp_a"}}, {Name: "received_at", Values: []time.Time{at}}, {Name: "expires_at", Values: []time.Time{at.AddDate(1, 0, 0)}},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	changed := func() (at time.Time, events uint64) {
		t.Helper()
		if err := c.QueryRow(ctx, "SELECT max(changed_at), (SELECT count() FROM events) FROM changed_days WHERE source = 'events'").Scan(&at, &events); err != nil {
			t.Fatal(err)
		}
		return at, events
	}
	insert()
	before, _ := changed()
	// As if only the view's part were on disk.
	if err := c.Exec(ctx, "ALTER TABLE events DROP PARTITION ALL"); err != nil {
		t.Fatal(err)
	}
	insert()
	if after, events := changed(); events != 1 || !after.After(before) {
		t.Errorf("%d events were written again, and their day was told at %s and %s", events, before, after)
	}
}

// TestADayStandsUntilItsFirstRowExpires: then the rest of its rows are read again.
func TestADayStandsUntilItsFirstRowExpires(t *testing.T) {
	t.Parallel()
	d := someDays(t)
	d.age()
	d.count()
	_, before := d.standing()
	err := d.c.Exec(context.Background(), "INSERT INTO counted_days (tenant_bucket, company_id, source, day, built_at, expires_at) SELECT tenant_bucket, company_id, source, day, built_at + 1, now() + 1 FROM counted_days WHERE source = 'visits' AND day = today() - 3")
	if err != nil {
		t.Fatal(err)
	}
	waittest.Until(t, 20*time.Second, "the day to stand no longer", func() bool { _, after := d.standing(); return after == before-1 })
}

func TestDivided(t *testing.T) {
	t.Parallel()
	at := func(days float64) time.Time { return from.Add(time.Duration(days * float64(day))) }
	standing := func(days ...int) map[time.Time]uint64 {
		out := make(map[time.Time]uint64)
		for _, n := range days {
			out[at(float64(n))] = 1
		}
		return out
	}
	every := make([]int, 40)
	var second []int
	for i := range every {
		every[i] = i
		if i%2 == 1 {
			second = append(second, i)
		}
	}
	for name, want := range map[string]struct {
		p        Period
		standing map[time.Time]uint64
		days     int
		open     []Period
	}{
		"none":        {Period{at(0), at(4)}, standing(), 0, []Period{{at(0), at(4)}}},
		"all":         {Period{at(0), at(4)}, standing(every...), 4, nil},
		"within days": {Period{at(0.5), at(4.5)}, standing(every...), 3, []Period{{at(0.5), at(1)}, {at(4), at(4.5)}}},
		"a gap":       {Period{at(0), at(5)}, standing(0, 1, 3), 3, []Period{{at(2), at(3)}, {at(4), at(5)}}},
		"outside":     {Period{at(10), at(14)}, standing(9, 14), 0, []Period{{at(10), at(14)}}},
	} {
		got := divided(want.p, want.standing)
		if len(got.days) != want.days || len(got.countings) != want.days || !slices.Equal(got.open, want.open) {
			t.Errorf("%s: %+v", name, got)
		}
	}
	// Many pieces: the shortest runs are read from rows too, and nothing is lost.
	got := divided(Period{at(0), at(40)}, standing(second...))
	if len(got.open) > spanPartsMax || len(got.days) != spanPartsMax-1 {
		t.Errorf("%d pieces and %d days of %d", len(got.open), len(got.days), len(second))
	}
	total := time.Duration(len(got.days)) * day
	for _, p := range got.open {
		total += p.To.Sub(p.From)
	}
	if total != 40*day {
		t.Errorf("the pieces are %s of forty days", total)
	}
}
