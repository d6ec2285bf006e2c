package enrich

import (
	"net/netip"
	"testing"

	"github.com/metiva-io/metiva/enrich/edgefile"
	"github.com/metiva-io/metiva/enrich/geo"
	"github.com/metiva-io/metiva/enrich/geo/geotest"
	"github.com/metiva-io/metiva/pkg/businessnet"
	"github.com/metiva-io/metiva/pkg/seal"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// TestNetworkPrecision: addresses sealed as a collector with a file of business
// networks seals them go through a worker, beside the same addresses sealed as a
// /24: the finer ones are named, the others stay ambiguous.
func TestNetworkPrecision(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	databases, err := geo.OpenDatabases(geotest.Small(t, "1.0.2026110103",
		"20.0.1.0,20.0.1.63,1136,KPN B.V.",
		"20.0.1.64,20.0.1.71,15625,ING Bank N.V.",
		"20.0.1.72,20.0.1.255,1136,KPN B.V.",
		"20.0.2.0,20.0.2.255,15625,ING Bank N.V.",
	))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = databases.Close() })
	w.deps.Databases = databases
	view, err := databases.View()
	if err != nil {
		t.Fatal(err)
	}
	defer view.Release()
	set, err := edgefile.Build(t.Context(), view, w.deps.Chain)
	if err != nil {
		t.Fatal(err)
	}
	const company, ambiguous = metivav1.Verdict_VERDICT_COMPANY, metivav1.Verdict_VERDICT_AMBIGUOUS_TRUNCATION
	type answer struct {
		verdict metivav1.Verdict
		bits    uint32
	}
	want := map[[16]byte]answer{}
	for _, c := range []struct {
		address string
		set     *businessnet.Set
		answer
	}{
		{"20.0.1.65", set, answer{company, 29}},
		{"20.0.1.71", set, answer{company, 29}},
		{"20.0.1.65", nil, answer{ambiguous, 0}},
		{"20.0.1.72", set, answer{ambiguous, 0}}, // the provider's customer next to it
		{"20.0.2.65", set, answer{company, 24}},
		{"20.0.2.65", nil, answer{company, 24}},
	} {
		e := w.event(c.address, agent, nil)
		b := seal.Binding{CompanyID: e.GetCompanyId(), SiteID: e.GetSiteId(), EventID: [16]byte(e.GetEventId()), Field: seal.FieldAddress}
		if e.SealedAddress, err = w.sealer.SealAddress(nil, b, seal.AddressIn(netip.MustParseAddr(c.address), c.set, seal.NewScratch())); err != nil {
			t.Fatal(err)
		}
		want[[16]byte(e.GetEventId())] = c.answer
		w.put(e)
	}
	out := w.outputs()
	w.goRun(w.worker().Run)
	records, _, _ := out.take(len(want), 0)
	for _, r := range records {
		e := r.GetEvent()
		expected, known := want[[16]byte(e.GetEventId())]
		got := answer{e.GetResolution().GetVerdict(), e.GetResolution().GetPrefixBits()}
		if !known || got != expected {
			t.Errorf("got %s /%d, want %s /%d", got.verdict, got.bits, expected.verdict, expected.bits)
		}
		if (expected.verdict == company) != (e.GetResolution().GetAccountId() == "ing.nl") {
			t.Errorf("%s of %q", got.verdict, e.GetResolution().GetAccountId())
		}
	}
}
