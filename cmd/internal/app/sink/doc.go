// Package sink wires the sink process: Kafka, ClickHouse, and its
// configuration.
//
// Enters: what sink.Topics lists, and control.erasures. Leaves: rows in ClickHouse.
package sink
