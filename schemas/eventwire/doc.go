// Package eventwire reads and writes the two messages that each event is, and writes
// the visit, without the reflection and the allocations of the generated code.
//
// Enters: the value of a record on events.collected, an EnrichedEvent or a Visit.
// Leaves: the CollectedEvent in memory that the caller keeps and reuses, or the value
// of a record on events.enriched or visits.enriched: the same bytes as schemas.Encode
// makes.
//
// The reader knows the form collectors write: each field once, with its own wire
// type. Everything else (unknown, repeated or damaged fields, maps) it leaves to
// the generated code, so that both say the same of any bytes; a fuzz target
// compares them. Fields that were added to the contract and not here fail a test.
//
// Dropped: unknown fields of what is written. Limits: none of its own. Texts are
// copied: names of tenants, sites, hosts and collectors are shared by all events that
// have them (512 of 128 bytes at most), others lie in pieces of 2 KiB; byte fields
// share the record's memory.
package eventwire
