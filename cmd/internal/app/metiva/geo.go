package metiva

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/metiva-io/metiva/cmd/internal/stack"
	"github.com/metiva-io/metiva/enrich/company"
	"github.com/metiva-io/metiva/enrich/edgefile"
	"github.com/metiva-io/metiva/enrich/geo"
	"github.com/metiva-io/metiva/pkg/businessnet"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

type geoCommand struct {
	Build  geoBuild  `cmd:"" help:"Build the default company database from the installed data."`
	Lookup geoLookup `cmd:"" help:"Print the verdict for addresses, one JSON object each."`

	Networks geoNetworks `cmd:"" help:"Write the business networks of the databases, for collectors of the precision network."`
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
	Networks  string   `help:"File of business networks: cut addresses as a collector with it does for sites of the precision network."`
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
	dir, err := c.geoDir(c.Geo)
	if err != nil {
		return err
	}
	var finer *businessnet.Set
	if c.Networks != "" {
		if finer, err = businessnet.Load(c.Networks); err != nil {
			return err
		}
	}
	return withGeo(dir, func(view geo.View, chain *company.Chain) error {
		for _, text := range c.Addresses {
			line, err := lookup(view, chain, finer, text)
			if err != nil {
				return err
			}
			if err := json.NewEncoder(t.out).Encode(line); err != nil {
				return fmt.Errorf("printing a verdict: %w", err)
			}
		}
		return nil
	})
}

// geoDir is the directory of the databases; empty is the default one.
func (f dataFlags) geoDir(dir string) (string, error) {
	if dir != "" {
		return dir, nil
	}
	cache, err := f.cacheDir()
	return filepath.Join(cache, "geo"), err
}

// withGeo opens the databases of a directory, as enrich does: countries are
// optional.
func withGeo(dir string, do func(view geo.View, chain *company.Chain) error) error {
	files := geo.Files{ASN: filepath.Join(dir, geo.FileASN)}
	if country := filepath.Join(dir, geo.FileCountry); fileExists(country) {
		files.Country = country
	}
	databases, err := geo.OpenDatabases(files)
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
	return do(view, chain)
}

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

type geoNetworks struct {
	dataFlags
	Geo string `env:"METIVA_GEO_DIR" help:"Directory of the databases; default: geo in the cache."`
	Out string `help:"File to write; default: business.networks beside the databases. It is replaced as a whole."`
}

// networksReport is what the command prints.
type networksReport struct {
	File      string    `json:"file"`
	Networks  int       `json:"networks"`
	BuildTime time.Time `json:"build_time"`
}

// Run writes the file and prints what is in it as JSON.
func (c *geoNetworks) Run(ctx context.Context, t terminal) error {
	dir, err := c.geoDir(c.Geo)
	if err != nil {
		return err
	}
	if c.Out == "" {
		c.Out = filepath.Join(dir, edgefile.FileName)
	}
	return withGeo(dir, func(view geo.View, chain *company.Chain) error {
		set, err := edgefile.Build(ctx, view, chain)
		if err != nil {
			return err
		}
		if err := edgefile.Write(c.Out, set); err != nil {
			return err
		}
		return json.NewEncoder(t.out).Encode(networksReport{File: c.Out, Networks: set.Len(), BuildTime: set.BuildTime()})
	})
}

// lookup decides about one address as the worker would.
func lookup(view geo.View, chain *company.Chain, finer *businessnet.Set, text string) (lookupLine, error) {
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return lookupLine{}, errors.New("an argument is not an IP address")
	}
	addr = addr.Unmap()
	bits := truncateIPv6Bits
	if addr.Is4() {
		bits = max(truncateIPv4Bits, finer.LengthOf(addr))
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
