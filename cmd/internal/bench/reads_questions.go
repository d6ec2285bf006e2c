package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/metiva-io/metiva/pkg/core/analytics"
)

// readParameters makes the parameters of one ask. They vary from ask to ask and are the
// same in every run.
type readParameters struct {
	rng   *rand.Rand
	n     int
	until time.Time
}

// days is the length of the period: a day, a week, a month or a quarter in turns.
func (p readParameters) days() int { return []int{1, 7, 30, fillDays}[p.n%4] }

// period ends today, or for shorter ones up to some weeks ago at any minute.
func (p readParameters) period() analytics.Period {
	to := p.until
	if days := p.days(); days < fillDays && p.n%8 >= 4 {
		to = to.Add(-time.Duration(p.rng.IntN(30*24*60)) * time.Minute)
	}
	return analytics.Period{From: to.AddDate(0, 0, -p.days()), To: to}
}

// filter is none, for every other ask, or one of those the pages offer.
func (p readParameters) filter() analytics.Filter {
	f := analytics.Filter{Period: p.period()}
	if p.n/4%2 == 0 {
		return f
	}
	switch p.n / 8 % 8 {
	case 0:
		f.Country = "NL"
	case 1:
		f.Channel = "organic_search"
	case 2:
		f.Sites = []string{"sit_1b"}
	case 3:
		f.Source = "linkedin"
	case 4:
		f.Page = "/pricing"
	case 5:
		f.Page = "/blog/*"
	case 6:
		f.CompaniesOnly, f.PageViewsMin = true, 3
	case 7:
		f.Campaign = fmt.Sprintf("campaign %d", p.rng.IntN(40))
	}
	return f
}

// account is one of many visits, or one of few.
func (p readParameters) account() string {
	if p.rng.IntN(2) == 0 {
		return fmt.Sprintf("account-%d.nl", p.rng.IntN(10))
	}
	return fmt.Sprintf("account-%d.nl", p.rng.IntN(20_000))
}

// readQuestion is one typed query of the reader.
type readQuestion struct {
	name string
	ask  func(context.Context, *analytics.Reader, readParameters) error
}

// paged asks for the first page.
func paged[T any](ask func(analytics.Page) (analytics.List[T], error)) error {
	_, err := ask(analytics.Page{})
	return err
}

// readQuestions are all questions a tenant's reader answers.
func readQuestions() []readQuestion {
	type (
		ctxt   = context.Context
		reader = *analytics.Reader
		params = readParameters
		page   = analytics.Page
	)
	group := func(ask func(reader, ctxt, analytics.Filter, page) (analytics.List[analytics.GroupCount], error)) func(ctxt, reader, params) error {
		return func(ctx ctxt, r reader, p params) error {
			f := p.filter()
			return paged(func(at page) (analytics.List[analytics.GroupCount], error) { return ask(r, ctx, f, at) })
		}
	}
	companies := func(change func(*analytics.CompanyFilter, params)) func(ctxt, reader, params) error {
		return func(ctx ctxt, r reader, p params) error {
			f := analytics.CompanyFilter{Filter: p.filter()}
			change(&f, p)
			return paged(func(at page) (analytics.List[analytics.VisitingCompany], error) {
				return r.VisitingCompanies(ctx, f, at)
			})
		}
	}
	return []readQuestion{
		{"live_feed", func(ctx ctxt, r reader, p params) error {
			f := p.filter()
			return paged(func(at page) (analytics.List[analytics.Visit], error) { return r.LiveFeed(ctx, f, at) })
		}},
		{"companies", companies(func(f *analytics.CompanyFilter, p params) { f.Sort = analytics.CompanySort(p.rng.IntN(4)) })},
		{"companies_filtered", companies(func(f *analytics.CompanyFilter, p params) {
			f.ScoreMin, f.Returning, f.New, f.Sort = 10*p.rng.IntN(10), p.n%3 == 0, p.n%3 == 1, analytics.ByScore
		})},
		{"timeline", func(ctx ctxt, r reader, p params) error {
			f, account := analytics.Filter{Period: p.period()}, p.account()
			return paged(func(at page) (analytics.List[analytics.TimelineVisit], error) { return r.Timeline(ctx, account, f, at) })
		}},
		{"scores", func(ctx ctxt, r reader, p params) error {
			f, account := analytics.Filter{Period: p.period()}, p.account()
			return paged(func(at page) (analytics.List[analytics.AccountDay], error) { return r.Scores(ctx, account, f, at) })
		}},
		{"pages", func(ctx ctxt, r reader, p params) error {
			f := p.filter()
			return paged(func(at page) (analytics.List[analytics.PageCount], error) { return r.Pages(ctx, f, at) })
		}},
		{"sources", group((*analytics.Reader).Sources)},
		{"campaigns", group((*analytics.Reader).Campaigns)},
		{"devices", group((*analytics.Reader).Devices)},
		{"countries", group((*analytics.Reader).Countries)},
		{"reasons", group((*analytics.Reader).Reasons)},
		{"consent", func(ctx ctxt, r reader, p params) error { _, err := r.ConsentRates(ctx, p.filter()); return err }},
		{"funnel", func(ctx ctxt, r reader, p params) error {
			_, err := r.Funnel(ctx, p.filter(), []string{"/", "/pricing", "/blog*"}[:1+p.n%3])
			return err
		}},
		{"coverage", func(ctx ctxt, r reader, p params) error { _, err := r.Coverage(ctx, p.period()); return err }},
		{"filtered_bots", func(ctx ctxt, r reader, p params) error { _, err := r.Filtered(ctx, p.period()); return err }},
		{"companies_of_events", func(ctx ctxt, r reader, p params) error { _, err := r.Companies(ctx, p.period(), 100); return err }},
	}
}
