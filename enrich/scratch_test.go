package enrich

import (
	"testing"
	"time"

	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/schemas"
)

// TestClockIsReadNowAndThen: for some events in a row, and anew after a wait.
func TestClockIsReadNowAndThen(t *testing.T) {
	t.Parallel()
	sc, now, read := newScratch(), time.UnixMilli(1000), 0
	clock := func() time.Time {
		read++
		now = now.Add(time.Millisecond)
		return now
	}
	for i := range 3 * clockEvery {
		if want := int64(1001 + i/clockEvery); sc.at(clock) != want {
			t.Fatalf("event %d: %d, want %d", i, sc.nowMs, want)
		}
	}
	sc.at(clock)
	sc.waited()
	if at := sc.at(clock); at != 1005 || read != 5 {
		t.Errorf("after a wait %d, of %d readings", at, read)
	}
}

// fullOnce has no room the first time.
type fullOnce struct {
	producer
	refused bool
}

func (f *fullOnce) Produce(string, int, []byte, []byte, ...kafka.Header) (*kafka.Ack, error) {
	if !f.refused {
		f.refused = true
		return nil, kafka.ErrBufferFull
	}
	return &kafka.Ack{}, nil
}

// TestClockIsReadAfterAFullProducer: an event that waited for room, with nothing of its
// batch under way, does not give the ones behind it the time before.
func TestClockIsReadAfterAFullProducer(t *testing.T) {
	t.Parallel()
	read := 0
	clock := func() time.Time { read++; return time.UnixMilli(int64(read)) }
	p := &partition{w: &Worker{producer: &fullOnce{}}, scratch: newScratch()}
	p.scratch.at(clock)
	for i := range 2 {
		if err := p.send(t.Context(), schemas.TopicEventsEnriched, 0, nil, nil); err != nil {
			t.Fatal(err)
		}
		if at := p.scratch.at(clock); at != 2 {
			t.Errorf("sent %d: the time of reading %d", i+1, at)
		}
	}
}
