package edgefile

import (
	"context"
	"fmt"
	"io"
	"net/netip"

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
	seen := make(map[netip.Prefix]struct{}) // several databases may have the same
	err := view.IPv4Networks(ctx, businessnet.BitsMin, businessnet.BitsMax, func(n netip.Prefix) error {
		named, err := isCompany(view, chain, n)
		if _, twice := seen[n]; named && !twice {
			seen[n] = struct{}{}
			networks = append(networks, n)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading the business networks: %w", err)
	}
	set, err := businessnet.New(networks, view.BuildTime())
	if err != nil {
		return nil, fmt.Errorf("making the set of business networks: %w", err)
	}
	return set, nil
}

// isCompany reports whether the chain names a company for the network, which is
// that of a record. Where a database divides it, or says something else of a part
// of it, the chain names none; so none of the networks holds another.
func isCompany(view geo.View, chain *company.Chain, n netip.Prefix) (bool, error) {
	answer, err := view.Lookup(n)
	if err != nil {
		return false, fmt.Errorf("looking a network up: %w", err)
	}
	var verdict metivav1.Resolution
	chain.Resolve(&verdict, company.Query{Network: n, Answer: answer})
	return verdict.GetVerdict() == metivav1.Verdict_VERDICT_COMPANY, nil
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
