// Package clickhouse holds ClickHouse's tables as numbered migration files.
//
// Enters: nothing. Leaves: Files, which pkg/clickhouse.Migrate applies in
// order. Each statement is idempotent (IF NOT EXISTS or IF EXISTS), because
// ClickHouse has neither transactions nor locks for migrations and several
// starters may run them at once. A file that was released is never changed:
// its checksum is recorded with the version.
package clickhouse
