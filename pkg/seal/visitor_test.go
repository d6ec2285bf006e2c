package seal

import (
	"bytes"
	"errors"
	"net/netip"
	"testing"
	"time"
)

func TestSealVisitorSealsWhatTheOthersDo(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	agent := []byte("Mozilla/5.0 (X11; Linux x86_64)")
	if a, b, err := p.SealVisitor(nil, nil, binding(""), addressOf(t, "145.221.10.1"), agent); !errors.Is(err, ErrNoKey) || len(a)+len(b) > 0 {
		t.Errorf("without a key: %d and %d bytes, %v", len(a), len(b), err)
	}
	if err := p.Prepare(t.Context(), "cmp_a"); err != nil {
		t.Fatal(err)
	}
	address, sealed, err := p.SealVisitor([]byte("a"), []byte("b"), binding(FieldUserAgent), addressOf(t, "145.221.10.1"), agent)
	if err != nil || address[0] != 'a' || sealed[0] != 'b' {
		t.Fatal(err)
	}
	address, sealed = address[1:], sealed[1:]
	if got, err := p.opener.OpenAddress(binding(FieldAddress), address); err != nil || got.Prefix().String() != "145.221.10.0/24" {
		t.Errorf("the address opened as %s, %v", got.Prefix(), err)
	}
	if got, err := p.opener.OpenBytes(nil, binding(FieldUserAgent), sealed); err != nil || !bytes.Equal(got, agent) {
		t.Errorf("the user agent opened as %q, %v", got, err)
	}
	for name, open := range map[string]error{
		"address as user agent": second(p.opener.OpenBytes(nil, binding(FieldUserAgent), address)),
		"user agent as address": second(p.opener.OpenAddress(binding(FieldAddress), sealed)),
	} {
		if !errors.Is(open, ErrTampered) {
			t.Errorf("%s: %v", name, open)
		}
	}
	if used := p.lookup("cmp_a").used.Load(); used != 2 {
		t.Errorf("%d messages counted, want 2", used)
	}
	if _, sealed, err := p.SealVisitor(nil, nil, binding(""), addressOf(t, "145.221.10.1"), nil); err != nil || len(sealed) != 0 || p.lookup("cmp_a").used.Load() != 3 {
		t.Errorf("without a user agent: %d bytes, %v", len(sealed), err)
	}
	if _, _, err := p.SealVisitor(nil, nil, binding(""), Address{}, agent); !errors.Is(err, ErrInvalidAddress) {
		t.Errorf("without an address: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

// Neither may pass the end of the key's day or of its messages.
func TestSealVisitorEndsWithItsKey(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.limit = 3
	if err := p.Prepare(t.Context(), "cmp_a"); err != nil {
		t.Fatal(err)
	}
	seal := func() error {
		_, _, err := p.SealVisitor(nil, nil, binding(""), addressOf(t, "145.221.10.1"), []byte("agent"))
		return err
	}
	if err := seal(); err != nil {
		t.Fatal(err)
	}
	if err := seal(); !errors.Is(err, ErrNoKey) {
		t.Errorf("with one message left: %v", err)
	}
	if err := p.Prepare(t.Context(), "cmp_a"); err != nil {
		t.Fatal(err)
	}
	if err := seal(); err != nil {
		t.Errorf("with a new key: %v", err)
	}
	p.clock.Set(p.clock.Now().Add(24 * time.Hour))
	if err := seal(); !errors.Is(err, ErrNoKey) {
		t.Errorf("the day after: %v", err)
	}
}

func TestSealVisitorDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		return // the race detector makes pools allocate
	}
	p := newPair(t)
	if err := p.Prepare(t.Context(), "cmp_a"); err != nil {
		t.Fatal(err)
	}
	address, agent, scratch, ip := make([]byte, 0, SealedAddressBytes), make([]byte, 0, 128), NewScratch(), netip.MustParseAddr("145.221.10.1")
	plain := []byte("Mozilla/5.0 (X11; Linux x86_64)")
	if allocs := testing.AllocsPerRun(1000, func() {
		if _, _, err := p.SealVisitor(address, agent, binding(""), AddressOf(ip, scratch), plain); err != nil {
			t.Fatal(err)
		}
	}); allocs != 0 {
		t.Errorf("%v allocations per visitor", allocs)
	}
}

// lookup is the tenant's key, usable or not; nil: there is none.
func (s *Sealer) lookup(companyID string) *dataKey {
	value, ok := s.tenants.Load(companyID)
	if !ok {
		return nil
	}
	return s.keyOf(value.(*tenantKey))
}
