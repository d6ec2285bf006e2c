// Package registry is the record of agencies, tenants, brands and sites, and
// the source of the control topics.
//
// Enters: operators' and, later, members' changes, each inside one tenant's
// context. Leaves: rows in schema core and, written in the same transaction, a
// record in the outbox for each changed site; the Publisher moves the outbox
// to control.sites in order, and publishes to control.keys the wrapped visit
// salt of each active tenant for today and the two days after it.
//
// Networks that are not resolved are kept with who added them and why; their list goes
// to control.suppressions as a whole with each change, a tenant's under its id and that
// for everybody, which the worker's role writes, under an id no tenant has.
//
// A site's consent texts are kept whole, append-only, because consents rest on
// them; the record carries their versions and hashes. A form's policy names the
// fields that may be captured; names of passwords, cards, accounts and identity
// numbers are refused.
//
// Dropped: a visit salt is forgotten as soon as it was wrapped; it is never
// stored, in clear or wrapped, and its record is tombstoned 48 hours after its
// day ended, so no visit key links two days.
//
// Delivery is at least once and, for one site, in order: a crash between the
// acknowledgement of Kafka and the commit sends the same records again. The
// version in each SiteRecord rises, so a reader may keep the greatest.
//
// An overview over tenants is one list of ids from the directory and then one
// tenant-bound query for each, never a query across tenants.
//
// Limits: names, origins, sites of a tenant and the overlap of a key rotation
// are bounded by the constants of this package.
package registry
