package visit

import (
	"slices"

	"github.com/metiva-io/metiva/schemas/metivav1"
)

// TakeFinished gives the visits that have left the set and lets their journals go: of
// those that were silent for so long that nothing can join them, and the oldest of
// those that were full. It is for who reads a log once and keeps no state; what is
// still in the set is TakeVisits' at the end.
func (s *Set) TakeFinished() []*metivav1.Visit {
	s.evictOld()
	clear(s.leaving)
	for _, j := range s.unwritten {
		j.queued = false
	}
	s.unwritten = nil // nothing is written
	s.leavingBytes = 0
	if s.sent == 0 {
		s.dirty = slices.DeleteFunc(s.dirty, func(j *journal) bool { return !j.dirty })
	}
	out := s.out
	s.out = nil
	return out
}

// SilentMax is how long after a visitor's last event another may join its visits.
func (l Limits) SilentMax() (ms int64) {
	return (l.withDefaults().LatenessMax + IdleMax).Milliseconds()
}

// VersionAt is the version of what the records before an offset make of a visit, at
// the most.
func VersionAt(next int64) uint64 {
	if next <= 0 {
		return 0
	}
	return versionOf(next - 1)
}
