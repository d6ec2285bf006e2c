package visit

import (
	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/schemas/metivav1"
)

// SameResolution is sameResolution.
var SameResolution = sameResolution

// All is everything that TakeVisits gives, kept.
func (s *Set) All() []*metivav1.Visit {
	var out []*metivav1.Visit
	for s.TakeVisits(2, func(v *metivav1.Visit) { out = append(out, proto.CloneOf(v)) }) {
	}
	return out
}
