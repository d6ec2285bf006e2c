package analytics

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/metiva-io/metiva/pkg/clickhouse"
	schema "github.com/metiva-io/metiva/schemas/clickhouse"
)

// TestNothingCountedWhileDaysAreCompactedStands: the migration drops the rows of a
// counting that is under way, which then says that its days stand. It runs on a database
// with data, and twice, as where several processes start.
func TestNothingCountedWhileDaysAreCompactedStands(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	d := someDays(t)
	d.age()
	d.count()
	if events, visits := d.standing(); events != daysBack-1 || visits != daysBack-1 {
		t.Fatalf("%d days of events and %d of visits stand", events, visits)
	}
	exec := func(statements ...string) {
		t.Helper()
		for _, sql := range statements {
			if err := d.c.Exec(ctx, sql, clickhouse.Setting("max_partitions_per_insert_block", 0), clickhouse.Setting("mutations_sync", 2)); err != nil {
				t.Fatal(err)
			}
		}
	}
	exec("CREATE TABLE said AS counted_days", "INSERT INTO said SELECT * FROM counted_days",
		"ALTER TABLE schema_migrations DELETE WHERE version = 15")
	applied, err := clickhouse.Migrate(ctx, d.c, schema.Files, slog.New(slog.DiscardHandler))
	if err != nil || len(applied) != 1 {
		t.Fatalf("%d migrations were applied again: %v", len(applied), err)
	}
	d.same("migrated")
	exec("INSERT INTO counted_days SELECT * FROM said")
	if events, visits := d.standing(); events+visits != 0 {
		t.Errorf("%d days of events and %d of visits stand, whose rows are dropped", events, visits)
	}
	d.same("while a counting ends")
	d.age()
	d.count()
	if events, visits := d.standing(); events != daysBack-1 || visits != daysBack-1 {
		t.Errorf("%d days of events and %d of visits were counted again", events, visits)
	}
	d.same("counted again")
}

// TestGroupsOfOddTextsAreCountedLikeTheirRows: texts that look like the escapes of others
// are groups of their own, in counted days and in rows, page by page.
func TestGroupsOfOddTextsAreCountedLikeTheirRows(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	d := someDays(t)
	texts := []string{"", `\`, `\\`, "\n", `\n`, `\\n`, "a\nb", `a\nb`, "a", "a\n", "\na", "é\x00\t'", strings.Repeat(`\`, 1024)}
	var visits []visit
	for i, text := range texts {
		other := texts[(i+1)%len(texts)]
		for back := range 3 { // of the first day read from rows, of the others counted
			visits = append(visits, visit{
				company: "cmp_a", n: 2000 + 10*i + back, minutes: d.minutes(back, i), account: "odd.nl", pages: []string{text, "/" + text},
				channel: text, source: other, campaign: text, country: text, device: text,
			})
		}
	}
	insertVisits(t, d.c, visits...)
	d.age()
	d.count()
	f := Filter{Period: Period{d.today.AddDate(0, 0, -daysBack), d.today.AddDate(0, 0, 1)}}
	for name, ask := range map[string]func(*Reader, Filter, Page) ([]string, Cursor, error){
		"sources":   groupsOf(ctx, (*Reader).Sources),
		"campaigns": groupsOf(ctx, (*Reader).Campaigns),
		"devices":   groupsOf(ctx, (*Reader).Devices),
		"countries": groupsOf(ctx, (*Reader).Countries),
		"pages": func(r *Reader, f Filter, p Page) (out []string, _ Cursor, _ error) {
			l, err := r.Pages(ctx, f, p)
			for _, c := range l.Items {
				out = append(out, c.Path)
			}
			return out, l.Next, err
		},
	} {
		var answers [][]string
		for _, r := range []*Reader{d.rows, d.both} {
			for _, filter := range []Filter{f, {Period: f.Period, PageViewsMin: 1}} {
				var all []string
				for page := (Page{Limit: 4}); ; {
					got, next, err := ask(r, filter, page)
					if err != nil {
						t.Fatalf("%s: %v", name, err)
					}
					all = append(all, got...)
					if page.After = next; next == "" {
						break
					}
				}
				answers = append(answers, all)
			}
		}
		for _, got := range answers[1:] {
			if !slices.Equal(got, answers[0]) {
				t.Errorf("%s: rows say %q, counted days %q", name, answers[0], got)
			}
		}
		sorted := slices.Sorted(slices.Values(answers[0]))
		if len(slices.Compact(slices.Clone(sorted))) != len(sorted) {
			t.Errorf("%s: a group is there twice: %q", name, sorted)
		}
		for _, text := range texts[1:] { // the fixture puts a usual value for none
			if !slices.ContainsFunc(sorted, func(s string) bool { return strings.Contains(s, text) }) {
				t.Errorf("%s: no group of %.20q", name, text)
			}
		}
	}
}

// groupsOf asks for groups as texts.
func groupsOf(ctx context.Context, question func(*Reader, context.Context, Filter, Page) (List[GroupCount], error)) func(*Reader, Filter, Page) ([]string, Cursor, error) {
	return func(r *Reader, f Filter, p Page) (out []string, _ Cursor, _ error) {
		l, err := question(r, ctx, f, p)
		for _, g := range l.Items {
			out = append(out, strings.Join(g.By, "\x01"))
		}
		return out, l.Next, err
	}
}
