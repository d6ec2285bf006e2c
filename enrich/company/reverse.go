package company

import (
	_ "embed"
	"fmt"
	"net/netip"
	"strings"

	"github.com/metiva-io/metiva/enrich/geo"
	"github.com/metiva-io/metiva/enrich/orgname"
)

//go:embed data/hosters.tsv
var hostersTSV string

// ReverseNames knows the registrable domain that all names of a network are under, or
// says nothing. It is asked about networks that nothing else is known of, and answers at
// once (reversedns.Answers).
type ReverseNames interface {
	Domain(network netip.Prefix) string
}

// ReverseFunc is a function that knows.
type ReverseFunc func(network netip.Prefix) string

// Domain calls it.
func (f ReverseFunc) Domain(network netip.Prefix) string { return f(network) }

// domainTable is what a domain found by reverse DNS says.
type domainTable struct {
	// letting are the domains of those whose addresses others use, brands their names
	// as they stand in domains.
	letting, brands map[string]struct{}
	// organizations are those of the tables, by domain.
	organizations map[string]*organization
}

// brandBytesMin: a shorter first word of a name is no brand on its own.
const brandBytesMin = 5

func parseDomains(content string, c *Chain) (domainTable, error) {
	t := domainTable{letting: make(map[string]struct{}), brands: make(map[string]struct{}), organizations: make(map[string]*organization)}
	err := eachLine("hosters", content, 2, func(f []string) error {
		if orgname.Registrable(f[0]) != f[0] {
			return fmt.Errorf("%q is not a registrable domain", f[0])
		}
		t.letting[f[0]] = struct{}{}
		return nil
	})
	for _, s := range c.systems {
		key := strings.TrimPrefix(s.key, geo.AccountPrefix)
		switch {
		case s.kind.isOrganization():
			t.addOrganization(&s.organization)
		default:
			t.brands[string(compact(nil, key))] = struct{}{}
			if first, _, _ := strings.Cut(key, "-"); len(first) >= brandBytesMin {
				t.brands[first] = struct{}{}
			}
		}
	}
	for _, o := range c.overrides.All() {
		t.addOrganization(&o.organization)
	}
	return t, err
}

// addOrganization keeps one of a domain: of several, the first by name.
func (t *domainTable) addOrganization(o *organization) {
	if before := t.organizations[o.domain]; o.domain != "" && (before == nil || o.name < before.name) {
		t.organizations[o.domain] = o
	}
}

// lets reports whether others use the addresses whose names are under a domain.
func (t *domainTable) lets(domain string, p *providers) bool {
	if _, ok := t.letting[domain]; ok || p.has("", domain) {
		return true
	}
	label, _, _ := strings.Cut(domain, ".")
	if _, ok := t.brands[strings.ReplaceAll(label, "-", "")]; ok {
		return true
	}
	return nameIn(p.keys, label)
}

// reverse names the organisation whose names a network has, where nothing else is known
// of it. No verdict gives way to it: it is asked about a network only when nobody says
// what kind it is, so neither an access provider's line nor a hosted machine gets a name
// by what somebody wrote into DNS.
func (s *step) reverse() bool {
	if s.q.Reverse == nil || confidenceReverseDNS < s.c.showAt || s.row.found || s.a.Split || s.a.Partial || s.row.split || s.row.partial {
		return false
	}
	if s.a.SystemKind != geo.KindUnknown || s.recordSpeaks() {
		return false
	}
	domain := s.q.Reverse.Domain(s.q.Network)
	if domain == "" || s.c.domains.lets(domain, &s.c.providers) || s.isContradicted(domain) || s.isAnnouncers(domain) {
		return false
	}
	o := organization{name: domain, domain: domain, account: domain}
	if known := s.c.domains.organizations[domain]; known != nil {
		o = *known
	} else if label, _, _ := strings.Cut(domain, "."); orgname.LooksLikePerson(strings.ReplaceAll(label, "-", " ")) {
		return false // "jan-jansen.nl" names a person as much as the name does
	}
	s.dst.PrefixBits, s.dst.DatabaseBuildMs = uint32(s.q.Network.Bits()), s.a.Build.UnixMilli()
	return s.company(o, SourceReverseDNS, confidenceReverseDNS)
}

// recordSpeaks reports whether a record says enough of who uses the network: what kind
// it is, or by the name alone that it is a person's or an access provider's.
func (s *step) recordSpeaks() bool {
	r := s.a.Company
	return r != nil && (r.Kind != geo.KindUnknown || r.Person || s.c.providers.has(r.Key, r.Domain))
}

// isContradicted reports whether another source has somebody else for the network: two
// sources, two answers.
func (s *step) isContradicted(domain string) bool {
	r := s.a.Company
	switch {
	case s.a.Domain != "" && s.a.Domain != domain:
		return true
	case r == nil:
		return false
	case r.Domain != "":
		return r.Domain != domain
	}
	return r.Name != "" && !r.Provider && !orgname.OwnDomain(r.Name, domain)
}

// isAnnouncers reports whether a domain may be that of who announces the network or
// provides the access. It says no more than the announcement, which names nobody either.
// Small providers name their customers' lines under a spelling of their own name.
func (s *step) isAnnouncers(domain string) bool {
	label, _, _ := strings.Cut(domain, ".")
	if orgname.OwnDomain(s.a.Organization, domain) || orgname.Related(s.a.OrganizationKey, label) {
		return true
	}
	r := s.a.Company
	return r != nil && r.Provider && (r.Domain == domain || orgname.OwnDomain(r.Name, domain) || orgname.Related(strings.TrimPrefix(r.Key, geo.AccountPrefix), label))
}
