package erasure

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/metiva-io/metiva/pkg/kafka"
)

// ErrUnsettled is returned while the sinks have not written what was on its way.
var ErrUnsettled = errors.New("the sinks have not written what was on its way before the erasure")

// SettleConfig says whom to wait for, and how long.
type SettleConfig struct {
	Client *kafka.Client
	// Group and Topics are those of the sinks.
	Group  string
	Topics []string
	// Grace is how long a sink may take to hear of a tombstone; AtMost how long to wait
	// for the sinks after it.
	Grace, AtMost time.Duration
}

// pollEvery is the pause between two looks at what others do.
const pollEvery = 200 * time.Millisecond

// Settled returns a function for Config.Settle. After the grace every batch that a sink
// begins leaves the erased out. So once the group has committed all that was there at
// its end, no insert that was begun without knowing of the erasure is under way.
func Settled(cfg SettleConfig) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		if err := pause(ctx, cfg.Grace); err != nil {
			return err
		}
		ends := make(map[string]map[int]int64, len(cfg.Topics))
		for _, topic := range cfg.Topics {
			var err error
			if ends[topic], err = cfg.Client.EndOffsets(ctx, topic); err != nil {
				return err
			}
		}
		deadline, cancel := context.WithTimeoutCause(ctx, cfg.AtMost, ErrUnsettled)
		defer cancel()
		for {
			behind, err := cfg.behind(ctx, ends)
			if err != nil {
				return err
			}
			if behind == 0 {
				return nil
			}
			if err := pause(deadline, pollEvery); err != nil {
				return fmt.Errorf("%w: %d records are left", err, behind)
			}
		}
	}
}

// behind counts the records the group has not committed.
func (cfg SettleConfig) behind(ctx context.Context, ends map[string]map[int]int64) (int64, error) {
	var behind int64
	for topic, of := range ends {
		committed, err := cfg.Client.CommittedOffsets(ctx, cfg.Group, topic)
		if err != nil {
			return 0, err
		}
		starts, err := cfg.Client.StartOffsets(ctx, topic)
		if err != nil {
			return 0, err
		}
		for partition, end := range of {
			behind += max(0, end-max(committed[partition], starts[partition]))
		}
	}
	return behind, nil
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
