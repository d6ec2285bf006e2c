package company

import (
	"net/netip"
	"testing"
	"time"

	"github.com/metiva-io/metiva/enrich/geo"
	"github.com/metiva-io/metiva/enrich/geo/geotest"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

type record = map[string]any

// database is one file: its type and what is in it.
type database struct {
	kind     string
	networks map[string]record
}

// want is a verdict in words: verdict, account, name, source, matched bits.
type want struct {
	network, verdict, account, name, source string
	bits                                    uint32
}

// ask opens the databases and decides about each network.
func ask(t *testing.T, cfg Config, databases []database, rows []want) {
	t.Helper()
	var files geo.Files
	for _, d := range databases {
		files = append(files, geotest.Write(t, d.kind, false, d.networks))
	}
	opened, err := geo.OpenDatabases(files)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = opened.Close() })
	v, err := opened.View()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Release)
	c := chain(t, cfg)
	for _, row := range rows {
		network := netip.MustParsePrefix(row.network)
		answer, err := v.Lookup(network)
		if err != nil {
			t.Errorf("%s: %v", row.network, err)
			continue
		}
		var out metivav1.Resolution
		c.Resolve(&out, Query{CompanyID: "cmp_test", Network: geo.Unmap(network), Answer: answer})
		checkShape(t, &out)
		got := want{row.network, schemas.Label(out.GetVerdict()), out.GetAccountId(), out.GetName(), out.GetSource(), out.GetPrefixBits()}
		if got != row {
			t.Errorf("got  %+v\nwant %+v", got, row)
		}
		if built := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC).UnixMilli(); out.GetDatabaseBuildMs() != built && row.verdict != "reserved" && row.verdict != "suppressed" {
			t.Errorf("%s: built %d", row.network, out.GetDatabaseBuildMs())
		}
	}
}

func announced(asn uint32, name string) record {
	return record{"autonomous_system_number": asn, "autonomous_system_organization": name}
}

func with(r record, more ...any) record {
	out := record{}
	for k, v := range r {
		out[k] = v
	}
	for i := 0; i < len(more); i += 2 {
		out[more[i].(string)] = more[i+1]
	}
	return out
}

// TestMaxMind: each of MaxMind's layouts, with the field names of its files.
func TestMaxMind(t *testing.T) {
	t.Parallel()
	kpn, ing, small := announced(1136, "KPN B.V."), announced(15625, "ING Bank N.V."), announced(4200000001, "Small Net B.V.")
	enterprise := func(system record, userType string, more ...any) record {
		traits := with(system, "isp", "KPN B.V.", "user_type", userType, "connection_type", "Cable/DSL", "static_ip_score", uint32(1))
		return record{
			"country": record{"iso_code": "NL", "confidence": uint16(99)}, "subdivisions": []any{record{"iso_code": "ZH"}},
			"traits": with(traits, more...),
		}
	}
	t.Run("asn", func(t *testing.T) {
		t.Parallel()
		for _, kind := range []string{"GeoLite2-ASN", "GeoIP2-ASN", "DBIP-ASN-Lite (compat=GeoLite2-ASN)"} {
			ask(t, Config{}, []database{{kind, map[string]record{"20.0.0.0/16": kpn, "20.1.0.0/16": ing, "2a00:1::/32": ing, "20.2.0.0/16": announced(15625, "Some Hoster Ltd"), "20.3.0.0/16": announced(15625, "ING-AS")}}}, []want{
				{"20.2.1.0/24", "unclassified", "", "", "as_type", 16}, // the number has changed hands
				{"20.3.1.0/24", "company", "ing.nl", "ING", "as_type", 16},
				{"20.0.1.0/24", "isp", "", "", "as_type", 16},
				{"20.1.1.0/24", "company", "ing.nl", "ING", "as_type", 16},
				{"::ffff:20.1.1.0/120", "company", "ing.nl", "ING", "as_type", 16},
				{"2a00:1::/48", "company", "ing.nl", "ING", "as_type", 32},
				{"21.0.0.0/24", "not_found", "", "", "asn", 0},
			})
		}
	})
	t.Run("isp", func(t *testing.T) {
		t.Parallel()
		ask(t, Config{}, []database{{"GeoIP2-ISP", map[string]record{
			"20.0.0.0/16": with(kpn, "isp", "KPN", "organization", "Bakkerij Jansen B.V."),
			"20.1.0.0/16": with(ing, "isp", "ING Bank", "organization", "ING Bank"),
			"20.2.0.0/16": with(kpn, "isp", "KPN Mobile", "organization", "KPN Mobile", "mobile_country_code", "204", "mobile_network_code", "08"),
			"20.3.1.0/25": with(ing, "isp", "ING Bank", "organization", "ING Bank"),
		}}}, []want{
			{"20.0.1.0/24", "isp", "", "", "as_type", 16}, // an organisation without its kind
			{"20.1.1.0/24", "company", "ing.nl", "ING", "as_type", 16},
			{"20.2.1.0/24", "mobile", "", "", "isp", 16},
			{"20.3.1.0/24", "ambiguous_truncation", "", "", "asn", 0},
			{"20.3.1.1/32", "company", "ing.nl", "ING", "as_type", 25},
		})
	})
	t.Run("enterprise", func(t *testing.T) {
		t.Parallel()
		ask(t, Config{}, []database{{"GeoIP2-Enterprise", map[string]record{
			"20.0.1.0/24":  enterprise(kpn, "business", "organization", "Bakkerij Jansen B.V.", "domain", "kpn.net"),
			"20.0.2.0/24":  enterprise(kpn, "business", "organization", "Acme Holding B.V.", "domain", "www.example.co.uk"),
			"20.0.3.0/24":  enterprise(kpn, "business", "organization", "KPN B.V."),
			"20.0.4.0/24":  enterprise(kpn, "residential", "organization", "KPN"),
			"20.0.5.0/24":  enterprise(kpn, "cellular", "organization", "KPN"),
			"20.0.6.0/24":  enterprise(kpn, "hosting", "organization", "Acme Hosting"),
			"20.0.7.0/24":  enterprise(kpn, "consumer_privacy_network", "organization", "Acme Relay"),
			"20.0.8.0/24":  enterprise(kpn, "cafe", "organization", "Cafe Jansen"),
			"20.0.9.0/24":  enterprise(kpn, "business", "organization", "Jan Jansen"),
			"20.0.10.0/24": enterprise(kpn, "government", "organization", "Gemeente Voorbeeld", "domain", "voorbeeld.nl"),
			"20.0.11.0/24": enterprise(small, "college", "organization", "Hogeschool Voorbeeld", "domain", "hsvoorbeeld.nl"),
			"20.0.12.0/24": enterprise(small, "", "organization", "Small Net B.V."),
			"20.0.13.0/28": enterprise(kpn, "business", "organization", "Bakkerij Jansen B.V."),
			"20.0.14.0/24": enterprise(ing, "business", "organization", "ING Bank", "domain", "ing.nl"),
			"20.0.15.0/24": enterprise(small, "business", "organization", "Ziggo"),
			"20.0.16.0/24": enterprise(small, "business", "organization", "Ziggo Services B.V."),
			"20.0.17.0/24": enterprise(small, "business", "organization", "Vodafone Ziggo Group"),
			"20.0.18.0/24": enterprise(small, "business", "organization", "Koninklijke KPN N.V."),
			"20.0.19.0/24": enterprise(small, "business", "organization", "Odido"),
			"20.0.20.0/24": enterprise(announced(1103, "SURF B.V."), "college", "organization", "SURF B.V."),
			"20.0.21.0/24": enterprise(small, "business", "organization", "Gamma Nederland B.V.", "domain", "gamma.nl"),
			"20.0.22.0/24": enterprise(small, "business", "organization", "Bakkerij Peters B.V.", "domain", "www.bakkerij-peters.nl"),
			"20.0.23.0/24": enterprise(small, "business", "organization", "Surf B.V."),
		}}}, []want{
			{"20.0.1.0/24", "company", "org:bakkerij-jansen", "Bakkerij Jansen B.V.", "enterprise", 24}, // not kpn.net
			{"20.0.2.0/24", "company", "org:acme-holding", "Acme Holding B.V.", "enterprise", 24},       // whose domain it is nobody knows
			{"20.0.3.0/24", "isp", "", "", "enterprise", 24},                                            // never an access provider
			{"20.0.4.0/24", "isp", "", "", "as_type", 24},
			{"20.0.5.0/24", "mobile", "", "", "enterprise", 24},
			{"20.0.6.0/24", "hosting", "", "", "enterprise", 24},
			{"20.0.7.0/24", "anonymizer", "", "", "enterprise", 24},
			{"20.0.8.0/24", "isp", "", "", "enterprise", 24},
			{"20.0.9.0/24", "sole_trader", "", "", "enterprise", 24},
			{"20.0.10.0/24", "company", "voorbeeld.nl", "Gemeente Voorbeeld", "enterprise", 24},
			{"20.0.11.0/24", "company", "org:hogeschool-voorbeeld", "Hogeschool Voorbeeld", "enterprise", 24},
			{"20.0.12.0/24", "unclassified", "", "", "enterprise", 24},
			{"20.0.13.0/24", "ambiguous_truncation", "", "", "asn", 0},
			{"20.0.13.0/28", "company", "org:bakkerij-jansen", "Bakkerij Jansen B.V.", "enterprise", 28},
			{"20.0.14.0/24", "company", "ing.nl", "ING", "enterprise", 24},
			{"20.0.15.0/24", "isp", "", "", "enterprise", 24},
			{"20.0.16.0/24", "isp", "", "", "enterprise", 24},
			{"20.0.17.0/24", "isp", "", "", "enterprise", 24},
			{"20.0.18.0/24", "isp", "", "", "enterprise", 24},
			{"20.0.19.0/24", "isp", "", "", "enterprise", 24},
			{"20.0.20.0/24", "education_network", "", "", "enterprise", 24},
			{"20.0.21.0/24", "company", "gamma.nl", "Gamma Nederland B.V.", "enterprise", 24}, // not Gamma Communications, a provider
			{"20.0.22.0/24", "company", "bakkerij-peters.nl", "Bakkerij Peters B.V.", "enterprise", 24},
			{"20.0.23.0/24", "company", "org:surf", "Surf B.V.", "enterprise", 24}, // not behind SURF
		})
	})
	t.Run("the others beside asn", func(t *testing.T) {
		t.Parallel()
		ask(t, Config{}, []database{
			{"GeoLite2-ASN", map[string]record{"20.0.0.0/16": ing, "20.1.0.0/16": kpn}},
			{"GeoIP2-Anonymous-IP", map[string]record{
				"20.0.1.0/24": {"is_anonymous": true, "is_anonymous_vpn": true},
				"20.0.2.0/24": {"is_anonymous": true, "is_hosting_provider": true},
				"20.0.3.0/24": {"is_anonymous": true, "is_tor_exit_node": true},
				"20.0.4.0/24": {"is_anonymous": true, "is_residential_proxy": true},
				"20.0.5.7/32": {"is_anonymous": true, "is_public_proxy": true},
				"20.1.5.7/32": {"is_anonymous": true, "is_public_proxy": true},
				"20.0.6.0/24": {},
			}},
			{"GeoIP2-Connection-Type", map[string]record{"20.0.7.0/24": {"connection_type": "Cellular"}, "20.0.8.0/24": {"connection_type": "Corporate"}}},
			{"GeoIP2-Domain", map[string]record{"20.0.0.0/16": {"domain": "other.nl"}}},
			{"GeoIP2-Country", map[string]record{"20.0.0.0/16": {"country": record{"iso_code": "NL"}}}},
		}, []want{
			{"20.0.1.0/24", "anonymizer", "", "", "anonymous_ip", 24},
			{"20.0.2.0/24", "hosting", "", "", "anonymous_ip", 24},
			{"20.0.3.0/24", "anonymizer", "", "", "anonymous_ip", 24},
			{"20.0.4.0/24", "anonymizer", "", "", "anonymous_ip", 24},
			{"20.0.5.0/24", "ambiguous_truncation", "", "", "asn", 0}, // a part hides its users
			{"20.0.5.7/32", "anonymizer", "", "", "anonymous_ip", 32},
			{"20.1.5.0/24", "isp", "", "", "as_type", 16}, // nobody would be named
			{"20.0.6.0/24", "company", "ing.nl", "ING", "as_type", 16},
			{"20.0.7.0/24", "mobile", "", "", "connection_type", 24},
			{"20.0.8.0/24", "company", "ing.nl", "ING", "as_type", 16},
		})
	})
	t.Run("domain of a company that has none", func(t *testing.T) {
		t.Parallel()
		ask(t, Config{}, []database{
			{"GeoIP2-Enterprise", map[string]record{
				"20.0.1.0/24": enterprise(kpn, "business", "organization", "Bakkerij Jansen B.V."),
				"20.0.2.0/24": enterprise(kpn, "business", "organization", "Slagerij Peters B.V."),
			}},
			{"GeoIP2-Domain", map[string]record{"20.0.1.0/24": {"domain": "jansen.nl"}, "20.0.2.0/24": {"domain": "kpn.net"}}},
		}, []want{
			{"20.0.1.0/24", "company", "jansen.nl", "Bakkerij Jansen B.V.", "enterprise", 24},
			{"20.0.2.0/24", "company", "org:slagerij-peters", "Slagerij Peters B.V.", "enterprise", 24},
		})
	})
}

// TestIPinfo: each of IPinfo's layouts, with the field names of its files.
func TestIPinfo(t *testing.T) {
	t.Parallel()
	companyOf := func(name, domain, kind, asn, asName, asDomain, asType string) record {
		return record{
			"name": name, "domain": domain, "type": kind, "asn": asn, "as_name": asName, "as_domain": asDomain, "as_type": asType, "country": "NL",
		}
	}
	t.Run("lite", func(t *testing.T) {
		t.Parallel()
		lite := record{"country": "Netherlands", "country_code": "NL", "continent": "Europe", "continent_code": "EU"}
		for _, kind := range []string{"ipinfo bundle_location_lite.mmdb", "ipinfo lite.mmdb", "ipinfo generic_country_free_country_asn.mmdb"} {
			ask(t, Config{}, []database{{kind, map[string]record{
				"20.0.0.0/16": with(lite, "asn", "AS1136", "as_name", "KPN B.V.", "as_domain", "kpn.com"),
				"20.1.0.0/16": with(lite, "asn", "AS15625", "as_name", "ING Bank N.V.", "as_domain", "ing.com"),
				"20.2.0.0/16": lite,
			}}}, []want{
				{"20.0.1.0/24", "isp", "", "", "as_type", 16},
				{"20.1.1.0/24", "company", "ing.nl", "ING", "as_type", 16}, // the account of every database
				{"20.2.1.0/24", "not_found", "", "", "asn", 0},
			})
		}
	})
	t.Run("company and privacy", func(t *testing.T) {
		t.Parallel()
		for _, kind := range []string{"ipinfo standard_company.mmdb", "ipinfo ip_company_sample.mmdb"} {
			ask(t, Config{}, []database{
				{kind, map[string]record{
					"20.0.1.0/24": companyOf("Bakkerij Jansen B.V.", "jansen.nl", "business", "AS1136", "KPN B.V.", "kpn.com", "isp"),
					"20.0.2.0/24": companyOf("KPN B.V.", "kpn.com", "business", "AS1136", "KPN B.V.", "kpn.com", "isp"),
					"20.0.3.0/24": companyOf("KPN B.V.", "kpn.com", "isp", "AS1136", "KPN B.V.", "kpn.com", "isp"),
					"20.0.4.0/24": companyOf("Acme Hosting", "acme.nl", "hosting", "AS1136", "KPN B.V.", "kpn.com", "isp"),
					"20.0.5.0/24": companyOf("Universiteit Voorbeeld", "uv.nl", "education", "AS1103", "SURF B.V.", "surf.nl", "education"),
					"20.0.6.0/24": companyOf("Small Access", "small.nl", "isp", "AS4200000001", "Small Access", "small.nl", "isp"),
					"20.0.7.0/24": companyOf("Small Access Office", "small.nl", "business", "AS4200000001", "Small Access", "small.nl", "isp"),
					"20.0.8.0/29": companyOf("Bakkerij Jansen B.V.", "jansen.nl", "business", "AS1136", "KPN B.V.", "kpn.com", "isp"),
					"20.0.9.0/24": companyOf("ING Bank", "ing.com", "business", "AS15625", "ING Bank N.V.", "ing.com", "business"),
					"20.1.0.0/24": companyOf("Guest Access B.V.", "guest.nl", "isp", "AS15625", "ING Bank N.V.", "ing.com", "business"),
					"20.1.1.0/24": companyOf("ING Bank N.V.", "ing.com", "isp", "AS15625", "ING Bank N.V.", "ing.com", "business"),
					"20.1.2.0/24": companyOf("", "", "", "AS4200000002", "Cloudy", "cloudy.nl", "hosting"),
					"20.1.4.0/24": companyOf("SURF B.V.", "surf.nl", "education", "AS1103", "SURF B.V.", "surf.nl", "education"),
					"20.1.5.0/24": companyOf("SURFnet bv", "", "education", "AS1103", "SURF B.V.", "surf.nl", "education"),
					"20.1.6.0/24": companyOf("Ziggo Internet", "", "business", "AS4200000001", "Small Access", "small.nl", "isp"),
					"20.1.3.0/24": companyOf("Delft Startup B.V.", "startup.nl", "business", "AS15625", "ING Bank N.V.", "ing.com", "business"),
				}},
				{"ipinfo standard_privacy.mmdb", map[string]record{
					"20.0.9.0/24": {"hosting": "", "proxy": "", "relay": "", "service": "", "tor": "", "vpn": ""},
					"20.1.3.0/24": {"hosting": "true", "proxy": "", "relay": "", "service": "SomeVPN", "tor": "", "vpn": "true"},
				}},
			}, []want{
				{"20.0.1.0/24", "company", "jansen.nl", "Bakkerij Jansen B.V.", "ipinfo_company", 24},
				{"20.0.2.0/24", "isp", "", "", "ipinfo_company", 24},
				{"20.0.3.0/24", "isp", "", "", "as_type", 24},
				{"20.0.4.0/24", "hosting", "", "", "ipinfo_company", 24},
				{"20.0.5.0/24", "company", "uv.nl", "Universiteit Voorbeeld", "ipinfo_company", 24},
				{"20.0.6.0/24", "isp", "", "", "ipinfo_company", 24},
				{"20.0.7.0/24", "isp", "", "", "ipinfo_company", 24},
				{"20.0.8.0/24", "ambiguous_truncation", "", "", "asn", 0},
				{"20.0.8.1/32", "company", "jansen.nl", "Bakkerij Jansen B.V.", "ipinfo_company", 29},
				{"20.0.9.0/24", "company", "ing.nl", "ING", "ipinfo_company", 24}, // the account of every database
				{"20.1.0.0/24", "isp", "", "", "ipinfo_company", 24},
				{"20.1.1.0/24", "company", "ing.nl", "ING", "as_type", 24},
				{"20.1.2.0/24", "hosting", "", "", "ipinfo_company", 24},
				{"20.1.3.0/24", "anonymizer", "", "", "ipinfo_privacy", 24},
				{"20.1.4.0/24", "education_network", "", "", "ipinfo_company", 24},
				{"20.1.5.0/24", "education_network", "", "", "ipinfo_company", 24},
				{"20.1.6.0/24", "isp", "", "", "ipinfo_company", 24},
			})
		}
	})
}
