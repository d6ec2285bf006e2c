// Package form reads the posts of forms, and only what a form's policy names.
//
// Enters: a form's policy (FormPolicy of control.sites) and the body of a post,
// in JSON or as application/x-www-form-urlencoded. Leaves: what the post says of
// site, form, consent and page, and the values of the named fields, as slices
// into the body or into the Post.
//
// Dropped: every field the policy does not name, without a copy; the value of a
// named field that holds a card number, an IBAN, a BSN or a token, or that is
// not of its field's kind. Refused as a whole: a duplicate of a member or field
// that is read, bytes that are not UTF-8, control characters, a field over its
// limit, a required field without a value, a post without any.
//
// In a form post the names that begin with "metiva_" are ours: metiva_site,
// metiva_form, metiva_consent (the box: "on", "1", "true" or "yes"),
// metiva_text_version, and, optional, metiva_language, metiva_redirect,
// metiva_url and metiva_id. Another name of that prefix is malformed, since it is
// a name spelt wrong.
//
// A policy is taken whole or not at all: one with a faulty field, text or
// address captures nothing, which the site's own tests show at once.
//
// An address to go back to is compared with the registered ones as a whole, in
// one spelling; it holds no user, no fragment, no dot segments, no backslash and
// nothing beyond ASCII. The registered text is the answer, never what was sent.
//
// Limits are in schemas/limits.go, and PairsMax.
package form
