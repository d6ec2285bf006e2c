package businessnet

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"
)

var built = time.Date(2026, 11, 1, 4, 5, 6, 0, time.UTC)

func networksOf(texts ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, text := range texts {
		out = append(out, netip.MustParsePrefix(text))
	}
	return out
}

func setOf(tb testing.TB, texts ...string) *Set {
	tb.Helper()
	s, err := New(networksOf(texts...), built)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func TestLengthOf(t *testing.T) {
	t.Parallel()
	s := setOf(t, "198.51.100.64/26", "192.0.2.8/29", "192.0.2.128/25", "192.0.2.16/28", "192.0.2.0/29",
		"0.0.0.0/29", "255.255.255.128/25", "10.255.255.248/29", "11.0.0.0/27")
	for address, want := range map[string]int{
		"0.0.0.0": 29, "0.0.0.7": 29, "0.0.0.8": 0,
		"192.0.1.255": 0, "192.0.2.0": 29, "192.0.2.7": 29, "192.0.2.8": 29, "192.0.2.15": 29,
		"192.0.2.16": 28, "192.0.2.31": 28, "192.0.2.32": 0, "192.0.2.127": 0, "192.0.2.128": 25, "192.0.2.255": 25, "192.0.3.0": 0,
		"198.51.100.63": 0, "198.51.100.64": 26, "198.51.100.127": 26, "198.51.100.128": 0,
		// On both sides of the border of a /16, and where a /16 has no network.
		"10.255.255.247": 0, "10.255.255.255": 29, "11.0.0.0": 27, "11.0.0.31": 27, "11.0.0.32": 0, "11.1.0.0": 0,
		"255.255.255.127": 0, "255.255.255.128": 25, "255.255.255.255": 25,
		"2001:db8::1": 0, "::ffff:192.0.2.1": 0, "::": 0,
	} {
		if got := s.LengthOf(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s: /%d, want /%d", address, got, want)
		}
	}
	var none *Set
	if none.LengthOf(netip.MustParseAddr("192.0.2.1")) != 0 || setOf(t).LengthOf(netip.MustParseAddr("192.0.2.1")) != 0 || s.LengthOf(netip.Addr{}) != 0 {
		t.Error("a length from no set, an empty one, or of no address")
	}
	if s.Len() != 9 || !s.BuildTime().Equal(built) {
		t.Errorf("%d networks, built %s", s.Len(), s.BuildTime())
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for name, networks := range map[string][]netip.Prefix{
		"too short":   networksOf("192.0.2.0/24"),
		"too long":    networksOf("192.0.2.0/30"),
		"an address":  networksOf("192.0.2.0/32"),
		"IPv6":        networksOf("2001:db8::/29"),
		"mapped":      networksOf("::ffff:192.0.2.0/121"),
		"host bits":   networksOf("192.0.2.1/29"),
		"none":        {{}},
		"twice":       networksOf("192.0.2.0/29", "192.0.2.0/29"),
		"one in one":  networksOf("192.0.2.0/29", "192.0.2.0/28"),
		"inside":      networksOf("192.0.2.8/29", "192.0.2.0/28"),
		"at the end":  networksOf("192.0.2.0/25", "192.0.2.120/29"),
		"of the last": networksOf("255.255.255.248/29", "255.255.255.128/25"),
	} {
		if _, err := New(networks, built); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// randomNetworks are some that do not overlap, many of them in few /16.
func randomNetworks(rnd *rand.Rand) []netip.Prefix {
	var out []netip.Prefix
	taken := map[[3]byte]bool{}
	for range rnd.IntN(400) {
		block := [3]byte{byte(rnd.IntN(3)), byte(rnd.IntN(2) * 255), byte(rnd.Uint32())}
		if taken[block] {
			continue
		}
		taken[block] = true
		for at := 0; at < 256; {
			bits := BitsMin + rnd.IntN(BitsMax-BitsMin+1)
			size := 1 << (32 - bits)
			if at = (at + size - 1) / size * size; at >= 256 {
				break
			}
			if rnd.IntN(2) == 0 {
				out = append(out, netip.PrefixFrom(netip.AddrFrom4([4]byte{block[0], block[1], block[2], byte(at)}), bits))
			}
			at += size
		}
	}
	rnd.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

// TestLengthIsThatOfTheNetwork: for random sets, each address of the blocks in
// use has the length of the one network around it, found by looking at all of
// them; and the file gives back the same set.
func TestLengthIsThatOfTheNetwork(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(20261122, 3))
	for range 25 {
		networks := randomNetworks(rnd)
		s, err := New(networks, built)
		if err != nil {
			t.Fatal(err)
		}
		file := s.Append([]byte("head"))[4:]
		read, err := Parse(file)
		if err != nil || !slices.Equal(read.keys, s.keys) || !read.BuildTime().Equal(built) || !bytes.Equal(read.Append(nil), file) {
			t.Fatalf("the file gives back another set: %v", err)
		}
		for range 1000 {
			a := netip.AddrFrom4([4]byte{byte(rnd.IntN(3)), byte(rnd.IntN(2) * 255), byte(rnd.Uint32()), byte(rnd.Uint32())})
			if len(networks) > 0 && rnd.IntN(2) == 0 { // around the ends of a network
				n := networks[rnd.IntN(len(networks))].Addr()
				if a = n; rnd.IntN(2) == 0 && n.Prev().IsValid() {
					a = n.Prev()
				}
			}
			want := 0
			for _, n := range networks {
				if n.Contains(a) {
					want = n.Bits()
				}
			}
			got := read.LengthOf(a)
			if got != want {
				t.Fatalf("%s: /%d, want /%d", a, got, want)
			}
			if got != 0 && (got < BitsMin || got > BitsMax) {
				t.Fatalf("%s: /%d", a, got)
			}
		}
	}
}

// sealedFile is a file of these numbers with a right checksum.
func sealedFile(head string, builtSeconds uint64, count uint32, numbers ...uint32) []byte {
	raw := binary.BigEndian.AppendUint64([]byte(head), builtSeconds)
	raw = binary.BigEndian.AppendUint32(raw, count)
	for _, n := range numbers {
		raw = binary.BigEndian.AppendUint32(raw, n)
	}
	sum := sha256.Sum256(raw)
	return append(raw, sum[:]...)
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	const at = 0xc0000200 // 192.0.2.0
	if _, err := Parse(sealedFile(magic, 1, 2, at|4, at+8|4)); err != nil {
		t.Fatal(err)
	}
	whole := setOf(t, "192.0.2.0/29", "192.0.2.128/25").Append(nil)
	flipped := bytes.Clone(whole)
	flipped[headerBytes+2] ^= 4
	for name, raw := range map[string][]byte{
		"nothing":         nil,
		"a text":          []byte("not a database, and long enough to be looked at as if it were one"),
		"an mmdb":         append(bytes.Repeat([]byte{0}, 200), "\xab\xcd\xefMaxMind.com"...),
		"cut short":       whole[:len(whole)-1],
		"cut in the head": whole[:headerBytes],
		"longer":          append(bytes.Clone(whole), 0),
		"a bit flipped":   flipped,
		"another version": sealedFile("MTVBNET2", 1, 1, at),
		"count too low":   sealedFile(magic, 1, 1, at|4, at+8|4),
		"count too high":  sealedFile(magic, 1, 3, at|4, at+8|4),
		"count overflows": sealedFile(magic, 1, 1<<31, at|4),
		"built far ahead": sealedFile(magic, 1<<63, 1, at|4),
		"a /30":           sealedFile(magic, 1, 1, at|5),
		"a /32":           sealedFile(magic, 1, 1, at|7),
		"host bits":       sealedFile(magic, 1, 1, at+8),
		"out of order":    sealedFile(magic, 1, 2, at+8|4, at|4),
		"twice":           sealedFile(magic, 1, 2, at|4, at|4),
		"overlap":         sealedFile(magic, 1, 2, at, at+8|4),
		"overlap at end":  sealedFile(magic, 1, 2, 0xffffff80, 0xfffffff8|4),
	} {
		if _, err := Parse(raw); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(setOf(f, "192.0.2.0/29", "192.0.2.128/25").Append(nil))
	f.Add(setOf(f).Append(nil))
	f.Add(sealedFile(magic, 1, 1, 0xc0000205))
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, raw []byte) {
		// A fuzzer does not find a checksum: half of the time it is made right.
		if len(raw) >= headerBytes+sha256.Size && raw[len(raw)-1]&1 == 0 {
			sum := sha256.Sum256(raw[:len(raw)-sha256.Size])
			raw = append(bytes.Clone(raw[:len(raw)-sha256.Size]), sum[:]...)
		}
		s, err := Parse(raw)
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Fatalf("another error: %v", err)
			}
			return
		}
		if !bytes.Equal(s.Append(nil), raw) {
			t.Fatal("two files of one set")
		}
		for _, k := range s.keys {
			first := netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, k.address())))
			if got := s.LengthOf(first); got != k.bits() || got < BitsMin || got > BitsMax {
				t.Fatalf("a network of /%d is found as /%d", k.bits(), got)
			}
		}
	})
}

// large is a set of two million networks, as a commercial database might have.
func large(tb testing.TB) *Set {
	tb.Helper()
	keys := make([]key, 0, 2<<20)
	rnd := rand.New(rand.NewPCG(1, 2))
	for at := uint32(1 << 24); len(keys) < cap(keys); at += 256 + 256*uint32(rnd.IntN(3)) {
		keys = append(keys, key(at|uint32(rnd.IntN(5))))
	}
	s, err := newSet(keys, built)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func TestLengthOfDoesNotAllocate(t *testing.T) {
	s := large(t)
	a := netip.MustParseAddr("145.221.10.77")
	if allocs := testing.AllocsPerRun(1000, func() { s.LengthOf(a) }); allocs != 0 {
		t.Errorf("%v allocations per lookup", allocs)
	}
}

func BenchmarkLengthOf(b *testing.B) {
	s := large(b)
	b.ReportAllocs()
	x, found := uint32(1), 0
	for b.Loop() {
		// A walk over the whole address space, not one hot path in the cache.
		x = x*1664525 + 1013904223
		found += s.LengthOf(netip.AddrFrom4([4]byte{byte(x >> 24), byte(x >> 16), byte(x >> 8), byte(x)}))
	}
	if found == 0 {
		b.Fatal("nothing was found")
	}
}
