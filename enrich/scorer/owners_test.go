package scorer

import (
	"fmt"
	"strings"
	"testing"

	"github.com/metiva-io/metiva/enrich/score"
	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// TestAStateKeySaysWhoWroteIt: and one without an owner is of the time before.
func TestAStateKeySaysWhoWroteIt(t *testing.T) {
	t.Parallel()
	key := keyOf("cmp_a", "sit_a", "ing.nl")
	for _, epoch := range []uint64{0, 1, 256, 1 << 48, 1<<64 - 1} {
		if k, e := parseStateKey(stateKey(key, epoch)); k != key || e != epoch {
			t.Errorf("%q of %d", k, e)
		}
	}
	if k, e := parseStateKey("\x00"); k != "\x00" || e != 0 {
		t.Errorf("%q of %d", k, e)
	}
}

// TestALateOwnerWritesBehindNobody: a former owner that wakes up writes its old states
// behind its successor's, and the log is compacted; whoever comes next has the
// successor's all the same.
func TestALateOwnerWritesBehindNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const company, number = "cmp_late", 5
	worker := w.worker(Config{})
	worker.partitions = len16(t)
	w.goRun(worker.sender.Run)
	l := &log{}
	for i, v := range course(company) {
		l.records = append(l.records, kafka.Record{Topic: schemas.TopicVisitsEnriched, Offset: int64(i), Value: encoded(t, v)})
	}
	owner := func() *partition {
		worker.producer = worker.sender
		p := worker.newPartition(number)
		if err := p.restore(w.ctx(), l); err != nil {
			t.Fatal(err)
		}
		return p
	}
	process := func(p *partition, from, to int) {
		if err := p.process(w.ctx(), l.records[from:to]); err != nil {
			t.Fatal(err)
		}
	}
	late := owner()
	process(late, 0, 2)
	asItWas := len(w.states())
	next := owner()
	process(next, 2, len(l.records))
	process(late, 2, 4) // it wakes up in the midst of a batch
	if asItWas != 1 {
		t.Fatalf("%d states", asItWas)
	}
	// The log compacted: the last record of each key.
	last := make(map[string][]byte)
	for _, r := range w.all(schemas.TopicAccountsState) {
		last[string(r.Key)] = r.Value
	}
	compacted := newStore()
	for key, value := range last {
		if !compacted.restore([]byte(key), value) {
			t.Error("a state cannot be read")
		}
	}
	for _, account := range []string{"ing.nl", "abn.nl"} {
		key := keyOf(company, "sit_a", account)
		got, want := compacted.find(key), next.store.find(key)
		if got == nil || string(got.value) != string(want.value) || got.epoch != next.epoch {
			t.Errorf("%s is not as its owner left it: %+v", account, got)
		}
	}
	if len(compacted.outdone) == 0 {
		t.Error("nothing of the late owner is to be removed")
	}
	if third := owner(); len(third.store.byKey) != 2 || len(w.recordsOfStates(number)) != 2 {
		t.Errorf("%d states of %d records", len(third.store.byKey), len(w.recordsOfStates(number)))
	}
}

// recordsOfStates are the keys on a partition of accounts.state that have a value.
func (w *world) recordsOfStates(partition int) map[string]bool {
	w.t.Helper()
	out := make(map[string]bool)
	for _, r := range w.all(schemas.TopicAccountsState) {
		if r.Partition != partition {
			continue
		}
		if out[string(r.Key)] = len(r.Value) > 0; len(r.Value) == 0 {
			delete(out, string(r.Key))
		}
	}
	return out
}

// TestAPanicTakesOneVisit: a visit that makes the score panic after it has changed half
// of its account is a dead letter; what the batch brought before and brings after counts.
func TestAPanicTakesOneVisit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker := w.worker(Config{})
	worker.partitions = len16(t)
	w.goRun(worker.sender.Run)
	run := func(company string, number int, bad uint64) string {
		var records []kafka.Record
		for i, v := range course(company) {
			if bad > 0 && i == int(bad) { // beside those of the course
				records = append(records, kafka.Record{Offset: int64(100 + i), Value: encoded(t, visitOf(company, "ing.nl", 2, 9, "/bad", "/b"))})
			}
			records = append(records, kafka.Record{Offset: int64(i), Value: encoded(t, v)})
		}
		p := worker.newPartition(number)
		p.applyTo = func(a *score.Account, dst []*metivav1.Signal, v *score.Visit, rules *score.Rules, at uint64) ([]*metivav1.Signal, score.Outcome) {
			dst, outcome := a.Apply(dst, v, rules, at)
			if at > 100 {
				panic("half done")
			}
			return dst, outcome
		}
		if err := p.process(w.ctx(), records); err != nil {
			t.Fatal(err)
		}
		return w.outcome(company)
	}
	want := run("cmp_whole", 1, 0)
	for bad := uint64(1); bad < 12; bad++ {
		if got := run(fmt.Sprintf("cmp_bad%d", bad), 2, bad); got != want {
			t.Errorf("a panic before visit %d:\n%s\nwant\n%s", bad, got, want)
		}
	}
	if n := len(w.all(schemas.TopicEventsDead)); n != 11 {
		t.Errorf("%d dead letters", n)
	}
	if strings.Contains(w.log.String(), "half done") {
		t.Error("the log says what the panic said")
	}
}
