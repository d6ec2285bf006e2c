package collector

import (
	"bytes"

	"github.com/metiva-io/metiva/collector/spool"
	"github.com/metiva-io/metiva/schemas"
)

// Unsent is what a collector has to know of the records an earlier process left in
// the spool: the withdrawals. Those visitors were answered, and Kafka may get what
// is before them in the spool for minutes before it tells anybody.
type Unsent struct{ withdrawals []unsentRecord }

type unsentRecord struct{ key, value []byte }

// See takes a record that is in the spool; for spool.Deps.Recovered.
func (u *Unsent) See(e *spool.Entry) {
	if e.Topic == schemas.TopicControlWithdrawals {
		u.withdrawals = append(u.withdrawals, unsentRecord{bytes.Clone(e.Key), bytes.Clone(e.Value)})
	}
}

// ApplyUnsent makes the withdrawals of the spool count here. Call it before CaughtUp.
func (c *Collector) ApplyUnsent(u *Unsent) {
	for _, w := range u.withdrawals {
		c.applied(schemas.TopicControlWithdrawals, c.withdrawals.Apply(w.key, w.value))
	}
	u.withdrawals = nil
}
