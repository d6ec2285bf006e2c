package seal

import (
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"log/slog"
	"net/netip"

	"github.com/metiva-io/metiva/pkg/businessnet"
)

// Precision of what is kept of an address, in prefix bits; of one in a business
// network, see AddressIn.
const (
	IPv4Bits = 24
	IPv6Bits = 48
)

// addressBytes is the fixed size of a sealed address's plaintext: the 16-byte
// prefix (IPv4 mapped into IPv6) and its length. Both families are equally
// long, so that the blob does not tell them apart.
const addressBytes = 17

// network is a truncated address.
type network struct {
	bytes [addressBytes]byte // /24 or /48, which is hashed
	plain [addressBytes]byte // what is sealed: the same, or the business network in it
	set   bool
}

// Scratch is the memory of one Address, for reuse through a pool.
type Scratch struct {
	_ [0]func() // not comparable
	v veiled[network]
}

// NewScratch returns memory for one Address at a time.
func NewScratch() *Scratch { return &Scratch{v: veilOf(network{})} }

// Forget clears the scratch; the Address made from it holds nothing then.
func (s *Scratch) Forget() { *s.v.get() = network{} }

// Address is the network a request came from. It can be sealed and digested,
// not shown. It is valid until its Scratch is used again.
type Address struct {
	_ [0]func()
	v veiled[network]
}

// AddressOf cuts a to its network and keeps that in scratch (made by
// NewScratch); it does not allocate. IPv4 mapped into IPv6 counts as IPv4, a
// zone is dropped. An invalid a gives an invalid Address.
func AddressOf(a netip.Addr, scratch *Scratch) Address { return AddressIn(a, nil, scratch) }

// AddressIn is AddressOf, but what is sealed of an address in one of the business
// networks is that network, /25 to /29. What WriteNetworkTo writes stays the /24.
// Nil is no networks.
func AddressIn(a netip.Addr, finer *businessnet.Set, scratch *Scratch) Address {
	n := scratch.v.get()
	*n = network{}
	a = a.Unmap().WithZone("")
	if !a.IsValid() {
		return Address{v: scratch.v}
	}
	bits := IPv6Bits
	if a.Is4() {
		bits = IPv4Bits
	}
	prefix, err := a.Prefix(bits)
	if isSixToFour(a) { // 16 bits, and the /24 of the IPv4 address in it
		prefix, err = a.Prefix(16 + IPv4Bits)
		prefix = netip.PrefixFrom(prefix.Addr(), bits)
	}
	if err != nil {
		return Address{v: scratch.v}
	}
	n.bytes = plainOf(prefix)
	n.plain = n.bytes
	if bits := finer.LengthOf(a); bits > IPv4Bits && bits <= businessnet.BitsMax {
		if prefix, err := a.Prefix(bits); err == nil {
			n.plain = plainOf(prefix)
		}
	}
	n.set = true
	return Address{v: scratch.v}
}

// isSixToFour reports whether the first 48 bits of an address hold a whole IPv4
// address (RFC 3056). Those of Teredo and NAT64 do not.
func isSixToFour(a netip.Addr) bool {
	b := a.As16()
	return b[0] == 0x20 && b[1] == 0x02
}

// plainOf is what is sealed of a network.
func plainOf(prefix netip.Prefix) (b [addressBytes]byte) {
	b16 := prefix.Addr().As16()
	copy(b[:16], b16[:])
	b[16] = byte(prefix.Bits())
	return b
}

// IsValid reports whether there is an address to seal.
func (a Address) IsValid() bool { return a.v.get() != nil && a.v.get().set }

// WriteNetworkTo feeds the network to a keyed hash, for visit keys and limits: the
// /24 or /48, however finely the address is sealed. It writes nothing for an
// invalid Address.
func (a Address) WriteNetworkTo(h hash.Hash) {
	if a.IsValid() {
		h.Write(a.v.get().bytes[:]) // a hash never returns an error
	}
}

// Truncated is an opened address: a network, never a host. Only an Opener makes
// one. It prints as *** wherever it is formatted or encoded; Prefix is the only
// way to read it.
type Truncated struct {
	v veiled[netip.Prefix]
}

// Prefix is the network: /24 of IPv4, or a business network of /25 to /29; /48 of
// IPv6.
func (t Truncated) Prefix() netip.Prefix {
	if p := t.v.get(); p != nil {
		return *p
	}
	return netip.Prefix{}
}

// IsValid reports whether t holds a network.
func (t Truncated) IsValid() bool { return t.Prefix().IsValid() }

const hidden = "***"

// String prints ***.
func (t Truncated) String() string { return hidden }

// Format prints *** for every verb.
func (t Truncated) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// MarshalText prints ***.
func (t Truncated) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// MarshalJSON prints "***".
func (t Truncated) MarshalJSON() ([]byte, error) { return json.Marshal(hidden) }

// LogValue prints ***.
func (t Truncated) LogValue() slog.Value { return slog.StringValue(hidden) }

// truncatedFrom reads the plaintext of a sealed address.
func truncatedFrom(plain []byte) (Truncated, error) {
	prefix, err := prefixFrom(plain)
	if err != nil {
		return Truncated{}, err
	}
	return Truncated{v: veilOf(prefix)}, nil
}

// prefixFrom reads the plaintext of a sealed address. A length the product
// never writes, or bits set behind it, mean it was not written by a Sealer.
func prefixFrom(plain []byte) (netip.Prefix, error) {
	if len(plain) != addressBytes {
		return netip.Prefix{}, ErrTampered
	}
	addr := netip.AddrFrom16([16]byte(plain[:16])).Unmap()
	bits := int(plain[16])
	shortest, longest := IPv6Bits, IPv6Bits
	if addr.Is4() {
		shortest, longest = IPv4Bits, businessnet.BitsMax
	}
	prefix := netip.PrefixFrom(addr, bits)
	if bits < shortest || bits > longest || prefix.Masked() != prefix {
		return netip.Prefix{}, ErrTampered
	}
	return prefix, nil
}
