// Package nativetest is ClickHouse's native protocol for tests: a door on a TCP address,
// with TLS or without, behind which an embedded engine answers, which itself speaks HTTP
// only.
//
// In comes the protocol as far as clickhouse-go uses it: statements with settings and
// parameters, inserts in blocks, pings. Each goes to the engine as it is; blocks cross
// the door decoded and written anew. Out come blocks, the codes and texts of errors, and
// the end of a stream. Passwords, progress, traces and cancelling are not there.
package nativetest
