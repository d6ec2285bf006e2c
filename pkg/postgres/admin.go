package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/metiva-io/metiva/pkg/secret"
)

// Administer runs statements one after another on a connection of its own,
// outside a transaction: creating and dropping databases, faults planted by
// tests. It is for administrators and tests; requests go through pkg/tenant.
func Administer(ctx context.Context, url secret.Text, statements ...string) (err error) {
	pool, err := Config{URL: url}.PoolConfig()
	if err != nil {
		return err
	}
	conn, err := pgx.ConnectConfig(ctx, pool.ConnConfig)
	if err != nil {
		return fmt.Errorf("connecting to Postgres: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	for _, statement := range statements {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return fmt.Errorf("administering Postgres: %w", err)
		}
	}
	return nil
}

// CreateDatabase is the statement that copies a database.
func CreateDatabase(name, template, owner string) string {
	return fmt.Sprintf("CREATE DATABASE %s TEMPLATE %s OWNER %s",
		pgx.Identifier{name}.Sanitize(), pgx.Identifier{template}.Sanitize(), pgx.Identifier{owner}.Sanitize())
}

// DropDatabase is the statement that drops a database and ends its
// connections.
func DropDatabase(name string) string {
	return fmt.Sprintf("DROP DATABASE IF EXISTS %s WITH (FORCE)", pgx.Identifier{name}.Sanitize())
}

// RevokeTemporary is the statement that keeps everybody but the database's
// owner from creating temporary tables in it (see queryRevokeTemporary).
func RevokeTemporary(name string) string {
	return "REVOKE TEMPORARY ON DATABASE " + pgx.Identifier{name}.Sanitize() + " FROM PUBLIC"
}
