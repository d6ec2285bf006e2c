// Package businessnet is the company database of a collector: the business
// networks between /25 and /29 that an address may be cut to instead of /24
// (precision "network", ADR 0020).
//
// Enters: a file written by metiva geo networks (Parse, Open), or networks (New).
// Leaves: for an IPv4 address, how long the business network around it is, or 0.
//
// A Set holds networks and nothing else: no names, no numbers of autonomous
// systems, nothing of IPv6. Which networks are a business's is not decided here,
// but where the file is made, by the decision chain of enrich. A network is one
// 32-bit number, so that a length outside /25 to /29 cannot even be written down:
//
//	network address, upper 29 bits | length less 25, lower 3 bits
//
// The file is, in big endian:
//
//	"MTVBNET1" | build time, Unix seconds (8) | count (4) | count networks (4 each), ascending | SHA-256 of all before (32)
//
// Dropped: nothing. A file that is not exactly this is refused as a whole, and
// where one was in use before, that stays.
//
// Limits: 2^24 networks, which is a file and memory of 64 MiB; while a file is
// read, its bytes and the set before are in memory as well. The checksum finds
// damage, not malice: whoever can write the file decides which of these lengths an
// address is cut to, but never to a longer one.
package businessnet
