package sink

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/schemas/metivav1"
	store "github.com/metiva-io/metiva/sink/clickhouse"
)

// accountDayKey names a row of accounts_daily.
type accountDayKey struct {
	company, site, account string
	day                    int32
}

// accountDays are the records of accounts.enriched.
func (w *Worker) accountDays() latest[accountDayKey, *metivav1.AccountDay] {
	return latest[accountDayKey, *metivav1.AccountDay]{
		table: store.TableAccountsDaily,
		read: func(value []byte) (*metivav1.AccountDay, error) {
			a := new(metivav1.AccountDay)
			if err := proto.Unmarshal(value, a); err != nil {
				return a, fmt.Errorf("reading the day of an account: %w", err)
			}
			return a, checkAccountDay(a)
		},
		key: func(a *metivav1.AccountDay) accountDayKey {
			return accountDayKey{a.GetCompanyId(), a.GetSiteId(), a.GetAccountId(), a.GetDay()}
		},
		version: (*metivav1.AccountDay).GetVersion,
		expires: func(a *metivav1.AccountDay) time.Time {
			return w.expiryOf(store.DayStart(a.GetDay()+1).UnixMilli(), a.GetRetentionDays())
		},
		owner:   func(a *metivav1.AccountDay) (string, []byte) { return a.GetCompanyId(), nil },
		insert:  w.deps.Store.InsertAccountDays,
		missing: w.deps.Store.MissingAccountDays,
	}
}

// dayMax is 2100-01-01 in days since 1970, the end of every time the sink takes.
const dayMax = timeMsMax / (24 * 60 * 60 * 1000)

// keyPageHitsMax is that of ScoreRules.
const keyPageHitsMax = 50

// checkAccountDay holds the day of an account to its rules. An error names the
// field, never its value.
func checkAccountDay(a *metivav1.AccountDay) error {
	p := a.GetParts()
	hits := p.GetKeyPages().GetHits()
	fine := len(hits) <= keyPageHitsMax
	for _, h := range hits {
		fine = fine && len(h.GetName()) <= nameBytesMax && h.GetWeight() <= 100
	}
	var points uint32
	for _, n := range []uint32{
		p.GetRecency().GetPoints(), p.GetDepth().GetPoints(), p.GetKeyPages().GetPoints(), p.GetEngagement().GetPoints(), p.GetReturning().GetPoints(),
	} {
		if n > 100 {
			fine = false
		}
		points += min(n, 101)
	}
	for _, rule := range []struct {
		field string
		ok    bool
	}{
		{"company_id", isID(a.GetCompanyId())},
		{"brand_id", a.GetBrandId() == "" || isID(a.GetBrandId())},
		{"site_id", isID(a.GetSiteId())},
		{"account_id", a.GetAccountId() != ""},
		{"names", fits(nameBytesMax, a.GetAccountId(), a.GetName(), a.GetDomain())},
		{"day", a.GetDay() > 0 && a.GetDay() < dayMax},
		{"first_seen_day", a.GetFirstSeenDay() >= 0 && a.GetFirstSeenDay() < dayMax},
		{"country", len(a.GetCountry()) == 0 || len(a.GetCountry()) == 2},
		{"confidence", a.GetConfidence() >= 0 && a.GetConfidence() <= 1},
		{"score", a.GetScore() <= 100 && a.GetScore() == points},
		{"parts", fine},
		{"times", isTime(a.GetFirstAtMs()) && isTime(a.GetLastAtMs())},
		{"retention_days", a.GetRetentionDays() <= retentionDays},
		{"version", a.GetVersion() > 0},
	} {
		if !rule.ok {
			return fmt.Errorf("%w: %s", errEnvelope, rule.field)
		}
	}
	return nil
}
