// Package core wires the core process: Postgres, the publisher of the control
// topics, and its configuration.
//
// Enters: the registrations in Postgres. Leaves: control.sites and the visit
// salts on control.keys.
package core
