package collector

import (
	"errors"

	"github.com/metiva-io/metiva/collector/form"
	"github.com/metiva-io/metiva/consent"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// siteForm is a form the site may capture.
type siteForm struct {
	policy *form.Policy
	// texts are those that are registered for the site as well.
	texts []consent.ShownText
}

// errFormSetting: a form's policy that cannot be used whole captures nothing.
var errFormSetting = errors.New("a site's form policies are not of their form, or name texts the site has not; those forms, or with those texts, are not captured")

// readForms takes the site's form policies; its texts must be read. One with a
// fault is left out, as are all when there are too many; of two with the same
// form nobody can say which holds.
func (s *site) readForms(rec *metivav1.SiteRecord) (err error) {
	if len(rec.GetForms()) > schemas.FormsMax {
		return errFormSetting
	}
	s.forms = make(map[string]*siteForm, len(rec.GetForms()))
	known := map[string]bool{}
	for _, f := range rec.GetForms() {
		policy, faults := form.NewPolicy(f, s.origins)
		if faults != nil || known[f.GetFormId()] {
			delete(s.forms, f.GetFormId())
			err = errFormSetting
		} else {
			next := &siteForm{policy: policy, texts: s.textsOf(policy)}
			if len(next.texts) < len(policy.TextVersions) {
				err = errFormSetting
			}
			s.forms[policy.ID] = next
		}
		known[f.GetFormId()] = true
	}
	return err
}

// textsOf are the texts both form and site have registered.
func (s *site) textsOf(policy *form.Policy) []consent.ShownText {
	var out []consent.ShownText
	for _, version := range policy.TextVersions {
		if text, ok := s.text(version); ok {
			out = append(out, consent.ShownText{Version: version, Language: text.language, SHA256: text.sha256})
		}
	}
	return out
}
