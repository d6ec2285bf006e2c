package collector

import (
	"crypto/sha256"
	"errors"
	"math"
	"time"

	"github.com/metiva-io/metiva/consent"
	"github.com/metiva-io/metiva/consent/tcf"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// siteText is a text the site's visitors are shown.
type siteText struct {
	language string // BCP 47
	sha256   [sha256.Size]byte
}

// text is the registered text of a version.
func (s *site) text(version string) (siteText, bool) {
	text, ok := s.texts[version]
	return text, ok
}

// errConsentSetting: what a registration says about consent and cannot be used
// is left out, which takes less from visitors than it says.
var errConsentSetting = errors.New("a site's consent platform, vendor, grant days or texts are not of their form and are left out")

// readConsent takes the site's policy and texts. What is not of its form is as if
// it were missing, except days of a grant, whose default would be longer: the site
// then takes no grant for more than a day.
func (s *site) readConsent(rec *metivav1.SiteRecord) (err error) {
	s.policy = consent.Policy{Mode: rec.GetMode(), HonourDNT: rec.GetHonourDnt()}
	if vendor := rec.GetTcfVendor(); vendor <= math.MaxUint16 {
		s.policy.TCFVendor = tcf.VendorID(vendor)
	} else {
		err = errConsentSetting
	}
	if cmp := consent.CMP(rec.GetCmp()); cmp == "" || cmp.Known() {
		s.policy.CMP = cmp
	} else {
		err = errConsentSetting
	}
	const day = 24 * time.Hour
	switch days := rec.GetGrantDays(); {
	case days <= uint32(consent.GrantAgeMax/day):
		s.policy.GrantAge = time.Duration(days) * day
	default:
		s.policy.GrantAge, err = day, errConsentSetting
	}
	s.texts = make(map[string]siteText, min(len(rec.GetTexts()), schemas.ConsentTextsMax))
	known := map[string]bool{}
	for _, t := range rec.GetTexts() {
		version := t.GetVersion()
		switch {
		case known[version]: // two texts of one version: nobody can say which was shown
			delete(s.texts, version)
			err = errConsentSetting
		case !consent.IsTextVersion(version), !consent.IsLanguage(t.GetLanguage()), len(t.GetSha256()) != sha256.Size, len(s.texts) >= schemas.ConsentTextsMax:
			err = errConsentSetting
		default:
			s.texts[version] = siteText{language: t.GetLanguage(), sha256: [sha256.Size]byte(t.GetSha256())}
		}
		known[version] = true
	}
	return err
}
