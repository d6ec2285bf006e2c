package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"

	driver "github.com/ClickHouse/clickhouse-go/v2"
	rowdriver "github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// Conn is a pool of connections to one database. It is safe for concurrent
// use.
type Conn struct {
	cfg    Config
	target target
	driver rowdriver.Conn
	shapes shapes
}

// Open makes the pool. It connects lazily: a ClickHouse that is away shows in
// the first call.
func Open(cfg Config) (*Conn, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	t, err := cfg.target()
	if err != nil {
		return nil, err
	}
	options, err := cfg.options(t, t.database)
	if err != nil {
		return nil, err
	}
	d, err := driver.Open(options)
	if err != nil {
		return nil, fmt.Errorf("opening clickhouse: %w", err)
	}
	return &Conn{cfg: cfg, target: t, driver: d}, nil
}

// Database is the name of the connection's database.
func (c *Conn) Database() string { return c.target.database }

// ConnectionsMax is how many statements may run at once; one more waits for a connection,
// and fails when there is none within the time for making one.
func (c *Conn) ConnectionsMax() int { return orDefault(c.cfg.ConnectionsMax, connectionsMaxDefault) }

// Close closes the pool.
func (c *Conn) Close() error { return c.driver.Close() }

// Ping asks the server for an answer from the connection's database, which
// must exist.
func (c *Conn) Ping(ctx context.Context) error {
	var one uint8
	if err := c.QueryRow(ctx, "SELECT 1").Scan(&one); err != nil {
		return fmt.Errorf("pinging clickhouse: %w", err)
	}
	return nil
}

// prepare puts the options of a statement where the driver looks for them.
func (c *Conn) prepare(ctx context.Context, options []Option) (context.Context, error) {
	o := statementOptions{params: driver.Parameters{}, settings: driver.Settings{}}
	for _, option := range options {
		if err := option(&o); err != nil {
			return nil, err
		}
	}
	for name, value := range o.settings {
		// Of settings it does not know, HTTP's interface reads the text as a literal
		// (SettingFieldCustom); the driver writes it as one for the native protocol only.
		if custom, ok := value.(driver.CustomSetting); ok && c.target.protocol == driver.HTTP {
			o.settings[name] = driver.CustomSetting{Value: "'" + quoter().Replace(custom.Value) + "'"}
		}
	}
	var driverOptions []driver.QueryOption
	if len(o.settings) > 0 {
		driverOptions = append(driverOptions, driver.WithSettings(o.settings))
	}
	if len(o.params) > 0 {
		driverOptions = append(driverOptions, driver.WithParameters(o.params))
	}
	if o.quotaKey != "" {
		driverOptions = append(driverOptions, driver.WithQuotaKey(o.quotaKey))
	}
	if len(driverOptions) == 0 {
		return ctx, nil
	}
	return driver.Context(ctx, driverOptions...), nil
}

// Exec runs a statement without an answer.
func (c *Conn) Exec(ctx context.Context, sql string, options ...Option) error {
	ctx, err := c.prepare(ctx, options)
	if err != nil {
		return err
	}
	return quiet(c.driver.Exec(ctx, sql))
}

// Rows iterates over an answer.
type Rows interface {
	Next() bool
	Scan(dest ...any) error
	Err() error
	Close() error
}

// Query runs a statement and returns its rows, which the caller closes.
func (c *Conn) Query(ctx context.Context, sql string, options ...Option) (Rows, error) {
	ctx, err := c.prepare(ctx, options)
	if err != nil {
		return nil, err
	}
	rows, err := c.driver.Query(ctx, sql)
	if err != nil {
		return nil, quiet(err) // not a typed nil
	}
	return quietRows{rows}, nil
}

// Each calls fn for each row of the answer.
func (c *Conn) Each(ctx context.Context, sql string, fn func(scan func(dest ...any) error) error, options ...Option) (err error) {
	rows, err := c.Query(ctx, sql, options...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := fn(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

// Row is the first row of an answer.
type Row interface {
	Scan(dest ...any) error
}

// failedRow is the row of a statement that could not be sent.
type failedRow struct{ err error }

func (r failedRow) Scan(...any) error { return r.err }

// QueryRow runs a statement that answers with one row.
func (c *Conn) QueryRow(ctx context.Context, sql string, options ...Option) Row {
	ctx, err := c.prepare(ctx, options)
	if err != nil {
		return failedRow{err}
	}
	return quietRow{c.driver.QueryRow(ctx, sql)}
}

// insertSettings hold for every insert. async_insert would acknowledge before
// the rows are in a part; the second makes a repeated insert repeat nothing in
// the targets of materialised views either. The number of partitions has no limit:
// a block beyond it is refused as if the server were overloaded, and a batch that
// is tried again as it is would be refused for ever.
func insertSettings() driver.Settings {
	return driver.Settings{
		"async_insert": 0,
		"deduplicate_blocks_in_dependent_materialized_views": 1,
		"max_partitions_per_insert_block":                    0,
	}
}

// Column is one column of an insert.
type Column struct {
	Name string
	// Values is a slice with one value per row: []string, [][]byte for
	// FixedString and String, []int64 (of a time: its milliseconds in DateTime64, its
	// seconds in DateTime), []time.Time and so on; or a *Dictionary for texts.
	Values any
}

// Insert writes rows into a table as one block. token identifies its content:
// a second insert with the same token and rows is a no-op within the table's
// deduplication window. An insert without rows does nothing.
func (c *Conn) Insert(ctx context.Context, table, token string, columns []Column) error {
	return c.insert(ctx, table, insertSQL(table, columns), token, columns, new(block))
}

// insert writes rows in the memory of b, which keeps the block's afterwards; after an
// error it must not be used again.
func (c *Conn) insert(ctx context.Context, table, sql, token string, columns []Column, b *block) (err error) {
	settings := insertSettings()
	maps.Copy(settings, driver.Settings{"insert_deduplication_token": token})
	options := []driver.QueryOption{driver.WithSettings(settings)}
	if shape, known := c.shapes.of(sql); known {
		options = append(options, driver.WithColumnNamesAndTypes(shape))
	}
	batch, err := c.driver.PrepareBatch(driver.Context(ctx, options...), sql)
	if err != nil {
		c.shapes.forget(sql)
		return fmt.Errorf("preparing an insert into %s: %w", table, quiet(err))
	}
	defer func() {
		if err != nil {
			c.shapes.forget(sql)
		}
		if !batch.IsSent() {
			err = errors.Join(err, quiet(batch.Close()))
		}
	}()
	made := batch.Columns()
	c.shapes.note(sql, made)
	b.lend(made)
	for i, col := range columns {
		if err := b.appendValues(batch.Column(i), made[i], col.Values); err != nil {
			return fmt.Errorf("column %s of %s: %w: %w", col.Name, table, ErrBadColumn, err)
		}
	}
	if err := batch.Send(); err != nil {
		return fmt.Errorf("inserting into %s: %w", table, quiet(err))
	}
	return nil
}

func insertSQL(table string, columns []Column) string {
	names := make([]string, len(columns))
	for i, column := range columns {
		names[i] = column.Name
	}
	return "INSERT INTO " + table + " (" + strings.Join(names, ", ") + ")"
}
