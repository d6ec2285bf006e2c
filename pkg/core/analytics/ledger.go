package analytics

import (
	"context"
	"fmt"
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
	// Written is the number of rows in events.
	Written uint64 `json:"written"`
	// DroppedLater is the number of rows in drops, by stage and reason.
	DroppedLater map[string]map[string]uint64 `json:"dropped_later"`
	// Replayed is the number of rows of further copies: the collector sent an
	// acceptance again from its spool, and its first record was in the log. They
	// are neither accepted nor dropped.
	Replayed uint64 `json:"replayed"`
	// Missing is the number of accepted events without a row: on their way, or
	// lost.
	Missing uint64 `json:"missing"`
	// Doubled is the number of rows beyond the first of the same acceptance, but
	// for replays.
	Doubled uint64 `json:"doubled"`
	// Unreported is the number of rows whose collector did not report them: it
	// was killed before its next report. They are part of Accepted.
	Unreported uint64 `json:"unreported"`
	// Balanced means that each accepted event has exactly one row.
	Balanced bool `json:"balanced"`
}

// Ledger is the balance of a period. Tenants is by company id; "" holds what
// could not be attributed to a tenant.
type Ledger struct {
	Total   Totals            `json:"total"`
	Tenants map[string]Totals `json:"tenants"`
}

// account is what one collector run reported of one tenant, and the rows that
// carry its name.
type account struct{ reported, unacknowledged, rows uint64 }

// tally adds up one tenant.
type tally struct {
	totals  Totals
	writers map[string]*account
}

func newTally() *tally {
	return &tally{
		totals:  Totals{DroppedAtEdge: map[string]uint64{}, DroppedLater: map[string]map[string]uint64{}},
		writers: make(map[string]*account),
	}
}

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
}

func (t *tally) addDropped(l line) {
	if l.reason == schemas.Label(metivav1.Reason_REASON_REPLAYED) {
		t.totals.Replayed += l.count
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
func (t *tally) close() (unattributed uint64) {
	for id, w := range t.writers {
		switch {
		case id == "":
			unattributed += w.rows
		case w.rows < w.reported:
			t.totals.Missing += w.reported - w.rows
		case w.rows > w.reported+w.unacknowledged:
			t.totals.Unreported += w.rows - w.reported - w.unacknowledged
		}
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
	t.Balanced = t.Missing == 0 && t.Doubled == 0
}

const (
	ledgerEdge = `SELECT company_id, writer_id, stage, reason, sum(count) FROM ledger_edge FINAL
WHERE minute >= {since:DateTime('UTC')} GROUP BY company_id, writer_id, stage, reason`

	ledgerWritten = `SELECT company_id, writer_id, '', '', count() FROM events FINAL
WHERE received_at >= {since:DateTime('UTC')} GROUP BY company_id, writer_id`

	ledgerDropped = `SELECT company_id, writer_id, stage, reason, count() FROM drops FINAL
WHERE received_at >= {since:DateTime('UTC')} GROUP BY company_id, writer_id, stage, reason`

	// Rows of two tables may not share a record, and no two rows but replays an
	// acceptance. The writer tells apart a topic that was made anew, whose offsets
	// start again.
	ledgerDoubled = `SELECT company_id, '', '', '',
toUInt64(count() - uniqExact(record) + uniqExactIf(record, one) - uniqExactIf(acceptance_id, one)) FROM (
SELECT company_id, (writer_id, source_partition, source_offset) AS record, acceptance_id, acceptance_id != toFixedString('', 16) AS one
FROM events FINAL WHERE received_at >= {since:DateTime('UTC')}
UNION ALL
SELECT company_id, (writer_id, source_partition, source_offset) AS record, acceptance_id, acceptance_id != toFixedString('', 16) AND reason != 'replayed' AS one
FROM drops FINAL WHERE received_at >= {since:DateTime('UTC')}
) GROUP BY company_id`
)

// Ledger adds up what was received at or after since, rounded down to the
// minute. Events still on their way to ClickHouse are missing from it.
func (o *Operator) Ledger(ctx context.Context, since time.Time) (Ledger, error) {
	since = since.UTC().Truncate(time.Minute)
	tenants := make(map[string]*tally)
	for _, part := range []struct {
		sql string
		add func(*tally, line)
	}{
		{ledgerEdge, (*tally).addEdge},
		{ledgerWritten, (*tally).addWritten},
		{ledgerDropped, (*tally).addDropped},
		{ledgerDoubled, (*tally).addDoubled},
	} {
		err := o.conn.Each(ctx, part.sql, func(scan func(...any) error) error {
			var company string
			var l line
			if err := scan(&company, &l.writer, &l.stage, &l.reason, &l.count); err != nil {
				return err
			}
			if tenants[company] == nil {
				tenants[company] = newTally()
			}
			part.add(tenants[company], l)
			return nil
		}, clickhouse.Param("since", since))
		if err != nil {
			return Ledger{}, fmt.Errorf("adding up the ledger: %w", err)
		}
	}
	return sum(tenants), nil
}

// sum closes the tenants' balances and adds them up. Rows that name no writer
// come from records that could not be read; in the total they stand for
// events some tenant is missing.
func sum(tenants map[string]*tally) Ledger {
	out := Ledger{Total: newTally().totals, Tenants: make(map[string]Totals, len(tenants))}
	var unattributed uint64
	for company, t := range tenants {
		unattributed += t.close()
		out.Tenants[company] = t.totals
		out.Total.add(&t.totals)
	}
	out.Total.Missing -= min(out.Total.Missing, unattributed)
	out.Total.settle()
	return out
}

func (t *Totals) add(of *Totals) {
	t.Accepted += of.Accepted
	t.Written += of.Written
	t.Replayed += of.Replayed
	t.Missing += of.Missing
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
}
