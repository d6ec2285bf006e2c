package analytics

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// Operator answers the operators' questions, across tenants.
type Operator struct{ conn *clickhouse.Conn }

// NewOperator makes an operator's reader.
func NewOperator(conn *clickhouse.Conn) *Operator { return &Operator{conn: conn} }

// Totals is the balance of one tenant, or of all.
type Totals struct {
	// Received is every event the collectors saw: accepted, or dropped at the
	// edge by reason.
	Received      uint64            `json:"received"`
	Accepted      uint64            `json:"accepted"`
	DroppedAtEdge map[string]uint64 `json:"dropped_at_edge"`
	// Enriched is what enrich reported to have passed on: events and drops, copies
	// included. It is less than its rows when an enrich was killed before its next
	// report, or is of a release before 0.6.
	Enriched uint64 `json:"enriched"`
	// Written is the number of rows in events.
	Written uint64 `json:"written"`
	// DroppedLater is the number of rows in drops, by stage and reason.
	DroppedLater map[string]map[string]uint64 `json:"dropped_later"`
	// Replayed is the number of rows of further copies: the collector sent an
	// acceptance again from its spool, and its first record was in the log. They
	// are neither accepted nor dropped.
	Replayed uint64 `json:"replayed"`
	// Recovered is the number of drops that were dead letters and whose event came after
	// all: the letter was replayed. The event's row is the one that counts; these are
	// neither accepted nor dropped.
	Recovered uint64 `json:"recovered"`
	// Open is the number of accepted events without a row that are younger than the
	// time the pipeline was given: on their way.
	Open uint64 `json:"open"`
	// Missing is the number of older ones: late, or lost. MissingAtSink are those of
	// them that enrich reported to have passed on, MissingAtEnrich the others.
	Missing         uint64 `json:"missing"`
	MissingAtEnrich uint64 `json:"missing_at_enrich"`
	MissingAtSink   uint64 `json:"missing_at_sink"`
	// Doubled is the number of rows beyond the first of the same acceptance, but
	// for replays.
	Doubled uint64 `json:"doubled"`
	// Unreported is the number of rows whose collector did not report them: it
	// was killed before its next report. They are part of Accepted.
	Unreported uint64 `json:"unreported"`
	// Balanced means that each accepted event that is not open has exactly one row.
	Balanced bool `json:"balanced"`
}

// Ledger is the balance of a period. Tenants is by company id; "" holds what
// could not be attributed to a tenant. Lines are by tenant and time, without those
// that have nothing.
type Ledger struct {
	Total   Totals            `json:"total"`
	Tenants map[string]Totals `json:"tenants"`
	Lines   []LedgerLine      `json:"lines,omitempty"`
}

// LedgerLine is the balance of one tenant from one moment on, for the step of the
// question.
type LedgerLine struct {
	CompanyID string    `json:"company_id"`
	From      time.Time `json:"from"`
	Totals
}

// LedgerQuestion says what to add up.
type LedgerQuestion struct {
	// From and To bound the time of receipt, both rounded down to the minute. A zero
	// To is no end.
	From, To time.Time
	// Company is one tenant; empty, all.
	Company string
	// Step is what a line covers, whole minutes, or whole hours above one; zero makes no
	// lines.
	Step time.Duration
	// SettledBefore, rounded down to the minute, is the moment before which every
	// event must have its row. Zero: at any time.
	SettledBefore time.Time
}

// compared is how long a part is in which reports and rows are compared: what one
// lacks another cannot make good. Hours bound what has to be held.
func (q *LedgerQuestion) compared() time.Duration {
	if q.Step == 0 || q.Step > time.Hour {
		return time.Hour
	}
	return q.Step
}

func (q *LedgerQuestion) check() error {
	if q.Step < 0 || q.Step%time.Minute != 0 || q.Step > time.Hour && q.Step%time.Hour != 0 {
		return errors.New("the ledger's step must be whole minutes, and above an hour whole hours")
	}
	if !q.To.IsZero() && !q.From.Before(q.To) {
		return errors.New("a period begins before it ends")
	}
	return nil
}

// account is what one collector run reported of one tenant, and the rows that
// carry its name.
type account struct{ reported, unacknowledged, rows uint64 }

// tallyKey is one tenant's part of a step; open is the part that may still change.
type tallyKey struct {
	company string
	at      int64 // seconds since 1970
	open    bool
}

// tally adds up one key.
type tally struct {
	totals  Totals
	writers map[string]*account
	// rows are all of them, copies included.
	rows uint64
}

func newTotals() Totals {
	return Totals{DroppedAtEdge: map[string]uint64{}, DroppedLater: map[string]map[string]uint64{}, Balanced: true}
}

func newTally() *tally { return &tally{totals: newTotals(), writers: make(map[string]*account)} }

func (t *tally) writer(id string) *account {
	if t.writers[id] == nil {
		t.writers[id] = &account{}
	}
	return t.writers[id]
}

// line is one group of a statement's answer.
type line struct {
	writer, stage, reason string
	count                 uint64
}

func (t *tally) addEdge(l line) {
	if l.stage == schemas.Label(metivav1.Stage_STAGE_ENRICH) {
		t.totals.Enriched += l.count
		return
	}
	w := t.writer(l.writer)
	switch l.reason {
	case schemas.Label(metivav1.Reason_REASON_UNSPECIFIED):
		w.reported += l.count
		t.totals.Accepted += l.count
		return
	case schemas.Label(metivav1.Reason_REASON_UNACKNOWLEDGED):
		w.unacknowledged += l.count
	}
	t.totals.DroppedAtEdge[l.reason] += l.count
}

func (t *tally) addWritten(l line) {
	t.writer(l.writer).rows += l.count
	t.totals.Written += l.count
	t.rows += l.count
}

func (t *tally) addDropped(l line) {
	t.rows += l.count
	if l.reason == schemas.Label(metivav1.Reason_REASON_REPLAYED) {
		t.totals.Replayed += l.count
		return
	}
	if l.reason == recovered {
		t.totals.Recovered += l.count
		return
	}
	t.writer(l.writer).rows += l.count
	if t.totals.DroppedLater[l.stage] == nil {
		t.totals.DroppedLater[l.stage] = map[string]uint64{}
	}
	t.totals.DroppedLater[l.stage][l.reason] += l.count
}

func (t *tally) addDoubled(l line) { t.totals.Doubled += l.count }

// close compares each writer's report with its rows: what one writer lacks
// cannot be made good by another's. An event that was not acknowledged may or
// may not have a row. It returns the rows that name no writer.
func (t *tally) close(open bool) (unattributed uint64) {
	var lacking uint64
	for id, w := range t.writers {
		switch {
		case id == "":
			unattributed += w.rows
		case w.rows < w.reported:
			lacking += w.reported - w.rows
		case w.rows > w.reported+w.unacknowledged:
			t.totals.Unreported += w.rows - w.reported - w.unacknowledged
		}
	}
	if open {
		t.totals.Open = lacking
	} else {
		// What enrich has passed on and has no row was lost behind it.
		t.totals.MissingAtSink = min(lacking, t.totals.Enriched-min(t.totals.Enriched, t.rows))
		t.totals.MissingAtEnrich = lacking - t.totals.MissingAtSink
	}
	t.totals.Accepted += t.totals.Unreported
	t.totals.settle()
	return unattributed
}

func (t *Totals) settle() {
	t.Received = t.Accepted
	for _, n := range t.DroppedAtEdge {
		t.Received += n
	}
	t.Missing = t.MissingAtEnrich + t.MissingAtSink
	t.Balanced = t.Missing == 0 && t.Doubled == 0
}

// forgive takes away up to n that are missing.
func (t *Totals) forgive(n uint64) {
	for _, part := range []*uint64{&t.MissingAtEnrich, &t.MissingAtSink, &t.Open} {
		taken := min(*part, n)
		*part -= taken
		n -= taken
	}
	t.settle()
}

// Ledger adds up what was received at or after since, rounded down to the
// minute. Events still on their way to ClickHouse are missing from it.
func (o *Operator) Ledger(ctx context.Context, since time.Time) (Ledger, error) {
	return o.AddUp(ctx, LedgerQuestion{From: since})
}

// AddUp answers a question about the ledger, across tenants.
func (o *Operator) AddUp(ctx context.Context, q LedgerQuestion) (Ledger, error) {
	return addUp(ctx, o.conn.Each, everyTenant, q, clickhouse.Param("company", q.Company))
}

// Ledger adds up the tenant's own events. Company is the reader's.
func (r *Reader) Ledger(ctx context.Context, q LedgerQuestion) (Ledger, error) {
	q.Company = r.company
	return addUp(ctx, r.each, oneTenant, q,
		clickhouse.Param("bucket", schemas.TenantBucket(r.company)), clickhouse.Param("company", r.company))
}

// each runs a statement (clickhouse.Conn.Each).
type each func(ctx context.Context, sql string, fn func(scan func(...any) error) error, options ...clickhouse.Option) error

// noEnd stands for a period without one.
func noEnd() time.Time { return time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC) }

func addUp(ctx context.Context, ask each, scope string, q LedgerQuestion, options ...clickhouse.Option) (Ledger, error) {
	if err := q.check(); err != nil {
		return Ledger{}, err
	}
	q.From = q.From.UTC().Truncate(time.Minute)
	if q.To.IsZero() {
		q.To = noEnd()
	}
	if q.SettledBefore.IsZero() {
		q.SettledBefore = noEnd()
	}
	options = append(options,
		clickhouse.Param("since", q.From), clickhouse.Param("until", q.To.UTC().Truncate(time.Minute)),
		clickhouse.Param("settled", q.SettledBefore.UTC().Truncate(time.Minute)), clickhouse.Param("step", uint32(q.compared()/time.Second)))
	tallies := make(map[tallyKey]*tally)
	for _, part := range []struct {
		sql string
		add func(*tally, line)
	}{
		{ledgerEdge(scope), (*tally).addEdge},
		{ledgerWritten(scope), (*tally).addWritten},
		{ledgerDropped(scope), (*tally).addDropped},
		{ledgerDoubled(scope), (*tally).addDoubled},
	} {
		err := ask(ctx, part.sql, func(scan func(...any) error) error {
			var key tallyKey
			var l line
			var open uint8
			if err := scan(&key.company, &key.at, &open, &l.writer, &l.stage, &l.reason, &l.count); err != nil {
				return err
			}
			key.open = open != 0
			if tallies[key] == nil {
				tallies[key] = newTally()
			}
			part.add(tallies[key], l)
			return nil
		}, options...)
		if err != nil {
			return Ledger{}, fmt.Errorf("adding up the ledger: %w", err)
		}
	}
	return sum(tallies, q.Step), nil
}

// sum closes the balances and adds them up. Rows that name no writer come from
// records that could not be read; in the total they stand for events some tenant is
// missing.
func sum(tallies map[tallyKey]*tally, step time.Duration) Ledger {
	out := Ledger{Total: newTotals(), Tenants: make(map[string]Totals)}
	lines := make(map[tallyKey]*LedgerLine)
	var unattributed uint64
	for key, t := range tallies {
		unattributed += t.close(key.open)
		of, known := out.Tenants[key.company]
		if !known {
			of = newTotals()
		}
		of.add(&t.totals)
		out.Tenants[key.company] = of
		out.Total.add(&t.totals)
		if step == 0 {
			continue
		}
		key.open = false // one line holds both parts
		key.at -= key.at % int64(step/time.Second)
		l := lines[key]
		if l == nil {
			l = &LedgerLine{CompanyID: key.company, From: time.Unix(key.at, 0).UTC(), Totals: newTotals()}
			lines[key] = l
		}
		l.add(&t.totals)
	}
	for _, l := range lines {
		out.Lines = append(out.Lines, *l)
	}
	slices.SortFunc(out.Lines, func(a, b LedgerLine) int {
		return cmp.Or(cmp.Compare(a.CompanyID, b.CompanyID), a.From.Compare(b.From))
	})
	out.Total.forgive(unattributed)
	return out
}

// add adds another balance and settles the sum.
func (t *Totals) add(of *Totals) {
	t.Accepted += of.Accepted
	t.Enriched += of.Enriched
	t.Written += of.Written
	t.Replayed += of.Replayed
	t.Recovered += of.Recovered
	t.Open += of.Open
	t.MissingAtEnrich += of.MissingAtEnrich
	t.MissingAtSink += of.MissingAtSink
	t.Doubled += of.Doubled
	t.Unreported += of.Unreported
	for reason, n := range of.DroppedAtEdge {
		t.DroppedAtEdge[reason] += n
	}
	for stage, reasons := range of.DroppedLater {
		if t.DroppedLater[stage] == nil {
			t.DroppedLater[stage] = map[string]uint64{}
		}
		for reason, n := range reasons {
			t.DroppedLater[stage][reason] += n
		}
	}
	t.settle()
}
