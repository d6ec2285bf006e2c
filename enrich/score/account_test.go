package score_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/enrich/score"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

var (
	pricing = &metivav1.KeyPage{Name: "pricing", Path: "/pricing", Weight: 60}
	demo    = &metivav1.KeyPage{Name: "demo", Path: "/demo*", Weight: 50}
)

const hour = int64(3_600_000)

// visitOn is a human visit, number n of its day.
func visitOn(day int32, n int, pageViews uint32, pages ...*metivav1.KeyPage) score.Visit {
	v := score.Visit{
		Version: 1, Day: day, StartedAtMs: int64(day)*24*hour + int64(n)*1000, Human: true, PageViews: pageViews,
		Name: "ING", Domain: "ing.nl", Country: "NL", Confidence: 0.75, RetentionDays: 395, KeyPages: pages,
	}
	copy(v.ID[:], fmt.Sprintf("visit %05d %04d", day, n))
	return v
}

func newAccount() *score.Account { return score.NewAccount("cmp_a", "brd_a", "sit_a", "ing.nl") }

// told is what the outside knows after some visits.
type told struct {
	t       *testing.T
	account *score.Account
	rules   *score.Rules
	at      uint64
	days    map[int32]*metivav1.AccountDay
	signals map[string]*metivav1.Signal
	order   []string // kinds of signals as they came
}

func tell(t *testing.T, rules *metivav1.ScoreRules) *told {
	t.Helper()
	r, err := score.NewRules(rules)
	if err != nil {
		t.Fatal(err)
	}
	return &told{t: t, account: newAccount(), rules: r, days: map[int32]*metivav1.AccountDay{}, signals: map[string]*metivav1.Signal{}}
}

// apply gives one visit to the account. A signal comes once, and a day never goes
// back to an older version.
func (x *told) apply(v score.Visit) score.Outcome {
	x.t.Helper()
	x.at++
	signals, outcome := x.account.Apply(nil, &v, x.rules, x.at)
	for _, s := range signals {
		id := string(s.GetSignalId())
		if _, again := x.signals[id]; again {
			x.t.Errorf("signalled twice: %v", s)
		}
		x.signals[id] = s
		x.order = append(x.order, strings.ToLower(strings.TrimPrefix(s.GetKind().String(), "SIGNAL_KIND_")))
	}
	for _, d := range x.account.Days(nil) {
		if known := x.days[d.GetDay()]; known != nil && known.GetVersion() >= d.GetVersion() {
			x.t.Errorf("version %d after %d", d.GetVersion(), known.GetVersion())
		}
		p := d.GetParts()
		if sum := p.GetRecency().GetPoints() + p.GetDepth().GetPoints() + p.GetKeyPages().GetPoints() + p.GetEngagement().GetPoints() + p.GetReturning().GetPoints(); sum != d.GetScore() {
			x.t.Errorf("the parts are %d, the score %d", sum, d.GetScore())
		}
		x.days[d.GetDay()] = d
	}
	return outcome
}

// restart forgets all but the bytes of the state.
func (x *told) restart() {
	x.t.Helper()
	data, err := x.account.Encode(nil)
	if err != nil {
		x.t.Fatal(err)
	}
	if x.account, err = score.DecodeAccount(data); err != nil {
		x.t.Fatal(err)
	}
	again, err := x.account.Encode(nil)
	if err != nil || !bytes.Equal(data, again) {
		x.t.Fatalf("a state is not what was written of it: %v", err)
	}
}

// picture is the days as text, without versions and without those removed.
func (x *told) picture() string {
	var lines []string
	for _, d := range x.days {
		if d.GetRemoved() {
			continue
		}
		c := proto.CloneOf(d)
		c.Version = 0
		raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(c)
		if err != nil {
			x.t.Fatal(err)
		}
		lines = append(lines, fmt.Sprintf("%d %d %s", c.GetDay(), c.GetScore(), hex.EncodeToString(raw)))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// ids are the signals' kinds and ids, as text.
func (x *told) ids() string {
	var lines []string
	for id, s := range x.signals {
		lines = append(lines, fmt.Sprintf("%v %x", s.GetKind(), id))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// versionsOf makes visits on some days, each with growing versions; with removals a
// part of them ends removed.
func versionsOf(r *rand.Rand, visits int, days int32, removals bool) (out []score.Visit) {
	for n := range visits {
		v := visitOn(20_000+r.Int32N(days), n, 1)
		v.Human = r.IntN(4) > 0
		if r.IntN(3) == 0 {
			v.Name, v.Confidence = "ING Bank", 0.95
		}
		for version := range 1 + r.Uint64N(4) {
			v.Version = 2 * (version + 1)
			v.PageViews += r.Uint32N(4)
			v.EngagedMs += r.Uint32N(40_000)
			v.Interactions += r.Uint32N(2)
			v.Human = v.Human || r.IntN(2) == 0
			v.KeyPages = slices.Clone(v.KeyPages)
			for _, p := range []*metivav1.KeyPage{pricing, demo} {
				if r.IntN(4) == 0 && !slices.Contains(v.KeyPages, p) {
					v.KeyPages = append(v.KeyPages, p)
				}
			}
			out = append(out, v)
		}
		if removals && r.IntN(3) == 0 {
			v.Version, v.Removed = v.Version+1, true
			out = append(out, v)
		}
	}
	return out
}

// TestOrderDoesNotMatter: whatever the order and the repetitions of visits' versions,
// and wherever the account was read again from its bytes, the days come out the same;
// without removals so do the signals.
func TestOrderDoesNotMatter(t *testing.T) {
	t.Parallel()
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 7))
		removals := seed%2 == 1
		versions := versionsOf(r, 1+r.IntN(12), 1+r.Int32N(7), removals)
		rules := &metivav1.ScoreRules{HotScore: 40, HotCooldownDays: 1, ReturnedAfterDays: 1}
		var want *told
		for round := range 12 {
			x := tell(t, rules)
			for _, v := range versions {
				x.apply(v)
				if round%3 == 1 {
					x.restart()
				}
			}
			if round == 0 {
				want = x
				if got, naive := x.picture(), naively(versions); got != naive {
					t.Fatalf("seed %d: got\n%s\nwant\n%s", seed, got, naive)
				}
			}
			if x.picture() != want.picture() {
				t.Fatalf("seed %d, round %d: got\n%s\nwant\n%s", seed, round, x.picture(), want.picture())
			}
			if !removals && x.ids() != want.ids() {
				t.Fatalf("seed %d, round %d: signals\n%s\nwant\n%s", seed, round, x.ids(), want.ids())
			}
			for range r.IntN(6) { // repetitions
				versions = append(versions, versions[r.IntN(len(versions))])
			}
			r.Shuffle(len(versions), func(i, j int) { versions[i], versions[j] = versions[j], versions[i] })
		}
	}
}

// TestDaysInOrder: with a cool-down, days that come in their order have the same
// signals however the visits within a day come.
func TestDaysInOrder(t *testing.T) {
	t.Parallel()
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 8))
		versions := versionsOf(r, 10, 7, false)
		var want string
		for round := range 8 {
			r.Shuffle(len(versions), func(i, j int) { versions[i], versions[j] = versions[j], versions[i] })
			slices.SortStableFunc(versions, func(a, b score.Visit) int { return int(a.Day - b.Day) })
			x := tell(t, &metivav1.ScoreRules{HotScore: 30, HotCooldownDays: 3, ReturnedAfterDays: 2})
			for _, v := range versions {
				x.apply(v)
			}
			if want == "" {
				want = x.ids()
			}
			if x.ids() != want {
				t.Fatalf("seed %d, round %d: signals\n%s\nwant\n%s", seed, round, x.ids(), want)
			}
		}
	}
}

// naively sums up the newest versions, in the simplest way there is, and gives the
// picture of it.
func naively(versions []score.Visit) string {
	newest := make(map[[16]byte]score.Visit)
	for _, v := range versions {
		if v.Version > newest[v.ID].Version {
			newest[v.ID] = v
		}
	}
	byDay := make(map[int32][]score.Visit)
	var human []int32
	for _, v := range newest {
		if !v.Removed {
			byDay[v.Day] = append(byDay[v.Day], v)
			if v.Human && !slices.Contains(human, v.Day) {
				human = append(human, v.Day)
			}
		}
	}
	slices.Sort(human)
	var lines []string
	for day, visits := range byDay {
		slices.SortFunc(visits, func(a, b score.Visit) int { return bytes.Compare(a.ID[:], b.ID[:]) }) // and so by time
		var in score.Inputs
		hits := map[string]*metivav1.KeyPageHit{}
		for _, v := range visits {
			if !v.Human {
				continue
			}
			in.HumanVisits++
			in.PageViews += v.PageViews
			in.EngagedMs += uint64(v.EngagedMs)
			in.Interactions += v.Interactions
			for _, p := range v.KeyPages {
				if hits[p.GetName()] == nil {
					hits[p.GetName()] = &metivav1.KeyPageHit{Name: p.GetName(), Weight: p.GetWeight()}
					in.KeyPageWeight += p.GetWeight()
				}
				hits[p.GetName()].Visits++
			}
		}
		first := int32(0)
		for _, d := range human {
			if d < day {
				in.EarlierDays++
				if in.HumanVisits > 0 {
					in.DaysSincePrevious = uint32(day - d)
				}
			}
			if d <= day && first == 0 {
				first = d
			}
		}
		points, last := score.PointsOf(in), visits[len(visits)-1]
		x := &metivav1.AccountDay{
			CompanyId: "cmp_a", BrandId: "brd_a", SiteId: "sit_a", AccountId: "ing.nl", Day: day,
			Name: last.Name, Domain: last.Domain, Country: last.Country, Confidence: last.Confidence,
			Visits: uint32(len(visits)), HumanVisits: in.HumanVisits, PageViews: in.PageViews, EngagedMs: in.EngagedMs,
			Score: points.Sum(), FirstSeenDay: first, FirstAtMs: visits[0].StartedAtMs, LastAtMs: last.StartedAtMs, Formula: score.Formula, RetentionDays: 395,
			Parts: &metivav1.ScoreParts{
				Recency:    &metivav1.RecencyPart{Points: points.Recency, DaysSincePrevious: in.DaysSincePrevious},
				Depth:      &metivav1.DepthPart{Points: points.Depth, PageViews: in.PageViews},
				KeyPages:   &metivav1.KeyPagesPart{Points: points.KeyPages},
				Engagement: &metivav1.EngagementPart{Points: points.Engagement, EngagedMs: in.EngagedMs, Interactions: in.Interactions},
				Returning:  &metivav1.ReturningPart{Points: points.Returning, EarlierDays: in.EarlierDays},
			},
		}
		for _, name := range []string{"demo", "pricing"} {
			if hits[name] != nil {
				x.Parts.KeyPages.Hits = append(x.Parts.KeyPages.Hits, hits[name])
			}
		}
		raw, _ := proto.MarshalOptions{Deterministic: true}.Marshal(x)
		lines = append(lines, fmt.Sprintf("%d %d %s", day, x.GetScore(), hex.EncodeToString(raw)))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
