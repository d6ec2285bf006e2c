// Package consent decides what may be recorded of an event. It is pure: no
// clock, no network, no storage of its own.
//
// Enters: the site's Policy and the request's Signals: Sec-GPC, DNT, the
// visitor's own opt-out, and a Proof, which only Tokens.Verify and
// Withdrawals.Check make. Leaves: a Decision. Only a Decision can make an
// event, and the zero Decision allows nothing.
//
// The most restrictive signal wins. A missing, invalid, expired or foreign
// proof is denied; a page cannot claim a higher state, because a Proof has no
// exported field. A withdrawal of the same or a later sequence denies.
//
// Tokens are HMAC-SHA256 under a key the collectors share: the collector that
// verifies a token on each event is also the one that issues it, so a public
// key would buy nothing and cost a signature check per event.
package consent
