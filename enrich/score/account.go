package score

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// What a state holds at most.
const (
	// OpenDays is how many days may still change, the account's newest one and those
	// before it. Kafka keeps the events a visit is made from for seven days.
	OpenDays = 8
	// HistoryDays is what the oldest open day needs of earlier ones.
	HistoryDays = OpenDays + ReturningWindowDays + 1
	// VisitsPerDayMax bounds the visits of one day; a score has all its points long
	// before.
	VisitsPerDayMax = 256

	identitiesMax = 32
	keyPagesMax   = 4 * schemas.KeyPagesMax
)

// Outcome is what became of a version of a visit.
type Outcome uint8

// The outcomes.
const (
	OutcomeApplied Outcome = iota
	// OutcomeStale: the same version, or a newer one, is known.
	OutcomeStale
	// OutcomeLate: its day is closed.
	OutcomeLate
	// OutcomeFull: its day has VisitsPerDayMax visits.
	OutcomeFull
	outcomes
)

// String is the outcome as a label.
func (o Outcome) String() string { return [outcomes]string{"applied", "stale", "late", "full"}[o] }

// Outcomes are all of them.
func Outcomes() []Outcome { return []Outcome{OutcomeApplied, OutcomeStale, OutcomeLate, OutcomeFull} }

// ErrInvalidState is returned for bytes that no Account has written.
var ErrInvalidState = errors.New("not the state of an account")

// Account is the memory of one account on one site. It belongs to one goroutine.
type Account struct {
	state *metivav1.AccountState
	// dirty are the days to be told of, ascending; touched those of this visit.
	dirty, touched []int32
	gone           []*metivav1.AccountDay // to be told of, and no longer in the state
	changed        bool
	counts         []uint32 // visits by key page, of the day that was summed last
}

// NewAccount is an account without any visit.
func NewAccount(companyID, brandID, siteID, accountID string) *Account {
	return &Account{state: &metivav1.AccountState{CompanyId: companyID, BrandId: brandID, SiteId: siteID, AccountId: accountID}}
}

// DecodeAccount reads what Encode wrote: ErrInvalidState for anything else.
func DecodeAccount(data []byte) (*Account, error) {
	s := new(metivav1.AccountState)
	if err := proto.Unmarshal(data, s); err != nil {
		return nil, ErrInvalidState
	}
	if err := check(s); err != nil {
		return nil, err
	}
	return &Account{state: s}, nil
}

// check refuses a state that Apply could not go on from.
func check(s *metivav1.AccountState) error {
	if s.GetCompanyId() == "" || s.GetSiteId() == "" || s.GetAccountId() == "" {
		return ErrInvalidState
	}
	identities, pages := uint32(len(s.GetIdentities())), uint32(len(s.GetKeyPages()))
	last := int32(-1 << 31)
	for i, d := range s.GetDays() {
		if i > 0 && d.GetDay() <= last || len(d.GetVisits()) > VisitsPerDayMax || d.GetClosed() != nil && len(d.GetVisits()) > 0 {
			return ErrInvalidState
		}
		last = d.GetDay()
		for _, v := range d.GetVisits() {
			if len(v.GetVisitId()) != schemas.IDBytes || !v.GetRemoved() && v.GetIdentity() >= identities {
				return ErrInvalidState
			}
			for _, p := range v.GetKeyPages() {
				if p >= pages {
					return ErrInvalidState
				}
			}
		}
		if c := d.GetClosed(); c != nil && c.GetIdentity() >= identities {
			return ErrInvalidState
		}
		for _, p := range slices.Concat(d.GetKeyPagesSignalled(), d.GetClosed().GetKeyPages()) {
			if p.GetKeyPage() >= pages {
				return ErrInvalidState
			}
		}
	}
	return nil
}

// Encode appends the state to dst, the same bytes for the same state.
func (a *Account) Encode(dst []byte) ([]byte, error) {
	out, err := schemas.Encode(dst, a.state)
	if err != nil {
		return dst, fmt.Errorf("encoding the state of an account: %w", err)
	}
	return out, nil
}

// Changed reports whether the state has changed since it was made or read.
func (a *Account) Changed() bool { return a.changed }

// NewestDay is the last day with a visit; 0 without one.
func (a *Account) NewestDay() int32 {
	if n := len(a.state.GetDays()); n > 0 {
		return a.state.GetDays()[n-1].GetDay()
	}
	return 0
}

// RetentionDays is how long the tenant keeps what is about this account.
func (a *Account) RetentionDays() uint32 { return a.state.GetRetentionDays() }

// Version is the version of the state.
func (a *Account) Version() uint64 { return a.state.GetVersion() }

// Apply takes one version of a visit and appends the signals that became due to
// dst. at is the version that the changed days get if it is above their last one:
// the same visits at the same versions have the same outputs.
func (a *Account) Apply(dst []*metivav1.Signal, v *Visit, rules *Rules, at uint64) ([]*metivav1.Signal, Outcome) {
	day, share := a.find(v)
	switch {
	case share != nil && v.Version <= share.GetVersion():
		return dst, OutcomeStale
	case share == nil && a.isClosed(v.Day):
		return dst, OutcomeLate
	case share == nil && day != nil && len(day.GetVisits()) >= VisitsPerDayMax:
		if !v.Removed && !day.GetCapped() {
			day.Capped = true
			a.touch(at, v.RetentionDays)
			a.dirty = insert(a.dirty, day.GetDay())
		}
		return dst, OutcomeFull
	}
	a.touched = a.touched[:0]
	a.touch(at, v.RetentionDays)
	wasLive := share != nil && !share.GetRemoved()
	if share != nil && !v.Removed && v.Day != day.GetDay() && a.hasRoom(v.Day) {
		// Its beginning has not moved, so the site's time zone has.
		a.change(day, func() {
			day.Visits = slices.DeleteFunc(day.GetVisits(), func(s *metivav1.VisitShare) bool { return s == share })
		})
		day, share = a.open(v.Day), nil
	}
	if day == nil {
		day = a.open(v.Day)
	}
	if wasLive || !v.Removed {
		a.change(day, func() { a.set(day, share, v) })
	} else {
		a.set(day, share, v) // a removal of what was never counted
	}
	dst = a.signals(dst, v, rules)
	a.prune()
	return dst, OutcomeApplied
}

// touch notes a change of the state.
func (a *Account) touch(at uint64, retentionDays uint32) {
	a.state.Version = max(a.state.GetVersion()+1, at)
	a.state.RetentionDays = or(retentionDays, a.state.GetRetentionDays())
	a.changed = true
}

// change changes the visits of a day. When that day comes to have a human visit, or
// has none any more, later days see another past.
func (a *Account) change(day *metivav1.AccountDayState, do func()) {
	before := hasHuman(day)
	do()
	mark := func(d int32) { a.dirty, a.touched = insert(a.dirty, d), insert(a.touched, d) }
	mark(day.GetDay())
	if hasHuman(day) == before {
		return
	}
	for _, later := range a.state.GetDays() {
		if later.GetDay() > day.GetDay() {
			mark(later.GetDay())
		}
	}
}

// set writes the visit into its day, in place of what is known of it.
func (a *Account) set(day *metivav1.AccountDayState, share *metivav1.VisitShare, v *Visit) {
	if share == nil {
		share = new(metivav1.VisitShare)
		day.Visits = append(day.Visits, share)
	}
	share.VisitId = append(share.VisitId[:0], v.ID[:]...)
	share.Version, share.Removed = v.Version, v.Removed
	share.KeyPages = share.KeyPages[:0]
	if v.Removed {
		share.Human, share.PageViews, share.EngagedMs, share.Interactions, share.StartedAtMs, share.Identity = false, 0, 0, 0, 0, 0
		return
	}
	share.Human, share.PageViews, share.EngagedMs, share.Interactions = v.Human, v.PageViews, v.EngagedMs, v.Interactions
	share.StartedAtMs = v.StartedAtMs
	share.Identity = a.identity(v)
	for _, p := range v.KeyPages {
		if i, ok := a.keyPage(p); ok {
			share.KeyPages = append(share.KeyPages, i)
		}
	}
}

// find is the visit as it is known and its day; else the day it belongs to, if there
// is one.
func (a *Account) find(v *Visit) (*metivav1.AccountDayState, *metivav1.VisitShare) {
	var own *metivav1.AccountDayState
	for _, d := range a.state.GetDays() {
		if d.GetDay() == v.Day {
			own = d
		}
		for _, s := range d.GetVisits() {
			if bytes.Equal(s.GetVisitId(), v.ID[:]) {
				return d, s
			}
		}
	}
	return own, nil
}

// isClosed reports whether nothing of the day can change any more.
func (a *Account) isClosed(day int32) bool {
	return len(a.state.GetDays()) > 0 && day <= a.NewestDay()-OpenDays
}

// hasRoom reports whether a visit can be moved to the day.
func (a *Account) hasRoom(day int32) bool {
	return !a.isClosed(day) && len(a.day(day).GetVisits()) < VisitsPerDayMax
}

// open is the state of a day, made if there is none.
func (a *Account) open(day int32) *metivav1.AccountDayState {
	days := a.state.GetDays()
	i := len(days)
	for i > 0 && days[i-1].GetDay() >= day {
		i--
	}
	if i < len(days) && days[i].GetDay() == day {
		return days[i]
	}
	d := &metivav1.AccountDayState{Day: day}
	a.state.Days = slices.Insert(days, i, d)
	return d
}

// insert puts a day into ascending days, once.
func insert(days []int32, day int32) []int32 {
	if i, ok := slices.BinarySearch(days, day); !ok {
		return slices.Insert(days, i, day)
	}
	return days
}
