package scorer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/pkg/waittest"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// course is visits of two accounts over four days: versions that grow, a repeated
// one, an older one after its successor, a removal, and one from before the others.
func course(company string) []*metivav1.Visit {
	version := func(v *metivav1.Visit, n uint64) *metivav1.Visit {
		v.Version = n
		return v
	}
	gone := version(visitOf(company, "abn.nl", 0, 1), 5)
	gone.Removed, gone.PageViews, gone.Pages = true, 0, nil
	return []*metivav1.Visit{
		visitOf(company, "ing.nl", 0, 1, "/"),
		version(visitOf(company, "ing.nl", 0, 1, "/", "/pricing"), 4),
		visitOf(company, "abn.nl", 0, 1, "/", "/demo/a"),
		version(visitOf(company, "ing.nl", 0, 1, "/", "/pricing", "/x", "/demo"), 6),
		version(visitOf(company, "ing.nl", 0, 1, "/", "/pricing"), 4),
		visitOf(company, "abn.nl", 0, 1, "/", "/demo/a"),
		gone,
		visitOf(company, "abn.nl", 0, 0, "/", "/demo/a", "/pricing"),
		visitOf(company, "ing.nl", 2, 1, "/pricing", "/a", "/b"),
		visitOf(company, "ing.nl", 1, 1, "/a", "/b"),
		visitOf(company, "ing.nl", 3, 1, "/a"),
		visitOf(company, "abn.nl", 3, 1, "/a", "/b", "/pricing", "/demo"),
	}
}

var errCrash = errors.New("crash")

// dying is a producer that ends after so many records.
type dying struct {
	producer
	left int
}

func (d *dying) Produce(topic string, partition int, key, value []byte, headers ...kafka.Header) (*kafka.Ack, error) {
	if d.left--; d.left < 0 {
		return nil, errCrash
	}
	return d.producer.Produce(topic, partition, key, value, headers...) //nolint:wrapcheck // as it is
}

// log gives a partition's records in batches, as a claim does.
type log struct {
	claim
	records   []kafka.Record
	batch     int
	committed int
	epoch     uint64
}

// Epoch is that of the next owner.
func (l *log) Epoch(_ context.Context, seen uint64) (uint64, error) {
	l.epoch = max(l.epoch, seen) + 1
	return l.epoch, nil
}

// run processes batches from the last commit on, on states read from Kafka, until
// all is committed or the producer ends.
func (l *log) run(ctx context.Context, w *Worker, number, left int) (produced int, err error) {
	d := &dying{producer: w.sender, left: left}
	w.producer = d
	p := w.newPartition(number)
	if err := p.restore(ctx, l); err != nil {
		return 0, err
	}
	for l.committed < len(l.records) {
		end := min(l.committed+l.batch, len(l.records))
		if err := p.process(ctx, l.records[l.committed:end]); err != nil {
			// What was handed over before the crash may have arrived.
			for _, ack := range p.sender.acks {
				<-ack.Done()
			}
			return left - d.left, err
		}
		l.committed = end
	}
	return left - d.left, nil
}

// TestCrashAnywhere ends the scorer after every single record it writes. Whoever
// takes over comes to the same days and the same signals.
func TestCrashAnywhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker := w.worker(Config{})
	worker.partitions = len16(t)
	w.goRun(worker.sender.Run)
	logOf := func(company string, batch int) *log {
		l := &log{batch: batch}
		for i, v := range course(company) {
			l.records = append(l.records, kafka.Record{Topic: schemas.TopicVisitsEnriched, Offset: int64(i), Value: encoded(t, v)})
		}
		return l
	}
	register := func(company string) {
		record := &metivav1.SiteRecord{CompanyId: company, SiteId: "sit_a", ScoreRules: &metivav1.ScoreRules{
			HotScore: 40, KeyPages: []*metivav1.KeyPage{{Name: "pricing", Path: "/pricing", Weight: 60}, {Name: "demo", Path: "/demo*", Weight: 40}},
		}}
		if err := worker.sites.Apply([]byte("sit_a"), encoded(t, record)); err != nil {
			t.Fatal(err)
		}
	}
	for _, batch := range []int{1, 3, 5, 100} {
		company := fmt.Sprintf("cmp_whole%d", batch)
		register(company)
		total, err := logOf(company, batch).run(w.ctx(), worker, batch%16, 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		want := w.outcome(company)
		if n := strings.Count(want, "signal "); n < 12 || strings.Count(want, "day ") != 6 {
			t.Fatalf("%d signals in\n%s", n, want)
		}
		for crash := range total {
			company := fmt.Sprintf("cmp_crash%d_%d", batch, crash)
			register(company)
			l := logOf(company, batch)
			if _, err := l.run(w.ctx(), worker, batch%16, crash); !errors.Is(err, errCrash) {
				t.Fatalf("no crash: %v", err)
			}
			if _, err := l.run(w.ctx(), worker, batch%16, 1<<30); err != nil {
				t.Fatal(err)
			}
			if got := w.outcome(company); got != want {
				t.Fatalf("batches of %d, crash after %d of %d:\n%s\nwant\n%s", batch, crash, total, got, want)
			}
			// The log from its very beginning, as after a lost offset.
			l.committed = 0
			if again, err := l.run(w.ctx(), worker, batch%16, 1<<30); err != nil || again != 0 {
				t.Fatalf("a replay wrote %d records, %v", again, err)
			}
		}
	}
}

// TestTwoScorers: scorers share the partitions, take them over from each other while
// visits come, and together come to what one alone does.
func TestTwoScorers(t *testing.T) {
	t.Parallel()
	alone, w := newWorld(t), newWorld(t)
	companies := []string{"cmp_8fa2c1", "cmp_1d47b9", "cmp_aaaaaa", "cmp_bbbbbb", "cmp_cccccc"}
	cfg := Config{BatchRecordsMax: 3, BatchWaitMax: time.Millisecond}
	for _, company := range companies {
		alone.publish(course(company)...)
	}
	alone.goRun(alone.worker(cfg).Run)

	first := w.worker(cfg)
	stopFirst := w.goRun(first.Run)
	<-first.Ready()
	part := func(from, to int) {
		for _, company := range companies {
			w.publish(course(company)[from:to]...)
		}
	}
	part(0, 4)
	second := w.worker(cfg)
	w.goRun(second.Run)
	<-second.Ready()
	part(4, 8)
	w.until("the second has a partition", func() bool { return owned(t, second) > 0 })
	part(8, 10)
	stopFirst()
	part(10, 12)
	w.until("the second has all", func() bool { return owned(t, second) == len16(t) })
	for _, company := range companies {
		// A visit that is left for the end: when it is scored, all before it are.
		w.publish(visitOf(company, "ing.nl", 4, 9, "/", "/last"), visitOf(company, "abn.nl", 4, 9, "/", "/last"))
		alone.publish(visitOf(company, "ing.nl", 4, 9, "/", "/last"), visitOf(company, "abn.nl", 4, 9, "/", "/last"))
		for _, x := range []*world{alone, w} {
			x.until("the last visits of "+company, func() bool {
				got := x.outcome(company)
				return strings.Contains(got, fmt.Sprintf("day ing.nl %d ", noonDay+4)) && strings.Contains(got, fmt.Sprintf("day abn.nl %d ", noonDay+4))
			})
		}
		if got, want := w.outcome(company), alone.outcome(company); got != want {
			t.Errorf("%s: got\n%s\nwant\n%s", company, got, want)
		}
	}
}

func (w *world) until(what string, done func() bool) {
	w.t.Helper()
	waittest.Until(w.t, waitMax, what, done)
}

// owned is how many partitions a scorer reports on.
func owned(t *testing.T, w *Worker) (n int) {
	t.Helper()
	registry, ok := w.deps.Registerer.(prometheus.Gatherer)
	if !ok {
		t.Fatal("not a registry")
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "metiva_score_accounts" {
			n = len(f.GetMetric())
		}
	}
	return n
}

// TestErasedTenant: an erasure removes the tenant's states for good, here and in the
// log, and its visits make no new ones; other tenants keep theirs.
func TestErasedTenant(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const erased, other = "cmp_8fa2c1", "cmp_63ae02" // in one bucket
	w.publish(visitOf(erased, "ing.nl", 0, 1, "/", "/a"), visitOf(other, "ing.nl", 0, 1, "/", "/a"))
	worker := w.worker(Config{SweepInterval: 20 * time.Millisecond, BatchWaitMax: time.Millisecond})
	stop := w.goRun(worker.Run)
	w.until("both are known", func() bool { return len(w.states()) == 2 })
	w.send(schemas.TopicControlErasures, 0, erased, encoded(t, &metivav1.Erasure{CompanyId: erased, ErasedAtMs: noon}))
	w.until("one is gone", func() bool { return len(w.states()) == 1 })
	w.publish(visitOf(erased, "ing.nl", 1, 1, "/", "/a"), visitOf(other, "ing.nl", 1, 1, "/", "/a"))
	w.until("the other goes on", func() bool { return strings.Contains(w.outcome(other), "ACCOUNT_RETURNED") })
	if got := w.outcome(erased); strings.Contains(got, fmt.Sprint(noonDay+1)) {
		t.Errorf("an erased tenant has a new day:\n%s", got)
	}
	stop()
	// A state that comes back, as from a former owner, is removed by the next one.
	w.send(schemas.TopicAccountsState, int(schemas.TenantBucket(erased)), keyOf(erased, "sit_a", "x.nl"),
		encoded(t, &metivav1.AccountState{CompanyId: erased, SiteId: "sit_a", AccountId: "x.nl"}))
	w.goRun(w.worker(Config{SweepInterval: 20 * time.Millisecond}).Run)
	w.until("it is gone again", func() bool { return len(w.states()) == 1 })
}

// states is accounts.state as a new owner would read it.
func (w *world) states() map[string]*metivav1.AccountState {
	w.t.Helper()
	out := make(map[string]*metivav1.AccountState)
	for _, r := range w.all(schemas.TopicAccountsState) {
		key, _ := parseStateKey(string(r.Key))
		if len(r.Value) == 0 {
			delete(out, key)
			continue
		}
		s := new(metivav1.AccountState)
		if err := proto.Unmarshal(r.Value, s); err != nil {
			w.t.Fatal(err)
		}
		out[key] = s
	}
	return out
}

// TestStatesEnd: a state ends with its tenant's retention, and the longest unseen
// ones when there are too many.
func TestStatesEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker := w.worker(Config{StateBytesMax: 1 << 20, SweepInterval: 20 * time.Millisecond, BatchWaitMax: time.Millisecond})
	w.goRun(worker.Run)
	w.publish(visitOf("cmp_a", "old.nl", 0, 1, "/", "/a"), visitOf("cmp_a", "new.nl", 5, 1, "/", "/a"))
	w.until("both are known", func() bool { return len(w.states()) == 2 })
	w.pass((32 - lastDay) * 24 * time.Hour)
	w.until("one has ended", func() bool { return len(w.states()) == 1 })
	if w.states()[keyOf("cmp_a", "sit_a", "new.nl")] == nil {
		t.Error("the wrong one has ended")
	}
	w.pass(5 * 24 * time.Hour)
	w.until("both have", func() bool { return len(w.states()) == 0 })

	const accounts = 100
	p := worker.newPartition(3)
	s := p.store
	var records []kafka.Record
	for i := range accounts {
		records = append(records, kafka.Record{Offset: int64(i), Value: encoded(t, visitOf("cmp_b", fmt.Sprintf("a%03d.nl", i), 0, 1, "/", "/a"))})
	}
	if err := p.process(w.ctx(), records); err != nil {
		t.Fatal(err)
	}
	whole := s.bytes
	worker.cfg.StateBytesMax = whole / 2
	// The first is seen again, so that the second is the oldest.
	if err := p.process(w.ctx(), []kafka.Record{{Offset: accounts, Value: encoded(t, visitOf("cmp_b", "a000.nl", 0, 2, "/", "/a"))}}); err != nil {
		t.Fatal(err)
	}
	if n := len(s.byKey); s.bytes > whole/2 || n < accounts/2-5 || n > accounts/2 {
		t.Errorf("%d accounts of %d bytes are left", n, s.bytes)
	}
	if s.get(keyOf("cmp_b", "sit_a", "a000.nl")) == nil || s.get(keyOf("cmp_b", "sit_a", "a001.nl")) != nil {
		t.Error("the longest unseen has not gone first")
	}
	if n := len(w.states()); n != len(s.byKey) {
		t.Errorf("%d states in the log, %d in memory", n, len(s.byKey))
	}
}

// TestWhatIsLeftOut: records that are no visits are dead letters, visits without a
// shown account are nothing, and neither stops the rest. Nothing is logged of them.
func TestWhatIsLeftOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const company = "cmp_a"
	w.site(company)
	partition := int(schemas.TenantBucket(company))
	unsure := visitOf(company, "unsure.nl", 0, 1, "/", "/canary")
	unsure.Resolution.Confidence = 0.5
	provider := visitOf(company, "", 0, 2, "/", "/canary")
	provider.Resolution.Verdict = metivav1.Verdict_VERDICT_ISP
	slash := visitOf(company, "canary.nl", 0, 3, "/canary")
	slash.SiteId = "sit/a"
	short := visitOf(company, "canary.nl", 0, 4, "/canary")
	short.VisitId = short.VisitId[:15]
	// Of a collector whose clock is ahead: they would close the days of the visit below.
	ahead := visitOf(company, "ing.nl", 300, 1, "/", "/canary")
	never := visitOf(company, "ing.nl", 1<<20, 1)
	never.Removed = true
	for _, value := range [][]byte{
		[]byte("canary"),
		{},
		encoded(t, unsure),
		encoded(t, provider),
		encoded(t, slash),
		encoded(t, short),
		make([]byte, 100<<10),
		encoded(t, ahead),
		encoded(t, never),
		encoded(t, visitOf(company, "ing.nl", 0, 5, "/", "/pricing")),
	} {
		w.send(schemas.TopicVisitsEnriched, partition, "key", value)
	}
	w.goRun(w.worker(Config{}).Run)
	// The state is written last, after what others read.
	w.until("the last visit", func() bool { return len(w.states()) > 0 })
	if got := w.outcome(company); strings.Count(got, "day ") != 1 || !strings.Contains(got, "KEY_PAGE_VIEWED") || len(w.states()) != 1 {
		t.Errorf("got\n%s", got)
	}
	dead := w.all(schemas.TopicEventsDead)
	for _, r := range dead {
		headers := make(map[string]string)
		for _, h := range r.Headers {
			headers[h.Key] = string(h.Value)
		}
		if headers[schemas.HeaderDeadReason] != "invalid_record" || headers[schemas.HeaderDeadTopic] != schemas.TopicVisitsEnriched ||
			headers[schemas.HeaderDeadPartition] != fmt.Sprint(partition) || len(r.Value) > deadValueBytesMax {
			t.Errorf("a dead letter with %v", headers)
		}
	}
	if len(dead) != 5 {
		t.Errorf("%d dead letters", len(dead))
	}
	if strings.Contains(w.log.String(), "canary") || strings.Contains(w.log.String(), "ing.nl") {
		t.Error("the log tells of a record")
	}
}
