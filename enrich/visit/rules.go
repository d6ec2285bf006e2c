package visit

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"time"
	_ "time/tzdata" // a worker's image may have none

	"github.com/metiva-io/metiva/schemas/metivav1"
)

// The defaults, and the bounds of what a site may set.
const (
	IdleDefault     = 30 * time.Minute
	IdleMax         = 4 * time.Hour
	TimeZoneDefault = "Europe/Amsterdam"
)

// By how much clocks are changed: an hour, or half of one; two hours have been.
const (
	clockStep  = 30 * time.Minute
	clockSteps = 4
)

// Rules say where visits of a site end. They are made by RulesOf and never
// changed.
type Rules struct {
	idleMs   int64
	midnight *time.Location // nil: a visit may go on over midnight
	campaign bool
	hash     uint64
}

// RulesOf reads a site's rules; nil gives the defaults. What is not valid is
// replaced by its default, and the error says so without naming it: a site's visits
// must not end for a wrong setting.
func RulesOf(record *metivav1.VisitRules) (*Rules, error) {
	r := &Rules{idleMs: IdleDefault.Milliseconds(), campaign: record.GetSplitAtCampaign()}
	var fault error
	if minutes := time.Duration(record.GetIdleMinutes()); minutes > 0 {
		if minutes <= IdleMax/time.Minute {
			r.idleMs = (minutes * time.Minute).Milliseconds()
		} else {
			fault = fmt.Errorf("visit: an idle time is above %s", IdleMax)
		}
	}
	zone := TimeZoneDefault
	if record.GetSplitAtMidnight() {
		if record.GetTimeZone() != "" {
			zone = record.GetTimeZone()
		}
		location, err := time.LoadLocation(zone)
		if err != nil || zone == "Local" {
			zone = TimeZoneDefault
			if location, err = time.LoadLocation(zone); err != nil {
				return nil, fmt.Errorf("loading the default time zone: %w", err)
			}
			fault = errors.New("visit: a time zone is not known")
		}
		r.midnight = location
	}
	h := fnv.New64a()
	var parts [10]byte
	binary.BigEndian.PutUint64(parts[:8], uint64(r.idleMs))
	if r.campaign {
		parts[8] = 1
	}
	if r.midnight != nil {
		parts[9] = 1
	}
	h.Write(parts[:])
	if r.midnight != nil {
		h.Write([]byte(zone))
	}
	r.hash = h.Sum64()
	return r, fault
}

// Equal reports whether both say the same.
func (r *Rules) Equal(other *Rules) bool { return r.hash == other.hash }

// midnightAfter is when the visit that begins at a time ends at the latest, Unix
// milliseconds.
func (r *Rules) midnightAfter(ms int64) int64 {
	if r.midnight == nil {
		return math.MaxInt64
	}
	year, month, day := time.UnixMilli(ms).In(r.midnight).Date()
	next := time.Date(year, month, day+1, 0, 0, 0, 0, r.midnight)
	// Where the clock is changed at midnight, that hour may be none of the next day's.
	for range clockSteps {
		if next.Day() != day {
			break
		}
		next = next.Add(clockStep)
	}
	return next.UnixMilli()
}
