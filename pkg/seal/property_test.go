package seal

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"
)

// TestSwappedBlobsDoNotOpen seals many values for random events, tenants,
// sites, fields and subjects, and opens every blob under every binding: only its
// own opens it, and gives back what was sealed.
func TestSwappedBlobsDoNotOpen(t *testing.T) {
	t.Parallel()
	s := newSealing(t)
	const seed = 20261122
	rnd := rand.New(rand.NewPCG(seed, 1))
	pick := func(from ...string) string { return from[rnd.IntN(len(from))] }
	id := func() [16]byte { return [16]byte{15: byte(1 + rnd.IntN(2))} }
	type value struct {
		binding Binding
		plain   []byte
		blob    []byte
	}
	var values []value
	bindings := map[Binding]bool{}
	for len(bindings) < 150 {
		// Names that run into each other where lengths are not bound.
		b := Binding{
			CompanyID: pick("cmp_a", "cmp_ab", "cmp_"), SiteID: pick("sit", "bsit", "absit"), EventID: id(),
			Field: pick(FieldAddress, FieldUserAgent, "ipx", FormField("e"), FormField("em"), FormField("e.m"), FormField("ip")),
		}
		if b.ofForm() {
			b.SubjectID = id()
		}
		if bindings[b] {
			continue
		}
		bindings[b] = true
		v := value{binding: b, plain: []byte(pick("", "x", "a@b.example"))}
		var err error
		switch {
		case b.ofForm():
			key, keyErr := s.NewSubjectKey(t.Context(), b.CompanyID, b.SubjectID)
			if keyErr != nil {
				t.Fatal(keyErr)
			}
			v.blob, err = key.SealField(nil, b, v.plain)
		case b.Field == FieldAddress:
			if err = s.Prepare(t.Context(), b.CompanyID); err != nil {
				t.Fatal(err)
			}
			v.blob, err = s.SealAddress(nil, b, addressOf(t, "145.221.10.1"))
			v.plain = []byte("145.221.10.0/24")
		default:
			if err = s.Prepare(t.Context(), b.CompanyID); err != nil {
				t.Fatal(err)
			}
			v.blob, err = s.SealBytes(nil, b, v.plain)
		}
		if err != nil {
			t.Fatal(err)
		}
		values = append(values, v)
	}
	opener := NewOpener(s.private)
	for _, rec := range s.published() {
		if err := opener.ApplyKey(RecordKeyOf(rec), recordBytes(t, rec)); err != nil {
			t.Fatal(err)
		}
	}
	for _, v := range values {
		for b := range bindings {
			got, err := openAs(opener, b, v.blob)
			switch {
			case b == v.binding && (err != nil || !bytes.Equal(got, v.plain)):
				t.Fatalf("seed %d: %+v does not open as itself: %q, %v", seed, b, got, err)
			case b != v.binding && (!errors.Is(err, ErrTampered) || len(got) > 0):
				t.Fatalf("seed %d: sealed as %+v, opened as %+v: %v", seed, v.binding, b, err)
			}
		}
	}
}

// openAs opens a blob with the method for the binding's field.
func openAs(o *Opener, b Binding, blob []byte) ([]byte, error) {
	switch {
	case b.Field == FieldAddress:
		network, err := o.OpenAddress(b, blob)
		if err != nil {
			return nil, err
		}
		return []byte(network.Prefix().String()), nil
	case b.ofForm():
		return o.OpenField(nil, b, blob)
	}
	return o.OpenBytes(nil, b, blob)
}

// TestBindingsHaveOneEncoding: no two bindings share their additional data.
func TestBindingsHaveOneEncoding(t *testing.T) {
	t.Parallel()
	parts := []string{"", "a", "ab", "b", "form.", "form.a", "ip", "ip.v1", ".v1", "\x00\x00\x00\x01a"}
	seen := map[string]Binding{}
	for _, company := range parts {
		for _, site := range parts {
			for _, field := range parts {
				for _, subject := range [][16]byte{{}, {1}} {
					b := Binding{CompanyID: company, SiteID: site, Field: field, SubjectID: subject}
					if b.check() != nil {
						continue
					}
					text := string(b.appendTo(nil))
					if other, ok := seen[text]; ok {
						t.Fatalf("%+v and %+v are bound alike", b, other)
					}
					seen[text] = b
				}
			}
		}
	}
}
