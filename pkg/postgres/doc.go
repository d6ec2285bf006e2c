// Package postgres is the connection configuration and the migrations of the
// Postgres database.
//
// Enters: a URL with a role's password. Leaves: a pgx pool configuration, and
// a database whose schema is that of schemas/postgres.
//
// Migrate logs in as app_migrate (or any member of app_owner), becomes
// app_owner, and applies what is missing under a session lock, so any number
// of starters may call it at once. It needs a direct connection: a pooler in
// transaction mode would hand the lock to somebody else.
//
// Dropped: pgx's messages about a URL it cannot read, because they may quote
// the password.
package postgres
