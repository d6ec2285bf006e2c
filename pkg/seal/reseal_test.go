package seal

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/metiva-io/metiva/schemas/metivav1"
)

func personBinding(name string) Binding {
	b := binding(PersonField(name))
	b.SubjectID = someSubject
	return b
}

// resealing is an opener that knows the key of one capture, and a field of it.
type resealing struct {
	*Opener
	records []*metivav1.DataKey
	blob    []byte
}

func newResealing(t *testing.T) resealing {
	t.Helper()
	p := newPair(t)
	key, err := p.NewSubjectKey(t.Context(), "cmp_a", someSubject)
	if err != nil {
		t.Fatal(err)
	}
	blob, err := key.SealField(nil, formBinding("email"), []byte("A@B.example"))
	if err != nil {
		t.Fatal(err)
	}
	return resealing{Opener: p.opener, records: p.published, blob: blob}
}

func TestResealUnderTheSameKey(t *testing.T) {
	t.Parallel()
	r := newResealing(t)
	sealed, err := r.ResealField([]byte("dst:"), personBinding("email"), r.blob, []byte("a@b.example"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(sealed, []byte("dst:")) {
		t.Fatal("dst was not appended to")
	}
	sealed = sealed[len("dst:"):]
	if len(sealed) != len("a@b.example")+Overhead || !bytes.Equal(sealed[:headerBytes], r.blob[:headerBytes]) {
		t.Errorf("%d bytes under another key", len(sealed))
	}
	again, err := r.ResealField(nil, personBinding("email"), r.blob, []byte("a@b.example"))
	if err != nil || bytes.Equal(again, sealed) || bytes.Contains(again, sealed[headerBytes:headerBytes+nonceBytes]) {
		t.Errorf("two seals share a nonce: %v", err)
	}
	if got, err := r.OpenField(nil, personBinding("email"), sealed); err != nil || string(got) != "a@b.example" {
		t.Errorf("opened %q, %v", got, err)
	}
	for name, change := range map[string]func(*Binding){
		"subject":       func(b *Binding) { b.SubjectID[15] ^= 1 },
		"tenant":        func(b *Binding) { b.CompanyID = "cmp_b" },
		"site":          func(b *Binding) { b.SiteID = "sit_b" },
		"event":         func(b *Binding) { b.EventID[0] ^= 1 },
		"field":         func(b *Binding) { b.Field = PersonField("name") },
		"as it came in": func(b *Binding) { b.Field = FormField("email") },
	} {
		b := personBinding("email")
		change(&b)
		if got, err := r.OpenField(nil, b, sealed); !errors.Is(err, ErrTampered) || len(got) != 0 {
			t.Errorf("%s swapped: %q, %v", name, got, err)
		}
	}
	if got, err := r.OpenField(nil, personBinding("email"), r.blob); !errors.Is(err, ErrTampered) || len(got) != 0 {
		t.Errorf("a form's value opened as a person's: %q, %v", got, err)
	}
}

func TestResealRefuses(t *testing.T) {
	t.Parallel()
	r := newResealing(t)
	for name, c := range map[string]struct {
		change func(*Binding, *[]byte)
		want   error
	}{
		"a form's field":  {func(b *Binding, _ *[]byte) { b.Field = FormField("email") }, ErrField},
		"a user agent":    {func(b *Binding, _ *[]byte) { b.Field = FieldUserAgent }, ErrField},
		"no name":         {func(b *Binding, _ *[]byte) { b.Field = PersonField("") }, ErrField},
		"no subject":      {func(b *Binding, _ *[]byte) { b.SubjectID = [16]byte{} }, ErrBinding},
		"another subject": {func(b *Binding, _ *[]byte) { b.SubjectID[0] ^= 1 }, ErrTampered},
		"another tenant":  {func(b *Binding, _ *[]byte) { b.CompanyID = "cmp_b" }, ErrTampered},
		"unknown key":     {func(_ *Binding, blob *[]byte) { (*blob)[5] ^= 1 }, ErrUnknownKey},
		"no blob":         {func(_ *Binding, blob *[]byte) { *blob = (*blob)[:Overhead-1] }, ErrTampered},
		"another version": {func(_ *Binding, blob *[]byte) { (*blob)[0] = 9 }, ErrTampered},
	} {
		b, blob := personBinding("email"), bytes.Clone(r.blob)
		c.change(&b, &blob)
		if out, err := r.ResealField(nil, b, blob, []byte("x")); !errors.Is(err, c.want) || len(out) != 0 {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	// The key of a day seals no person's value, and a person's field is no free one.
	p := newPair(t)
	if err := p.Prepare(t.Context(), "cmp_a"); err != nil {
		t.Fatal(err)
	}
	agent, err := p.SealBytes(nil, binding(FieldUserAgent), []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.opener.ResealField(nil, personBinding("email"), agent, []byte("x")); !errors.Is(err, ErrTampered) {
		t.Errorf("sealed under a day's key: %v", err)
	}
	if _, err := p.SealBytes(nil, personBinding("email"), []byte("x")); !errors.Is(err, ErrField) {
		t.Errorf("the collector sealed a person's value under a day's key: %v", err)
	}
}

func TestResealEndsWithTheKey(t *testing.T) {
	t.Parallel()
	r := newResealing(t)
	key := r.keys[r.records[0].GetKeyId()]
	key.resealed.Store(resealMax - 1)
	for i, want := range []error{nil, ErrNoKey} {
		if _, err := r.ResealField(nil, personBinding("email"), r.blob, []byte("x")); !errors.Is(err, want) {
			t.Errorf("message %d: %v, want %v", i, err, want)
		}
	}
	if err := r.ApplyKey(RecordKeyOf(r.records[0]), nil); err != nil {
		t.Fatal(err)
	}
	if out, err := r.ResealField(nil, personBinding("email"), r.blob, []byte("x")); !errors.Is(err, ErrShredded) || len(out) != 0 {
		t.Errorf("sealed under a destroyed key: %v", err)
	}
}

// TestOldSubjectKeysAreLeftOut: of the subjects' keys the recent ones alone are held,
// and a destroyed one stays destroyed.
func TestOldSubjectKeysAreLeftOut(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	made := p.clock.Now()
	seal := func() ([]byte, *metivav1.DataKey) {
		key, err := p.NewSubjectKey(t.Context(), "cmp_a", someSubject)
		if err != nil {
			t.Fatal(err)
		}
		blob, err := key.SealField(nil, formBinding("email"), []byte("x"))
		if err != nil {
			t.Fatal(err)
		}
		return blob, p.published[len(p.published)-1]
	}
	oldBlob, oldKey := seal()
	p.clock.Set(made.Add(time.Hour))
	newBlob, newKey := seal()
	shreddedBlob, shreddedKey := seal()
	o := NewOpener(p.private)
	apply := func(rec *metivav1.DataKey) {
		t.Helper()
		if err := o.ApplyKeySince(made.Add(time.Minute), RecordKeyOf(rec), recordBytes(t, rec)); err != nil {
			t.Fatal(err)
		}
	}
	open := func(name string, blob []byte, want error) {
		t.Helper()
		if _, err := o.OpenField(nil, formBinding("email"), blob); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
	for _, rec := range []*metivav1.DataKey{oldKey, newKey, shreddedKey} {
		apply(rec)
	}
	if err := o.ApplyKeySince(made.Add(time.Minute), RecordKeyOf(shreddedKey), nil); err != nil {
		t.Fatal(err)
	}
	open("old", oldBlob, ErrUnknownKey)
	open("new", newBlob, nil)
	open("destroyed", shreddedBlob, ErrShredded)
	if n := o.ForgetSubjectKeys(made.Add(time.Minute)); n != 0 {
		t.Errorf("forgot %d keys that are not old", n)
	}
	if n := o.ForgetSubjectKeys(made.Add(2 * time.Hour)); n != 1 {
		t.Errorf("forgot %d keys, want 1", n)
	}
	open("forgotten", newBlob, ErrUnknownKey)
	open("destroyed before", shreddedBlob, ErrShredded)
	apply(shreddedKey)
	open("destroyed and published again", shreddedBlob, ErrShredded)
}
