package postgres

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/metiva-io/metiva/pkg/secret"
)

// Config is one connection to Postgres as one role.
type Config struct {
	// URL is postgres://role:password@host/database?sslmode=… or, on a unix
	// socket, postgres://role:password@/database?host=/directory.
	URL secret.Text
	// ConnectionsMax is the size of the pool; default 8.
	ConnectionsMax int
	// ConnectTimeout limits one connection attempt; default 5 s.
	ConnectTimeout time.Duration
	// IdleInTransactionMax is how long the server lets a transaction sit idle
	// before it ends the connection; default 30 s.
	IdleInTransactionMax time.Duration
}

const (
	connectionsDefault    = 8
	connectionsMax        = 1000
	connectTimeoutDefault = 5 * time.Second
	idleInTxDefault       = 30 * time.Second
)

// Validate reports every fault at once. Messages never hold the URL.
func (c Config) Validate() error {
	var faults []error
	switch {
	case c.URL.IsZero():
		faults = append(faults, errors.New("the Postgres URL is missing"))
	case !strings.HasPrefix(c.URL.Reveal(), "postgres://") && !strings.HasPrefix(c.URL.Reveal(), "postgresql://"):
		faults = append(faults, errors.New("the Postgres URL must start with postgres://"))
	default:
		if _, err := pgxpool.ParseConfig(c.URL.Reveal()); err != nil {
			// pgx's message quotes the URL, password masked or not; ours does not.
			faults = append(faults, errors.New("the Postgres URL cannot be read"))
		}
	}
	if c.ConnectionsMax < 0 || c.ConnectionsMax > connectionsMax {
		faults = append(faults, fmt.Errorf("the Postgres pool size %d is not between 1 and %d", c.ConnectionsMax, connectionsMax))
	}
	if c.ConnectTimeout < 0 || c.IdleInTransactionMax < 0 {
		faults = append(faults, errors.New("a Postgres time limit is negative"))
	}
	return errors.Join(faults...)
}

// PoolConfig is the pgx form of the configuration, for the packages that open
// connections under a rule of their own (pkg/tenant).
func (c Config) PoolConfig() (*pgxpool.Config, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	pc, err := pgxpool.ParseConfig(c.URL.Reveal())
	if err != nil {
		return nil, errors.New("the Postgres URL cannot be read")
	}
	pc.MaxConns = int32(orDefault(c.ConnectionsMax, connectionsDefault))
	pc.ConnConfig.ConnectTimeout = orDefault(c.ConnectTimeout, connectTimeoutDefault)
	pc.ConnConfig.RuntimeParams["application_name"] = "metiva"
	pc.ConnConfig.RuntimeParams["idle_in_transaction_session_timeout"] = fmt.Sprintf("%dms", orDefault(c.IdleInTransactionMax, idleInTxDefault).Milliseconds())
	return pc, nil
}

func orDefault[T int | time.Duration](v, fallback T) T {
	if v == 0 {
		return fallback
	}
	return v
}
