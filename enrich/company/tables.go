package company

import (
	_ "embed"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/gaissmai/bart"

	"github.com/metiva-io/metiva/enrich/geo"
	"github.com/metiva-io/metiva/enrich/orgname"
)

//go:embed data/systems.tsv
var systemsTSV string

//go:embed data/overrides.tsv
var overridesTSV string

//go:embed data/providers.tsv
var providersTSV string

//go:embed data/anonymizers.tsv
var anonymizersTSV string

//go:embed data/reserved.tsv
var reservedTSV string

// kind is what a network is for.
type kind uint8

const (
	kindUnknown    kind = iota
	kindAccess          // access provider: its addresses are its customers'
	kindMobile          // mobile access
	kindResearch        // research and education network
	kindHosting         // hosting, cloud, content delivery
	kindAnonymizer      // VPN, proxy, Tor, security egress
	kindMixed           // access (also of guests), hosting and offices in one AS
	kindBusiness        // one organisation
	kindGovernment
	kindEducation
)

func parseKind(s string) (kind, bool) {
	switch s {
	case "isp":
		return kindAccess, true
	case "mobile":
		return kindMobile, true
	case "nren":
		return kindResearch, true
	case "hosting":
		return kindHosting, true
	case "anonymizer":
		return kindAnonymizer, true
	case "mixed":
		return kindMixed, true
	case "business":
		return kindBusiness, true
	case "government":
		return kindGovernment, true
	case "education":
		return kindEducation, true
	}
	return kindUnknown, false
}

// isOrganization reports whether networks of the kind are one organisation's.
func (k kind) isOrganization() bool {
	return k == kindBusiness || k == kindGovernment || k == kindEducation
}

// organization is what is shown of a company.
type organization struct {
	name string
	// domain is the registrable domain, or empty when it is not known.
	domain string
	// account is the identity of the company, stable across databases: the
	// domain where it is known, else the number or the key of the name.
	account string
}

// system is one line of systems.tsv.
type system struct {
	kind kind
	// announced is the organisation as the ASN data names it.
	announced string
	// key is that of announced, as in geo.Company; nameKey is orgname.Key of the name
	// to show.
	key, nameKey string
	organization organization
}

// override is one line of overrides.tsv.
type override struct {
	asn          uint32
	organization organization
}

// Config sets what differs between installations.
type Config struct {
	// ShowAt is the least confidence at which a company is shown; zero means
	// ShowAtDefault.
	ShowAt float32
	// Suppressions are prefixes never resolved.
	Suppressions []Suppression
	// Rows are the operator's CSV (ReadRows).
	Rows []Row
}

// Validate reports every fault of the configuration.
func (c Config) Validate() error {
	var faults []error
	if c.ShowAt < 0 || c.ShowAt > 1 {
		faults = append(faults, fmt.Errorf("company: ShowAt %v is not between 0 and 1", c.ShowAt))
	}
	for i, s := range c.Suppressions {
		if err := s.check(); err != nil {
			faults = append(faults, fmt.Errorf("company: suppression %d %w", i, err))
		}
	}
	return errors.Join(faults...)
}

// NewChain reads the tables built into the program. An error in them is found
// here, at start.
func NewChain(cfg Config) (*Chain, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	c := &Chain{showAt: cfg.ShowAt, suppressed: newSuppressions(cfg.Suppressions), operatorSet: len(cfg.Rows) > 0}
	if c.showAt == 0 {
		c.showAt = ShowAtDefault
	}
	var err error
	if c.reserved, err = parsePrefixes("reserved", reservedTSV); err != nil {
		return nil, err
	}
	if c.anonymizers, err = parsePrefixes("anonymizers", anonymizersTSV); err != nil {
		return nil, err
	}
	if c.overrides, err = parseOverrides(overridesTSV); err != nil {
		return nil, err
	}
	if c.systems, err = parseSystems(systemsTSV); err != nil {
		return nil, err
	}
	if c.providers, err = parseProviders(providersTSV, c.systems); err != nil {
		return nil, err
	}
	if c.domains, err = parseDomains(hostersTSV, c); err != nil {
		return nil, err
	}
	for i, row := range cfg.Rows {
		if err := c.operator.add(row, &c.providers); err != nil {
			return nil, fmt.Errorf("company: row %d of the operator's CSV: %w", i+1, err)
		}
	}
	return c, nil
}

// eachLine calls each with the fields of every line that is neither empty nor
// a comment.
func eachLine(table, content string, fields int, each func([]string) error) error {
	number := 0
	for line := range strings.Lines(content) {
		number++
		line = strings.TrimRight(line, "\r\n")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		parts := strings.Split(line, "\t")
		if len(parts) != fields {
			return fmt.Errorf("company: %s line %d has %d fields, not %d", table, number, len(parts), fields)
		}
		for i, p := range parts {
			if p == "-" {
				parts[i] = ""
			}
		}
		if parts[fields-1] == "" {
			return fmt.Errorf("company: %s line %d has no source", table, number)
		}
		if err := each(parts); err != nil {
			return fmt.Errorf("company: %s line %d: %w", table, number, err)
		}
	}
	return nil
}

func parseSystems(content string) (map[uint32]*system, error) {
	out := make(map[uint32]*system)
	err := eachLine("systems", content, 6, func(f []string) error {
		asn, err := parseASN(f[0])
		if err != nil {
			return err
		}
		k, ok := parseKind(f[1])
		if !ok {
			return fmt.Errorf("unknown kind %q", f[1])
		}
		if _, twice := out[asn]; twice {
			return fmt.Errorf("AS%d stands here twice", asn)
		}
		s := &system{kind: k, announced: f[2], key: geo.AccountPrefix + orgname.Key(f[2]), organization: organization{name: f[3], domain: f[4], account: f[4]}}
		s.nameKey = orgname.Key(f[3])
		if s.organization.account == "" {
			s.organization.account = "as" + f[0]
		}
		if k.isOrganization() != (s.organization.name != "") {
			return fmt.Errorf("AS%d: a name belongs to an organisation, and only to one", asn)
		}
		out[asn] = s
		return nil
	})
	return out, err
}

// Longest prefixes an override may have, so that a truncated address lies in
// it entirely or not at all.
const (
	overrideBitsMaxIPv4 = 24
	overrideBitsMaxIPv6 = 48
)

func overrideBitsMax(p netip.Prefix) int {
	if p.Addr().Is4() {
		return overrideBitsMaxIPv4
	}
	return overrideBitsMaxIPv6
}

func parseOverrides(content string) (*bart.Table[override], error) {
	out := new(bart.Table[override])
	err := eachLine("overrides", content, 5, func(f []string) error {
		prefix, err := parsePrefix(f[0])
		if err != nil {
			return err
		}
		if prefix.Bits() > overrideBitsMax(prefix) {
			return fmt.Errorf("%s is longer than a truncated address", prefix)
		}
		asn, err := parseASN(f[1])
		if err != nil {
			return err
		}
		if f[2] == "" || f[3] == "" {
			return fmt.Errorf("%s has no name or no domain", prefix)
		}
		if _, twice := out.Get(prefix); twice {
			return fmt.Errorf("%s stands here twice", prefix)
		}
		out.Insert(prefix, override{asn: asn, organization: organization{name: f[2], domain: f[3], account: f[3]}})
		return nil
	})
	return out, err
}

func parsePrefixes(table, content string) (*bart.Lite, error) {
	out := new(bart.Lite)
	err := eachLine(table, content, 2, func(f []string) error {
		prefix, err := parsePrefix(f[0])
		if err != nil {
			return err
		}
		out.Insert(prefix)
		return nil
	})
	return out, err
}

func parsePrefix(s string) (netip.Prefix, error) {
	prefix, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("reading a prefix: %w", err)
	}
	if prefix != prefix.Masked() {
		return netip.Prefix{}, fmt.Errorf("%s has bits set behind its length", prefix)
	}
	return prefix, nil
}

func parseASN(s string) (uint32, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%q is not an AS number", s)
	}
	return uint32(n), nil
}
