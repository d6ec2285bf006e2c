// Package audit records who did what with a tenant's data.
//
// Enters: an Entry, with the claim of who acts. Leaves: a row of core.audit_records,
// durable when Append returns; Each reads a tenant's rows, a page at a time, and checks
// their chain; Unfinished knows what was begun and has no end.
//
// Rows are added and never changed: no role may update or delete them. Each holds the
// SHA-256 of what it says and of the hash of the one before it, per tenant, so that a
// row changed or taken away in between is found (ErrChain). Rows taken away at the end
// are found by whoever noted the last hash.
//
// What an action did is not undone when it cannot be recorded: record that it begins,
// and do not begin when that fails.
//
// Dropped: nothing. Details hold ids, counts and hashes, never a visitor's value.
//
// Limits: who has the database's own administrator can write a chain anew. An erased
// tenant's records stay: they name ids.
package audit
