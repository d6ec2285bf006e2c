package seal

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/schemas/metivav1"
)

// clock is a settable time source.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = t
}

// newPrivateKey makes a resolver or edge key.
func newPrivateKey(t testing.TB) PrivateKey {
	t.Helper()
	key, err := kem().GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := key.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	priv, err := parsePrivateKey(raw)
	if err != nil {
		t.Fatal(err)
	}
	return priv
}

// pair is a Sealer whose keys reach an Opener.
type pair struct {
	*Sealer
	opener    *Opener
	clock     *clock
	private   PrivateKey
	published []*metivav1.DataKey
}

func newPair(t testing.TB) *pair {
	t.Helper()
	priv := newPrivateKey(t)
	p := &pair{private: priv, opener: NewOpener(priv), clock: newClock()}
	sealer, err := NewSealer(priv.Public(), "writer-1", func(_ context.Context, rec *metivav1.DataKey) error {
		p.published = append(p.published, rec)
		return p.opener.ApplyKey(RecordKeyOf(rec), recordBytes(t, rec))
	}, p.clock.Now)
	if err != nil {
		t.Fatal(err)
	}
	p.Sealer = sealer
	return p
}

func recordBytes(t testing.TB, rec *metivav1.DataKey) []byte {
	t.Helper()
	value, err := proto.Marshal(&metivav1.KeyRecord{Kind: &metivav1.KeyRecord_DataKey{DataKey: rec}})
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func binding(field string) Binding {
	return Binding{CompanyID: "cmp_a", SiteID: "sit_a", EventID: [16]byte{1, 2, 3}, Field: field}
}

func addressOf(t testing.TB, text string) Address {
	t.Helper()
	return AddressOf(netip.MustParseAddr(text), NewScratch())
}

func TestAddressRoundTripIsTruncated(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	if err := p.Prepare(t.Context(), "cmp_a"); err != nil {
		t.Fatal(err)
	}
	for received, want := range map[string]string{
		"145.221.10.1":              "145.221.10.0/24",
		"255.255.255.255":           "255.255.255.0/24",
		"::ffff:145.221.10.77":      "145.221.10.0/24",
		"2001:610:1908:8000::1":     "2001:610:1908::/48",
		"fe80::1%eth0":              "fe80::/48",
		"2001:db8:ffff:ffff:1::abc": "2001:db8:ffff::/48",
	} {
		blob, err := p.SealAddress(nil, binding(FieldAddress), addressOf(t, received))
		if err != nil {
			t.Fatalf("%s: %v", received, err)
		}
		if len(blob) != SealedAddressBytes {
			t.Errorf("%s: blob has %d bytes, want %d", received, len(blob), SealedAddressBytes)
		}
		got, err := p.opener.OpenAddress(binding(FieldAddress), blob)
		if err != nil || got.Prefix().String() != want {
			t.Errorf("%s opened as %s, %v; want %s", received, got.Prefix(), err, want)
		}
	}
}

func TestSealedBytesOpenOnlyUnderTheirBinding(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	for _, company := range []string{"cmp_a", "cmp_b"} {
		if err := p.Prepare(t.Context(), company); err != nil {
			t.Fatal(err)
		}
	}
	blob, err := p.SealBytes([]byte("head"), binding(FieldUserAgent), []byte("Mozilla/5.0"))
	if err != nil {
		t.Fatal(err)
	}
	if string(blob[:4]) != "head" {
		t.Fatal("dst was not appended to")
	}
	blob = blob[4:]
	got, err := p.opener.OpenBytes([]byte("dst:"), binding(FieldUserAgent), blob)
	if err != nil || string(got) != "dst:Mozilla/5.0" {
		t.Fatalf("opened %q, %v", got, err)
	}
	for name, change := range map[string]func(*Binding){
		"tenant": func(b *Binding) { b.CompanyID = "cmp_b" },
		"site":   func(b *Binding) { b.SiteID = "sit_b" },
		"event":  func(b *Binding) { b.EventID[15] ^= 1 },
		"field":  func(b *Binding) { b.Field = "other" },
		// The same bytes, cut elsewhere.
		"boundary": func(b *Binding) { b.CompanyID, b.SiteID = "cmp_as", "it_a" },
	} {
		other := binding(FieldUserAgent)
		change(&other)
		if got, err := p.opener.OpenBytes(nil, other, blob); !errors.Is(err, ErrTampered) || len(got) != 0 {
			t.Errorf("%s swapped: got %q, %v", name, got, err)
		}
	}
	// An address blob is no user agent and the reverse, whatever the binding says.
	address, err := p.SealAddress(nil, binding(FieldAddress), addressOf(t, "145.221.10.1"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.opener.OpenBytes(nil, binding(FieldUserAgent), address); !errors.Is(err, ErrTampered) {
		t.Errorf("address opened as bytes: %v", err)
	}
	if _, err := p.opener.OpenAddress(binding(FieldAddress), blob); !errors.Is(err, ErrTampered) {
		t.Errorf("bytes opened as address: %v", err)
	}
	if _, err := p.SealBytes(nil, binding(FieldAddress), []byte("x")); !errors.Is(err, ErrField) {
		t.Errorf("bytes sealed as address: %v", err)
	}
	if _, err := p.SealAddress(nil, binding(FieldUserAgent), addressOf(t, "::1")); !errors.Is(err, ErrField) {
		t.Errorf("address sealed as user agent: %v", err)
	}
	if _, err := p.SealAddress(nil, binding(FieldAddress), Address{}); !errors.Is(err, ErrInvalidAddress) {
		t.Errorf("empty address sealed: %v", err)
	}
}

func TestEveryFlippedBitIsNoticed(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	if err := p.Prepare(t.Context(), "cmp_a"); err != nil {
		t.Fatal(err)
	}
	blob, err := p.SealAddress(nil, binding(FieldAddress), addressOf(t, "145.221.10.1"))
	if err != nil {
		t.Fatal(err)
	}
	for bit := range len(blob) * 8 {
		blob[bit/8] ^= 1 << (bit % 8)
		got, err := p.opener.OpenAddress(binding(FieldAddress), blob)
		want := ErrTampered
		if bit/8 >= 1 && bit/8 < headerBytes {
			want = ErrUnknownKey
		}
		if !errors.Is(err, want) || got.IsValid() {
			t.Fatalf("bit %d: %v, want %v", bit, err, want)
		}
		blob[bit/8] ^= 1 << (bit % 8)
	}
	for n := range blob {
		if _, err := p.opener.OpenAddress(binding(FieldAddress), blob[:n]); err == nil {
			t.Fatalf("opened the first %d bytes", n)
		}
	}
}

func TestOnlyNetworksASealerWritesAreOpened(t *testing.T) {
	t.Parallel()
	v6 := netip.MustParseAddr("2001:db8::").As16()
	v4 := netip.MustParseAddr("::ffff:192.0.2.0").As16()
	host := netip.MustParseAddr("::ffff:192.0.2.9").As16()
	for name, plain := range map[string][]byte{
		"host bits":   append(host[:], 24),
		"host length": append(host[:], 32),
		"long v6":     append(v6[:], 64),
		"zero length": append(v4[:], 0),
		"wild length": append(v6[:], 200),
		"short":       v6[:],
	} {
		if got, err := truncatedFrom(plain); !errors.Is(err, ErrTampered) {
			t.Errorf("%s: %s, %v", name, got.Prefix(), err)
		}
	}
}

func TestNoncesDoNotRepeat(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	if err := p.Prepare(t.Context(), "cmp_a"); err != nil {
		t.Fatal(err)
	}
	count := 1_000_000
	if raceEnabled {
		count /= 10 // the detector looks at memory, not at nonces
	}
	seen := make(map[[nonceBytes]byte]struct{}, count)
	a, dst := addressOf(t, "145.221.10.1"), make([]byte, 0, SealedAddressBytes)
	for range count {
		blob, err := p.SealAddress(dst, binding(FieldAddress), a)
		if err != nil {
			t.Fatal(err)
		}
		seen[[nonceBytes]byte(blob[headerBytes:])] = struct{}{}
	}
	if len(seen) != count {
		t.Fatalf("%d nonces of %d are distinct", len(seen), count)
	}
}

func TestSealingDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		return // the race detector makes pools allocate
	}
	p := newPair(t)
	if err := p.Prepare(t.Context(), "cmp_a"); err != nil {
		t.Fatal(err)
	}
	dst, scratch, ip := make([]byte, 0, SealedAddressBytes), NewScratch(), netip.MustParseAddr("145.221.10.1")
	allocs := testing.AllocsPerRun(1000, func() {
		if _, err := p.SealAddress(dst, binding(FieldAddress), AddressOf(ip, scratch)); err != nil {
			t.Fatal(err)
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations per address", allocs)
	}
	agent, plain := make([]byte, 0, 128), []byte("Mozilla/5.0 (X11; Linux x86_64)")
	if allocs := testing.AllocsPerRun(1000, func() {
		if _, err := p.SealBytes(agent, binding(FieldUserAgent), plain); err != nil {
			t.Fatal(err)
		}
	}); allocs != 0 {
		t.Errorf("%v allocations per user agent", allocs)
	}
}

func TestNewSealerNamesEveryFault(t *testing.T) {
	t.Parallel()
	_, err := NewSealer(PublicKey{}, "", nil, nil)
	var joined interface{ Unwrap() []error }
	if !errors.As(err, &joined) || len(joined.Unwrap()) != 3 {
		t.Fatalf("got %v", err)
	}
}

func FuzzOpen(f *testing.F) {
	p := newPair(f)
	if err := p.Prepare(context.Background(), "cmp_a"); err != nil {
		f.Fatal(err)
	}
	blob, err := p.SealAddress(nil, binding(FieldAddress), addressOf(f, "145.221.10.1"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(blob)
	f.Add(blob[:Overhead])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, in []byte) {
		got, err := p.opener.OpenAddress(binding(FieldAddress), in)
		if (err == nil) != got.IsValid() || err == nil && string(in) != string(blob) {
			t.Fatalf("opened a blob nobody sealed: %v", err)
		}
		if out, err := p.opener.OpenBytes(nil, binding(FieldUserAgent), in); err == nil || len(out) != 0 {
			t.Fatal("opened bytes nobody sealed")
		}
		if out, err := p.opener.OpenField(nil, formBinding("email"), in); err == nil || len(out) != 0 {
			t.Fatal("opened a form's value nobody sealed")
		}
	})
}

func BenchmarkSealAddress(b *testing.B) {
	p := newPair(b)
	if err := p.Prepare(context.Background(), "cmp_a"); err != nil {
		b.Fatal(err)
	}
	dst, a, bound := make([]byte, 0, SealedAddressBytes), addressOf(b, "145.221.10.1"), binding(FieldAddress)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.SealAddress(dst, bound, a); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSealField(b *testing.B) {
	p := newPair(b)
	key, err := p.NewSubjectKey(context.Background(), "cmp_a", someSubject)
	if err != nil {
		b.Fatal(err)
	}
	dst, bound, plain := make([]byte, 0, 128), formBinding("email"), []byte("a@b.example")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := key.SealField(dst, bound, plain); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkNewSubjectKey(b *testing.B) {
	s := newSealing(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.NewSubjectKey(context.Background(), "cmp_a", someSubject); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpenAddress(b *testing.B) {
	p := newPair(b)
	if err := p.Prepare(context.Background(), "cmp_a"); err != nil {
		b.Fatal(err)
	}
	blob, err := p.SealAddress(nil, binding(FieldAddress), addressOf(b, "145.221.10.1"))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.opener.OpenAddress(binding(FieldAddress), blob); err != nil {
			b.Fatal(err)
		}
	}
}
