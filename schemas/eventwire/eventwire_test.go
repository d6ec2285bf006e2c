package eventwire_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/eventwire"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// fill sets every field of a message, and of a oneof the branch of that number; a
// field that is added to the contract is covered from then on. Texts are of the
// given length.
func fill(m protoreflect.Message, branch protoreflect.FieldNumber, length int) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		switch {
		case f.ContainingOneof() != nil && f.Number() != branch:
		case f.IsMap():
			value := scalar(f.MapValue(), length)
			m.Mutable(f).Map().Set(protoreflect.ValueOfString("b").MapKey(), value)
			m.Mutable(f).Map().Set(protoreflect.ValueOfString("a").MapKey(), value)
		case f.IsList() && f.Kind() == protoreflect.MessageKind:
			for range 3 { // the last is empty
				m.Mutable(f).List().AppendMutable()
			}
			fill(m.Mutable(f).List().Get(0).Message(), branch, length)
			fill(m.Mutable(f).List().Get(1).Message(), branch, length)
		case f.IsList():
			m.Mutable(f).List().Append(scalar(f, length))
			m.Mutable(f).List().Append(scalar(f, 0))
		case f.Kind() == protoreflect.MessageKind:
			fill(m.Mutable(f).Message(), branch, length)
		default:
			m.Set(f, scalar(f, length))
		}
	}
}

func scalar(f protoreflect.FieldDescriptor, length int) protoreflect.Value {
	n := int64(f.Number())
	switch f.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(string(bytes.Repeat([]byte("é"), length)))
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes(bytes.Repeat([]byte{byte(n)}, length))
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(true)
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(-3) // a value that is not known, of ten bytes
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(int32(-n))
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(n << 40)
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(uint32(n) << 20)
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(uint64(n) << 50)
	case protoreflect.FloatKind:
		return protoreflect.ValueOfFloat32(float32(n) / 3)
	default:
		panic("a kind of field this test does not know")
	}
}

// lengths of texts: none, one and two bytes of length for a field, a message and
// the record.
func lengths() []int { return []int{0, 1, 20, 64, 300, 3000} }

// branches are the details of a message, and none.
func branches(m proto.Message) []protoreflect.FieldNumber {
	out := []protoreflect.FieldNumber{0}
	fields := m.ProtoReflect().Descriptor().Oneofs().ByName("detail").Fields()
	for i := range fields.Len() {
		out = append(out, fields.Get(i).Number())
	}
	return out
}

func generated(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := schemas.Encode(nil, m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// compare decodes with both and reports a difference.
func compare(t *testing.T, c *eventwire.Collected, value []byte) {
	t.Helper()
	want := new(metivav1.CollectedEvent)
	wantErr, gotErr := proto.Unmarshal(value, want), c.Decode(value)
	if (wantErr == nil) != (gotErr == nil) {
		t.Fatalf("the generated code says %v, this one %v", wantErr, gotErr)
	}
	if wantErr == nil && !proto.Equal(want, &c.Event) {
		t.Fatalf("the generated code reads %.300v, this one %.300v", want, &c.Event)
	}
}

// TestDecodeKnowsEveryField: in every form collectors write, and in memory that
// another event was in.
func TestDecodeKnowsEveryField(t *testing.T) {
	t.Parallel()
	var c eventwire.Collected
	for _, length := range lengths() {
		for _, branch := range branches(&metivav1.CollectedEvent{}) {
			e := &metivav1.CollectedEvent{}
			fill(e.ProtoReflect(), branch, length)
			compare(t, &c, generated(t, e))
			compare(t, &c, nil)
			compare(t, &c, generated(t, &metivav1.CollectedEvent{Campaign: &metivav1.Campaign{}}))
		}
	}
}

// TestTextsMayBeKept: what later events bring does not change the texts of earlier
// ones.
func TestTextsMayBeKept(t *testing.T) {
	t.Parallel()
	var c eventwire.Collected
	var paths, hosts []string
	const events = 3000
	for i := range events {
		e := &metivav1.CollectedEvent{Host: fmt.Sprintf("%d.example", i%700), Path: fmt.Sprintf("/%d%s", i, strings.Repeat("x", i%1500))}
		if err := c.Decode(generated(t, e)); err != nil {
			t.Fatal(err)
		}
		paths, hosts = append(paths, c.Event.GetPath()), append(hosts, c.Event.GetHost())
	}
	for i := range events {
		if hosts[i] != fmt.Sprintf("%d.example", i%700) || paths[i] != fmt.Sprintf("/%d%s", i, strings.Repeat("x", i%1500)) {
			t.Fatalf("event %d has another text now", i)
		}
	}
}

// TestDecodeAllocatesOnce: at most, for the texts of an event.
func TestDecodeAllocatesOnce(t *testing.T) {
	var c eventwire.Collected
	for _, branch := range []protoreflect.FieldNumber{0, 23, 24, 25} {
		e := &metivav1.CollectedEvent{}
		fill(e.ProtoReflect(), branch, 16)
		value := generated(t, e)
		if n := testing.AllocsPerRun(100, func() {
			if err := c.Decode(value); err != nil {
				t.Fatal(err)
			}
		}); n > 1 {
			t.Errorf("with detail %d: %.0f allocations", branch, n)
		}
	}
}

// TestEncodeIsTheGeneratedOne: byte by byte, and behind what dst held.
func TestEncodeIsTheGeneratedOne(t *testing.T) {
	t.Parallel()
	for _, length := range lengths() {
		for _, branch := range branches(&metivav1.EnrichedEvent{}) {
			e := &metivav1.EnrichedEvent{}
			fill(e.ProtoReflect(), branch, length)
			same(t, e)
		}
	}
	same(t, &metivav1.EnrichedEvent{})
	same(t, &metivav1.EnrichedEvent{Resolution: &metivav1.Resolution{}, Campaign: &metivav1.Campaign{}, Source: &metivav1.SourceRef{}})
}

func same(t *testing.T, e *metivav1.EnrichedEvent) {
	t.Helper()
	got, err := eventwire.AppendEnriched([]byte("before"), e)
	if err != nil {
		t.Fatal(err)
	}
	if want := append([]byte("before"), generated(t, schemas.EnrichedOf(e))...); !bytes.Equal(got, want) {
		t.Errorf("other bytes from %d of %d on", firstDifference(got, want), len(want))
	}
}

func firstDifference(a, b []byte) int {
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] {
		i++
	}
	return i
}

// TestEncodeRefusesText that is not UTF-8, as the generated code does.
func TestEncodeRefusesText(t *testing.T) {
	t.Parallel()
	for name, e := range map[string]*metivav1.EnrichedEvent{
		"path": {Path: "\xff"}, "name": {Resolution: &metivav1.Resolution{Name: "\xff"}},
		"custom": {Detail: &metivav1.EnrichedEvent_Custom{Custom: &metivav1.CustomEvent{Name: "\xff"}}},
	} {
		got, err := eventwire.AppendEnriched([]byte("x"), e)
		if err == nil || string(got) != "x" || bytes.Contains([]byte(err.Error()), []byte("\xff")) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// carried is the enriched event that takes over what a collected one has.
func carried(e *metivav1.CollectedEvent) *metivav1.EnrichedEvent {
	return &metivav1.EnrichedEvent{
		EventId: e.GetEventId(), CompanyId: e.GetCompanyId(), BrandId: e.GetBrandId(), SiteId: e.GetSiteId(), Type: e.GetType(),
		ReceivedAtMs: e.GetReceivedAtMs(), OccurredAtMs: e.GetOccurredAtMs(), EnrichedAtMs: 7, Host: e.GetHost(), Path: e.GetPath(),
		ReferrerHost: e.GetReferrerHost(), Campaign: e.GetCampaign(), WriterId: e.GetWriterId(), Country: "NL",
	}
}

// TestEncodeFromIsTheGeneratedOne: whatever of the event was changed since it was read.
func TestEncodeFromIsTheGeneratedOne(t *testing.T) {
	t.Parallel()
	changes := map[string]func(*metivav1.EnrichedEvent){
		"nothing":  func(*metivav1.EnrichedEvent) {},
		"id":       func(e *metivav1.EnrichedEvent) { e.EventId = []byte("another") },
		"tenant":   func(e *metivav1.EnrichedEvent) { e.CompanyId = "cmp_another" },
		"brand":    func(e *metivav1.EnrichedEvent) { e.BrandId = "" },
		"site":     func(e *metivav1.EnrichedEvent) { e.SiteId += "x" },
		"type":     func(e *metivav1.EnrichedEvent) { e.Type = metivav1.EventType_EVENT_TYPE_CLICK },
		"received": func(e *metivav1.EnrichedEvent) { e.ReceivedAtMs++ },
		"occurred": func(e *metivav1.EnrichedEvent) { e.OccurredAtMs = 0 },
		"path":     func(e *metivav1.EnrichedEvent) { e.Path = "/another" },
		"campaign": func(e *metivav1.EnrichedEvent) { e.Campaign = &metivav1.Campaign{Name: "another"} },
		"writer":   func(e *metivav1.EnrichedEvent) { e.WriterId = "" },
	}
	var c eventwire.Collected
	for _, length := range lengths() {
		of := &metivav1.CollectedEvent{}
		fill(of.ProtoReflect(), 23, length)
		for _, kind := range []metivav1.EventType{0, 1, 127, 128, -3} {
			of.Type = kind
			value := generated(t, of)
			for name, change := range changes {
				if err := c.Decode(value); err != nil {
					t.Fatal(err)
				}
				e := carried(&c.Event)
				change(e)
				got, err := eventwire.AppendEnrichedFrom([]byte("before"), e, &c)
				if want := append([]byte("before"), generated(t, schemas.EnrichedOf(e))...); err != nil || !bytes.Equal(got, want) {
					t.Errorf("%s, texts of %d: other bytes from %d of %d on, %v", name, length, firstDifference(got, want), len(want), err)
				}
			}
			if err := c.Decode(value); err != nil {
				t.Fatal(err)
			}
			for name, broken := range map[string]*metivav1.EnrichedEvent{"path": {Path: "\xff"}, "tenant": {CompanyId: "\xff"}, "writer": {WriterId: "\xff"}} {
				if got, err := eventwire.AppendEnrichedFrom([]byte("x"), broken, &c); err == nil || string(got) != "x" {
					t.Errorf("%s that is not UTF-8: %q", name, got)
				}
			}
		}
	}
}

// TestEncodeFromWhatWasNotRead: texts of a record that could not be read are not taken
// for UTF-8.
func TestEncodeFromWhatWasNotRead(t *testing.T) {
	t.Parallel()
	var c eventwire.Collected
	if err := c.Decode([]byte{14<<3 | 2, 1, 'a', 15<<3 | 2, 1, 0xff}); err == nil {
		t.Fatal("a path that is not UTF-8 was read")
	}
	c.Event.Path = "\xff"
	if _, err := eventwire.AppendEnrichedFrom(nil, carried(&c.Event), &c); err == nil {
		t.Error("a path that is not UTF-8 was written")
	}
}

// FuzzDecode: of any bytes both decoders say the same, and what they read is
// written back alike.
func FuzzDecode(f *testing.F) {
	for _, branch := range branches(&metivav1.CollectedEvent{}) {
		e := &metivav1.CollectedEvent{}
		fill(e.ProtoReflect(), branch, 16)
		value := generated(f, e)
		f.Add(value)
		f.Add(append(value, value...)) // every field twice
		f.Add(append(value, 0xf8, 0x07, 1))
		f.Add(value[:len(value)-1])
	}
	f.Add([]byte{1<<3 | 2, 1, 1, 2<<3 | 2, 1, 'c', 3<<3 | 2, 1, 'b', 4<<3 | 2, 1, 's', 5 << 3, 1, 6 << 3, 0x81, 0, 7 << 3, 1})
	f.Add([]byte{1<<3 | 2, 1, 1, 2<<3 | 2, 0x81, 0, 'c', 3<<3 | 2, 1, 'b', 4<<3 | 2, 1, 's', 5 << 3, 1, 6 << 3, 1, 7 << 3, 1})
	f.Add([]byte{1<<3 | 2, 1, 1, 2<<3 | 2, 1, 'c', 3<<3 | 2, 1, 'b', 4<<3 | 2, 1, 's', 5 << 3, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 6 << 3, 1, 7 << 3, 1})
	f.Add([]byte{1 << 3, 5, 0x0a, 0, 0x12, 1, 0xff})
	f.Add([]byte{0x8a, 0x01, 4, 0x0a, 0, 0x0a, 0})
	f.Add([]byte{5 << 3, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 0x85, 0})
	f.Fuzz(func(t *testing.T, value []byte) {
		var c eventwire.Collected
		compare(t, &c, value)
		e := &metivav1.EnrichedEvent{EventId: c.Event.GetEventId(), CompanyId: c.Event.GetCompanyId(), Path: c.Event.GetPath(), Campaign: c.Event.GetCampaign(), Type: c.Event.GetType()}
		if custom := c.Event.GetCustom(); custom != nil {
			e.Detail = &metivav1.EnrichedEvent_Custom{Custom: custom}
		}
		if len(e.GetCampaign().ProtoReflect().GetUnknown()) > 0 || len(e.GetCustom().ProtoReflect().GetUnknown()) > 0 {
			return
		}
		want, err := schemas.Encode(nil, schemas.EnrichedOf(e))
		if whole, wholeErr := schemas.Encode(nil, schemas.EnrichedOf(carried(&c.Event))); wholeErr == nil {
			from, fromErr := eventwire.AppendEnrichedFrom(nil, carried(&c.Event), &c)
			if fromErr != nil || !bytes.Equal(from, whole) {
				t.Errorf("carried over: other bytes from %d of %d on, %v", firstDifference(from, whole), len(whole), fromErr)
			}
		}
		got, gotErr := eventwire.AppendEnriched(nil, e)
		if (err == nil) != (gotErr == nil) || err == nil && !bytes.Equal(got, want) {
			t.Errorf("other bytes from %d of %d on, %v and %v", firstDifference(got, want), len(want), gotErr, err)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	e := &metivav1.CollectedEvent{}
	fill(e.ProtoReflect(), 23, 16)
	value := generated(b, e)
	b.Run("here", func(b *testing.B) {
		var c eventwire.Collected
		b.ReportAllocs()
		for b.Loop() {
			if err := c.Decode(value); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("generated", func(b *testing.B) {
		var c metivav1.CollectedEvent
		b.ReportAllocs()
		for b.Loop() {
			if err := proto.Unmarshal(value, &c); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkAppendEnriched(b *testing.B) {
	e := &metivav1.EnrichedEvent{}
	fill(e.ProtoReflect(), 27, 16)
	var dst []byte
	b.Run("here", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			dst, _ = eventwire.AppendEnriched(dst[:0], e)
		}
	})
	b.Run("generated", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			dst, _ = schemas.Encode(dst[:0], schemas.EnrichedOf(e))
		}
	})
}
