// Package orgname reads names and domains of organisations.
//
// Enters: a name or a domain as a database has it. Leaves: whether the name is
// a natural person's; the registrable domain; a key that is the same for the
// spellings of one name in several databases; whether two names, or a name and a
// domain, are one organisation's.
//
// All functions are pure. They err towards showing less: a name that may be a
// person's is one, and a domain that may be the access provider's is not the
// company's.
//
// Limits: nothing here is called for an event. Databases call it once for each
// record they decode, tables once when they are read.
package orgname
