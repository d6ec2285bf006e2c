package company

import (
	"errors"
	"fmt"
	"strings"

	"github.com/metiva-io/metiva/enrich/geo"
	"github.com/metiva-io/metiva/enrich/orgname"
)

// providers are those whose customers have their addresses: the access and
// mobile systems of systems.tsv by name, and providers.tsv by name and domain.
// Whatever a database says, none of them is a company that visits.
type providers struct {
	// keys are compact. Those of research networks count only within one: their
	// names are other companies' too.
	keys, research, domains map[string]struct{}
}

func parseProviders(content string, systems map[uint32]*system) (providers, error) {
	out := providers{keys: make(map[string]struct{}), research: make(map[string]struct{}), domains: make(map[string]struct{})}
	for _, s := range systems {
		key := strings.TrimPrefix(s.key, geo.AccountPrefix)
		switch s.kind {
		case kindAccess, kindMobile:
			out.keys[string(compact(nil, key))] = struct{}{}
			if brand := withoutCountry(key); brand != key {
				out.keys[string(compact(nil, brand))] = struct{}{}
			}
		case kindResearch:
			out.research[string(compact(nil, key))] = struct{}{}
		default:
		}
	}
	err := eachLine("providers", content, 3, func(f []string) error {
		if f[0] == "" || f[1] == "" {
			return errors.New("no name or no domain")
		}
		if orgname.Registrable(f[1]) != f[1] {
			return fmt.Errorf("%q is not a registrable domain", f[1])
		}
		out.keys[string(compact(nil, orgname.Key(f[0])))] = struct{}{}
		out.domains[f[1]] = struct{}{}
		return nil
	})
	return out, err
}

// has reports whether a company of this key (geo.Company) or domain is a provider.
func (p *providers) has(key, domain string) bool {
	if _, ok := p.domains[domain]; ok && domain != "" {
		return true
	}
	return nameIn(p.keys, key)
}

// hasResearch reports whether a company of this key is a research network.
func (p *providers) hasResearch(key string) bool { return nameIn(p.research, key) }

// nameIn looks a key up, then without the words that databases add to the brand of
// a provider: "Ziggo Services", "KPN Internet", "Koninklijke KPN". It does not
// allocate.
func nameIn(names map[string]struct{}, key string) bool {
	key = strings.TrimPrefix(key, geo.AccountPrefix)
	key = strings.TrimPrefix(key, "koninklijke-")
	var buf [128]byte
	for key != "" {
		if _, ok := names[string(compact(buf[:0], key))]; ok {
			return true
		}
		at := strings.LastIndexByte(key, '-')
		if at < 0 || !isProviderWord(key[at+1:]) {
			return false
		}
		key = key[:at]
	}
	return false
}

// compact is a key without the joints, which databases put where they like:
// "Vodafone Ziggo" and "VodafoneZiggo" are one.
func compact(dst []byte, key string) []byte {
	for i := range len(key) {
		if key[i] != '-' {
			dst = append(dst, key[i])
		}
	}
	return dst
}

// withoutCountry is a key without the country at its end.
func withoutCountry(key string) string {
	at := strings.LastIndexByte(key, '-')
	if at < 0 {
		return key
	}
	switch key[at+1:] {
	case "netherlands", "nederland", "belgium", "belgie", "deutschland", "germany", "luxembourg":
		return key[:at]
	}
	return key
}

// isProviderWord knows the words behind a provider's brand that say which part of it
// a network is for.
func isProviderWord(word string) bool {
	switch word {
	case "netherlands", "nederland", "belgium", "belgie", "belgique", "deutschland", "germany", "luxembourg", "france", "uk", "europe", "nl", "be", "de",
		"services", "service", "internet", "online", "mobile", "mobiel", "mobil", "wireless", "business", "zakelijk", "zakelijke", "markt", "consumer",
		"consumers", "consumenten", "residential", "home", "thuis", "customer", "customers", "klanten", "retail", "wholesale", "broadband", "breedband",
		"cable", "kabel", "fiber", "fibre", "glasvezel", "glasfaser", "dsl", "adsl", "vdsl", "ftth", "telecom", "telekom", "telecommunications",
		"telekommunikation", "telecommunicatie", "communications", "communication", "network", "networks", "netwerk", "netwerken", "netz", "net", "backbone",
		"infrastructure", "infra", "operations", "solutions", "group", "groep", "holding", "holdings", "international", "global", "static", "dynamic", "pool", "ip":
		return true
	}
	return false
}

// ownDomain is a domain that a database found by reverse DNS, when it is surely that
// of the company.
func (p *providers) ownDomain(domain, name string) string {
	if domain == "" || p.has("", domain) || !orgname.OwnDomain(name, domain) {
		return ""
	}
	return domain
}
