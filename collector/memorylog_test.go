package collector

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// record is what the collector produced.
type record struct {
	topic      string
	partition  int
	key, value []byte
}

// memoryLog is a Producer in memory, whose acknowledgements a test can withhold. The
// same tests against a broker are in kafka_test.go.
type memoryLog struct {
	mu      sync.Mutex
	records []record
	hold    chan struct{}                  // acknowledge when closed
	refuse  func(topic string) error       // of Produce
	ackErr  error                          // of the acknowledgement
	onEvent func(*metivav1.CollectedEvent) // called within Produce
	arrived chan struct{}                  // one token per event
	over    <-chan struct{}                // closed when the test is
}

type memoryAck struct {
	done chan struct{}
	over <-chan struct{}
	err  error
}

func (a *memoryAck) Done() <-chan struct{} { return a.done }
func (a *memoryAck) Err() error            { return a.err }

func (a *memoryAck) tell(w *waiter) bool {
	if isDone(a) {
		return false
	}
	go func() {
		select {
		case <-a.done:
			finishAll(w)
		case <-a.over:
		}
	}()
	return true
}

func closedChan() chan struct{} {
	ch := make(chan struct{})
	close(ch)
	return ch
}

func (l *memoryLog) Produce(topic string, partition int, key, value []byte) (Ack, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.refuse != nil {
		if err := l.refuse(topic); err != nil {
			return nil, err
		}
	}
	l.records = append(l.records, record{topic, partition, bytes.Clone(key), bytes.Clone(value)})
	if topic != schemas.TopicEventsCollected {
		return &memoryAck{done: closedChan()}, nil
	}
	if l.onEvent != nil {
		var e metivav1.CollectedEvent
		if err := proto.Unmarshal(value, &e); err != nil {
			return nil, err
		}
		l.onEvent(&e)
	}
	if l.arrived != nil {
		l.arrived <- struct{}{}
	}
	if l.hold != nil {
		return &memoryAck{done: l.hold, over: l.over, err: l.ackErr}, nil
	}
	return &memoryAck{done: closedChan(), err: l.ackErr}, nil
}

func (l *memoryLog) ProduceSync(ctx context.Context, topic string, partition int, key, value []byte) error {
	ack, err := l.Produce(topic, partition, key, value)
	if err != nil {
		return err
	}
	return waitAck(ctx, ack)
}

func (l *memoryLog) of(topic string) []record {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []record
	for _, r := range l.records {
		if r.topic == topic {
			out = append(out, r)
		}
	}
	return out
}

func (l *memoryLog) events(t testing.TB) []*metivav1.CollectedEvent {
	t.Helper()
	var out []*metivav1.CollectedEvent
	for _, r := range l.of(schemas.TopicEventsCollected) {
		e := &metivav1.CollectedEvent{}
		if err := proto.Unmarshal(r.value, e); err != nil {
			t.Fatal(err)
		}
		out = append(out, e)
	}
	return out
}

// ledgerOf sums the last count of every ledger key, by company and reason.
func ledgerOf(t testing.TB, records []record) map[string]uint64 {
	t.Helper()
	last := map[string]*metivav1.LedgerEntry{}
	for _, r := range records {
		entry := &metivav1.LedgerEntry{}
		if err := proto.Unmarshal(r.value, entry); err != nil {
			t.Fatal(err)
		}
		if known := last[string(r.key)]; known != nil && known.GetCount() > entry.GetCount() {
			t.Errorf("the count of %s fell from %d to %d", r.key, known.GetCount(), entry.GetCount())
		}
		last[string(r.key)] = entry
	}
	out := map[string]uint64{}
	for _, entry := range last {
		out[entry.GetCompanyId()+"/"+schemas.Label(entry.GetReason())] += entry.GetCount()
	}
	return out
}

// stoppedLedger stops the collector and returns the whole ledger.
func (e *edge) stoppedLedger() map[string]uint64 {
	e.t.Helper()
	if err := e.stop(); err != nil {
		e.t.Fatal(err)
	}
	return ledgerOf(e.t, e.log.of(schemas.TopicLedgerEdge))
}

func wantLedger(t testing.TB, got, want map[string]uint64) {
	t.Helper()
	if !maps.Equal(got, want) {
		t.Errorf("ledger %v, want %v", sorted(got), sorted(want))
	}
}

func sorted(m map[string]uint64) []string {
	var out []string
	for k, v := range m {
		out = append(out, fmt.Sprintf("%s=%d", k, v))
	}
	slices.Sort(out)
	return out
}

var errTest = errors.New("test")
