// Package clickhouse is the product's connection to ClickHouse, embedded or a
// real server, and the only importer of its driver.
//
// Enters: SQL written in our own packages, with values as parameters
// ({name:Type}), never inside the text; columns of rows for inserts. Leaves:
// rows, and errors whose ClickHouse code Code tells.
//
// Inserts name their columns, go in one block and carry a deduplication token:
// the same insert twice with one token is one insert, also after a crash of
// either side, and also for the targets of materialised views.
//
// # Migrations
//
// Migrate applies numbered SQL files in order and records each version with
// its checksum in schema_migrations. ClickHouse has no transactions for
// definitions and no lock a starter could hold, so several starters may apply
// the same file at once: each statement must therefore be idempotent, and the
// record of a version is a row of a ReplacingMergeTree keyed by the version,
// where writing it twice is writing it once. A file that was applied and has
// changed since is an error; a version the files do not know (a newer
// release ran here) is only reported.
//
// Several hosts are replicas: the connections of a pool meet on the one that answered
// last. A statement whose connection breaks fails, and its repetition finds another.
//
// # Limits
//
// One insert is one block in memory; an Inserter keeps the room of four for inserts to
// come. Retrying is the caller's: Transient and
// DataFault say what a retry or a smaller insert could help.
package clickhouse
