package geo

import "github.com/metiva-io/metiva/enrich/orgname"

// Kind is what a database says a network is used for.
type Kind uint8

// The kinds. A database's own words are in kindOf.
const (
	KindUnknown    Kind = iota
	KindAccess          // an access provider's customers
	KindMobile          // a mobile network
	KindHosting         // hosting, content delivery, crawlers
	KindAnonymizer      // a network that hides its users
	KindGuests          // hotels, cafes, libraries: whoever is there
	KindBusiness        // one organisation
	KindGovernment
	KindEducation
)

// IsOrganization reports whether the users of such a network are one
// organisation's.
func (k Kind) IsOrganization() bool {
	return k == KindBusiness || k == KindGovernment || k == KindEducation
}

// kindOf reads GeoIP2's user_type and IPinfo's type and as_type. What is not
// known is no kind.
func kindOf(text string) Kind {
	switch text {
	case "isp", "residential", "router", "dialup":
		return KindAccess
	case "cellular":
		return KindMobile
	case "hosting", "content_delivery_network", "search_engine_spider":
		return KindHosting
	case "consumer_privacy_network":
		return KindAnonymizer
	case "cafe", "traveler", "library":
		return KindGuests
	case "business":
		return KindBusiness
	case "government", "military":
		return KindGovernment
	case "education", "college", "school":
		return KindEducation
	}
	return KindUnknown
}

// AccountPrefix stands before the key of a name in an account id.
const AccountPrefix = "org:"

// Company is the organisation that uses a network, as a database has it.
type Company struct {
	Name string
	// Domain is its registrable domain; empty when it is not known, or is that
	// of the provider.
	Domain string
	// Key is the account of an organisation whose domain is not known:
	// AccountPrefix and orgname.Key of the name.
	Key  string
	Kind Kind
	// Provider says that the organisation is the one that provides the access.
	Provider bool
	// Person says that the name looks like a natural person's.
	Person bool
}

// facts is what one record says. Records are decoded once and kept by their
// offset, so what is derived of a name is derived here.
type facts struct {
	asn          uint32
	organization string
	key          string // orgname.Key of organization
	person       bool   // organization looks like a person's name
	kind         Kind   // of the system, where the database knows it
	country      string
	region       string
	anonymous    bool
	hosting      bool
	mobile       bool
	domain       string // LayoutDomain
	company      *Company
}

// newCompany describes the organisation of a record. Of provider and system, the
// names and domains of who provides the access, each may be empty.
func newCompany(name, domain string, kind Kind, providers, domains []string) *Company {
	name = cleanOrganization(name)
	key := orgname.Key(name)
	if name == "" || key == "" {
		return &Company{Kind: kind}
	}
	c := &Company{Name: name, Domain: orgname.Registrable(domain), Key: AccountPrefix + key, Kind: kind}
	// No government and no university is a person, whatever its name.
	c.Person = kind != KindGovernment && kind != KindEducation && orgname.LooksLikePerson(name)
	for _, p := range providers {
		c.Provider = c.Provider || orgname.Same(name, p)
	}
	for _, d := range domains {
		c.Provider = c.Provider || c.Domain != "" && orgname.Registrable(d) == c.Domain
	}
	return c
}

// withoutForeignDomain drops a domain that came from reverse DNS and is not surely
// the organisation's own: with that of its provider, all customers of one would be
// one account.
func (c *Company) withoutForeignDomain() {
	if !orgname.OwnDomain(c.Name, c.Domain) {
		c.Domain = ""
	}
}
