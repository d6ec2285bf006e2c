package score

import (
	"bytes"
	"slices"
	"strings"

	"github.com/metiva-io/metiva/schemas/metivav1"
)

// sum is the visits of one day taken together. Inputs has those of humans only.
type sum struct {
	Inputs
	visits              uint32
	firstAtMs, lastAtMs int64
	identity            uint32 // of the visit that began last, if there is any
}

// sum adds up a day, and leaves in counts how many human visits saw each key page.
func (a *Account) sum(d *metivav1.AccountDayState) sum {
	a.counts = append(a.counts[:0], make([]uint32, len(a.state.GetKeyPages()))...)
	if c := d.GetClosed(); c != nil {
		for _, p := range c.GetKeyPages() {
			a.counts[p.GetKeyPage()] = p.GetVisits()
		}
		return sum{
			Inputs: Inputs{HumanVisits: c.GetHumanVisits(), PageViews: c.GetPageViews(), EngagedMs: c.GetEngagedMs(), Interactions: c.GetInteractions()},
			visits: c.GetVisits(), firstAtMs: c.GetFirstAtMs(), lastAtMs: c.GetLastAtMs(), identity: c.GetIdentity(),
		}
	}
	var t sum
	var last []byte
	for _, v := range d.GetVisits() {
		if v.GetRemoved() {
			continue
		}
		if t.visits++; t.visits == 1 || v.GetStartedAtMs() < t.firstAtMs {
			t.firstAtMs = v.GetStartedAtMs()
		}
		if t.visits == 1 || v.GetStartedAtMs() > t.lastAtMs || v.GetStartedAtMs() == t.lastAtMs && bytes.Compare(v.GetVisitId(), last) > 0 {
			t.lastAtMs, last = v.GetStartedAtMs(), v.GetVisitId()
			t.identity = v.GetIdentity()
		}
		if !v.GetHuman() {
			continue
		}
		t.HumanVisits++
		t.PageViews = bounded(uint64(t.PageViews) + uint64(v.GetPageViews()))
		t.EngagedMs += uint64(v.GetEngagedMs())
		t.Interactions = bounded(uint64(t.Interactions) + uint64(v.GetInteractions()))
		for _, p := range v.GetKeyPages() {
			a.counts[p]++
		}
	}
	return t
}

// hasHuman reports whether the day has a visit with a sign of a human.
func hasHuman(d *metivav1.AccountDayState) bool {
	if c := d.GetClosed(); c != nil {
		return c.GetHumanVisits() > 0
	}
	return slices.ContainsFunc(d.GetVisits(), func(v *metivav1.VisitShare) bool { return v.GetHuman() })
}

// day is a day by its date, nil when there is none.
func (a *Account) day(date int32) *metivav1.AccountDayState {
	for _, d := range a.state.GetDays() {
		if d.GetDay() == date {
			return d
		}
	}
	return nil
}

// score sums a day and completes its inputs with its past and its key pages.
func (a *Account) score(d *metivav1.AccountDayState) (sum, Points) {
	t := a.sum(d)
	if p := a.previous(d.GetDay()); p != 0 && t.HumanVisits > 0 {
		t.DaysSincePrevious = uint32(d.GetDay() - p)
	}
	for _, e := range a.state.GetDays() {
		if e.GetDay() < d.GetDay() && e.GetDay() >= d.GetDay()-ReturningWindowDays && hasHuman(e) {
			t.EarlierDays++
		}
	}
	for i := range a.counts {
		if _, weight := a.named(i); weight > 0 {
			t.KeyPageWeight += weight
		}
	}
	return t, PointsOf(t.Inputs)
}

// named is, for the first of the rules of one name that was seen on the day summed
// last, the visits and the highest weight of all of them; zero for the others.
func (a *Account) named(i int) (visits, weight uint32) {
	if a.counts[i] == 0 {
		return 0, 0
	}
	pages := a.state.GetKeyPages()
	for j := range pages {
		if a.counts[j] == 0 || pages[j].GetName() != pages[i].GetName() {
			continue
		}
		if j < i {
			return 0, 0
		}
		visits += a.counts[j]
		weight = max(weight, pages[j].GetWeight())
	}
	return visits, weight
}

// previous is the last day before date with a human visit; 0 when there is none.
func (a *Account) previous(date int32) int32 {
	previous := a.state.GetForgottenLastDay()
	for _, d := range a.state.GetDays() {
		if d.GetDay() < date && hasHuman(d) {
			previous = d.GetDay()
		}
	}
	return previous
}

// firstSeen is the first day in memory with a human visit, as far as the date; 0
// before one.
func (a *Account) firstSeen(date int32) int32 {
	if day := a.state.GetForgottenFirstDay(); day != 0 {
		return day
	}
	for _, d := range a.state.GetDays() {
		if d.GetDay() <= date && hasHuman(d) {
			return d.GetDay()
		}
	}
	return 0
}

// Days appends the days that have changed since the last call, ascending.
func (a *Account) Days(dst []*metivav1.AccountDay) []*metivav1.AccountDay {
	dst = append(dst, a.gone...)
	a.gone = nil
	for _, date := range a.dirty {
		if d := a.day(date); d != nil {
			dst = append(dst, a.describe(d))
		}
	}
	a.dirty = a.dirty[:0]
	return dst
}

func (a *Account) describe(d *metivav1.AccountDayState) *metivav1.AccountDay {
	t, points := a.score(d)
	s := a.state
	out := &metivav1.AccountDay{
		CompanyId: s.GetCompanyId(), BrandId: s.GetBrandId(), SiteId: s.GetSiteId(), AccountId: s.GetAccountId(), Day: d.GetDay(),
		Visits: t.visits, HumanVisits: t.HumanVisits, PageViews: t.PageViews, EngagedMs: t.EngagedMs,
		FirstSeenDay: a.firstSeen(d.GetDay()), FirstAtMs: t.firstAtMs, LastAtMs: t.lastAtMs,
		Version: s.GetVersion(), Formula: Formula, Removed: t.visits == 0, Capped: d.GetCapped(), RetentionDays: s.GetRetentionDays(),
		Score: points.Sum(),
		Parts: &metivav1.ScoreParts{
			Recency:    &metivav1.RecencyPart{Points: points.Recency, DaysSincePrevious: t.DaysSincePrevious},
			Depth:      &metivav1.DepthPart{Points: points.Depth, PageViews: t.PageViews},
			KeyPages:   &metivav1.KeyPagesPart{Points: points.KeyPages},
			Engagement: &metivav1.EngagementPart{Points: points.Engagement, EngagedMs: t.EngagedMs, Interactions: t.Interactions},
			Returning:  &metivav1.ReturningPart{Points: points.Returning, EarlierDays: t.EarlierDays},
		},
	}
	if t.visits > 0 {
		n := s.GetIdentities()[t.identity]
		out.Name, out.Domain, out.Country, out.Confidence = n.GetName(), n.GetDomain(), n.GetCountry(), n.GetConfidence()
	}
	for i := range a.counts {
		if visits, weight := a.named(i); visits > 0 {
			out.Parts.KeyPages.Hits = append(out.Parts.KeyPages.Hits, &metivav1.KeyPageHit{Name: s.GetKeyPages()[i].GetName(), Weight: weight, Visits: visits})
		}
	}
	slices.SortFunc(out.Parts.KeyPages.Hits, func(x, y *metivav1.KeyPageHit) int { return strings.Compare(x.GetName(), y.GetName()) })
	return out
}
