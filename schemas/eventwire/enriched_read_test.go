package eventwire_test

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/eventwire"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// compareEnriched decodes with both and reports a difference.
func compareEnriched(t *testing.T, m *eventwire.Enriched, value []byte) {
	t.Helper()
	want := new(metivav1.EnrichedRecord)
	wantErr := proto.Unmarshal(value, want)
	event, drop, gotErr := m.Decode(value)
	if (wantErr == nil) != (gotErr == nil) {
		t.Fatalf("the generated code says %v, this one %v", wantErr, gotErr)
	}
	if wantErr != nil {
		return
	}
	if (event == nil) != (want.GetEvent() == nil) || (drop == nil) != (want.GetDrop() == nil) {
		t.Fatalf("the generated code reads %.300v, this one %v and %v", want, event, drop)
	}
	if event != nil && !proto.Equal(want.GetEvent(), event) || drop != nil && !proto.Equal(want.GetDrop(), drop) {
		t.Fatalf("the generated code reads %.300v, this one %.300v and %.300v", want, event, drop)
	}
}

// TestDecodeEnrichedKnowsEveryField: in every form enrich writes, and in memory that
// other events were in.
func TestDecodeEnrichedKnowsEveryField(t *testing.T) {
	t.Parallel()
	var m eventwire.Enriched
	for _, length := range lengths() {
		for _, branch := range branches(&metivav1.EnrichedEvent{}) {
			e := &metivav1.EnrichedEvent{}
			fill(e.ProtoReflect(), branch, length)
			compareEnriched(t, &m, generated(t, schemas.EnrichedOf(e)))
			compareEnriched(t, &m, generated(t, schemas.EnrichedOf(&metivav1.EnrichedEvent{Campaign: &metivav1.Campaign{}})))
			m.Reset(1)
			compareEnriched(t, &m, generated(t, schemas.EnrichedOf(&metivav1.EnrichedEvent{})))
		}
	}
	d := &metivav1.Drop{}
	fill(d.ProtoReflect(), 0, 16)
	for _, value := range [][]byte{nil, generated(t, schemas.DropOf(d)), {0x0a}, {0x0a, 0}, {0x12, 0}} {
		compareEnriched(t, &m, value)
	}
}

// TestEnrichedStandUntilReset: the events of a batch are apart from each other.
func TestEnrichedStandUntilReset(t *testing.T) {
	t.Parallel()
	var m eventwire.Enriched
	const events = 1000
	for round := range 3 {
		var all []*metivav1.EnrichedEvent
		for i := range events {
			e := &metivav1.EnrichedEvent{Host: fmt.Sprintf("%d.example", i%700), Path: fmt.Sprintf("/%d%s", i, strings.Repeat("x", i%1500))}
			if i%2 == 0 {
				e.Resolution = &metivav1.Resolution{Asn: uint32(i + round)}
			}
			event, _, err := m.Decode(generated(t, schemas.EnrichedOf(e)))
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, event)
		}
		for i, e := range all {
			want := uint32(0)
			if i%2 == 0 {
				want = uint32(i + round)
			}
			if e.GetHost() != fmt.Sprintf("%d.example", i%700) || e.GetPath() != fmt.Sprintf("/%d%s", i, strings.Repeat("x", i%1500)) || e.GetResolution().GetAsn() != want {
				t.Fatalf("round %d: event %d is another now: %v", round, i, e)
			}
		}
		m.Reset(events / 2)
	}
}

// TestDecodeEnrichedDoesNotAllocate beyond the pieces of texts.
func TestDecodeEnrichedDoesNotAllocate(t *testing.T) {
	var m eventwire.Enriched
	for _, branch := range []protoreflect.FieldNumber{0, 27, 28, 29} {
		e := &metivav1.EnrichedEvent{}
		fill(e.ProtoReflect(), branch, 16)
		value := generated(t, schemas.EnrichedOf(e))
		if n := testing.AllocsPerRun(100, func() {
			m.Reset(10)
			for range 10 {
				if _, _, err := m.Decode(value); err != nil {
					t.Fatal(err)
				}
			}
		}); n > 5 {
			t.Errorf("with detail %d: %.0f allocations of ten events", branch, n)
		}
	}
}

// FuzzDecodeEnriched: of any bytes both decoders say the same.
func FuzzDecodeEnriched(f *testing.F) {
	for _, branch := range branches(&metivav1.EnrichedEvent{}) {
		e := &metivav1.EnrichedEvent{}
		fill(e.ProtoReflect(), branch, 16)
		value := generated(f, schemas.EnrichedOf(e))
		f.Add(value)
		f.Add(append(value, value...))
		f.Add(append(value, 0xf8, 0x07, 1))
		f.Add(value[:len(value)-1])
	}
	f.Add(generated(f, schemas.DropOf(&metivav1.Drop{CompanyId: "cmp_a"})))
	f.Fuzz(func(t *testing.T, value []byte) {
		var m eventwire.Enriched
		compareEnriched(t, &m, value)
	})
}

func BenchmarkDecodeEnriched(b *testing.B) {
	e := &metivav1.EnrichedEvent{}
	fill(e.ProtoReflect(), 27, 16)
	value := generated(b, schemas.EnrichedOf(e))
	b.Run("here", func(b *testing.B) {
		var m eventwire.Enriched
		b.ReportAllocs()
		for b.Loop() {
			m.Reset(1)
			if _, _, err := m.Decode(value); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("generated", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := proto.Unmarshal(value, new(metivav1.EnrichedRecord)); err != nil {
				b.Fatal(err)
			}
		}
	})
}
