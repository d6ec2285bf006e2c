// Package postgres holds the Postgres schema as files: roles.sql, which an
// administrator runs once per cluster, and the goose migrations, which run as
// app_owner in one database.
//
// Enters: nothing. Leaves: the files. Limits: a migration never names a role
// outside roles.sql and never changes roles, because roles belong to the whole
// cluster and migrations to one database.
package postgres
