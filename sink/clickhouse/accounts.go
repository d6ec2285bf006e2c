package clickhouse

import (
	"context"
	"time"

	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// InsertAccountDays writes rows into accounts_daily under a deduplication token.
func (s *Store) InsertAccountDays(ctx context.Context, token string, rows []AccountDayRow) error {
	return s.conn.Insert(ctx, TableAccountsDaily, token, accountDayTable().columns(rows))
}

func accountDayTable() *table[AccountDayRow] {
	type day = metivav1.AccountDay
	text := func(name string, value func(*day) string) source[AccountDayRow] {
		return word(name, func(r *AccountDayRow) string { return value(r.Message) })
	}
	number := func(name string, value func(*day) uint32) source[AccountDayRow] {
		return column(name, func(r *AccountDayRow) uint32 { return value(r.Message) })
	}
	date := func(name string, value func(*day) int32) source[AccountDayRow] {
		return column(name, func(r *AccountDayRow) time.Time { return DayStart(value(r.Message)) })
	}
	moment := func(name string, ms func(*day) int64) source[AccountDayRow] {
		return column(name, func(r *AccountDayRow) time.Time { return time.UnixMilli(ms(r.Message)).UTC() })
	}
	sources := []source[AccountDayRow]{
		column("tenant_bucket", func(r *AccountDayRow) uint8 { return schemas.TenantBucket(r.Message.GetCompanyId()) }),
		text("company_id", (*day).GetCompanyId),
		text("brand_id", (*day).GetBrandId),
		text("site_id", (*day).GetSiteId),
		date("day", (*day).GetDay),
		column("account_id", func(r *AccountDayRow) string { return r.Message.GetAccountId() }),
		column("account_name", func(r *AccountDayRow) string { return r.Message.GetName() }),
		column("account_domain", func(r *AccountDayRow) string { return r.Message.GetDomain() }),
		text("country", (*day).GetCountry),
		column("confidence", func(r *AccountDayRow) float32 { return r.Message.GetConfidence() }),
		number("visits", (*day).GetVisits),
		number("human_visits", (*day).GetHumanVisits),
		number("page_views", (*day).GetPageViews),
		column("engaged_ms", func(r *AccountDayRow) uint64 { return r.Message.GetEngagedMs() }),
		column("score", func(r *AccountDayRow) uint8 { return uint8(r.Message.GetScore()) }),
		date("first_seen_day", (*day).GetFirstSeenDay),
		moment("first_at", (*day).GetFirstAtMs),
		moment("last_at", (*day).GetLastAtMs),
		column("version", func(r *AccountDayRow) uint64 { return r.Message.GetVersion() }),
		number("formula", (*day).GetFormula),
		column("removed", func(r *AccountDayRow) uint8 { return flag(r.Message.GetRemoved()) }),
		column("capped", func(r *AccountDayRow) bool { return r.Message.GetCapped() }),
		number("retention_days", (*day).GetRetentionDays),
		column("expires_at", func(r *AccountDayRow) time.Time { return r.ExpiresAt }),
	}
	return &table[AccountDayRow]{append(sources, scoreSources()...)}
}

// scoreSources explain the score.
func scoreSources() []source[AccountDayRow] {
	type parts = metivav1.ScoreParts
	points := func(name string, value func(*parts) uint32) source[AccountDayRow] {
		return column(name, func(r *AccountDayRow) uint8 { return uint8(value(r.Message.GetParts())) })
	}
	number := func(name string, value func(*parts) uint32) source[AccountDayRow] {
		return column(name, func(r *AccountDayRow) uint32 { return value(r.Message.GetParts()) })
	}
	type hit = metivav1.KeyPageHit
	hits := func(r *AccountDayRow) []*hit { return r.Message.GetParts().GetKeyPages().GetHits() }
	return []source[AccountDayRow]{
		points("recency_points", func(p *parts) uint32 { return p.GetRecency().GetPoints() }),
		number("recency_days_since_previous", func(p *parts) uint32 { return p.GetRecency().GetDaysSincePrevious() }),
		points("depth_points", func(p *parts) uint32 { return p.GetDepth().GetPoints() }),
		number("depth_page_views", func(p *parts) uint32 { return p.GetDepth().GetPageViews() }),
		points("key_pages_points", func(p *parts) uint32 { return p.GetKeyPages().GetPoints() }),
		list("key_page_names", hits, (*hit).GetName),
		list("key_page_weights", hits, func(h *hit) uint8 { return uint8(h.GetWeight()) }),
		list("key_page_visits", hits, (*hit).GetVisits),
		points("engagement_points", func(p *parts) uint32 { return p.GetEngagement().GetPoints() }),
		column("engagement_engaged_ms", func(r *AccountDayRow) uint64 { return r.Message.GetParts().GetEngagement().GetEngagedMs() }),
		number("engagement_interactions", func(p *parts) uint32 { return p.GetEngagement().GetInteractions() }),
		points("returning_points", func(p *parts) uint32 { return p.GetReturning().GetPoints() }),
		number("returning_earlier_days", func(p *parts) uint32 { return p.GetReturning().GetEarlierDays() }),
	}
}

func flag(b bool) uint8 {
	if b {
		return 1
	}
	return 0
}
