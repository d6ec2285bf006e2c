package analytics

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/schemas"
)

// visit is a row of visits; what is left out has a usual value.
type visit struct {
	company, site, brand string
	n                    int // of its id
	minutes              int // of its start, after from
	account              string
	pages                []string
	channel, source      string
	campaign             string
	country, device      string
	consent              string
	version              uint64
	removed              bool
}

func insertVisits(t testing.TB, c *clickhouse.Conn, visits ...visit) {
	t.Helper()
	columns := map[string]any{}
	add := func(name string, value any) {
		switch v := value.(type) {
		case string:
			s, _ := columns[name].([]string)
			columns[name] = append(s, v)
		case []byte:
			s, _ := columns[name].([][]byte)
			columns[name] = append(s, v)
		case uint8:
			s, _ := columns[name].([]uint8)
			columns[name] = append(s, v)
		case uint32:
			s, _ := columns[name].([]uint32)
			columns[name] = append(s, v)
		case uint64:
			s, _ := columns[name].([]uint64)
			columns[name] = append(s, v)
		case bool:
			s, _ := columns[name].([]bool)
			columns[name] = append(s, v)
		case time.Time:
			s, _ := columns[name].([]time.Time)
			columns[name] = append(s, v)
		case []string:
			s, _ := columns[name].([][]string)
			columns[name] = append(s, v)
		case []uint32:
			s, _ := columns[name].([][]uint32)
			columns[name] = append(s, v)
		case []uint64:
			s, _ := columns[name].([][]uint64)
			columns[name] = append(s, v)
		case []time.Time:
			s, _ := columns[name].([][]time.Time)
			columns[name] = append(s, v)
		default:
			t.Fatalf("column %s of type %T", name, value)
		}
	}
	for _, v := range visits {
		at := from.Add(time.Duration(v.minutes) * time.Minute)
		verdict := "isp"
		if v.account != "" {
			verdict = "company"
		}
		var hosts []string
		var views []uint32
		var engaged []uint64
		var seen []time.Time
		for i := range v.pages {
			hosts, views, engaged = append(hosts, "www.example.nl"), append(views, 1), append(engaged, 1000)
			seen = append(seen, at.Add(time.Duration(i)*time.Minute))
		}
		entry, exit := "", ""
		if len(v.pages) > 0 {
			entry, exit = v.pages[0], v.pages[len(v.pages)-1]
		}
		add("tenant_bucket", schemas.TenantBucket(v.company))
		add("company_id", v.company)
		add("brand_id", cmp.Or(v.brand, "brd_1"))
		add("site_id", cmp.Or(v.site, "sit_1"))
		add("visit_id", []byte(fmt.Sprintf("visit %010d", v.n)))
		add("version", cmp.Or(v.version, 2))
		add("removed", bit(v.removed))
		add("started_at", at)
		add("ended_at", at.Add(time.Duration(len(v.pages))*time.Minute))
		add("page_views", uint32(len(v.pages)))
		add("engaged_ms", uint64(1000*len(v.pages)))
		add("bounce", len(v.pages) < 2)
		add("entry_host", "www.example.nl")
		add("entry_path", entry)
		add("exit_host", "www.example.nl")
		add("exit_path", exit)
		add("first_channel", cmp.Or(v.channel, "direct"))
		add("first_traffic_source", v.source)
		add("first_campaign_name", v.campaign)
		add("device", cmp.Or(v.device, "desktop"))
		add("country", cmp.Or(v.country, "NL"))
		add("consent", cmp.Or(v.consent, "denied"))
		add("verdict", verdict)
		add("account_id", v.account)
		add("account_name", strings.ToUpper(v.account))
		add("page_hosts", hosts)
		add("page_paths", v.pages)
		add("page_view_counts", views)
		add("page_engaged_ms", engaged)
		add("page_first_at", seen)
		add("expires_at", time.Now().AddDate(1, 0, 0))
	}
	insertColumns(t, c, "visits", columns)
}

func insertColumns(t testing.TB, c *clickhouse.Conn, table string, columns map[string]any) {
	t.Helper()
	var list []clickhouse.Column
	for name, values := range columns {
		list = append(list, clickhouse.Column{Name: name, Values: values})
	}
	if err := c.Insert(context.Background(), table, "", list); err != nil {
		t.Fatal(err)
	}
}

// insertDay writes the score of an account on a day, and the day it was first seen.
func insertDay(t testing.TB, c *clickhouse.Conn, company, account string, day, firstSeen int, score uint8) {
	t.Helper()
	insertColumns(t, c, "accounts_daily", map[string]any{
		"tenant_bucket": []uint8{schemas.TenantBucket(company)}, "company_id": []string{company}, "site_id": []string{"sit_1"},
		"day": []time.Time{from.AddDate(0, 0, day)}, "account_id": []string{account}, "score": []uint8{score}, "depth_points": []uint8{score},
		"first_seen_day": []time.Time{from.AddDate(0, 0, firstSeen)}, "version": []uint64{1}, "expires_at": []time.Time{time.Now().AddDate(1, 0, 0)},
		"key_page_names": [][]string{{"pricing"}}, "key_page_weights": [][]uint8{{50}}, "key_page_visits": [][]uint32{{1}},
	})
}

// week is the period of the fixture's rows but for one.
func week() Period { return Period{from, from.AddDate(0, 0, 7)} }

// someVisits are of cmp_a, and look-alikes of cmp_b that nobody of cmp_a may see.
func someVisits(t *testing.T) (*clickhouse.Conn, *Reader) {
	t.Helper()
	c := migrated(t)
	insertVisits(t, c,
		visit{company: "cmp_a", n: 1, minutes: 1, account: "ing.nl", pages: []string{"/", "/pricing"}, channel: "organic_search", source: "google"},
		visit{company: "cmp_a", n: 2, minutes: 2, account: "ing.nl", pages: []string{"/blog/a", "/pricing", "/contact"}, channel: "email", source: "news", campaign: "autumn"},
		visit{company: "cmp_a", n: 3, minutes: 2, account: "tue.nl", pages: []string{"/pricing", "/"}, country: "DE", device: "mobile", consent: "analytics"},
		visit{company: "cmp_a", n: 4, minutes: 4, pages: []string{"/"}, site: "sit_2", brand: "brd_2"},
		visit{company: "cmp_a", n: 5, minutes: 60 * 24, pages: []string{"/"}, channel: "organic_search", source: "google"},
		visit{company: "cmp_a", n: 6, minutes: 5, account: "gone.nl", pages: []string{"/"}},
		visit{company: "cmp_a", n: 6, minutes: 5, account: "gone.nl", version: 3, removed: true},
		visit{company: "cmp_a", n: 1, minutes: 1, account: "", pages: []string{"/"}, version: 1},
		visit{company: "cmp_a", n: 7, minutes: 60 * 24 * 40, account: "late.nl", pages: []string{"/"}},
	)
	for n := range 9 {
		insertVisits(t, c, visit{
			company: "cmp_b", n: n, minutes: n, account: "secret.nl", pages: []string{"/secret", "/pricing"}, channel: "secret_channel", source: "secret",
			campaign: "secret", device: "secret_device", consent: "secret_consent", country: "ZZ",
		})
		insertDay(t, c, "cmp_b", "secret.nl", n, 0, 99)
	}
	insertDay(t, c, "cmp_a", "ing.nl", 0, -30, 40)
	insertDay(t, c, "cmp_a", "ing.nl", 1, -30, 20)
	insertDay(t, c, "cmp_a", "tue.nl", 0, 0, 70)
	r, err := NewReader(c, tenant("cmp_a"))
	if err != nil {
		t.Fatal(err)
	}
	return c, r
}

func ids(l List[Visit]) (out []string) {
	for _, v := range l.Items {
		out = append(out, v.AccountID+"/"+v.EntryPath)
	}
	return out
}

func TestLiveFeed(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	_, r := someVisits(t)
	all := []string{"//", "//", "tue.nl//pricing", "ing.nl//blog/a", "ing.nl//"}
	got, err := r.LiveFeed(ctx, Filter{Period: week()}, Page{})
	if err != nil || !slices.Equal(ids(got), all) || got.Next != "" {
		t.Fatalf("feed %v, %v", ids(got), err)
	}
	first := got.Items[4]
	if first.VisitID != fmt.Sprintf("%x", "visit 0000000001") || first.PageViews != 2 || first.Channel != "organic_search" || !first.StartedAt.Equal(from.Add(time.Minute)) || first.Name != "ING.NL" {
		t.Errorf("visit %+v", first)
	}
	for _, size := range []int{1, 2, 3, 4} { // a page at a time it is the same
		var paged []string
		page := Page{Limit: size}
		for {
			got, err := r.LiveFeed(ctx, Filter{Period: week()}, page)
			if err != nil {
				t.Fatal(err)
			}
			paged = append(paged, ids(got)...)
			if page.After = got.Next; got.Next == "" {
				break
			}
			if len(got.Items) != size {
				t.Errorf("a page of %d has %d visits", size, len(got.Items))
			}
		}
		if !slices.Equal(paged, all) {
			t.Errorf("in pages of %d: %v", size, paged)
		}
	}
	for name, want := range map[string]struct {
		f Filter
		n int
	}{
		"site": {Filter{Sites: []string{"sit_2"}}, 1}, "brand": {Filter{Brands: []string{"brd_1", "brd_3"}}, 4}, "country": {Filter{Country: "DE"}, 1},
		"channel": {Filter{Channel: "organic_search"}, 2}, "source": {Filter{Source: "news"}, 1}, "campaign": {Filter{Campaign: "autumn"}, 1},
		"page": {Filter{Page: "/pricing"}, 3}, "beginning": {Filter{Page: "/blog/*"}, 1}, "size": {Filter{PageViewsMin: 3}, 1},
		"account": {Filter{Account: "ing.nl"}, 2}, "companies": {Filter{CompaniesOnly: true}, 3}, "both": {Filter{Page: "/pricing", Country: "NL"}, 2},
		"injection": {Filter{Country: "NL' OR '1"}, 0}, "another tenant's": {Filter{Account: "secret.nl"}, 0},
	} {
		want.f.Period = week()
		if got, err := r.LiveFeed(ctx, want.f, Page{}); err != nil || len(got.Items) != want.n {
			t.Errorf("%s: %v, %v; want %d", name, ids(got), err, want.n)
		}
	}
}

func TestVisitingCompanies(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	_, r := someVisits(t)
	ask := func(f CompanyFilter) string {
		t.Helper()
		f.Period = week()
		got, err := r.VisitingCompanies(ctx, f, Page{})
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, c := range got.Items {
			out = append(out, fmt.Sprintf("%s %d %d %d", c.AccountID, c.Visits, c.PageViews, c.Score))
		}
		return strings.Join(out, ", ")
	}
	const ing, tue = "ing.nl 2 5 40", "tue.nl 1 2 70"
	for name, want := range map[string]struct {
		f    CompanyFilter
		list string
	}{
		"last seen":        {CompanyFilter{}, ing + ", " + tue},
		"visits":           {CompanyFilter{Sort: ByVisits}, ing + ", " + tue},
		"score":            {CompanyFilter{Sort: ByScore}, tue + ", " + ing},
		"page views":       {CompanyFilter{Sort: ByPageViews}, ing + ", " + tue},
		"score at least":   {CompanyFilter{ScoreMin: 41}, tue},
		"new":              {CompanyFilter{New: true}, tue},
		"returning":        {CompanyFilter{Returning: true}, ing},
		"new or returning": {CompanyFilter{New: true, Returning: true}, ""},
		"page":             {CompanyFilter{Filter: Filter{Page: "/contact"}}, "ing.nl 1 3 40"},
		"country":          {CompanyFilter{Filter: Filter{Country: "DE"}}, tue},
	} {
		if got := ask(want.f); got != want.list {
			t.Errorf("by %s: %q, want %q", name, got, want.list)
		}
	}
	page, err := r.VisitingCompanies(ctx, CompanyFilter{Filter: Filter{Period: week()}, Sort: ByScore}, Page{Limit: 1})
	if err != nil || page.Next == "" {
		t.Fatalf("first page %+v, %v", page, err)
	}
	if tue := page.Items[0]; !tue.FirstSeen.Equal(from) || tue.Country != "DE" || tue.Name != "TUE.NL" {
		t.Errorf("company %+v", tue)
	}
	second, err := r.VisitingCompanies(ctx, CompanyFilter{Filter: Filter{Period: week()}, Sort: ByScore}, Page{Limit: 1, After: page.Next})
	if err != nil || len(second.Items) != 1 || second.Items[0].AccountID != "ing.nl" || second.Next != "" {
		t.Errorf("second page %+v, %v", second, err)
	}
	_, err = r.VisitingCompanies(ctx, CompanyFilter{Filter: Filter{Period: week()}, Sort: ByVisits}, Page{After: page.Next})
	if !errors.Is(err, ErrCursor) {
		t.Errorf("the cursor of another order gives %v", err)
	}
	if _, err := r.VisitingCompanies(ctx, CompanyFilter{Filter: Filter{Period: week()}, Sort: 9}, Page{}); !errors.Is(err, ErrFilter) {
		t.Errorf("an unknown order gives %v", err)
	}
}

func TestTimelineAndScores(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	_, r := someVisits(t)
	got, err := r.Timeline(ctx, "ing.nl", Filter{Period: week()}, Page{})
	if err != nil || len(got.Items) != 2 {
		t.Fatalf("timeline %+v, %v", got, err)
	}
	if v := got.Items[0]; len(v.Pages) != 3 || v.Pages[1] != (SeenPage{"www.example.nl", "/pricing", 1, 1000, from.Add(3 * time.Minute)}) || v.ExitPath != "/contact" {
		t.Errorf("newest visit %+v", v)
	}
	for _, account := range []string{"", strings.Repeat("a", 1025)} {
		if _, err := r.Scores(ctx, account, Filter{Period: week()}, Page{}); !errors.Is(err, ErrFilter) {
			t.Errorf("scores of %d letters give %v", len(account), err)
		}
	}
	if _, err := r.Timeline(ctx, "", Filter{Period: week()}, Page{}); !errors.Is(err, ErrFilter) {
		t.Errorf("no account gives %v", err)
	}
	days, err := r.Scores(ctx, "ing.nl", Filter{Period: week()}, Page{})
	if err != nil || len(days.Items) != 2 || days.Items[0].Score != 20 || days.Items[1].Score != 40 || !days.Items[1].Day.Equal(from) || !slices.Equal(days.Items[0].KeyPages, []string{"pricing"}) {
		t.Errorf("scores %+v, %v", days, err)
	}
	if days, err = r.Scores(ctx, "secret.nl", Filter{Period: week()}, Page{}); err != nil || len(days.Items) != 0 {
		t.Errorf("scores of another tenant's company %+v, %v", days, err)
	}
}

func TestReports(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	c, r := someVisits(t)
	f := Filter{Period: week()}
	book{t, c}.edge("cmp_a", "w", "objected", 3, 11)
	book{t, c}.edge("cmp_b", "w", "objected", 3, 99)
	pages, err := r.Pages(ctx, f, Page{Limit: 2})
	want := []PageCount{{"www.example.nl", "/", 4, 4, 2, 3, 3, 4000}, {"www.example.nl", "/pricing", 3, 3, 2, 1, 1, 3000}}
	if err != nil || !slices.Equal(pages.Items, want) {
		t.Errorf("pages %+v, %v", pages, err)
	}
	if rest, err := r.Pages(ctx, f, Page{After: pages.Next}); err != nil || len(rest.Items) != 2 || rest.Items[0].Path != "/contact" {
		t.Errorf("further pages %+v, %v", rest, err)
	}
	for name, try := range map[string]struct {
		ask  func(context.Context, Filter, Page) (List[GroupCount], error)
		want string
	}{
		"sources":   {r.Sources, "[organic_search google]:2 [direct ]:2 [email news]:1 "},
		"campaigns": {r.Campaigns, "[  ]:4 [  autumn]:1 "},
		"devices":   {r.Devices, "[desktop  ]:4 [mobile  ]:1 "},
		"countries": {r.Countries, "[NL]:4 [DE]:1 "},
		"reasons":   {r.Reasons, "[company]:3 [isp]:2 "},
	} {
		got, err := try.ask(ctx, f, Page{})
		var text strings.Builder
		for _, g := range got.Items {
			fmt.Fprint(&text, g.By, ":", g.Visits, " ")
		}
		if err != nil || text.String() != try.want {
			t.Errorf("%s: %q, %v; want %q", name, text.String(), err, try.want)
		}
	}
	consent, err := r.ConsentRates(ctx, f)
	if err != nil || len(consent) != 2 || consent[0].Visits["denied"] != 3 || consent[0].Visits["analytics"] != 1 || consent[0].Objected != 11 || consent[1].Visits["denied"] != 1 {
		t.Errorf("consent %+v, %v", consent, err)
	}
	funnel, err := r.Funnel(ctx, f, []string{"/blog*", "/pricing", "/contact"})
	if err != nil || fmt.Sprint(funnel) != "[{/blog* 1} {/pricing 1} {/contact 1}]" {
		t.Errorf("funnel %v, %v", funnel, err)
	}
	funnel, err = r.Funnel(ctx, f, []string{"/", "/pricing"}) // one saw them the other way round
	if err != nil || fmt.Sprint(funnel) != "[{/ 4} {/pricing 1}]" {
		t.Errorf("funnel %v, %v", funnel, err)
	}
}

func TestFiltersThatCannotBeAsked(t *testing.T) {
	t.Parallel()
	r, err := NewReader(nil, tenant("cmp_a"))
	if err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]Filter{
		"no period":   {},
		"backwards":   {Period: Period{from, from}},
		"ages":        {Period: Period{from.AddDate(-20, 0, 0), from}},
		"long value":  {Period: week(), Page: strings.Repeat("a", 1025)},
		"many sites":  {Period: week(), Sites: make([]string, 201)},
		"no such few": {Period: week(), PageViewsMin: -1},
		"long site":   {Period: week(), Sites: []string{strings.Repeat("s", 65)}},
		"long brand":  {Period: week(), Brands: []string{"", strings.Repeat("b", 65)}},
	} {
		if _, err := r.LiveFeed(context.Background(), f, Page{}); !errors.Is(err, ErrFilter) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, pages := range [][]string{nil, {""}, slices.Repeat([]string{"/"}, 9)} {
		if _, err := r.Funnel(context.Background(), Filter{Period: week()}, pages); !errors.Is(err, ErrFilter) {
			t.Errorf("a funnel of %d pages: %v", len(pages), err)
		}
	}
	if _, err := r.ConsentRates(context.Background(), Filter{Period: week(), Brands: []string{"brd_1"}}); !errors.Is(err, ErrFilter) {
		t.Errorf("consent of a brand without its sites: %v", err)
	}
}

// TestTooMuch: a question beyond its share ends with an error that says so, and which
// limit it was.
func TestTooMuch(t *testing.T) {
	t.Parallel()
	_, r := someVisits(t)
	var n uint64
	err := r.each(context.Background(), "SELECT count() FROM numbers(400000000) WHERE sipHash64(number) = 0", func(scan func(...any) error) error { return scan(&n) })
	if !errors.Is(err, ErrTooMuch) || !strings.Contains(err.Error(), "more than 200000000 rows") {
		t.Errorf("400 million rows: %v", err)
	}
	for code, limit := range map[int]string{158: "rows", 159: "seconds", 241: "MiB", 201: "quota", 60: ""} {
		if got := limitOf(code); !strings.Contains(got, limit) || (got == "") != (limit == "") {
			t.Errorf("code %d: %q", code, got)
		}
	}
}

func FuzzCursor(f *testing.F) {
	f.Add("visits", string(encodeCursor("visits", position{1, "a\nb"})))
	f.Add("visits", "!!")
	f.Add("", "Cg")
	f.Fuzz(func(t *testing.T, question, text string) {
		p, err := decodeCursor(question, Cursor(text))
		if err != nil {
			return
		}
		again, err := decodeCursor(question, encodeCursor(question, p))
		if err != nil || again != p {
			t.Fatalf("%+v became %+v, %v", p, again, err)
		}
	})
}

func bit(b bool) uint8 {
	if b {
		return 1
	}
	return 0
}
