package clickhouse

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"
)

// socketPathBytesMax is the longest path a unix socket may have on Linux:
// sun_path holds 108 bytes and the last one is the terminator (unix(7)).
const socketPathBytesMax = 107

// Config says where the engine lives and how much one request may ask of it.
// Zero limits take the defaults of DefaultConfig.
type Config struct {
	// LibraryPath is libchdb.so (npm package @chdb/lib-linux-x64-gnu).
	LibraryPath string
	// DataDir holds the tables. One process at a time serves it.
	DataDir string
	// SocketPath is the unix socket to listen on, at most 107 bytes.
	SocketPath string

	// RowFilters are conditions put on the reads of tables of the database metiva, by
	// table: what row policies are on a server, which the library has none of. A test
	// tries the product's policies with them.
	RowFilters map[string]string
	// Grants, when given, are all that the engine's user may do, each a statement GRANT
	// without whom to; rows of system tables need one too, as on a server. A test tries
	// with them what users of a server are granted.
	Grants []string

	// ConcurrentStatementsMax is how many statements run at once; more wait.
	ConcurrentStatementsMax int
	// QueryBytesMax bounds the SQL text of a request.
	QueryBytesMax int64
	// BodyBytesMax bounds the data of an insert.
	BodyBytesMax int64
	// MemoryBytesMax bounds what the engine may allocate.
	MemoryBytesMax int64
	// QueueTimeout is how long a statement waits for a free connection.
	QueueTimeout time.Duration
	// LockTimeout is how long to wait for a killed predecessor to let go of
	// the data directory.
	LockTimeout time.Duration
	// DrainTimeout is how long running statements get at a stop before they
	// are cancelled.
	DrainTimeout time.Duration
}

// DefaultConfig returns the limits used where a Config has zero.
func DefaultConfig() Config {
	return Config{
		ConcurrentStatementsMax: 8,
		QueryBytesMax:           1 << 20,
		BodyBytesMax:            64 << 20,
		MemoryBytesMax:          2 << 30,
		QueueTimeout:            10 * time.Second,
		LockTimeout:             5 * time.Second,
		DrainTimeout:            3 * time.Second,
	}
}

func (c Config) withDefaults() Config {
	d := DefaultConfig()
	if c.ConcurrentStatementsMax == 0 {
		c.ConcurrentStatementsMax = d.ConcurrentStatementsMax
	}
	if c.QueryBytesMax == 0 {
		c.QueryBytesMax = d.QueryBytesMax
	}
	if c.BodyBytesMax == 0 {
		c.BodyBytesMax = d.BodyBytesMax
	}
	if c.MemoryBytesMax == 0 {
		c.MemoryBytesMax = d.MemoryBytesMax
	}
	if c.QueueTimeout == 0 {
		c.QueueTimeout = d.QueueTimeout
	}
	if c.LockTimeout == 0 {
		c.LockTimeout = d.LockTimeout
	}
	if c.DrainTimeout == 0 {
		c.DrainTimeout = d.DrainTimeout
	}
	return c
}

// Validate lists every fault of the configuration.
func (c Config) Validate() error {
	var errs []error
	if c.LibraryPath == "" {
		errs = append(errs, errors.New("the path of libchdb.so is not set"))
	}
	if !filepath.IsAbs(c.DataDir) {
		errs = append(errs, fmt.Errorf("the data directory %q is not an absolute path", c.DataDir))
	}
	if !filepath.IsAbs(c.SocketPath) {
		errs = append(errs, fmt.Errorf("the socket path %q is not an absolute path", c.SocketPath))
	}
	if n := len(c.SocketPath); n > socketPathBytesMax {
		errs = append(errs, fmt.Errorf("the socket path is %d bytes long, a unix socket's path has at most %d: choose a shorter data directory (%s)",
			n, socketPathBytesMax, c.SocketPath))
	}
	for _, limit := range []struct {
		name  string
		value int64
	}{
		{"concurrent statements", int64(c.ConcurrentStatementsMax)},
		{"query bytes", c.QueryBytesMax},
		{"body bytes", c.BodyBytesMax},
		{"memory bytes", c.MemoryBytesMax},
		{"queue timeout", int64(c.QueueTimeout)},
		{"lock timeout", int64(c.LockTimeout)},
		{"drain timeout", int64(c.DrainTimeout)},
	} {
		if limit.value < 0 {
			errs = append(errs, fmt.Errorf("the limit on %s is negative", limit.name))
		}
	}
	return errors.Join(errs...)
}
