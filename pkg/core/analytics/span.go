package analytics

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
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

// A day stands when its counting began the margin after the last write to it, and none of
// its rows expired since. What was counted and what was written is asked in two statements
// at the same time: the server spends most of either on understanding it.
const (
	countedSQL = `SELECT toUInt16(day), toUnixTimestamp64Milli(built_at), expires_at > now() FROM counted_days WHERE` + ofSourceDays
	changedSQL = `SELECT toUInt16(day), toUnixTimestamp64Milli(changed_at), 1 FROM changed_days WHERE` + ofSourceDays

	ofSourceDays = ofTenant + ` AND source = {source:String} AND day >= {first_day:Date} AND day <= {last_day:Date}`
)

// countingDayShift makes room for milliseconds since 1970 under a day's number: the
// column counting, by which the rows of a counting are found.
const countingDayShift = 44

// divide asks which days of a period stand.
func (r *Reader) divide(ctx context.Context, source string, p Period) (span, error) {
	whole := span{open: []Period{p}}
	if p.To.Sub(p.From) < spanMin || r.rowsOnly {
		return whole, nil
	}
	var counted, changed map[uint16]moment
	var ofCounted, ofChanged error
	var asking sync.WaitGroup
	asking.Go(func() { counted, ofCounted = r.newestOf(ctx, countedSQL, source, p) })
	changed, ofChanged = r.newestOf(ctx, changedSQL, source, p)
	asking.Wait()
	if err := errors.Join(ofCounted, ofChanged); err != nil {
		return span{}, fmt.Errorf("finding the days that were counted: %w", err)
	}
	standing := make(map[time.Time]uint64)
	for number, built := range counted {
		if written, known := changed[number]; known && built.kept && built.ms > written.ms+1000*countMarginSeconds {
			standing[time.Unix(0, 0).UTC().AddDate(0, 0, int(number))] = uint64(number)<<countingDayShift | uint64(built.ms)
		}
	}
	return divided(p, standing), nil
}

// moment is when a day was counted or written to, in milliseconds since 1970, and
// whether the rows of that counting are all kept.
type moment struct {
	ms   int64
	kept bool
}

// newestOf finds the newest moment of each day (days since 1970) of a period. Rows that
// a merge would replace are among the answers.
func (r *Reader) newestOf(ctx context.Context, sql, source string, p Period) (map[uint16]moment, error) {
	newest := make(map[uint16]moment)
	err := r.each(ctx, sql, func(scan func(...any) error) error {
		var number uint16
		var m moment
		var kept uint8
		if err := scan(&number, &m.ms, &kept); err != nil {
			return err
		}
		m.kept = kept == 1
		if at, known := newest[number]; !known || m.ms > at.ms {
			newest[number] = m
		}
		return nil
	}, append(r.of(p), clickhouse.Param("source", source),
		clickhouse.Param("first_day", p.From.UTC().Format(time.DateOnly)), clickhouse.Param("last_day", p.To.UTC().Format(time.DateOnly)))...)
	return newest, err
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
