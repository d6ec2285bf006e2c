package metiva

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"

	"github.com/metiva-io/metiva/cmd/internal/stack"
	"github.com/metiva-io/metiva/enrich/company"
	"github.com/metiva-io/metiva/enrich/geo"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

type geoCommand struct {
	Build  geoBuild  `cmd:"" help:"Build the default company database from the installed data."`
	Lookup geoLookup `cmd:"" help:"Print the verdict for addresses, one JSON object each."`
}

type geoBuild struct {
	dataFlags
	Out string `help:"Directory to write to; default: geo in the cache."`
}

// Run builds the database and prints the report as JSON.
func (c *geoBuild) Run(ctx context.Context, t terminal) error {
	cache, err := c.cacheDir()
	if err != nil {
		return err
	}
	if c.Out == "" {
		c.Out = filepath.Join(cache, "geo")
	}
	report, err := stack.BuildGeo(ctx, cache, c.Out, func(format string, args ...any) { t.printf(format+"\n", args...) })
	if err != nil {
		return err
	}
	return json.NewEncoder(t.out).Encode(report)
}

type geoLookup struct {
	dataFlags
	Geo       string   `env:"METIVA_GEO_DIR" help:"Directory of the databases; default: geo in the cache."`
	Addresses []string `arg:"" help:"Addresses to look up, as the worker would on what is left after truncation."`
}

// lookupLine is the answer for one address. The address is the operator's own
// argument; no visitor's is ever printed.
type lookupLine struct {
	Address    string  `json:"address"`
	Verdict    string  `json:"verdict"`
	Name       string  `json:"name,omitempty"`
	Domain     string  `json:"domain,omitempty"`
	Account    string  `json:"account,omitempty"`
	Confidence float32 `json:"confidence"`
	Reason     string  `json:"reason"`
	ASN        uint32  `json:"asn,omitempty"`
	Prefix     string  `json:"prefix,omitempty"`
	Country    string  `json:"country,omitempty"`
}

// Truncation of addresses at the edge (DESIGN.md §4).
const (
	truncateIPv4Bits = 24
	truncateIPv6Bits = 48
)

// Run prints one line for each address.
func (c *geoLookup) Run(t terminal) error {
	if c.Geo == "" {
		cache, err := c.cacheDir()
		if err != nil {
			return err
		}
		c.Geo = filepath.Join(cache, "geo")
	}
	databases, err := geo.OpenDatabases(geo.Files{ASN: filepath.Join(c.Geo, geo.FileASN), Country: filepath.Join(c.Geo, geo.FileCountry)})
	if err != nil {
		return err
	}
	defer func() { _ = databases.Close() }()
	chain, err := company.NewChain(company.Config{})
	if err != nil {
		return err
	}
	view, err := databases.View()
	if err != nil {
		return err
	}
	defer view.Release()
	for _, text := range c.Addresses {
		line, err := lookup(view, chain, text)
		if err != nil {
			return err
		}
		if err := json.NewEncoder(t.out).Encode(line); err != nil {
			return fmt.Errorf("printing a verdict: %w", err)
		}
	}
	return nil
}

// lookup decides about one address as the worker would.
func lookup(view geo.View, chain *company.Chain, text string) (lookupLine, error) {
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return lookupLine{}, errors.New("an argument is not an IP address")
	}
	addr = addr.Unmap()
	bits := truncateIPv6Bits
	if addr.Is4() {
		bits = truncateIPv4Bits
	}
	network, err := addr.WithZone("").Prefix(bits)
	if err != nil {
		return lookupLine{}, fmt.Errorf("truncating an address: %w", err)
	}
	answer, err := view.Lookup(network)
	if err != nil {
		return lookupLine{}, err
	}
	var verdict metivav1.Resolution
	chain.Resolve(&verdict, company.Query{
		Network: network, Found: answer.Outcome == geo.OutcomeFound, Ambiguous: answer.Outcome == geo.OutcomeAmbiguous,
		ASN: answer.ASN, Organization: answer.Organization, MatchedBits: answer.Bits, DatabaseBuildMs: answer.Build.UnixMilli(),
	})
	line := lookupLine{
		Address: text, Verdict: schemas.Label(verdict.GetVerdict()), Name: verdict.GetName(), Domain: verdict.GetDomain(),
		Account: verdict.GetAccountId(), Confidence: verdict.GetConfidence(), Reason: verdict.GetSource(), ASN: verdict.GetAsn(),
		Country: answer.Country,
	}
	if verdict.GetPrefixBits() > 0 {
		matched, err := network.Addr().Prefix(int(verdict.GetPrefixBits()))
		if err != nil {
			return lookupLine{}, fmt.Errorf("naming the matched network: %w", err)
		}
		line.Prefix = matched.String()
	}
	return line, nil
}
