// Package clickhouse is the embedded ClickHouse: libchdb loaded into this
// process without cgo, behind ClickHouse's HTTP protocol on a unix socket.
// `metiva embedded clickhouse` runs Serve in a supervised child process; the
// rest of the product reaches it through pkg/clickhouse, exactly as it reaches
// a real server.
//
// Enters: HTTP requests of clickhouse-go on the socket, which only the owner
// of the process may open (mode 0600). Leaves: the engine's answers in Native
// format, untouched, and its exceptions with their codes.
//
// # Not obvious
//
//   - The driver reads the answer of its first query at its own protocol
//     revision and everything after at the revision found in that answer. The
//     library's Native format is that of revision 0, so the answer says 0.
//   - The library's stream formats each block by itself, so that an answer in Parquet
//     or CSVWithNames would be many documents. Such an answer goes by way of a file in
//     the data directory: its first byte comes late, and an error instead of it.
//   - Insert bodies go through chdb_stream_insert. Data behind FORMAT in the SQL
//     text is cut at the first newline by the library, with success reported;
//     it is refused here.
//   - A statement's settings are set on the connection before it and reset after
//     it; a connection that could not be reset is replaced.
//   - Inserts and merges are synced to disk (see configTemplate): an
//     acknowledged insert outlives a power cut. The library's default is not to
//     sync.
//   - One process serves a data directory at a time, held by a file lock that
//     dies with the process. The library itself can be opened once per process.
//
// # What is refused, and why
//
// SETTINGS clauses outside of a table's definition (they could lift the
// readers' filters), SET and USE (they would outlive the request), INTO
// OUTFILE and FROM INFILE (they pass every grant), a second statement in one
// text, compression, sessions and external tables. Reading files, URLs and
// other servers is not granted to the engine's only user.
//
// # Limits
//
// ConcurrentStatementsMax statements run at once and more wait for
// QueueTimeout; QueryBytesMax bounds the SQL, BodyBytesMax an insert's data,
// MemoryBytesMax the engine's memory. Each is answered with ClickHouse's code
// for it (202, 62, 307, 241). It is not a server for production: one machine,
// no replication, no users, roles or row policies.
package clickhouse
