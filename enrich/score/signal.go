package score

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// signals appends what became due by the days that Apply touched. What was once
// given is not given again, and not taken back either.
func (a *Account) signals(dst []*metivav1.Signal, v *Visit, rules *Rules) []*metivav1.Signal {
	for _, date := range a.touched {
		d := a.day(date)
		if d == nil || !hasHuman(d) {
			continue
		}
		dst = a.daySignals(dst, d, v, rules)
	}
	return dst
}

func (a *Account) daySignals(dst []*metivav1.Signal, d *metivav1.AccountDayState, v *Visit, rules *Rules) []*metivav1.Signal {
	t, points := a.score(d)
	signal := func(kind metivav1.SignalKind, about ...any) *metivav1.Signal {
		s := a.signal(kind, d, t, about...)
		s.Score = points.Sum()
		a.cause(s, d, v, nil)
		dst = append(dst, s)
		return s
	}
	if !a.state.GetFirstSeenSignalled() {
		a.state.FirstSeenSignalled = true
		signal(metivav1.SignalKind_SIGNAL_KIND_ACCOUNT_FIRST_SEEN)
	}
	if p := a.previous(d.GetDay()); !d.GetReturnedSignalled() && p != 0 && d.GetDay()-p >= rules.returnedAfterN() {
		d.ReturnedSignalled = true
		signal(metivav1.SignalKind_SIGNAL_KIND_ACCOUNT_RETURNED, d.GetDay()).DaysAway = uint32(d.GetDay() - p)
	}
	for i := range a.counts {
		visits, _ := a.named(i)
		page := a.state.GetKeyPages()[i]
		for n := a.signalled(d, page.GetName()) + 1; n <= visits; n++ {
			note(d, uint32(i))
			s := signal(metivav1.SignalKind_SIGNAL_KIND_KEY_PAGE_VIEWED, d.GetDay(), page.GetName(), n)
			s.KeyPage, s.KeyPagePath = page.GetName(), page.GetPath()
			a.cause(s, d, v, page)
		}
	}
	if points.Sum() >= rules.hot() && !a.hotNear(d.GetDay(), rules.cooldown()) {
		d.HotSignalled = true
		signal(metivav1.SignalKind_SIGNAL_KIND_ACCOUNT_HOT, d.GetDay()).HotScore = rules.hot()
	}
	return dst
}

// hotNear reports whether account.hot was given for the day, or for one within the
// cool-down of it.
func (a *Account) hotNear(day, cooldown int32) bool {
	return slices.ContainsFunc(a.state.GetDays(), func(d *metivav1.AccountDayState) bool {
		apart := max(d.GetDay()-day, day-d.GetDay())
		return d.GetHotSignalled() && apart < cooldown
	})
}

// signalled is how many visits of the day were signalled for the rules of a name.
func (a *Account) signalled(d *metivav1.AccountDayState, name string) uint32 {
	n := uint32(0)
	for _, p := range d.GetKeyPagesSignalled() {
		if a.state.GetKeyPages()[p.GetKeyPage()].GetName() == name {
			n += p.GetVisits()
		}
	}
	return n
}

// note counts one visit that was signalled for a rule.
func note(d *metivav1.AccountDayState, page uint32) {
	for _, p := range d.GetKeyPagesSignalled() {
		if p.GetKeyPage() == page {
			p.Visits++
			return
		}
	}
	d.KeyPagesSignalled = append(d.KeyPagesSignalled, &metivav1.KeyPageCount{KeyPage: page, Visits: 1})
}

// signal makes a signal about a day, whose id goes by kind, account and about.
func (a *Account) signal(kind metivav1.SignalKind, d *metivav1.AccountDayState, t sum, about ...any) *metivav1.Signal {
	s := a.state
	out := &metivav1.Signal{
		SignalId: a.signalID(kind, about), Kind: kind, CompanyId: s.GetCompanyId(), BrandId: s.GetBrandId(), SiteId: s.GetSiteId(),
		AccountId: s.GetAccountId(), Day: d.GetDay(), RetentionDays: s.GetRetentionDays(),
	}
	if t.visits > 0 {
		n := s.GetIdentities()[t.identity]
		out.Name, out.Domain, out.Country = n.GetName(), n.GetDomain(), n.GetCountry()
	}
	return out
}

// signalID is the first 16 bytes of the SHA-256 of what the signal is about, each
// text with its length before it.
func (a *Account) signalID(kind metivav1.SignalKind, about []any) []byte {
	b := make([]byte, 0, 160)
	text := func(s string) {
		b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
		b = append(b, s...)
	}
	text("signal.v1")
	b = binary.BigEndian.AppendUint32(b, uint32(kind))
	text(a.state.GetCompanyId())
	text(a.state.GetSiteId())
	text(a.state.GetAccountId())
	for _, x := range about {
		switch x := x.(type) {
		case string:
			text(x)
		case int32:
			b = binary.BigEndian.AppendUint32(b, uint32(x))
		case uint32:
			b = binary.BigEndian.AppendUint32(b, x)
		}
	}
	id := sha256.Sum256(b)
	return id[:schemas.IDBytes]
}

// cause names the visit behind a signal: the one at hand where it fits, else the
// last human one of the day; with page, only visits that saw a rule of its name.
func (a *Account) cause(s *metivav1.Signal, d *metivav1.AccountDayState, v *Visit, page *metivav1.KeyPage) {
	saw := func(x *metivav1.VisitShare) bool {
		return page == nil || slices.ContainsFunc(x.GetKeyPages(), func(i uint32) bool { return a.state.GetKeyPages()[i].GetName() == page.GetName() })
	}
	s.AtMs = d.GetClosed().GetLastAtMs()
	for _, x := range d.GetVisits() {
		if !x.GetHuman() || !saw(x) {
			continue
		}
		if atHand := [schemas.IDBytes]byte(x.GetVisitId()) == v.ID; atHand || x.GetStartedAtMs() >= s.GetAtMs() {
			s.AtMs, s.VisitId = x.GetStartedAtMs(), slices.Clone(x.GetVisitId())
			if atHand {
				return
			}
		}
	}
}
