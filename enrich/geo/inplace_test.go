package geo_test

import (
	"net/netip"
	"os"
	"testing"

	"github.com/metiva-io/metiva/enrich/geo"
	"github.com/metiva-io/metiva/enrich/geo/geotest"
)

// TestAFileWrittenOver: what happens to a file on the disk neither ends the process nor
// changes an answer until the file is read and checked anew.
func TestAFileWrittenOver(t *testing.T) {
	t.Parallel()
	database := func(name string) string {
		records := map[string]record{}
		for _, network := range []string{"20.0.0.0/24", "20.0.128.0/24", "2a00:1::/32"} {
			records[network] = record{"autonomous_system_number": uint32(1), "autonomous_system_organization": name + " " + network}
		}
		return geotest.Write(t, geo.DatabaseTypeASN, false, records)
	}
	file := database("Old")
	other, err := os.ReadFile(database("New"))
	if err != nil {
		t.Fatal(err)
	}
	v := view(t, open(t, geo.Files{file}))
	defer v.Release()
	old := func(network string) {
		t.Helper()
		answer, err := v.Lookup(netip.MustParsePrefix(network))
		if err != nil || answer.Organization != "Old "+network {
			t.Errorf("%s: %q, %v", network, answer.Organization, err)
		}
	}
	old("20.0.0.0/24")
	if err := os.Truncate(file, 0); err != nil {
		t.Fatal(err)
	}
	old("20.0.128.0/24")
	if err := os.WriteFile(file, other, 0o600); err != nil {
		t.Fatal(err)
	}
	old("20.0.0.0/24")
	if answer, err := v.Lookup(netip.MustParsePrefix("2a00:1::/48")); err != nil || answer.Organization != "Old 2a00:1::/32" {
		t.Errorf("%q, %v", answer.Organization, err)
	}
}
