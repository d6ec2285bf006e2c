package businessnet

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Lengths of the networks a Set may hold, in prefix bits (DESIGN §4).
const (
	BitsMin = 25
	BitsMax = 29
)

// NetworksMax bounds a Set: more than the networks of all commercial databases
// together.
const NetworksMax = 1 << 24

const lengthMask = 1<<(32-BitsMax) - 1

// key is a network in one number; see the package's description.
type key uint32

func (k key) bits() int { return BitsMin + int(k&lengthMask) }

// address is the network's first address.
func (k key) address() uint32 { return uint32(k) &^ lengthMask }

// size is how many addresses the network has.
func (k key) size() uint32 { return 1 << (32 - k.bits()) }

// check reports a number that is no network.
func (k key) check() error {
	switch {
	case k.bits() > BitsMax:
		return errors.New("a network is longer than a set may hold")
	case k.address()&(k.size()-1) != 0:
		return errors.New("a network has bits set behind its length")
	}
	return nil
}

// Set is a set of business networks. It is immutable and safe for concurrent use.
// A nil Set holds none.
type Set struct {
	keys []key // ascending; no network overlaps another
	// first is, for the upper 16 bits of an address, the place in keys of the first
	// network there; no network crosses such a border.
	first []uint32
	built time.Time
}

const firstBits = 16

// New makes a set of IPv4 networks of BitsMin to BitsMax, in any order. Built is
// the build time of the company database they are from.
func New(networks []netip.Prefix, built time.Time) (*Set, error) {
	keys := make([]key, 0, len(networks))
	for i, n := range networks {
		if !n.IsValid() || !n.Addr().Is4() || n.Bits() < BitsMin || n.Bits() > BitsMax || n != n.Masked() {
			return nil, fmt.Errorf("network %d is not an IPv4 network of /%d to /%d", i+1, BitsMin, BitsMax)
		}
		keys = append(keys, key(number(n.Addr().As4()))|key(n.Bits()-BitsMin))
	}
	slices.Sort(keys)
	return newSet(keys, built)
}

func newSet(keys []key, built time.Time) (*Set, error) {
	if len(keys) > NetworksMax {
		return nil, fmt.Errorf("there are %d networks, at most %d are allowed", len(keys), NetworksMax)
	}
	for i, k := range keys {
		if err := k.check(); err != nil {
			return nil, err
		}
		if i > 0 && uint64(keys[i-1].address())+uint64(keys[i-1].size()) > uint64(k.address()) {
			return nil, errors.New("the networks overlap, or are not in order")
		}
	}
	s := &Set{keys: keys, first: make([]uint32, 1<<firstBits+1), built: built.UTC().Truncate(time.Second)}
	place := 0
	for upper := range s.first {
		for place < len(keys) && int(keys[place].address()>>(32-firstBits)) < upper {
			place++
		}
		s.first[upper] = uint32(place)
	}
	return s, nil
}

// LengthOf is the length of the business network around an address, BitsMin to
// BitsMax, or 0 when the set has none, as for every IPv6 address. An address
// mapped into IPv6 must be unmapped by the caller. It does not allocate.
func (s *Set) LengthOf(a netip.Addr) int {
	if s == nil || !a.Is4() {
		return 0
	}
	n := number(a.As4())
	low, high := int(s.first[n>>(32-firstBits)]), int(s.first[n>>(32-firstBits)+1])
	begin := low
	for low < high { // the first network that begins after the address
		if middle := int(uint(low+high) >> 1); s.keys[middle].address() <= n {
			low = middle + 1
		} else {
			high = middle
		}
	}
	if low == begin {
		return 0
	}
	k := s.keys[low-1]
	if n-k.address() >= k.size() {
		return 0
	}
	return k.bits()
}

// Len is how many networks the set holds.
func (s *Set) Len() int { return len(s.keys) }

// BuildTime is when the company database was built, in UTC.
func (s *Set) BuildTime() time.Time { return s.built }

func number(b [4]byte) uint32 {
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}
