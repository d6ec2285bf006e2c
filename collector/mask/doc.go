// Package mask reduces what a page says about itself to what may be kept.
//
// Enters: a page's URL and a referrer, as sent; where a link leads; what the
// site's own script reports. Leaves: the page's origin (for the check against the
// site's allowed origins), its host, its path, the three allow-listed campaign
// values, and the referrer's host; a link's host, and its path where that is asked
// for; texts and names. Dropped: the rest of the query, fragment, credentials,
// port, path parameters after a semicolon.
//
// A path segment, campaign value, host label, text or name that holds an e-mail address, a
// token, an IBAN, a BSN, a card or another long number is replaced whole by a
// placeholder that says what stood there. Percent-encoding is undone, up to
// three times, before looking, and what is encoded deeper is replaced unseen;
// characters nobody sees, and those that stand for plain ones, are read as if
// they were not there, or as the plain ones; an at sign that is spelled, and an
// address in base64, are read too. What is found is a matter of form: a name in a
// path cannot be told from any other word.
//
// All functions are pure and hold on to nothing.
package mask
