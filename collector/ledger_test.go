package collector

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// TestLedgerBalances sends a random mix from several clients and compares three
// counts: what the clients were told, what the ledger says, what was produced.
func TestLedgerBalances(t *testing.T) {
	t.Parallel()
	e := startEdge(t, nil)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	var n int
	var mu sync.Mutex
	e.log.onEvent = func(*metivav1.CollectedEvent) { // called under the log's lock
		if n++; n%17 == 0 {
			panic("x")
		}
	}
	sent, told := 0, map[string]uint64{}
	var wg sync.WaitGroup
	for client := range 4 {
		rng := rand.New(rand.NewPCG(seed, uint64(client)))
		wg.Go(func() {
			for range 60 {
				body, events, change := randomRequest(e, rng)
				h := browserHeaders()
				if change != nil {
					change(h)
				}
				a, err := e.try(http.MethodPost, PathEvents, body, h)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				sent += events
				if a.Reason != "" {
					told[a.Reason] += uint64(events)
				}
				for _, r := range a.Results {
					if r.Outcome == "accepted" {
						r.Reason = "none"
					}
					told[r.Reason]++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	counted := map[string]uint64{}
	var received uint64
	for key, count := range e.stoppedLedger() {
		var reason string
		if _, err := fmt.Sscanf(key[len(key)-lenAfterSlash(key):], "%s", &reason); err != nil {
			t.Fatal(err)
		}
		counted[reason] += count
		received += count
	}
	wantLedger(t, counted, told)
	if received != uint64(sent) {
		t.Errorf("the ledger counts %d events, %d were sent", received, sent)
	}
	// A panic happens after the fake appended: those records are there too.
	if produced := uint64(len(e.log.events(t))); produced != counted["none"]+counted["internal"] {
		t.Errorf("%d events were produced, the ledger says %d accepted and %d failed", produced, counted["none"], counted["internal"])
	}
	if counted["none"] == 0 || counted["internal"] == 0 || len(counted) < 7 {
		t.Errorf("the mix is too thin to prove anything: %v", sorted(counted))
	}
}

func lenAfterSlash(key string) int {
	for i := len(key) - 1; i >= 0; i-- {
		if key[i] == '/' {
			return len(key) - 1 - i
		}
	}
	return len(key)
}

// randomRequest returns a body, the number of its events and a change of the
// headers.
func randomRequest(e *edge, rng *rand.Rand) (body any, events int, change func(map[string]string)) {
	var pages []page
	for range 1 + rng.IntN(6) {
		p := newPage(e)
		switch rng.IntN(8) {
		case 0:
			p = p.with("at", e.clock.Now().Add(-48*time.Hour).UnixMilli())
		case 1:
			p = p.with("at", e.clock.Now().Add(48*time.Hour).UnixMilli())
		case 2:
			p = p.with("url", "https://evil.example/")
		case 3:
			p = p.with("type", 7)
		}
		pages = append(pages, p)
	}
	b := e.body(pages...)
	switch rng.IntN(10) {
	case 0:
		return b, len(pages), header("Sec-GPC", "1")
	case 1:
		return b, len(pages), header("Purpose", "prefetch")
	case 2:
		return b, len(pages), header("Origin", "https://evil.example")
	case 3:
		b["site"] = "pk_other"
	case 4:
		return `{"events":`, 1, nil
	case 5:
		return b, 1, header("Content-Type", "image/png") // its body is not read
	}
	return b, len(pages), nil
}

func TestLedgerIsCumulativeAndSurvivesAnAbsentBroker(t *testing.T) {
	t.Parallel()
	log := &memoryLog{}
	clock := &testClock{now: time.Date(2026, 11, 22, 12, 0, 59, 0, time.UTC)}
	l := newLedger("w", log, clock.Now)
	ctx := context.Background()
	const gpc = metivav1.Reason_REASON_OBJECTED
	l.add("c", "s", clock.Now(), gpc, 2)
	log.refuse = func(string) error { return errTest }
	if unsent, err := l.publish(ctx); err == nil || unsent != 1 {
		t.Fatalf("broker away: %d, %v", unsent, err)
	}
	l.add("c", "s", clock.Now(), gpc, 1)
	l.add("c", "s", clock.Now().Add(time.Second), gpc, 5) // the next minute
	l.add("c", "s", clock.Now(), gpc, 0)
	log.refuse = nil
	if unsent, err := l.publish(ctx); err != nil || unsent != 0 {
		t.Fatalf("broker back: %d, %v", unsent, err)
	}
	l.add("c", "s", clock.Now(), gpc, 4)
	if _, err := l.publish(ctx); err != nil {
		t.Fatal(err)
	}
	records := log.of(schemas.TopicLedgerEdge)
	if len(records) != 3 {
		t.Errorf("%d records, want 3: unchanged counts are not repeated", len(records))
	}
	wantLedger(t, ledgerOf(t, records), map[string]uint64{"c/objected": 12})

	// An acknowledgement that never comes leaves the count unsent.
	hold := &heldLog{}
	l = newLedger("w", hold, clock.Now)
	l.add("c", "s", clock.Now(), gpc, 1)
	short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	if unsent, err := l.publish(short); err == nil || unsent != 1 {
		t.Errorf("no acknowledgement: %d, %v", unsent, err)
	}
}

// heldLog never acknowledges.
type heldLog struct{ memoryLog }

func (*heldLog) Produce(string, int, []byte, []byte) (Ack, error) {
	return &memoryAck{done: make(chan struct{})}, nil
}

func TestLedgerForgetsOldMinutes(t *testing.T) {
	t.Parallel()
	clock := &testClock{now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)}
	l := newLedger("w", &memoryLog{}, clock.Now)
	for range 60 {
		l.add("c", "s", clock.Now(), metivav1.Reason_REASON_UNSPECIFIED, 1)
		if _, err := l.publish(context.Background()); err != nil {
			t.Fatal(err)
		}
		clock.Set(clock.Now().Add(time.Minute))
	}
	if n, most := len(l.entries), int(ledgerKeep/time.Minute)+2; n > most {
		t.Errorf("%d minutes are kept, want at most %d", n, most)
	}
}
