package source_test

import (
	"math/rand/v2"
	"testing"

	"github.com/metiva-io/metiva/enrich/source"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

func TestTouchOf(t *testing.T) {
	t.Parallel()
	event := func(change func(*metivav1.EnrichedEvent)) *metivav1.EnrichedEvent {
		e := &metivav1.EnrichedEvent{
			EventId: []byte("0123456789abcdef"), OccurredAtMs: 5, Channel: search, TrafficSource: "google",
			Bot: metivav1.BotClass_BOT_CLASS_NONE, Campaign: &metivav1.Campaign{Medium: "organic", Name: "zomer"},
		}
		change(e)
		return e
	}
	want := source.Touch{AtMs: 5, EventID: [16]byte([]byte("0123456789abcdef")), Channel: search, Source: "google", Medium: "organic", Name: "zomer"}
	if got, ok := source.TouchOf(event(func(*metivav1.EnrichedEvent) {})); !ok || got != want {
		t.Errorf("%v, %v", got, ok)
	}
	for name, change := range map[string]func(*metivav1.EnrichedEvent){
		"internal":     func(e *metivav1.EnrichedEvent) { e.Channel = internal },
		"another type": func(e *metivav1.EnrichedEvent) { e.Channel = 0 },
		"a bot":        func(e *metivav1.EnrichedEvent) { e.Bot = metivav1.BotClass_BOT_CLASS_HOSTING },
		"no id":        func(e *metivav1.EnrichedEvent) { e.EventId = nil },
	} {
		if got, ok := source.TouchOf(event(change)); ok {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestTouches(t *testing.T) {
	t.Parallel()
	at := func(ms int64, channel metivav1.Channel) source.Touch { return source.Touch{AtMs: ms, Channel: channel} }
	for name, tc := range map[string]struct {
		touches     []source.Touch
		first, last source.Touch
	}{
		"none":                      {nil, source.Touch{}, source.Touch{}},
		"one":                       {[]source.Touch{at(1, search)}, at(1, search), at(1, search)},
		"direct comes back":         {[]source.Touch{at(1, search), at(9, direct)}, at(1, search), at(1, search)},
		"direct only":               {[]source.Touch{at(1, direct), at(9, direct)}, at(1, direct), at(9, direct)},
		"direct first":              {[]source.Touch{at(1, direct), at(5, mail), at(9, direct)}, at(1, direct), at(5, mail)},
		"two campaigns":             {[]source.Touch{at(1, mail), at(5, social)}, at(1, mail), at(5, social)},
		"late arrival of the first": {[]source.Touch{at(5, social), at(1, mail)}, at(1, mail), at(5, social)},
	} {
		var got source.Touches
		for _, touch := range tc.touches {
			got = got.Add(touch)
		}
		if got.First != tc.first || got.Last != tc.last {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestTouchesInAnyOrder: any permutation, any repetition and any grouping of the
// same touches have the same outcome.
func TestTouchesInAnyOrder(t *testing.T) {
	t.Parallel()
	for seed := range uint64(5000) {
		rng := rand.New(rand.NewPCG(seed, 1))
		touches := make([]source.Touch, 1+rng.IntN(8))
		var want source.Touches
		for i := range touches {
			id := byte(rng.IntN(24))
			// An event's id goes with its content.
			touches[i] = source.Touch{AtMs: int64(id % 4), EventID: [16]byte{id}, Channel: metivav1.Channel(1 + id%3), Source: string(rune('a' + id))}
			want = want.Add(touches[i])
		}
		repeated := append(touches, touches[:rng.IntN(len(touches)+1)]...)
		rng.Shuffle(len(repeated), func(i, j int) { repeated[i], repeated[j] = repeated[j], repeated[i] })
		cut := rng.IntN(len(repeated) + 1)
		var left, right source.Touches
		for i, touch := range repeated {
			if i < cut {
				left = left.Add(touch)
			} else {
				right = right.Add(touch)
			}
		}
		if a, b := left.Merge(right), right.Merge(left); a != want || b != want {
			t.Fatalf("seed %d: %v and %v, in order %v", seed, a, b, want)
		}
	}
}
