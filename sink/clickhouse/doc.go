// Package clickhouse is the sink's side of ClickHouse: the columns of events,
// drops and ledger_edge, their inserts, and the look-up of what is stored
// already.
//
// Enters: enriched events, drops and ledger entries that were checked by the
// sink. Leaves: rows. Nothing is dropped here; an insert that ClickHouse
// refuses is an error (pkg/clickhouse.DataFault tells whose fault it is).
//
// The look-up is the only SELECT outside of pkg/core/analytics: it asks for
// identities only, of rows the sink is about to write.
package clickhouse
