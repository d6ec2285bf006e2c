// Package company decides which organisation a visit comes from, or why none
// is named.
//
// Enters: a network (usually a truncated address) and what the address
// databases know of it. Leaves: a Resolution with a verdict, and for
// VERDICT_COMPANY an account, a name and a domain. Nothing is looked up here:
// the decision is a pure function of its input and of tables that are fixed
// when the Chain is made.
//
// The chain, first hit wins: reserved range; suppressed prefix; no record or
// ambiguous truncation; anonymiser; override prefix; hosting; mobile; kind of
// the AS by its number (access provider, research network, organisation,
// unknown); sole trader. A company is shown at a confidence of 0.6 or more. A
// network that is in no table is unclassified and not shown: an AS name alone
// says who announces an address, not who uses it.
//
// Tables (data/*.tsv, each line with its source): systems.tsv, the kind of an
// AS by its number; overrides.tsv, prefixes of organisations behind a shared
// network; reserved.tsv, from the IANA special-purpose registries.
package company
