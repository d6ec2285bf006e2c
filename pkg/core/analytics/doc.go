// Package analytics owns every question asked of ClickHouse: the tenants'
// reports and the operators' ledger. Nothing else reads (the sink's look-up of
// its own rows apart), and no SQL comes from outside.
//
// Enters: a verified tenant with a filter and a page, or an operator's point in time.
// Leaves: visits, companies, days and counts. No visitor's id leaves,
// but in the export of a tenant's own rows (export.go).
//
// A Reader exists only for a VerifiedTenant and answers for that tenant alone:
// each statement names the tenant in its predicate, and the setting
// additional_table_filters puts the same condition under every table of the
// statement, so that one that forgets the predicate still sees one tenant.
//
// On real servers Readers (policies.go) checks at the start that row policies hold the
// connection's user as well, and each statement states its tenant for them.
//
// Questions about some days read whole days that were counted (span.go) and the rest
// from the rows; Counter counts them, across tenants, and shows nobody anything.
//
// The Operator answers across tenants, with counts by tenant and reason and
// nothing else: no page, no company, no visit.
//
// A question of a tenant may take so much time, memory and rows (limits.go), and ends
// with ErrTooMuch beyond that. Lists are pages by a key: the last row's sort value and
// key are the cursor. A row whose sort value changes between two pages may so be seen
// twice or not at all, as any list that moves.
//
// The Retainer changes rows across tenants, and only when they go: nearer, as a site's
// retention says.
//
// # Limits
//
// The ledger balances over what is kept: rows past a tenant's retention are
// gone, so since should not lie before the shortest retention. It is also
// behind by what is on its way; ask again until it balances or a deadline, or say
// from which age on an event must have its row.
package analytics
