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
	// CompaniesOnly leaves out the visits of which no company is known.
	CompaniesOnly bool
}

const (
	filterIDsMax       = 200
	filterIDBytesMax   = 64 // what the sink takes
	filterTextBytesMax = 1024
	periodMax          = 5 * 366 * 24 * time.Hour
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

// visitsWhere selects the visits of a filter: the tenant first, which prunes
// partitions and is the order's beginning, then what the filter asks. FINAL leaves
// the newest version of each visit, and none of a removed one. A row past its
// tenant's retention is in the table until a merge takes it out, and in no answer.
const visitsWhere = ` FROM visits FINAL
WHERE tenant_bucket = {bucket:UInt8} AND company_id = {company:String}
AND started_at >= {from:DateTime64(3, 'UTC')} AND started_at < {to:DateTime64(3, 'UTC')}
AND (empty({sites:Array(String)}) OR site_id IN {sites:Array(String)})
AND (empty({brands:Array(String)}) OR brand_id IN {brands:Array(String)})
AND ({country:String} = '' OR country = {country:String})
AND ({channel:String} = '' OR first_channel = {channel:String})
AND ({source:String} = '' OR first_traffic_source = {source:String})
AND ({campaign:String} = '' OR first_campaign_name = {campaign:String})
AND ({page:String} = '' OR if({page_prefix:UInt8} = 1, arrayExists(p -> startsWith(p, {page:String}), page_paths), has(page_paths, {page:String})))
AND page_views >= {page_views_min:UInt32}
AND ({account:String} = '' OR account_id = {account:String})
AND ({companies_only:UInt8} = 0 OR verdict = 'company') AND` + kept

// kept leaves out what is past its tenant's retention.
const kept = ` expires_at > now() `

// ofVisits are the parameters of visitsWhere.
func (r *Reader) ofVisits(f *Filter) ([]clickhouse.Option, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	page, prefix := strings.CutSuffix(f.Page, "*")
	return append(r.of(f.Period),
		clickhouse.Param("sites", orEmpty(f.Sites)), clickhouse.Param("brands", orEmpty(f.Brands)),
		clickhouse.Param("country", f.Country), clickhouse.Param("channel", f.Channel), clickhouse.Param("source", f.Source),
		clickhouse.Param("campaign", f.Campaign), clickhouse.Param("page", page), clickhouse.Param("page_prefix", bit(prefix)),
		clickhouse.Param("page_views_min", f.PageViewsMin), clickhouse.Param("account", f.Account), clickhouse.Param("companies_only", bit(f.CompaniesOnly))), nil
}

// orEmpty renders no ids as the empty array.
func orEmpty(ids []string) []string {
	if ids == nil {
		return []string{}
	}
	return ids
}

// of are the parameters that name the tenant and a period.
func (r *Reader) of(p Period) []clickhouse.Option {
	return []clickhouse.Option{
		clickhouse.Param("bucket", schemas.TenantBucket(r.company)),
		clickhouse.Param("company", r.company),
		clickhouse.Param("from", p.From),
		clickhouse.Param("to", p.To),
	}
}
