package scorer

import (
	"testing"

	"github.com/metiva-io/metiva/schemas/metivav1"
)

// TestZoneOfASite: a zone that is none, or is whatever the machine's is, gives way to the
// default, and is reported without its name.
func TestZoneOfASite(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"America/New_York": "America/New_York", "": "Europe/Amsterdam", "Local": "Europe/Amsterdam", "Mars/Canary": "Europe/Amsterdam", "../canary": "Europe/Amsterdam",
	} {
		s, err := newSites()
		if err != nil {
			t.Fatal(err)
		}
		fault := s.Apply([]byte("sit_a"), encoded(t, &metivav1.SiteRecord{CompanyId: "cmp_a", SiteId: "sit_a", Version: 1, VisitRules: &metivav1.VisitRules{TimeZone: name}}))
		if got := s.of("cmp_a", "sit_a").zone.String(); got != want || (fault != nil) != (name != "" && name != want) {
			t.Errorf("%q: %s, %v", name, got, fault)
		}
		if got := s.of("cmp_b", "sit_a").zone.String(); got != "Europe/Amsterdam" {
			t.Errorf("another tenant has the zone %s", got)
		}
	}
}
