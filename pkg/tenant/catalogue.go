package tenant

import (
	"context"
	_ "embed"
	"fmt"

	"github.com/jackc/pgx/v5"
)

//go:embed catalogue.sql
var queryCatalogue string

// Finding is a hole in the separation of tenants.
type Finding struct {
	// Object is the table, view, function, schema or role.
	Object string
	// What is wrong with it.
	What string
}

// String is "object: what".
func (f Finding) String() string { return f.Object + ": " + f.What }

// querier is a connection, a pool or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// Findings reads the database's catalogue and lists what would let one tenant
// see or touch another's rows (catalogue.sql has each rule and each
// exception). Any role may ask.
func Findings(ctx context.Context, db querier) ([]Finding, error) {
	rows, err := db.Query(ctx, queryCatalogue)
	if err != nil {
		return nil, fmt.Errorf("checking the database catalogue: %w", err)
	}
	findings, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Finding])
	if err != nil {
		return nil, fmt.Errorf("checking the database catalogue: %w", err)
	}
	return findings, nil
}
