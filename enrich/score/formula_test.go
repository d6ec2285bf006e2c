package score_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/metiva-io/metiva/enrich/score"
)

func TestPoints(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		in   score.Inputs
		want score.Points
	}{
		{"nothing", score.Inputs{}, score.Points{}},
		{"no human, whatever else", score.Inputs{PageViews: 20, EngagedMs: 600_000, KeyPageWeight: 100, EarlierDays: 9, DaysSincePrevious: 1}, score.Points{}},
		{"one page", score.Inputs{HumanVisits: 1, PageViews: 1}, score.Points{Depth: 6}},
		{"four pages and pricing, without consent", score.Inputs{HumanVisits: 1, PageViews: 4, KeyPageWeight: 60}, score.Points{Depth: 18, KeyPages: 18}},
		{"the same with two minutes", score.Inputs{HumanVisits: 1, PageViews: 4, KeyPageWeight: 60, EngagedMs: 120_000}, score.Points{Depth: 18, KeyPages: 18, Engagement: 18}},
		{"again after three days", score.Inputs{HumanVisits: 1, PageViews: 4, KeyPageWeight: 60, DaysSincePrevious: 3, EarlierDays: 1}, score.Points{Depth: 18, KeyPages: 18, Recency: 10, Returning: 4}},
		{"a form started and submitted", score.Inputs{HumanVisits: 1, PageViews: 2, Interactions: 2, EngagedMs: 20_000}, score.Points{Depth: 11, Engagement: 12}},
		{"everything", score.Inputs{HumanVisits: 9, PageViews: 99, KeyPageWeight: 250, EngagedMs: 9e6, Interactions: 9, DaysSincePrevious: 1, EarlierDays: 30}, score.Points{Depth: 25, KeyPages: 30, Engagement: 25, Recency: 10, Returning: 10}},
		{"the largest numbers", score.Inputs{HumanVisits: math.MaxUint32, PageViews: math.MaxUint32, EngagedMs: math.MaxUint64 >> 8, Interactions: math.MaxUint32, EarlierDays: math.MaxUint32}, score.Points{Depth: 25, Engagement: 25, Returning: 10}},
	} {
		if got := score.PointsOf(c.in); got != c.want {
			t.Errorf("%s: got %+v, want %+v", c.name, got, c.want)
		}
	}
	days := map[uint32]uint32{1: 10, 7: 10, 8: 7, 14: 7, 15: 4, 21: 4, 22: 2, 30: 2, 31: 0, 400: 0}
	for since, want := range days {
		if got := score.PointsOf(score.Inputs{HumanVisits: 1, DaysSincePrevious: since}).Recency; got != want {
			t.Errorf("%d days since: %d points, want %d", since, got, want)
		}
	}
	for ms, want := range map[uint64]uint32{0: 0, 3_333: 0, 3_334: 1, 19_999: 5, 20_000: 6, 60_000: 14, 180_000: 22, 299_999: 24, 300_000: 25} {
		if got := score.PointsOf(score.Inputs{HumanVisits: 1, EngagedMs: ms}).Engagement; got != want {
			t.Errorf("%d ms engaged: %d points, want %d", ms, got, want)
		}
	}
	if most := score.RecencyPointsMax + score.DepthPointsMax + score.KeyPagesPointsMax + score.EngagementPointsMax + score.ReturningPointsMax; most != 100 {
		t.Errorf("all parts together give %d", most)
	}
}

// TestMoreIsNeverLess: more of an input never lowers any part, the sum stays between
// 0 and 100, and no part is above its most.
func TestMoreIsNeverLess(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	random := func() score.Inputs {
		return score.Inputs{
			HumanVisits: r.Uint32N(3), DaysSincePrevious: r.Uint32N(40), EarlierDays: r.Uint32N(8), PageViews: r.Uint32N(14),
			KeyPageWeight: r.Uint32N(140), EngagedMs: r.Uint64N(400_000), Interactions: r.Uint32N(10),
		}
	}
	more := []func(*score.Inputs){
		func(in *score.Inputs) { in.HumanVisits++ },
		func(in *score.Inputs) { in.PageViews += 1 + r.Uint32N(3) },
		func(in *score.Inputs) { in.EngagedMs += r.Uint64N(60_000) },
		func(in *score.Inputs) { in.Interactions++ },
		func(in *score.Inputs) { in.KeyPageWeight += r.Uint32N(30) },
		func(in *score.Inputs) { in.EarlierDays++ },
		func(in *score.Inputs) { // the previous day comes nearer, or there is one now
			if in.DaysSincePrevious > 1 {
				in.DaysSincePrevious--
			} else if in.DaysSincePrevious == 0 {
				in.DaysSincePrevious = 1 + r.Uint32N(40)
			}
		},
	}
	for range 20_000 {
		in := random()
		before := score.PointsOf(in)
		grown := in
		which := r.IntN(len(more))
		more[which](&grown)
		after := score.PointsOf(grown)
		if after.Depth < before.Depth || after.Engagement < before.Engagement || after.KeyPages < before.KeyPages ||
			after.Recency < before.Recency || after.Returning < before.Returning || after.Sum() > 100 {
			t.Fatalf("more of input %d: %+v has %+v, %+v has %+v", which, in, before, grown, after)
		}
	}
}

func ExamplePointsOf() {
	p := score.PointsOf(score.Inputs{
		HumanVisits: 2, PageViews: 5, KeyPageWeight: 80, EngagedMs: 90_000, Interactions: 1, DaysSincePrevious: 2, EarlierDays: 2,
	})
	fmt.Printf("%+v = %d\n", p, p.Sum())
	// Output: {Recency:10 Depth:20 KeyPages:24 Engagement:19 Returning:7} = 80
}
