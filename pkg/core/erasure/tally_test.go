package erasure

import (
	"testing"
)

// TestPassesCountARowOnce: whatever became of the pass before, each row that goes is
// counted once, and one that may have gone is not forgotten.
func TestPassesCountARowOnce(t *testing.T) {
	t.Parallel()
	type pass struct {
		rows  uint64
		begun bool
	}
	for name, c := range map[string]struct {
		passes []pass
		want   uint64
	}{
		"one":                              {[]pass{{8, false}}, 8},
		"nothing":                          {[]pass{{0, false}}, 0},
		"killed before the deletion":       {[]pass{{8, false}, {8, false}}, 8},
		"and more came":                    {[]pass{{8, false}, {11, false}}, 11},
		"killed in the deletion":           {[]pass{{8, false}, {0, true}}, 8},
		"and others came":                  {[]pass{{8, false}, {3, true}}, 11},
		"three times":                      {[]pass{{8, false}, {3, true}, {3, false}, {9, true}}, 20},
		"a deletion nobody knows any more": {[]pass{{8, false}, {1, false}}, 8},
	} {
		got := tally{found: map[string]uint64{}}
		for _, p := range c.passes {
			got.beginPass(map[string]uint64{"events": p.rows}, map[string]bool{"events": p.begun})
		}
		last := c.passes[len(c.passes)-1].rows
		if n, counted := got.found["clickhouse.events"]; n != c.want || !counted || got.Pass != len(c.passes) || got.Pending["events"] != last {
			t.Errorf("%s: %+v, want %d", name, got, c.want)
		}
	}
}

// TestRecordsCountOnce: what a later look finds again is known, what came and went in
// between is not.
func TestRecordsCountOnce(t *testing.T) {
	t.Parallel()
	got := tally{found: map[string]uint64{}}
	for i, c := range []struct {
		s    survey
		want uint64
	}{
		{survey{live: map[place]struct{}{{0, "a"}: {}, {1, "b"}: {}}, born: map[int][]int64{0: {1, 4}, 1: {2}}, ends: map[int]int64{0: 9, 1: 3}}, 2},
		{survey{live: map[place]struct{}{{0, "a"}: {}}, born: map[int][]int64{0: {4}}, ends: map[int]int64{0: 9, 1: 4}}, 2},
		{survey{born: map[int][]int64{0: {4, 9}, 1: {7}}, ends: map[int]int64{0: 11, 1: 8}}, 4},
		{survey{born: map[int][]int64{0: {0}}, ends: map[int]int64{0: 2, 1: 8}}, 5}, // made anew
	} {
		c.s.topic = "control.keys"
		if got.count("keys", c.s); got.found["keys"] != c.want {
			t.Errorf("look %d: %d keys, want %d", i, got.found["keys"], c.want)
		}
	}
}
