package geo

import (
	"context"
	"fmt"
	"iter"
	"net/netip"

	"github.com/oschwald/maxminddb-golang/v2"
)

// contextEvery is how many networks are walked between two looks at the context.
const contextEvery = 1 << 14

// IPv4Networks calls each for every IPv4 network, bitsMin to bitsMax long, that a
// database which says whose a network is has a record for. The databases are
// walked one after the other, each in ascending order, so that a network may come
// more than once.
func (v View) IPv4Networks(ctx context.Context, bitsMin, bitsMax int, each func(netip.Prefix) error) error {
	walked := 0
	all := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	for _, r := range v.g.systems {
		for result := range r.db.NetworksWithin(all) {
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
	}
	return nil
}

// Boundaries calls each for the first address of every stretch of addresses for
// which no database of the views has a boundary inside: within a stretch, all of
// them say the same of every address. Stretches ascend; of IPv6 those of global
// unicast (2000::/3). The last ends with its family.
func Boundaries(ctx context.Context, views []View, ipv6 bool, each func(netip.Addr) error) error {
	within := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	if ipv6 {
		within = netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20}), 3)
	}
	var walks []*walk
	defer func() {
		for _, w := range walks {
			w.stop()
		}
	}()
	for _, v := range views {
		for _, r := range v.g.all {
			if ipv6 && r.IPVersion() == 4 {
				continue
			}
			w := &walk{within: within}
			w.next, w.stop = iter.Pull(r.db.NetworksWithin(within, maxminddb.IncludeNetworksWithoutData()))
			walks = append(walks, w)
			if err := w.advance(); err != nil {
				return err
			}
		}
	}
	for n := 0; ; n++ {
		if n%contextEvery == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		var first netip.Addr
		for _, w := range walks {
			if !w.ended && (!first.IsValid() || w.at.Less(first)) {
				first = w.at
			}
		}
		if !first.IsValid() {
			return nil
		}
		for _, w := range walks {
			for !w.ended && w.at == first {
				if err := w.advance(); err != nil {
					return err
				}
			}
		}
		if err := each(first); err != nil {
			return err
		}
	}
}

// walk is one database's networks.
type walk struct {
	within netip.Prefix
	next   func() (maxminddb.Result, bool)
	stop   func()
	at     netip.Addr
	ended  bool
}

// advance takes the next network's first address; that of a network around the
// walked range is the range's.
func (w *walk) advance() error {
	result, ok := w.next()
	if !ok {
		w.ended = true
		return nil
	}
	if err := result.Err(); err != nil {
		return fmt.Errorf("walking the address database: %w", err)
	}
	w.at = result.Prefix().Addr()
	if !w.within.Contains(w.at) {
		w.at = w.within.Addr()
	}
	return nil
}
