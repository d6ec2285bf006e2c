package clickhouse

import "slices"

// Kind says where the rows of a table come from.
type Kind int

// Kinds of tables.
const (
	// Base tables are written by the sink; ledger_checks by core.
	Base Kind = iota
	// ViewTarget tables are written by materialised views on each insert into their
	// sources. Their rows repeat harmlessly: a repeated row changes nothing.
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
	// Sources are the tables a ViewTarget or Counted table is made from, Views the
	// materialised views that write a ViewTarget; empty else.
	Sources, Views []string
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
		{Name: SourceEvents, TimeColumn: "received_at", VisitorColumn: "visitor_id", VisitKeyColumn: "visit_key", AccountColumn: "account_id", ExpiresColumn: "expires_at", Final: true},
		{Name: "drops", TimeColumn: "received_at", ExpiresColumn: "expires_at", Final: true},
		{Name: "ledger_edge", TimeColumn: "minute", ExpiresColumn: "expires_at", Final: true},
		{Name: "ledger_checks", TimeColumn: "hour", Final: true},
		{Name: SourceVisits, TimeColumn: "started_at", VisitorColumn: "visitor_id", VisitKeyColumn: "visit_key", AccountColumn: "account_id", ExpiresColumn: "expires_at", Final: true},
		{Name: "accounts_daily", TimeColumn: "day", AccountColumn: "account_id", ExpiresColumn: "expires_at", Final: true},
		{Name: "changed_days", Kind: ViewTarget, Sources: both(), Views: []string{"changed_days_of_events", "changed_days_of_visits"}, TimeColumn: "day", Final: true},
		{Name: "counted_days", Kind: Counted, Sources: both(), TimeColumn: "day", ExpiresColumn: "expires_at", Final: true},
		{Name: "traffic_daily", Kind: Counted, Sources: []string{SourceEvents}, TimeColumn: "day", AccountColumn: "account_id", ExpiresColumn: "expires_at", Final: true},
		{Name: "closed_visits", Kind: Counted, Sources: []string{SourceVisits}, TimeColumn: "day", AccountColumn: "account_id", ExpiresColumn: "expires_at", Final: true},
		{Name: "pages_daily", Kind: Counted, Sources: []string{SourceVisits}, TimeColumn: "day", ExpiresColumn: "expires_at", Final: true},
		{Name: "groups_daily", Kind: Counted, Sources: []string{SourceVisits}, TimeColumn: "day", ExpiresColumn: "expires_at", Final: true},
	}
}

// Tables that others are made from.
const (
	SourceEvents = "events"
	SourceVisits = "visits"
)

func both() []string { return []string{SourceEvents, SourceVisits} }

// CountedFrom are the tables that hold countings of days of a source, the one that says
// which of them stand first: who drops countings begins there.
func CountedFrom(source string) []string {
	var out []string
	for _, t := range Tables() {
		if t.Kind == Counted && slices.Contains(t.Sources, source) {
			out = append(out, t.Name)
		}
	}
	return out
}

// TenantSetting is the custom setting by which row policies know the tenant, on servers
// that have them.
const TenantSetting = "metiva_company"

// TenantPolicy is the condition of the row policy on every table of Tables.
func TenantPolicy() string { return "company_id = getSetting('" + TenantSetting + "')" }
