package schemas

import (
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/metiva-io/metiva/schemas/metivav1"
)

// Enum is a generated protobuf enum.
type Enum interface {
	~int32
	Descriptor() protoreflect.EnumDescriptor
	Number() protoreflect.EnumNumber
}

// Label is the name of an enum value as it stands in metrics, JSON and
// ClickHouse: lower case, without the enum's prefix ("REASON_TOO_OLD" is
// "too_old"). Unknown numbers are "unknown", zero is "none".
func Label[E Enum](e E) string {
	d := e.Descriptor()
	if e.Number() == 0 {
		return "none"
	}
	v := d.Values().ByNumber(e.Number())
	if v == nil {
		return "unknown"
	}
	return strings.ToLower(strings.TrimPrefix(string(v.Name()), enumPrefix(d)))
}

// Labels maps each value of an enum to its Label, for hot paths that must not
// build strings.
func Labels[E Enum](zero E) map[E]string {
	values := zero.Descriptor().Values()
	out := make(map[E]string, values.Len())
	for i := range values.Len() {
		e := E(values.Get(i).Number())
		out[e] = Label(e)
	}
	return out
}

// enumPrefix is what buf's ENUM_VALUE_PREFIX rule puts before each value.
func enumPrefix(d protoreflect.EnumDescriptor) string {
	zero := string(d.Values().ByNumber(0).Name())
	return strings.TrimSuffix(zero, "UNSPECIFIED")
}

// EnrichedOf wraps an event as the value of a record on events.enriched.
func EnrichedOf(e *metivav1.EnrichedEvent) *metivav1.EnrichedRecord {
	return &metivav1.EnrichedRecord{Kind: &metivav1.EnrichedRecord_Event{Event: e}}
}

// DropOf wraps a drop as the value of a record on events.enriched.
func DropOf(d *metivav1.Drop) *metivav1.EnrichedRecord {
	return &metivav1.EnrichedRecord{Kind: &metivav1.EnrichedRecord_Drop{Drop: d}}
}

// Encode marshals a message deterministically, so that golden bytes and
// deduplication see the same bytes for the same message.
func Encode(dst []byte, m proto.Message) ([]byte, error) {
	return proto.MarshalOptions{Deterministic: true}.MarshalAppend(dst, m)
}
