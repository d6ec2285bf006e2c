package geo

import (
	"bytes"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
)

// shaped is the record of 20.0.0.0/16 in a database of the type.
func shaped(t *testing.T, databaseType string, record mmdbtype.DataType) (*facts, error) {
	t.Helper()
	tree, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: databaseType, RecordSize: 24, BuildEpoch: 1793500000})
	if err != nil {
		t.Fatal(err)
	}
	_, network, err := net.ParseCIDR("20.0.0.0/16")
	if err != nil {
		t.Fatal(err)
	}
	if err := tree.Insert(network, record); err != nil {
		t.Fatal(err)
	}
	var content bytes.Buffer
	if _, err := tree.WriteTo(&content); err != nil {
		t.Fatal(err)
	}
	r, err := readerOf(content.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	rec, _, err := r.lookup(netip.MustParseAddr("20.0.0.1"))
	return rec, err
}

// values are what may stand where a layout has something else.
func values() map[string]mmdbtype.DataType {
	return map[string]mmdbtype.DataType{
		"text": mmdbtype.String("x"), "nothing": mmdbtype.String(""), "long": mmdbtype.String(strings.Repeat("x", 70_000)),
		"broken": mmdbtype.String("\xff\xfe"), "true": mmdbtype.Bool(true), "number": mmdbtype.Uint32(7), "wide": mmdbtype.Uint64(1 << 60),
		"negative": mmdbtype.Int32(-7), "float": mmdbtype.Float64(0.5), "bytes": mmdbtype.Bytes("x"),
		"list": mmdbtype.Slice{mmdbtype.String("x"), mmdbtype.Map{"iso_code": mmdbtype.Slice{}}}, "empty list": mmdbtype.Slice{},
		"map": mmdbtype.Map{"iso_code": mmdbtype.Map{}, "x": mmdbtype.Slice{mmdbtype.Map{}}}, "empty map": mmdbtype.Map{},
	}
}

// TestOddRecords: a record of another shape than its layout says is no error, since
// the events of its network would be tried again for good.
func TestOddRecords(t *testing.T) {
	t.Parallel()
	for _, databaseType := range []string{
		"GeoLite2-ASN", "GeoIP2-ISP", "GeoIP2-Enterprise", "GeoIP2-Anonymous-IP", "GeoIP2-Connection-Type", "GeoIP2-Domain", "GeoIP2-Country",
		"iptoasn-country", "ipinfo lite.mmdb", "ipinfo standard_company.mmdb", "ipinfo standard_privacy.mmdb", DatabaseTypeASN,
	} {
		for name, value := range values() {
			for _, record := range []mmdbtype.DataType{
				value,
				mmdbtype.Map{
					"country": value, "subdivisions": value, "traits": value, "autonomous_system_number": value, "autonomous_system_organization": value,
					"asn": value, "as_name": value, "name": value, "domain": value, "type": value, "country_code": value, "vpn": value, "is_tor_exit_node": value,
				},
				mmdbtype.Map{
					"country": mmdbtype.Map{"iso_code": value}, "subdivisions": mmdbtype.Slice{value, value},
					"traits": mmdbtype.Map{"organization": value, "isp": value, "user_type": value, "domain": value, "is_anonymous": value, "new": value},
				},
			} {
				rec, err := shaped(t, databaseType, record)
				if err != nil {
					t.Errorf("%s of %s: %v", databaseType, name, err)
					continue
				}
				if rec.country != "" || rec.region != "" || len(rec.organization) > organizationBytesMax || !strings.Contains("x true 7 1152921504606846976", rec.organization) {
					t.Errorf("%s of %s: %+v", databaseType, name, rec)
				}
			}
		}
	}
}

// TestFieldsBesideOddOnes: what is in order beside what is not counts, above all that
// a network hides its users.
func TestFieldsBesideOddOnes(t *testing.T) {
	t.Parallel()
	for name, odd := range values() {
		rec, err := shaped(t, "GeoIP2-Enterprise", mmdbtype.Map{
			"country": odd, "registered_country": odd, "subdivisions": odd,
			"traits": mmdbtype.Map{
				"autonomous_system_number": mmdbtype.Uint32(1136), "organization": mmdbtype.String("Bakkerij Jansen B.V."), "user_type": mmdbtype.String("business"),
				"static_ip_score": odd, "is_anonymous_vpn": mmdbtype.Bool(true),
			},
		})
		if err != nil || rec.asn != 1136 || !rec.anonymous || rec.company == nil || rec.company.Name != "Bakkerij Jansen B.V." {
			t.Errorf("%s: %+v, %v", name, rec, err)
		}
	}
	rec, err := shaped(t, "GeoIP2-Enterprise", mmdbtype.Map{
		"country":      mmdbtype.Map{"iso_code": mmdbtype.String("NL"), "names": mmdbtype.Map{"en": mmdbtype.String("The Netherlands")}},
		"subdivisions": mmdbtype.Slice{mmdbtype.Map{"iso_code": mmdbtype.String("ZH")}, mmdbtype.Map{"iso_code": mmdbtype.String("AA")}},
		"traits":       mmdbtype.Map{"is_anonymous": mmdbtype.Bool(true), "is_hosting_provider": mmdbtype.Bool(true)},
	})
	if err != nil || rec.country != "NL" || rec.region != "NL-ZH" || rec.anonymous || !rec.hosting {
		t.Errorf("%+v, %v", rec, err)
	}
	rec, err = shaped(t, "GeoIP2-Country", mmdbtype.Map{
		"country": mmdbtype.Map{"iso_code": mmdbtype.String("NL")}, "subdivisions": mmdbtype.Slice{mmdbtype.Map{"iso_code": mmdbtype.String("\xff\xfe")}},
	})
	if err != nil || rec.country != "NL" || rec.region != "" {
		t.Errorf("%+v, %v", rec, err)
	}
}
