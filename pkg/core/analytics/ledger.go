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
	// Balanced means that each accepted event has its row. An event that was
	// not acknowledged may or may not have one.
	Balanced bool `json:"balanced"`
}

// Ledger is the balance of a period. Tenants is by company id; "" holds what
// could not be attributed to a tenant, so a tenant may miss an event that ""
// has while Total balances.
type Ledger struct {
	Total   Totals            `json:"total"`
	Tenants map[string]Totals `json:"tenants"`
}

func newTotals() *Totals {
	return &Totals{DroppedAtEdge: map[string]uint64{}, DroppedLater: map[string]map[string]uint64{}}
}

// rows is the number of rows that accepted events have.
func (t *Totals) rows() uint64 {
	n := t.Written
	for _, reasons := range t.DroppedLater {
		for _, count := range reasons {
			n += count
		}
	}
	return n
}

func (t *Totals) close() {
	t.Received = t.Accepted
	for _, n := range t.DroppedAtEdge {
		t.Received += n
	}
	unacknowledged := t.DroppedAtEdge[schemas.Label(metivav1.Reason_REASON_UNACKNOWLEDGED)]
	rows := t.rows()
	t.Balanced = rows >= t.Accepted && rows <= t.Accepted+unacknowledged
}

const (
	ledgerEdge = `SELECT company_id, stage, reason, sum(count) FROM ledger_edge FINAL
WHERE minute >= {since:DateTime('UTC')} GROUP BY company_id, stage, reason`

	ledgerWritten = `SELECT company_id, '', '', count() FROM events FINAL
WHERE received_at >= {since:DateTime('UTC')} GROUP BY company_id`

	ledgerDropped = `SELECT company_id, stage, reason, count() FROM drops FINAL
WHERE received_at >= {since:DateTime('UTC')} GROUP BY company_id, stage, reason`
)

// Ledger adds up what was received at or after since, rounded down to the
// minute.
func (o *Operator) Ledger(ctx context.Context, since time.Time) (Ledger, error) {
	since = since.UTC().Truncate(time.Minute)
	total := newTotals()
	tenants := make(map[string]*Totals)
	each := func(sql string, add func(t *Totals, stage, reason string, n uint64)) error {
		return o.conn.Each(ctx, sql, func(scan func(...any) error) error {
			var company, stage, reason string
			var n uint64
			if err := scan(&company, &stage, &reason, &n); err != nil {
				return err
			}
			if tenants[company] == nil {
				tenants[company] = newTotals()
			}
			add(tenants[company], stage, reason, n)
			add(total, stage, reason, n)
			return nil
		}, clickhouse.Param("since", since))
	}
	accepted := schemas.Label(metivav1.Reason_REASON_UNSPECIFIED)
	for _, part := range []struct {
		sql string
		add func(t *Totals, stage, reason string, n uint64)
	}{
		{ledgerEdge, func(t *Totals, _, reason string, n uint64) {
			if reason == accepted {
				t.Accepted += n
			} else {
				t.DroppedAtEdge[reason] += n
			}
		}},
		{ledgerWritten, func(t *Totals, _, _ string, n uint64) { t.Written += n }},
		{ledgerDropped, func(t *Totals, stage, reason string, n uint64) {
			if t.DroppedLater[stage] == nil {
				t.DroppedLater[stage] = map[string]uint64{}
			}
			t.DroppedLater[stage][reason] += n
		}},
	} {
		if err := each(part.sql, part.add); err != nil {
			return Ledger{}, fmt.Errorf("adding up the ledger: %w", err)
		}
	}
	total.close()
	out := Ledger{Total: *total, Tenants: make(map[string]Totals, len(tenants))}
	for company, t := range tenants {
		t.close()
		out.Tenants[company] = *t
	}
	return out, nil
}
