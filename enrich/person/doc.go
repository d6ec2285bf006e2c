// Package person makes a person of a consented capture, and of nothing else.
//
// Enters: a collected event that Consented accepts, the only way to a Captured; the
// site's registration (Sites, from control.sites); what the earlier steps decided about
// the event. Leaves: a Capture for captures.enriched, whose values are opened in memory,
// normalised by the kind of their field and sealed again under the key they were sealed
// under; and, in the event's own Resolution, whether the form confirms the company.
//
// Normalised: the domain of an e-mail address in lower case and ASCII (the part before
// the @ stays as typed); telephone numbers to E.164; names, companies and texts to
// Unicode NFC without characters nobody sees. What is not of its kind stays as it was
// typed. Each function gives its own output back unchanged.
//
// A company follows from an e-mail address in one case: when its domain is that of the
// account the visitor's network belongs to already. A domain of a mail service or an
// access provider (MailServices) never is a company. Every other domain stays sealed and
// is only said to be another one.
//
// Links: LinkedVisitor is made when the visitor id is there and the registered text the
// visitor agreed to says that visits are linked. Without either, nothing leads from the
// person to a visit.
//
// No hash, index or count is made of a value: the same address in two tenants, or twice
// in one, gives records with nothing in common but their site. Nothing depends on another
// event, so whatever order events come in, the outcome is the same.
//
// Limits: opened values live in one Scratch, cleared by Clear; no function turns them into
// a string, an error, a log entry or an interface value, which pkg/seal/leaktest checks.
// Two places cannot be cleared: the stack of Unicode's normalisation, which holds a few
// characters, and the domain of an address with letters beyond ASCII, which package idna
// takes as a string.
package person
