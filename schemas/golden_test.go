package schemas_test

import (
	"bytes"
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

var update = flag.Bool("update", false, "rewrite the golden bytes; only for a message that is new")

// fill sets every field of a message to a value made from its number, so that
// the golden bytes cover each of them.
func fill(m protoreflect.Message) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if oneof := f.ContainingOneof(); oneof != nil {
			branch := m.WhichOneof(oneof)
			if branch != f && (branch != nil || oneof.Fields().Get(0) != f) {
				continue // the branch that is set, or else the first; the others have goldens of their own
			}
		}
		switch {
		case f.IsMap():
			value := protoreflect.ValueOfBytes([]byte("sealed"))
			if f.MapValue().Kind() != protoreflect.BytesKind {
				value = scalar(f.MapValue())
			}
			m.Mutable(f).Map().Set(protoreflect.ValueOfString("field").MapKey(), value)
		case f.IsList() && f.Kind() == protoreflect.MessageKind:
			fill(m.Mutable(f).List().AppendMutable().Message())
		case f.IsList():
			m.Mutable(f).List().Append(scalar(f))
		case f.Kind() == protoreflect.MessageKind:
			fill(m.Mutable(f).Message())
		default:
			m.Set(f, scalar(f))
		}
	}
}

func scalar(f protoreflect.FieldDescriptor) protoreflect.Value {
	n := int64(f.Number())
	switch f.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(string(f.Name()))
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes(bytes.Repeat([]byte{byte(n)}, schemas.IDBytes))
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(true)
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(f.Enum().Values().Get(f.Enum().Values().Len() - 1).Number())
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(int32(n) * 1000)
	case protoreflect.Int64Kind, protoreflect.Sint64Kind:
		return protoreflect.ValueOfInt64(1767225600000 + n)
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(uint32(n) * 1000)
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return protoreflect.ValueOfUint64(uint64(n) << 40)
	case protoreflect.FloatKind:
		return protoreflect.ValueOfFloat32(float32(n) / 16)
	default:
		panic("no golden value for " + f.Kind().String())
	}
}

func TestGoldenBytes(t *testing.T) {
	t.Parallel()
	messages := map[string]proto.Message{
		"collected_event":  &metivav1.CollectedEvent{},
		"click_event":      &metivav1.CollectedEvent{Detail: &metivav1.CollectedEvent_Click{Click: &metivav1.Click{}}},
		"form_event":       &metivav1.CollectedEvent{Detail: &metivav1.CollectedEvent_FormAction{FormAction: &metivav1.FormAction{}}},
		"custom_event":     &metivav1.CollectedEvent{Detail: &metivav1.CollectedEvent_Custom{Custom: &metivav1.CustomEvent{}}},
		"capture_event":    &metivav1.CollectedEvent{Detail: &metivav1.CollectedEvent_FormCapture{FormCapture: &metivav1.FormCapture{}}},
		"enriched_event":   &metivav1.EnrichedRecord{},
		"enriched_click":   schemas.EnrichedOf(&metivav1.EnrichedEvent{Detail: &metivav1.EnrichedEvent_Click{Click: &metivav1.Click{}}}),
		"enriched_form":    schemas.EnrichedOf(&metivav1.EnrichedEvent{Detail: &metivav1.EnrichedEvent_FormAction{FormAction: &metivav1.FormAction{}}}),
		"enriched_custom":  schemas.EnrichedOf(&metivav1.EnrichedEvent{Detail: &metivav1.EnrichedEvent_Custom{Custom: &metivav1.CustomEvent{}}}),
		"enriched_drop":    schemas.DropOf(&metivav1.Drop{}),
		"ledger_entry":     &metivav1.LedgerEntry{},
		"consent_record":   &metivav1.ConsentRecord{},
		"capture":          &metivav1.Capture{},
		"visit":            &metivav1.Visit{},
		"visit_journal":    &metivav1.VisitState{},
		"visit_checkpoint": &metivav1.VisitState{Kind: &metivav1.VisitState_Checkpoint{Checkpoint: &metivav1.VisitCheckpoint{}}},
		"site":             &metivav1.SiteRecord{},
		"data_key":         &metivav1.KeyRecord{},
		"visit_salt":       &metivav1.KeyRecord{Kind: &metivav1.KeyRecord_VisitSalt{VisitSalt: &metivav1.VisitSalt{}}},
		"withdrawal":       &metivav1.Withdrawal{},
		"erasure":          &metivav1.Erasure{},
	}
	for name, m := range messages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fill(m.ProtoReflect())
			got, err := schemas.Encode(nil, m)
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", "v1", name+".hex")
			if *update {
				if err := os.WriteFile(file, []byte(hex.EncodeToString(got)+"\n"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			want, err := hex.DecodeString(strings.TrimSpace(string(raw)))
			if err != nil {
				t.Fatal(err)
			}
			// Old bytes must be read as the same message for ever; new fields
			// may add to what is written.
			back := m.ProtoReflect().New().Interface()
			if err := proto.Unmarshal(want, back); err != nil {
				t.Fatalf("the golden bytes are not readable: %v", err)
			}
			again, err := schemas.Encode(nil, back)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(again, want) {
				t.Errorf("golden bytes are not kept:\n got %x\nwant %x", again, want)
			}
			if len(back.ProtoReflect().GetUnknown()) > 0 {
				t.Error("a field of the golden bytes is no longer known")
			}
			if !bytes.Equal(got, want) {
				t.Errorf("the message has changed: add the new field to the golden bytes with -update, never change old ones\n got %x\nwant %x", got, want)
			}
		})
	}
}
