package enrich

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/pkg/waittest"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// reported adds up what is on ledger.edge as the ledger does: the greatest count of
// each key.
func (w *world) reported() (counts map[string]uint64, total uint64) {
	w.t.Helper()
	greatest := make(map[string]*metivav1.LedgerEntry)
	for _, r := range w.read(schemas.TopicLedgerEdge) {
		e := new(metivav1.LedgerEntry)
		if err := proto.Unmarshal(r.Value, e); err != nil {
			w.t.Fatal(err)
		}
		if e.GetStage() != metivav1.Stage_STAGE_ENRICH || e.GetMinuteMs()%time.Minute.Milliseconds() != 0 || e.GetWriterId() == "" || len(e.GetWriterId()) > writerIDBytesMax {
			w.t.Fatalf("an entry is %v", e)
		}
		if known := greatest[string(r.Key)]; known == nil || known.GetCount() < e.GetCount() {
			greatest[string(r.Key)] = e
		}
	}
	counts = make(map[string]uint64)
	for _, e := range greatest {
		counts[e.GetCompanyId()+" "+schemas.Label(e.GetReason())] += e.GetCount()
		total += e.GetCount()
	}
	return counts, total
}

// TestWhatIsPassedOnIsReportedOnce by each worker of a group, over stops, with the
// drops and their reasons; the last counts at the stop.
func TestWhatIsPassedOnIsReportedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first, _ := w.visitWorker(0)
	stop := w.start(first)
	w.putAll(40)
	waittest.Until(t, waitMax, "the first counts", func() bool { _, n := w.reported(); return n == 40 })
	w.putAll(16)
	bad := w.event(ingAddr, agent, nil)
	bad.SealedAddress[len(bad.SealedAddress)-1] ^= 1
	w.put(bad)
	waittest.Until(t, waitMax, "the records", func() bool { return len(w.read(schemas.TopicEventsEnriched)) == 57 })
	stop()
	counts, total := w.reported()
	if total != 57 || counts[tenant+"a none"] != 7 || counts[tenant+" tampered"] != 1 {
		t.Fatalf("after the stop %v", counts)
	}
	second, _ := w.visitWorker(0)
	w.start(second)
	w.putAll(8)
	waittest.Until(t, waitMax, "the successor's counts", func() bool { _, n := w.reported(); return n > 57 })
	if counts, total = w.reported(); total > 65 || counts[tenant+"a none"] > 8 {
		t.Fatalf("the successor reported %v", counts)
	}
	waittest.Until(t, waitMax, "all counts", func() bool { _, n := w.reported(); return n == 65 })
}

// TestABookIsClosedAndStillSent: counts of a time long past go under a name of their
// own, so that they add to those that were forgotten.
func TestABookIsClosedAndStillSent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	l, now := newLedger(), time.Now()
	batch := func(n int) *counted {
		c := &counted{}
		for range n {
			c.add(&outcome{record: schemas.EnrichedOf(&metivav1.EnrichedEvent{CompanyId: tenant, SiteId: "sit_a", ReceivedAtMs: now.UnixMilli()})})
		}
		return c
	}
	l.add(batch(3), now)
	l.add(batch(4), now.Add(ledgerBookAge)) // the first is closed unsent
	if err := l.publish(t.Context(), w.sender); err != nil {
		t.Fatal(err)
	}
	l.add(batch(5), now.Add(ledgerBookAge))
	if err := l.publish(t.Context(), w.sender); err != nil {
		t.Fatal(err)
	}
	if _, total := w.reported(); total != 12 || len(l.closed) != 0 {
		t.Fatalf("%d are reported, %d books wait", total, len(l.closed))
	}
	if err := l.publish(t.Context(), w.sender); err != nil || len(w.read(schemas.TopicLedgerEdge)) != 3 {
		t.Fatalf("nothing has changed and something was sent, %v", err)
	}
}

// TestABookHasItsBound: a worker that catches up has counts of days in minutes; they go
// under as many names as it takes, each of its own, and none is lost.
func TestABookHasItsBound(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	l, now := newLedger(), time.Now()
	batch := func(from, n int) *counted {
		c := &counted{}
		for i := range n {
			at := now.UnixMilli() + int64(from+i)*time.Minute.Milliseconds()
			c.add(&outcome{record: schemas.EnrichedOf(&metivav1.EnrichedEvent{CompanyId: tenant, SiteId: "sit_a", ReceivedAtMs: at})})
		}
		return c
	}
	l.add(batch(0, ledgerBookKeysMax), now)
	l.take() // as if they had been sent
	former := l.book.writerID
	l.add(batch(0, 2), now)
	if len(l.book.counts) != 2 || l.book.writerID == former || len(l.closed) != 1 {
		t.Fatalf("%d counts under %s after %s, %d books wait", len(l.book.counts), l.book.writerID, former, len(l.closed))
	}
	if err := l.publish(t.Context(), w.sender); err != nil {
		t.Fatal(err)
	}
	if _, total := w.reported(); total != 2 || len(l.closed) != 0 {
		t.Fatalf("%d are reported, %d books wait", total, len(l.closed))
	}
}
