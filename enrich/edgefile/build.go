package edgefile

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"slices"

	"github.com/metiva-io/metiva/enrich/company"
	"github.com/metiva-io/metiva/enrich/geo"
	"github.com/metiva-io/metiva/pkg/businessnet"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// FileName is the name of the file next to the databases it was made from.
const FileName = "business.networks"

// Build asks the chain about every network of the length a collector may cut
// to, as enrich would be asked about an address that was.
func Build(ctx context.Context, view geo.View, chain *company.Chain) (*businessnet.Set, error) {
	var networks []netip.Prefix
	ask := func(n netip.Prefix) error {
		named, err := isCompany(view, chain, n)
		if named {
			networks = append(networks, n)
		}
		return err
	}
	err := view.IPv4Networks(ctx, businessnet.BitsMin, businessnet.BitsMax, ask)
	for _, n := range chain.Prefixes() { // the operator's rows
		if err == nil && n.Addr().Is4() && n.Bits() >= businessnet.BitsMin && n.Bits() <= businessnet.BitsMax {
			err = ask(n)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("reading the business networks: %w", err)
	}
	// Each database is walked from its start, and several may have the same.
	slices.SortFunc(networks, func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
	networks = slices.Compact(networks)
	set, err := businessnet.New(networks, view.BuildTime())
	if err != nil {
		return nil, fmt.Errorf("making the set of business networks: %w", err)
	}
	return set, nil
}

// isCompany reports whether the chain names a company for the network, by a record
// of exactly that network. Where a database divides it, or says something else of a
// part of it, the chain names none; and a network within that of the record that
// decides needs no precision of its own. So none of the networks holds another.
func isCompany(view geo.View, chain *company.Chain, n netip.Prefix) (bool, error) {
	answer, err := view.Lookup(n)
	if err != nil {
		return false, fmt.Errorf("looking a network up: %w", err)
	}
	var verdict metivav1.Resolution
	chain.Resolve(&verdict, company.Query{Network: n, Answer: answer})
	bits := int(verdict.GetPrefixBits())
	if verdict.GetSource() == company.SourceOverride {
		bits = answer.Bits // the override counts while that system announces the network
	}
	return verdict.GetVerdict() == metivav1.Verdict_VERDICT_COMPANY && bits == n.Bits(), nil
}

// Write writes the set to a file that appears under its name when it is whole: a
// collector that looks at it meanwhile finds the old one.
func Write(path string, set *businessnet.Set) error {
	err := geo.ReplaceFile(path, func(w io.Writer) error {
		_, err := w.Write(set.Append(nil))
		return err
	}, nil)
	if err != nil {
		return fmt.Errorf("writing the business networks: %w", err)
	}
	return nil
}
