// Package enrich wires the enrich process: keys, Kafka, the company databases,
// and its configuration.
//
// Enters: events.collected, control.keys, control.withdrawals,
// control.erasures, control.sites. Leaves: events.enriched, events.dead.
package enrich
