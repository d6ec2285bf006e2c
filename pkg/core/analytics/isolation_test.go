package analytics

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	schema "github.com/metiva-io/metiva/schemas/clickhouse"
)

// isolationSets is how many sets of parameters TestNoQuestionReachesAnotherTenant
// asks with; `make isolation` asks with 10,000.
var isolationSets = flag.Int("isolation-sets", 150, "sets of parameters to reach another tenant with")

// hostile are values that would matter if one of them became part of a statement,
// and the other tenant's own.
func hostile() []string {
	return []string{
		"", "secret", "secret.nl", "secret_channel", "/secret", "/sec*", "*", "ZZ", "sit_1", "brd_1", "cmp_b",
		"' OR company_id = 'cmp_b", "') OR ('1' = '1", `\' OR 1=1 -- `, "x' UNION ALL SELECT * FROM visits WHERE company_id = 'cmp_b' -- ",
		"'] OR has(['", "1) SETTINGS additional_table_filters = {} -- ", "{company:String}", "\x00", "\n", "\t", "%", "_", "ing.nl", "/pricing", "日本",
		"' UNION ALL SELECT * FROM remote('127.0.0.1', metiva.visits) -- ", "') OR (SELECT count() FROM url('http://127.0.0.1/', CSV)) > 0 -- ", "x' FORMAT JSON SETTINGS readonly = 0 -- ",
		"' || (SELECT any(account_id) FROM merge('metiva', 'visits')) || '", "*/ FROM visits /*", "`", "$$", "\\N", "NULL",
	}
}

type guess struct{ rng *rand.Rand }

func (g guess) text() string { return hostile()[g.rng.IntN(len(hostile()))] }

func (g guess) texts() []string {
	out := make([]string, g.rng.IntN(3))
	for i := range out {
		out[i] = g.text()
	}
	return out
}

func (g guess) some(text string) string {
	if g.rng.IntN(3) > 0 {
		return ""
	}
	return text
}

func (g guess) filter() Filter {
	f := Filter{
		Period:  Period{from.AddDate(0, 0, -g.rng.IntN(3)), from.AddDate(0, 0, 1+g.rng.IntN(60))},
		Country: g.some(g.text()), Channel: g.some(g.text()), Source: g.some(g.text()), Campaign: g.some(g.text()), Page: g.some(g.text()), Account: g.some(g.text()),
		PageViewsMin: g.rng.IntN(2), CompaniesOnly: g.rng.IntN(2) == 0,
	}
	if g.rng.IntN(3) == 0 {
		f.Sites = g.texts()
	}
	if g.rng.IntN(3) == 0 {
		f.Brands = g.texts()
	}
	if g.rng.IntN(3) == 0 {
		f.Accounts = g.texts()
	}
	return f
}

func (g guess) page(question string) Page {
	p := Page{Limit: g.rng.IntN(600) - 50}
	switch g.rng.IntN(4) {
	case 0:
		p.After = Cursor(g.text())
	case 1:
		p.After = encodeCursor(question, position{g.rng.Int64(), g.text()})
	}
	return p
}

// ask puts one of the questions, with guessed parameters.
func (g guess) ask(ctx context.Context, r *Reader) (what string, answer any, err error) {
	f := g.filter()
	period := f.Period
	switch g.rng.IntN(17) {
	case 0:
		answer, err = r.LiveFeed(ctx, f, g.page("visits"))
		return "live feed", answer, err
	case 1:
		sort := CompanySort(g.rng.IntN(6) - 1)
		answer, err = r.VisitingCompanies(ctx, CompanyFilter{Filter: f, ScoreMin: g.rng.IntN(103) - 1, New: g.rng.IntN(4) == 0, Returning: g.rng.IntN(4) == 0, Sort: sort}, g.page(fmt.Sprintf("companies %d", sort)))
		return "companies", answer, err
	case 2:
		answer, err = r.Timeline(ctx, g.text(), f, g.page("timeline"))
		return "timeline", answer, err
	case 3:
		answer, err = r.Scores(ctx, g.text(), f, g.page("scores"))
		return "scores", answer, err
	case 4:
		answer, err = r.Pages(ctx, f, g.page("pages"))
		return "pages", answer, err
	case 5:
		answer, err = r.Sources(ctx, f, g.page("sources"))
		return "sources", answer, err
	case 6:
		answer, err = r.Campaigns(ctx, f, g.page("campaigns"))
		return "campaigns", answer, err
	case 7:
		answer, err = r.Devices(ctx, f, g.page("devices"))
		return "devices", answer, err
	case 8:
		answer, err = r.Countries(ctx, f, g.page("countries"))
		return "countries", answer, err
	case 9:
		answer, err = r.Reasons(ctx, f, g.page("reasons"))
		return "reasons", answer, err
	case 10:
		answer, err = r.ConsentRates(ctx, f)
		return "consent", answer, err
	case 11:
		answer, err = r.Funnel(ctx, f, append(g.texts(), g.text()))
		return "funnel", answer, err
	case 12:
		answer, err = r.Companies(ctx, period, 1+g.rng.IntN(1000))
		return "companies of events", answer, err
	case 13:
		answer, err = r.Coverage(ctx, period)
		return "coverage", answer, err
	case 14:
		answer, err = r.Ledger(ctx, LedgerQuestion{From: period.From, To: period.To, Company: g.text(), Step: time.Duration(g.rng.IntN(3)) * time.Hour})
		return "ledger", answer, err
	case 15:
		answer, err = r.LedgerChecks(ctx, period)
		return "ledger checks", answer, err
	default:
		answer, err = r.Filtered(ctx, period)
		return "filtered", answer, err
	}
}

// markOfAnother is in every text of cmp_b's rows and in none of cmp_a's.
const markOfAnother = "secret"

// TestNoQuestionReachesAnotherTenant puts every question as cmp_a, with the other
// tenant's values and with text that tries to leave its parameter. No answer holds
// anything of cmp_b: neither its texts nor its rows in a count, because cmp_a has no
// row that answers like theirs.
func TestNoQuestionReachesAnotherTenant(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Minute)
	defer cancel()
	c, r := someVisits(t)
	insertEvents(t, c,
		event{"cmp_a", "company", "ing.nl", "ING", 1, 1, ""},
		event{"cmp_b", "company", "secret.nl", "Secret", 7, 1, ""}, event{"cmp_b", "bot", "", "", 8, 1, ""}, event{"cmp_b", "secret_verdict", "", "", 9, 1, ""},
	)
	for range 9 {
		book{t, c}.edge("cmp_b", "secret", "objected", 3, 1_000_003)
	}
	if err := NewOperator(c).KeepLedgerChecks(ctx, []LedgerCheck{{CompanyID: "cmp_b", Hour: from, Received: 1_000_003, CheckedAt: from}}); err != nil {
		t.Fatal(err)
	}
	// Days that are over are read from their countings.
	days := &countedDays{t: t, c: c}
	days.age()
	days.count()
	// What is looked for is there to be found.
	other, err := NewReader(c, tenant("cmp_b"))
	if err != nil {
		t.Fatal(err)
	}
	if own, err := other.LiveFeed(ctx, Filter{Period: week()}, Page{}); err != nil || len(own.Items) == 0 || own.Items[0].AccountID != "secret.nl" {
		t.Fatalf("cmp_b sees of its own %+v, %v", own, err)
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	g := guess{rand.New(rand.NewPCG(seed, 5))}
	answered := map[string]int{}
	for range *isolationSets {
		what, answer, err := g.ask(ctx, r)
		switch {
		case errors.Is(err, ErrFilter), errors.Is(err, ErrCursor):
			continue
		case err != nil:
			t.Fatalf("%s: %v", what, err)
		}
		answered[what]++
		raw, err := json.Marshal(answer)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.ToLower(string(raw))
		if steps, ok := answer.([]FunnelStep); ok {
			// It gives back the pages it was asked for; cmp_a has seven visits in all.
			for _, step := range steps {
				if strings.HasPrefix(step.Page, "/sec") && step.Visits > 0 || step.Visits > 7 {
					t.Fatalf("a funnel counts another tenant's visits: %s", text)
				}
			}
			continue
		}
		if strings.Contains(text, markOfAnother) || strings.Contains(text, "1000003") || strings.Contains(text, `"zz"`) {
			t.Fatalf("%s answers with another tenant's rows: %s", what, text)
		}
	}
	if len(answered) < 15 && *isolationSets >= 300 {
		t.Errorf("only these were answered: %v", answered)
	}
	t.Logf("answered: %v", answered)
}

// TestTheNetIsUnderEveryTable: whatever table has rows of tenants, a statement that
// forgets its predicate sees those of one, in joins and sub-queries too.
func TestTheNetIsUnderEveryTable(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, r := someVisits(t)
	for _, listed := range schema.Tables() {
		table := listed.Name
		// A row of each tenant, whatever else it holds.
		for i, company := range []string{"cmp_a", "cmp_b"} {
			columns, values := "company_id, site_id", fmt.Sprintf("'%s', 'sit_%d'", company, i)
			if table == "accounts_daily" {
				columns, values = columns+", account_id, day, expires_at, version", values+", 'x.nl', today(), now() + 86400, 1"
			}
			switch table {
			case "visits":
				columns, values = columns+", started_at, expires_at, version", values+", now64(3), now() + 86400, 1"
			case "events":
				columns, values = columns+", received_at, expires_at", values+", now64(3), now() + 86400"
			case "drops":
				columns, values = columns+", received_at", values+", now64(3)"
			case "changed_days", "counted_days":
				columns, values = "company_id, day", fmt.Sprintf("'%s', today()", company)
				if table == "counted_days" {
					columns, values = columns+", expires_at", values+", now() + 86400"
				}
			case "traffic_daily":
				columns, values = columns+", day, expires_at", values+", today(), now() + 86400"
			case "ledger_checks":
				columns, values = "company_id, hour", fmt.Sprintf("'%s', now()", company)
			case "ledger_edge":
				columns, values = columns+", minute", values+", now()"
			}
			if err := c.Exec(ctx, "INSERT INTO "+table+" ("+columns+") SELECT "+values); err != nil {
				t.Fatal(err)
			}
		}
		var all, own uint64
		if err := c.QueryRow(ctx, "SELECT count(), countIf(company_id = 'cmp_a') FROM "+table+" FINAL").Scan(&all, &own); err != nil || own == 0 || own == all {
			t.Fatalf("%s has %d rows, %d of cmp_a, %v", table, all, own, err)
		}
		for _, sql := range []string{
			"SELECT count(), countIf(company_id = 'cmp_a') FROM " + table + " FINAL",
			"SELECT count(), countIf(company_id = 'cmp_a') FROM " + c.Database() + "." + table + " AS x FINAL",
			"SELECT count(), countIf(company_id = 'cmp_a') FROM (SELECT * FROM " + table + " FINAL)",
			"SELECT count(), countIf(a.company_id = 'cmp_a' AND b.company_id = 'cmp_a') FROM (SELECT * FROM " + table + " FINAL LIMIT 1 BY company_id) AS a CROSS JOIN (SELECT * FROM " + table + " FINAL) AS b",
			"SELECT count(), countIf(company_id = 'cmp_a') FROM " + table + " FINAL WHERE company_id IN (SELECT company_id FROM " + table + " FINAL)",
		} {
			var seen, mine uint64
			if err := r.each(ctx, sql, func(scan func(...any) error) error { return scan(&seen, &mine) }); err != nil || seen != own || mine != own {
				t.Errorf("%s sees %d rows, %d its own, of %d: %v", sql, seen, mine, own, err)
			}
		}
	}
}
