package geo_test

import (
	"net/netip"
	"testing"

	"github.com/metiva-io/metiva/enrich/geo"
	"github.com/metiva-io/metiva/enrich/geo/geotest"
)

type record = map[string]any

// TestSeveralDatabases: each fact is of the first database that has a record for
// the whole network, and a division by one before it is told.
func TestSeveralDatabases(t *testing.T) {
	place := func(country, region string) record {
		return record{"country": record{"iso_code": country}, "subdivisions": []any{record{"iso_code": region}}}
	}
	asn := func(n uint32, name string) record {
		return record{"autonomous_system_number": n, "autonomous_system_organization": name}
	}
	files := geo.Files{
		geotest.Write(t, geo.DatabaseTypeASN, false, map[string]record{"20.0.0.0/16": asn(1, "Old B.V."), "20.1.0.0/16": asn(1, "Old B.V."), "2a00:1::/32": asn(1, "Old B.V.")}),
		geotest.Write(t, "GeoIP2-ISP", true, map[string]record{"20.0.0.0/17": asn(2, "New B.V."), "20.0.200.0/25": asn(3, "Half B.V.")}),
		geotest.Write(t, "GeoIP2-City", false, map[string]record{"20.0.0.0/17": place("NL", "ZH"), "20.0.128.0/17": place("None", "ZH")}),
		geotest.Write(t, "ipinfo lite.mmdb", false, map[string]record{"20.0.128.0/17": {"country_code": "BE", "country": "Belgium"}}),
	}
	v := view(t, open(t, files))
	defer v.Release()
	for network, want := range map[string]struct {
		asn             uint32
		outcome         geo.Outcome
		split           bool
		country, region string
		source          geo.Layout
	}{
		"20.0.7.0/24":   {2, geo.OutcomeFound, false, "NL", "NL-ZH", geo.LayoutISP},
		"20.0.199.0/24": {1, geo.OutcomeFound, false, "BE", "", geo.LayoutDefault},
		"20.0.200.0/24": {1, geo.OutcomeFound, true, "BE", "", geo.LayoutDefault}, // one before it divides the network
		"20.0.200.9/32": {3, geo.OutcomeFound, false, "BE", "", geo.LayoutISP},
		"20.1.7.0/24":   {1, geo.OutcomeFound, false, "", "", geo.LayoutDefault},
		"2a00:1::/48":   {1, geo.OutcomeFound, false, "", "", geo.LayoutDefault}, // one of them has IPv4 only
		"21.0.0.0/24":   {0, geo.OutcomeNotFound, false, "", "", geo.LayoutUnknown},
	} {
		got, err := v.Lookup(netip.MustParsePrefix(network))
		if err != nil {
			t.Errorf("%s: %v", network, err)
			continue
		}
		if got.ASN != want.asn || got.Outcome != want.outcome || got.Split != want.split || got.Country != want.country || got.Region != want.region || got.System.Layout != want.source {
			t.Errorf("%s: %+v, want %+v", network, got, want)
		}
	}
	network := netip.MustParsePrefix("20.0.7.0/24")
	if n := testing.AllocsPerRun(100, func() { _, _ = v.Lookup(network) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if _, err := geo.OpenDatabases(files[2:3]); err == nil {
		t.Error("opened without a database of autonomous systems")
	}
	if _, err := geo.OpenDatabases(nil); err == nil {
		t.Error("opened no database")
	}
}
