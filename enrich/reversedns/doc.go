// Package reversedns asks the operator's own resolver whose names a network has, for
// networks that no table and no database knows. It is off unless a resolver is
// configured, and only enrich has it.
//
// Enters: truncated networks, as they were opened (a /24 of IPv4, or a business network
// of /25 to /29), and a resolver's answers. Leaves: for a network the one registrable
// domain that all of it belongs to, or none and an outcome.
//
// An opened address is a network and never a host, so the name of a visitor's address is
// not asked for: it is not known here. Asked are the names of every address of the
// network, and what is found must hold for whichever of them the visitor has. A network
// has a domain when
//
//   - in each /29 of it at least half of the addresses have names (PTR, RFC 1035 §3.5;
//     through a CNAME as RFC 2317 delegates parts of a /24),
//   - every name that is there resolves back to its address (A, AAAA: forward-confirmed
//     reverse DNS, RFC 8499 §11; RFC 1912 §2.1 asks for it),
//   - no name is of the kind that access providers and hosters give to addresses they
//     let (Judge), and
//   - all names are under one registrable domain.
//
// The first thing that speaks against it ends the look-up, which is the first answer for
// most networks of access providers; an empty network takes eight questions. The resolver
// sees which networks are asked about, so it must be on the operator's own: an address
// that is not private or of this machine is refused.
//
// Dropped: IPv6, whose /48 has too many addresses to ask about; answers to another
// question, of another id, too long, or with names that are not hosts' names.
//
// Limits: questions under way at once, the time of each, what a batch waits; 64 networks
// under way; half a minute a network; 4 names an address; 8 aliases; 64 records and 16 KiB
// an answer. Answers hold for an hour (no answer: a minute) and are in memory until the
// first look-up after that, 8,192 networks at most. No error, log or metric has an address, a network or a name.
package reversedns
