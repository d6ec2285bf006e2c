package postgres

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"
)

// Config says where the binaries and the cluster are.
type Config struct {
	// BinDir holds initdb and postgres (FindBinaries).
	BinDir string
	// DataDir is the product's data directory; the cluster is in
	// DataDir/postgres.
	DataDir string
	// RunDir is where the socket is made; default DataDir/postgres/run.
	RunDir string
	// SharedDir is where binaries and clusters go that the server's user could
	// not reach otherwise; default /var/lib/metiva. Only used as root.
	SharedDir string
	// ConnectionsMax defaults to 60.
	ConnectionsMax int
	// SharedBuffersMiB defaults to 64.
	SharedBuffersMiB int
	// UnsafeNoSync turns fsync off: for tests only, a crash of the machine loses
	// the cluster.
	UnsafeNoSync bool
	// Ended, when set, is told of each crash of the server before it is started
	// again.
	Ended func(err error)
	// StopTimeout is how long a stop may take before SIGKILL; default 10 s.
	StopTimeout time.Duration
}

const (
	sharedDirDefault      = "/var/lib/metiva"
	connectionsMaxDefault = 60
	sharedBuffersDefault  = 64
	stopTimeoutDefault    = 10 * time.Second
	readyTimeout          = 60 * time.Second
)

// Validate reports every fault at once.
func (c Config) Validate() error {
	var faults []error
	if c.BinDir == "" {
		faults = append(faults, errors.New("the directory with the Postgres binaries is missing"))
	}
	if c.DataDir == "" {
		faults = append(faults, errors.New("the data directory is missing"))
	}
	if c.ConnectionsMax < 0 || c.ConnectionsMax > 1000 {
		faults = append(faults, fmt.Errorf("%d connections is not between 1 and 1000", c.ConnectionsMax))
	}
	if c.SharedBuffersMiB < 0 || c.StopTimeout < 0 {
		faults = append(faults, errors.New("a size or a time limit of Postgres is negative"))
	}
	return errors.Join(faults...)
}

func (c Config) withDefaults() (Config, error) {
	if err := c.Validate(); err != nil {
		return Config{}, err
	}
	for _, dir := range []*string{&c.BinDir, &c.DataDir, &c.RunDir} {
		if *dir == "" {
			continue
		}
		abs, err := filepath.Abs(*dir)
		if err != nil {
			return Config{}, fmt.Errorf("resolving a directory: %w", err)
		}
		*dir = abs
	}
	if c.SharedDir == "" {
		c.SharedDir = sharedDirDefault
	}
	if c.ConnectionsMax == 0 {
		c.ConnectionsMax = connectionsMaxDefault
	}
	if c.SharedBuffersMiB == 0 {
		c.SharedBuffersMiB = sharedBuffersDefault
	}
	if c.StopTimeout == 0 {
		c.StopTimeout = stopTimeoutDefault
	}
	return c, nil
}
