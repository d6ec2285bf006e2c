package company

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/metiva-io/metiva/enrich/geo"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

const rowsCSV = `network,name,domain,type,source
# customers of KPN
20.0.1.0 - 20.0.1.255,Bakkerij Jansen B.V.,www.jansen.nl,business,RIPE 2026-11
20.0.2.0/24,"Peters, Slagerij B.V.",,government,own
20.0.3.0/24,Onbekend B.V.,onbekend.nl,,own
20.0.4.0/24,found.nl,found.nl,business,reverse_dns
20.0.5.0/24,Jan Jansen,,business,own
20.0.6.0/24,,,isp,own
20.0.7.0/24,,,hosting,own
20.0.8.0/24,,,mobile,own
20.0.9.9,,,tor,own
20.0.10.0/28,Small B.V.,small.nl,business,own
20.0.11.0/24,Ziggo B.V.,ziggo.nl,business,own
2001:db9::/48,Zes B.V.,zes.nl,education,own
20.0.12.0/24,,,nren,own
`

func readRows(t *testing.T, content string) []Row {
	t.Helper()
	var out []Row
	if err := ReadRows(strings.NewReader(content), func(r Row) error {
		out = append(out, r)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestOperatorRows(t *testing.T) {
	t.Parallel()
	rows := readRows(t, rowsCSV)
	if len(rows) != 13 {
		t.Fatalf("%d rows", len(rows))
	}
	standard, all := chain(t, Config{Rows: rows}), chain(t, Config{Rows: rows, ShowAt: 0.5})
	kpn, ing := found(1136), found(15625)
	for _, row := range []struct {
		c               *Chain
		network         string
		answer          geo.Answer
		verdict, source string
		account         string
		bits            uint32
	}{
		{standard, "20.0.1.0/24", kpn, "company", "operator", "jansen.nl", 24},
		{standard, "20.0.1.7/32", kpn, "company", "operator", "jansen.nl", 24},
		{standard, "20.0.2.0/24", kpn, "company", "operator", "org:peters-slagerij", 24},
		{standard, "20.0.3.0/24", kpn, "isp", "as_type", "", 16},           // no type: below the threshold
		{standard, "20.0.3.0/24", ing, "unclassified", "operator", "", 24}, // but in doubt
		{all, "20.0.3.0/24", kpn, "company", "operator", "onbekend.nl", 24},
		{standard, "20.0.4.0/24", kpn, "company", "reverse_dns", "found.nl", 24},
		{standard, "20.0.5.0/24", kpn, "sole_trader", "operator", "", 24},
		{standard, "20.0.6.0/24", ing, "isp", "operator", "", 24},
		{standard, "20.0.7.0/24", ing, "hosting", "operator", "", 24},
		{standard, "20.0.8.0/24", ing, "mobile", "operator", "", 24},
		{standard, "20.0.9.0/24", ing, "ambiguous_truncation", "asn", "", 0},
		{standard, "20.0.9.9/32", ing, "anonymizer", "operator", "", 32},
		{standard, "20.0.9.0/24", kpn, "isp", "as_type", "", 16},
		{standard, "20.0.10.0/24", ing, "ambiguous_truncation", "asn", "", 0},
		{standard, "20.0.10.0/28", ing, "company", "operator", "small.nl", 28},
		{standard, "20.0.11.0/24", kpn, "isp", "operator", "", 24},
		{standard, "20.0.12.0/24", kpn, "education_network", "operator", "", 24},
		{standard, "20.0.13.0/24", ing, "company", "as_type", "ing.nl", 16},
		{standard, "20.0.1.0/24", geo.Answer{}, "company", "operator", "jansen.nl", 24}, // no database knows it
	} {
		var out metivav1.Resolution
		row.c.Resolve(&out, Query{Network: netip.MustParsePrefix(row.network), Answer: row.answer})
		checkShapeAt(t, &out, row.c.showAt)
		if schemas.Label(out.GetVerdict()) != row.verdict || out.GetSource() != row.source || out.GetAccountId() != row.account || out.GetPrefixBits() != row.bits {
			t.Errorf("%s: %v, want %+v", row.network, &out, row)
		}
	}
}

// TestSpreadsheets: lists as spreadsheets write them.
func TestSpreadsheets(t *testing.T) {
	t.Parallel()
	rows := readRows(t, "\ufeffNetwork,name,domain,type,source\r\n20.0.1.0/24,Bakkerij Jansen B.V.,jansen.nl,business,own\r\n")
	if len(rows) != 1 || rows[0].Name != "Bakkerij Jansen B.V." || rows[0].kind != kindBusiness {
		t.Errorf("%+v", rows)
	}
	for _, content := range []string{"\ufeff20.0.1.0/24,operator\r\n20.0.2.0/24\topt_out\r\n", "20.0.1.0/24\n20.0.2.9/24 opt_out"} {
		list, err := ReadSuppressions(strings.NewReader(content))
		if err != nil || len(list) != 2 || list[0].List != ListOperator || list[1].List != ListOptOut || list[1].Prefix.String() != "20.0.2.0/24" {
			t.Errorf("%v, %v", list, err)
		}
	}
}

// TestRefusedLists: a fault is told by its line, and nothing of the line is.
func TestRefusedLists(t *testing.T) {
	t.Parallel()
	for name, line := range map[string]string{
		"fields":           "20.9.9.9,Jansen B.V.,jansen.nl,business",
		"no network":       "Jansen,Jansen B.V.,jansen.nl,business,own",
		"descending":       "20.9.9.9 - 20.9.9.8,Jansen B.V.,jansen.nl,business,own",
		"two families":     "20.9.9.9 - 2001:db8::1,Jansen B.V.,jansen.nl,business,own",
		"no name":          "20.9.9.9,,jansen.nl,business,own",
		"not a name":       "20.9.9.9,!!,jansen.nl,business,own",
		"not a domain":     "20.9.9.9,Jansen B.V.,jansen,business,own",
		"public suffix":    "20.9.9.9,Jansen B.V.,co.uk,business,own",
		"type":             "20.9.9.9,Jansen B.V.,jansen.nl,mixed,own",
		"quote":            `20.9.9.9,"Jansen" B.V.,jansen.nl,business,own`,
		"control":          "20.9.9.9,Jansen\x01B.V.,jansen.nl,business,own",
		"mapped":           "::ffff:20.9.9.0/120,Jansen B.V.,jansen.nl,business,own",
		"host bits":        "20.9.9.9/24,Jansen B.V.,jansen.nl,business,own",
		"everything":       "0.0.0.0/0,Jansen B.V.,jansen.nl,business,own",
		"all IPv6":         "::/0,Jansen B.V.,jansen.nl,business,own",
		"two thirds":       "20.9.9.9 - 220.9.9.9,Jansen B.V.,jansen.nl,business,own",
		"name of too many": "20.9.9.9," + strings.Repeat("Jansen ", 40) + ",jansen.nl,business,own",
	} {
		err := ReadRows(strings.NewReader("network,name,domain,type,source\n"+line+"\n"), func(Row) error { return nil })
		if err == nil || !strings.Contains(err.Error(), "line 2") || strings.Contains(err.Error(), "20.9.9") || strings.Contains(strings.ToLower(err.Error()), "jansen") {
			t.Errorf("%s: %v", name, err)
		}
	}
	twice := readRows(t, "20.9.9.0/24,Jansen B.V.,jansen.nl,business,own\n20.9.9.0/24,Peters B.V.,peters.nl,business,own\n")
	if _, err := NewChain(Config{Rows: twice}); err == nil || strings.Contains(err.Error(), "20.9.9") {
		t.Errorf("two names for one network: %v", err)
	}
	for name, line := range map[string]string{
		"no network": "20.9.9", "list": "20.9.9.0/24 everyone", "fields": "20.9.9.0/24 operator now", "zone": "fe80::1%eth0",
	} {
		if _, err := ReadSuppressions(strings.NewReader("# a comment\n" + line + "\n")); err == nil || !strings.Contains(err.Error(), "line 2") || strings.Contains(err.Error(), "20.9.9") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLists(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	lists := Lists{Suppressions: filepath.Join(dir, "suppressions"), Rows: filepath.Join(dir, "rows.csv")}
	if _, err := lists.Read(); err == nil || strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("want two faults, got %v", err)
	}
	suppressions := "# ours\n145.221.10.64/29\tcmp_own # the office\n145.222.0.0/16,opt_out\n145.223.0.1\n2001:db9:1::/48 operator\n\n"
	for file, content := range map[string]string{lists.Suppressions: suppressions, lists.Rows: rowsCSV} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg, err := lists.Read()
	if err != nil || len(cfg.Suppressions) != 4 || len(cfg.Rows) != 13 {
		t.Fatalf("%d suppressions, %d rows, %v", len(cfg.Suppressions), len(cfg.Rows), err)
	}
	c := chain(t, cfg)
	for _, row := range []struct{ company, network, verdict, source string }{
		{"cmp_own", "145.221.10.0/24", "suppressed", SourceTenant},
		{"cmp_other", "145.221.10.0/24", "company", SourceASType},
		{"cmp_other", "145.222.9.0/24", "suppressed", SourceOptOut},
		{"cmp_other", "145.223.0.0/24", "suppressed", SourceSuppressed},
		{"cmp_other", "145.223.1.0/24", "company", SourceASType},
		{"", "2001:db9:1::/48", "suppressed", SourceSuppressed},
	} {
		var out metivav1.Resolution
		c.Resolve(&out, Query{CompanyID: row.company, Network: netip.MustParsePrefix(row.network), Answer: found(15625)})
		if schemas.Label(out.GetVerdict()) != row.verdict || out.GetSource() != row.source {
			t.Errorf("%+v: %v", row, &out)
		}
	}
	if empty, err := (Lists{}).Read(); err != nil || len(empty.Rows)+len(empty.Suppressions) != 0 {
		t.Errorf("%v, %v", empty, err)
	}
}

// TestResolveDoesNotAllocate: not by the table, nor by a record, nor by a row.
func TestResolveDoesNotAllocate(t *testing.T) {
	c := chain(t, Config{Rows: readRows(t, rowsCSV), Suppressions: []Suppression{{List: ListOptOut, Prefix: netip.MustParsePrefix("30.0.0.0/24")}}})
	record := found(1136)
	record.Company = &geo.Company{Name: "Bakkerij Jansen B.V.", Domain: "jansen.nl", Key: "org:bakkerij-jansen", Kind: geo.KindBusiness}
	for name, q := range map[string]Query{
		"table":    {Network: netip.MustParsePrefix("145.221.10.0/24"), Answer: found(15625)},
		"no name":  {Network: netip.MustParsePrefix("145.221.10.0/24"), Answer: found(42848)},
		"override": {Network: netip.MustParsePrefix("131.180.7.0/24"), Answer: found(1128)},
		"record":   {Network: netip.MustParsePrefix("25.0.1.0/24"), Answer: record},
		"row":      {Network: netip.MustParsePrefix("20.0.1.0/24"), Answer: found(1136)},
		"isp":      {CompanyID: "cmp_a", Network: netip.MustParsePrefix("25.0.1.0/24"), Answer: found(1136)},
	} {
		var out metivav1.Resolution
		if n := testing.AllocsPerRun(100, func() { c.Resolve(&out, q) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func FuzzReadRows(f *testing.F) {
	f.Add(rowsCSV)
	f.Add("20.0.0.0-20.0.0.9,A,a.nl,vpn,s\n")
	f.Fuzz(func(t *testing.T, content string) {
		var rows []Row
		if ReadRows(strings.NewReader(content), func(r Row) error {
			for _, n := range r.Networks {
				if !n.IsValid() || n != n.Masked() || n.Addr().Is4In6() {
					t.Errorf("network %s", n)
				}
			}
			rows = append(rows, r)
			return nil
		}) != nil {
			return
		}
		var table operatorTable
		for _, r := range rows {
			_ = table.add(r, &providers{})
		}
		for _, r := range rows {
			for _, n := range r.Networks {
				table.lookup(n)
			}
		}
	})
}

func FuzzReadSuppressions(f *testing.F) {
	f.Add("145.221.10.64/29\tcmp_own # the office\n145.222.0.0/16,opt_out\n")
	f.Fuzz(func(t *testing.T, content string) {
		all, err := ReadSuppressions(strings.NewReader(content))
		if err != nil {
			return
		}
		for _, s := range all {
			if err := s.check(); err != nil {
				t.Error(err)
			}
		}
	})
}
