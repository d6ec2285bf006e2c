package geo

import (
	"bytes"
	"net"
	"testing"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
)

// seedDatabases is one small database of each layout.
func seedDatabases(tb testing.TB) [][]byte {
	tb.Helper()
	text := func(s string) mmdbtype.String { return mmdbtype.String(s) }
	place := mmdbtype.Map{"iso_code": text("NL")}
	var out [][]byte
	for databaseType, record := range map[string]mmdbtype.Map{
		"GeoLite2-ASN":           {"autonomous_system_number": mmdbtype.Uint32(1136), "autonomous_system_organization": text("KPN B.V.")},
		"GeoIP2-ISP":             {"autonomous_system_number": mmdbtype.Uint32(1136), "mobile_country_code": text("204")},
		"GeoIP2-Enterprise":      {"country": place, "subdivisions": mmdbtype.Slice{place}, "traits": mmdbtype.Map{"organization": text("A B.V."), "isp": text("B"), "domain": text("a.nl"), "user_type": text("business")}},
		"GeoIP2-Anonymous-IP":    {"is_anonymous": mmdbtype.Bool(true)},
		"GeoIP2-Connection-Type": {"connection_type": text("Cellular")},
		"GeoIP2-Domain":          {"domain": text("a.nl")},
		"GeoIP2-Country":         {"country": place},
		"ipinfo lite.mmdb":       {"asn": text("AS1136"), "as_name": text("KPN"), "country_code": text("NL")},
		"ipinfo company.mmdb":    {"name": text("A B.V."), "domain": text("a.nl"), "type": text("business"), "asn": text("AS1136")},
		"ipinfo privacy.mmdb":    {"vpn": text("true"), "hosting": text("")},
	} {
		tree, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: databaseType, RecordSize: 24, BuildEpoch: 1793500000})
		if err != nil {
			tb.Fatal(err)
		}
		for _, cidr := range []string{"20.0.0.0/16", "2a00:1::/32"} {
			_, network, err := net.ParseCIDR(cidr)
			if err != nil {
				tb.Fatal(err)
			}
			if err := tree.Insert(network, record); err != nil {
				tb.Fatal(err)
			}
		}
		var content bytes.Buffer
		if _, err := tree.WriteTo(&content); err != nil {
			tb.Fatal(err)
		}
		out = append(out, content.Bytes())
	}
	return out
}
