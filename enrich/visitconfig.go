package enrich

import (
	"errors"
	"fmt"
	"time"

	"github.com/metiva-io/metiva/enrich/visit"
)

// VisitConfig tunes the assembly of visits. Zero values mean the default.
type VisitConfig struct {
	// SendEvery is how often visits that have changed are sent (default 5 s): a visit
	// under way is a record each time.
	SendEvery time.Duration
	// CheckpointEvery is how often journals are written to visits.state (default 60
	// s): after a crash the events since are read again.
	CheckpointEvery time.Duration
	// Limits are those of each partition.
	Limits visit.Limits
}

// Validate reports every fault of the configuration.
func (c VisitConfig) Validate() error {
	faults := []error{c.Limits.Validate()}
	if c.SendEvery < 0 || c.SendEvery > time.Hour {
		faults = append(faults, fmt.Errorf("enrich: SendEvery %s is not between 0 and 1 h", c.SendEvery))
	}
	if c.CheckpointEvery < 0 || c.CheckpointEvery > 24*time.Hour {
		faults = append(faults, fmt.Errorf("enrich: CheckpointEvery %s is not between 0 and 24 h", c.CheckpointEvery))
	}
	return errors.Join(faults...)
}

func (c VisitConfig) withDefaults() VisitConfig {
	if c.SendEvery == 0 {
		c.SendEvery = 5 * time.Second
	}
	if c.CheckpointEvery == 0 {
		c.CheckpointEvery = time.Minute
	}
	return c
}
