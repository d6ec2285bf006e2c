// Package beacon reads the body of an events request.
//
// Enters: the bytes of one JSON object (docs of POST /v1/events). Leaves: a
// Batch whose slices point into the body or into the Batch. Dropped: every key
// that is not named here.
//
// # Fields
//
// Of the batch: site (the site key), sent_at (Unix milliseconds by the client's
// clock), consent (the token), opt_out (true, false), and events, a list. One
// event may stand at the top level instead of the list.
//
// Of every event: id (UUIDv7), type, at (Unix milliseconds), url (absolute, of
// the page), and referrer, which may be left out. Types and what they have
// besides:
//
//   - "page_view": nothing.
//   - "engagement": visible_ms, how long the page was visible, and scroll, the
//     deepest point scrolled to in percent. Whole numbers.
//   - "click": kind, "outbound" or "download", and target, the absolute address
//     the link leads to.
//   - "form": action, "start" or "submit", and form, the form's id. Never what the
//     form holds.
//   - "custom": name, and props, which may be left out: a flat object of strings,
//     numbers and booleans.
//
// A field of another type is an unknown key, whatever its value. Null counts as
// absent. What a type may hold and how long, package collector checks.
//
// # Form
//
// One pass, no allocation once a Batch is warm. The grammar is RFC 8259, made
// strict where two readers could disagree: a duplicate key, a lone surrogate,
// invalid UTF-8, more than 64 keys in an object or 16 levels of nesting make
// the body malformed as a whole, also inside of what is ignored. A field of the
// wrong kind, or missing, faults its own event only.
package beacon
