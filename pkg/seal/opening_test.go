package seal

import (
	"errors"
	"slices"
	"testing"
)

// TestAnOpeningOpensWhatItsOpenerDoes: addresses and agents, under their binding only,
// from when the key is known until it is destroyed.
func TestAnOpeningOpensWhatItsOpenerDoes(t *testing.T) {
	t.Parallel()
	p, in := newPair(t), NewOpening()
	if err := p.Prepare(t.Context(), "cmp_a"); err != nil {
		t.Fatal(err)
	}
	address, err := p.SealAddress(nil, binding(FieldAddress), addressOf(t, "145.221.10.1"))
	if err != nil {
		t.Fatal(err)
	}
	agent, err := p.SealBytes(nil, binding(FieldUserAgent), []byte("an agent"))
	if err != nil {
		t.Fatal(err)
	}
	record := p.published[0]
	late := NewOpener(p.private)
	if _, err := late.OpenAddressIn(in, binding(FieldAddress), address); !errors.Is(err, ErrUnknownKey) {
		t.Fatalf("a key that is not known: %v", err)
	}
	if err := late.ApplyKey(RecordKeyOf(record), recordBytes(t, record)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		got, err := late.OpenAddressIn(in, binding(FieldAddress), address)
		if err != nil || got.Prefix().String() != "145.221.10.0/24" {
			t.Fatalf("%v, %v", got, err)
		}
		text, err := late.OpenBytesIn(in, []byte("> "), binding(FieldUserAgent), agent)
		if err != nil || string(text) != "> an agent" {
			t.Fatalf("%q, %v", text, err)
		}
	}
	in.Forget()
	if in.address.get().IsValid() {
		t.Error("an opened network is left in memory")
	}
	if in.buffer.address != [addressBytes]byte{} {
		t.Error("an address is left in memory")
	}
	other := binding(FieldAddress)
	other.SiteID = "sit_b"
	if _, err := late.OpenAddressIn(in, other, address); !errors.Is(err, ErrTampered) {
		t.Errorf("another site's: %v", err)
	}
	if _, err := late.OpenAddressIn(in, binding(FieldUserAgent), agent); !errors.Is(err, ErrField) {
		t.Errorf("an agent as an address: %v", err)
	}
	for _, field := range []string{FieldAddress, "", FormField("email")} {
		if _, err := late.OpenBytesIn(in, nil, binding(field), address); !errors.Is(err, ErrField) {
			t.Errorf("%q: %v", field, err)
		}
	}
	damaged := slices.Clone(agent)
	damaged[len(damaged)-1] ^= 1
	if _, err := late.OpenBytesIn(in, nil, binding(FieldUserAgent), damaged); !errors.Is(err, ErrTampered) {
		t.Errorf("damaged: %v", err)
	}
	if err := late.ApplyKey(RecordKeyOf(record), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := late.OpenAddressIn(in, binding(FieldAddress), address); !errors.Is(err, ErrShredded) {
		t.Errorf("destroyed: %v", err)
	}
}

// TestAnOpeningAllocatesTheAddressAlone: an agent costs no allocation.
func TestAnOpeningAllocatesTheAddressAlone(t *testing.T) {
	p, in := newPair(t), NewOpening()
	if err := p.Prepare(t.Context(), "cmp_a"); err != nil {
		t.Fatal(err)
	}
	address, err := p.SealAddress(nil, binding(FieldAddress), addressOf(t, "145.221.10.1"))
	if err != nil {
		t.Fatal(err)
	}
	agent, err := p.SealBytes(nil, binding(FieldUserAgent), []byte("an agent"))
	if err != nil {
		t.Fatal(err)
	}
	dst := make([]byte, 0, 64)
	if n := testing.AllocsPerRun(100, func() {
		_, _ = p.opener.OpenAddressIn(in, binding(FieldAddress), address)
		_, _ = p.opener.OpenBytesIn(in, dst, binding(FieldUserAgent), agent)
	}); n > 1 {
		t.Errorf("%.0f allocations", n)
	}
}
