package registry_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/metiva-io/metiva/consent"
	"github.com/metiva-io/metiva/pkg/core/registry"
	"github.com/metiva-io/metiva/pkg/tenant"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

func ptr[T any](v T) *T { return &v }

func contactText(version string) registry.ConsentText {
	return registry.ConsentText{Version: version, Language: "nl", Body: "Ja, neem contact met mij op. " + version}
}

func contactForm(versions ...string) registry.FormPolicy {
	return registry.FormPolicy{
		FormID: "contact",
		Fields: []registry.FormField{
			{Name: "email", Kind: "email", Required: true}, {Name: "naam", Kind: "name"}, {Name: "bericht", Kind: "text"},
		},
		TextVersions: versions, RedirectURLs: []string{"https://www.example.com/bedankt?van=contact"},
	}
}

func TestSettingsArePublished(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	claim, site := w.tenantWithSite("Alpha")
	p := w.publisher()
	steps := []struct {
		name string
		do   func() (registry.Site, error)
	}{
		{"set", func() (registry.Site, error) {
			return w.store.SetSite(t.Context(), claim, site.ID, registry.SiteChange{
				Mode: ptr(metivav1.SiteMode_SITE_MODE_COUNT), HonourDNT: ptr(false), RetentionDays: ptr(90),
				AllowedOrigins: []string{"https://www.example.com", "https://shop.example.com"},
				TCFVendor:      ptr(755), CMP: ptr(consent.CMPCookiebot), GrantDays: ptr(180), CustomProperties: []string{"plan", "basket_value"},
				InterestAcceptedBy: ptr("Jo de Vries"),
			})
		}},
		{"text", func() (registry.Site, error) {
			return w.store.AddText(t.Context(), claim, site.ID, contactText("contact-1"))
		}},
		{"form", func() (registry.Site, error) {
			return w.store.SetForm(t.Context(), claim, site.ID, contactForm("contact-1"))
		}},
	}
	for i, step := range steps {
		changed, err := step.do()
		if err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if changed.Version != uint64(i+2) {
			t.Errorf("%s: version %d", step.name, changed.Version)
		}
	}
	w.flush(p)
	if last := w.topics.lastInOrder(t, site.ID); last != 4 {
		t.Errorf("last version %d", last)
	}
	rec := w.topics.site(t, site.ID)
	if rec.GetMode() != metivav1.SiteMode_SITE_MODE_COUNT || rec.GetHonourDnt() || rec.GetRetentionDays() != 90 || rec.GetTcfVendor() != 755 ||
		rec.GetCmp() != "cookiebot" || rec.GetGrantDays() != 180 || !slices.Equal(rec.GetCustomProperties(), []string{"plan", "basket_value"}) ||
		!slices.Equal(rec.GetAllowedOrigins(), []string{"https://shop.example.com", "https://www.example.com"}) {
		t.Errorf("record: %v", rec)
	}
	sum := sha256.Sum256([]byte(contactText("contact-1").Body))
	if len(rec.GetTexts()) != 1 || rec.GetTexts()[0].GetVersion() != "contact-1" || rec.GetTexts()[0].GetLanguage() != "nl" || !slices.Equal(rec.GetTexts()[0].GetSha256(), sum[:]) {
		t.Errorf("texts: %v", rec.GetTexts())
	}
	if len(rec.GetForms()) != 1 {
		t.Fatalf("forms: %v", rec.GetForms())
	}
	form := rec.GetForms()[0]
	if form.GetFormId() != "contact" || len(form.GetFields()) != 3 || !form.GetFields()[0].GetRequired() || form.GetFields()[0].GetKind() != metivav1.FieldKind_FIELD_KIND_EMAIL ||
		form.GetFields()[2].GetKind() != metivav1.FieldKind_FIELD_KIND_TEXT || !slices.Equal(form.GetTextVersions(), []string{"contact-1"}) ||
		!slices.Equal(form.GetRedirectUrls(), contactForm().RedirectURLs) {
		t.Errorf("form: %v", form)
	}
	if bytes := fmt.Sprint(w.topics.all(schemas.TopicControlSites)); strings.Contains(bytes, "neem contact") {
		t.Error("the text itself was published")
	}
	sites, err := w.store.ListSites(t.Context(), claim)
	if err != nil || len(sites) != 1 || len(sites[0].Texts) != 1 || len(sites[0].Forms) != 1 || sites[0].TCFVendor != 755 || sites[0].CMP != consent.CMPCookiebot ||
		sites[0].InterestAcceptedBy != "Jo de Vries" || sites[0].InterestAcceptedAt.IsZero() || !slices.Equal(sites[0].Forms[0].RedirectURLs, contactForm().RedirectURLs) {
		t.Errorf("listed: %+v, %v", sites, err)
	}
}

func TestOneSettingLeavesTheOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	claim, site := w.tenantWithSite("Alpha")
	set := func(c registry.SiteChange) registry.Site {
		t.Helper()
		s, err := w.store.SetSite(t.Context(), claim, site.ID, c)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	set(registry.SiteChange{CustomProperties: []string{"plan"}, TCFVendor: ptr(7)})
	s := set(registry.SiteChange{GrantDays: ptr(30)})
	if s.GrantDays != 30 || s.TCFVendor != 7 || len(s.CustomProperties) != 1 || !s.HonourDNT || s.RetentionDays != registry.RetentionDaysDefault || len(s.AllowedOrigins) != 2 {
		t.Errorf("site: %+v", s)
	}
	s = set(registry.SiteChange{CustomProperties: []string{}, TCFVendor: ptr(0), CMP: ptr(consent.CMP(""))})
	if s.TCFVendor != 0 || len(s.CustomProperties) != 0 || s.GrantDays != 30 {
		t.Errorf("site: %+v", s)
	}
}

func TestAVersionNeverStandsForAnotherText(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	claim, site := w.tenantWithSite("Alpha")
	text := contactText("contact-1")
	first, err := w.store.AddText(t.Context(), claim, site.ID, text)
	if err != nil {
		t.Fatal(err)
	}
	again, err := w.store.AddText(t.Context(), claim, site.ID, text)
	if err != nil || again.Version != first.Version {
		t.Errorf("the same text again: version %d after %d, %v", again.Version, first.Version, err)
	}
	for name, other := range map[string]registry.ConsentText{
		"another text":     {Version: "contact-1", Language: "nl", Body: text.Body + "."},
		"another language": {Version: "contact-1", Language: "en", Body: text.Body},
		"another promise":  {Version: "contact-1", Language: "nl", Body: text.Body, LinksVisits: true},
	} {
		if _, err := w.store.AddText(t.Context(), claim, site.ID, other); !errors.Is(err, registry.ErrConflict) {
			t.Errorf("%s: %v", name, err)
		}
	}
	kept, err := w.store.TextOf(t.Context(), claim, site.ID, "contact-1")
	if err != nil || kept.Body != text.Body || kept.SHA256 != sha256.Sum256([]byte(text.Body)) {
		t.Errorf("kept: %+v, %v", kept, err)
	}
	if _, err := w.store.TextOf(t.Context(), claim, site.ID, "contact-2"); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("a text nobody added: %v", err)
	}
	linking := registry.ConsentText{Version: "linking-1", Language: "nl", Body: "Ja, samen met mijn bezoeken.", LinksVisits: true}
	site, err = w.store.AddText(t.Context(), claim, site.ID, linking)
	if i := len(site.Texts) - 1; err != nil || !site.Texts[i].LinksVisits || site.Texts[0].LinksVisits {
		t.Errorf("a text that says visits are linked: %+v, %v", site.Texts, err)
	}
	if kept, err := w.store.TextOf(t.Context(), claim, site.ID, "linking-1"); err != nil || !kept.LinksVisits {
		t.Errorf("kept: %+v, %v", kept, err)
	}
	for i := range schemas.ConsentTextsMax - 2 {
		if _, err := w.store.AddText(t.Context(), claim, site.ID, contactText(fmt.Sprintf("more-%d", i))); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.store.AddText(t.Context(), claim, site.ID, contactText("one-too-many")); !errors.Is(err, registry.ErrLimit) {
		t.Errorf("one too many: %v", err)
	}
}

func TestAFormIsReplacedAndRemoved(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	claim, site := w.tenantWithSite("Alpha")
	if _, err := w.store.AddText(t.Context(), claim, site.ID, contactText("contact-1")); err != nil {
		t.Fatal(err)
	}
	form := contactForm("contact-1")
	first, err := w.store.SetForm(t.Context(), claim, site.ID, form)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := w.store.SetForm(t.Context(), claim, site.ID, form); err != nil || again.Version != first.Version {
		t.Errorf("the same form again: version %d after %d, %v", again.Version, first.Version, err)
	}
	_, err = w.store.SetSite(t.Context(), claim, site.ID, registry.SiteChange{AllowedOrigins: []string{"https://other.example.com"}})
	if !errors.Is(err, registry.ErrInvalid) || !strings.Contains(err.Error(), "contact") {
		t.Errorf("an origin its form goes back to was taken away: %v", err)
	}
	form.Fields, form.RedirectURLs = form.Fields[:1], nil
	changed, err := w.store.SetForm(t.Context(), claim, site.ID, form)
	if err != nil || changed.Version != first.Version+1 || len(changed.Forms) != 1 || len(changed.Forms[0].Fields) != 1 || len(changed.Forms[0].RedirectURLs) != 0 {
		t.Errorf("replaced: %+v, %v", changed.Forms, err)
	}
	removed, err := w.store.RemoveForm(t.Context(), claim, site.ID, "contact")
	if err != nil || len(removed.Forms) != 0 {
		t.Errorf("removed: %+v, %v", removed.Forms, err)
	}
	if _, err := w.store.RemoveForm(t.Context(), claim, site.ID, "contact"); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("removed twice: %v", err)
	}
	for i := range schemas.FormsMax {
		form.FormID = fmt.Sprintf("form-%d", i)
		if _, err := w.store.SetForm(t.Context(), claim, site.ID, form); err != nil {
			t.Fatal(err)
		}
	}
	form.FormID = "one-too-many"
	if _, err := w.store.SetForm(t.Context(), claim, site.ID, form); !errors.Is(err, registry.ErrLimit) {
		t.Errorf("one too many: %v", err)
	}
}

func TestASiteRecordIsBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	claim, site := w.tenantWithSite("Alpha")
	if _, err := w.store.AddText(t.Context(), claim, site.ID, contactText("contact-1")); err != nil {
		t.Fatal(err)
	}
	form := contactForm("contact-1")
	form.RedirectURLs = nil
	for i := range schemas.RedirectURLsMax {
		form.RedirectURLs = append(form.RedirectURLs, fmt.Sprintf("https://www.example.com/%d/%s", i, strings.Repeat("a", 900)))
	}
	var err error
	for i := 0; err == nil && i < schemas.FormsMax; i++ {
		form.FormID = fmt.Sprintf("form-%d", i)
		_, err = w.store.SetForm(t.Context(), claim, site.ID, form)
	}
	if !errors.Is(err, registry.ErrLimit) {
		t.Errorf("a record beyond its bytes: %v", err)
	}
	w.flush(w.publisher())
	if rec := w.topics.site(t, site.ID); len(rec.GetForms()) < 2 {
		t.Errorf("%d forms were published", len(rec.GetForms()))
	}
}

func TestInvalidSettings(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	claim, site := w.tenantWithSite("Alpha")
	if _, err := w.store.AddText(t.Context(), claim, site.ID, contactText("contact-1")); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]registry.SiteChange{
		"nothing":       {},
		"mode":          {Mode: ptr(metivav1.SiteMode(9))},
		"no mode":       {Mode: ptr(metivav1.SiteMode_SITE_MODE_UNSPECIFIED)},
		"retention":     {RetentionDays: ptr(0)},
		"no origins":    {AllowedOrigins: []string{}},
		"origin":        {AllowedOrigins: []string{"https://*.example.com"}},
		"vendor":        {TCFVendor: ptr(1 << 16)},
		"platform":      {CMP: ptr(consent.CMP("homemade"))},
		"grant":         {GrantDays: ptr(registry.GrantDaysMax + 1)},
		"property form": {CustomProperties: []string{"a b"}},
		"property bsn":  {CustomProperties: []string{"bsn"}},
		"property mail": {CustomProperties: []string{"eMail"}},
		"properties":    {CustomProperties: make([]string, schemas.CustomPropertyNamesMax+1)},
		"accepted by":   {InterestAcceptedBy: ptr(" ")},
		"precision":     {NetworkPrecision: ptr(true)},
	} {
		if _, err := w.store.SetSite(t.Context(), claim, site.ID, c); !errors.Is(err, registry.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, text := range map[string]registry.ConsentText{
		"no version":   {Language: "nl", Body: "x"},
		"version":      {Version: "a_b", Language: "nl", Body: "x"},
		"long version": {Version: strings.Repeat("v", registry.TextVersionBytesMax+1), Language: "nl", Body: "x"},
		"tcf version":  {Version: "tcf-4", Language: "nl", Body: "x"},
		"language":     {Version: "v", Language: "Nederlands", Body: "x"},
		"subtag":       {Version: "v", Language: "nl-", Body: "x"},
		"empty":        {Version: "v", Language: "nl", Body: " \n"},
		"long":         {Version: "v", Language: "nl", Body: strings.Repeat("x", registry.ConsentTextBytesMax+1)},
		"not UTF-8":    {Version: "v", Language: "nl", Body: "x\xff"},
		"NUL":          {Version: "v", Language: "nl", Body: "x\x00"},
		"BOM":          {Version: "v", Language: "nl", Body: "\ufeffx"},
	} {
		if _, err := w.store.AddText(t.Context(), claim, site.ID, text); !errors.Is(err, registry.ErrInvalid) {
			t.Errorf("text, %s: %v", name, err)
		}
	}
	for name, change := range invalidForms() {
		form := contactForm("contact-1")
		change(&form)
		if _, err := w.store.SetForm(t.Context(), claim, site.ID, form); !errors.Is(err, registry.ErrInvalid) {
			t.Errorf("form, %s: %v", name, err)
		}
	}
	sites, err := w.store.ListSites(t.Context(), claim)
	if err != nil || sites[0].Version != 2 {
		t.Errorf("a refused change counts: %+v, %v", sites, err)
	}
}

func invalidForms() map[string]func(*registry.FormPolicy) {
	forms := map[string]func(*registry.FormPolicy){
		"no id":         func(f *registry.FormPolicy) { f.FormID = "" },
		"id":            func(f *registry.FormPolicy) { f.FormID = "a b" },
		"long id":       func(f *registry.FormPolicy) { f.FormID = strings.Repeat("f", schemas.FormIDBytesMax+1) },
		"no fields":     func(f *registry.FormPolicy) { f.Fields = nil },
		"many fields":   func(f *registry.FormPolicy) { f.Fields = make([]registry.FormField, schemas.FormFieldsMax+1) },
		"twice":         func(f *registry.FormPolicy) { f.Fields[1] = f.Fields[0] },
		"kind":          func(f *registry.FormPolicy) { f.Fields[0].Kind = "password" },
		"no kind":       func(f *registry.FormPolicy) { f.Fields[0].Kind = "none" },
		"no texts":      func(f *registry.FormPolicy) { f.TextVersions = nil },
		"unknown text":  func(f *registry.FormPolicy) { f.TextVersions = []string{"contact-2"} },
		"text twice":    func(f *registry.FormPolicy) { f.TextVersions = []string{"contact-1", "contact-1"} },
		"many targets":  func(f *registry.FormPolicy) { f.RedirectURLs = make([]string, schemas.RedirectURLsMax+1) },
		"long redirect": func(f *registry.FormPolicy) { f.RedirectURLs[0] += strings.Repeat("a", schemas.RedirectURLBytesMax) },
	}
	for name, field := range map[string]string{
		"empty name": "", "name with space": "a b", "long name": strings.Repeat("n", schemas.FormFieldNameBytesMax+1),
		"password": "password", "new password": "user[newPassword]", "wachtwoord": "uw-wachtwoord", "pin": "pin", "card": "creditCardNumber",
		"cvc": "cvc2", "iban": "IBAN", "rekening": "rekening_nummer", "bsn": "bsn", "bsn2": "bsn_nummer", "passport": "paspoortnummer",
		"birth": "geboorte.datum", "card alone": "card", "otp": "otp",
		// What the collectors would refuse, and with it the whole form.
		"ours": "metiva_site", "camel behind a digit": "stap2Pin",
	} {
		forms[name] = func(f *registry.FormPolicy) { f.Fields[2].Name = field }
	}
	for name, address := range map[string]string{
		"relative": "/bedankt", "scheme": "javascript:alert(1)", "plain": "http://www.example.com/x", "user": "https://a@www.example.com/x",
		"other host": "https://www.example.org/x", "other port": "https://www.example.com:8443/x", "suffix": "https://www.example.com.evil.test/x",
		"backslash": `https://www.example.com\@evil.test/`, "no path": "https://www.example.com", "space": "https://www.example.com/a b",
		"newline": "https://www.example.com/a\r\nSet-Cookie: x", "protocol-relative": "//www.example.com/x", "unicode": "https://www.example.com/é",
		"fragment": "https://www.example.com/bedankt#form", "dots": "https://www.example.com/a/../bedankt", "encoded dots": "https://www.example.com/%2e%2E/bedankt",
		"encoded slash": "https://www.example.com/a%2fb", "encoded line": "https://www.example.com/a%0d%0ab", "bracket": "https://www.example.com/a[1]",
	} {
		forms["redirect "+name] = func(f *registry.FormPolicy) { f.RedirectURLs = []string{address} }
	}
	return forms
}

func TestOrdinaryFieldNamesPass(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	claim, site := w.tenantWithSite("Alpha")
	if _, err := w.store.AddText(t.Context(), claim, site.ID, contactText("contact-1")); err != nil {
		t.Fatal(err)
	}
	form := contactForm("contact-1")
	form.RedirectURLs = []string{"http://localhost:8080/", "https://www.example.com/bedankt?van=form"}
	form.Fields = nil
	for _, name := range []string{"your-email", "contact[name]", "shippingAddress", "opinion", "company", "functie", "className", "account_manager", "postcode", "kaartje_gewenst", "passage", "secretary"} {
		form.Fields = append(form.Fields, registry.FormField{Name: name, Kind: "text"})
	}
	if _, err := w.store.SetForm(t.Context(), claim, site.ID, form); err != nil {
		t.Error(err)
	}
}

func TestSettingsOfAnotherTenantAreNotFound(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, _ := w.tenantWithSite("Alpha")
	b, siteB := w.tenantWithSite("Beta")
	if _, err := w.store.AddText(t.Context(), b, siteB.ID, contactText("contact-1")); err != nil {
		t.Fatal(err)
	}
	if _, err := w.store.SetForm(t.Context(), b, siteB.ID, contactForm("contact-1")); err != nil {
		t.Fatal(err)
	}
	for name, do := range map[string]func() error{
		"set": func() error {
			_, err := w.store.SetSite(t.Context(), a, siteB.ID, registry.SiteChange{GrantDays: ptr(1)})
			return err
		},
		"text": func() error {
			_, err := w.store.AddText(t.Context(), a, siteB.ID, contactText("contact-2"))
			return err
		},
		"read": func() error { _, err := w.store.TextOf(t.Context(), a, siteB.ID, "contact-1"); return err },
		"form": func() error {
			_, err := w.store.SetForm(t.Context(), a, siteB.ID, contactForm("contact-1"))
			return err
		},
		"remove": func() error { _, err := w.store.RemoveForm(t.Context(), a, siteB.ID, "contact"); return err },
	} {
		if err := do(); !errors.Is(err, registry.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
	sites, err := w.store.ListSites(t.Context(), b)
	if err != nil || sites[0].Version != 3 || len(sites[0].Forms) != 1 {
		t.Errorf("B's site changed: %+v, %v", sites, err)
	}
}

func TestTheDatabaseHoldsATextToItsHash(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	claim, site := w.tenantWithSite("Alpha")
	insert := func(body string) error {
		return tenant.Run(t.Context(), w.pool, claim, func(ctx context.Context, tx tenant.Tx) error {
			_, err := tx.Exec(ctx, `INSERT INTO core.consent_texts (brand_id, site_id, version, language, body, sha256) VALUES ($1, $2, 'v', 'nl', $3, sha256('één'))`,
				site.BrandID, site.ID, body)
			return err
		})
	}
	if insert("twee") == nil {
		t.Error("a text with another one's hash was stored")
	}
	if err := insert("één"); err != nil {
		t.Error(err)
	}
}
