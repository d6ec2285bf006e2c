package geo_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/metiva-io/metiva/enrich/geo"
	"github.com/metiva-io/metiva/enrich/geo/geotest"
)

const smallVersion = "1.0.2026010203"

func open(tb testing.TB, files geo.Files) *geo.Databases {
	tb.Helper()
	d, err := geo.OpenDatabases(files)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := d.Close(); err != nil {
			tb.Error(err)
		}
	})
	return d
}

func view(tb testing.TB, d *geo.Databases) geo.View {
	tb.Helper()
	v, err := d.View()
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

func TestLookupContainment(t *testing.T) {
	t.Parallel()
	d := open(t, geotest.Small(t, smallVersion,
		"20.0.0.0,20.0.255.255,100,Wide B.V.",
		"20.1.0.0,20.1.0.127,200,Half a block B.V.",
		"20.2.0.0,20.2.0.255,300,Exactly a block B.V.",
		"20.3.0.5,20.3.1.255,400,Odd start B.V.",
		"2a00:1000::,2a00:1000:ffff:ffff:ffff:ffff:ffff:ffff,500,Six B.V.",
		"2a00:2000:0:8000::,2a00:2000:0:ffff:ffff:ffff:ffff:ffff,600,Longer than 48 B.V.",
	))
	v := view(t, d)
	defer v.Release()
	cases := []struct {
		network string
		outcome geo.Outcome
		asn     uint32
		bits    int
	}{
		{"20.0.7.0/24", geo.OutcomeFound, 100, 16},
		{"20.0.7.9/32", geo.OutcomeFound, 100, 16},
		{"::ffff:20.0.7.9/128", geo.OutcomeFound, 100, 16},
		{"::ffff:20.0.7.0/120", geo.OutcomeFound, 100, 16},
		{"20.1.0.0/24", geo.OutcomeAmbiguous, 0, 25},
		{"20.1.0.9/32", geo.OutcomeFound, 200, 25},
		// The other half of the block has no record: an empty network longer
		// than the truncation is as ambiguous as a full one.
		{"20.1.0.200/32", geo.OutcomeNotFound, 0, 25},
		{"20.2.0.0/24", geo.OutcomeFound, 300, 24},
		{"20.3.0.0/24", geo.OutcomeAmbiguous, 0, 30},
		{"20.3.1.0/24", geo.OutcomeFound, 400, 24},
		{"21.0.0.0/24", geo.OutcomeNotFound, 0, 8},
		{"2a00:1000:1::/48", geo.OutcomeFound, 500, 32},
		{"2a00:1000:1::1/128", geo.OutcomeFound, 500, 32},
		{"2a00:2000::/48", geo.OutcomeAmbiguous, 0, 49},
		{"2a00:2000:0:9000::1/128", geo.OutcomeFound, 600, 49},
		// Aliases of the IPv4 tree (20.0.7.9 as 6to4 and as Teredo server).
		{"2002:1400:709::/48", geo.OutcomeNotFound, 0, 0},
		{"2001:0:1400:709::/64", geo.OutcomeNotFound, 0, 0},
	}
	for _, c := range cases {
		got, err := v.Lookup(netip.MustParsePrefix(c.network))
		if err != nil {
			t.Errorf("%s: %v", c.network, err)
			continue
		}
		if got.Outcome != c.outcome || got.ASN != c.asn || got.Bits != c.bits {
			t.Errorf("%s: got outcome %d, AS%d, /%d; want %d, AS%d, /%d", c.network, got.Outcome, got.ASN, got.Bits, c.outcome, c.asn, c.bits)
		}
		if want := time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC); !got.Build.Equal(want) {
			t.Errorf("%s: build time %s, want %s", c.network, got.Build, want)
		}
	}
	if _, err := v.Lookup(netip.Prefix{}); err == nil {
		t.Error("an invalid network was looked up")
	}
}

// TestBuildIsDeterministic: equal input gives equal bytes, whenever and
// wherever it is built.
func TestBuildIsDeterministic(t *testing.T) {
	t.Parallel()
	var rows []string
	for i := range 2000 {
		rows = append(rows, fmt.Sprintf("20.%d.%d.0,20.%d.%d.255,%d,Organisation %d", i/250, i%250, i/250, i%250, 100+i%700, i%700))
	}
	var sums []string
	for range 3 {
		dir := geotest.SmallPackage(t, smallVersion, rows...)
		report, err := geo.Build(t.Context(), geo.BuildConfig{ASNPackageDir: dir, OutFile: filepath.Join(dir, "asn.mmdb")}, nil)
		if err != nil {
			t.Fatal(err)
		}
		sums = append(sums, report.SHA256)
	}
	if sums[0] != sums[1] || sums[1] != sums[2] {
		t.Errorf("sums differ: %v", sums)
	}
}

func TestBuildRefusesBadData(t *testing.T) {
	t.Parallel()
	cases := map[string]string{
		"not an address":   "20.0.0.0.1,20.0.0.255,1,A",
		"families differ":  "20.0.0.0,2a00::1,1,A",
		"descending":       "20.0.1.0,20.0.0.255,1,A",
		"not a number":     "20.0.0.0,20.0.0.255,AS1,A",
		"missing field":    "20.0.0.0,20.0.0.255,1",
		"number too large": "20.0.0.0,20.0.0.255,4294967296,A",
	}
	for name, row := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := geotest.SmallPackage(t, smallVersion, "30.0.0.0,30.0.0.255,1,B", row)
			out := filepath.Join(t.TempDir(), "asn.mmdb")
			if _, err := geo.Build(t.Context(), geo.BuildConfig{ASNPackageDir: dir, OutFile: out}, nil); err == nil {
				t.Fatal("built")
			}
			left, err := os.ReadDir(filepath.Dir(out))
			if err != nil || len(left) != 0 {
				t.Errorf("left behind: %v (%v)", left, err)
			}
		})
	}
}

func TestBuildWithoutData(t *testing.T) {
	t.Parallel()
	_, err := geo.Build(t.Context(), geo.BuildConfig{ASNPackageDir: filepath.Join(t.TempDir(), "none"), OutFile: filepath.Join(t.TempDir(), "x")}, nil)
	if !errors.Is(err, geo.ErrNoData) || !strings.Contains(err.Error(), "make engines") {
		t.Errorf("got %v", err)
	}
	if _, err := geo.Build(t.Context(), geo.BuildConfig{CountryOutFile: "x"}, nil); err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("want three faults, got %v", err)
	}
}

func TestBuildStopsWithContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dir := geotest.SmallPackage(t, smallVersion, "30.0.0.0,30.0.0.255,1,B")
	if _, err := geo.Build(ctx, geo.BuildConfig{ASNPackageDir: dir, OutFile: filepath.Join(t.TempDir(), "x")}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestOpenRefusesOtherFiles(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.mmdb")
	if err := os.WriteFile(path, []byte("not a database"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := geo.Open(path); err == nil {
		t.Error("opened a text file")
	}
	files := geotest.Small(t, smallVersion, "30.0.0.0,30.0.0.255,1,B")
	if _, err := geo.OpenDatabases(append(files, files...)); err == nil {
		t.Error("took two databases of one layout")
	}
}

// TestSwap replaces the databases while readers look up: every answer is of
// one build or the other, and no reader meets a closed file.
func TestSwap(t *testing.T) {
	t.Parallel()
	builds := []geo.Files{
		geotest.Small(t, "1.0.2026010100", "20.0.0.0,20.0.255.255,100,First B.V."),
		geotest.Small(t, "1.0.2026010200", "20.0.0.0,20.0.255.255,200,Second B.V."),
	}
	d := open(t, builds[0])
	network := netip.MustParsePrefix("20.0.7.0/24")
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				v, err := d.View()
				if err != nil {
					t.Error(err)
					return
				}
				for range 50 {
					a, err := v.Lookup(network)
					first := a.ASN == 100 && a.Organization == "First B.V." && a.Build.Day() == 1
					second := a.ASN == 200 && a.Organization == "Second B.V." && a.Build.Day() == 2
					if err != nil || first == second {
						t.Errorf("got %+v, %v", a, err)
					}
				}
				v.Release()
			}
		})
	}
	for i := range 200 {
		if err := d.Swap(builds[i%2]); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	readers.Wait()
	if err := d.Swap(geo.Files{filepath.Join(t.TempDir(), "missing")}); err == nil {
		t.Error("swapped to a missing file")
	}
	v := view(t, d)
	a, err := v.Lookup(network)
	v.Release()
	if err != nil || a.ASN != 200 {
		t.Errorf("after a refused swap: %+v, %v", a, err)
	}
}

// TestCloseWaits: a view taken before Close keeps answering until released.
func TestCloseWaits(t *testing.T) {
	t.Parallel()
	d, err := geo.OpenDatabases(geotest.Small(t, smallVersion, "20.0.0.0,20.0.255.255,100,First B.V."))
	if err != nil {
		t.Fatal(err)
	}
	v := view(t, d)
	closed := make(chan error)
	go func() { closed <- d.Close() }()
	for {
		// Close has taken effect once no new view is given.
		other, err := d.View()
		if err != nil {
			break
		}
		other.Release()
	}
	if a, err := v.Lookup(netip.MustParsePrefix("20.0.7.0/24")); err != nil || a.ASN != 100 {
		t.Errorf("got %+v, %v", a, err)
	}
	select {
	case <-closed:
		t.Error("closed under a view")
	default:
	}
	v.Release()
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if err := d.Swap(geo.Files{}); err == nil {
		t.Error("swapped after Close")
	}
	if err := d.Close(); err != nil {
		t.Errorf("closing twice: %v", err)
	}
}

// TestRealDatabase builds the default database from the installed package. It
// counts allocations, so it does not run in parallel.
func TestRealDatabase(t *testing.T) {
	asnPackage, countryFile := geotest.PackageDirs(t)
	dir := t.TempDir()
	cfg := geo.BuildConfig{
		ASNPackageDir: asnPackage, CountryFile: countryFile,
		OutFile: filepath.Join(dir, "a", "asn.mmdb"), CountryOutFile: filepath.Join(dir, "a", "country.mmdb"),
	}
	var phases []string
	report, err := geo.Build(t.Context(), cfg, func(p geo.Progress) {
		if len(phases) == 0 || phases[len(phases)-1] != p.Phase {
			phases = append(phases, p.Phase)
		}
		if p.Done > p.Total {
			t.Errorf("progress %+v", p)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", report)
	if got := strings.Join(phases, ","); got != "reading ipv4,reading ipv6,writing,checking" {
		t.Errorf("phases %s", got)
	}
	if report.RowsIPv4 < 400_000 || report.RowsIPv6 < 100_000 || report.Systems < 80_000 || report.Bytes < 8<<20 {
		t.Errorf("a small database: %+v", report)
	}
	notice, err := os.ReadFile(geo.AttributionFile(cfg.OutFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, owed := range []string{"RouteViews", "NRO", "DB-IP", "https://db-ip.com", "CC BY 4.0", report.SHA256} {
		if !bytes.Contains(notice, []byte(owed)) {
			t.Errorf("the attribution lacks %q", owed)
		}
	}
	d := open(t, geo.Files{cfg.OutFile, cfg.CountryOutFile})
	v := view(t, d)
	defer v.Release()
	for address, want := range map[string]struct {
		asn     uint32
		country string
	}{
		"145.221.10.1":        {15625, "NL"},
		"77.161.10.10":        {1136, "NL"},
		"84.24.10.1":          {33915, "NL"},
		"8.8.8.8":             {15169, "US"},
		"2a02:a400::1":        {1136, "NL"},
		"::ffff:145.221.10.1": {15625, "NL"},
	} {
		got, err := v.LookupAddr(netip.MustParseAddr(address))
		if err != nil || got.ASN != want.asn || got.Country != want.country {
			t.Errorf("%s: got %+v, %v", address, got, err)
		}
	}
	if allocs := testing.AllocsPerRun(100, func() { _, _ = v.LookupAddr(netip.AddrFrom4([4]byte{145, 221, 10, 1})) }); allocs != 0 {
		t.Errorf("%v allocations per lookup", allocs)
	}
}

func BenchmarkLookup(b *testing.B) {
	d := open(b, geotest.Real(b))
	v := view(b, d)
	defer v.Release()
	b.ReportAllocs()
	x := uint32(1)
	for b.Loop() {
		// A walk over the whole address space, not one hot path in the cache.
		x = x*1664525 + 1013904223
		_, _ = v.Lookup(netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(x >> 24), byte(x >> 16), byte(x >> 8), 0}), 24))
	}
}
