package clickhouse

import (
	"time"

	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// Source is the record of events.collected a row came from. A negative
// partition, -1-n, stands for partition n of events.enriched: the record named
// no source.
type Source struct {
	Partition int32
	Offset    int64
}

// EventKey is an event id within its tenant.
type EventKey struct {
	CompanyID string
	EventID   [schemas.IDBytes]byte
}

// AcceptanceID is the same in all copies a collector sent of one acceptance (ADR
// 0018). Zero is unknown.
type AcceptanceID [schemas.IDBytes]byte

// Acceptance is an acceptance within its tenant.
type Acceptance struct {
	CompanyID string
	ID        AcceptanceID
}

// Known reports whether the record could be read far enough to tell.
func (a Acceptance) Known() bool { return a.ID != AcceptanceID{} }

// EventRow is one row of events. Position is the offset of its record on
// events.enriched.
type EventRow struct {
	Position  int64
	Event     *metivav1.EnrichedEvent
	ExpiresAt time.Time
	// Replaces: the event has a row, and this one is to stand in its place.
	Replaces bool
	// Round is the round of the batch's inserts that wrote the row before, 0 when none
	// did, and Mark what the row got with its last insert; the sink keeps both.
	Round uint8
	Mark  uint64
}

// DropRow is one row of drops.
type DropRow struct {
	Position   int64
	Key        EventKey
	SiteID     string
	ReceivedAt time.Time
	Stage      metivav1.Stage
	Reason     metivav1.Reason
	Source     Source
	WriterID   string
	Acceptance AcceptanceID
	// Replayed marks a record the collector sent again; not a reason.
	Replayed bool
}

// Row is one row of a table whose rows replace each other. Position is the offset
// of its record.
type Row[M any] struct {
	Position  int64
	Message   M
	ExpiresAt time.Time // zero where the table has no such column
}

// Rows of the tables whose rows replace each other.
type (
	// LedgerRow is one row of ledger_edge.
	LedgerRow = Row[*metivav1.LedgerEntry]
	// VisitRow is one row of visits.
	VisitRow = Row[*metivav1.Visit]
	// AccountDayRow is one row of accounts_daily.
	AccountDayRow = Row[*metivav1.AccountDay]
)

// DayStart is the midnight (UTC) a day number begins at.
func DayStart(day int32) time.Time { return time.Unix(int64(day)*24*60*60, 0).UTC() }

// Table names.
const (
	TableEvents        = "events"
	TableDrops         = "drops"
	TableLedgerEdge    = "ledger_edge"
	TableVisits        = "visits"
	TableAccountsDaily = "accounts_daily"
)
