package enrich

import (
	"strings"
	"testing"

	"github.com/metiva-io/metiva/enrich/geo"
	"github.com/metiva-io/metiva/enrich/geo/geotest"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// TestRegionNeedsConsent: the subdivision is finer than company level, so only an
// event with a grant that still stands has it.
func TestRegionNeedsConsent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	type record = map[string]any
	databases, err := geo.OpenDatabases(geo.Files{
		geotest.Write(t, geo.DatabaseTypeASN, false, map[string]record{"145.221.0.0/16": {"autonomous_system_number": uint32(15625), "autonomous_system_organization": "ING Bank N.V."}}),
		geotest.Write(t, "GeoIP2-City", false, map[string]record{"145.221.0.0/16": {
			"country": record{"iso_code": "NL"}, "subdivisions": []any{record{"iso_code": "NH"}},
		}}),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = databases.Close() })
	w.deps.Databases = databases
	granted, gone := random(16), random(16)
	w.withdraw(gone, 3)
	receipt := newPost() // a form of somebody who gave no grant
	receipt.visitor, receipt.sequence = nil, 0
	events := map[string]*metivav1.CollectedEvent{
		"":      w.event(ingAddr, agent, nil),
		"--":    w.post(receipt),
		"NL-NH": w.event(ingAddr, agent, analytics(granted, 1)),
		"-":     w.event(ingAddr, agent, analytics(gone, 2)),
	}
	want := map[[16]byte]string{}
	for region, e := range events {
		region = strings.TrimLeft(region, "-")
		want[[16]byte(e.GetEventId())] = region
		w.put(e)
	}
	out := w.outputs()
	w.goRun(w.worker().Run)
	records, _, _ := out.take(len(events), 0)
	for _, r := range records {
		e := r.GetEvent()
		region, ok := want[[16]byte(e.GetEventId())]
		if !ok || e.GetRegion() != region || e.GetCountry() != "NL" {
			t.Errorf("country %q, region %q, want %q", e.GetCountry(), e.GetRegion(), region)
		}
		if fine := e.GetBrowserFamily() != "" || e.GetSystemFamily() != ""; fine && region == "" {
			t.Errorf("browser %q, system %q without a grant", e.GetBrowserFamily(), e.GetSystemFamily())
		}
	}
}
