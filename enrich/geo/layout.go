package geo

import "strings"

// Layout is which fields the records of a database have.
type Layout uint8

// The layouts this package reads. Files say which by their metadata. In a set of
// databases each layout stands once; where two know the same, the first of this
// order counts.
const (
	LayoutUnknown Layout = iota
	// LayoutEnterprise is GeoIP2 Enterprise: country.iso_code, subdivisions,
	// traits.{autonomous_system_*,isp,organization,domain,user_type,…}.
	LayoutEnterprise
	// LayoutIPinfoCompany has name, domain, type, asn, as_name, as_domain,
	// as_type, country.
	LayoutIPinfoCompany
	// LayoutISP is GeoIP2 ISP: the fields of LayoutASN, isp, organization,
	// mobile_country_code, mobile_network_code.
	LayoutISP
	// LayoutASN has autonomous_system_number and autonomous_system_organization.
	LayoutASN
	// LayoutIPinfoLite has asn ("AS174"), as_name, as_domain, country_code; its
	// predecessor has the code in country.
	LayoutIPinfoLite
	// LayoutDefault is the database Build writes, with the fields of LayoutASN:
	// the last to be asked, since what an operator adds is newer.
	LayoutDefault
	// LayoutAnonymous is GeoIP2 Anonymous IP and Anonymous Plus: is_anonymous,
	// is_anonymous_vpn, is_hosting_provider, is_public_proxy,
	// is_residential_proxy, is_tor_exit_node, each there only when true.
	LayoutAnonymous
	// LayoutIPinfoPrivacy has hosting, proxy, tor, vpn, relay, service; true is
	// the text "true".
	LayoutIPinfoPrivacy
	// LayoutConnection is GeoIP2 Connection Type: connection_type.
	LayoutConnection
	// LayoutDomain is GeoIP2 Domain: domain.
	LayoutDomain
	// LayoutCountry is GeoIP2 Country and City: country.iso_code, subdivisions.
	LayoutCountry
	// LayoutCountryCode has country_code, or the code in country.
	LayoutCountryCode

	layouts
)

// String is the layout as it stands in Resolution.source.
func (l Layout) String() string {
	switch l {
	case LayoutEnterprise:
		return "enterprise"
	case LayoutIPinfoCompany:
		return "ipinfo_company"
	case LayoutISP:
		return "isp"
	case LayoutASN, LayoutDefault:
		return "asn"
	case LayoutIPinfoLite:
		return "ipinfo_lite"
	case LayoutAnonymous:
		return "anonymous_ip"
	case LayoutIPinfoPrivacy:
		return "ipinfo_privacy"
	case LayoutConnection:
		return "connection_type"
	case LayoutDomain:
		return "domain"
	case LayoutCountry, LayoutCountryCode:
		return "country"
	default:
		return "unknown"
	}
}

// system reports whether the layout says which autonomous system announces a
// network.
func (l Layout) system() bool { return l >= LayoutEnterprise && l <= LayoutDefault }

// names reports whether the layout says which company uses a network.
func (l Layout) names() bool { return l == LayoutEnterprise || l == LayoutIPinfoCompany }

// layoutOf recognises a database by the type its metadata names. DB-IP names the
// type its own is compatible with in brackets.
func layoutOf(databaseType string) Layout {
	t := strings.ToLower(strings.TrimSpace(databaseType))
	if t == strings.ToLower(DatabaseTypeASN) {
		return LayoutDefault
	}
	if before, after, ok := strings.Cut(t, "(compat="); ok {
		if l := layoutOf(strings.TrimSuffix(strings.TrimSpace(after), ")")); l != LayoutUnknown {
			return l
		}
		t = strings.TrimSpace(before)
	}
	if product, ok := strings.CutPrefix(t, "ipinfo "); ok {
		return layoutOfIPinfo(product)
	}
	for _, brand := range []string{"geoip2-precision-", "geoip2-", "geoip-", "geolite2-"} {
		if product, ok := strings.CutPrefix(t, brand); ok {
			return layoutOfMaxMind(product)
		}
	}
	switch {
	case t == "dbip-asn-lite", t == "dbip-asn":
		return LayoutASN
	case strings.HasPrefix(t, "dbip-"):
		// Others of DB-IP say what they are compatible with, or are country and
		// city databases, nested as MaxMind's.
		if strings.HasPrefix(t, "dbip-country") || strings.HasPrefix(t, "dbip-city") || t == "dbip-location" {
			return LayoutCountry
		}
		return LayoutUnknown
	case strings.Contains(t, "country"):
		return LayoutCountryCode // the open country databases
	}
	return LayoutUnknown
}

func layoutOfMaxMind(product string) Layout {
	switch product {
	case "asn":
		return LayoutASN
	case "isp":
		return LayoutISP
	case "enterprise":
		return LayoutEnterprise
	case "domain":
		return LayoutDomain
	case "anonymous-ip", "anonymous-plus":
		return LayoutAnonymous
	case "connection-type":
		return LayoutConnection
	case "country", "city", "city-africa", "city-asia-pacific", "city-europe", "city-north-america", "city-south-america":
		return LayoutCountry
	}
	return LayoutUnknown
}

// layoutOfIPinfo knows a product by its words: "standard_company.mmdb",
// "bundle_location_lite.mmdb", "privacy_detection_sample.mmdb",
// "generic_country_free_country_asn.mmdb".
func layoutOfIPinfo(product string) Layout {
	has := make(map[string]bool)
	for word := range strings.FieldsFuncSeq(strings.TrimSuffix(product, ".mmdb"), func(r rune) bool { return r == '_' || r == ' ' || r == '-' }) {
		has[word] = true
	}
	switch {
	case has["company"]:
		return LayoutIPinfoCompany
	case has["privacy"]:
		return LayoutIPinfoPrivacy
	case has["lite"], has["country"] && has["asn"]:
		return LayoutIPinfoLite
	case has["country"]:
		return LayoutCountryCode
	}
	return LayoutUnknown
}
