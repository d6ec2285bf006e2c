package geo

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestLayoutOf(t *testing.T) {
	t.Parallel()
	for databaseType, want := range map[string]Layout{
		"Metiva-ASN": LayoutDefault, "GeoLite2-ASN": LayoutASN, "GeoIP2-ASN": LayoutASN, "DBIP-ASN-Lite": LayoutASN,
		"DBIP-ASN-Lite (compat=GeoLite2-ASN)": LayoutASN, "GeoIP2-ISP": LayoutISP, "DBIP-ISP (compat=GeoIP2-ISP)": LayoutISP,
		"GeoIP2-Enterprise": LayoutEnterprise, "GeoIP2-Precision-Enterprise": LayoutEnterprise,
		"DBIP-Location-ISP (compat=Enterprise)": LayoutUnknown, "DBIP-Location-ISP (compat=GeoIP2-Enterprise)": LayoutEnterprise,
		"GeoIP2-Domain": LayoutDomain, "GeoIP2-Anonymous-IP": LayoutAnonymous, "GeoIP-Anonymous-Plus": LayoutAnonymous,
		"GeoIP2-Connection-Type": LayoutConnection, "GeoIP2-Country": LayoutCountry, "GeoLite2-City": LayoutCountry,
		"DBIP-Country-Lite": LayoutCountry, "iptoasn-country": LayoutCountryCode, "ipinfo generic_country_free.mmdb": LayoutCountryCode,
		"ipinfo bundle_location_lite.mmdb": LayoutIPinfoLite, "ipinfo lite.mmdb": LayoutIPinfoLite,
		"ipinfo generic_country_free_country_asn.mmdb": LayoutIPinfoLite, "ipinfo standard_company.mmdb": LayoutIPinfoCompany,
		"ipinfo standard_privacy.mmdb": LayoutIPinfoPrivacy, "ipinfo extended_privacy_v2.mmdb": LayoutIPinfoPrivacy,
		"ipinfo privacy_detection_sample.mmdb": LayoutIPinfoPrivacy, "ipinfo standard_carrier_mmdb.mmdb": LayoutUnknown,
		"": LayoutUnknown, "GeoIP2-": LayoutUnknown, "ipinfo ": LayoutUnknown, "(compat=": LayoutUnknown, "Metiva-Company": LayoutUnknown,
	} {
		if got := layoutOf(databaseType); got != want {
			t.Errorf("%q: %s (%d), want %s (%d)", databaseType, got, got, want, want)
		}
	}
	for l := range layouts {
		if (l.String() == "unknown") != (l == LayoutUnknown) {
			t.Errorf("layout %d has no name", l)
		}
	}
}

func TestFilesIn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := FilesIn(dir); err == nil || !strings.Contains(err.Error(), "metiva geo build") {
		t.Errorf("got %v", err)
	}
	for _, name := range []string{"b.mmdb", "a.mmdb", ".a.mmdb.123", ".b.mmdb", "a.mmdb.LICENSE.txt", "business.networks"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	files, err := FilesIn(dir)
	if err != nil || len(files) != 2 || filepath.Base(files[0]) != "a.mmdb" || filepath.Base(files[1]) != "b.mmdb" {
		t.Errorf("%v, %v", files, err)
	}
	if _, err := FilesIn(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

// readerOf reads a database from memory.
func readerOf(content []byte) (*Reader, error) { return newReader("memory", content) }

// TestDamagedDatabases: files of which some bytes are others give answers or
// errors.
func TestDamagedDatabases(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(20261122, 5))
	seeds := seedDatabases(t)
	for range 3000 {
		content := slices.Clone(seeds[rnd.IntN(len(seeds))])
		for range 1 + rnd.IntN(4) {
			content[rnd.IntN(len(content))] = byte(rnd.IntN(256))
		}
		if r, err := readerOf(content); err == nil {
			checkDamaged(t, r)
		}
	}
}

// FuzzDatabase: damaged files of every layout give answers or errors, no panic,
// and nothing that is not text.
func FuzzDatabase(f *testing.F) {
	for _, content := range seedDatabases(f) {
		f.Add(content)
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		if r, err := readerOf(content); err == nil {
			checkDamaged(t, r)
		}
	})
}

func checkDamaged(t *testing.T, r *Reader) {
	t.Helper()
	for _, text := range []string{"20.0.0.1", "2a00:1::1", "20.1.0.0"} {
		found, _, err := r.lookup(netip.MustParseAddr(text))
		if err != nil {
			if strings.Contains(err.Error(), text) {
				t.Errorf("the error repeats the address: %v", err)
			}
			continue
		}
		if found == nil {
			continue
		}
		if len(found.organization) > organizationBytesMax || len(found.country) > 2 || len(found.region) > 6 {
			t.Errorf("%+v", found)
		}
		if c := found.company; c != nil && (len(c.Name) > organizationBytesMax || (c.Name != "") != (c.Key != "")) {
			t.Errorf("%+v", c)
		}
	}
}
