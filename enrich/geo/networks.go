package geo

import (
	"context"
	"fmt"
	"net/netip"
)

// contextEvery is how many networks are walked between two looks at the context.
const contextEvery = 1 << 14

// IPv4Networks calls each for every IPv4 network of the ASN database that is
// bitsMin to bitsMax long and has a record, in ascending order: the networks
// Lookup answers with.
func (v View) IPv4Networks(ctx context.Context, bitsMin, bitsMax int, each func(netip.Prefix) error) error {
	walked := 0
	all := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	for result := range v.g.asn.db.NetworksWithin(all) {
		if walked%contextEvery == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		walked++
		if err := result.Err(); err != nil {
			return fmt.Errorf("walking the address database: %w", err)
		}
		if n := result.Prefix(); n.Addr().Is4() && n.Bits() >= bitsMin && n.Bits() <= bitsMax {
			if err := each(n); err != nil {
				return err
			}
		}
	}
	return nil
}
