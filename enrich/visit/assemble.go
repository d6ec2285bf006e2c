package visit

import (
	"cmp"
	"slices"

	"github.com/metiva-io/metiva/schemas/metivav1"
)

// Assemble gives the visits that a set of events makes up, in order. It depends
// on nothing but the set: order and repetitions of the entries change nothing, and
// the entries are not changed. The visits have no version.
func Assemble(who Identity, r *Rules, entries []Entry) []*metivav1.Visit {
	ordered := slices.Clone(entries)
	slices.SortStableFunc(ordered, func(a, b Entry) int {
		return cmp.Or(slices.Compare(a.ID[:], b.ID[:]), cmp.Compare(a.AtMs, b.AtMs), cmp.Compare(a.ReceivedMs, b.ReceivedMs))
	})
	ordered = slices.CompactFunc(ordered, func(a, b Entry) bool { return a.ID == b.ID })
	slices.SortFunc(ordered, func(a, b Entry) int {
		switch {
		case a.before(&b):
			return -1
		case b.before(&a):
			return 1
		}
		return 0
	})
	spans, _ := spansOf(nil, r, nil, ordered)
	visits := make([]*metivav1.Visit, 0, len(spans))
	for _, sp := range spans {
		s := begin(&who, &ordered[0], nil)
		for i := range ordered[:sp.n] {
			s.add(&ordered[i])
		}
		v := s.finish(&who, 0)
		v.Version = 0
		visits = append(visits, v)
		ordered = ordered[sp.n:]
	}
	return visits
}
