package verdict

import (
	"cmp"
	"context"
	"net/netip"
	"slices"

	"github.com/metiva-io/metiva/enrich/geo"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// Change is an account whose networks changed. Networks are /24 of IPv4 and /48
// of IPv6; what is smaller counts as a part of one.
type Change struct {
	Account string `json:"account"`
	Name    string `json:"name"`
	// Before and After are how many networks it has.
	BeforeIPv4 float64 `json:"before_24"`
	AfterIPv4  float64 `json:"after_24"`
	BeforeIPv6 float64 `json:"before_48"`
	AfterIPv6  float64 `json:"after_48"`
}

// Turn is how many networks went from one verdict to another.
type Turn struct {
	From string  `json:"from"`
	To   string  `json:"to"`
	IPv4 float64 `json:"networks_24"`
	IPv6 float64 `json:"networks_48"`
}

// Difference is what changes when one set of databases takes the place of
// another.
type Difference struct {
	// Same are the networks with the same verdict and the same account.
	SameIPv4 float64 `json:"same_24"`
	SameIPv6 float64 `json:"same_48"`
	// Renamed are networks that are a company's before and after, of another
	// account.
	RenamedIPv4 float64 `json:"renamed_24"`
	RenamedIPv6 float64 `json:"renamed_48"`
	Turns       []Turn  `json:"turns"`
	// Gone, New and Moved are accounts: with no network left, with none before,
	// and with others than before. The most networks come first.
	Gone  []Change `json:"gone"`
	New   []Change `json:"new"`
	Moved []Change `json:"moved"`
}

type turnKey struct{ from, to metivav1.Verdict }

type differ struct {
	before, after Judge
	ipv6          bool
	diff          Difference
	turns         map[turnKey]*Turn
	accounts      map[string]*Change
	at            netip.Addr
	from, to      metivav1.Resolution
	open          bool
}

// Diff walks both sets of databases and compares the verdicts on every address.
// Progress may be nil; it gets the address the walk has come to.
func Diff(ctx context.Context, before, after Judge, progress func(netip.Addr)) (Difference, error) {
	d := differ{before: before, after: after, turns: make(map[turnKey]*Turn), accounts: make(map[string]*Change)}
	for _, ipv6 := range []bool{false, true} {
		d.ipv6, d.open = ipv6, false
		seen := 0
		tables := append(before.Chain.Prefixes(), after.Chain.Prefixes()...)
		err := geo.Boundaries(ctx, []geo.View{before.View, after.View}, tables, ipv6, func(at netip.Addr) error {
			if seen++; progress != nil && seen%(1<<18) == 0 {
				progress(at)
			}
			return d.step(at)
		})
		if err != nil {
			return Difference{}, err
		}
		d.close(netip.Addr{})
	}
	return d.result(), nil
}

// step ends the stretch before at and begins the one there.
func (d *differ) step(at netip.Addr) error {
	d.close(at)
	if _, err := d.before.resolve(&d.from, Full(at)); err != nil {
		return err
	}
	if _, err := d.after.resolve(&d.to, Full(at)); err != nil {
		return err
	}
	d.at, d.open = at, true
	return nil
}

// close counts the stretch up to end, or to the end of the family.
func (d *differ) close(end netip.Addr) {
	if !d.open {
		return
	}
	d.open = false
	size := d.size(end)
	add := func(ipv4, ipv6 *float64) {
		if d.ipv6 {
			*ipv6 += size
		} else {
			*ipv4 += size
		}
	}
	from, to := &d.from, &d.to
	if id := from.GetAccountId(); id != "" {
		c := d.account(id, from.GetName())
		add(&c.BeforeIPv4, &c.BeforeIPv6)
	}
	if id := to.GetAccountId(); id != "" {
		c := d.account(id, to.GetName())
		add(&c.AfterIPv4, &c.AfterIPv6)
	}
	switch {
	case from.GetVerdict() != to.GetVerdict():
		key := turnKey{from.GetVerdict(), to.GetVerdict()}
		t := d.turns[key]
		if t == nil {
			t = &Turn{From: schemas.Label(key.from), To: schemas.Label(key.to)}
			d.turns[key] = t
		}
		add(&t.IPv4, &t.IPv6)
	case from.GetAccountId() != to.GetAccountId():
		add(&d.diff.RenamedIPv4, &d.diff.RenamedIPv6)
	default:
		add(&d.diff.SameIPv4, &d.diff.SameIPv6)
	}
}

// size of the stretch from d.at to end, in /24 or /48.
func (d *differ) size(end netip.Addr) float64 {
	if d.ipv6 {
		last := float64(1 << 46) // the end of 2000::/3, in /48
		if end.IsValid() {
			last = networks48(end)
		}
		return last - networks48(d.at)
	}
	last := float64(1 << 24)
	if end.IsValid() {
		last = networks24(end)
	}
	return last - networks24(d.at)
}

func networks24(a netip.Addr) float64 {
	b := a.As4()
	return float64(uint32(b[0])<<24|uint32(b[1])<<16|uint32(b[2])<<8|uint32(b[3])) / 256
}

func networks48(a netip.Addr) float64 {
	b := a.As16()
	var high uint64
	for _, octet := range b[:8] {
		high = high<<8 | uint64(octet)
	}
	return float64(high) / (1 << 16)
}

func (d *differ) account(id, name string) *Change {
	c := d.accounts[id]
	if c == nil {
		c = &Change{Account: id}
		d.accounts[id] = c
	}
	c.Name = name
	return c
}

func (d *differ) result() Difference {
	out := d.diff
	for _, t := range d.turns {
		out.Turns = append(out.Turns, *t)
	}
	for _, c := range d.accounts {
		before, after := c.BeforeIPv4+c.BeforeIPv6, c.AfterIPv4+c.AfterIPv6
		switch {
		case after == 0:
			out.Gone = append(out.Gone, *c)
		case before == 0:
			out.New = append(out.New, *c)
		case c.BeforeIPv4 != c.AfterIPv4 || c.BeforeIPv6 != c.AfterIPv6:
			out.Moved = append(out.Moved, *c)
		}
	}
	slices.SortFunc(out.Turns, func(a, b Turn) int {
		return cmp.Or(cmp.Compare(b.IPv4, a.IPv4), cmp.Compare(b.IPv6, a.IPv6), cmp.Compare(a.From+a.To, b.From+b.To))
	})
	for _, list := range [][]Change{out.Gone, out.New, out.Moved} {
		slices.SortFunc(list, func(a, b Change) int {
			return cmp.Or(cmp.Compare(max(b.BeforeIPv4, b.AfterIPv4), max(a.BeforeIPv4, a.AfterIPv4)), cmp.Compare(a.Account, b.Account))
		})
	}
	return out
}
