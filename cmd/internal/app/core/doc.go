// Package core wires the core process: Postgres, the publisher of the control
// topics, and its configuration.
//
// Enters: the registrations in Postgres; control.keys and control.erasures. Leaves:
// control.sites, the visit salts on control.keys, erasures from the outbox, and tombstones
// for keys of the erased.
package core
