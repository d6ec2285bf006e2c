package company

import (
	"net/netip"
	"os"
	"strings"
	"testing"

	"golang.org/x/net/publicsuffix"

	"github.com/metiva-io/metiva/enrich/geo"
	"github.com/metiva-io/metiva/enrich/geo/geotest"
	"github.com/metiva-io/metiva/enrich/orgname"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

func chain(tb testing.TB, cfg Config) *Chain {
	tb.Helper()
	c, err := NewChain(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// found is the answer of a database of autonomous systems.
func found(asn uint32) geo.Answer {
	return geo.Answer{Outcome: geo.OutcomeFound, ASN: asn, Bits: 16, System: geo.Evidence{Layout: geo.LayoutASN, Bits: 16}}
}

// checkShape: a name is there for a company and for nothing else.
func checkShape(tb testing.TB, r *metivav1.Resolution) {
	tb.Helper()
	checkShapeAt(tb, r, ShowAtDefault)
}

func checkShapeAt(tb testing.TB, r *metivav1.Resolution, showAt float32) {
	tb.Helper()
	shown := r.GetVerdict() == metivav1.Verdict_VERDICT_COMPANY
	if shown != (r.GetName() != "") || shown != (r.GetAccountId() != "") || (!shown && r.GetDomain() != "") {
		tb.Errorf("verdict and name disagree: %v", r)
	}
	if r.GetVerdict() == metivav1.Verdict_VERDICT_UNSPECIFIED || r.GetSource() == "" {
		tb.Errorf("no verdict or no source: %v", r)
	}
	if shown && r.GetConfidence() < showAt {
		tb.Errorf("shown below the threshold: %v", r)
	}
}

// TestTablesAgree compares systems.tsv and overrides.tsv with the installed data:
// a number that has changed hands, or is gone, must not name anyone.
func TestTablesAgree(t *testing.T) {
	t.Parallel()
	c := chain(t, Config{})
	dir, _ := geotest.PackageDirs(t)
	announced := make(map[uint32]map[string]bool)
	for _, file := range []string{"asn-ipv4.csv", "asn-ipv6.csv"} {
		content, err := os.ReadFile(dir + "/" + file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(content)) {
			fields := strings.SplitN(strings.TrimSpace(line), ",", 4)
			asn, err := parseASN(fields[2])
			if err != nil {
				t.Fatal(err)
			}
			if _, listed := c.systems[asn]; !listed {
				continue
			}
			if announced[asn] == nil {
				announced[asn] = make(map[string]bool)
			}
			announced[asn][strings.ReplaceAll(strings.TrimSuffix(strings.TrimPrefix(fields[3], `"`), `"`), `""`, `"`)] = true
		}
	}
	for asn, s := range c.systems {
		if !announced[asn][s.announced] {
			t.Errorf("AS%d is %q in the table and %v in the data", asn, s.announced, announced[asn])
		}
		if s.kind.isOrganization() && orgname.LooksLikePerson(s.announced) {
			t.Errorf("AS%d: %q looks like a person", asn, s.announced)
		}
		checkDomain(t, s.organization)
	}
	for prefix, o := range c.overrides.All() {
		if _, listed := c.systems[o.asn]; !listed {
			t.Errorf("%s is announced by AS%d, which is not in systems.tsv", prefix, o.asn)
		}
		checkDomain(t, o.organization)
	}
	if len(c.systems) < 1100 || c.overrides.Size() < 120 {
		t.Errorf("the tables have shrunk: %d systems, %d overrides", len(c.systems), c.overrides.Size())
	}
}

func checkDomain(t *testing.T, o organization) {
	t.Helper()
	if o.domain == "" {
		return
	}
	if suffix, registry := publicsuffix.PublicSuffix(o.domain); suffix == o.domain && !registry {
		return // the organisation runs its domain as a suffix (ruhr-uni-bochum.de)
	}
	if registrable, err := publicsuffix.EffectiveTLDPlusOne(o.domain); err != nil || registrable != o.domain {
		t.Errorf("%s: %q is not a registrable domain (%q, %v)", o.name, o.domain, registrable, err)
	}
}

func TestSuppression(t *testing.T) {
	t.Parallel()
	c := chain(t, Config{Suppressions: []Suppression{
		{List: ListTenant, CompanyID: "cmp_own", Prefix: netip.MustParsePrefix("145.221.10.64/29")},
		{List: ListOptOut, Prefix: netip.MustParsePrefix("145.222.0.0/16")},
	}})
	query := func(company, network string) metivav1.Verdict {
		var out metivav1.Resolution
		c.Resolve(&out, Query{CompanyID: company, Network: netip.MustParsePrefix(network), Answer: found(15625)})
		checkShape(t, &out)
		return out.GetVerdict()
	}
	const suppressed, shown = metivav1.Verdict_VERDICT_SUPPRESSED, metivav1.Verdict_VERDICT_COMPANY
	for _, row := range []struct {
		company, network string
		want             metivav1.Verdict
	}{
		{"cmp_own", "145.221.10.0/24", suppressed}, // the office may be behind it
		{"cmp_own", "145.221.10.65/32", suppressed},
		{"cmp_own", "145.221.10.1/32", shown},
		{"cmp_own", "145.221.11.0/24", shown},
		{"cmp_other", "145.221.10.0/24", shown},
		{"", "145.221.10.0/24", shown},
		{"cmp_other", "145.222.1.0/24", suppressed},
		{"", "145.222.1.0/24", suppressed},
	} {
		if got := query(row.company, row.network); got != row.want {
			t.Errorf("%q %s: got %s, want %s", row.company, row.network, got, row.want)
		}
	}
}

// TestChainOrder: what comes first in the chain wins, and what is not known
// for certain is not shown.
func TestChainOrder(t *testing.T) {
	t.Parallel()
	c := chain(t, Config{})
	delft := netip.MustParsePrefix("131.180.7.0/24")
	for name, row := range map[string]struct {
		q    Query
		want metivav1.Verdict
	}{
		"override":                      {Query{Network: delft, Answer: found(1128)}, metivav1.Verdict_VERDICT_COMPANY},
		"override, announced elsewhere": {Query{Network: delft, Answer: found(8075)}, metivav1.Verdict_VERDICT_HOSTING},
		"override, no record":           {Query{Network: delft}, metivav1.Verdict_VERDICT_NOT_FOUND},
		"override, ambiguous":           {Query{Network: delft, Answer: geo.Answer{Outcome: geo.OutcomeAmbiguous, Split: true, Bits: 25}}, metivav1.Verdict_VERDICT_AMBIGUOUS_TRUNCATION},
		"anonymiser before override":    {Query{Network: delft, Answer: found(60729)}, metivav1.Verdict_VERDICT_ANONYMIZER},
		"reserved before all":           {Query{Network: netip.MustParsePrefix("10.0.0.0/24"), Answer: found(15625)}, metivav1.Verdict_VERDICT_RESERVED},
		"invalid":                       {Query{Answer: found(15625)}, metivav1.Verdict_VERDICT_RESERVED},
		"unlisted":                      {Query{Network: delft, Answer: geo.Answer{Outcome: geo.OutcomeFound, ASN: 4294967294, Organization: "Some Company B.V."}}, metivav1.Verdict_VERDICT_UNCLASSIFIED},
		"unlisted person":               {Query{Network: delft, Answer: geo.Answer{Outcome: geo.OutcomeFound, ASN: 4294967294, Organization: "Jori Vanneste", Person: true}}, metivav1.Verdict_VERDICT_SOLE_TRADER},
	} {
		var out metivav1.Resolution
		c.Resolve(&out, row.q)
		checkShape(t, &out)
		if out.GetVerdict() != row.want {
			t.Errorf("%s: got %s, want %s", name, out.GetVerdict(), row.want)
		}
	}
	strict := chain(t, Config{ShowAt: 0.9})
	var out metivav1.Resolution
	strict.Resolve(&out, Query{Network: netip.MustParsePrefix("145.221.10.0/24"), Answer: found(15625)})
	checkShape(t, &out)
	if out.GetVerdict() != metivav1.Verdict_VERDICT_UNCLASSIFIED {
		t.Errorf("shown below its threshold: %v", &out)
	}
}

func TestTablesRefuseFaults(t *testing.T) {
	t.Parallel()
	for name, parse := range map[string]func() error{
		"kind":           func() error { _, err := parseSystems("1\tx\tA\t-\t-\ts\n"); return err },
		"twice":          func() error { _, err := parseSystems("1\tisp\tA\t-\t-\ts\n1\tisp\tA\t-\t-\ts\n"); return err },
		"no source":      func() error { _, err := parseSystems("1\tisp\tA\t-\t-\t\n"); return err },
		"named provider": func() error { _, err := parseSystems("1\tisp\tA\tKPN\tkpn.nl\ts\n"); return err },
		"nameless":       func() error { _, err := parseSystems("1\tbusiness\tA\t-\t-\ts\n"); return err },
		"fields":         func() error { _, err := parseSystems("1\tisp\n"); return err },
		"too long":       func() error { _, err := parseOverrides("20.0.0.0/25\t1\tA\ta.nl\ts\n"); return err },
		"host bits":      func() error { _, err := parseOverrides("20.0.0.1/24\t1\tA\ta.nl\ts\n"); return err },
		"prefix":         func() error { _, err := parsePrefixes("reserved", "20.0.0/24\ts\n"); return err },
	} {
		if parse() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if err := (Config{ShowAt: 2, Suppressions: []Suppression{{}}}).Validate(); err == nil || strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("want two faults, got %v", err)
	}
}

func BenchmarkResolve(b *testing.B) {
	c := chain(b, Config{})
	q := Query{CompanyID: "cmp_a", Network: netip.MustParsePrefix("145.221.10.0/24"), Answer: found(15625)}
	var out metivav1.Resolution
	b.ReportAllocs()
	for b.Loop() {
		c.Resolve(&out, q)
	}
}

// TestAllocs: a decision about a commercial record takes no memory either.
func TestAllocs(t *testing.T) {
	c := chain(t, Config{Rows: readRows(t, rowsCSV)})
	for name, company := range map[string]*geo.Company{
		"none":     nil,
		"company":  {Name: "Bakkerij Jansen B.V.", Key: "org:bakkerij-jansen", Domain: "jansen.nl", Kind: geo.KindBusiness},
		"provider": {Name: "Ziggo Services Nederland B.V.", Key: "org:ziggo-services-nederland", Kind: geo.KindBusiness},
		"long":     {Name: "Lang", Key: "org:" + strings.Repeat("a-", 39) + "services", Kind: geo.KindBusiness},
	} {
		answer := found(1136)
		answer.Company = company
		q := Query{CompanyID: "cmp_a", Network: netip.MustParsePrefix("20.9.1.0/24"), Answer: answer}
		var out metivav1.Resolution
		if n := testing.AllocsPerRun(100, func() { c.Resolve(&out, q) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
