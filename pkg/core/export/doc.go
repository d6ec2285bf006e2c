// Package export writes all that is kept of one tenant into a directory, and checks
// such a directory.
//
// Enters: a verified claim, ClickHouse and the registry. Leaves: a file for each table
// with rows of tenants (NDJSON, CSV or Parquet), the registry's facts as JSON, and a
// manifest with columns, rows, bytes and SHA-256 of each.
//
// Rows come through analytics.Reader, so they are those of the claim's tenant alone, in
// their newest version, without removed ones and without those past their retention.
// They go from ClickHouse to the disk piece by piece: memory does not grow with them.
//
// The manifest is written last, and each file under another name first, so that a
// directory without a manifest.json is no export. What fails removes what it wrote.
//
// # What is left out, and why
//
//   - Sealed values stay sealed: an export opens nothing. pkg/seal/reveal opens values
//     one by one, for a person with a role and a reason, and records it.
//   - Keys of any kind. Those of sites are public but worth nothing elsewhere.
//   - Tables made from others (analytics.NotExported).
//   - Kafka's records, which are the same rows on their way (docs/operations/export.md).
//
// # Limits
//
// Tables are read one after the other while rows come in: each file is of one moment,
// and two of two. One table takes what analytics.ExportLimits says.
package export
