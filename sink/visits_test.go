package sink

import (
	"context"
	"encoding/hex"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
	store "github.com/metiva-io/metiva/sink/clickhouse"
)

func testVisit(company string, n int, version uint64) *metivav1.Visit {
	id := fmt.Sprintf("visit %s %08d................", company[len(company)-1:], n)[:16]
	at := testNow.Add(-time.Hour).UnixMilli() + int64(n)
	return &metivav1.Visit{
		VisitId: []byte(id), CompanyId: company, BrandId: "brd_1", SiteId: "sit_1", VisitKey: []byte("0123456789abcdef"), Version: version,
		StartedAtMs: at, EndedAtMs: at + int64(version)*1000, DurationMs: version * 1000, PageViews: uint32(version), Events: uint32(version),
		EntryHost: "www.example.nl", EntryPath: "/", Consent: metivav1.ConsentState_CONSENT_STATE_DENIED, RetentionDays: 90,
		Resolution: &metivav1.Resolution{Verdict: metivav1.Verdict_VERDICT_COMPANY, AccountId: "ing.nl", Name: "ING", Confidence: 0.75},
		Pages:      []*metivav1.VisitPage{{Host: "www.example.nl", Path: "/", Views: 1, FirstAtMs: at}},
	}
}

func testDay(company, account string, version uint64, points uint32) *metivav1.AccountDay {
	return &metivav1.AccountDay{
		CompanyId: company, BrandId: "brd_1", SiteId: "sit_1", AccountId: account, Name: account, Day: int32(testNow.Unix() / 86_400), Version: version,
		Score: points, Parts: &metivav1.ScoreParts{Depth: &metivav1.DepthPart{Points: points}}, RetentionDays: 90,
	}
}

func TestVisitRules(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 2000)
	for name, breakIt := range map[string]func(*metivav1.Visit){
		"visit id":              func(v *metivav1.Visit) { v.VisitId = v.VisitId[:15] },
		"no company":            func(v *metivav1.Visit) { v.CompanyId = "" },
		"no site":               func(v *metivav1.Visit) { v.SiteId = "sit'" },
		"visit key":             func(v *metivav1.Visit) { v.VisitKey = nil },
		"visitor, denied":       func(v *metivav1.Visit) { v.VisitorId = make([]byte, 16) },
		"region, denied":        func(v *metivav1.Visit) { v.Region = "NL-NH" },
		"no version":            func(v *metivav1.Visit) { v.Version = 0 },
		"no start":              func(v *metivav1.Visit) { v.StartedAtMs = 0 },
		"end past the columns":  func(v *metivav1.Visit) { v.EndedAtMs = math.MaxInt64 },
		"entry path":            func(v *metivav1.Visit) { v.EntryPath = long },
		"page":                  func(v *metivav1.Visit) { v.Pages[0].Path = long },
		"pages":                 func(v *metivav1.Visit) { v.Pages = slices.Repeat(v.Pages, 51) },
		"touch":                 func(v *metivav1.Visit) { v.LastTouch = &metivav1.VisitTouch{ReferrerHost: long} },
		"form":                  func(v *metivav1.Visit) { v.SubmittedFormIds = []string{long} },
		"custom events":         func(v *metivav1.Visit) { v.CustomEvents = make([]*metivav1.VisitCustomEvent, 33) },
		"name of a provider":    func(v *metivav1.Visit) { v.Resolution.Verdict = metivav1.Verdict_VERDICT_ISP },
		"confirmed, not shown":  func(v *metivav1.Visit) { v.Resolution = &metivav1.Resolution{Confirmation: 1} },
		"retention for ever":    func(v *metivav1.Visit) { v.RetentionDays = math.MaxUint32 },
		"scrolled out of sight": func(v *metivav1.Visit) { v.ScrollPercentMax = 101 },
	} {
		v := testVisit("cmp_a", 1, 1)
		if err := checkVisit(v); err != nil {
			t.Fatalf("a valid visit: %v", err)
		}
		breakIt(v)
		if checkVisit(v) == nil {
			t.Errorf("%s is no fault", name)
		}
	}
	removed := &metivav1.Visit{VisitId: make([]byte, 16), CompanyId: "cmp_a", SiteId: "sit_1", VisitKey: make([]byte, 16), StartedAtMs: 1, Version: 3, Removed: true}
	if err := checkVisit(removed); err != nil {
		t.Errorf("a removed visit: %v", err)
	}
}

func TestAccountDayRules(t *testing.T) {
	t.Parallel()
	for name, breakIt := range map[string]func(*metivav1.AccountDay){
		"no company":       func(a *metivav1.AccountDay) { a.CompanyId = "" },
		"no account":       func(a *metivav1.AccountDay) { a.AccountId = "" },
		"no day":           func(a *metivav1.AccountDay) { a.Day = 0 },
		"day past columns": func(a *metivav1.AccountDay) { a.Day = math.MaxInt32 },
		"score above 100": func(a *metivav1.AccountDay) {
			a.Score, a.Parts.Depth.Points, a.Parts.Returning = 110, 60, &metivav1.ReturningPart{Points: 50}
		},
		"a sum that is not":  func(a *metivav1.AccountDay) { a.Score++ },
		"overflowing points": func(a *metivav1.AccountDay) { a.Parts.Returning = &metivav1.ReturningPart{Points: math.MaxUint32} },
		"key pages": func(a *metivav1.AccountDay) {
			a.Parts.KeyPages = &metivav1.KeyPagesPart{Hits: slices.Repeat([]*metivav1.KeyPageHit{{Name: "x"}}, 51)}
		},
		"confidence": func(a *metivav1.AccountDay) { a.Confidence = float32(math.NaN()) },
		"no version": func(a *metivav1.AccountDay) { a.Version = 0 },
	} {
		a := testDay("cmp_a", "ing.nl", 1, 30)
		if err := checkAccountDay(a); err != nil {
			t.Fatalf("a valid day: %v", err)
		}
		breakIt(a)
		if checkAccountDay(a) == nil {
			t.Errorf("%s is no fault", name)
		}
	}
}

// TestLatestOfABatch: of a visit the greatest version is written, of equal ones the
// last; what is no longer kept is not.
func TestLatestOfABatch(t *testing.T) {
	t.Parallel()
	sink := testWorker(t, store.New(nil))
	old := testVisit("cmp_a", 3, 9)
	old.StartedAtMs, old.RetentionDays = testNow.AddDate(0, 0, -10).UnixMilli(), 9
	longer := testVisit("cmp_a", 3, 8) // before the retention was made shorter
	longer.StartedAtMs = old.StartedAtMs
	b := kafka.Batch{}
	for i, v := range []*metivav1.Visit{
		testVisit("cmp_a", 1, 4), testVisit("cmp_b", 1, 2), testVisit("cmp_a", 2, 8), testVisit("cmp_a", 1, 6), testVisit("cmp_a", 1, 5), testVisit("cmp_a", 1, 6), old, longer,
	} {
		b.Records = append(b.Records, kafka.Record{Offset: int64(i), Value: encode(t, v)})
	}
	b.Records = append(b.Records, kafka.Record{Offset: 8, Value: []byte("\xff")}, kafka.Record{Offset: 9, Value: encode(t, &metivav1.Visit{})})
	w := newLatest(batchWriter{worker: sink, now: testNow, batch: b}, sink.visits())
	w.decode()
	w.decode() // a further attempt
	var got []int64
	for i := range w.rows {
		got = append(got, w.rows[i].Position)
		if want := time.UnixMilli(w.rows[i].Message.GetStartedAtMs()).UTC().Truncate(time.Second).AddDate(0, 0, 90); !w.rows[i].ExpiresAt.Equal(want) {
			t.Errorf("row %d is kept until %s, want %s", got[i], w.rows[i].ExpiresAt, want)
		}
	}
	if want := []int64{1, 2, 5}; !slices.Equal(got, want) || len(w.bad) != 2 {
		t.Errorf("rows of offsets %v and %d bad ones, want %v and 2", got, len(w.bad), want)
	}
}

// versions is what is produced of visits and days, and what must stand at the end.
type versions struct {
	visits, days       [][]byte
	visitsAt, daysAt   []int
	visitWant, dayWant map[string]uint64
}

// manyVersions makes the versions of many visits and days in any order, some of
// them twice; in the end some are removed.
func manyVersions(t *testing.T, rng *rand.Rand) *versions {
	l := &versions{visitWant: map[string]uint64{}, dayWant: map[string]uint64{}}
	for n := range 400 {
		company := fmt.Sprintf("cmp_%02d", n%12)
		partition := schemas.EventPartition(company, nil, schemas.TenantBuckets)
		newest := uint64(2 + rng.IntN(9))
		removed := rng.IntN(10) == 0
		for v := uint64(1); v <= newest; v++ {
			visit, day := testVisit(company, n, v), testDay(company, fmt.Sprintf("account-%d.nl", n), v, uint32(v))
			if v == newest && removed {
				visit.Removed, day.Removed, day.Score, day.Parts = true, true, 0, nil
			}
			for range 1 + rng.IntN(2) {
				l.visits, l.visitsAt = append(l.visits, encode(t, visit)), append(l.visitsAt, partition)
				l.days, l.daysAt = append(l.days, encode(t, day)), append(l.daysAt, partition)
			}
		}
		if !removed {
			visit := testVisit(company, n, newest)
			l.visitWant[company+"/"+hex.EncodeToString(visit.GetVisitId())] = newest
			l.dayWant[fmt.Sprintf("%s/account-%d.nl", company, n)] = newest
		}
	}
	rng.Shuffle(len(l.visits), func(i, j int) {
		l.visits[i], l.visits[j] = l.visits[j], l.visits[i]
		l.visitsAt[i], l.visitsAt[j] = l.visitsAt[j], l.visitsAt[i]
	})
	rng.Shuffle(len(l.days), func(i, j int) {
		l.days[i], l.days[j] = l.days[j], l.days[i]
		l.daysAt[i], l.daysAt[j] = l.daysAt[j], l.daysAt[i]
	})
	return l
}

func (l *versions) produce(p *pipeline) {
	p.produce(schemas.TopicVisitsEnriched, func(i int) int { return l.visitsAt[i] }, l.visits)
	p.produce(schemas.TopicAccountsEnriched, func(i int) int { return l.daysAt[i] }, l.days)
}

// standing reads the rows that stand, with a number of each that its version made.
func (p *pipeline) standing(sql string) map[string]uint64 {
	out := make(map[string]uint64)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	err := p.conn.Each(ctx, sql, func(scan func(...any) error) error {
		var key string
		var n uint64
		if err := scan(&key, &n); err != nil {
			return err
		}
		if _, twice := out[key]; twice {
			p.t.Errorf("%s stands twice", key)
		}
		out[key] = n
		return nil
	})
	if err != nil {
		return nil // ClickHouse is away
	}
	return out
}

const (
	standingVisits = "SELECT concat(company_id, '/', lower(hex(visit_id))), toUInt64(page_views) FROM visits FINAL"
	standingDays   = "SELECT concat(company_id, '/', account_id), toUInt64(score) FROM accounts_daily FINAL"
)

// TestVisitsAndDaysStandOnce: sinks and ClickHouse are killed while versions flow,
// and everything comes again afterwards: the newest versions stand, each once.
func TestVisitsAndDaysStandOnce(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	p := newPipeline(t)
	cfg := Config{BatchRowsMax: 25, BatchAgeMax: 20 * time.Millisecond, RetryMin: 5 * time.Millisecond, RetryMax: 50 * time.Millisecond, DrainTimeout: time.Millisecond}
	l := manyVersions(t, rng)
	l.produce(p)
	for round := range 4 {
		ctx, stop := context.WithCancel(context.Background())
		s := &crashingStore{Store: store.New(p.conn), stop: stop, calls: 8 + rng.IntN(40)}
		ended := make(chan error, 1)
		w := p.worker(cfg, s, fixedNow)
		go func() { ended <- w.Run(ctx) }()
		if round%2 == 0 {
			before := p.count(store.TableVisits)
			p.until("rows flow", time.Minute, func() bool { return ctx.Err() != nil || p.count(store.TableVisits) > before })
			p.server.Kill()
			p.server.Restart()
		}
		p.until("the worker ends", time.Minute, func() bool { return ctx.Err() != nil })
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
	}
	p.running(p.worker(cfg, nil, fixedNow).Run)
	stands := func() bool {
		return maps.Equal(p.standing(standingVisits), l.visitWant) && maps.Equal(p.standing(standingDays), l.dayWant)
	}
	p.until("the newest versions stand", time.Minute, stands)
	l.produce(p)
	// Behind the repetition comes one more, which shows when it is through.
	last := testVisit("cmp_00", 9_999_999, 7)
	partition := schemas.EventPartition("cmp_00", nil, schemas.TenantBuckets)
	p.produce(schemas.TopicVisitsEnriched, func(int) int { return partition }, [][]byte{encode(t, last)})
	l.visitWant["cmp_00/"+hex.EncodeToString(last.GetVisitId())] = 7
	p.until("the repetition changed nothing", time.Minute, stands)
}

// TestABadVisitDoesNotStopTheOthers: one that ClickHouse refuses goes to
// events.dead alone.
func TestABadVisitDoesNotStopTheOthers(t *testing.T) {
	t.Parallel()
	p := newPipeline(t)
	if err := p.conn.Exec(context.Background(), "ALTER TABLE visits ADD CONSTRAINT no_bad_path CHECK entry_path != '/bad'"); err != nil {
		t.Fatal(err)
	}
	var values, dead [][]byte
	want := map[string]uint64{}
	for n := range 60 {
		v := testVisit("cmp_a", n, 1)
		bad := n%23 == 4
		if bad {
			v.EntryPath = "/bad"
		}
		values = append(values, encode(t, v))
		if bad {
			dead = append(dead, values[n])
			continue
		}
		want["cmp_a/"+hex.EncodeToString(v.GetVisitId())] = 1
	}
	partition := schemas.EventPartition("cmp_a", nil, schemas.TenantBuckets)
	p.produce(schemas.TopicVisitsEnriched, func(int) int { return partition }, values)
	p.running(p.worker(Config{BatchAgeMax: 20 * time.Millisecond}, nil, fixedNow).Run)
	p.until("the good visits stand", time.Minute, func() bool { return maps.Equal(p.standing(standingVisits), want) })
	p.until("the bad ones are dead letters", time.Minute, func() bool { return len(p.deadLetters()) == len(dead) })
	got := p.deadLetters()
	for _, d := range dead {
		if !slices.ContainsFunc(got, func(v []byte) bool { return string(v) == string(d) }) {
			t.Error("a bad visit is not among the dead letters")
		}
	}
}
