package score_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/metiva-io/metiva/enrich/score"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// story is visits in their order, and the signals each of them causes.
type story []struct {
	visit score.Visit
	want  string
}

func (s story) tell(t *testing.T, rules *metivav1.ScoreRules) *told {
	t.Helper()
	x := tell(t, rules)
	for i, step := range s {
		before := len(x.order)
		x.apply(step.visit)
		if got := strings.Join(x.order[before:], " "); got != step.want {
			t.Errorf("visit %d: signals %q, want %q", i, got, step.want)
		}
		x.restart()
	}
	return x
}

func TestSignals(t *testing.T) {
	t.Parallel()
	inhuman := visitOn(20_000, 0, 9, pricing)
	inhuman.Human = false
	awake := inhuman
	awake.Version, awake.Human = 2, true
	const day = 20_000
	more := func(v score.Visit, version uint64, pageViews uint32, pages ...*metivav1.KeyPage) score.Visit {
		v.Version, v.PageViews, v.KeyPages = version, pageViews, pages
		return v
	}
	for name, c := range map[string]struct {
		rules *metivav1.ScoreRules
		story story
	}{
		"no sign of a human, then one": {nil, story{
			{inhuman, ""},
			{awake, "account_first_seen key_page_viewed"},
		}},
		"returned on another day, once a day": {nil, story{
			{visitOn(day, 0, 1), "account_first_seen"},
			{visitOn(day, 1, 1), ""},
			{visitOn(day+1, 0, 1), "account_returned"},
			{visitOn(day+1, 1, 1), ""},
			{visitOn(day+3, 0, 1), "account_returned"},
		}},
		"returned after three days away": {&metivav1.ScoreRules{ReturnedAfterDays: 3}, story{
			{visitOn(day, 0, 1), "account_first_seen"},
			{visitOn(day+2, 0, 1), ""},
			{visitOn(day+4, 0, 1), ""},
			{visitOn(day+7, 0, 1), "account_returned"},
		}},
		"returned after longer than a state remembers days": {&metivav1.ScoreRules{ReturnedAfterDays: 30}, story{
			{visitOn(day, 0, 1), "account_first_seen"},
			{visitOn(day+90, 0, 1), "account_returned"},
		}},
		"key page once per visit and rule": {nil, story{
			{visitOn(day, 0, 1, pricing), "account_first_seen key_page_viewed"},
			{more(visitOn(day, 0, 1), 2, 2, pricing), ""},
			{more(visitOn(day, 0, 1), 3, 2, pricing, demo), "key_page_viewed"},
			{visitOn(day, 1, 1, pricing), "key_page_viewed"},
		}},
		"key page of a visit that got another beginning": {nil, story{
			{visitOn(day, 5, 1, pricing), "account_first_seen key_page_viewed"},
			{removed(visitOn(day, 5, 1), 2), ""},
			{visitOn(day, 4, 2, pricing), ""},
		}},
		"a rule whose weight is changed": {nil, story{
			{visitOn(day, 0, 1, pricing), "account_first_seen key_page_viewed"},
			{more(visitOn(day, 0, 1), 2, 2, &metivav1.KeyPage{Name: "pricing", Path: "/tarieven", Weight: 10}), ""},
		}},
		"hot once, and again after the cool-down": {&metivav1.ScoreRules{HotScore: 30, HotCooldownDays: 2}, story{
			{visitOn(day, 0, 2), "account_first_seen"},
			{more(visitOn(day, 0, 2), 2, 4, pricing), "key_page_viewed account_hot"},
			{more(visitOn(day, 0, 2), 3, 9, pricing), ""},
			{visitOn(day+1, 0, 4, pricing), "account_returned key_page_viewed"},
			{visitOn(day+2, 0, 4, pricing), "account_returned key_page_viewed account_hot"},
		}},
		"a late first day makes the next ones returns": {nil, story{
			{visitOn(day+1, 0, 1), "account_first_seen"},
			{visitOn(day, 0, 1), "account_returned"},
		}},
		"a removal before its visit": {nil, story{
			{removed(visitOn(day, 0, 1, pricing), 3), ""},
			{more(visitOn(day, 0, 1), 2, 3, pricing), ""},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.story.tell(t, c.rules)
		})
	}
}

func removed(v score.Visit, version uint64) score.Visit {
	v.Version, v.Removed = version, true
	return v
}

// TestSignalsSayWhy: each signal names the visit, the rule and the score behind it.
func TestSignalsSayWhy(t *testing.T) {
	t.Parallel()
	const day = 20_000
	first, second := visitOn(day, 0, 3), visitOn(day+2, 0, 6, pricing)
	x := story{
		{first, "account_first_seen"}, {second, "account_returned key_page_viewed account_hot"},
	}.tell(t, nil)
	for _, s := range x.signals {
		if s.GetCompanyId() != "cmp_a" || s.GetBrandId() != "brd_a" || s.GetSiteId() != "sit_a" || s.GetAccountId() != "ing.nl" ||
			s.GetName() != "ING" || s.GetDomain() != "ing.nl" || s.GetCountry() != "NL" || s.GetRetentionDays() != 395 || len(s.GetSignalId()) != 16 {
			t.Errorf("a signal without its account: %v", s)
		}
		of := second
		if s.GetKind() == metivav1.SignalKind_SIGNAL_KIND_ACCOUNT_FIRST_SEEN {
			of = first
		}
		if string(s.GetVisitId()) != string(of.ID[:]) || s.GetAtMs() != of.StartedAtMs || s.GetDay() != of.Day {
			t.Errorf("another cause: %v", s)
		}
		// 21 for six pages, 18 for pricing, 10 and 4 for the day before yesterday.
		if want := map[bool]uint32{true: 15, false: 53}[of.Day == day]; s.GetScore() != want {
			t.Errorf("score %d, want %d: %v", s.GetScore(), want, s)
		}
		key := s.GetKind() == metivav1.SignalKind_SIGNAL_KIND_KEY_PAGE_VIEWED
		if key != (s.GetKeyPage() == "pricing") || key != (s.GetKeyPagePath() == "/pricing") ||
			(s.GetKind() == metivav1.SignalKind_SIGNAL_KIND_ACCOUNT_HOT) != (s.GetHotScore() == score.HotScoreDefault) ||
			(s.GetKind() == metivav1.SignalKind_SIGNAL_KIND_ACCOUNT_RETURNED) != (s.GetDaysAway() == 2) {
			t.Errorf("the reason is not told: %v", s)
		}
	}
	if len(x.signals) != 4 {
		t.Errorf("%d signals", len(x.signals))
	}
}

// TestSignalIDsAreFixed: consumers know a signal by its id, so it must not change with
// the code. Different tenants, sites, accounts and days have different ones.
func TestSignalIDsAreFixed(t *testing.T) {
	t.Parallel()
	seen := make(map[string]string)
	for _, who := range [][3]string{{"cmp_a", "sit_a", "ing.nl"}, {"cmp_b", "sit_a", "ing.nl"}, {"cmp_a", "sit_b", "ing.nl"}, {"cmp_a", "sit_a", "abn.nl"}, {"cmp_as", "it_a", "ing.nl"}} {
		a := score.NewAccount(who[0], "brd_a", who[1], who[2])
		for n, day := range []int32{20_000, 20_001, 20_002} {
			v := visitOn(day, n, 9, pricing)
			v.EngagedMs = 300_000
			signals, _ := a.Apply(nil, &v, new(score.Rules), uint64(n))
			for _, s := range signals {
				id, about := fmt.Sprintf("%x", s.GetSignalId()), fmt.Sprint(who, s.GetKind(), s.GetDay())
				if seen[id] != "" {
					t.Errorf("%s and %s have one id", seen[id], about)
				}
				seen[id] = about
			}
		}
	}
	for id, about := range map[string]string{
		"a697bde23ab67026747d3dc438f634c3": "[cmp_a sit_a ing.nl] SIGNAL_KIND_ACCOUNT_FIRST_SEEN 20000",
		"16a8898409b7555a59c4f1a330e18afc": "[cmp_a sit_a ing.nl] SIGNAL_KIND_ACCOUNT_RETURNED 20001",
		"4fa5e700405da691b876ef2872665197": "[cmp_a sit_a ing.nl] SIGNAL_KIND_KEY_PAGE_VIEWED 20000",
		"c1151fd469f3ff84c8f661b4d22a10c7": "[cmp_a sit_a ing.nl] SIGNAL_KIND_ACCOUNT_HOT 20000",
	} {
		if seen[id] != about {
			var got []string
			for known, a := range seen {
				if a == about {
					got = append(got, known)
				}
			}
			t.Errorf("%s: the id is %v", about, slices.Concat(got))
		}
	}
}
