package analytics

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/schemas"
)

// Filter says which visits a question is about. The zero value of a field leaves it
// out; several together must all hold.
type Filter struct {
	// Period is of the visits' start.
	Period Period
	// Sites and Brands are ids; none means all of the tenant's.
	Sites  []string
	Brands []string
	// Country is of the visitor's network, ISO 3166-1 alpha-2.
	Country string
	// Channel is the label of a metiva.v1.Channel ("organic_search"), Source a traffic
	// source ("google"), Campaign a campaign's name: of what brought the visitor first.
	Channel  string
	Source   string
	Campaign string
	// Page is a path the visit saw: exact, or with * at its end the beginning of one.
	Page string
	// PageViewsMin leaves out smaller visits.
	PageViewsMin int
	// Account is one visiting company.
	Account string
	// Accounts are some visiting companies, such as those with a tag: tags are the
	// CRM's, so whoever asks resolves them to companies first. None means all; a tag
	// that no company has is no question to ask.
	Accounts []string
	// CompaniesOnly leaves out the visits of which no company is known.
	CompaniesOnly bool
}

const (
	filterIDsMax = 200
	// filterAccountsMax companies of names of usual length fit the megabyte that a
	// statement's parameters may take; filterAccountsBytesMax holds it.
	filterAccountsMax      = 10_000
	filterAccountsBytesMax = 400 << 10
	filterIDBytesMax       = 64 // what the sink takes
	filterTextBytesMax     = 1024
	periodMax              = 5 * 366 * 24 * time.Hour
)

// ErrFilter marks a filter that cannot be asked.
var ErrFilter = errors.New("the filter cannot be asked")

// check bounds what a filter may hold. Values travel as parameters, so this is about
// size and sense, not about what they contain.
func (f *Filter) check() error {
	p := f.Period
	if p.From.IsZero() || p.To.IsZero() || !p.From.Before(p.To) || p.To.Sub(p.From) > periodMax || p.From.Unix() < 0 || p.To.Year() > 2199 {
		return errors.Join(ErrFilter, errors.New("a period begins before it ends, within five years"))
	}
	if len(f.Sites) > filterIDsMax || len(f.Brands) > filterIDsMax {
		return errors.Join(ErrFilter, errors.New("at most 200 sites and 200 brands"))
	}
	// Parameters travel in a URL, of which a server takes 1 MiB.
	for _, id := range slices.Concat(f.Sites, f.Brands) {
		if len(id) > filterIDBytesMax {
			return errors.Join(ErrFilter, errors.New("an id of a site or brand is longer than 64 bytes"))
		}
	}
	if err := checkAccounts(f.Accounts); err != nil {
		return err
	}
	for _, s := range []string{f.Country, f.Channel, f.Source, f.Campaign, f.Page, f.Account} {
		if len(s) > filterTextBytesMax {
			return errors.Join(ErrFilter, errors.New("a value is longer than 1,024 bytes"))
		}
	}
	if f.PageViewsMin < 0 || f.PageViewsMin > 1<<30 {
		return errors.Join(ErrFilter, errors.New("the least number of page views is not one"))
	}
	return nil
}

// checkAccounts bounds a list of companies.
func checkAccounts(accounts []string) error {
	bytes := 0
	for _, account := range accounts {
		if account == "" || len(account) > filterTextBytesMax {
			return errors.Join(ErrFilter, errors.New("a company's id is empty or longer than 1,024 bytes"))
		}
		bytes += len(account)
	}
	if len(accounts) > filterAccountsMax || bytes > filterAccountsBytesMax {
		return errors.Join(ErrFilter, errors.New("at most 10,000 companies, whose ids are 400 KiB together"))
	}
	return nil
}

// condition is a part of a statement with the parameters it names.
type condition struct {
	sql        string
	parameters []clickhouse.Option
}

// conditions joins the conditions of the ones that are asked for. A statement holds no
// others: what ClickHouse takes to understand a condition that folds to nothing is of the
// time of a short question a third (ADR 0047).
func conditions(all ...condition) (sql string, parameters []clickhouse.Option) {
	var b strings.Builder
	b.WriteByte(' ')
	for _, c := range all {
		if c.sql != "" {
			b.WriteString("AND " + c.sql + " ")
			parameters = append(parameters, c.parameters...)
		}
	}
	return b.String(), parameters
}

// isText asks for one value of a column, unless the value is empty.
func isText(sql, parameter, value string) condition {
	if value == "" {
		return condition{}
	}
	return condition{sql, []clickhouse.Option{clickhouse.Param(parameter, value)}}
}

// isOneOf asks for some values of a column, unless there are none.
func isOneOf(sql, parameter string, values []string) condition {
	if len(values) == 0 {
		return condition{}
	}
	return condition{sql, []clickhouse.Option{clickhouse.Param(parameter, values)}}
}

// ofSites is what a filter asks of what was counted, which knows no other filter, and of
// the days of companies.
func (f *Filter) ofSites() (string, []clickhouse.Option) {
	return conditions(f.onSites(), f.onBrands())
}

func (f *Filter) onSites() condition {
	return isOneOf("site_id IN {sites:Array(String)}", "sites", f.Sites)
}

func (f *Filter) onBrands() condition {
	return isOneOf("brand_id IN {brands:Array(String)}", "brands", f.Brands)
}

// visits is what a filter asks of a visit, in the words of keys.go.
func (f *Filter) visits() (string, []clickhouse.Option) {
	path, prefix := strings.CutSuffix(f.Page, "*")
	page := "has(PAGE_PATHS, {page:String})"
	if prefix {
		page = "arrayExists(p -> startsWith(p, {page:String}), PAGE_PATHS)"
	}
	var least, named condition
	if f.PageViewsMin > 0 {
		least = condition{"page_views >= {page_views_min:UInt32}", []clickhouse.Option{clickhouse.Param("page_views_min", f.PageViewsMin)}}
	}
	if f.CompaniesOnly {
		named.sql = "NAMED"
	}
	return conditions(
		f.onSites(), f.onBrands(),
		isText("country = {country:String}", "country", f.Country), isText("first_channel = {channel:String}", "channel", f.Channel),
		isText("first_traffic_source = {source_name:String}", "source_name", f.Source), isText("first_campaign_name = {campaign:String}", "campaign", f.Campaign),
		isText(page, "page", path), least,
		isText("account_id = {account:String}", "account", f.Account), isOneOf("account_id IN {accounts:Array(String)}", "accounts", f.Accounts), named)
}

// kept leaves out what is past its tenant's retention: it is in the table until a merge
// takes it out.
const kept = ` expires_at > now() `

// of are the parameters that name the tenant and a period.
func (r *Reader) of(p Period) []clickhouse.Option {
	return []clickhouse.Option{
		clickhouse.Param("bucket", schemas.TenantBucket(r.company)),
		clickhouse.Param("company", r.company),
		clickhouse.Param("from", p.From),
		clickhouse.Param("to", p.To),
	}
}

// sitesOnly reports whether a filter asks for nothing but sites and brands.
func (f *Filter) sitesOnly() bool {
	return f.Country == "" && f.Channel == "" && f.Source == "" && f.Campaign == "" && f.Page == "" && f.PageViewsMin == 0 &&
		f.Account == "" && len(f.Accounts) == 0 && !f.CompaniesOnly
}
