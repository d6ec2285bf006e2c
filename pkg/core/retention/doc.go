// Package retention keeps the promise of how long rows are kept when it changes.
//
// The sink stamps each row with the time it goes, from the retention its site had when
// it was collected; ClickHouse removes it then, and no answer has it from that moment
// on. What that does not reach are rows from before a retention was made shorter, rows
// still on their way then, and those that account for events (drops, ledger_edge),
// whose records do not say how long their tenant keeps them. The job compares all of
// them with the registry, once a day, and brings their end nearer.
//
// Enters: the retention of every site. Leaves: changed ends of rows, in ClickHouse, and
// how many. An end is never put off.
//
// # Limits
//
// A site the registry does not have keeps its rows as they were stamped: erasing a
// tenant is another package's.
package retention
