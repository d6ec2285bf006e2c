package registry_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/metiva-io/metiva/pkg/core/registry"
)

// TestPrecisionIsOptedIn: a site has the finer precision only after somebody has
// accepted the assessment for it, and not from an acceptance before.
func TestPrecisionIsOptedIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	claim, site := w.tenantWithSite("Alpha")
	published := func() bool {
		t.Helper()
		w.flush(w.publisher())
		return w.topics.site(t, site.ID).GetNetworkPrecision()
	}
	if site.NetworkPrecision || published() {
		t.Error("a new site has the precision")
	}
	set := func(c registry.SiteChange) error {
		changed, err := w.store.SetSite(t.Context(), claim, site.ID, c)
		if err == nil {
			site = changed
		}
		return err
	}
	if err := set(registry.SiteChange{InterestAcceptedBy: ptr("Jo de Vries")}); err != nil {
		t.Fatal(err)
	}
	if err := set(registry.SiteChange{NetworkPrecision: ptr(true)}); !errors.Is(err, registry.ErrInvalid) || !strings.Contains(err.Error(), "accepted anew") {
		t.Errorf("without an acceptance of its own: %v", err)
	}
	before := site.InterestAcceptedAt
	if err := set(registry.SiteChange{NetworkPrecision: ptr(true), InterestAcceptedBy: ptr("An Bos")}); err != nil {
		t.Fatal(err)
	}
	if !site.NetworkPrecision || site.InterestAcceptedBy != "An Bos" || !site.InterestAcceptedAt.After(before) || !published() {
		t.Errorf("site: %+v", site)
	}
	if err := set(registry.SiteChange{RetentionDays: ptr(90)}); err != nil || !site.NetworkPrecision || !published() {
		t.Errorf("another setting took it away: %+v, %v", site, err)
	}
	if err := set(registry.SiteChange{NetworkPrecision: ptr(false)}); err != nil || site.NetworkPrecision || published() {
		t.Errorf("it was not taken back: %+v, %v", site, err)
	}
}
