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

// owner is one owner of a partition: a set that reads a log and what it knows of the
// owners before.
type owner struct {
	s      *visit.Set
	epoch  uint64
	former *visit.Former
	at     int64 // the next record to read
}

// newOwner goes on from what is on the topic, up to what was committed.
func newOwner(t *testing.T, r *visit.Rules, l visit.Limits, tp *topic, epoch uint64, log []*metivav1.EnrichedEvent, committed int64) *owner {
	t.Helper()
	restored := tp.read()
	if restored.Unreadable > 0 {
		t.Fatal("a state cannot be read")
	}
	o := &owner{s: newSet(r, l), epoch: epoch, former: restored.Former(epoch)}
	o.s.Restore(restored)
	next, streamMs := restored.Next()
	o.at = max(next, 0)
	if restored.Len() == 0 {
		tp.put(visit.CheckpointKey(epoch), mustCheckpoint(t, epoch, o.at, streamMs))
	}
	for o.at < committed { // what was committed since the checkpoint
		o.step(log)
	}
	o.at = committed
	return o
}

func (o *owner) step(log []*metivav1.EnrichedEvent) {
	o.s.Advance(o.at, log[o.at].GetReceivedAtMs())
	o.s.Apply(log[o.at], o.at)
	o.at++
}

// write makes a checkpoint as far as steps allow.
func (o *owner) write(t *testing.T, tp *topic, steps int) []*metivav1.Visit {
	t.Helper()
	sent, whole := checkpointOver(t, o.s, tp, o.epoch, o.former, steps)
	if whole {
		o.former = nil
	}
	return sent
}

// reader reads a log with interruptions: its owners send, checkpoint and crash at
// random, and the successor of each goes on from what is on the topic. With late, some
// do not die when they lose the partition: they go on with what they hold, and write it
// while others own it. The topic is compacted in between. What was sent is read in a
// random order, repetitions included.
func reader(t *testing.T, rnd *rand.Rand, r *visit.Rules, l visit.Limits, log []*metivav1.EnrichedEvent, late bool) table {
	t.Helper()
	var tp topic
	var sent []*metivav1.Visit
	var former []*owner
	committed, epoch := int64(0), uint64(0)
	for done := false; !done; {
		epoch++
		o := newOwner(t, r, l, &tp, epoch, log, committed)
		for o.at < int64(len(log)) {
			o.step(log)
			if rnd.IntN(3) == 0 {
				committed = o.at
			}
			if rnd.IntN(4) == 0 {
				sent = append(sent, o.s.All()...)
			}
			if rnd.IntN(9) == 0 {
				sent = append(sent, o.write(t, &tp, 999)...)
			}
			if len(former) > 0 && rnd.IntN(2) == 0 {
				sent = append(sent, awaken(t, rnd, former[rnd.IntN(len(former))], &tp, log)...)
			}
			if late && rnd.IntN(4) == 0 {
				tp.compact(rnd.IntN(len(tp.keys)+1), rnd.IntN(2) == 0)
			}
			if rnd.IntN(12) == 0 { // a crash, in the midst of a checkpoint or not
				if rnd.IntN(2) == 0 {
					sent = append(sent, o.write(t, &tp, rnd.IntN(8))...)
				}
				break
			}
		}
		if done = o.at == int64(len(log)); done {
			sent = append(sent, o.s.All()...)
		}
		if late && rnd.IntN(3) > 0 {
			former = append(former, o)
		}
	}
	for _, o := range former {
		sent = append(sent, awaken(t, rnd, o, &tp, log)...)
	}
	rnd.Shuffle(len(sent), func(i, j int) { sent[i], sent[j] = sent[j], sent[i] })
	tb := table{}
	tb.take(t, sent)
	return tb
}

// awaken lets a former owner end the batch it had, send and write.
func awaken(t *testing.T, rnd *rand.Rand, o *owner, tp *topic, log []*metivav1.EnrichedEvent) []*metivav1.Visit {
	t.Helper()
	for range rnd.IntN(4) {
		if o.at < int64(len(log)) {
			o.step(log)
		}
	}
	var sent []*metivav1.Visit
	if rnd.IntN(2) == 0 {
		sent = o.s.All()
	}
	return append(sent, o.write(t, tp, []int{rnd.IntN(6), 999}[rnd.IntN(2)])...)
}

func mustCheckpoint(t testing.TB, epoch uint64, next, streamMs int64) []byte {
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
	withInterruptions(t, 2, false)
}

// TestLateOwnersChangeNothing: owners that were thought dead go on writing while others
// own the partition, and the topic is compacted at any time; the visits are those of
// one owner, with the same versions.
func TestLateOwnersChangeNothing(t *testing.T) {
	t.Parallel()
	withInterruptions(t, 3, true)
}

func withInterruptions(t *testing.T, stream uint64, late bool) {
	t.Helper()
	limits := map[string]visit.Limits{"wide": {}, "narrow": {EntriesMax: 8}}
	for name, m := range variants {
		for size, l := range limits {
			t.Run(name+" "+size, func(t *testing.T) {
				t.Parallel()
				r := rules(t, m)
				for seed := range uint64(100) {
					rnd := rand.New(rand.NewPCG(seed, stream))
					log := random(rnd, 10+rnd.IntN(60))
					one, whole := newSet(r, l), table{}
					for offset, e := range log {
						one.Advance(int64(offset), e.GetReceivedAtMs())
						one.Apply(e, int64(offset))
					}
					whole.take(t, one.All())
					got := reader(t, rnd, r, l, log, late)
					sameVisits(t, "with crashes", got.live(true), whole.live(true))
					if size == "wide" {
						sameVisits(t, "assembled", got.live(false), assembled(t, r, log))
					}
				}
			})
		}
	}
}
