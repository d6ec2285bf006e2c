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
package consent
