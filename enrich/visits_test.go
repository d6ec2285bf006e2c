package enrich

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/enrich/visit"
	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/pkg/waittest"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// dying is a producer whose process dies after some records: nothing of it comes
// out any more.
type dying struct {
	producer
	left atomic.Int64
	dead chan struct{}
}

func (d *dying) Produce(topic string, partition int, key, value []byte, headers ...kafka.Header) (*kafka.Ack, error) {
	switch left := d.left.Add(-1); {
	case left == 0:
		close(d.dead)
		fallthrough
	case left < 0:
		return nil, kafka.ErrClosed
	}
	return d.producer.Produce(topic, partition, key, value, headers...)
}

// visitWorker makes a worker that sends often, with metrics of its own. After so
// many records it dies; 0 is never.
func (w *world) visitWorker(dies int64) (*Worker, *dying) {
	w.t.Helper()
	deps := w.deps
	deps.Registerer = prometheus.NewRegistry()
	worker, err := New(Config{
		BatchWaitMax: time.Millisecond, BatchRecordsMax: 20,
		Visits: VisitConfig{SendEvery: 10 * time.Millisecond, CheckpointEvery: 40 * time.Millisecond},
	}, deps)
	if err != nil {
		w.t.Fatal(err)
	}
	d := &dying{producer: worker.sender, dead: make(chan struct{})}
	d.left.Store(dies)
	if dies > 0 {
		worker.producer = d
	}
	return worker, d
}

// start runs a worker until the returned function is called.
func (w *world) start(worker *Worker) (stop func()) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- worker.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("stopping a worker: %v", err)
		}
	}
	w.t.Cleanup(stop)
	return stop
}

// read gives all records of a topic.
func (w *world) read(topic string) []kafka.Record {
	w.t.Helper()
	ends, err := w.client.EndOffsets(w.t.Context(), topic)
	if err != nil {
		w.t.Fatal(err)
	}
	var out []kafka.Record
	for partition, end := range ends {
		_, err := w.client.ReadRange(w.t.Context(), kafka.Range{Topic: topic, Partition: partition, From: -1, To: end, Compacted: true}, func(r *kafka.Record) error {
			record := *r
			record.Key, record.Value = bytes.Clone(r.Key), bytes.Clone(r.Value)
			out = append(out, record)
			return nil
		})
		if err != nil {
			w.t.Fatal(err)
		}
	}
	return out
}

// liveVisits is what a reader of visits.enriched makes of all there is.
func (w *world) liveVisits() map[string]*metivav1.Visit {
	w.t.Helper()
	all := make(map[string]*metivav1.Visit)
	for _, r := range w.read(schemas.TopicVisitsEnriched) {
		v := new(metivav1.Visit)
		if err := proto.Unmarshal(r.Value, v); err != nil {
			w.t.Fatal(err)
		}
		known := all[string(v.GetVisitId())]
		if known != nil && known.GetVersion() == v.GetVersion() && !proto.Equal(known, v) {
			w.t.Errorf("one version says two things:\n%v\n%v", known, v)
		}
		if known == nil || known.GetVersion() < v.GetVersion() {
			all[string(v.GetVisitId())] = v
		}
	}
	for id, v := range all {
		if v.GetRemoved() {
			delete(all, id)
		}
	}
	return all
}

// enrichedEvents are those on events.enriched, each source once, in order.
func (w *world) enrichedEvents() []*metivav1.EnrichedEvent {
	w.t.Helper()
	var out []*metivav1.EnrichedEvent
	seen := make(map[string]bool)
	for _, r := range w.read(schemas.TopicEventsEnriched) {
		record := new(metivav1.EnrichedRecord)
		if err := proto.Unmarshal(r.Value, record); err != nil {
			w.t.Fatal(err)
		}
		ref := fmt.Sprint(record.GetEvent().GetSource(), record.GetDrop().GetSource())
		if record.GetEvent() != nil && !seen[ref] {
			seen[ref] = true
			out = append(out, record.GetEvent())
		}
	}
	slices.SortFunc(out, func(a, b *metivav1.EnrichedEvent) int {
		if a.GetSource().GetPartition() != b.GetSource().GetPartition() {
			return int(a.GetSource().GetPartition() - b.GetSource().GetPartition())
		}
		return int(a.GetSource().GetOffset() - b.GetSource().GetOffset())
	})
	return out
}

// inOneGo is the visits of events in the order of the log, read once without an
// interruption.
func inOneGo(t *testing.T, events []*metivav1.EnrichedEvent) map[string]*metivav1.Visit {
	t.Helper()
	rules, err := newSiteRules()
	if err != nil {
		t.Fatal(err)
	}
	sets := make(map[int32]*visit.Set)
	for _, e := range events {
		s := sets[e.GetSource().GetPartition()]
		if s == nil {
			s = visit.NewSet(visit.Limits{}, rules.of)
			sets[e.GetSource().GetPartition()] = s
		}
		s.Apply(e, e.GetSource().GetOffset())
	}
	out := make(map[string]*metivav1.Visit)
	for _, s := range sets {
		s.TakeVisits(1<<30, func(v *metivav1.Visit) { out[string(v.GetVisitId())] = proto.CloneOf(v) })
	}
	for id, v := range out {
		if v.GetRemoved() {
			delete(out, id)
		}
	}
	return out
}

func sameVisits(t *testing.T, got, want map[string]*metivav1.Visit) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%d visits, want %d", len(got), len(want))
	}
	for id, v := range want {
		if !proto.Equal(got[id], v) {
			t.Errorf("visit\n%v\nwant\n%v", got[id], v)
		}
	}
}

// visitEvents are events of several tenants' visitors over some hours, in a random
// order, some of them sent again.
func (w *world) visitEvents(rnd *rand.Rand, n int) []*metivav1.CollectedEvent {
	visitors := [][]byte{random(16), random(16)}
	keys := [][]byte{random(16), random(16), random(16)}
	start := time.Now().Add(-20 * time.Hour).UnixMilli()
	var out []*metivav1.CollectedEvent
	for range n {
		e := w.event(ingAddr, agent, func(e *metivav1.CollectedEvent) {
			e.CompanyId = fmt.Sprintf("cmp_%d", rnd.IntN(4))
			e.OccurredAtMs = start + int64(rnd.IntN(600))*60_000
			e.ReceivedAtMs = e.GetOccurredAtMs() + 20
			e.VisitKey = keys[rnd.IntN(len(keys))]
			e.Path = fmt.Sprintf("/p%d", rnd.IntN(5))
			if rnd.IntN(3) > 0 {
				return
			}
			analytics(visitors[rnd.IntN(len(visitors))], 5)(e)
			e.VisitKey = e.GetVisitorId()
			if rnd.IntN(2) == 0 {
				e.Type, e.Campaign, e.ReferrerHost = metivav1.EventType_EVENT_TYPE_ENGAGEMENT, nil, ""
				e.Detail = &metivav1.CollectedEvent_Engagement{Engagement: &metivav1.Engagement{VisibleMs: 60_000, ScrollPercent: 50}}
			}
		})
		out = append(out, e)
		if rnd.IntN(8) == 0 {
			out = append(out, e) // the collector sends it again
		}
	}
	rnd.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

// TestVisitsOutliveWorkers: workers die in the midst of their work, others take
// their partitions over and share them; the visits are those of one reading without
// an interruption, with the same versions.
func TestVisitsOutliveWorkers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	rnd := rand.New(rand.NewPCG(7, 7))
	events := w.visitEvents(rnd, 400)
	put := func(n int) {
		for _, e := range events[:n] {
			w.put(e)
		}
		events = events[n:]
	}
	put(150)
	for _, dies := range []int64{50, 120, 180} { // each in another place: events, visits, states
		worker, d := w.visitWorker(dies)
		stop := w.start(worker)
		select {
		case <-d.dead:
		case <-time.After(waitMax):
			t.Fatalf("the worker still lives after %d records", dies-d.left.Load())
		}
		stop()
		put(40)
	}
	one, _ := w.visitWorker(0)
	stopOne := w.start(one)
	put(40)
	two, _ := w.visitWorker(0)
	stopTwo := w.start(two) // takes half of the partitions
	<-two.Ready()
	put(len(events))
	collected := len(w.read(schemas.TopicEventsCollected))
	waittest.Until(t, waitMax, "all events to be enriched", func() bool { return len(w.enrichedEvents()) == collected })
	stopOne()
	stopTwo()
	enriched := w.enrichedEvents()
	want := inOneGo(t, enriched)
	if len(want) < 30 {
		t.Fatalf("only %d visits", len(want))
	}
	sameVisits(t, w.liveVisits(), want)
	for _, topic := range []string{schemas.TopicVisitsEnriched, schemas.TopicVisitsState} {
		for _, r := range w.read(topic) {
			searchLeak(t, topic, r.Value)
		}
	}
}

// TestRevokedVisitsGo: the visits of a visitor who withdraws, and of a tenant that is
// erased, are removed, and nothing of them is left to go on from.
func TestRevokedVisitsGo(t *testing.T) {
	t.Parallel()
	for name, revoke := range map[string]func(w *world, visitor []byte){
		"withdrawal": func(w *world, visitor []byte) { w.withdraw(visitor, 9) },
		"erasure of the visitor": func(w *world, visitor []byte) {
			w.erase(tenant, visitor)
		},
		"erasure of the tenant": func(w *world, _ []byte) { w.erase(tenant, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			visitor := random(16)
			w.put(w.event(ingAddr, agent, analytics(visitor, 2)))
			other := w.event(ingAddr, agent, func(e *metivav1.CollectedEvent) { e.CompanyId = "cmp_other" })
			w.put(other)
			worker, _ := w.visitWorker(0)
			stop := w.start(worker)
			waittest.Until(t, waitMax, "two visits", func() bool { return len(w.liveVisits()) == 2 })
			waittest.Until(t, waitMax, "their journals", func() bool { return w.journals() == 2 })
			revoke(w, visitor)
			waittest.Until(t, waitMax, "one visit", func() bool { return len(w.liveVisits()) == 1 })
			waittest.Until(t, waitMax, "one journal", func() bool { return w.journals() == 1 })
			stop()
			for _, v := range w.liveVisits() {
				if v.GetCompanyId() != "cmp_other" || len(v.GetVisitorId()) > 0 || !bytes.Equal(v.GetVisitKey(), other.GetVisitKey()) {
					t.Errorf("left: %v", v)
				}
			}
		})
	}
}

// journals counts those on visits.state.
func (w *world) journals() int {
	last := make(map[string]bool)
	for _, r := range w.read(schemas.TopicVisitsState) {
		if len(r.Key) == len(visit.JournalKey(visit.ID{}, 1)) {
			last[string(r.Key)] = len(r.Value) > 0
		}
	}
	n := 0
	for _, there := range last {
		if there {
			n++
		}
	}
	return n
}

func events(visits map[string]*metivav1.Visit) (n int) {
	for _, v := range visits {
		n += int(v.GetEvents())
	}
	return n
}

func TestSiteRules(t *testing.T) {
	t.Parallel()
	s, err := newSiteRules()
	if err != nil {
		t.Fatal(err)
	}
	put := func(version uint64, rules *metivav1.VisitRules) error {
		value, err := proto.Marshal(&metivav1.SiteRecord{CompanyId: tenant, SiteId: "sit_a", Version: version, VisitRules: rules})
		if err != nil {
			t.Fatal(err)
		}
		return s.Apply([]byte("sit_a"), value)
	}
	own := &metivav1.VisitRules{IdleMinutes: 10, SplitAtCampaign: true}
	want, err := visit.RulesOf(own)
	if err != nil {
		t.Fatal(err)
	}
	if err := put(2, own); err != nil || !s.of(tenant, "sit_a").Equal(want) {
		t.Errorf("own rules: %v", err)
	}
	if err := put(1, nil); err != nil || !s.of(tenant, "sit_a").Equal(want) {
		t.Errorf("an older version counts: %v", err)
	}
	if !s.of("cmp_other", "sit_a").Equal(s.standard) {
		t.Error("another tenant's rules")
	}
	err = put(3, &metivav1.VisitRules{SplitAtMidnight: true, TimeZone: "Nowhere/Atall"})
	if err == nil || bytes.Contains([]byte(err.Error()), []byte("Nowhere")) {
		t.Errorf("an unknown time zone: %v", err)
	}
	if err := s.Apply([]byte("sit_a"), []byte("not a message")); err == nil {
		t.Error("what is no message is taken")
	}
	if err := s.Apply([]byte("sit_a"), nil); err != nil || !s.of(tenant, "sit_a").Equal(s.standard) {
		t.Errorf("after the removal: %v", err)
	}
}
