package waittest

import (
	"testing"
	"time"
)

// every is how often a condition is asked for.
const every = 5 * time.Millisecond

// Until returns when cond holds, and fails the test when it does not within
// limit. The test's own goroutine must call it.
func Until(t testing.TB, limit time.Duration, what string, cond func() bool) {
	t.Helper()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("not within %s: %s", limit, what)
		}
	}
}
