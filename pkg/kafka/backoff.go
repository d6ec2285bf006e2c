package kafka

import (
	"context"
	"math/rand/v2"
	"time"
)

// sleep waits, or returns false when ctx ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// backoff doubles from a start to a limit.
type backoff struct{ next, max time.Duration }

func (b *backoff) step() time.Duration {
	d := b.next
	b.next = min(b.next*2, b.max)
	return d
}

// jitter is d on average, and at least half of it.
func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d) }

// chance gives the spread of a pause; lanes that failed together share it, so
// that they leave together again.
func chance() float64 { return rand.Float64() }
