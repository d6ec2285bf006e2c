package analytics

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/metiva-io/metiva/pkg/clickhouse"
	schema "github.com/metiva-io/metiva/schemas/clickhouse"
)

const (
	day = 24 * time.Hour
	// spanMin is the shortest period that is divided: for less, asking which days stand
	// takes longer than reading the rows.
	spanMin = 3 * day
	// spanPartsMax bounds the pieces of a period that are read from rows, and with them
	// the text of a statement.
	spanPartsMax = 8
)

// span is a period, divided into days that stand and what is left.
type span struct {
	// days are the days that stand, in order, and countings theirs, of one length.
	days      []time.Time
	countings []uint64
	// open are the pieces that are read from rows, in order.
	open []Period
}

// standingSQL finds the days of a period whose counting stands: it began the margin after
// the last write.
const standingSQL = `SELECT toUInt16(day), toUnixTimestamp64Milli(max(built)) FROM (
	SELECT day, built_at AS built, expires_at, toDateTime64(0, 3, 'UTC') AS changed FROM counted_days
	WHERE tenant_bucket = {bucket:UInt8} AND company_id = {company:String} AND source = {source:String}
	AND day >= toDate({from:DateTime64(3, 'UTC')}) AND day <= toDate({to:DateTime64(3, 'UTC')})
	UNION ALL
	SELECT day, toDateTime64(0, 3, 'UTC'), toDateTime(0, 'UTC'), changed_at FROM changed_days
	WHERE tenant_bucket = {bucket:UInt8} AND company_id = {company:String} AND source = {source:String}
	AND day >= toDate({from:DateTime64(3, 'UTC')}) AND day <= toDate({to:DateTime64(3, 'UTC')})
) GROUP BY day HAVING max(built) > max(changed) + {margin:UInt32} AND max(changed) > toDateTime64(0, 3, 'UTC') AND argMax(expires_at, built) > now()`

// countingDayShift makes room for milliseconds since 1970 under a day's number: the
// column counting, by which the rows of a counting are found.
const countingDayShift = 44

// divide asks which days of a period stand.
func (r *Reader) divide(ctx context.Context, source string, p Period) (span, error) {
	whole := span{open: []Period{p}}
	if p.To.Sub(p.From) < spanMin || r.rowsOnly {
		return whole, nil
	}
	standing := make(map[time.Time]uint64)
	err := r.each(ctx, standingSQL, func(scan func(...any) error) error {
		var number uint16
		var built int64
		if err := scan(&number, &built); err != nil {
			return err
		}
		standing[time.Unix(0, 0).UTC().AddDate(0, 0, int(number))] = uint64(number)<<countingDayShift | uint64(built)
		return nil
	}, append(r.of(p), clickhouse.Param("source", source), clickhouse.Param("margin", countMarginSeconds))...)
	if err != nil {
		return span{}, fmt.Errorf("finding the days that were counted: %w", err)
	}
	return divided(p, standing), nil
}

// divided takes the whole days of a period that stand, and leaves the rest in at most
// spanPartsMax pieces: between more of them the shortest runs of days are read from
// rows too.
func divided(p Period, standing map[time.Time]uint64) span {
	from, to := p.From.UTC(), p.To.UTC()
	first := from.Truncate(day)
	if first.Before(from) {
		first = first.Add(day)
	}
	var runs []Period // of standing days
	for at := first; !at.Add(day).After(to); at = at.Add(day) {
		if standing[at] == 0 {
			continue
		}
		if n := len(runs); n > 0 && runs[n-1].To.Equal(at) {
			runs[n-1].To = at.Add(day)
		} else {
			runs = append(runs, Period{at, at.Add(day)})
		}
	}
	// The pieces beside n runs are n+1, some of them empty.
	for len(runs) >= spanPartsMax {
		shortest := 0
		for i, run := range runs {
			if run.To.Sub(run.From) < runs[shortest].To.Sub(runs[shortest].From) {
				shortest = i
			}
		}
		runs = slices.Delete(runs, shortest, shortest+1)
	}
	var s span
	rest := from
	for _, run := range runs {
		if rest.Before(run.From) {
			s.open = append(s.open, Period{rest, run.From})
		}
		for at := run.From; at.Before(run.To); at = at.Add(day) {
			s.days, s.countings = append(s.days, at), append(s.countings, standing[at])
		}
		rest = run.To
	}
	if rest.Before(to) {
		s.open = append(s.open, Period{rest, to})
	}
	return s
}

// at leaves only the days and pieces in which one of some moments lies.
func (s span) at(moments []time.Time) span {
	within := func(from, to time.Time) bool {
		return slices.ContainsFunc(moments, func(at time.Time) bool { return !at.Before(from) && at.Before(to) })
	}
	var out span
	for i, begins := range s.days {
		if within(begins, begins.Add(day)) {
			out.days, out.countings = append(out.days, begins), append(out.countings, s.countings[i])
		}
	}
	for _, p := range s.open {
		if within(p.From, p.To) {
			out.open = append(out.open, p)
		}
	}
	return out
}

// ofTenant is the condition every statement states itself: bucket prunes partitions,
// company the order.
const ofTenant = ` tenant_bucket = {bucket:UInt8} AND company_id = {company:String}`

// ofStanding selects the countings of a span's days. The days themselves only choose parts.
const ofStanding = ofTenant + ` AND counting IN {countings:Array(UInt64)} AND indexHint(day >= {first_day:Date} AND day <= {last_day:Date})`

// ofOpen selects the rows of a span's open pieces by their time.
func (s span) ofOpen(column string) string {
	pieces := make([]string, len(s.open))
	for i := range s.open {
		n := strconv.Itoa(i)
		pieces[i] = column + ` >= {from_` + n + `:DateTime64(3, 'UTC')} AND ` + column + ` < {to_` + n + `:DateTime64(3, 'UTC')}`
	}
	return ofTenant + " AND (" + strings.Join(pieces, " OR ") + ") AND" + kept
}

// options are the parameters of ofStanding and ofOpen.
func (s span) options() []clickhouse.Option {
	var options []clickhouse.Option
	if n := len(s.days); n > 0 {
		options = append(options, clickhouse.Param("countings", s.countings),
			clickhouse.Param("first_day", s.days[0].Format(time.DateOnly)), clickhouse.Param("last_day", s.days[n-1].Format(time.DateOnly)))
	}
	for i, p := range s.open {
		n := strconv.Itoa(i)
		options = append(options, clickhouse.Param("from_"+n, p.From), clickhouse.Param("to_"+n, p.To))
	}
	return options
}

// union puts a statement about the standing days and one about the open pieces
// together, or takes the one that is needed.
func (s span) union(standing, open string) string {
	switch {
	case len(s.days) == 0:
		return open
	case len(s.open) == 0:
		return standing
	}
	return standing + "\nUNION ALL\n" + open
}

// visitSpan is a span of visits with a filter.
type visitSpan struct {
	span
	// filter is what is asked of a visit, and sites what of it is asked of counted days.
	filter, sites string
	// named says that the filter leaves visits of companies only.
	named bool
}

func (r *Reader) visitSpan(ctx context.Context, f *Filter) (visitSpan, []clickhouse.Option, error) {
	if err := f.check(); err != nil {
		return visitSpan{}, nil, err
	}
	s, err := r.divide(ctx, schema.SourceVisits, f.Period)
	if err != nil {
		return visitSpan{}, nil, err
	}
	out := visitSpan{span: s, named: f.CompaniesOnly || f.Account != "" || len(f.Accounts) > 0}
	var parameters []clickhouse.Option
	out.filter, parameters = f.visits()
	out.sites, _ = f.ofSites()
	return out, slices.Concat(r.of(f.Period), parameters, s.options()), nil
}

// of asks a statement of the visits of the span: head is what comes before FROM, tail
// what comes behind the filter. In both, words in capitals stand for what closed_visits
// holds and visits does not (keys.go).
func (s visitSpan) of(head, tail string) string { return s.join(head, "", tail) }

func (s visitSpan) join(head, arrays, tail string) string {
	return s.union(s.closed(head, arrays, tail), s.rows(head, arrays, tail))
}

// closed asks the standing days: a visit is there once.
func (s visitSpan) closed(head, arrays, tail string) string {
	named := ""
	if s.named {
		named = " AND named = 1"
	}
	return inClosed().Replace(head + " FROM closed_visits " + arrays + " WHERE" + ofStanding + named + s.filter + tail)
}

// rows asks the open pieces. FINAL leaves the newest version of each visit, and none of a
// removed one.
func (s visitSpan) rows(head, arrays, tail string) string {
	return inVisits().Replace(head + " FROM visits FINAL " + arrays + " WHERE" + s.ofOpen("started_at") + s.filter + tail)
}
