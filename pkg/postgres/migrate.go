package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/metiva-io/metiva/pkg/secret"
	schema "github.com/metiva-io/metiva/schemas/postgres"
)

// Migration is one migration file and when it was applied.
type Migration struct {
	Version int64
	Name    string
	// AppliedAt is zero while the migration is pending.
	AppliedAt time.Time
}

// Applied reports whether the database has the migration.
func (m Migration) Applied() bool { return !m.AppliedAt.IsZero() }

const (
	// migrationLock is the advisory lock of migrations ("metiva" in hex).
	migrationLock = 0x6d6574697661
	// A starter waits this long for another one's migrations.
	lockWaitSeconds = 300
	versionTable    = "core.schema_migrations"
)

// Migrate applies the pending migrations and returns those it applied itself.
func Migrate(ctx context.Context, url secret.Text, log *slog.Logger) ([]Migration, error) {
	var applied []Migration
	err := withProvider(ctx, url, log, func(p *goose.Provider) error {
		results, err := p.Up(ctx)
		for _, r := range results {
			applied = append(applied, Migration{Version: r.Source.Version, Name: baseName(r.Source.Path), AppliedAt: time.Now().UTC()})
		}
		if err != nil {
			return fmt.Errorf("applying Postgres migrations: %w", err)
		}
		return nil
	})
	return applied, err
}

// Status lists every migration, in order, with when it was applied.
func Status(ctx context.Context, url secret.Text, log *slog.Logger) ([]Migration, error) {
	var all []Migration
	err := withProvider(ctx, url, log, func(p *goose.Provider) error {
		status, err := p.Status(ctx)
		if err != nil {
			return fmt.Errorf("reading the state of Postgres migrations: %w", err)
		}
		for _, s := range status {
			all = append(all, Migration{Version: s.Source.Version, Name: baseName(s.Source.Path), AppliedAt: s.AppliedAt})
		}
		return nil
	})
	return all, err
}

// Rollback takes every migration back, newest first, and with them all data.
// It is for tests and for a database that is to be made anew.
func Rollback(ctx context.Context, url secret.Text, log *slog.Logger) error {
	return withProvider(ctx, url, log, func(p *goose.Provider) error {
		if _, err := p.DownTo(ctx, 0); err != nil {
			return fmt.Errorf("taking Postgres migrations back: %w", err)
		}
		return nil
	})
}

func withProvider(ctx context.Context, url secret.Text, log *slog.Logger, do func(*goose.Provider) error) (err error) {
	db, err := openOwner(ctx, url)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	files, err := schema.Migrations()
	if err != nil {
		return fmt.Errorf("reading the migration files: %w", err)
	}
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockID(migrationLock), lock.WithLockTimeout(1, lockWaitSeconds))
	if err != nil {
		return fmt.Errorf("preparing the migration lock: %w", err)
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, db, files,
		goose.WithSessionLocker(locker),
		goose.WithTableName(versionTable),
		goose.WithDisableGlobalRegistry(true),
		goose.WithSlog(log))
	if err != nil {
		return fmt.Errorf("reading the migrations: %w", err)
	}
	return do(provider)
}

// openOwner connects, makes sure the roles and the schema of the version table
// are there, and returns a database handle whose every connection is app_owner.
func openOwner(ctx context.Context, url secret.Text) (*sql.DB, error) {
	pool, err := Config{URL: url}.PoolConfig()
	if err != nil {
		return nil, err
	}
	cfg := pool.ConnConfig
	// A migration may wait long between two statements of its transaction.
	delete(cfg.RuntimeParams, "idle_in_transaction_session_timeout")
	if err := prepare(ctx, cfg); err != nil {
		return nil, err
	}
	return stdlib.OpenDB(*cfg, stdlib.OptionAfterConnect(becomeOwner)), nil
}

func becomeOwner(ctx context.Context, conn *pgx.Conn) error {
	if _, err := conn.Exec(ctx, "SET ROLE "+schema.RoleOwner); err != nil {
		return fmt.Errorf("becoming %s: %w", schema.RoleOwner, err)
	}
	return nil
}

// ErrRolesMissing says that the cluster has not been prepared.
var ErrRolesMissing = errors.New("the roles of schemas/postgres/roles.sql are missing; run that file once as the cluster's administrator")

// prepare creates the roles when the connection may, and the schema that holds
// the version table.
func prepare(ctx context.Context, cfg *pgx.ConnConfig) (err error) {
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return fmt.Errorf("connecting to Postgres for migrations: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	names := append([]string{schema.RoleOwner}, schema.LoginRoles()...)
	var present int
	var super bool
	if err := conn.QueryRow(ctx, queryRolesPresent, names).Scan(&present, &super); err != nil {
		return fmt.Errorf("looking for the roles: %w", err)
	}
	if present < len(names) {
		if !super {
			return ErrRolesMissing
		}
		if _, err := conn.Exec(ctx, schema.Roles()); err != nil {
			return fmt.Errorf("creating the roles: %w", err)
		}
	}
	if super {
		// app_owner needs this to make its schemas; in production roles are made
		// and the database is handed over by the administrator.
		if _, err := conn.Exec(ctx, queryGrantCreate); err != nil {
			return fmt.Errorf("granting the database to %s: %w", schema.RoleOwner, err)
		}
	}
	// As whoever of the two owns the database.
	if _, err := conn.Exec(ctx, queryRevokeTemporary); err != nil {
		return fmt.Errorf("revoking temporary tables: %w", err)
	}
	if err := becomeOwner(ctx, conn); err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, queryRevokeTemporary); err != nil {
		return fmt.Errorf("revoking temporary tables: %w", err)
	}
	if _, err := conn.Exec(ctx, queryCreateCore); err != nil {
		return fmt.Errorf("creating the schema of the version table: %w", err)
	}
	return nil
}

func baseName(path string) string {
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		return path[i+1:]
	}
	return path
}
