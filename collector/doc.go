// Package collector is the HTTP edge: it decides about each event, strips it,
// seals what is personal, and answers when Kafka has it.
//
// Enters: POST /v1/events, GET /v1/pixel.gif, GET /v1/s.js, preflights; and by
// the Apply methods the control topics with sites, visit salts and withdrawals.
// Leaves: one CollectedEvent on events.collected per accepted event, one wrapped
// data key per tenant and day on control.keys, the counts of every outcome on
// ledger.edge, and the answer.
//
// The order for an event is: form (beacon), site key, origin, client address,
// consent (consent.Decide), prefetch, reduction (mask), time, visit key, sealing
// (pkg/seal), produce, acknowledgement. A Decision that allows it is the only
// way to build an event.
//
// Dropped: every event the order above refuses, each with a Reason, counted by
// tenant, site and minute of receipt. An event that Kafka did not acknowledge
// in time is answered "retry"; its record may or may not be in the log, and its
// id makes the repetition harmless.
//
// Never kept, logged or produced in clear: addresses, user agents, queries
// beyond the three campaign parameters, bodies, tokens. The server's own log
// lines carry peer addresses and are counted instead of written.
//
// Limits: Config names each with its default and reason. The counts of the last
// second before a kill are not published; a clean stop publishes all.
package collector
