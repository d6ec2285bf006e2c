package registry_test

import (
	"errors"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/pkg/core/registry"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// TestVisitRules: where visits end is set part by part, checked and published.
func TestVisitRules(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	claim, site := w.tenantWithSite("Alpha")
	check := func(what string, want *metivav1.VisitRules) {
		t.Helper()
		w.flush(w.publisher())
		if got := w.topics.site(t, site.ID).GetVisitRules(); !proto.Equal(got, want) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	set := func(c registry.VisitChange) error {
		_, err := w.store.SetSite(t.Context(), claim, site.ID, registry.SiteChange{Visits: c})
		return err
	}
	check("a new site", &metivav1.VisitRules{IdleMinutes: registry.VisitIdleMinutesDefault})
	for name, c := range map[string]registry.VisitChange{
		"no silence":       {IdleMinutes: ptr(0)},
		"too long":         {IdleMinutes: ptr(registry.VisitIdleMinutesMax + 1)},
		"no time zone":     {TimeZone: ptr("Europe/Atlantis")},
		"the machine's":    {TimeZone: ptr("Local")},
		"a path":           {TimeZone: ptr("../Europe/Amsterdam")},
		"one of the three": {IdleMinutes: ptr(20), TimeZone: ptr("no zone"), AtCampaign: ptr(true)},
	} {
		if err := set(c); !errors.Is(err, registry.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := set(registry.VisitChange{IdleMinutes: ptr(10), TimeZone: ptr("Europe/London")}); err != nil {
		t.Fatal(err)
	}
	if err := set(registry.VisitChange{AtCampaign: ptr(true)}); err != nil {
		t.Fatal(err)
	}
	check("set", &metivav1.VisitRules{IdleMinutes: 10, SplitAtMidnight: true, TimeZone: "Europe/London", SplitAtCampaign: true})
	if err := set(registry.VisitChange{TimeZone: ptr(""), AtCampaign: ptr(false)}); err != nil {
		t.Fatal(err)
	}
	check("taken back", &metivav1.VisitRules{IdleMinutes: 10})
}
