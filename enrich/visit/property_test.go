package visit_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/metiva-io/metiva/enrich/visit"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

var variants = map[string]*metivav1.VisitRules{
	"default":  nil,
	"midnight": {SplitAtMidnight: true},
	"campaign": {SplitAtCampaign: true},
	"all":      {IdleMinutes: 10, SplitAtMidnight: true, TimeZone: "Europe/London", SplitAtCampaign: true},
}

// assembled is what Assemble says of each key's events.
func assembled(t *testing.T, r *visit.Rules, log []*metivav1.EnrichedEvent) []*metivav1.Visit {
	t.Helper()
	who, entries := map[string]visit.Identity{}, map[string][]visit.Entry{}
	for _, e := range log {
		id := visit.Identity{CompanyID: e.GetCompanyId(), BrandID: e.GetBrandId(), SiteID: e.GetSiteId(), Key: visit.ID(e.GetVisitKey())}
		name := "k" + string(e.GetVisitKey())
		if len(e.GetVisitorId()) > 0 {
			id.Key, id.IsVisitor, name = visit.ID(e.GetVisitorId()), true, "v"+string(e.GetVisitorId())
		}
		who[name] = id
		entries[name] = append(entries[name], visit.EntryOf(e, 0))
	}
	tb := table{}
	for name, list := range entries {
		tb.take(t, visit.Assemble(who[name], r, list))
	}
	return tb.live(false)
}

// TestAnyOrderGivesTheSameVisits: in whatever order a set of events comes, however
// often each, and however they are divided into sends: the same visits.
func TestAnyOrderGivesTheSameVisits(t *testing.T) {
	t.Parallel()
	for name, m := range variants {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := rules(t, m)
			for seed := range uint64(100) {
				rnd := rand.New(rand.NewPCG(seed, 1))
				log := random(rnd, 1+rnd.IntN(40))
				want := assembled(t, r, log)
				for range 3 {
					rnd.Shuffle(len(log), func(i, j int) { log[i], log[j] = log[j], log[i] })
					sameVisits(t, "assembled", assembled(t, r, log), want)
					s, tb := newSet(r, visit.Limits{}), table{}
					for offset, e := range append(slices.Clone(log), log[:rnd.IntN(len(log))]...) {
						s.Apply(e, int64(offset))
						if rnd.IntN(3) == 0 {
							tb.take(t, s.All())
						}
					}
					tb.take(t, s.All())
					sameVisits(t, "event by event", tb.live(false), want)
				}
			}
		})
	}
}

// reader reads a log with interruptions: it sends, checkpoints and crashes at
// random, and its successor goes on from what is on the topic. What was sent is
// read in a random order, repetitions included.
func reader(t *testing.T, rnd *rand.Rand, r *visit.Rules, l visit.Limits, log []*metivav1.EnrichedEvent) table {
	t.Helper()
	var tp topic
	var sent []*metivav1.Visit
	committed, epoch := 0, uint64(0)
	for done := false; !done; {
		restored := tp.read()
		if restored.Unreadable > 0 {
			t.Fatal("a state cannot be read")
		}
		s := newSet(r, l)
		s.Restore(restored)
		epoch = restored.Epoch + 1
		at := max(restored.Next, 0)
		tp.put([]byte(visit.CheckpointKey), mustCheckpoint(t, epoch, at, restored.StreamMs), 0)
		for ; at < int64(committed); at++ { // what was committed since the checkpoint
			s.Advance(at, log[at].GetReceivedAtMs())
			s.Apply(log[at], at)
		}
		for at = int64(committed); at < int64(len(log)); at++ {
			s.Advance(at, log[at].GetReceivedAtMs())
			s.Apply(log[at], at)
			if rnd.IntN(3) == 0 {
				committed = int(at) + 1
			}
			if rnd.IntN(4) == 0 {
				sent = append(sent, s.All()...)
			}
			if rnd.IntN(9) == 0 {
				sent = append(sent, checkpoint(t, s, &tp, epoch, 99)...)
			}
			if rnd.IntN(12) == 0 { // a crash, in the midst of a checkpoint or not
				if rnd.IntN(2) == 0 {
					sent = append(sent, checkpoint(t, s, &tp, epoch, rnd.IntN(4))...)
				}
				break
			}
		}
		if at == int64(len(log)) {
			done = true
			sent = append(sent, s.All()...)
		}
	}
	rnd.Shuffle(len(sent), func(i, j int) { sent[i], sent[j] = sent[j], sent[i] })
	tb := table{}
	tb.take(t, sent)
	return tb
}

func mustCheckpoint(t *testing.T, epoch uint64, next, streamMs int64) []byte {
	t.Helper()
	value, err := visit.CheckpointValue(epoch, next, streamMs, fixedTime)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// TestACrashAnywhereLosesNothing: a log read with crashes, checkpoints and sends at
// random places gives the visits of one reading in one go, with the same versions;
// also where journals are folded.
func TestACrashAnywhereLosesNothing(t *testing.T) {
	t.Parallel()
	limits := map[string]visit.Limits{"wide": {}, "narrow": {EntriesMax: 8}}
	for name, m := range variants {
		for size, l := range limits {
			t.Run(name+" "+size, func(t *testing.T) {
				t.Parallel()
				r := rules(t, m)
				for seed := range uint64(100) {
					rnd := rand.New(rand.NewPCG(seed, 2))
					log := random(rnd, 10+rnd.IntN(60))
					one, whole := newSet(r, l), table{}
					for offset, e := range log {
						one.Advance(int64(offset), e.GetReceivedAtMs())
						one.Apply(e, int64(offset))
					}
					whole.take(t, one.All())
					got := reader(t, rnd, r, l, log)
					sameVisits(t, "with crashes", got.live(true), whole.live(true))
					if size == "wide" {
						sameVisits(t, "assembled", got.live(false), assembled(t, r, log))
					}
				}
			})
		}
	}
}
