// Package sink wires the sink process: Kafka, ClickHouse, and its
// configuration.
//
// Enters: events.enriched and ledger.edge. Leaves: rows in ClickHouse.
package sink
