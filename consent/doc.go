// Package consent decides what may be recorded of an event. It is pure: no
// clock, no network, no storage of its own.
//
// Enters: the site's Policy and the request's Signals: Sec-GPC, DNT, the
// visitor's own opt-out, a Proof, which only Tokens.Verify and
// Withdrawals.Check make, and what the page claims. Leaves: a Decision. Only a
// Decision can make an event, and the zero Decision allows nothing.
//
// The most restrictive signal wins. A missing, invalid, expired or foreign
// proof is denied; a page cannot claim a higher state, because a Proof has no
// exported field. A withdrawal of the same or a later sequence denies.
//
// A Claim is what the page reports of a banner, a consent platform, a TC string
// (package tcf) or Google Consent Mode. It is not signed, so in Decide it may
// only lower: a refusal beside a valid proof is denied, and so is a claim that
// cannot be read. Grantable is the one way from a claim to a proof: it says
// whether a claim is exchanged for a token, and what the consent record keeps
// of it. Consent Mode never grants.
//
// Capturable decides about a form's post, from the form's own ticked box and the
// text registered for it: the one way to the state identified. It is strict
// where Decide is, and a grant for analytics neither suffices for it nor is
// needed. Without one the person gets a receipt id, which nothing links to
// visits.
//
// Tokens are HMAC-SHA256 under a key the collectors share: the collector that
// verifies a token on each event is also the one that issues it, so a public
// key would buy nothing and cost a signature check per event.
//
// # Records
//
// A choice is recorded after ISO/IEC TS 27560:2023, in a chain per tenant and run
// of a collector (ADR 0016). RecordHash is the SHA-256 of this encoding, in which
// two different records are never the same bytes:
//
//   - a text or byte field is its length in 4 bytes, big-endian, and its bytes;
//   - a number or enum is 8 bytes, big-endian;
//   - a list is its length in 4 bytes and each entry as a text.
//
// First comes the text "metiva consent record v1", then every field of
// ConsentRecord in the order of the field numbers, set or not, without
// record_sha256. The first record of a chain has the position 1 and an empty
// previous_sha256; each other names the record_sha256 of the one before.
//
// Vector: the record with record id 16×01, schema version 1, company
// "cmp_aaaaaaaaaaaaaaaaaaaa", site "sit_aaaaaaaaaaaaaaaaaaaa", subject 16×ee,
// sequence 1, state 4, purposes "analytics", text version "nl-1", text SHA-256
// 32×07, language "nl", source "banner", given 1795348830001, expires
// 1826884830000, lawful basis "consent", kind 1, UI variant "a", policy version 3,
// evidence 16×01, chain "edge-1", position 1 and every other field empty has the
// hash 5b803b512c9a5b251d5ee1cd1ea1d0277b6790e4914aa634b3fe39ded4508ef4.
//
// A Verifier takes records in any order. It finds a record that was changed,
// removed between two others, moved, or doubled with another content. It cannot see
// a tail that was removed, unless its head was noted elsewhere, nor a beginning,
// once retention removes beginnings too.
package consent
