package enrich

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/enrich/geo/geotest"
	"github.com/metiva-io/metiva/enrich/visit"
	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/pkg/waittest"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// past is a range around everything the test has sent.
func (w *world) past() Replay {
	return Replay{From: time.Now().Add(-time.Hour), To: time.Now(), SettledFor: time.Nanosecond, Standing: w.standing}
}

// standing answers from visits.enriched what ClickHouse would.
func (w *world) standing(_ context.Context, visits []*metivav1.Visit) (map[visit.ID]StandingVisit, error) {
	out := make(map[visit.ID]StandingVisit)
	live := w.liveVisits()
	for _, v := range visits {
		if s := live[string(v.GetVisitId())]; s != nil {
			out[visit.ID(v.GetVisitId())] = StandingVisit{Version: s.GetVersion(), AccountID: s.GetResolution().GetAccountId(), Confidence: s.GetResolution().GetConfidence()}
		}
	}
	return out, nil
}

// replay runs one with a worker of its own.
func (w *world) replay(r Replay) (ReplayReport, error) {
	w.t.Helper()
	worker, _ := w.visitWorker(0)
	ctx, cancel := context.WithTimeout(w.t.Context(), waitMax)
	defer cancel()
	return worker.Replay(ctx, r)
}

// worked sends events through a worker and waits for all that comes of them.
func (w *world) worked(events []*metivav1.CollectedEvent) {
	w.t.Helper()
	for _, e := range events {
		w.put(e)
	}
	worker, _ := w.visitWorker(0)
	stop := w.start(worker)
	waittest.Until(w.t, waitMax, "the events", func() bool { return len(w.read(schemas.TopicEventsEnriched)) == len(events) })
	stop()
}

// another database names the same network otherwise.
func (w *world) another() {
	w.t.Helper()
	if err := w.deps.Databases.Swap(geotest.Small(w.t, "1.0.2026010204", "145.221.0.0,145.221.255.255,8211,Cooperatieve Rabobank U.A.")); err != nil {
		w.t.Fatal(err)
	}
}

// marked are the records of a replay on events.enriched.
func (w *world) marked() (out []*metivav1.EnrichedRecord) {
	w.t.Helper()
	for _, r := range w.read(schemas.TopicEventsEnriched) {
		if len(r.Headers) != 1 || r.Headers[0].Key != schemas.HeaderReplay {
			continue
		}
		m := new(metivav1.EnrichedRecord)
		if err := proto.Unmarshal(r.Value, m); err != nil {
			w.t.Fatal(err)
		}
		out = append(out, m)
	}
	return out
}

// count of records of the topics a replay leaves alone.
func (w *world) others() (n int) {
	for _, topic := range []string{schemas.TopicCapturesEnriched, schemas.TopicEventsDead, schemas.TopicLedgerEdge, schemas.TopicVisitsState, schemas.TopicEventsCollected} {
		n += len(w.read(topic))
	}
	return n
}

// TestAReplayEnrichesAgain: the same events under the same sources by another
// database, and the visits they belong to, with the same ids and pages and another
// company, under versions that a later event's is above.
func TestAReplayEnrichesAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	events := w.visitEvents(rand.New(rand.NewPCG(7, 7)), 120)
	w.worked(events)
	before, others := w.liveVisits(), w.others()
	w.another()
	dry, err := CountReplay(t.Context(), w.client, w.past(), time.Now())
	if err != nil || dry.Events != uint64(len(events)) || len(dry.Days) < 4 || len(w.marked()) != 0 {
		t.Fatalf("counted %+v, %v", dry, err)
	}
	report, err := w.replay(w.past())
	if err != nil {
		t.Fatal(err)
	}
	if report.Events != dry.Events || len(report.Days) != len(dry.Days) || report.Dropped+report.Withdrawn+report.Unreadable+report.Unknown+report.Beyond != 0 ||
		report.Visits != uint64(len(before)) || report.Moved != report.Visits || report.Resumed || w.others() != others {
		t.Errorf("%+v, of %d visits, %d other records before and %d after", report, len(before), others, w.others())
	}
	sources := make(map[string]bool)
	for _, m := range w.marked() {
		e := m.GetEvent()
		sources[e.GetSource().String()] = true
		if account := e.GetResolution().GetAccountId(); account == "" || account == "ing.nl" {
			t.Fatalf("not enriched again: %v", e)
		}
	}
	if len(sources) != len(events) || len(w.marked()) != len(events) {
		t.Errorf("%d records under %d sources", len(w.marked()), len(sources))
	}
	after := w.liveVisits()
	ends, err := w.client.EndOffsets(t.Context(), schemas.TopicEventsCollected)
	if err != nil || len(after) != len(before) {
		t.Fatalf("%d visits of %d, %v", len(after), len(before), err)
	}
	for id, v := range after {
		was := before[id]
		last := visit.VersionAt(ends[schemas.EventPartition(v.GetCompanyId(), v.GetVisitKey(), schemas.TenantBuckets)] + 1)
		if was.GetVersion() >= v.GetVersion() || v.GetVersion() >= last && was.GetVersion()+2 != v.GetVersion() || was.GetResolution().GetAccountId() == v.GetResolution().GetAccountId() {
			t.Errorf("version %d after %d, of %d at most: %v", v.GetVersion(), was.GetVersion(), last, v.GetResolution())
		}
		v.Version, v.Resolution = was.GetVersion(), was.GetResolution()
		if !proto.Equal(was, v) {
			t.Errorf("a visit was\n%v\nis\n%v", was, v)
		}
	}
	// Who takes the partitions over goes on from the journals and sends nothing of it.
	worker, _ := w.visitWorker(0)
	stop := w.start(worker)
	w.put(w.event(ingAddr, agent, nil))
	waittest.Until(t, waitMax, "a visit of its own", func() bool { return len(w.liveVisits()) == len(after)+1 })
	stop()
	for id := range after {
		if w.liveVisits()[id].GetResolution().GetAccountId() == "ing.nl" {
			t.Error("a visit has its former company again")
		}
	}
	if _, err := w.replay(w.past()); err != nil || len(w.liveVisits()) != len(after)+1 {
		t.Errorf("again: %v", err)
	}
}

// TestAReplayGoesOnWhereItWas: its process dies again and again; every event of the
// range comes out, and what was done is not done again.
func TestAReplayGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	events := w.visitEvents(rand.New(rand.NewPCG(3, 9)), 80)
	w.worked(events)
	w.another()
	r := w.past()
	var done, resumed int
	for done = 0; ; done++ {
		if done > 40 {
			t.Fatal("it does not end")
		}
		worker, d := w.visitWorker(30)
		worker.producer = d
		report, err := worker.Replay(t.Context(), r)
		if report.Resumed {
			resumed++
		}
		if err == nil {
			break
		}
		if !errors.Is(err, kafka.ErrClosed) {
			t.Fatal(err)
		}
		if done == 20 { // partitions of more than a run can do must not stop it
			w.t.Log("whole")
			if _, err := w.replay(r); err != nil {
				t.Fatal(err)
			}
			break
		}
	}
	sources := make(map[string]bool)
	for _, m := range w.marked() {
		sources[m.GetEvent().GetSource().String()] = true
	}
	if len(sources) != len(events) || done == 0 || resumed == 0 {
		t.Errorf("%d of %d events after %d deaths, %d resumed", len(sources), len(events), done, resumed)
	}
	for _, v := range w.liveVisits() {
		if v.GetResolution().GetAccountId() == "ing.nl" {
			t.Error("a visit was left out")
		}
	}
	if report, err := w.replay(r); err != nil || report.Resumed || report.Events != uint64(len(events)) {
		t.Errorf("a replay that was done does not begin anew: %+v, %v", report, err)
	}
}

// TestAReplayBringsNobodyBack: events of the erased leave as drops, which replace
// nothing, those of who has withdrawn not at all, and none of them makes a visit.
func TestAReplayBringsNobodyBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	erased, withdrawn := random(16), random(16)
	events := []*metivav1.CollectedEvent{
		w.event(ingAddr, agent, analytics(erased, 2)), w.event(ingAddr, agent, analytics(withdrawn, 2)), w.event(ingAddr, agent, nil),
		w.event(ingAddr, agent, func(e *metivav1.CollectedEvent) { e.CompanyId = "cmp_other" }),
	}
	w.worked(events)
	visits := w.liveVisits()
	w.erase(tenant, erased)
	w.withdraw(withdrawn, 9)
	r := w.past()
	r.Company = tenant
	r.Standing = func(ctx context.Context, ask []*metivav1.Visit) (map[visit.ID]StandingVisit, error) {
		for _, v := range ask {
			if len(v.GetVisitorId()) > 0 || v.GetCompanyId() != tenant || visits[string(v.GetVisitId())] == nil {
				t.Errorf("a visit is %v", v)
			}
		}
		return w.standing(ctx, ask)
	}
	report, err := w.replay(r)
	if err != nil || report.Events != 1 || report.Dropped != 1 || report.Withdrawn != 1 || report.Visits != 1 || len(report.Days) != 1 || report.Days[0].Events != 1 {
		t.Errorf("%+v, %v", report, err)
	}
	for _, m := range w.marked() {
		if e := m.GetEvent(); e != nil && (e.GetCompanyId() != tenant || len(e.GetVisitorId()) > 0) || e == nil && m.GetDrop().GetReason() != metivav1.Reason_REASON_ERASED {
			t.Errorf("came back: %v", m)
		}
	}
}

// TestWhoWithdrawsDuringAReplay: the visits of a visitor who has withdrawn after the
// replay had read the events are not sent again.
func TestWhoWithdrawsDuringAReplay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	visitor := random(16)
	w.worked([]*metivav1.CollectedEvent{w.event(ingAddr, agent, analytics(visitor, 2)), w.event(ingAddr, agent, nil)})
	value, err := proto.Marshal(&metivav1.Withdrawal{CompanyId: tenant, SubjectId: visitor, Sequence: 2})
	if err != nil {
		t.Fatal(err)
	}
	worker, _ := w.visitWorker(0)
	r := w.past()
	r.Note = func(int, int64, int64) {
		if err := worker.revocations.ApplyWithdrawal([]byte("key"), value); err != nil {
			t.Error(err)
		}
	}
	r.Standing = func(ctx context.Context, ask []*metivav1.Visit) (map[visit.ID]StandingVisit, error) {
		for _, v := range ask {
			if len(v.GetVisitorId()) > 0 {
				t.Error("the visit of a visitor who has withdrawn is made again")
			}
		}
		return w.standing(ctx, ask)
	}
	if report, err := worker.Replay(t.Context(), r); err != nil || report.Events != 2 || report.Visits != 1 {
		t.Errorf("%+v, %v", report, err)
	}
}

// TestAReplayRefuses what it cannot do, and says why.
func TestAReplayRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := schemas.EventPartition(tenant, nil, schemas.TenantBuckets)
	for range 4 {
		w.put(w.event(ingAddr, agent, nil))
	}
	if _, err := w.replay(w.past()); !errors.Is(err, ErrUnsettled) {
		t.Errorf("before enrich has come to it: %v", err)
	}
	worker, _ := w.visitWorker(0)
	stop := w.start(worker)
	waittest.Until(t, waitMax, "the events", func() bool { return len(w.read(schemas.TopicEventsEnriched)) == 4 })
	stop()
	w.broker.DeleteBefore(schemas.TopicEventsCollected, p, 2)
	r := w.past()
	if _, err := w.replay(r); !errors.Is(err, ErrBeyondRetention) {
		t.Errorf("beyond retention: %v", err)
	}
	r.Partial = true
	if report, err := w.replay(r); err != nil || report.Events != 2 {
		t.Errorf("what there is: %+v, %v", report, err)
	}
	now := time.Now()
	for _, bad := range []Replay{
		{},
		{From: now, To: now.Add(-time.Hour)},
		{From: now.Add(-2 * time.Hour), To: now.Add(-time.Minute)},
		{From: now.Add(-3 * time.Hour), To: now.Add(-2 * time.Hour), Company: "x"},
		{From: now.Add(-3 * time.Hour), To: now.Add(-2 * time.Hour), VisitBytesMax: -1},
	} {
		if _, err := CountReplay(t.Context(), w.client, bad, now); err == nil {
			t.Errorf("%+v is not refused", bad)
		}
	}
}

// TestAReplayWithoutRoom leaves out the visits it had no memory for.
func TestAReplayWithoutRoom(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deps.Registerer = prometheus.NewRegistry()
	w.worked(w.visitEvents(rand.New(rand.NewPCG(1, 2)), 60))
	before := w.liveVisits()
	w.another()
	r := w.past()
	r.VisitBytesMax = 1
	report, err := w.replay(r)
	if err != nil || report.Beyond == 0 {
		t.Fatalf("%+v, %v", report, err)
	}
	after := w.liveVisits()
	if len(after) != len(before) {
		t.Errorf("%d visits of %d", len(after), len(before))
	}
	for id, v := range after {
		if v.GetEvents() != before[id].GetEvents() {
			t.Errorf("a visit of %d events has %d", before[id].GetEvents(), v.GetEvents())
		}
	}
}
