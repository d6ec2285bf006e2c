package geotest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/metiva-io/metiva/enrich/geo"
)

// PackageDirs are the installed data package of AS numbers and the country
// database, below the cache folder (METIVA_CACHE, or metiva below the user's
// cache folder). A test that needs them fails without them: a skipped test
// would let a wrong company name through.
func PackageDirs(tb testing.TB) (asnPackage, countryFile string) {
	tb.Helper()
	cache := os.Getenv("METIVA_CACHE")
	if cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			tb.Fatalf("finding the cache folder: %v", err)
		}
		cache = filepath.Join(user, "metiva")
	}
	base := filepath.Join(cache, "data", "node_modules", "@ip-location-db")
	asnPackage = filepath.Join(base, "asn")
	countryFile = filepath.Join(base, "iptoasn-country-mmdb", "iptoasn-country.mmdb")
	for _, path := range []string{asnPackage, countryFile} {
		if _, err := os.Stat(path); err != nil {
			tb.Fatalf("the address data is not installed: run 'make engines' (%v)", err)
		}
	}
	return asnPackage, countryFile
}

// Real builds the database from the installed data. It takes some seconds:
// call it once per package.
func Real(tb testing.TB) geo.Files {
	tb.Helper()
	asnPackage, countryFile := PackageDirs(tb)
	out := filepath.Join(tb.TempDir(), "asn.mmdb")
	report, err := geo.Build(tb.Context(), geo.BuildConfig{ASNPackageDir: asnPackage, CountryFile: countryFile, OutFile: out}, nil)
	if err != nil {
		tb.Fatalf("building the address database: %v", err)
	}
	return geo.Files{report.File, report.CountryFile}
}

// Small builds a database from rows of "start,end,number,organisation",
// without countries. Version ends in a date, for example "1.0.2026010100".
func Small(tb testing.TB, version string, rows ...string) geo.Files {
	tb.Helper()
	dir := SmallPackage(tb, version, rows...)
	out := filepath.Join(dir, "out", "asn.mmdb")
	if _, err := geo.Build(tb.Context(), geo.BuildConfig{ASNPackageDir: dir, OutFile: out}, nil); err != nil {
		tb.Fatalf("building a small address database: %v", err)
	}
	return geo.Files{out}
}

// SmallPackage writes rows as a data package and returns its folder.
func SmallPackage(tb testing.TB, version string, rows ...string) string {
	tb.Helper()
	dir := tb.TempDir()
	var v4, v6 []string
	for _, row := range rows {
		if strings.Contains(row[:strings.IndexByte(row, ',')], ":") {
			v6 = append(v6, row)
		} else {
			v4 = append(v4, row)
		}
	}
	files := map[string]string{
		"package.json": `{"version":"` + version + `"}`,
		"asn-ipv4.csv": strings.Join(v4, "\n") + "\n",
		"asn-ipv6.csv": strings.Join(v6, "\n") + "\n",
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			tb.Fatalf("writing a data package: %v", err)
		}
	}
	return dir
}
