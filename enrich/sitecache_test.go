package enrich

import (
	"fmt"
	"sync/atomic"
	"testing"
)

// TestSiteCache: it says what the table says, also after the table has changed, and does
// not grow without bound.
func TestSiteCache(t *testing.T) {
	t.Parallel()
	var changes atomic.Uint64
	table, asked := map[string]int{"sit_a": 1}, 0
	c := newSiteCache(&changes, func(companyID, siteID string) int {
		asked++
		if companyID != "cmp_a" {
			return 0
		}
		return table[siteID]
	})
	for range 3 {
		if c.of("cmp_a", "sit_a") != 1 || c.of("cmp_b", "sit_a") != 0 {
			t.Fatal("another answer than the table's")
		}
	}
	if asked != 2 {
		t.Errorf("the table was asked %d times", asked)
	}
	table["sit_a"] = 2
	changes.Add(1)
	if c.of("cmp_a", "sit_a") != 2 {
		t.Error("a change is not seen")
	}
	for i := range 5 * sitesRemembered {
		c.of("cmp_a", fmt.Sprint(i))
	}
	if len(c.known) > sitesRemembered {
		t.Errorf("%d sites are remembered", len(c.known))
	}
}
