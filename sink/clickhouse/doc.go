// Package clickhouse is the sink's side of ClickHouse: the columns of events,
// drops, ledger_edge, visits and accounts_daily, their inserts, and the look-up of
// which events and drops are stored already.
//
// Enters: enriched events, drops, ledger entries, visits and accounts' days that
// were checked by the sink. Leaves: rows. Nothing is dropped here; an insert that
// ClickHouse refuses is an error (pkg/clickhouse.DataFault tells whose fault it is).
//
// The look-up is the only SELECT outside of pkg/core/analytics: it asks for
// identities only, of rows the sink is about to write.
package clickhouse
