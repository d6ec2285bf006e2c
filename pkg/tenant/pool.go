package tenant

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/metiva-io/metiva/pkg/postgres"
)

// Pool holds the connections of app_rw. It offers none: Run does.
type Pool struct {
	pool *pgxpool.Pool
}

// ErrUnsafeDatabase is wrapped by every refusal of OpenPool and OpenWorker
// that is about the role or the schema.
var ErrUnsafeDatabase = errors.New("the database would not keep tenants apart")

// OpenPool connects, and refuses a role that row-level security does not bind
// (superuser, BYPASSRLS, an owner or a member of anything) and a schema with
// findings.
func OpenPool(ctx context.Context, cfg postgres.Config) (*Pool, error) {
	pool, err := open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if err := checkPool(ctx, pool); err != nil {
		pool.Close()
		return nil, err
	}
	return &Pool{pool: pool}, nil
}

// Close waits for running transactions and closes the connections.
func (p *Pool) Close() { p.pool.Close() }

// Ping makes one round trip, for readiness.
func (p *Pool) Ping(ctx context.Context) error {
	if err := p.pool.Ping(ctx); err != nil {
		return fmt.Errorf("reaching Postgres: %w", err)
	}
	return nil
}

func open(ctx context.Context, cfg postgres.Config) (*pgxpool.Pool, error) {
	pc, err := cfg.PoolConfig()
	if err != nil {
		return nil, fmt.Errorf("reading the Postgres configuration: %w", err)
	}
	// Only a connection that is idle goes back: an open transaction would carry
	// its context to the next user.
	pc.AfterRelease = func(conn *pgx.Conn) bool { return conn.PgConn().TxStatus() == txIdle }
	pool, err := pgxpool.NewWithConfig(ctx, pc)
	if err != nil {
		return nil, fmt.Errorf("opening the Postgres pool: %w", err)
	}
	return pool, nil
}

func checkPool(ctx context.Context, pool *pgxpool.Pool) error {
	if err := checkRole(ctx, pool); err != nil {
		return err
	}
	findings, err := Findings(ctx, pool)
	if err != nil {
		return err
	}
	if len(findings) == 0 {
		return nil
	}
	lines := make([]string, len(findings))
	for i, f := range findings {
		lines[i] = f.String()
	}
	return fmt.Errorf("%w: %s", ErrUnsafeDatabase, strings.Join(lines, "; "))
}

// checkRole refuses a role that has more than what it was granted.
func checkRole(ctx context.Context, pool *pgxpool.Pool) error {
	var (
		name                                  string
		super, bypass, creates, member, isSup bool
		same                                  bool
	)
	err := pool.QueryRow(ctx, queryRoleFlags).Scan(&name, &super, &bypass, &creates, &member, &isSup, &same)
	if err != nil {
		return fmt.Errorf("reading the flags of the database role: %w", err)
	}
	for _, f := range []struct {
		bad bool
		why string
	}{
		{super || isSup, "is a superuser"},
		{bypass, "has BYPASSRLS"},
		{creates, "may create roles"},
		{member, "is a member of another role"},
		{!same, "is not the role that logged in"},
	} {
		if f.bad {
			return fmt.Errorf("%w: role %s %s", ErrUnsafeDatabase, name, f.why)
		}
	}
	return nil
}
