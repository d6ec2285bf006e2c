package seal

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/schemas/metivav1"
)

var someSubject = [16]byte{9, 9, 9}

func formBinding(name string) Binding {
	b := binding(FormField(name))
	b.SubjectID = someSubject
	return b
}

func TestFormValuesOpenUnderTheirSubjectOnly(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	key, err := p.NewSubjectKey(t.Context(), "cmp_a", someSubject)
	if err != nil {
		t.Fatal(err)
	}
	blob, err := key.SealField([]byte("head"), formBinding("email"), []byte("a@b.example"))
	if err != nil {
		t.Fatal(err)
	}
	blob = bytes.TrimPrefix(blob, []byte("head"))
	if len(blob) != len("a@b.example")+Overhead {
		t.Errorf("%d bytes", len(blob))
	}
	got, err := p.opener.OpenField([]byte("dst:"), formBinding("email"), blob)
	if err != nil || string(got) != "dst:a@b.example" {
		t.Fatalf("opened %q, %v", got, err)
	}
	for name, change := range map[string]func(*Binding){
		"subject": func(b *Binding) { b.SubjectID[15] ^= 1 },
		"tenant":  func(b *Binding) { b.CompanyID = "cmp_b" },
		"site":    func(b *Binding) { b.SiteID = "sit_b" },
		"event":   func(b *Binding) { b.EventID[0] ^= 1 },
		"field":   func(b *Binding) { b.Field = FormField("name") },
	} {
		other := formBinding("email")
		change(&other)
		if got, err := p.opener.OpenField(nil, other, blob); !errors.Is(err, ErrTampered) || len(got) != 0 {
			t.Errorf("%s swapped: %q, %v", name, got, err)
		}
	}
	// A form's value is no free value, and the reverse.
	if _, err := p.opener.OpenBytes(nil, binding(FieldUserAgent), blob); !errors.Is(err, ErrTampered) {
		t.Errorf("a form's value opened as a user agent: %v", err)
	}
	if _, err := p.opener.OpenBytes(nil, formBinding("email"), blob); !errors.Is(err, ErrField) {
		t.Errorf("OpenBytes took a form's field: %v", err)
	}
	if _, err := p.opener.OpenField(nil, binding(FieldUserAgent), blob); !errors.Is(err, ErrField) {
		t.Errorf("OpenField took a user agent: %v", err)
	}
	if _, err := p.opener.OpenField(nil, binding(FormField("email")), blob); !errors.Is(err, ErrBinding) {
		t.Errorf("opened without a subject: %v", err)
	}
}

func TestSubjectKeySealsItsOwnOnly(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	if err := p.Prepare(t.Context(), "cmp_a"); err != nil {
		t.Fatal(err)
	}
	key, err := p.NewSubjectKey(t.Context(), "cmp_a", someSubject)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*Binding)
		want   error
	}{
		"other subject": {func(b *Binding) { b.SubjectID = [16]byte{1} }, ErrBinding},
		"no subject":    {func(b *Binding) { b.SubjectID = [16]byte{} }, ErrBinding},
		"other tenant":  {func(b *Binding) { b.CompanyID = "cmp_b" }, ErrBinding},
		"address":       {func(b *Binding) { b.Field = FieldAddress }, ErrField},
		"user agent":    {func(b *Binding) { b.Field = FieldUserAgent }, ErrField},
		"empty name":    {func(b *Binding) { b.Field = FormField("") }, ErrField},
	} {
		b := formBinding("email")
		c.change(&b)
		if out, err := key.SealField(nil, b, []byte("x")); !errors.Is(err, c.want) || len(out) != 0 {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	// The day's key takes no form's value, and no subject.
	if _, err := p.SealBytes(nil, formBinding("email"), []byte("x")); !errors.Is(err, ErrField) {
		t.Errorf("a form's value sealed under the day's key: %v", err)
	}
	b := binding(FieldUserAgent)
	b.SubjectID = someSubject
	if _, err := p.SealBytes(nil, b, []byte("x")); !errors.Is(err, ErrBinding) {
		t.Errorf("a user agent with a subject: %v", err)
	}
	b.Field = FieldAddress
	if _, err := p.SealAddress(nil, b, addressOf(t, "145.221.10.1")); !errors.Is(err, ErrBinding) {
		t.Errorf("an address with a subject: %v", err)
	}
	for _, bad := range []struct {
		company string
		subject [16]byte
	}{{"", someSubject}, {"cmp/a", someSubject}, {"cmp_a", [16]byte{}}} {
		if _, err := p.NewSubjectKey(t.Context(), bad.company, bad.subject); !errors.Is(err, ErrBinding) {
			t.Errorf("key for %q, %x: %v", bad.company, bad.subject, err)
		}
	}
}

func TestSubjectKeyEnds(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	key, err := p.NewSubjectKey(t.Context(), "cmp_a", someSubject)
	if err != nil {
		t.Fatal(err)
	}
	p.clock.Set(p.clock.Now().Add(subjectKeyLifetime))
	if _, err := key.SealField(nil, formBinding("email"), []byte("x")); !errors.Is(err, ErrNoKey) {
		t.Errorf("sealed with an old key: %v", err)
	}
	if key, err = p.NewSubjectKey(t.Context(), "cmp_a", someSubject); err != nil {
		t.Fatal(err)
	}
	key.Forget()
	if _, err := key.SealField(nil, formBinding("email"), []byte("x")); !errors.Is(err, ErrNoKey) {
		t.Errorf("sealed with a forgotten key: %v", err)
	}
	if len(p.published) != 2 || p.published[0].GetKeyId() == p.published[1].GetKeyId() {
		t.Errorf("two captures share a key")
	}
}

func TestUnpublishedSubjectKeyIsNone(t *testing.T) {
	t.Parallel()
	lost := errors.New("broker away")
	sealer, err := NewSealer(newPrivateKey(t).Public(), "w", func(context.Context, *metivav1.DataKey) error { return lost }, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if key, err := sealer.NewSubjectKey(t.Context(), "cmp_a", someSubject); key != nil || !errors.Is(err, lost) {
		t.Fatalf("got %v, %v", key, err)
	}
}

// TestMovedSubjectRecord: whoever can write control.keys still cannot make a
// subject's key that of another subject, of another tenant or of a day.
func TestMovedSubjectRecord(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	key, err := p.NewSubjectKey(t.Context(), "cmp_a", someSubject)
	if err != nil {
		t.Fatal(err)
	}
	rec := p.published[0]
	for name, change := range map[string]func(*metivav1.DataKey, *Binding){
		"subject": func(r *metivav1.DataKey, b *Binding) { r.SubjectId[0] ^= 1; b.SubjectID[0] ^= 1 },
		"tenant":  func(r *metivav1.DataKey, b *Binding) { r.CompanyId, b.CompanyID = "cmp_b", "cmp_b" },
		"day":     func(r *metivav1.DataKey, b *Binding) { r.SubjectId = nil; *b = binding(FieldUserAgent) },
	} {
		blob, err := key.SealField(nil, formBinding("email"), []byte("x"))
		if err != nil {
			t.Fatal(err)
		}
		forged, b := proto.CloneOf(rec), formBinding("email")
		change(forged, &b)
		o := NewOpener(p.private)
		if err := o.ApplyKey(RecordKeyOf(forged), recordBytes(t, forged)); err != nil {
			t.Fatal(err)
		}
		open := o.OpenField
		if b.Field == FieldUserAgent {
			open = o.OpenBytes
		}
		if _, err := open(nil, b, blob); !errors.Is(err, ErrUnknownKey) {
			t.Errorf("%s: %v", name, err)
		}
		// Under the first record's name it is not even taken.
		if err := o.ApplyKey(RecordKeyOf(rec), recordBytes(t, forged)); err == nil {
			t.Errorf("%s: a record under another's name was applied", name)
		}
	}
}

func TestSubjectRecordKeys(t *testing.T) {
	t.Parallel()
	rec := &metivav1.DataKey{KeyId: 0xabc, CompanyId: "cmp_a", SubjectId: someSubject[:]}
	const want = "subject/cmp_a/09090900000000000000000000000000/0000000000000abc"
	if got := string(RecordKeyOf(rec)); got != want || got != string(SubjectKeyRecordKey("cmp_a", someSubject, 0xabc)) {
		t.Errorf("got %s", got)
	}
	company, subject, id, ok := ParseSubjectKeyRecordKey([]byte(want))
	if !ok || company != "cmp_a" || subject != someSubject || id != 0xabc {
		t.Errorf("parsed %s %x %x %v", company, subject, id, ok)
	}
	rec.SubjectId = nil
	if got := string(RecordKeyOf(rec)); got != "data/0000000000000abc" {
		t.Errorf("day key: %s", got)
	}
}

func TestDayKeysOnly(t *testing.T) {
	t.Parallel()
	s := newSealing(t)
	v := seenBy(t, s)
	key, err := s.NewSubjectKey(t.Context(), "cmp_a", someSubject)
	if err != nil {
		t.Fatal(err)
	}
	blob, err := key.SealField(nil, formBinding("email"), []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	o := NewOpener(s.private)
	for _, rec := range s.published() {
		if err := o.ApplyDayKey(RecordKeyOf(rec), recordBytes(t, rec)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := o.OpenBytes(nil, v.binding, v.blob); err != nil {
		t.Errorf("a day's value: %v", err)
	}
	if _, err := o.OpenField(nil, formBinding("email"), blob); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("a form's value: %v", err)
	}
}

func TestSealFieldDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		return // the race detector makes pools allocate
	}
	p := newPair(t)
	key, err := p.NewSubjectKey(t.Context(), "cmp_a", someSubject)
	if err != nil {
		t.Fatal(err)
	}
	dst, b, plain := make([]byte, 0, 256), formBinding("email"), []byte("a@b.example")
	if allocs := testing.AllocsPerRun(1000, func() {
		if _, err := key.SealField(dst, b, plain); err != nil {
			t.Fatal(err)
		}
	}); allocs != 0 {
		t.Fatalf("%v allocations a field", allocs)
	}
}
