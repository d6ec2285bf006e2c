// Package sink writes the pipeline's end: what enrich produced becomes rows of
// ClickHouse, and what the collectors counted becomes the ledger at the edge.
//
// Enters: records of events.enriched (an event or a drop, one for each record of
// events.collected), of visits.enriched, accounts.enriched and ledger.edge, as group
// "sink". Leaves: for each record of events.enriched exactly one row, in events or in
// drops; the versions of visits, of accounts' days and of ledger entries, of which
// the newest stands (latest; ADR 0031); dead letters on events.dead.
//
// # What is dropped, and why
//
//   - duplicate: the tenant's event id is stored already, or stood earlier in
//     the batch, under another source: the client sent the event again.
//   - replayed: a copy of an acceptance that has its row: the collector sent the
//     record again. Of the copies the first to arrive counts, whatever becomes of
//     it; the others are replays, whatever would become of them (ADR 0018). But an
//     event stands before dead letters: one that comes after nothing else is written.
//   - invalid_record: the record cannot be decoded or breaks the envelope's
//     rules, among them: a visitor id only with consent, a company's name only
//     with a verdict that allows it, of what an event says only what belongs to its
//     type and consent. Also a dead letter.
//   - rejected_row: ClickHouse refuses this row alone. Also a dead letter.
//   - expired: the event is older than its tenant keeps data.
//   - erased: the event's visitor was erased (control.erasures), also where the record
//     breaks the rules: then it is no dead letter.
//
// Each is a row in drops under stage "sink". A record seen again under its own
// source (enrich or this sink was killed and repeated it) changes nothing, unless an
// operator has put it back from its dead letter (schemas.HeaderDeadLetter). An event
// with the header replay was enriched again: it replaces the row its source has in
// events, and adds one only where there is none or a dead letter.
//
// A replay that shares its batch with the event it replaces comes behind it; ClickHouse
// keeps the later of the two.
//
// Of an erased tenant nothing is written, and no dead letter; a visit of an erased
// visitor is left out. Both are counted only.
//
// Visits, accounts' days and ledger entries have no row in drops, which accounts for
// events: what breaks their rules or is refused is a dead letter only, and what is
// older than its tenant keeps it is counted.
//
// # Once, in effect
//
// A batch is planned (its range of offsets is made durable), looked up, written
// and committed, in this order. A sink killed anywhere in between is given the
// same range again, finds what is stored, and writes the rest under the same
// insert tokens; what an insert still on its way writes meanwhile is caught by
// the token. Tokens name the range and a checksum of its records, so a topic that
// was made anew does not collide with its predecessor. Rows that the batch itself
// has written lately are sent again under their token, for the materialised views
// that a crash may have kept from them (ADR 0035). An attempt that is not the first looks
// for its rows afterwards: ClickHouse may have noted a token and lost the part. What is
// missing is written under a further token (ADR 0046).
//
// # Limits
//
// One batch per partition is in memory, bounded by rows, bytes and age, and all of
// them together by MemoryBytesMax (budget). While ClickHouse is away the batch is
// retried with backoff and nothing more is read. The look-up sees one server: where it
// may lag (replicas) nothing is written because it is not found. The same event id accepted twice on
// two partitions of events.enriched at the same moment (only with more partitions
// than tenant buckets) is not seen by the look-up; the tables' order then collapses
// the two.
package sink
