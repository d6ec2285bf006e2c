// Package geo builds and reads the address databases: which autonomous system
// announces an address, and in which country its network is registered.
//
// Enters: the CSV files of the open ASN data package and a country database
// (Build); a prefix or an address (View.Lookup). Leaves: an mmdb file with an
// attribution file next to it; an Answer with AS number, organisation, country
// and the length of the matched network.
//
// The containment rule: the events carry truncated addresses, so a record
// counts only if its network is no longer than the truncation. A longer one
// covers a part of the truncated block and could name another organisation
// than the visitor's; such a lookup answers OutcomeAmbiguous and nothing else.
//
// Dropped while building: the IPv4 aliases 2001::/32 (Teredo) and 2002::/16
// (6to4), which the file format maps onto the IPv4 tree, and reserved ranges.
//
// Limits: nothing here is keyed by address. The reader keeps decoded records
// by their offset in the file, at most recordSlots of them, so that a lookup
// does not allocate. This is the only package that imports maxminddb and
// mmdbwriter.
package geo
