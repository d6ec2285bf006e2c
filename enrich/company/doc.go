// Package company decides which organisation a visit comes from, or why none
// is named.
//
// Enters: a network (usually a truncated address) and what the address
// databases know of it (geo.Answer). Leaves: a Resolution with a verdict, its
// source, confidence and evidence, and for VERDICT_COMPANY an account, a name and
// a domain. Nothing is looked up here: the decision is a pure function of its
// input and of tables that are fixed when the Chain is made.
//
// The chain, first hit wins: reserved range; suppressed prefix (the tenant's own,
// an opt-out, the operator's); anonymiser; override prefix; hosting; mobile; more
// than one record, or none, for the network; a commercial database's record; the
// operator's CSV; kind of the AS by its number (access provider, research
// network, organisation, unknown); a person's name. A company is shown at a
// confidence of 0.6 or more, and never for a network of which a database says
// something else of a part. A network that is in no table is unclassified and not
// shown: an AS name alone says who announces an address, not who uses it. An
// access provider that the tables or a database know is not shown, whatever another
// database calls it.
//
// Tables (data/*.tsv, each line with its source): systems.tsv, the kind of an
// AS by its number; overrides.tsv, prefixes of organisations behind a shared
// network; anonymizers.tsv, networks that hide their users within others;
// providers.tsv, names and domains of access providers; reserved.tsv, from the
// IANA special-purpose registries. Tenants register their own
// suppressions in core (Registered). An operator adds suppressions and a CSV (Lists).
//
// Errors about suppressions and the CSV name the line and never its content,
// which may be a person's address.
package company
