package browser

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/metiva-io/metiva/pkg/core/registry"
)

// Strings of @iabtcf/core, policy 5, list 142, platform 300, screen 7: consent to
// the purposes 1, 8 and 9 and to vendor 2, which was disclosed; and to nothing.
const (
	stringGrants  = "CQp3NcAQsIOsAEsAHBENCOFgAIGAAAAAABpYABEAAAAA.IAFP_AAA"
	stringRefuses = "CQp3NcAQsIOsAEsAHBENCOFgAAAAAAAAABpYAAAAAAAA.IAFP_AAA"
)

// onDay is a TC string created and updated on a day: 36 bits of tenths of seconds
// each, which are the characters 1 to 6 and 7 to 12.
func onDay(tcString string, day time.Time) string {
	var bits [8]byte
	binary.BigEndian.PutUint64(bits[:], uint64(day.Truncate(24*time.Hour).UnixMilli()/100)<<28)
	at := base64.RawURLEncoding.EncodeToString(bits[:])[:6]
	return tcString[:1] + at + at + tcString[13:]
}

// tcfSite is a site that takes TC strings which name vendor 2, on a page whose
// platform makes these of a yes and of a no.
func tcfSite(t *testing.T, accept, refuse string) (*site, *tab) {
	t.Helper()
	vendor := 2
	s, b := visit(t, func(c *registry.SiteChange) { c.TCFVendor = &vendor })
	p := double("tcf", "", fmt.Sprintf(`{strings: {accept: '%s', refuse: '%s'}, vendors: {2: true}}`, accept, refuse))
	s.servePlatform(t, p, `data-cmp="tcf" data-cmp-vendor="2"`)
	b.open("/cmp/")
	b.sent(1)
	s.edge.until(t, "/v1/cmp.js", 1)
	b.push("/cmp/undecided")
	b.sent(2)
	return s, b
}

// TestTCString: a string that grants is exchanged for a token, and recorded as it is;
// one that refuses takes the token back.
func TestTCString(t *testing.T) {
	grants, refuses := onDay(stringGrants, time.Now()), onDay(stringRefuses, time.Now())
	s, b := tcfSite(t, grants, refuses)
	b.js(`visit.tcf.accept()`)
	s.edge.until(t, "/v1/consent", 1)
	b.until(`localStorage.visitor`)
	b.push("/cmp/yes")
	s.stored(t, 4) // or the withdrawal reaches them on their way
	b.js(`visit.tcf.refuse()`)
	s.edge.until(t, "/v1/consent", 2)
	b.until(`!localStorage.visitor`)
	b.push("/cmp/no")
	b.sent(5)
	b.leave()
	rows := s.holds(t, "page_view /cmp/ denied", "page_view /cmp/undecided denied", "engagement /cmp/undecided analytics",
		"page_view /cmp/yes analytics", "page_view /cmp/no denied")
	recs := s.consentsHold(t, "given analytics tcf tcf-5-142-300-7", "withdrawn withdrawn tcf-5-142-300-7")
	if got := recs[0].GetRawSignal(); got != grants {
		t.Errorf("recorded is %q, the string was %q", got, grants)
	}
	for _, r := range rows {
		if known := r.Visitor != ""; known != (r.Consent == "analytics") || known && r.Visitor != hexID(recs[0].GetSubjectId()) {
			t.Errorf("visitor %q under %s; the record is of %s", r.Visitor, r.Consent, hexID(recs[0].GetSubjectId()))
		}
	}
}

// TestStaleTCString: what the page takes for a yes and the collector does not, for the
// string is too old, is none.
func TestStaleTCString(t *testing.T) {
	s, b := tcfSite(t, onDay(stringGrants, time.Now().AddDate(-2, 0, 0)), onDay(stringRefuses, time.Now()))
	b.js(`visit.tcf.accept()`)
	s.edge.until(t, "/v1/consent", 1)
	b.push("/cmp/yes")
	b.sent(3)
	b.nothingStored()
	b.leave()
	s.holds(t, "page_view /cmp/ denied", "page_view /cmp/undecided denied", "page_view /cmp/yes denied")
}
