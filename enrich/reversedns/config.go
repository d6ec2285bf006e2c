package reversedns

import (
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// Config says whom to ask. The zero Config asks nobody.
type Config struct {
	// Resolver is the operator's own recursive resolver, "address:port", on this machine
	// or in a private network. Empty: no name is ever asked for.
	Resolver string
	// QueriesMax is how many questions are under way at once (default 32).
	QueriesMax int
	// QueryTimeout is how long a question may take; it is asked twice (default 500 ms).
	QueryTimeout time.Duration
	// BatchBudget is how long a batch of events waits for answers (default 100 ms). A
	// look-up that takes longer goes on, for the batches behind it.
	BatchBudget time.Duration
}

// Defaults of Config.
const (
	QueriesMaxDefault   = 32
	QueryTimeoutDefault = 500 * time.Millisecond
	BatchBudgetDefault  = 100 * time.Millisecond
)

const (
	queriesMaxMax   = 1024
	queryTimeoutMin = time.Millisecond
	queryTimeoutMax = 10 * time.Second
	batchBudgetMax  = 5 * time.Second
)

// Enabled reports whether names are asked for.
func (c Config) Enabled() bool { return c.Resolver != "" }

// Validate reports every fault.
func (c Config) Validate() error {
	var faults []error
	if c.Enabled() {
		if _, err := c.server(); err != nil {
			faults = append(faults, err)
		}
	}
	if c.QueriesMax < 0 || c.QueriesMax > queriesMaxMax {
		faults = append(faults, fmt.Errorf("reversedns: QueriesMax %d is not between 1 and %d", c.QueriesMax, queriesMaxMax))
	}
	if c.QueryTimeout != 0 && (c.QueryTimeout < queryTimeoutMin || c.QueryTimeout > queryTimeoutMax) {
		faults = append(faults, fmt.Errorf("reversedns: QueryTimeout %s is not between %s and %s", c.QueryTimeout, queryTimeoutMin, queryTimeoutMax))
	}
	if c.BatchBudget < 0 || c.BatchBudget > batchBudgetMax {
		faults = append(faults, fmt.Errorf("reversedns: BatchBudget %s is not between 0 and %s", c.BatchBudget, batchBudgetMax))
	}
	return errors.Join(faults...)
}

// server is the resolver's address. Visitors' networks may not be told to somebody
// else's, so it must be one of this machine or of a private network.
func (c Config) server() (netip.AddrPort, error) {
	server, err := netip.ParseAddrPort(c.Resolver)
	if err != nil || server.Port() == 0 || server.Addr().Zone() != "" {
		return netip.AddrPort{}, errors.New("reversedns: Resolver is not address:port, as in 127.0.0.1:53")
	}
	if a := server.Addr().Unmap(); !a.IsLoopback() && !a.IsPrivate() {
		return netip.AddrPort{}, errors.New("reversedns: Resolver is not on this machine nor in a private network: the networks of visitors would be told to somebody else")
	}
	return server, nil
}

func (c Config) withDefaults() Config {
	if c.QueriesMax == 0 {
		c.QueriesMax = QueriesMaxDefault
	}
	if c.QueryTimeout == 0 {
		c.QueryTimeout = QueryTimeoutDefault
	}
	if c.BatchBudget == 0 {
		c.BatchBudget = BatchBudgetDefault
	}
	return c
}
