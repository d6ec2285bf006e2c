package analytics

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/metiva-io/metiva/pkg/clickhouse"
	schema "github.com/metiva-io/metiva/schemas/clickhouse"
)

// Retention is how long a site's rows are kept.
type Retention struct {
	CompanyID, SiteID string
	// Days is 1 to 3,650.
	Days int
}

// Retainer brings the end of rows nearer whose site keeps them a shorter time than
// they were written for. It works across tenants, for jobs and operators, on a
// connection without row filters that may change rows. It never puts an end off: what
// was kept under a promise of so many days is not kept longer by a later one.
type Retainer struct {
	conn *clickhouse.Conn
	now  func() time.Time
}

// NewRetainer makes a retainer.
func NewRetainer(conn *clickhouse.Conn, now func() time.Time) *Retainer {
	return &Retainer{conn: conn, now: now}
}

// Beyond says how many rows of a table and tenant are to be kept longer than their
// site's retention.
type Beyond struct {
	Table     string `json:"table"`
	CompanyID string `json:"company_id"`
	Rows      uint64 `json:"rows"`
	// Over is how many of them are past the site's retention already.
	Over uint64 `json:"over"`
	// First and Last are the days of the rows, UTC.
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
}

// retentionsAtOnce is how many sites one statement is about: a part that is rewritten
// is rewritten once for all of them.
const retentionsAtOnce = 500

const (
	retentionDaysMin = 1
	retentionDaysMax = 3650
)

// siteID is the form of a site's id, which stands in a statement.
var siteID = regexp.MustCompile(`^[a-z0-9_]{1,64}$`)

// ErrRetention marks a retention that cannot be applied.
var ErrRetention = errors.New("the retention cannot be applied")

func checkRetentions(of []Retention) error {
	for _, r := range of {
		if !companyID.MatchString(r.CompanyID) || !siteID.MatchString(r.SiteID) {
			return fmt.Errorf("%w: the id of a tenant or site is not one", ErrRetention)
		}
		if r.Days < retentionDaysMin || r.Days > retentionDaysMax {
			return fmt.Errorf("%w: of site %s it is not %d to %d days", ErrRetention, r.SiteID, retentionDaysMin, retentionDaysMax)
		}
	}
	return nil
}

// kept is what a table's rows are kept by.
type keptTable struct {
	schema.Table
	// day says that the time is a Date, whose rows are kept from the day's end.
	day bool
	// says means that the rows hold the number of days too.
	says bool
}

// RetainedTables are the tables whose rows have a site and a time to go, by name.
// What is made of them follows them: a count of a day is dropped when events of it
// change.
func (k *Retainer) tables(ctx context.Context) ([]keptTable, error) {
	var out []keptTable
	for _, t := range schema.Tables() {
		if t.Kind != schema.Base || t.ExpiresColumn == "" {
			continue
		}
		table := keptTable{Table: t}
		err := k.conn.QueryRow(ctx, `SELECT countIf(name = {time:String} AND type = 'Date') > 0, countIf(name = 'retention_days') > 0
FROM system.columns WHERE database = {database:String} AND table = {table:String}`,
			clickhouse.Param("time", t.TimeColumn), clickhouse.Param("database", k.conn.Database()), clickhouse.Param("table", t.Name)).Scan(&table.day, &table.says)
		if err != nil {
			return nil, fmt.Errorf("looking at the columns of %s: %w", t.Name, err)
		}
		out = append(out, table)
	}
	return out, nil
}

// ends is when a row is no longer kept under its site's retention, as the sink
// reckons it: whole seconds of its time, or the end of its day, and the days. A time
// of 64 bits does not run over.
func (t keptTable) ends(days string) string {
	at := "toDateTime(`" + t.TimeColumn + "`, 'UTC')"
	if t.day {
		at = "toDateTime(`" + t.TimeColumn + "` + 1, 'UTC')"
	}
	return "addDays(toDateTime64(" + at + ", 0, 'UTC'), " + days + ")"
}

// daysOf is the expression of a row's days: 0 for a site that is none of them.
func daysOf(of []Retention) string {
	keys, days := make([]string, len(of)), make([]string, len(of))
	for i, r := range of {
		keys[i], days[i] = "'"+r.CompanyID+"/"+r.SiteID+"'", strconv.Itoa(r.Days)
	}
	return "transform(concat(company_id, '/', site_id), [" + strings.Join(keys, ", ") + "], [" + strings.Join(days, ", ") + "], 0)"
}

// beyond selects the rows whose end is to come nearer. The tenants are the order's
// beginning, so that parts without them are left as they are.
func (t keptTable) beyond(of []Retention) string {
	var companies []string
	for _, r := range of {
		companies = append(companies, "'"+r.CompanyID+"'")
	}
	slices.Sort(companies)
	days := daysOf(of)
	return "company_id IN (" + strings.Join(slices.Compact(companies), ", ") + ") AND " + days + " > 0 AND `" + t.ExpiresColumn + "` > " + t.ends(days)
}

// Beyond counts the rows that are to be kept longer than their site's retention, of
// all versions, by table and tenant. It changes nothing.
func (k *Retainer) Beyond(ctx context.Context, of []Retention) ([]Beyond, error) {
	if err := checkRetentions(of); err != nil {
		return nil, err
	}
	tables, err := k.tables(ctx)
	if err != nil {
		return nil, err
	}
	var out []Beyond
	for part := range slices.Chunk(of, retentionsAtOnce) {
		for _, t := range tables {
			found, err := k.count(ctx, t, part)
			if err != nil {
				return nil, err
			}
			out = append(out, found...)
		}
	}
	return out, nil
}

func (k *Retainer) count(ctx context.Context, t keptTable, of []Retention) ([]Beyond, error) {
	var out []Beyond
	err := k.conn.Each(ctx, "SELECT company_id, count(), countIf("+t.ends(daysOf(of))+" <= {now:DateTime('UTC')}), toDateTime(toDate(min(`"+t.TimeColumn+"`)), 'UTC'), toDateTime(toDate(max(`"+t.TimeColumn+"`)), 'UTC') FROM `"+t.Name+
		"` WHERE "+t.beyond(of)+" GROUP BY company_id ORDER BY company_id",
		func(scan func(...any) error) error {
			b := Beyond{Table: t.Name}
			if err := scan(&b.CompanyID, &b.Rows, &b.Over, &b.First, &b.Last); err != nil {
				return err
			}
			out = append(out, b)
			return nil
		}, clickhouse.Param("now", k.now().UTC().Truncate(time.Second)))
	if err != nil {
		return nil, fmt.Errorf("counting rows of %s beyond their retention: %w", t.Name, err)
	}
	return out, nil
}

// Shorten gives the rows that are to be kept longer than their site's retention the end
// it asks for, and returns what they were. Those that are over are in no answer when it
// returns, and off the disk with ClickHouse's next merge for it (merge_with_ttl_timeout,
// four hours by default). A table without such rows is not touched, so it may be
// repeated, run in several processes at once, and begun anew after a crash.
func (k *Retainer) Shorten(ctx context.Context, of []Retention) ([]Beyond, error) {
	if err := checkRetentions(of); err != nil {
		return nil, err
	}
	tables, err := k.tables(ctx)
	if err != nil {
		return nil, err
	}
	var out []Beyond
	for part := range slices.Chunk(of, retentionsAtOnce) {
		for _, t := range tables {
			found, err := k.count(ctx, t, part)
			if err != nil {
				return out, err
			}
			if len(found) == 0 {
				continue
			}
			if err := k.shorten(ctx, t, part); err != nil {
				return out, err
			}
			out = append(out, found...)
			if err := k.forget(ctx, t, found); err != nil {
				return out, err
			}
		}
	}
	return out, nil
}

// shorten is one mutation. Ids were checked and stand as text, because a mutation
// keeps its text.
func (k *Retainer) shorten(ctx context.Context, t keptTable, of []Retention) error {
	days := daysOf(of)
	set := "`" + t.ExpiresColumn + "` = toDateTime(" + t.ends(days) + ", 'UTC')"
	if t.says {
		set += ", retention_days = toUInt32(" + days + ")"
	}
	err := k.conn.Exec(ctx, "ALTER TABLE `"+t.Name+"` UPDATE "+set+" WHERE "+t.beyond(of), clickhouse.Setting("mutations_sync", 2))
	if err != nil {
		return fmt.Errorf("shortening the retention of %s: %w", t.Name, err)
	}
	return nil
}

// forget drops the counts of days whose rows have another end now: a count is kept as
// long as the first of its rows.
func (k *Retainer) forget(ctx context.Context, t keptTable, found []Beyond) error {
	if len(schema.CountedFrom(t.Name)) == 0 {
		return nil
	}
	counter := NewCounter(k.conn)
	for _, b := range found {
		if err := counter.Forget(ctx, Days{CompanyID: b.CompanyID, First: b.First, Last: b.Last}); err != nil {
			return err
		}
	}
	return nil
}
