package geo

import (
	"errors"
	"strconv"
	"strings"

	"github.com/oschwald/maxminddb-golang/v2"
	"github.com/oschwald/maxminddb-golang/v2/mmdbdata"

	"github.com/metiva-io/metiva/enrich/orgname"
)

// text is a value that databases of one layout write in several types: a string,
// a number, or a boolean ("true" or nothing). Anything else is empty.
type text string

// textBytesMax bounds what a record may hold in memory.
const textBytesMax = 1 << 10

// UnmarshalMaxMindDBCursor reads whatever stands there.
func (t *text) UnmarshalMaxMindDBCursor(c mmdbdata.Cursor) (mmdbdata.Cursor, error) {
	kind, err := c.Kind()
	if err != nil {
		return c, err
	}
	switch kind {
	case mmdbdata.KindString:
		s, next, err := c.ReadString()
		if len(s) > textBytesMax {
			s = ""
		}
		*t = text(s)
		return next, err
	case mmdbdata.KindBool:
		b, next, err := c.ReadBool()
		if b {
			*t = "true"
		}
		return next, err
	case mmdbdata.KindUint16, mmdbdata.KindUint32, mmdbdata.KindUint64:
		n, next, err := c.ReadUint()
		*t = text(strconv.FormatUint(n, 10))
		return next, err
	default:
		return c.Skip()
	}
}

// is reports whether the value says yes.
func (t text) is() bool {
	return strings.EqualFold(string(t), "true") || t == "1"
}

// asn is the number of "AS174" or "174", or zero.
func (t text) asn() uint32 {
	s := string(t)
	if len(s) > 2 && strings.EqualFold(s[:2], "AS") {
		s = s[2:]
	}
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return 0
	}
	return uint32(n)
}

type systemRecord struct {
	ASN          text `maxminddb:"autonomous_system_number"`
	Organization text `maxminddb:"autonomous_system_organization"`
}

type ispRecord struct {
	ASN           text `maxminddb:"autonomous_system_number"`
	Organization  text `maxminddb:"autonomous_system_organization"`
	MobileCountry text `maxminddb:"mobile_country_code"`
	MobileNetwork text `maxminddb:"mobile_network_code"`
}

type anonymousRecord struct {
	Anonymous   text `maxminddb:"is_anonymous"`
	VPN         text `maxminddb:"is_anonymous_vpn"`
	Hosting     text `maxminddb:"is_hosting_provider"`
	PublicProxy text `maxminddb:"is_public_proxy"`
	Residential text `maxminddb:"is_residential_proxy"`
	Tor         text `maxminddb:"is_tor_exit_node"`
}

type connectionRecord struct {
	Connection text `maxminddb:"connection_type"`
}

type domainRecord struct {
	Domain text `maxminddb:"domain"`
}

type countryRecord struct {
	CountryCode text `maxminddb:"country_code"`
	Country     text `maxminddb:"country"`
}

type liteRecord struct {
	ASN         text `maxminddb:"asn"`
	Name        text `maxminddb:"as_name"`
	CountryCode text `maxminddb:"country_code"`
	Country     text `maxminddb:"country"`
}

type companyRecord struct {
	Name     text `maxminddb:"name"`
	Domain   text `maxminddb:"domain"`
	Type     text `maxminddb:"type"`
	ASN      text `maxminddb:"asn"`
	ASName   text `maxminddb:"as_name"`
	ASDomain text `maxminddb:"as_domain"`
	ASType   text `maxminddb:"as_type"`
	Country  text `maxminddb:"country"`
}

type privacyRecord struct {
	Hosting text `maxminddb:"hosting"`
	Proxy   text `maxminddb:"proxy"`
	Tor     text `maxminddb:"tor"`
	VPN     text `maxminddb:"vpn"`
	Relay   text `maxminddb:"relay"`
	// The extended layout.
	Anonymous   text `maxminddb:"is_anonymous"`
	Residential text `maxminddb:"is_res_proxy"`
}

// decode reads a record of the layout.
func decode(l Layout, result maxminddb.Result) (facts, error) {
	var f facts
	var err error
	switch l {
	case LayoutASN, LayoutDefault:
		var r systemRecord
		err = result.Decode(&r)
		f.system(r.ASN, r.Organization)
	case LayoutISP:
		var r ispRecord
		err = result.Decode(&r)
		f.system(r.ASN, r.Organization)
		f.mobile = r.MobileCountry != "" || r.MobileNetwork != ""
	case LayoutEnterprise:
		var r enterpriseRecord
		err = result.Decode(&r)
		f.place(&r.placeRecord)
		f.enterprise(&r.Traits)
	case LayoutIPinfoLite:
		var r liteRecord
		err = result.Decode(&r)
		f.system(r.ASN, r.Name)
		f.country = countryCode(r.CountryCode, r.Country)
	case LayoutIPinfoCompany:
		var r companyRecord
		err = result.Decode(&r)
		f.ipinfoCompany(&r)
	case LayoutAnonymous:
		var r anonymousRecord
		err = result.Decode(&r)
		f.hosting = r.Hosting.is()
		// is_anonymous is also set for hosting alone, which has its own verdict.
		hides := r.VPN.is() || r.PublicProxy.is() || r.Residential.is() || r.Tor.is()
		f.anonymous = hides || r.Anonymous.is() && !f.hosting
	case LayoutIPinfoPrivacy:
		var r privacyRecord
		err = result.Decode(&r)
		f.hosting = r.Hosting.is()
		f.anonymous = r.VPN.is() || r.Proxy.is() || r.Tor.is() || r.Relay.is() || r.Anonymous.is() || r.Residential.is()
	case LayoutConnection:
		var r connectionRecord
		err = result.Decode(&r)
		f.mobile = isCellular(r.Connection)
	case LayoutDomain:
		var r domainRecord
		err = result.Decode(&r)
		f.domain = orgname.Registrable(string(r.Domain))
	case LayoutCountry:
		var r placeRecord
		err = result.Decode(&r)
		f.place(&r)
	case LayoutCountryCode:
		var r countryRecord
		err = result.Decode(&r)
		f.country = countryCode(r.CountryCode, r.Country)
	default:
	}
	var mismatch maxminddb.UnmarshalTypeError
	if errors.As(err, &mismatch) {
		// A record that is no map says nothing. An error would stop the events of
		// its network for good: they are tried again until it is gone.
		return facts{}, nil
	}
	return f, err
}

func (f *facts) system(asn, organization text) {
	f.asn = asn.asn()
	f.organization = cleanOrganization(string(organization))
	f.key, f.person = orgname.Key(f.organization), orgname.LooksLikePerson(f.organization)
}

func (f *facts) place(r *placeRecord) {
	f.country = countryCode(r.Country.ISOCode)
	if f.country != "" && isSubdivision(r.Subdivisions.ISOCode) {
		f.region = f.country + "-" + string(r.Subdivisions.ISOCode)
	}
}

func (f *facts) enterprise(t *traits) {
	f.system(t.ASN, t.ASOrganization)
	kind := kindOf(string(t.UserType))
	f.mobile = isCellular(t.Connection) || t.MobileCountry != "" || t.MobileNetwork != "" || kind == KindMobile
	f.hosting = kind == KindHosting || t.Hosting.is()
	hides := t.AnonymousProxy.is() || t.VPN.is() || t.PublicProxy.is() || t.Residential.is() || t.Tor.is()
	// As in LayoutAnonymous, is_anonymous is also set for hosting alone.
	f.anonymous = hides || kind == KindAnonymizer || t.Anonymous.is() && !f.hosting
	if t.Organization == "" {
		f.company = &Company{Kind: kind}
		return
	}
	// GeoIP2's isp and organization are equal where the user is not known.
	f.company = newCompany(string(t.Organization), string(t.Domain), kind, []string{string(t.ISP)}, nil)
	// Of an organisation that announces its own network all three names are the
	// same; its kind says that it is not a provider.
	own := kind.IsOrganization() && orgname.Same(string(t.Organization), string(t.ASOrganization))
	f.company.Provider = f.company.Provider && !own
	if !own {
		f.company.withoutForeignDomain()
	}
}

func (f *facts) ipinfoCompany(r *companyRecord) {
	f.system(r.ASN, r.ASName)
	f.kind = kindOf(string(r.ASType))
	f.country = countryCode(r.Country)
	kind := kindOf(string(r.Type))
	f.hosting = kind == KindHosting
	if f.kind == KindAccess || f.kind == KindMobile {
		f.company = newCompany(string(r.Name), string(r.Domain), kind, []string{string(r.ASName)}, []string{string(r.ASDomain)})
		return
	}
	f.company = newCompany(string(r.Name), string(r.Domain), kind, nil, nil)
}

func isCellular(connection text) bool { return strings.EqualFold(string(connection), "Cellular") }

// isSubdivision reports whether the text is the second part of a code of ISO 3166-2:
// one to three letters or digits.
func isSubdivision(code text) bool {
	for i := range len(code) {
		if c := code[i]; (c < 'A' || c > 'Z') && (c < '0' || c > '9') {
			return false
		}
	}
	return len(code) >= 1 && len(code) <= 3
}

// countryCode is the first value that is an ISO 3166-1 alpha-2 code; the
// databases also write "None", "ZZ" and whole names.
func countryCode(values ...text) string {
	for _, v := range values {
		if len(v) == 2 && v != "ZZ" && v[0] >= 'A' && v[0] <= 'Z' && v[1] >= 'A' && v[1] <= 'Z' {
			return string(v)
		}
	}
	return ""
}
