package enrich

import "testing"

// TestFilter: what was added is found, nearly nothing else is, and what is no id is not.
func TestFilter(t *testing.T) {
	t.Parallel()
	f := newFilter()
	var added [][]byte
	for range 1000 {
		id := random(16)
		f.addSubject(id)
		added = append(added, id)
	}
	f.addTenant("cmp_erased")
	for _, id := range added {
		if !f.hasSubject(id) {
			t.Fatal("a subject that was added is not found")
		}
	}
	found := 0
	for range 10_000 {
		if f.hasSubject(random(16)) {
			found++
		}
	}
	if found > 100 || !f.hasTenant("cmp_erased") || f.hasSubject(nil) || f.hasSubject(added[0][:8]) {
		t.Errorf("%d of 10,000 others are found", found)
	}
}
