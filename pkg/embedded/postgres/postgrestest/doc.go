// Package postgrestest gives tests a real Postgres: one server for the whole
// test binary, one fresh database for each Start.
//
// Enters: TestMain calls Main. Leaves: a database with every migration
// applied, made from a template in some ten milliseconds. The server and its
// files are gone when the test binary ends.
//
// Missing binaries fail the test; they never skip it.
package postgrestest
