package score_test

import (
	"fmt"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/enrich/score"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// TestOldDaysClose: a day is summed up when it is OpenDays old, still counts as an
// earlier one, and is forgotten but for the first and the last.
func TestOldDaysClose(t *testing.T) {
	t.Parallel()
	x := tell(t, &metivav1.ScoreRules{HotScore: 100})
	const first = 20_000
	for d := range int32(60) {
		x.apply(visitOn(first+d, 0, 2, pricing))
		x.apply(visitOn(first+d, 1, 1))
		x.restart()
	}
	last := x.days[first+59]
	if p := last.GetParts(); p.GetReturning().GetEarlierDays() != score.ReturningWindowDays || p.GetRecency().GetDaysSincePrevious() != 1 || last.GetFirstSeenDay() != first {
		t.Errorf("got %v", last)
	}
	if got := x.apply(visitOn(first+59-score.OpenDays, 2, 1)); got != score.OutcomeLate {
		t.Errorf("a visit of a closed day is %v", got)
	}
	if got := x.apply(visitOn(first+59-score.OpenDays, 0, 2, pricing)); got != score.OutcomeLate {
		t.Errorf("a repeated visit of a closed day is %v", got)
	}
	if got := x.apply(visitOn(first+60-score.OpenDays, 2, 1)); got != score.OutcomeApplied {
		t.Errorf("a late visit of an open day is %v", got)
	}
	data, err := x.account.Encode(nil)
	if err != nil || len(data) > 4000 {
		t.Errorf("the state has %d bytes, %v", len(data), err)
	}
}

// TestADayIsToldBeforeItIsForgotten: visits far apart in one batch lose no day.
func TestADayIsToldBeforeItIsForgotten(t *testing.T) {
	t.Parallel()
	a := newAccount()
	for n, day := range []int32{20_000, 20_004, 20_100} {
		v := visitOn(day, n, 3)
		a.Apply(nil, &v, new(score.Rules), uint64(n+1))
	}
	var got []string
	for _, d := range a.Days(nil) {
		got = append(got, fmt.Sprint(d.GetDay(), d.GetPageViews(), d.GetParts().GetRecency().GetDaysSincePrevious(), d.GetFirstSeenDay()))
	}
	if fmt.Sprint(got) != "[20000 3 0 20000 20004 3 4 20000 20100 3 96 20000]" {
		t.Errorf("got %v", got)
	}
	if again := a.Days(nil); len(again) != 0 {
		t.Errorf("told twice: %v", again)
	}
}

// TestADayIsBounded: visits beyond the most a day holds are not counted, and the day
// says so.
func TestADayIsBounded(t *testing.T) {
	t.Parallel()
	x := tell(t, nil)
	for n := range score.VisitsPerDayMax + 10 {
		want := score.OutcomeApplied
		if n >= score.VisitsPerDayMax {
			want = score.OutcomeFull
		}
		v := visitOn(20_000, n, 1)
		v.Name = fmt.Sprintf("Name %d", n) // more names than a state holds
		if got := x.apply(v); got != want {
			t.Fatalf("visit %d is %v", n, got)
		}
	}
	x.restart()
	if d := x.days[20_000]; !d.GetCapped() || d.GetVisits() != score.VisitsPerDayMax {
		t.Errorf("got %v", d)
	}
	known := visitOn(20_000, 3, 7)
	known.Version = 2
	if got := x.apply(known); got != score.OutcomeApplied || x.days[20_000].GetPageViews() != score.VisitsPerDayMax+6 {
		t.Errorf("a known visit of a full day is %v", got)
	}
	data, err := x.account.Encode(nil)
	if err != nil || len(data) > 64<<10 {
		t.Errorf("the state has %d bytes, %v", len(data), err)
	}
}

// TestAVisitMovesWithTheZone: a site's new time zone puts a visit's next version on
// another day, and takes it from the former one.
func TestAVisitMovesWithTheZone(t *testing.T) {
	t.Parallel()
	x := tell(t, nil)
	v := visitOn(20_000, 0, 2, pricing)
	x.apply(v)
	v.Version, v.Day = 2, 20_001
	x.apply(v)
	if a, b := x.days[20_000], x.days[20_001]; !a.GetRemoved() || a.GetScore() != 0 || b.GetPageViews() != 2 || b.GetFirstSeenDay() != 20_001 {
		t.Errorf("got %v and %v", a, b)
	}
	x.restart()
	v.Version, v.Removed = 3, true
	x.apply(v)
	if d := x.days[20_001]; !d.GetRemoved() || d.GetVisits() != 0 || d.GetFirstSeenDay() != 0 {
		t.Errorf("got %v", d)
	}
}

// FuzzState: whatever bytes are read as a state, going on from it neither panics nor
// writes what cannot be read again.
func FuzzState(f *testing.F) {
	a := newAccount()
	for n, day := range []int32{20_000, 20_000, 20_003, 20_030} {
		v := visitOn(day, n, 3, pricing, demo)
		a.Apply(nil, &v, new(score.Rules), uint64(n+1))
	}
	data, err := a.Encode(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data, int32(20_031), uint64(9), true)
	f.Add([]byte{}, int32(0), uint64(0), false)
	broken, err := proto.Marshal(&metivav1.AccountState{CompanyId: "c", SiteId: "s", AccountId: "a", Days: []*metivav1.AccountDayState{{
		Day: 7, Visits: []*metivav1.VisitShare{{VisitId: make([]byte, 16), KeyPages: []uint32{9}}},
	}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(broken, int32(7), uint64(1), true)
	f.Fuzz(func(t *testing.T, data []byte, day int32, version uint64, human bool) {
		a, err := score.DecodeAccount(data)
		if err != nil {
			return
		}
		v := visitOn(20_000, 1, 2, pricing)
		v.Day, v.Version, v.Human = day, version, human
		signals, _ := a.Apply(nil, &v, new(score.Rules), 1)
		for _, d := range a.Days(nil) {
			if d.GetScore() > 100 {
				t.Errorf("score %d", d.GetScore())
			}
		}
		if len(signals) > 2000 {
			t.Errorf("%d signals of one visit", len(signals))
		}
		out, err := a.Encode(nil)
		if err != nil {
			return // text that is not UTF-8 cannot have been written
		}
		if _, err := score.DecodeAccount(out); err != nil {
			t.Errorf("what was written cannot be read: %v", err)
		}
	})
}

func BenchmarkApply(b *testing.B) {
	for _, visits := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("visits=%d", visits), func(b *testing.B) {
			a := newAccount()
			rules, err := score.NewRules(&metivav1.ScoreRules{KeyPages: []*metivav1.KeyPage{pricing, demo}})
			if err != nil {
				b.Fatal(err)
			}
			version := uint64(0)
			var buf []byte
			var signals []*metivav1.Signal
			var days []*metivav1.AccountDay
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				// As the scorer does with one version of a visit that is alone of its
				// account in a batch: read, apply, describe, write.
				if len(buf) > 0 {
					if a, err = score.DecodeAccount(buf); err != nil {
						b.Fatal(err)
					}
				}
				version++
				v := visitOn(20_000+int32(n%visits%5), n%visits, 3, pricing)
				v.Version = version
				signals, _ = a.Apply(signals[:0], &v, rules, version)
				days = a.Days(days[:0])
				if buf, err = a.Encode(buf[:0]); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(buf)), "state_bytes")
		})
	}
}
