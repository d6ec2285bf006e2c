// Package tenant is the only way to a database connection on behalf of a
// tenant.
//
// Enters: a Claim (which tenant, on whose behalf) and a function. Leaves: the
// function's effects, in one transaction in which Postgres itself knows the
// tenant: app.company_id, app.brand_ids and app.actor are set for that
// transaction only, and row-level security does the rest. The same round trip
// reads the tenant's status and the user's membership, so access that was
// taken away ends with the next call.
//
// A Claim cannot be made by hand: its fields are unexported, and its
// constructors are OperatorClaim (the operator's commands and the product's
// own schedules) and FromToken (a token checked by the sign-in service's
// verifier). A header, a parameter or a body never makes one.
//
// OpenPool refuses a role that could pass row-level security, and a database
// whose catalogue has a hole (Findings). OpenWorker opens the second kind of
// connection, for the outbox and schedules, and refuses a role that can read
// a tenant table.
//
// Dropped: a connection on which a context outlived its transaction is closed
// and never used again.
//
// Limits: one transaction per Run; the function must not keep the Tx.
package tenant
