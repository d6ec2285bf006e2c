package geo

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"time"
)

// Outcome is what a lookup found.
type Outcome uint8

// The outcomes of a lookup.
const (
	// OutcomeNotFound: no record for the whole of the queried network.
	OutcomeNotFound Outcome = iota
	// OutcomeFound: one record covers the whole of the queried network.
	OutcomeFound
	// OutcomeAmbiguous: the matched network is longer than the queried one.
	OutcomeAmbiguous
)

// Evidence is which database said something.
type Evidence struct {
	Layout Layout
	// Bits is the length of the record's network in the queried family.
	Bits int
	// BuildMs is the build time of the database, Unix milliseconds.
	BuildMs int64
}

// Answer is what the databases know of a network. Nothing in it is of a record
// whose network is longer than the queried one.
type Answer struct {
	// Outcome is of the autonomous system: ASN and Organization are set only
	// when it is OutcomeFound.
	Outcome      Outcome
	ASN          uint32
	Organization string
	// OrganizationKey is orgname.Key of Organization.
	OrganizationKey string
	// Person says that Organization looks like a natural person's name.
	Person bool
	// SystemKind is the kind of the system, where a database knows it.
	SystemKind Kind
	// Bits is the length of the matched network in the queried family, also of
	// one without a record; Build is the build time of that database.
	Bits   int
	Build  time.Time
	System Evidence

	// Company is who uses the network; nil when no database says. It is shared
	// and must not be changed.
	Company     *Company
	CompanyFrom Evidence

	// Anonymous: VPN, proxy, Tor, relay. Hosting: a hosting network.
	Anonymous, Hosting         bool
	AnonymousFrom, HostingFrom Evidence
	// Mobile: a cellular line.
	Mobile     bool
	MobileFrom Evidence

	// Split: a database that says whose a network is has longer ones in the
	// queried network. Partial: one of anonymisers, hosting or lines has.
	Split, Partial bool

	// Domain is what reverse DNS says of the network, by a database. It may be
	// the provider's.
	Domain string
	// Country is ISO 3166-1 alpha-2 and Region the code of a subdivision by ISO 3166-2
	// ("NL-NH"), or empty when unknown or different within the queried network.
	Country, Region string
}

// LookupAddr is Lookup for a single, whole address.
func (v View) LookupAddr(addr netip.Addr) (Answer, error) {
	addr = addr.Unmap().WithZone("")
	return v.Lookup(netip.PrefixFrom(addr, addr.BitLen()))
}

// Lookup asks the databases for a network, usually a truncated address. An
// IPv4-mapped network is looked up as IPv4. Errors never contain the network.
func (v View) Lookup(network netip.Prefix) (Answer, error) {
	answer := Answer{Build: v.build}
	err := v.lookup(&answer, Unmap(network))
	return answer, err
}

func (v View) lookup(answer *Answer, network netip.Prefix) error {
	if !network.IsValid() {
		return errors.New("looking up an invalid network")
	}
	if isAliased(network) {
		// The file maps these onto the IPv4 tree; the answer would be of an
		// unrelated IPv4 network.
		return nil
	}
	addr, length := network.Addr(), network.Bits()
	if err := answer.systems(v.g.systems, addr, length); err != nil {
		return err
	}
	if err := answer.uses(v.g, addr, length); err != nil {
		return err
	}
	if v.g.domain != nil {
		rec, bits, err := v.g.domain.lookup(addr)
		if err != nil {
			return err
		}
		if rec != nil && bits <= length {
			answer.Domain = rec.domain
		}
	}
	for _, r := range v.g.countries {
		rec, bits, err := r.lookup(addr)
		if err != nil {
			return err
		}
		if rec != nil && bits <= length && rec.country != "" {
			answer.Country, answer.Region = rec.country, rec.region
			break
		}
	}
	return nil
}

// systems finds the autonomous system: the first database with a record for the
// whole network says it, unless one before it divides the network.
func (answer *Answer) systems(readers []*Reader, addr netip.Addr, length int) error {
	for i, r := range readers {
		rec, bits, err := r.lookup(addr)
		if err != nil {
			return err
		}
		if i == 0 || bits > length {
			answer.Bits = bits
		}
		switch {
		case bits > length:
			answer.Split = true
		case rec != nil && rec.asn != 0:
			answer.Outcome, answer.Bits, answer.Build = OutcomeFound, bits, r.BuildTime()
			answer.ASN, answer.Organization, answer.Person, answer.SystemKind = rec.asn, rec.organization, rec.person, rec.kind
			answer.OrganizationKey, answer.System = rec.key, r.evidence(bits)
			return nil
		}
	}
	if answer.Split {
		answer.Outcome = OutcomeAmbiguous
	}
	return nil
}

// uses finds what the network is used for, and by whom.
func (answer *Answer) uses(g *generation, addr netip.Addr, length int) error {
	for _, r := range g.companies {
		rec, bits, err := r.lookup(addr)
		switch {
		case err != nil:
			return err
		case bits > length:
			answer.Split = true
		case rec != nil && rec.company != nil && (answer.Company == nil || answer.Company.Kind == KindUnknown):
			answer.Company, answer.CompanyFrom = rec.company, r.evidence(bits)
		}
	}
	for _, r := range g.anonymities {
		rec, bits, err := r.lookup(addr)
		switch {
		case err != nil:
			return err
		case bits > length:
			answer.Partial = true
		case rec == nil:
		case rec.anonymous && !answer.Anonymous:
			answer.Anonymous, answer.AnonymousFrom = true, r.evidence(bits)
		case rec.hosting && !answer.Hosting:
			answer.Hosting, answer.HostingFrom = true, r.evidence(bits)
		}
	}
	for _, r := range g.lines {
		rec, bits, err := r.lookup(addr)
		switch {
		case err != nil:
			return err
		case bits > length:
			answer.Partial = true
		case rec != nil && rec.mobile && !answer.Mobile:
			answer.Mobile, answer.MobileFrom = true, r.evidence(bits)
		}
	}
	return nil
}

func (r *Reader) evidence(bits int) Evidence {
	return Evidence{Layout: r.layout, Bits: bits, BuildMs: r.buildMs}
}

// Unmap turns an IPv4-mapped network (::ffff:a.b.c.d/96+n) into the IPv4
// network, cuts host bits off, and leaves others as they are.
func Unmap(network netip.Prefix) netip.Prefix {
	if network.Addr().Is4In6() {
		if network.Bits() < 96 {
			return netip.Prefix{}
		}
		network = netip.PrefixFrom(network.Addr().Unmap(), network.Bits()-96)
	}
	if addr := network.Addr(); addr.Is4() && network.IsValid() {
		if four := addr.As4(); binary.BigEndian.Uint32(four[:])<<network.Bits() == 0 {
			return network // as Masked, without making it anew
		}
	}
	return network.Masked()
}
