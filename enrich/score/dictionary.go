package score

import (
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/schemas/metivav1"
)

// identity is the number of the visit's name for the account.
func (a *Account) identity(v *Visit) uint32 {
	for i, n := range a.state.GetIdentities() {
		if n.GetName() == v.Name && n.GetDomain() == v.Domain && n.GetCountry() == v.Country && n.GetConfidence() == v.Confidence {
			return uint32(i)
		}
	}
	if len(a.state.GetIdentities()) >= identitiesMax {
		a.compact()
	}
	n := len(a.state.GetIdentities())
	if n >= identitiesMax {
		return uint32(n - 1)
	}
	a.state.Identities = append(a.state.Identities, &metivav1.AccountIdentity{Name: v.Name, Domain: v.Domain, Country: v.Country, Confidence: v.Confidence})
	return uint32(n)
}

// keyPage is the number of a rule as it is now; not ok when too many are in use.
func (a *Account) keyPage(p *metivav1.KeyPage) (number uint32, ok bool) {
	for i, known := range a.state.GetKeyPages() {
		if known.GetName() == p.GetName() && known.GetWeight() == p.GetWeight() && known.GetPath() == p.GetPath() {
			return uint32(i), true
		}
	}
	if len(a.state.GetKeyPages()) >= keyPagesMax {
		a.compact()
	}
	if len(a.state.GetKeyPages()) >= keyPagesMax {
		return 0, false
	}
	a.state.KeyPages = append(a.state.KeyPages, &metivav1.KeyPage{Name: p.GetName(), Path: p.GetPath(), Weight: p.GetWeight()})
	return uint32(len(a.state.GetKeyPages()) - 1), true
}

// prune closes and forgets days by the account's newest one.
func (a *Account) prune() {
	newest, days := a.NewestDay(), a.state.GetDays()
	if len(days) == 0 || days[0].GetDay() > newest-OpenDays {
		return
	}
	before := len(days)
	closed := false
	gone := func(d *metivav1.AccountDayState) {
		if i, dirty := slices.BinarySearch(a.dirty, d.GetDay()); dirty {
			a.gone, a.dirty = append(a.gone, a.describe(d)), slices.Delete(a.dirty, i, i+1)
		}
	}
	for _, d := range days {
		if d.GetDay() <= newest-HistoryDays {
			gone(d)
		}
	}
	a.state.Days = slices.DeleteFunc(days, func(d *metivav1.AccountDayState) bool {
		if d.GetDay() <= newest-OpenDays && d.GetClosed() == nil {
			a.close(d)
			closed = true
		}
		if c := d.GetClosed(); c != nil && c.GetVisits() == 0 {
			gone(d)
			return true
		}
		if d.GetDay() > newest-HistoryDays {
			return false
		}
		if hasHuman(d) {
			if a.state.GetForgottenFirstDay() == 0 {
				a.state.ForgottenFirstDay = d.GetDay()
			}
			a.state.ForgottenLastDay = d.GetDay()
		}
		return true
	})
	if closed || len(a.state.GetDays()) < before {
		a.compact()
	}
}

// close leaves the sum of a day's visits.
func (a *Account) close(d *metivav1.AccountDayState) {
	t := a.sum(d)
	c := &metivav1.ClosedDay{
		Visits: t.visits, HumanVisits: t.HumanVisits, PageViews: t.PageViews, EngagedMs: t.EngagedMs, Interactions: t.Interactions,
		FirstAtMs: t.firstAtMs, LastAtMs: t.lastAtMs, Identity: t.identity,
	}
	for i, n := range a.counts {
		if n > 0 {
			c.KeyPages = append(c.KeyPages, &metivav1.KeyPageCount{KeyPage: uint32(i), Visits: n})
		}
	}
	d.Visits, d.Closed = nil, c
}

// compact leaves out the names and rules that nothing points to any more. It moves
// no two of them past each other.
func (a *Account) compact() {
	s := a.state
	names, pages := make([]bool, len(s.GetIdentities())), make([]bool, len(s.GetKeyPages()))
	a.references(func(i uint32) uint32 { names[i] = true; return i }, func(i uint32) uint32 { pages[i] = true; return i })
	renumber := func(used []bool) func(uint32) uint32 {
		to, next := make([]uint32, len(used)), uint32(0)
		for i, u := range used {
			to[i] = next
			if u {
				next++
			}
		}
		return func(i uint32) uint32 { return to[i] }
	}
	a.references(renumber(names), renumber(pages))
	s.Identities, s.KeyPages = kept(s.GetIdentities(), names), kept(s.GetKeyPages(), pages)
}

func kept[M proto.Message](all []M, used []bool) []M {
	out := all[:0]
	for i, m := range all {
		if used[i] {
			out = append(out, m)
		}
	}
	clear(all[len(out):])
	return out
}

// references renumbers every number of a name and of a rule.
func (a *Account) references(name, page func(uint32) uint32) {
	for _, d := range a.state.GetDays() {
		for _, v := range d.GetVisits() {
			if v.GetRemoved() {
				continue
			}
			v.Identity = name(v.GetIdentity())
			for i, p := range v.GetKeyPages() {
				v.KeyPages[i] = page(p)
			}
		}
		for _, p := range d.GetKeyPagesSignalled() {
			p.KeyPage = page(p.GetKeyPage())
		}
		if c := d.GetClosed(); c != nil {
			c.Identity = name(c.GetIdentity())
			for _, p := range c.GetKeyPages() {
				p.KeyPage = page(p.GetKeyPage())
			}
		}
	}
}
