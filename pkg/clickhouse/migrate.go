package clickhouse

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"regexp"
	"slices"
	"strconv"
	"time"

	driver "github.com/ClickHouse/clickhouse-go/v2"
)

// migrationsTable records what was applied. A version written twice, by two
// starters at once, is one row after merging and under FINAL.
const migrationsTable = `CREATE TABLE IF NOT EXISTS schema_migrations (
	version UInt32,
	name String,
	sha256 String,
	applied_at DateTime64(3, 'UTC') DEFAULT now64(3)
) ENGINE = ReplacingMergeTree(applied_at) ORDER BY version`

// Migration is one file and what the database knows of it.
type Migration struct {
	Version int
	Name    string
	// AppliedAt is zero for a file that was not applied.
	AppliedAt time.Time
	// Changed means that the file differs from the one that was applied.
	Changed bool
	// Unknown means that the database has it and the files do not: a newer
	// release was here.
	Unknown bool

	sha256 string
	sql    string
}

// Applied reports whether the database has the migration.
func (m Migration) Applied() bool { return !m.AppliedAt.IsZero() }

var fileName = regexp.MustCompile(`^(\d{4})_([a-z0-9_]+)\.sql$`)

// Migrate creates the database when it is missing, applies the files that were
// not applied yet in the order of their numbers, and returns those. Running it
// again, or in several starters at once, changes nothing.
func Migrate(ctx context.Context, c *Conn, files fs.FS, log *slog.Logger) ([]Migration, error) {
	if err := c.ensureDatabase(ctx); err != nil {
		return nil, err
	}
	if err := c.Exec(ctx, migrationsTable); err != nil {
		return nil, fmt.Errorf("creating schema_migrations: %w", err)
	}
	all, err := Status(ctx, c, files)
	if err != nil {
		return nil, err
	}
	for _, m := range all {
		switch {
		case m.Changed:
			return nil, fmt.Errorf("migration %04d_%s was changed after it was applied: write a new one", m.Version, m.Name)
		case m.Unknown:
			log.Warn("the database has a migration this release does not know", "version", m.Version, "name", m.Name)
		}
	}
	var applied []Migration
	for _, m := range all {
		if m.Applied() {
			continue
		}
		if err := c.apply(ctx, m); err != nil {
			return applied, err
		}
		log.Info("clickhouse migration applied", "version", m.Version, "name", m.Name)
		applied = append(applied, m)
	}
	return applied, nil
}

// Status lists every migration of the files and of the database by version.
// It changes nothing; a database that does not exist has no migration.
func Status(ctx context.Context, c *Conn, files fs.FS) ([]Migration, error) {
	all, err := readMigrations(files)
	if err != nil {
		return nil, err
	}
	err = c.Each(ctx, "SELECT version, name, sha256, applied_at FROM schema_migrations FINAL ORDER BY version",
		func(scan func(...any) error) error {
			var version uint32
			var m Migration
			if err := scan(&version, &m.Name, &m.sha256, &m.AppliedAt); err != nil {
				return err
			}
			m.Version = int(version)
			i := slices.IndexFunc(all, func(f Migration) bool { return f.Version == m.Version })
			if i < 0 {
				m.Unknown = true
				all = append(all, m)
				return nil
			}
			all[i].AppliedAt, all[i].Changed = m.AppliedAt, all[i].sha256 != m.sha256
			return nil
		})
	if code, ok := Code(err); ok && (code == CodeUnknownTable || code == CodeUnknownDatabase) {
		return all, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading schema_migrations: %w", err)
	}
	slices.SortFunc(all, func(a, b Migration) int { return a.Version - b.Version })
	return all, nil
}

func (c *Conn) apply(ctx context.Context, m Migration) error {
	statements, err := splitStatements(m.sql)
	if err != nil {
		return fmt.Errorf("reading migration %04d_%s: %w", m.Version, m.Name, err)
	}
	for i, sql := range statements {
		// Mutations of a migration end before the next statement runs. One that fills a
		// table from another may write to all partitions at once.
		if err := c.Exec(ctx, sql, Setting("mutations_sync", 2), Setting("alter_sync", 2), Setting("max_partitions_per_insert_block", 0)); err != nil {
			return fmt.Errorf("migration %04d_%s, statement %d: %w", m.Version, m.Name, i+1, err)
		}
	}
	err = c.Insert(ctx, "schema_migrations", "", []Column{
		{"version", []uint32{uint32(m.Version)}}, {"name", []string{m.Name}}, {"sha256", []string{m.sha256}},
	})
	if err != nil {
		return fmt.Errorf("recording migration %04d_%s: %w", m.Version, m.Name, err)
	}
	return nil
}

// ensureDatabase creates the database unless it is there. A role without the
// right to create databases can so work in one that was made for it.
func (c *Conn) ensureDatabase(ctx context.Context) error {
	err := c.Ping(ctx)
	if err == nil {
		return nil
	}
	if code, ok := Code(err); !ok || code != CodeUnknownDatabase {
		return err
	}
	options, err := c.cfg.options(c.target, "")
	if err != nil {
		return err
	}
	d, err := driver.Open(options)
	if err != nil {
		return fmt.Errorf("opening clickhouse: %w", err)
	}
	// The name is checked against databaseName when the URL is read.
	err = d.Exec(ctx, "CREATE DATABASE IF NOT EXISTS "+c.Database())
	if err := errors.Join(err, d.Close()); err != nil {
		return fmt.Errorf("creating database %s: %w", c.Database(), quiet(err))
	}
	return nil
}

// readMigrations reads the files, ordered by version.
func readMigrations(files fs.FS) ([]Migration, error) {
	names, err := fs.Glob(files, "*.sql")
	if err != nil {
		return nil, fmt.Errorf("listing migrations: %w", err)
	}
	slices.Sort(names)
	var all []Migration
	for _, name := range names {
		parts := fileName.FindStringSubmatch(name)
		if parts == nil {
			return nil, fmt.Errorf("migration %s is not named NNNN_name.sql", name)
		}
		content, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, fmt.Errorf("reading migration %s: %w", name, err)
		}
		version, _ := strconv.Atoi(parts[1])
		if n := len(all); n > 0 && all[n-1].Version == version {
			return nil, fmt.Errorf("two migrations have the number %04d", version)
		}
		sum := sha256.Sum256(content)
		all = append(all, Migration{Version: version, Name: parts[2], sha256: hex.EncodeToString(sum[:]), sql: string(content)})
	}
	return all, nil
}
