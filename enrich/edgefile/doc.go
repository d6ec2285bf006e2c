// Package edgefile makes the company database of the collectors: the business
// networks between /25 and /29 (pkg/businessnet, ADR 0020).
//
// Enters: the company databases and the decision chain that enrich works with.
// Leaves: the set of networks that the chain shows as a company.
//
// Dropped: everything else. A network of an access, hosting, mobile or research
// provider, of an anonymiser, a sole trader, one that is unclassified, reserved or
// suppressed for everyone: the chain shows none of these. Networks of other
// lengths: those up to /24 need no finer precision, and a longer one is never
// kept; its /24 stays ambiguous. IPv6: a /48 is never cut finer.
//
// Limits: what is suppressed for one tenant only is in the set; enrich knows the
// tenant and does not name it there.
package edgefile
