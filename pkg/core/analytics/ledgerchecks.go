package analytics

import (
	"context"
	"fmt"
	"time"

	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// LedgerCheck is what the comparison of the ledger found of one tenant's hour.
type LedgerCheck struct {
	CompanyID string    `json:"company_id"`
	Hour      time.Time `json:"hour"`
	// Until is where the hour ended for this check: every event before had had its
	// time to be written.
	Until           time.Time `json:"until"`
	Received        uint64    `json:"received"`
	Accepted        uint64    `json:"accepted"`
	DroppedAtEdge   uint64    `json:"dropped_at_edge"`
	Enriched        uint64    `json:"enriched"`
	DroppedByEnrich uint64    `json:"dropped_by_enrich"`
	DroppedBySink   uint64    `json:"dropped_by_sink"`
	Written         uint64    `json:"written"`
	Replayed        uint64    `json:"replayed"`
	Unreported      uint64    `json:"unreported"`
	MissingAtEnrich uint64    `json:"missing_at_enrich"`
	MissingAtSink   uint64    `json:"missing_at_sink"`
	Doubled         uint64    `json:"doubled"`
	Balanced        bool      `json:"balanced"`
	CheckedAt       time.Time `json:"checked_at"`
}

// CheckOf is the check of an hour that a line with a step of an hour tells of.
func CheckOf(l *LedgerLine, until, checkedAt time.Time) LedgerCheck {
	all := func(reasons map[string]uint64) (n uint64) {
		for _, count := range reasons {
			n += count
		}
		return n
	}
	return LedgerCheck{
		CompanyID: l.CompanyID, Hour: l.From, Until: until, CheckedAt: checkedAt,
		Received: l.Received, Accepted: l.Accepted, DroppedAtEdge: all(l.DroppedAtEdge), Enriched: l.Enriched,
		DroppedByEnrich: all(l.DroppedLater[schemas.Label(metivav1.Stage_STAGE_ENRICH)]),
		DroppedBySink:   all(l.DroppedLater[schemas.Label(metivav1.Stage_STAGE_SINK)]),
		Written:         l.Written, Replayed: l.Replayed, Unreported: l.Unreported,
		MissingAtEnrich: l.MissingAtEnrich, MissingAtSink: l.MissingAtSink, Doubled: l.Doubled, Balanced: l.Balanced,
	}
}

// ledgerChecksMax bounds one answer: four months of hours.
const ledgerChecksMax = 3000

// LedgerChecks lists what was found of the tenant's hours of a period, newest first.
func (r *Reader) LedgerChecks(ctx context.Context, p Period) ([]LedgerCheck, error) {
	var out []LedgerCheck
	err := r.each(ctx, `SELECT `+ledgerCheckColumns+` FROM ledger_checks FINAL
WHERE tenant_bucket = {bucket:UInt8} AND company_id = {company:String}
AND hour >= toDateTime({from:DateTime64(3, 'UTC')}) AND hour < {to:DateTime64(3, 'UTC')}
ORDER BY hour DESC LIMIT {limit:UInt32}`,
		func(scan func(...any) error) error {
			c, err := scanLedgerCheck(scan)
			out = append(out, c)
			return err
		}, append(r.of(p), clickhouse.Param("limit", ledgerChecksMax))...)
	if err != nil {
		return nil, fmt.Errorf("listing checks of the ledger: %w", err)
	}
	return out, nil
}

const ledgerCheckColumns = `toString(company_id), hour, until, received, accepted, dropped_at_edge, enriched, dropped_by_enrich, dropped_by_sink, written, replayed,
	unreported, missing_at_enrich, missing_at_sink, doubled, balanced, checked_at`

func scanLedgerCheck(scan func(...any) error) (c LedgerCheck, err error) {
	err = scan(&c.CompanyID, &c.Hour, &c.Until, &c.Received, &c.Accepted, &c.DroppedAtEdge, &c.Enriched, &c.DroppedByEnrich, &c.DroppedBySink, &c.Written, &c.Replayed,
		&c.Unreported, &c.MissingAtEnrich, &c.MissingAtSink, &c.Doubled, &c.Balanced, &c.CheckedAt)
	return c, err
}

// KeptLedgerChecks lists what was found of the hours of a period, of all tenants.
func (o *Operator) KeptLedgerChecks(ctx context.Context, from, to time.Time) ([]LedgerCheck, error) {
	var out []LedgerCheck
	err := o.conn.Each(ctx, `SELECT `+ledgerCheckColumns+` FROM ledger_checks FINAL WHERE hour >= {from:DateTime('UTC')} AND hour < {to:DateTime('UTC')}`,
		func(scan func(...any) error) error {
			c, err := scanLedgerCheck(scan)
			c.Hour, c.Until, c.CheckedAt = c.Hour.UTC(), c.Until.UTC(), c.CheckedAt.UTC()
			out = append(out, c)
			return err
		}, clickhouse.Param("from", from.UTC()), clickhouse.Param("to", to.UTC()))
	if err != nil {
		return nil, fmt.Errorf("reading the checks of the ledger: %w", err)
	}
	return out, nil
}

// KeepLedgerChecks writes checks down. Of one tenant and hour the one checked last
// stands.
func (o *Operator) KeepLedgerChecks(ctx context.Context, checks []LedgerCheck) error {
	if len(checks) == 0 {
		return nil
	}
	column := func(name string, value func(*LedgerCheck) uint64) clickhouse.Column {
		return checkColumn(checks, name, value)
	}
	err := o.conn.Insert(ctx, "ledger_checks", "", []clickhouse.Column{
		checkColumn(checks, "tenant_bucket", func(c *LedgerCheck) uint8 { return schemas.TenantBucket(c.CompanyID) }),
		checkColumn(checks, "company_id", func(c *LedgerCheck) string { return c.CompanyID }),
		checkColumn(checks, "hour", func(c *LedgerCheck) time.Time { return c.Hour }),
		checkColumn(checks, "until", func(c *LedgerCheck) time.Time { return c.Until }),
		column("received", func(c *LedgerCheck) uint64 { return c.Received }),
		column("accepted", func(c *LedgerCheck) uint64 { return c.Accepted }),
		column("dropped_at_edge", func(c *LedgerCheck) uint64 { return c.DroppedAtEdge }),
		column("enriched", func(c *LedgerCheck) uint64 { return c.Enriched }),
		column("dropped_by_enrich", func(c *LedgerCheck) uint64 { return c.DroppedByEnrich }),
		column("dropped_by_sink", func(c *LedgerCheck) uint64 { return c.DroppedBySink }),
		column("written", func(c *LedgerCheck) uint64 { return c.Written }),
		column("replayed", func(c *LedgerCheck) uint64 { return c.Replayed }),
		column("unreported", func(c *LedgerCheck) uint64 { return c.Unreported }),
		column("missing_at_enrich", func(c *LedgerCheck) uint64 { return c.MissingAtEnrich }),
		column("missing_at_sink", func(c *LedgerCheck) uint64 { return c.MissingAtSink }),
		column("doubled", func(c *LedgerCheck) uint64 { return c.Doubled }),
		checkColumn(checks, "balanced", func(c *LedgerCheck) bool { return c.Balanced }),
		checkColumn(checks, "checked_at", func(c *LedgerCheck) time.Time { return c.CheckedAt }),
	})
	if err != nil {
		return fmt.Errorf("keeping checks of the ledger: %w", err)
	}
	return nil
}

func checkColumn[V any](checks []LedgerCheck, name string, value func(*LedgerCheck) V) clickhouse.Column {
	values := make([]V, len(checks))
	for i := range checks {
		values[i] = value(&checks[i])
	}
	return clickhouse.Column{Name: name, Values: values}
}

// HoursToCheck are the hours since a moment that did not balance when they were last
// checked, ascending, and the newest hour that was checked at all; zero without one.
func (o *Operator) HoursToCheck(ctx context.Context, since time.Time) (unbalanced []time.Time, newest time.Time, err error) {
	err = o.conn.Each(ctx, `SELECT hour, min(balanced) FROM ledger_checks FINAL
WHERE hour >= {since:DateTime('UTC')} GROUP BY hour ORDER BY hour`,
		func(scan func(...any) error) error {
			var hour time.Time
			var balanced bool
			if err := scan(&hour, &balanced); err != nil {
				return err
			}
			if !balanced {
				unbalanced = append(unbalanced, hour.UTC())
			}
			newest = hour.UTC()
			return nil
		}, clickhouse.Param("since", since.UTC().Truncate(time.Hour)))
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("reading the checks of the ledger: %w", err)
	}
	return unbalanced, newest, nil
}
