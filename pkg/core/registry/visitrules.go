package registry

import (
	"errors"
	"fmt"
	"time"
	_ "time/tzdata" // a time zone is known wherever core runs

	"github.com/metiva-io/metiva/schemas/metivav1"
)

// Visits of a site end after this much silence.
const (
	VisitIdleMinutesDefault = 30
	VisitIdleMinutesMax     = 240
)

// VisitRules say where a site's visits end.
type VisitRules struct {
	// IdleMinutes of silence end a visit.
	IdleMinutes int
	// TimeZone is the IANA name of the one at whose midnight a visit ends; empty lets
	// it go on.
	TimeZone string
	// AtCampaign: a page view with another campaign begins a visit.
	AtCampaign bool
}

// VisitChange is what SetSite changes of the rules; nil leaves one as it is.
type VisitChange struct {
	IdleMinutes *int
	TimeZone    *string
	AtCampaign  *bool
}

func (c VisitChange) isZero() bool { return c == VisitChange{} }

// timeZoneBytesMax: the longest name of the time zone database has 32.
const timeZoneBytesMax = 64

func (c VisitChange) check() error {
	var faults []error
	if c.IdleMinutes != nil && (*c.IdleMinutes < 1 || *c.IdleMinutes > VisitIdleMinutesMax) {
		faults = append(faults, fmt.Errorf("a visit ends after 1 to %d minutes of silence", VisitIdleMinutesMax))
	}
	if c.TimeZone != nil && *c.TimeZone != "" {
		_, err := time.LoadLocation(*c.TimeZone)
		if err != nil || *c.TimeZone == "Local" || len(*c.TimeZone) > timeZoneBytesMax {
			faults = append(faults, errors.New("the time zone is not one of the IANA database, such as Europe/Amsterdam"))
		}
	}
	return errors.Join(faults...)
}

func (r VisitRules) record() *metivav1.VisitRules {
	return &metivav1.VisitRules{
		IdleMinutes: uint32(r.IdleMinutes), SplitAtMidnight: r.TimeZone != "", TimeZone: r.TimeZone, SplitAtCampaign: r.AtCampaign,
	}
}
