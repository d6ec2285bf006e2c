package schemas

import (
	"errors"
	"net/netip"
)

// Everyone is the company id of the suppressions that are for every tenant: an id that
// no tenant has.
const Everyone = "cmp_00000000000000000000"

// What is suppressed at most: prefixes of a tenant, and of everybody; and how wide a
// prefix may be.
const (
	SuppressionsMax         = 500
	SuppressionsEveryoneMax = 2000

	suppressionBitsMin4 = 8
	suppressionBitsMin6 = 20
)

// ErrPrefix says nothing of the prefix.
var ErrPrefix = errors.New("not a network that can be suppressed")

// CheckSuppression refuses what cannot be suppressed: a prefix with host bits, one that
// is IPv4 in IPv6, or one so wide that it is a mistake.
func CheckSuppression(p netip.Prefix) error {
	least := suppressionBitsMin6
	if p.Addr().Is4() {
		least = suppressionBitsMin4
	}
	if !p.IsValid() || p.Addr().Is4In6() || p != p.Masked() || p.Bits() < least {
		return ErrPrefix
	}
	return nil
}

// AppendPrefix appends the form of a prefix in a SuppressionRecord: the 4 or 16 bytes of
// the address, and its length.
func AppendPrefix(dst []byte, p netip.Prefix) []byte {
	return append(append(dst, p.Addr().AsSlice()...), byte(p.Bits()))
}

// ParsePrefix is the reverse of AppendPrefix: ErrPrefix for anything else.
func ParsePrefix(b []byte) (netip.Prefix, error) {
	if len(b) != 5 && len(b) != 17 {
		return netip.Prefix{}, ErrPrefix
	}
	last := len(b) - 1
	addr, _ := netip.AddrFromSlice(b[:last])
	p := netip.PrefixFrom(addr, int(b[last]))
	return p, CheckSuppression(p)
}
