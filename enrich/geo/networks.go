package geo

import (
	"context"
	"fmt"
	"iter"
	"net/netip"
	"slices"

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

// Systems calls each for every record of the databases of autonomous systems that
// has a number, with the organisation's name: often the same many times.
func (v View) Systems(ctx context.Context, each func(asn uint32, organization string)) error {
	walked := 0
	for _, r := range v.g.systems {
		seen := make(map[uintptr]struct{})
		for result := range r.db.Networks() {
			if walked%contextEvery == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
			walked++
			if err := result.Err(); err != nil {
				return fmt.Errorf("walking the address database: %w", err)
			}
			if _, again := seen[result.Offset()]; again {
				continue
			}
			seen[result.Offset()] = struct{}{}
			f, err := decode(r.layout, result)
			if err != nil {
				return fmt.Errorf("decoding a record of the address database: %w", errNoAddress)
			}
			if f.asn != 0 {
				each(f.asn, f.organization)
			}
		}
	}
	return nil
}

// Boundaries calls each for the first address of every stretch of addresses for
// which no database of the views, and none of the prefixes, has a boundary inside:
// within a stretch, all of them say the same of every address. Stretches ascend; of IPv6 those of global
// unicast (2000::/3). The last ends with its family.
func Boundaries(ctx context.Context, views []View, prefixes []netip.Prefix, ipv6 bool, each func(netip.Addr) error) error {
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
			next, stop := iter.Pull(r.db.NetworksWithin(within, maxminddb.IncludeNetworksWithoutData()))
			w := &walk{next: firstsOf(next, within), stop: stop}
			walks = append(walks, w)
			if err := w.advance(); err != nil {
				return err
			}
		}
	}
	table := &walk{next: edgesOf(prefixes, within), stop: func() {}}
	walks = append(walks, table)
	if err := table.advance(); err != nil {
		return err
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

// walk is one source of boundaries, in ascending order.
type walk struct {
	next  func() (netip.Addr, bool, error)
	stop  func()
	at    netip.Addr
	ended bool
}

func (w *walk) advance() error {
	at, ok, err := w.next()
	w.at, w.ended = at, !ok
	return err
}

// firstsOf gives the first address of each network; that of a network around the
// walked range is the range's.
func firstsOf(next func() (maxminddb.Result, bool), within netip.Prefix) func() (netip.Addr, bool, error) {
	return func() (netip.Addr, bool, error) {
		result, ok := next()
		if !ok {
			return netip.Addr{}, false, nil
		}
		if err := result.Err(); err != nil {
			return netip.Addr{}, false, fmt.Errorf("walking the address database: %w", err)
		}
		at := result.Prefix().Addr()
		if !within.Contains(at) {
			at = within.Addr()
		}
		return at, true, nil
	}
}

// edgesOf gives the first address of each prefix, and the first behind it.
func edgesOf(prefixes []netip.Prefix, within netip.Prefix) func() (netip.Addr, bool, error) {
	var edges []netip.Addr
	for _, p := range prefixes {
		for _, a := range []netip.Addr{p.Addr(), lastOf(p).Next()} {
			if within.Contains(a) {
				edges = append(edges, a)
			}
		}
	}
	slices.SortFunc(edges, netip.Addr.Compare)
	return func() (netip.Addr, bool, error) {
		if len(edges) == 0 {
			return netip.Addr{}, false, nil
		}
		first := edges[0]
		edges = edges[1:]
		return first, true, nil
	}
}
