package enrich

import (
	"testing"
	"time"
)

// TestClockIsReadNowAndThen: for some events in a row, and anew after a wait.
func TestClockIsReadNowAndThen(t *testing.T) {
	t.Parallel()
	sc, now, read := newScratch(), time.UnixMilli(1000), 0
	clock := func() time.Time {
		read++
		now = now.Add(time.Millisecond)
		return now
	}
	for i := range 3 * clockEvery {
		if want := int64(1001 + i/clockEvery); sc.at(clock) != want {
			t.Fatalf("event %d: %d, want %d", i, sc.nowMs, want)
		}
	}
	sc.at(clock)
	sc.waited()
	if at := sc.at(clock); at != 1005 || read != 5 {
		t.Errorf("after a wait %d, of %d readings", at, read)
	}
}
