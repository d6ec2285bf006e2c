package collector

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/metiva-io/metiva/collector/spool"
	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/pkg/waittest"
	"github.com/metiva-io/metiva/schemas"
)

// chaosKafka answers by chance: late, never, that a batch is not there, that it
// may be. What it says is true.
type chaosKafka struct {
	fakeKafka
	rng   *rand.Rand // under mu
	calm  bool
	ended chan struct{}
	wg    sync.WaitGroup
}

func (c *chaosKafka) Produce(topic string, partition int, key, value []byte) (Ack, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.calm && c.rng.IntN(20) == 0 {
		return nil, kafka.ErrBufferFull
	}
	h := &heldRecord{record: record{topic, partition, append([]byte(nil), key...), append([]byte(nil), value...)}, done: make(chan struct{})}
	appended := true
	if !c.calm {
		switch c.rng.IntN(6) {
		case 0:
			h.err, appended = kafka.ErrDeliveryTimeout, false
		case 1:
			h.err, appended = fmt.Errorf("%w: %w", kafka.ErrOutcomeUnknown, kafka.ErrDeliveryTimeout), c.rng.IntN(2) == 0
		}
	}
	if appended {
		c.log = append(c.log, h.record)
	}
	if c.calm || c.rng.IntN(3) > 0 {
		close(h.done)
		return h, nil
	}
	late := time.Duration(c.rng.IntN(12)) * time.Millisecond
	c.wg.Go(func() {
		timer := time.NewTimer(late)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-c.ended:
			return // and no answer ever
		}
		close(h.done)
	})
	return h, nil
}

func (c *chaosKafka) calmDown() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calm = true
}

// Whatever Kafka answers, and whenever the process stops: what was acknowledged is
// in the log, at most one copy of it without the mark, and no key behind an event.
func TestAnyAnswerOfKafka(t *testing.T) {
	t.Parallel()
	seeds := uint64(12)
	if testing.Short() {
		seeds = 4
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			chaos(t, seed)
		})
	}
}

func chaos(t *testing.T, seed uint64) {
	dir := t.TempDir()
	rng := rand.New(rand.NewPCG(seed, 1))
	k := &chaosKafka{rng: rand.New(rand.NewPCG(seed, 2))}
	acked, keys := map[string]bool{}, map[string]string{}
	for life := range 4 {
		k.ended = make(chan struct{})
		r := startDurable(t, dir, &k.fakeKafka, func(c *DurableConfig, s *spool.Config) {
			c.HedgeAfter, c.SpoolAfter, c.DrainTimeout = 2*time.Millisecond, 6*time.Millisecond, time.Second
			s.SegmentBytes, s.BytesMax = 4096, 1<<20
		})
		r.deps.Kafka = k
		r.BeginReplay(nil)
		var mu sync.Mutex
		var wg sync.WaitGroup
		for w := range 4 {
			n, pick := 60+rng.IntN(60), rand.New(rand.NewPCG(seed, uint64(100*life+w)))
			wg.Go(func() {
				held := ""
				for i := range n {
					name := fmt.Sprintf("%d-%d-%d", life, w, i)
					if pick.IntN(15) == 0 {
						ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
						if r.ProduceSync(ctx, schemas.TopicControlKeys, 0, []byte(name), []byte("key "+name)) == nil {
							held = name
						}
						cancel()
						continue
					}
					ack, err := r.Produce(schemas.TopicEventsCollected, pick.IntN(3), nil, eventNamed(name))
					if err != nil {
						continue
					}
					mu.Lock()
					keys[name] = held
					mu.Unlock()
					if pick.IntN(3) > 0 {
						continue
					}
					if <-ack.Done(); ack.Err() == nil {
						mu.Lock()
						acked[name] = true
						mu.Unlock()
					}
				}
			})
		}
		wg.Wait()
		if life == 3 {
			k.calmDown()
			r.drained()
			for key, l := range *r.lanes.Load() {
				waittest.Until(t, 5*time.Second, fmt.Sprintf("nothing of %v counts as spooled", key), func() bool { return l.spooled.Load() == 0 })
			}
			if n := r.preceding.Load(); n != 0 {
				t.Errorf("%d records precede", n)
			}
		}
		if err := r.stop(); err != nil {
			t.Error(err)
		}
		close(k.ended)
		k.wg.Wait()
	}
	at, plain := map[string]int{}, map[string]int{}
	for i, text := range k.texts(t) {
		name, marked := strings.CutSuffix(text, " replayed")
		if _, ok := at[name]; !ok {
			at[name] = i
		}
		if !marked {
			plain[name]++
		}
	}
	for name := range acked {
		if _, ok := at[name]; !ok {
			t.Errorf("%s is lost", name)
		}
	}
	for name := range maps.Keys(keys) {
		i, ok := at[name]
		if plain[name] > 1 {
			t.Errorf("%s is there %d times without the mark", name, plain[name])
		}
		if key := keys[name]; ok && key != "" {
			if first, there := at["key "+key]; !there || first > i {
				t.Errorf("%s is in the log before its key %s", name, key)
			}
		}
	}
}
