// Package collector wires the collector process: keys, Kafka, the control
// topics, the public listener, and its configuration.
//
// Enters: HTTP on the public listener; control.sites, control.keys,
// control.withdrawals. Leaves: events.collected, ledger.edge, data keys on
// control.keys.
package collector
