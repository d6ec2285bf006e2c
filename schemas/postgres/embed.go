package postgres

import (
	"embed"
	"io/fs"
)

//go:embed migrations/*.sql
var migrations embed.FS

//go:embed roles.sql
var roles string

// Migrations are the goose files, at the root of the file system.
func Migrations() (fs.FS, error) { return fs.Sub(migrations, "migrations") }

// Roles is roles.sql: idempotent, plain SQL.
func Roles() string { return roles }

// The roles of roles.sql.
const (
	// RoleOwner owns every schema and table; it cannot log in.
	RoleOwner = "app_owner"
	// RoleMigrate logs in and becomes RoleOwner for migrations.
	RoleMigrate = "app_migrate"
	// RoleRW serves requests, always inside one tenant's context.
	RoleRW = "app_rw"
	// RoleLogin is the login service's, with schema identity only.
	RoleLogin = "app_login"
	// RoleWorker moves the outbox to Kafka and sees which tenants exist; it
	// reads no tenant table.
	RoleWorker = "app_worker"
	// RoleBackup reads everything for pg_dump.
	RoleBackup = "app_backup"
)

// LoginRoles are the roles that log in, in the order they are created.
func LoginRoles() []string {
	return []string{RoleMigrate, RoleRW, RoleLogin, RoleWorker, RoleBackup}
}
