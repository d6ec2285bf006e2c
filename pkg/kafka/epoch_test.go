package kafka

import (
	"testing"

	kafkago "github.com/segmentio/kafka-go"
)

// TestEpochsRise: an epoch is above those of former claims, of this member, of former
// generations and of what was written before there were any. No broker is asked.
func TestEpochsRise(t *testing.T) {
	t.Parallel()
	claim := func(number int32, attempt uint32) *Claim {
		return &Claim{gen: &generation{gen: &kafkago.Generation{ID: number}}, attempt: attempt}
	}
	seen := uint64(7) // a count of owners
	for _, c := range []*Claim{claim(1, 1), claim(1, 2), claim(2, 1), claim(300, 9), claim(1<<31-1, 1<<16-1)} {
		e, err := c.Epoch(t.Context(), seen)
		if err != nil || e <= seen {
			t.Fatalf("%d after %d: %v", e, seen, err)
		}
		seen = e
	}
	again, err := claim(1<<31-1, 1<<16-1).Epoch(t.Context(), 3<<48|seen-1)
	if err != nil || again != 3<<48|seen {
		t.Errorf("the count of generations that began anew is lost: %x, %v", again, err)
	}
}
