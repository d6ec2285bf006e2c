package seal

import (
	"crypto/sha256"
	"errors"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/metiva-io/metiva/pkg/businessnet"
)

func businessNetworks(tb testing.TB, texts ...string) *businessnet.Set {
	tb.Helper()
	var networks []netip.Prefix
	for _, text := range texts {
		networks = append(networks, netip.MustParsePrefix(text))
	}
	s, err := businessnet.New(networks, time.Unix(0, 0))
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// hashOf is what a keyed hash makes of an address's network.
func hashOf(a Address) [sha256.Size]byte {
	h := sha256.New()
	a.WriteNetworkTo(h)
	return [sha256.Size]byte(h.Sum(nil))
}

func TestBusinessNetworkIsSealed(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	if err := p.Prepare(t.Context(), "cmp_a"); err != nil {
		t.Fatal(err)
	}
	set := businessNetworks(t, "145.221.10.0/25", "145.221.10.128/26", "145.221.10.192/27", "145.221.10.224/28", "145.221.10.240/29")
	for received, want := range map[string]string{
		"145.221.10.1":          "145.221.10.0/25",
		"145.221.10.190":        "145.221.10.128/26",
		"145.221.10.192":        "145.221.10.192/27",
		"145.221.10.239":        "145.221.10.224/28",
		"145.221.10.247":        "145.221.10.240/29",
		"::ffff:145.221.10.247": "145.221.10.240/29",
		"145.221.10.248":        "145.221.10.0/24", // in none
		"145.221.11.1":          "145.221.11.0/24",
		"2001:610:1908:8000::1": "2001:610:1908::/48",
		"::145.221.10.1":        "::/48",
	} {
		a := AddressIn(netip.MustParseAddr(received), set, NewScratch())
		blob, err := p.SealAddress(nil, binding(FieldAddress), a)
		if err != nil || len(blob) != SealedAddressBytes {
			t.Fatalf("%s: %d bytes, %v", received, len(blob), err)
		}
		both, _, err := p.SealVisitor(nil, nil, binding(""), a, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, blob := range [][]byte{blob, both} {
			got, err := p.opener.OpenAddress(binding(FieldAddress), blob)
			if err != nil || got.Prefix().String() != want {
				t.Errorf("%s opened as %s, %v; want %s", received, got.Prefix(), err, want)
			}
		}
		// What visit keys and limits are made of does not become finer.
		if hashOf(a) != hashOf(AddressOf(netip.MustParseAddr(received), NewScratch())) {
			t.Errorf("%s: its network has another hash", received)
		}
	}
	if AddressIn(netip.Addr{}, set, NewScratch()).IsValid() {
		t.Error("no address is valid")
	}
}

// TestScratchKeepsNoFinerNetwork: an address that is made in the memory of a
// finer one is not sealed as that.
func TestScratchKeepsNoFinerNetwork(t *testing.T) {
	t.Parallel()
	set, scratch := businessNetworks(t, "145.221.10.240/29"), NewScratch()
	a := AddressIn(netip.MustParseAddr("145.221.10.241"), set, scratch)
	fine := a.v.get().plain
	for _, next := range []string{"145.221.10.1", "2001:db8::1"} {
		if b := AddressIn(netip.MustParseAddr(next), set, scratch); b.v.get().plain == fine || b.v.get().plain != b.v.get().bytes {
			t.Errorf("%s is sealed as the network before it", next)
		}
	}
	scratch.Forget()
	if a.v.get().plain != [addressBytes]byte{} {
		t.Error("a forgotten network is still there")
	}
}

// TestNeverFinerThanItsNetwork: for random sets and addresses, what is sealed
// holds the address, is the business network around it or the /24, and is never
// longer than /29.
func TestNeverFinerThanItsNetwork(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(20261122, 5))
	for range 200 {
		var networks []netip.Prefix
		for at := 0; at < 256; {
			bits := businessnet.BitsMin + rnd.IntN(businessnet.BitsMax-businessnet.BitsMin+1)
			size := 1 << (32 - bits)
			if at = (at + size - 1) / size * size; at < 256 && rnd.IntN(2) == 0 {
				networks = append(networks, netip.PrefixFrom(netip.AddrFrom4([4]byte{145, 221, 10, byte(at)}), bits))
			}
			at += size
		}
		set, err := businessnet.New(networks, time.Unix(0, 0))
		if err != nil {
			t.Fatal(err)
		}
		for last := range 256 {
			received := netip.AddrFrom4([4]byte{145, 221, 10, byte(last)})
			want := netip.PrefixFrom(received, IPv4Bits).Masked()
			for _, n := range networks {
				if n.Contains(received) {
					want = n
				}
			}
			got, err := truncatedFrom(AddressIn(received, set, NewScratch()).v.get().plain[:])
			if err != nil || got.Prefix() != want || got.Prefix().Bits() > businessnet.BitsMax {
				t.Fatalf("%s is sealed as %s (%v), want %s", received, got.Prefix(), err, want)
			}
		}
	}
}

// TestLengthsThatAreNeverSealed: an opened value of another length was not
// written by a Sealer.
func TestLengthsThatAreNeverSealed(t *testing.T) {
	t.Parallel()
	for bits := range 256 {
		four, six := plainOf(netip.MustParsePrefix("128.0.0.0/1")), plainOf(netip.MustParsePrefix("8000::/1"))
		four[16], six[16] = byte(bits), byte(bits)
		_, err := truncatedFrom(four[:])
		if ok := bits >= IPv4Bits && bits <= businessnet.BitsMax; ok != (err == nil) || !ok && !errors.Is(err, ErrTampered) {
			t.Errorf("IPv4 /%d: %v", bits, err)
		}
		if _, err = truncatedFrom(six[:]); (bits == IPv6Bits) != (err == nil) {
			t.Errorf("IPv6 /%d: %v", bits, err)
		}
	}
	host := plainOf(netip.MustParsePrefix("145.221.10.240/29"))
	host[15]++
	if _, err := truncatedFrom(host[:]); !errors.Is(err, ErrTampered) {
		t.Errorf("a host in its network: %v", err)
	}
}

func TestNothingShowsABusinessNetwork(t *testing.T) {
	t.Parallel()
	set, scratch := businessNetworks(t, "145.221.173.240/29"), NewScratch()
	a := AddressIn(netip.MustParseAddr("145.221.173.241"), set, scratch)
	network, err := truncatedFrom(a.v.get().plain[:])
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]any{"Address": a, "*Address": &a, "Scratch": *scratch, "*Scratch": scratch, "Truncated": network, "in a struct": struct{ From Address }{a}} {
		for how, text := range shownBy(t, v) {
			for _, needle := range []string{"145.221.173", "145 221 173", "91ddad", "91 dd ad", "0x91, 0xdd", "173 240", "adf0"} {
				if strings.Contains(strings.ToLower(text), needle) {
					t.Errorf("%s shown by %s holds %q: %s", name, how, needle, text)
				}
			}
		}
	}
}

func TestSealingABusinessNetworkDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		return // the race detector makes pools allocate
	}
	p := newPair(t)
	if err := p.Prepare(t.Context(), "cmp_a"); err != nil {
		t.Fatal(err)
	}
	set := businessNetworks(t, "145.221.10.240/29")
	dst, scratch, ip := make([]byte, 0, SealedAddressBytes), NewScratch(), netip.MustParseAddr("145.221.10.241")
	if allocs := testing.AllocsPerRun(1000, func() {
		if _, err := p.SealAddress(dst, binding(FieldAddress), AddressIn(ip, set, scratch)); err != nil {
			t.Fatal(err)
		}
	}); allocs != 0 {
		t.Errorf("%v allocations per address", allocs)
	}
}

func BenchmarkAddressIn(b *testing.B) {
	scratch, ip := NewScratch(), netip.MustParseAddr("145.221.10.241")
	for name, set := range map[string]*businessnet.Set{"truncated": nil, "network": businessNetworks(b, "145.221.10.240/29")} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				AddressIn(ip, set, scratch)
			}
		})
	}
}
