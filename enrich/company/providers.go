package company

import (
	"errors"
	"fmt"

	"github.com/metiva-io/metiva/enrich/geo"
	"github.com/metiva-io/metiva/enrich/orgname"
)

// providers are those whose customers have their addresses: the access and
// mobile systems of systems.tsv by name, and providers.tsv by name and domain.
// Whatever a database says, none of them is a company that visits.
type providers struct {
	keys, domains map[string]struct{}
}

func parseProviders(content string, systems map[uint32]*system) (providers, error) {
	out := providers{keys: make(map[string]struct{}), domains: make(map[string]struct{})}
	for _, s := range systems {
		if s.kind == kindAccess || s.kind == kindMobile {
			out.keys[s.key] = struct{}{}
		}
	}
	err := eachLine("providers", content, 3, func(f []string) error {
		if f[0] == "" || f[1] == "" {
			return errors.New("no name or no domain")
		}
		if orgname.Registrable(f[1]) != f[1] {
			return fmt.Errorf("%q is not a registrable domain", f[1])
		}
		out.keys[geo.AccountPrefix+orgname.Key(f[0])] = struct{}{}
		out.domains[f[1]] = struct{}{}
		return nil
	})
	return out, err
}

// has reports whether a company of this key or domain is a provider.
func (p *providers) has(key, domain string) bool {
	if _, ok := p.keys[key]; ok {
		return true
	}
	_, ok := p.domains[domain]
	return ok && domain != ""
}

// ownDomain is a domain found by reverse DNS, unless it is a provider's: one of
// the list, or one that bears the name of the system's organisation.
func (p *providers) ownDomain(domain, system string) string {
	if domain == "" || p.has("", domain) || orgname.NameHolds(system, domain) {
		return ""
	}
	return domain
}
