// Package collector is the HTTP edge: it decides about each event, strips it,
// seals what is personal, and answers when Kafka or its own disk has it.
//
// Enters: POST /v1/events, plain or in one content encoding (gzip, deflate, br,
// zstd), and with ?r=0 for an empty 204 when every event was accepted; POST and
// DELETE /v1/consent (package choice); POST /v1/captures (package form); GET
// /v1/pixel.gif, GET /v1/s.js, preflights; and by the Apply methods the control
// topics with sites, visit salts and withdrawals.
// Leaves: one CollectedEvent on events.collected per accepted event, one wrapped
// data key per tenant and day on control.keys, the counts of every outcome on
// ledger.edge; one chained record per choice on consent.records, and per
// withdrawal one on control.withdrawals as well; and the answer.
//
// The order for an event is: form (beacon), site key, origin, client address,
// consent (consent.Decide), bot (package crawler), prefetch, limits, reduction (mask), time, visit key,
// consent of the type (Decision.ReasonFor), what it says by its type, sealing
// (pkg/seal), produce, acknowledgement. A Decision that allows it is the only way to
// build an event.
//
// Without a grant an event is a page view: of every other type nothing is read, and
// it is dropped (consent_required). With one, an engagement is up to a day and the
// whole page; of a click the target's host is kept, of a download the path too; of a
// form its id and that it was begun or submitted, never what it holds; of a custom
// event its name and those properties the site has registered, others being left out
// and counted. What is too long is dropped (too_large), but for a property's text,
// which is cut; what is not of its form, or missing, is malformed. All of it is
// masked.
//
// Dropped: every event the order above refuses, each with a Reason, counted by
// tenant, site and minute of receipt. An event that Kafka did not acknowledge
// in time is answered "retry"; its record may or may not be in the log, and its
// id makes the repetition harmless.
//
// A choice is recorded before it is answered, one record of a chain at a time, so
// that no chain has holes (ADR 0016). A refusal is recorded under a random
// subject; an objection and a claim that does not grant leave nothing. A withdrawal
// counts here before it is durable and at every collector once it is on its topic.
// It needs a token we issued for the site, expired or not, and is limited by the
// network alone. Calls are counted in metiva_collector_consent_choices_total: the
// ledger is of events only. A choice that is answered "retry" may be in the chain;
// its repetition carries the same choice id.
//
// A form's post (POST /v1/captures, JSON or a browser's own encoding; package
// form reads it) needs the form's own ticked box: consent.Capturable. What is kept
// leaves as a key of the capture on control.keys, a consent record, and an event of
// type form with sealed fields, each durable before the next (ADR 0017). A browser
// is sent back to a registered address, whether its post was captured or dropped,
// or sees a page of ours. What a visitor typed is overwritten before the request's
// memory is used again, as far as it is ours: the server's read buffer is not.
//
// Never kept, logged or produced in clear: addresses, user agents, queries
// beyond the three campaign parameters, bodies, tokens. The server's own log
// lines carry peer addresses and are counted instead of written.
//
// Limits: Config names each with its default and reason. An event over a limit of
// its network, site or tenant is answered "retry"; a request of nothing else is
// answered 429, with Retry-After saying when the limit has room. Networks are
// remembered by a hash under a random key of the process and day, in a table of
// fixed size. A compressed body is decompressed up to BodyBytesMax and not a byte
// further, by as many decoders as there are processors.
//
// A record is durable when Kafka has acknowledged it, or when it is fsynced in the
// spool (package spool, ADR 0014): Durable hands it to Kafka and, after
// HedgeAfter, to the spool too, and sends again from there what Kafka did not get.
// What may arrive twice that way says so (CollectedEvent.replayed). With Kafka away
// and the spool full an event is answered "retry" with the reason overloaded.
//
// A request that waits for Kafka has left its handler: its connection holds the
// answer, and sends it, or another one, when the records are durable, have failed, or
// AckTimeout is over (ADR 0023).
//
// An ordinary request, as the snippet sends it, is read and served by its connection;
// the HTTP server sees only those that are anything else (ADR 0032).
//
// A stop finishes requests that have arrived, gives those being sent DrainGrace,
// and publishes the counts, all within DrainTimeout. The counts of the last
// second before a kill are not published; a clean stop publishes all.
package collector
