package verdict_test

import (
	"context"
	"errors"
	"net/netip"
	"testing"

	"github.com/metiva-io/metiva/enrich/company"
	"github.com/metiva-io/metiva/enrich/geo"
	"github.com/metiva-io/metiva/enrich/geo/geotest"
	"github.com/metiva-io/metiva/enrich/verdict"
)

func judge(tb testing.TB, files geo.Files, cfg company.Config) verdict.Judge {
	tb.Helper()
	databases, err := geo.OpenDatabases(files)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = databases.Close() })
	view, err := databases.View()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(view.Release)
	chain, err := company.NewChain(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return verdict.Judge{View: view, Chain: chain}
}

// TestLabelled runs the labelled set over the default database: no wrong name,
// and whoever is known is named, truncated as well as whole.
func TestLabelled(t *testing.T) {
	t.Parallel()
	j := judge(t, geotest.Real(t), company.Config{})
	labels, err := verdict.Labelled()
	if err != nil {
		t.Fatal(err)
	}
	score, err := verdict.Measure(j, labels)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("precision %.4f, recall %.4f, %d names of %d rows", score.Precision, score.Recall, score.Shown, score.Rows)
	if score.Precision != 1 || score.False != 0 || score.Recall < 0.9 {
		t.Errorf("precision %v, recall %v", score.Precision, score.Recall)
	}
	for _, w := range score.Wrong {
		// What the table does not list may be missed, and nothing else.
		if w.Got != "unclassified " || w.Class != "company" {
			t.Errorf("%+v", w)
		}
	}
	if score.Untruncated != 0 {
		t.Errorf("%d rows differ when they are whole", score.Untruncated)
	}
	least := map[string]int{
		"company": 150, "government": 40, "university": 150, "access": 70, "mobile": 15, "hosting": 45, "vpn": 10, "tor": 8, "egress": 10,
		"research": 20, "shared": 10, "unlisted": 8, "person": 4, "cgnat": 5, "reserved": 35, "tunnel": 6, "mapped": 8,
	}
	for _, c := range score.Classes {
		if c.Rows < least[c.Class] {
			t.Errorf("class %s has shrunk to %d rows", c.Class, c.Rows)
		}
		delete(least, c.Class)
	}
	if score.Rows < 700 || len(least) != 0 {
		t.Errorf("%d rows, without %v", score.Rows, least)
	}
	t.Run("the tables agree with the database", func(t *testing.T) {
		changed, err := j.Chain.Changed(t.Context(), j.View)
		if err != nil || len(changed) != 0 {
			t.Errorf("%v, %v", changed, err)
		}
	})
	t.Run("nothing changes between a database and itself", func(t *testing.T) {
		diff, err := verdict.Diff(t.Context(), j, j, nil)
		if err != nil || len(diff.Turns)+len(diff.Gone)+len(diff.New)+len(diff.Moved) != 0 {
			t.Errorf("%+v, %v", diff, err)
		}
		if diff.SameIPv4 != 1<<24 || diff.SameIPv6 != 1<<45 {
			t.Errorf("%v and %v networks, not all of them", diff.SameIPv4, diff.SameIPv6)
		}
	})
}

// TestMeasure: a wrong name is a false one, a missing one is a miss.
func TestMeasure(t *testing.T) {
	t.Parallel()
	j := judge(t, geotest.Small(t, "1.0.2026010100",
		"20.0.0.0,20.0.0.255,15625,ING Bank N.V.", "20.0.1.0,20.0.1.255,15625,ING Bank N.V.", "20.0.2.0,20.0.2.255,1136,KPN B.V.",
		"20.0.3.0,20.0.3.127,15625,ING Bank N.V.", "20.0.4.0,20.0.4.255,8373,Deutsche Bank AG"), company.Config{})
	at := func(address, class, want, account string, unknowable bool) verdict.Label {
		return verdict.Label{Address: netip.MustParseAddr(address), Class: class, Verdict: want, Account: account, Unknowable: unknowable, Source: "s"}
	}
	score, err := verdict.Measure(j, []verdict.Label{
		at("20.0.0.1", "company", "company", "ing.nl", false),
		at("20.0.1.1", "access", "isp", "", false),               // a false name
		at("20.0.2.1", "company", "isp", "jansen.nl", true),      // cannot be known
		at("20.0.2.2", "company", "company", "peters.nl", false), // missed
		at("20.0.3.1", "company", "company", "ing.nl", false),    // missed truncated, found whole
		at("20.0.4.1", "company", "company", "ing.nl", false),    // another's name
	})
	if err != nil {
		t.Fatal(err)
	}
	if score.Rows != 6 || score.Shown != 3 || score.False != 2 || score.Companies != 5 || score.Knowable != 4 || score.Untruncated != 1 || score.Exact != 2 {
		t.Errorf("%+v", score)
	}
	if score.Precision != 1.0/3 || score.Recall != 0.25 || score.RecallAll != 0.2 || len(score.Wrong) != 4 {
		t.Errorf("%+v", score)
	}
	if _, err := verdict.Measure(j, nil); err == nil {
		t.Error("measured nothing")
	}
}

func TestDiff(t *testing.T) {
	t.Parallel()
	before := judge(t, geotest.Small(t, "1.0.2026010100",
		"20.0.0.0,20.0.3.255,15625,ING Bank N.V.", "20.1.0.0,20.1.0.255,1136,KPN B.V.", "20.2.0.0,20.2.0.255,8373,Deutsche Bank AG",
		"2a00:1000::,2a00:1000:0:ffff:ffff:ffff:ffff:ffff,15625,ING Bank N.V."), company.Config{})
	after := judge(t, geotest.Small(t, "1.0.2026010200",
		"20.0.0.0,20.0.1.255,15625,ING Bank N.V.", "20.0.2.0,20.0.2.127,1136,KPN B.V.", "20.1.0.0,20.1.0.255,200596,Adyen N.V.",
		"20.2.0.0,20.2.0.255,15916,ABN AMRO Bank N.V."), company.Config{})
	diff, err := verdict.Diff(t.Context(), before, after, nil)
	if err != nil {
		t.Fatal(err)
	}
	turns := map[string]float64{}
	for _, turn := range diff.Turns {
		turns[turn.From+" to "+turn.To] = turn.IPv4 + turn.IPv6
	}
	for turn, want := range map[string]float64{"company to isp": 0.5, "company to not_found": 1.5 + 1, "isp to company": 1} {
		if turns[turn] != want {
			t.Errorf("%s: %v, want %v", turn, turns[turn], want)
		}
	}
	if len(turns) != 3 || diff.RenamedIPv4 != 1 {
		t.Errorf("%v, renamed %v", turns, diff.RenamedIPv4)
	}
	if len(diff.Gone) != 1 || diff.Gone[0].Account != "db.com" || len(diff.New) != 2 || len(diff.Moved) != 1 {
		t.Fatalf("%+v", diff)
	}
	if moved := diff.Moved[0]; moved.Account != "ing.nl" || moved.BeforeIPv4 != 4 || moved.AfterIPv4 != 2 || moved.BeforeIPv6 != 1 || moved.AfterIPv6 != 0 {
		t.Errorf("%+v", moved)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := verdict.Diff(ctx, before, after, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// TestDiffOfLists: what the operator's own files change is seen, too.
func TestDiffOfLists(t *testing.T) {
	t.Parallel()
	files := geotest.Small(t, "1.0.2026010100", "20.0.0.0,20.0.255.255,15625,ING Bank N.V.")
	before := judge(t, files, company.Config{})
	after := judge(t, files, company.Config{Suppressions: []company.Suppression{{List: company.ListOptOut, Prefix: netip.MustParsePrefix("20.0.7.0/24")}}})
	diff, err := verdict.Diff(t.Context(), before, after, nil)
	if err != nil || len(diff.Turns) != 1 || diff.Turns[0].IPv4 != 1 || diff.Turns[0].To != "suppressed" {
		t.Errorf("%+v, %v", diff, err)
	}
}

func TestDecide(t *testing.T) {
	t.Parallel()
	j := judge(t, geotest.Small(t, "1.0.2026010100", "20.0.0.0,20.0.0.15,15625,ING Bank N.V."), company.Config{})
	addr := netip.MustParseAddr("::ffff:20.0.0.7")
	cut, err := j.Decide(verdict.Truncated(addr, nil))
	if err != nil || cut.Network != "20.0.0.0/24" || cut.Verdict != "ambiguous_truncation" || cut.Name != "" {
		t.Errorf("%+v, %v", cut, err)
	}
	whole, err := j.Decide(verdict.Full(addr))
	if err != nil || whole.Network != "20.0.0.7/32" || whole.Account != "ing.nl" || whole.Prefix != "20.0.0.0/28" || whole.ASN != 15625 || whole.DatabaseBuildMs == 0 {
		t.Errorf("%+v, %v", whole, err)
	}
	if six := verdict.Truncated(netip.MustParseAddr("2001:db8:1:2::3%eth0"), nil); six.String() != "2001:db8:1::/48" {
		t.Errorf("cut to %s", six)
	}
	if _, err := j.Decide(netip.Prefix{}); err == nil {
		t.Error("an invalid network was decided about")
	}
}
