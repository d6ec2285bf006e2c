// Package visit assembles visits from events.
//
// Enters: enriched events of people, each with its offset on events.collected, in
// the order of the log; and the rules of their sites. Leaves: Visit messages, each a
// whole picture of one visit, and the journals from which a successor goes on.
//
// A visit is made of the events of one visitor, or of one anonymous visit key
// where there is no visitor. Events are ordered by when they occurred, then by id.
// A visit begins with the first, and another begins after the site's idle time (an
// engagement covers the time the page was visible), at the site's midnight, and at a
// page view with another campaign: the latter two where the site's rules say so.
// An engagement never begins a visit for midnight's sake: it belongs to its page.
// Assemble says all this as a pure function of a set of events; a Set gives the same
// visits event by event, whatever the order and however often each event comes.
//
// Of two events with one id the one that occurred earlier counts, then the one that
// was received earlier, so that the order in which they come does not matter.
//
// A visit's id is made from its first event. When a late event comes to be the first,
// or joins two visits, ids end: a removal says so. A visit's version is made from the
// offset of the record that last changed it, and is the same each time the log is
// read, however its reader is interrupted.
//
// Dropped: a bot's events (they are no visit), repetitions, and late events from
// before the part of a journal that was folded away; all are counted.
//
// What is written of a set has its owner's epoch in the key (JournalKey, CheckpointKey).
// Restored finds the state that counts: that of the owner with the highest epoch who
// came to write a checkpoint (ADR 0040).
//
// Limits: a journal holds 2,000 events; beyond, its oldest visits leave it as they
// stand, and then the oldest events of the last visit are folded into sums. A
// journal leaves the set when nothing that a collector still accepts can join its
// visits, or, from the one that was silent longest on, when the set is over its
// bytes. What comes for it later begins a visit of its own. A Set belongs to one
// goroutine at a time.
package visit
