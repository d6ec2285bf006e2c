package seal

import (
	"net/netip"
	"testing"
)

// TestATunnelHidesNoAddress: a 6to4 address carries a whole IPv4 address in its
// first 48 bits (RFC 3056). What is kept of that is its /24, as of any other.
func TestATunnelHidesNoAddress(t *testing.T) {
	t.Parallel()
	set := businessNetworks(t, "145.221.10.240/29")
	for received, want := range map[string]string{
		"2002:91dd:af1::1":         "2002:91dd:a00::/48", // 145.221.10.241
		"2002:91dd:aff:1:2:3:4:5":  "2002:91dd:a00::/48",
		"2002:91dd:bff::1":         "2002:91dd:b00::/48",
		"2001:0:91dd:af1:8000::1":  "2001:0:91dd::/48", // Teredo: half of its server's address
		"64:ff9b::145.221.10.241":  "64:ff9b::/48",
		"64:ff9b:1:91dd:a:f100::1": "64:ff9b:1::/48",
		"2003:91dd:af1::1":         "2003:91dd:af1::/48",
	} {
		a := AddressIn(netip.MustParseAddr(received), set, NewScratch())
		got, err := truncatedFrom(a.v.get().plain[:])
		if err != nil || got.Prefix().String() != want {
			t.Errorf("%s is sealed as %s, %v; want %s", received, got.Prefix(), err, want)
		}
		if a.v.get().bytes != a.v.get().plain {
			t.Errorf("%s is hashed as another network than it is sealed", received)
		}
	}
}
