package enrich

import "testing"

// TestCountsHaveRoom for every value that a batch counts.
func TestCountsHaveRoom(t *testing.T) {
	t.Parallel()
	m, err := newMetrics(newRegistry())
	if err != nil {
		t.Fatal(err)
	}
	for name, n := range map[string]int{"reasons": len(m.drops), "verdicts": len(m.verdicts), "bots": len(m.bots), "channels": len(m.channels)} {
		if n > valuesMax {
			t.Errorf("there are %d %s, and room for %d", n, name, valuesMax)
		}
	}
}
