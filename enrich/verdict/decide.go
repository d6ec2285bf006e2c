package verdict

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/metiva-io/metiva/enrich/company"
	"github.com/metiva-io/metiva/enrich/geo"
	"github.com/metiva-io/metiva/pkg/businessnet"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// Truncation of addresses at the edge (DESIGN.md §4).
const (
	truncateIPv4Bits = 24
	truncateIPv6Bits = 48
)

// Judge is a set of databases and a chain.
type Judge struct {
	View  geo.View
	Chain *company.Chain
	// Reverse is asked for the names of networks; nil is nobody.
	Reverse company.ReverseNames
}

// Decision is the verdict on a network with its evidence. It is what `metiva geo
// lookup` prints.
type Decision struct {
	// Network is what was asked for: the whole address, or what is left of it
	// after truncation.
	Network    string  `json:"network"`
	Verdict    string  `json:"verdict"`
	Name       string  `json:"name,omitempty"`
	Domain     string  `json:"domain,omitempty"`
	Account    string  `json:"account,omitempty"`
	Confidence float32 `json:"confidence"`
	Reason     string  `json:"reason"`
	ASN        uint32  `json:"asn,omitempty"`
	// Prefix is the matched network: of the record, or of the override.
	Prefix string `json:"prefix,omitempty"`
	// DatabaseBuildMs is the build time of the database that spoke.
	DatabaseBuildMs int64  `json:"database_build_ms,omitempty"`
	Country         string `json:"country,omitempty"`
}

// Decide asks about a network as the worker would.
func (j Judge) Decide(network netip.Prefix) (Decision, error) {
	network = geo.Unmap(network)
	var resolution metivav1.Resolution
	country, err := j.resolve(&resolution, network)
	if err != nil {
		return Decision{}, err
	}
	d := Decision{
		Network: network.String(), Verdict: schemas.Label(resolution.GetVerdict()), Name: resolution.GetName(), Domain: resolution.GetDomain(),
		Account: resolution.GetAccountId(), Confidence: resolution.GetConfidence(), Reason: resolution.GetSource(), ASN: resolution.GetAsn(),
		DatabaseBuildMs: resolution.GetDatabaseBuildMs(), Country: country,
	}
	if bits := int(resolution.GetPrefixBits()); bits > 0 {
		matched, err := network.Addr().Prefix(bits)
		if err != nil {
			return Decision{}, fmt.Errorf("naming the matched network: %w", err)
		}
		d.Prefix = matched.String()
	}
	return d, nil
}

func (j Judge) resolve(dst *metivav1.Resolution, network netip.Prefix) (country string, err error) {
	if !network.IsValid() {
		return "", errors.New("asking about an invalid network")
	}
	answer, err := j.View.Lookup(network)
	if err != nil {
		return "", fmt.Errorf("looking a network up: %w", err)
	}
	j.Chain.Resolve(dst, company.Query{Network: network, Answer: answer, Reverse: j.Reverse})
	return answer.Country, nil
}

// Full and Truncated are the networks of an address: the whole of it, and what a
// collector leaves of it. Finer is the set of a collector of the precision
// network, or nil.
func Full(addr netip.Addr) netip.Prefix {
	addr = addr.Unmap().WithZone("")
	return netip.PrefixFrom(addr, addr.BitLen())
}

// Truncated is described at Full.
func Truncated(addr netip.Addr, finer *businessnet.Set) netip.Prefix {
	addr = addr.Unmap().WithZone("")
	bits := truncateIPv6Bits
	if addr.Is4() {
		bits = max(truncateIPv4Bits, finer.LengthOf(addr))
	}
	return netip.PrefixFrom(addr, bits).Masked()
}
