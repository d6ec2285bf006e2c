// Package enrich turns collected events into rows-to-be: it opens the sealed
// address and user agent in memory, decides which company the visit comes
// from, and says what kind of browser it was.
//
// Enters: events.collected, in the consumer group "enrich"; control.keys,
// control.withdrawals, control.erasures, control.sites and control.suppressions as
// tables. Leaves: one record on events.enriched for each record that came in, an event or a drop with its
// reason, so that the ledger balances; a capture on captures.enriched beside the event
// of a consented form; and a copy on events.dead of what could not be read. The source
// (partition and offset) is the identity of an event on its way: a repetition after a crash gives the same sources again. Beside it
// goes the acceptance id, which the copies a collector sends of one acceptance
// have in common (ADR 0018), and what the event says by its type. Besides leave the
// visits that the events make up, on visits.enriched, as they change; and on
// visits.state what the next owner of a partition needs to go on with them (ADR 0027,
// package visit). A claim begins with reading that, and the events since its
// checkpoint once more.
//
// What a committed batch has passed on is counted by tenant, site, minute of receipt and
// reason, and reported on ledger.edge each second (ledger.go, ADR 0039).
//
// Worker.Replay works on a range of events.collected again, beside the group: it gives
// out events with the header replay, and the visits that stand, and nothing else.
//
// Steps, in order: decode and check the envelope; withdrawn or erased; source; bot;
// company, and what its network tells of a bot; device; person. Each is a function of the
// event, the lists and the tables, and is counted. The source goes first because a
// link of a mailing tells a link scanner from a person. The person step opens a form's
// values (package person) and may confirm the company.
//
// Dropped: records that cannot be decoded or break the envelope's rules
// (invalid_record), whose key is unknown even after control.keys was read to
// its end (unknown_key), whose sealed values belong elsewhere (tampered): with
// a dead letter. Events whose key was destroyed (shredded), whose tenant or
// visitor was erased (erased), or whose type needs the consent their visitor has
// withdrawn (withdrawn: all but page views): without one. The page view of a
// visitor who has withdrawn is not dropped but reduced to company level, under a
// visit key of its own. An event that makes a step panic is a dead letter alone (internal).
//
// Limits: an event's address and agent in clear live in one goroutine's
// scratch memory while the event is worked on, and are cleared after it. They
// are in no log, metric, error or record. A dead letter's value is the record's
// as it came, up to 64 KiB; beyond, it is empty. Offsets are committed after
// every output of the batch is acknowledged.
package enrich
