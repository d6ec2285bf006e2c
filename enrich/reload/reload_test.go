package reload

import (
	"bytes"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/metiva-io/metiva/enrich/company"
	"github.com/metiva-io/metiva/enrich/geo"
	"github.com/metiva-io/metiva/enrich/geo/geotest"
)

type record = map[string]any

// database is a file's content that says who announces 20.0.0.0/16.
func database(t *testing.T, name string) []byte {
	t.Helper()
	return geotest.Bytes(t, geo.DatabaseTypeASN, false, map[string]record{
		"20.0.0.0/16": {"autonomous_system_number": uint32(64500), "autonomous_system_organization": name},
	})
}

// replace puts content under the name as an operator should.
func replace(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := geo.ReplaceFile(path, func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	}, nil); err != nil {
		t.Fatal(err)
	}
}

// files is a directory with a database, and lists beside it.
type files struct {
	t       *testing.T
	cfg     Config
	asn     string
	data    *Data
	reg     *prometheus.Registry
	applied int
	log     bytes.Buffer
}

func open(t *testing.T) *files {
	t.Helper()
	dir := t.TempDir()
	f := &files{t: t, reg: prometheus.NewRegistry(), asn: filepath.Join(dir, "geo", "asn.mmdb")}
	f.cfg = Config{
		GeoDir: filepath.Dir(f.asn), ReferrerSpam: filepath.Join(dir, "spam.txt"), Every: time.Hour,
		Lists: company.Lists{Suppressions: filepath.Join(dir, "suppressions.txt")},
	}
	replace(t, f.asn, database(t, "First B.V."))
	replace(t, f.cfg.ReferrerSpam, []byte("spam.example\n"))
	replace(t, f.cfg.Lists.Suppressions, []byte("20.0.9.0/24,operator\n"))
	var err error
	if f.data, err = Open(f.cfg, slog.New(slog.NewTextHandler(&f.log, nil)), f.reg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.data.Close() })
	return f
}

func (f *files) look() { f.data.look(func(Lists) { f.applied++ }) }

// announced is who announces the network, by the databases in use.
func (f *files) announced() string {
	f.t.Helper()
	view, err := f.data.Databases().View()
	if err != nil {
		f.t.Fatal(err)
	}
	defer view.Release()
	answer, err := view.Lookup(netip.MustParsePrefix("20.0.1.0/24"))
	if err != nil {
		f.t.Fatal(err)
	}
	return answer.Organization
}

// metric is a metric's value, of the outcome if it has one.
func (f *files) metric(name, outcome string) float64 {
	f.t.Helper()
	families, err := f.reg.Gather()
	if err != nil {
		f.t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if family.GetName() == name && (outcome == "" || m.GetLabel()[0].GetValue() == outcome) {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	f.t.Fatalf("there is no metric %s", name)
	return 0
}

func (f *files) expect(what, organization string, taken, refused float64, isRefused float64) {
	f.t.Helper()
	got := [3]float64{f.metric("metiva_enrich_data_reloads_total", outcomeTaken), f.metric("metiva_enrich_data_reloads_total", outcomeRefused), f.metric("metiva_enrich_data_refused", "")}
	if name := f.announced(); name != organization || got != [3]float64{taken, refused, isRefused} || f.applied != int(taken) {
		f.t.Errorf("%s: %q, taken, refused and is refused %v, applied %d\n%s", what, name, got, f.applied, f.log.String())
	}
}

// TestReload: a change is taken when it has settled, once, and one that is damaged
// leaves what was there.
func TestReload(t *testing.T) {
	t.Parallel()
	f := open(t)
	f.look()
	f.look()
	f.expect("nothing changed", "First B.V.", 0, 0, 0)
	replace(t, f.asn, database(t, "Second B.V."))
	f.look()
	f.expect("a change that may go on", "First B.V.", 0, 0, 0)
	f.look()
	f.look()
	f.expect("a change", "Second B.V.", 1, 0, 0)

	whole := database(t, "Third B.V.")
	for what, content := range map[string][]byte{
		"a damaged file": append(bytes.Repeat([]byte{0xff}, 64), whole[64:]...), "half a file": whole[:len(whole)/2], "an empty file": nil,
		"another layout": geotest.Bytes(t, "GeoIP2-City", false, map[string]record{"20.0.0.0/16": {"country": record{"iso_code": "NL"}}}),
	} {
		before := f.metric("metiva_enrich_data_reloads_total", outcomeRefused)
		replace(t, f.asn, content)
		f.look()
		f.look()
		f.look()
		f.expect(what, "Second B.V.", 1, before+1, 1)
	}
	replace(t, f.asn, whole)
	f.look()
	f.look()
	f.expect("the repair", "Third B.V.", 2, 4, 0)
	if err := os.Remove(f.asn); err != nil {
		t.Fatal(err)
	}
	f.look()
	f.look()
	f.expect("no file", "Third B.V.", 2, 5, 1)
}

// TestReloadLists: lists are read again too, and one at fault holds everything back.
func TestReloadLists(t *testing.T) {
	t.Parallel()
	f := open(t)
	before := f.data.Lists()
	replace(t, f.cfg.ReferrerSpam, []byte("other.example\n"))
	f.look()
	f.look()
	f.expect("a list", "First B.V.", 1, 0, 0)
	if after := f.data.Lists(); after.Chain == before.Chain || after.Sources == before.Sources {
		t.Error("the lists are those of before")
	}
	replace(t, f.cfg.Lists.Suppressions, []byte("not a network\n"))
	replace(t, f.asn, database(t, "Second B.V."))
	f.look()
	f.look()
	f.expect("a list at fault", "First B.V.", 1, 1, 1)
	replace(t, f.cfg.Lists.Suppressions, []byte("20.0.8.0/24,operator\n"))
	f.look()
	f.look()
	f.expect("the repair", "Second B.V.", 2, 1, 0)
}

// TestFalseCompanies: databases that name a company for an address that is known to
// be another's are refused.
func TestFalseCompanies(t *testing.T) {
	t.Parallel()
	f := open(t)
	// Google's resolver, as a bank's: the labelled set has it as hosting.
	replace(t, f.asn, geotest.Bytes(t, geo.DatabaseTypeASN, false, map[string]record{
		"8.8.8.0/24": {"autonomous_system_number": uint32(15625), "autonomous_system_organization": "ING Bank N.V."},
		"1.1.1.0/24": {"autonomous_system_number": uint32(15625), "autonomous_system_organization": "ING Bank N.V."},
	}))
	f.look()
	f.look()
	f.expect("a false company", "First B.V.", 0, 1, 1)
	if !bytes.Contains(f.log.Bytes(), []byte("labelled set")) {
		t.Errorf("the log does not say why: %s", f.log.String())
	}
}

// TestValidate: a start with files at fault is refused.
func TestValidate(t *testing.T) {
	t.Parallel()
	good := open(t).cfg
	noList := filepath.Join(t.TempDir(), "list.csv")
	replace(t, noList, []byte("neither a network nor a domain\n"))
	for name, change := range map[string]func(*Config){
		"no directory":    func(c *Config) { c.GeoDir = "" },
		"empty directory": func(c *Config) { c.GeoDir = t.TempDir() },
		"missing list":    func(c *Config) { c.ReferrerSpam = filepath.Join(t.TempDir(), "away") },
		"list at fault":   func(c *Config) { c.Lists.Suppressions = noList },
		"too often":       func(c *Config) { c.Every = time.Microsecond },
	} {
		c := good
		change(&c)
		if c.Validate() == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
}
