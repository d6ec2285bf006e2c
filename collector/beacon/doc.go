// Package beacon reads the body of an events request.
//
// Enters: the bytes of one JSON object (docs of POST /v1/events). Leaves: a
// Batch whose slices point into the body or into the Batch. Dropped: every key
// that is not named here.
//
// One pass, no allocation once a Batch is warm. The grammar is RFC 8259, made
// strict where two readers could disagree: a duplicate key, a lone surrogate,
// invalid UTF-8, more than 64 keys in an object or 16 levels of nesting make
// the body malformed as a whole. A field of the wrong kind, or missing, faults
// its own event only.
package beacon
