// Package metiva is the operator's command: it runs everything on one machine
// (up, demo), applies migrations, registers agencies, tenants and sites, builds
// and asks the company database, makes keys, and hosts the embedded engines.
//
// Enters: arguments and environment. Leaves: what the command prints, and an
// exit code. `metiva help` lists the commands.
package metiva
