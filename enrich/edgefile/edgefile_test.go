package edgefile_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/enrich/company"
	"github.com/metiva-io/metiva/enrich/edgefile"
	"github.com/metiva-io/metiva/enrich/geo"
	"github.com/metiva-io/metiva/enrich/geo/geotest"
	"github.com/metiva-io/metiva/pkg/businessnet"
	"github.com/metiva-io/metiva/pkg/seal"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// Systems of systems.tsv, of each kind.
var (
	bank      = geotest.System{ASN: 15625, Organization: "ING Bank N.V."}
	payments  = geotest.System{ASN: 200596, Organization: "Adyen N.V."}
	access    = geotest.System{ASN: 1136, Organization: "KPN B.V."}
	hosting   = geotest.System{ASN: 16276, Organization: "OVH SAS"}
	research  = geotest.System{ASN: 1103, Organization: "SURF B.V."}
	anonymous = geotest.System{ASN: 60729, Organization: "Stiftung Erneuerbare Freiheit"}
	unknown   = geotest.System{ASN: 4294967294, Organization: "Some Company B.V."}
	person    = geotest.System{ASN: 4294967294, Organization: "Jori Vanneste"}
)

// world is an edge and a resolver over one company database.
type world struct {
	view   geo.View
	chain  *company.Chain
	sealer *seal.Sealer
	opener *seal.Opener
}

func newWorld(tb testing.TB, files geo.Files, suppressed ...company.Suppression) *world {
	tb.Helper()
	databases, err := geo.OpenDatabases(files)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = databases.Close() })
	w := &world{}
	if w.view, err = databases.View(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(w.view.Release)
	if w.chain, err = company.NewChain(company.Config{Suppressions: suppressed}); err != nil {
		tb.Fatal(err)
	}
	dir := tb.TempDir()
	if err := seal.GenerateDevelopmentKeys(dir); err != nil {
		tb.Fatal(err)
	}
	material, err := seal.ReadKeyFile(filepath.Join(dir, seal.KeyFileName(seal.PurposeResolverPrivate)), seal.PurposeResolverPrivate)
	if err != nil {
		tb.Fatal(err)
	}
	private, err := material.PrivateKey()
	if err != nil {
		tb.Fatal(err)
	}
	w.opener = seal.NewOpener(private)
	w.sealer, err = seal.NewSealer(private.Public(), "collector-1", func(_ context.Context, rec *metivav1.DataKey) error {
		value, err := proto.Marshal(&metivav1.KeyRecord{Kind: &metivav1.KeyRecord_DataKey{DataKey: rec}})
		if err != nil {
			return err
		}
		return w.opener.ApplyKey(seal.RecordKeyOf(rec), value)
	}, time.Now)
	if err != nil {
		tb.Fatal(err)
	}
	if err := w.sealer.Prepare(tb.Context(), "cmp_test"); err != nil {
		tb.Fatal(err)
	}
	return w
}

// build makes the set as a collector gets it: through its file.
func (w *world) build(tb testing.TB) *businessnet.Set {
	tb.Helper()
	set, err := edgefile.Build(tb.Context(), w.view, w.chain)
	if err != nil {
		tb.Fatal(err)
	}
	path := filepath.Join(tb.TempDir(), "new", edgefile.FileName)
	if err := edgefile.Write(path, set); err != nil {
		tb.Fatal(err)
	}
	read, err := businessnet.Load(path)
	if err != nil {
		tb.Fatal(err)
	}
	return read
}

// resolve seals an address as a collector does, opens it as enrich does, and
// decides.
func (w *world) resolve(tb testing.TB, address netip.Addr, finer *businessnet.Set) (netip.Prefix, *metivav1.Resolution) {
	tb.Helper()
	binding := seal.Binding{CompanyID: "cmp_test", SiteID: "sit_a", EventID: [16]byte{1}, Field: seal.FieldAddress}
	blob, err := w.sealer.SealAddress(nil, binding, seal.AddressIn(address, finer, seal.NewScratch()))
	if err != nil {
		tb.Fatal(err)
	}
	opened, err := w.opener.OpenAddress(binding, blob)
	if err != nil {
		tb.Fatal(err)
	}
	network := geo.Unmap(opened.Prefix())
	answer, err := w.view.Lookup(network)
	if err != nil {
		tb.Fatal(err)
	}
	var out metivav1.Resolution
	w.chain.Resolve(&out, company.Query{CompanyID: "cmp_test", Network: network, Answer: answer})
	return network, &out
}

// TestFromEdgeToVerdict: with the file an address is sealed as its business
// network and the company named; every other address is a /24 or /48 as without.
func TestFromEdgeToVerdict(t *testing.T) {
	t.Parallel()
	networks := map[string]geotest.System{
		"20.0.0.0/16":       access,
		"20.0.1.0/25":       bank,
		"20.0.1.128/26":     payments,
		"20.0.1.192/27":     bank,
		"20.0.1.224/28":     payments,
		"20.0.1.240/29":     bank,
		"20.0.1.248/30":     payments, // longer than is ever kept
		"20.0.2.0/29":       hosting,
		"20.0.2.8/29":       research,
		"20.0.2.16/29":      anonymous,
		"20.0.2.24/29":      unknown,
		"20.0.2.32/29":      person,
		"20.0.2.40/29":      bank,
		"20.0.3.0/24":       bank,
		"20.0.4.0/28":       bank, // suppressed for everyone
		"20.0.5.0/29":       bank, // two of one record are one network
		"20.0.5.8/29":       bank,
		"20.0.6.128/25":     bank, // no sibling of the next
		"20.0.7.0/25":       bank,
		"131.211.7.0/28":    research, // Universiteit Utrecht by its override, above access
		"192.168.7.0/28":    bank,     // reserved
		"2001:67c:6ec::/48": bank,
		"2001:67c:6ed::/56": bank,
	}
	cases := []struct{ address, sealed, verdict, name string }{
		{"20.0.1.1", "20.0.1.0/25", "COMPANY", "ING"},
		{"20.0.1.130", "20.0.1.128/26", "COMPANY", "Adyen"},
		{"20.0.1.200", "20.0.1.192/27", "COMPANY", "ING"},
		{"::ffff:20.0.1.230", "20.0.1.224/28", "COMPANY", "Adyen"},
		{"20.0.1.247", "20.0.1.240/29", "COMPANY", "ING"},
		{"20.0.1.249", "20.0.1.0/24", "AMBIGUOUS_TRUNCATION", ""},
		{"20.0.1.252", "20.0.1.0/24", "AMBIGUOUS_TRUNCATION", ""},
		{"20.0.2.1", "20.0.2.0/24", "AMBIGUOUS_TRUNCATION", ""},
		{"20.0.2.9", "20.0.2.0/24", "AMBIGUOUS_TRUNCATION", ""},
		{"20.0.2.17", "20.0.2.0/24", "AMBIGUOUS_TRUNCATION", ""},
		{"20.0.2.25", "20.0.2.0/24", "AMBIGUOUS_TRUNCATION", ""},
		{"20.0.2.33", "20.0.2.0/24", "AMBIGUOUS_TRUNCATION", ""},
		{"20.0.2.41", "20.0.2.40/29", "COMPANY", "ING"},
		{"20.0.2.200", "20.0.2.0/24", "AMBIGUOUS_TRUNCATION", ""}, // the provider's customers
		{"20.0.3.1", "20.0.3.0/24", "COMPANY", "ING"},
		{"20.0.4.1", "20.0.4.0/24", "SUPPRESSED", ""},
		{"20.0.5.1", "20.0.5.0/28", "COMPANY", "ING"},
		{"20.0.5.9", "20.0.5.0/28", "COMPANY", "ING"},
		{"20.0.6.1", "20.0.6.0/24", "AMBIGUOUS_TRUNCATION", ""},
		{"20.0.6.200", "20.0.6.128/25", "COMPANY", "ING"},
		{"20.0.9.1", "20.0.9.0/24", "ISP", ""},
		{"21.0.0.1", "21.0.0.0/24", "NOT_FOUND", ""},
		{"131.211.7.1", "131.211.7.0/28", "COMPANY", "Universiteit Utrecht"},
		{"192.168.7.1", "192.168.7.0/24", "RESERVED", ""},
	}
	six := []struct{ address, sealed, verdict, name string }{
		{"2001:67c:6ec:1::1", "2001:67c:6ec::/48", "COMPANY", "ING"},
		{"2001:67c:6ed::1", "2001:67c:6ed::/48", "AMBIGUOUS_TRUNCATION", ""}, // a /48 is never cut finer
	}
	for _, layout := range geotest.LayoutsASN() {
		for _, ipv4 := range []bool{false, true} {
			t.Run(layout, func(t *testing.T) {
				t.Parallel()
				held, asked := networks, append(cases[:len(cases):len(cases)], six...)
				if ipv4 {
					held, asked = map[string]geotest.System{}, cases
					for text, system := range networks {
						if !strings.Contains(text, ":") {
							held[text] = system
						}
					}
				}
				w := newWorld(t, geotest.Typed(t, layout, ipv4, held), company.Suppression{Prefix: netip.MustParsePrefix("20.0.4.0/28")})
				set := w.build(t)
				if !set.BuildTime().Equal(w.view.BuildTime()) {
					t.Errorf("built %s", set.BuildTime())
				}
				for _, c := range asked {
					network, got := w.resolve(t, netip.MustParseAddr(c.address), set)
					if network.String() != c.sealed || got.GetVerdict().String() != "VERDICT_"+c.verdict || !strings.Contains(got.GetName(), c.name) || (c.name == "") != (got.GetName() == "") {
						t.Errorf("%s: sealed as %s, %s %q; want %s, %s %q", c.address, network, got.GetVerdict(), got.GetName(), c.sealed, c.verdict, c.name)
					}
					// Without the file nothing changes, and no small network is named.
					if network, got := w.resolve(t, netip.MustParseAddr(c.address), nil); network.Bits() != 24 && network.Bits() != 48 ||
						got.GetVerdict() == metivav1.Verdict_VERDICT_COMPANY && got.GetPrefixBits() > uint32(network.Bits()) {
						t.Errorf("%s without the file: sealed as %s, %v", c.address, network, got)
					}
				}
			})
		}
	}
}

// TestCompanyDatabases: networks that a commercial database names are in the set,
// unless another one divides them or says something else of a part.
func TestCompanyDatabases(t *testing.T) {
	t.Parallel()
	user := func(kind, name string) map[string]any {
		return map[string]any{
			"name": name, "domain": "", "type": kind, "asn": "AS1136", "as_name": "KPN B.V.", "as_domain": "kpn.com", "as_type": "isp",
		}
	}
	files := geotest.Typed(t, geo.DatabaseTypeASN, false, map[string]geotest.System{
		"20.0.0.0/16": access, "20.1.0.0/25": bank, "20.1.1.0/26": bank,
	})
	files = append(files,
		geotest.Write(t, "ipinfo standard_company.mmdb", false, map[string]map[string]any{
			"20.0.1.0/28": user("business", "Bakkerij Jansen B.V."), "20.0.2.0/28": user("isp", "KPN B.V."), "20.0.3.0/28": user("business", "KPN B.V."),
			"20.0.4.0/28": user("hosting", "Acme"), "20.0.5.0/28": user("business", "Jori Vanneste"), "20.0.6.0/29": user("business", "Peters B.V."),
			"20.1.0.0/25": user("business", "ING Bank"), "20.1.1.0/25": user("business", "ING Bank"), "20.0.7.0/28": user("business", "Half B.V."),
		}),
		geotest.Write(t, "ipinfo standard_privacy.mmdb", false, map[string]map[string]any{"20.0.6.3/32": {"vpn": "true"}, "20.0.7.0/28": {"hosting": "true"}}))
	w := newWorld(t, files)
	set := w.build(t)
	if set.Len() != 2 {
		t.Errorf("%d networks", set.Len())
	}
	for address, want := range map[string]struct{ sealed, verdict, name string }{
		"20.0.1.1":  {"20.0.1.0/28", "COMPANY", "Bakkerij Jansen B.V."},
		"20.0.2.1":  {"20.0.2.0/24", "AMBIGUOUS_TRUNCATION", ""},
		"20.0.3.1":  {"20.0.3.0/24", "AMBIGUOUS_TRUNCATION", ""},
		"20.0.4.1":  {"20.0.4.0/24", "AMBIGUOUS_TRUNCATION", ""},
		"20.0.5.1":  {"20.0.5.0/24", "AMBIGUOUS_TRUNCATION", ""},
		"20.0.6.1":  {"20.0.6.0/24", "AMBIGUOUS_TRUNCATION", ""}, // one address of it hides its users
		"20.0.7.1":  {"20.0.7.0/24", "AMBIGUOUS_TRUNCATION", ""},
		"20.1.0.1":  {"20.1.0.0/25", "COMPANY", "ING"},
		"20.1.1.1":  {"20.1.1.0/24", "AMBIGUOUS_TRUNCATION", ""}, // the two divide it differently
		"20.0.99.1": {"20.0.99.0/24", "ISP", ""},
	} {
		network, got := w.resolve(t, netip.MustParseAddr(address), set)
		if network.String() != want.sealed || got.GetVerdict().String() != "VERDICT_"+want.verdict || got.GetName() != want.name {
			t.Errorf("%s: sealed as %s, %s %q, want %+v", address, network, got.GetVerdict(), got.GetName(), want)
		}
	}
}

// TestOnlyBusinessNetworks: over random databases, whatever is sealed finer than a
// /24 is exactly a network of the database, /25 to /29 long, that the chain names
// a company for; and everything else is a /24.
func TestOnlyBusinessNetworks(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(20261122, 7))
	systems := []geotest.System{bank, payments, access, hosting, research, anonymous, unknown, person}
	for range 12 {
		held := map[string]geotest.System{}
		if rnd.IntN(2) == 0 {
			held["20.0.0.0/16"] = systems[rnd.IntN(len(systems))]
		}
		for block := range 4 {
			for at := 0; at < 256; {
				bits := 24 + rnd.IntN(9)
				size := 1 << (32 - bits)
				if at = (at + size - 1) / size * size; at < 256 && rnd.IntN(3) > 0 {
					held[netip.PrefixFrom(netip.AddrFrom4([4]byte{20, 0, byte(block), byte(at)}), bits).String()] = systems[rnd.IntN(len(systems))]
				}
				at += size
			}
		}
		if len(held) == 0 {
			continue
		}
		w := newWorld(t, geotest.Typed(t, geo.DatabaseTypeASN, false, held))
		set := w.build(t)
		for n := range 4 * 256 {
			address := netip.AddrFrom4([4]byte{20, 0, byte(n / 256), byte(n)})
			sealed, got := w.resolve(t, address, set)
			own, err := w.view.LookupAddr(address)
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case !sealed.Contains(address) || sealed.Bits() < 24 || sealed.Bits() > 29:
				t.Fatalf("%s is sealed as %s", address, sealed)
			case sealed.Bits() > 24 && (sealed.Bits() != own.Bits || got.GetVerdict() != metivav1.Verdict_VERDICT_COMPANY || own.ASN != bank.ASN && own.ASN != payments.ASN):
				t.Fatalf("%s is sealed as %s, its own network is a /%d of AS%d, verdict %s", address, sealed, own.Bits, own.ASN, got.GetVerdict())
			case sealed.Bits() == 24 && own.Bits > 24 && own.Bits < 30 && (own.ASN == bank.ASN || own.ASN == payments.ASN):
				t.Fatalf("%s is sealed as %s, and its own network is a business's /%d", address, sealed, own.Bits)
			}
		}
	}
}

// TestAnotherBuildNeverNamesAnother: the file of one build with the database of
// the next. What is sealed then may be too long or too short for the record, and
// the verdict is that of the database enrich has, or none.
func TestAnotherBuildNeverNamesAnother(t *testing.T) {
	t.Parallel()
	before := newWorld(t, geotest.Typed(t, geo.DatabaseTypeASN, false, map[string]geotest.System{
		"20.0.1.0/27": bank, "20.0.1.32/27": bank, "20.0.1.64/27": bank, "20.0.1.96/27": bank,
	})).build(t)
	if before.Len() != 1 { // they are one /25
		t.Fatalf("%d networks", before.Len())
	}
	after := newWorld(t, geotest.Typed(t, geo.DatabaseTypeASN, false, map[string]geotest.System{
		"20.0.1.0/24": access, "20.0.1.0/26": payments, "20.0.1.64/26": access, "20.0.2.0/25": bank,
	}))
	for address, want := range map[string]string{
		"20.0.1.1": "AMBIGUOUS_TRUNCATION", "20.0.1.70": "AMBIGUOUS_TRUNCATION", "20.0.1.200": "AMBIGUOUS_TRUNCATION", "20.0.2.1": "AMBIGUOUS_TRUNCATION",
	} {
		if _, got := after.resolve(t, netip.MustParseAddr(address), before); got.GetVerdict().String() != "VERDICT_"+want || got.GetName() != "" {
			t.Errorf("%s: %s %q, want %s", address, got.GetVerdict(), got.GetName(), want)
		}
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, geotest.Typed(t, geo.DatabaseTypeASN, false, map[string]geotest.System{"20.0.1.0/27": bank}))
	set := w.build(t)
	dir := t.TempDir()
	taken := filepath.Join(dir, "taken")
	if err := os.MkdirAll(filepath.Join(taken, "full"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := edgefile.Write(taken, set); err == nil {
		t.Error("a folder was replaced")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if _, err := geo.OpenDatabases(geotest.Typed(t, "GeoIP2-Unheard", false, map[string]geotest.System{"20.0.1.0/27": bank})); err == nil {
		t.Error("a database of another layout was opened")
	}
}

func TestBuildStopsWithContext(t *testing.T) {
	t.Parallel()
	w := newWorld(t, geotest.Typed(t, geo.DatabaseTypeASN, false, map[string]geotest.System{"20.0.1.0/27": bank}))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := edgefile.Build(ctx, w.view, w.chain); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
