package collector

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/consent"
	"github.com/metiva-io/metiva/pkg/seal"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// TestConsentSettingsOfASite: what a registration says about consent is taken
// whole or left out, and leaving out never takes more from visitors.
func TestConsentSettingsOfASite(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	sum := bytes.Repeat([]byte{7}, 32)
	text := func(version, language string, sha []byte) *metivav1.ConsentText {
		return &metivav1.ConsentText{Version: version, Language: language, Sha256: sha}
	}
	many := make([]*metivav1.ConsentText, schemas.ConsentTextsMax+1)
	for i := range many {
		many[i] = text("v"+strings.Repeat("1", i/26+1)+string(rune('a'+i%26)), "nl", sum)
	}
	for name, c := range map[string]struct {
		change  func(*metivav1.SiteRecord)
		policy  consent.Policy
		texts   int
		ignored bool
	}{
		"none": {change: func(*metivav1.SiteRecord) {}},
		"all": {
			change: func(r *metivav1.SiteRecord) {
				r.TcfVendor, r.Cmp, r.GrantDays = 755, "cookiebot", 180
				r.Texts = []*metivav1.ConsentText{text("nl-1.2", "nl", sum), text("en-1", "en-GB", sum)}
			},
			policy: consent.Policy{TCFVendor: 755, CMP: consent.CMPCookiebot, GrantAge: 180 * day}, texts: 2,
		},
		"vendor out of range": {change: func(r *metivav1.SiteRecord) { r.TcfVendor = 1<<16 + 755 }, ignored: true},
		"unknown platform":    {change: func(r *metivav1.SiteRecord) { r.Cmp = "ours" }, ignored: true},
		"13 months":           {change: func(r *metivav1.SiteRecord) { r.GrantDays = 396 }, policy: consent.Policy{GrantAge: consent.GrantAgeMax}},
		"over 13 months":      {change: func(r *metivav1.SiteRecord) { r.GrantDays = 397 }, policy: consent.Policy{GrantAge: day}, ignored: true},
		"text without a hash": {change: func(r *metivav1.SiteRecord) {
			r.Texts = []*metivav1.ConsentText{text("v1", "nl", sum[:31]), text("v2", "nl", sum)}
		}, texts: 1, ignored: true},
		"text in no language": {change: func(r *metivav1.SiteRecord) { r.Texts = []*metivav1.ConsentText{text("v1", "Nederlands", sum)} }, ignored: true},
		"text of no version":  {change: func(r *metivav1.SiteRecord) { r.Texts = []*metivav1.ConsentText{text("a@b.nl", "nl", sum)} }, ignored: true},
		"one version thrice": {change: func(r *metivav1.SiteRecord) {
			r.Texts = []*metivav1.ConsentText{text("v1", "nl", sum), text("v1", "en", sum), text("v1", "en", sum)}
		}, ignored: true},
		"too many texts": {change: func(r *metivav1.SiteRecord) { r.Texts = many }, texts: schemas.ConsentTextsMax, ignored: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, rec := newSites(newSalts(seal.PrivateKey{}, time.Now)), siteRecord()
			c.change(rec)
			value, err := proto.Marshal(rec)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.apply([]byte(testSite), value); errors.Is(err, errConsentSetting) != c.ignored || !c.ignored && err != nil {
				t.Errorf("applying: %v", err)
			}
			site := s.lookup([]byte(testKey))
			if site == nil {
				t.Fatal("the site is not there")
			}
			c.policy.Mode, c.policy.HonourDNT = rec.GetMode(), rec.GetHonourDnt()
			if site.policy != c.policy || len(site.texts) != c.texts {
				t.Errorf("policy %+v with %d texts, want %+v with %d", site.policy, len(site.texts), c.policy, c.texts)
			}
			for _, registered := range rec.GetTexts() {
				if got, ok := site.text(registered.GetVersion()); ok && (got.sha256 != [32]byte(registered.GetSha256()) || got.language != registered.GetLanguage()) {
					t.Errorf("text %q is another", registered.GetVersion())
				}
			}
		})
	}
}
