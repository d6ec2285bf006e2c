package clickhouse

// Kind says where the rows of a table come from.
type Kind int

// Kinds of tables.
const (
	// Base tables are written by the sink; ledger_checks by core.
	Base Kind = iota
	// ViewTarget tables are written by a materialised view on each insert into their
	// source. Their rows repeat harmlessly: a repeated row changes nothing.
	ViewTarget
	// Counted tables are written by analytics.Counter from their source, a day of a
	// tenant at a time (ADR 0036). Such a day is dropped (Counter.Forget) when rows of
	// the source are deleted, and needs nothing when rows are written.
	Counted
)

// Table is one table with rows of tenants. All have the columns tenant_bucket and
// company_id.
type Table struct {
	Name string
	Kind Kind
	// Source is the table a ViewTarget or Counted table is made from, View the
	// materialised view that writes a ViewTarget; empty else.
	Source, View string
	// TimeColumn is the column whose month is in the partition key, beside the bucket: a
	// Date, DateTime or DateTime64 in UTC.
	TimeColumn string
	// VisitorColumn holds the visitor id and VisitKeyColumn the anonymous visit key
	// (FixedString(16)); empty in a table without.
	VisitorColumn, VisitKeyColumn string
	// AccountColumn holds the visiting company; empty in a table without.
	AccountColumn string
	// ExpiresColumn is the TTL column that holds the tenant's retention; empty where the
	// table's retention is the same for all.
	ExpiresColumn string
	// Final says that rows replace each other (ReplacingMergeTree or
	// AggregatingMergeTree), so that counts are of SELECT … FINAL.
	Final bool
}

// Tables are all tables with rows of tenants, sources before what is made from them.
// A test compares the list with a migrated database.
func Tables() []Table {
	return []Table{
		{Name: "events", TimeColumn: "received_at", VisitorColumn: "visitor_id", VisitKeyColumn: "visit_key", AccountColumn: "account_id", ExpiresColumn: "expires_at", Final: true},
		{Name: "drops", TimeColumn: "received_at", Final: true},
		{Name: "ledger_edge", TimeColumn: "minute", Final: true},
		{Name: "ledger_checks", TimeColumn: "hour", Final: true},
		{Name: "visits", TimeColumn: "started_at", VisitorColumn: "visitor_id", VisitKeyColumn: "visit_key", AccountColumn: "account_id", ExpiresColumn: "expires_at", Final: true},
		{Name: "accounts_daily", TimeColumn: "day", AccountColumn: "account_id", ExpiresColumn: "expires_at", Final: true},
		{Name: "changed_days", Kind: ViewTarget, Source: "events", View: "changed_days_of_events", TimeColumn: "day", Final: true},
		{Name: "counted_days", Kind: Counted, Source: "events", TimeColumn: "day", ExpiresColumn: "expires_at", Final: true},
		{Name: "traffic_daily", Kind: Counted, Source: "events", TimeColumn: "day", AccountColumn: "account_id", ExpiresColumn: "expires_at", Final: true},
	}
}
