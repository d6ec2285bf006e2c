package score_test

import (
	"testing"
	"time"

	"github.com/metiva-io/metiva/enrich/score"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

func TestHumanSign(t *testing.T) {
	t.Parallel()
	pages := func(firstAtMs ...int64) (out []*metivav1.VisitPage) {
		for _, at := range firstAtMs {
			out = append(out, &metivav1.VisitPage{Path: "/", Views: 1, FirstAtMs: at})
		}
		return out
	}
	for _, c := range []struct {
		name  string
		visit *metivav1.Visit
		want  bool
	}{
		{"a page that loaded", &metivav1.Visit{PageViews: 1, Pages: pages(10)}, false},
		{"one page loaded twice", &metivav1.Visit{PageViews: 2, Pages: pages(10)}, false},
		{"two pages at once, as scanners open them", &metivav1.Visit{PageViews: 2, Pages: pages(10, 900)}, false},
		{"a page, and a second later another", &metivav1.Visit{PageViews: 2, Pages: pages(10, 1010)}, true},
		{"the third one later", &metivav1.Visit{PageViews: 3, Pages: pages(10, 20, 5000)}, true},
		{"seen for less than a second", &metivav1.Visit{PageViews: 1, EngagedMs: 999, Pages: pages(1)}, false},
		{"seen for a second", &metivav1.Visit{PageViews: 1, EngagedMs: 1000, Pages: pages(1)}, true},
		{"a form begun", &metivav1.Visit{FormsStarted: 1}, true},
		{"a form sent", &metivav1.Visit{FormsSubmitted: 1}, true},
		{"a capture", &metivav1.Visit{Captured: true}, true},
		{"a link followed", &metivav1.Visit{OutboundClicks: 1}, true},
		{"a download", &metivav1.Visit{Downloads: 1}, true},
		{"an event of the site's own", &metivav1.Visit{CustomEvents: []*metivav1.VisitCustomEvent{{Name: "x", Count: 1}}}, true},
	} {
		if got := score.HasHumanSign(c.visit); got != c.want {
			t.Errorf("%s: %t", c.name, got)
		}
	}
}

func TestShown(t *testing.T) {
	t.Parallel()
	of := func(v metivav1.Verdict, confidence float32, account string) *metivav1.Visit {
		return &metivav1.Visit{Resolution: &metivav1.Resolution{Verdict: v, Confidence: confidence, AccountId: account}}
	}
	for name, c := range map[string]struct {
		visit *metivav1.Visit
		want  bool
	}{
		"company":             {of(metivav1.Verdict_VERDICT_COMPANY, 0.75, "ing.nl"), true},
		"just enough":         {of(metivav1.Verdict_VERDICT_COMPANY, 0.6, "ing.nl"), true},
		"not sure enough":     {of(metivav1.Verdict_VERDICT_COMPANY, 0.59, "ing.nl"), false},
		"an access provider":  {of(metivav1.Verdict_VERDICT_ISP, 0.9, ""), false},
		"a company unnamed":   {of(metivav1.Verdict_VERDICT_COMPANY, 0.9, ""), false},
		"nothing is known":    {&metivav1.Visit{}, false},
		"a provider's domain": {of(metivav1.Verdict_VERDICT_ISP, 0.9, "kpn.com"), false},
	} {
		if got := score.Shown(c.visit); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

func TestDayOf(t *testing.T) {
	t.Parallel()
	amsterdam, err := time.LoadLocation("Europe/Amsterdam")
	if err != nil {
		t.Fatal(err)
	}
	for at, want := range map[string][2]int32{ // UTC, Amsterdam
		"1970-01-02T00:00:00Z": {1, 1},
		"2026-11-22T22:59:59Z": {20779, 20779},
		"2026-11-22T23:00:00Z": {20779, 20780},
		"2026-07-01T22:00:00Z": {20635, 20636}, // summer time
		"1969-12-31T23:59:59Z": {-1, 0},
	} {
		moment, err := time.Parse(time.RFC3339, at)
		if err != nil {
			t.Fatal(err)
		}
		if got := [2]int32{score.DayOf(moment.UnixMilli(), time.UTC), score.DayOf(moment.UnixMilli(), amsterdam)}; got != want {
			t.Errorf("%s: %v, want %v", at, got, want)
		}
	}
}
