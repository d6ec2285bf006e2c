// Package clickhouse is the sink's side of ClickHouse: the columns of events,
// drops, ledger_edge, visits and accounts_daily, their inserts, the look-up of which
// events and drops are stored already, and, for attempts that are not the first, of
// which rows are missing and whether an insert of them still runs.
//
// Enters: enriched events, drops, ledger entries, visits and accounts' days that
// were checked by the sink. Leaves: rows. Nothing is dropped here; an insert that
// ClickHouse refuses is an error (pkg/clickhouse.DataFault tells whose fault it is).
//
// The look-ups are the only SELECTs outside of pkg/core/analytics: they ask for
// identities only, of rows the sink is about to write or has just written.
package clickhouse
