package stack

import (
	"context"
	"slices"

	"github.com/metiva-io/metiva/pkg/core/registry"
	"github.com/metiva-io/metiva/pkg/tenant"
)

// demoTexts are what the demo websites' visitors agree to: for the banner and
// for the contact form, in Dutch and English.
func demoTexts() []registry.ConsentText {
	return []registry.ConsentText{
		{Version: "demo-banner-1-nl", Language: "nl", Body: "Mogen we onthouden dat u hier eerder was? Wij bewaren dan een willekeurig nummer in uw browser, ten hoogste 13 maanden. U kunt dit op elk moment intrekken."},
		{Version: "demo-banner-1-en", Language: "en", Body: "May we remember that you were here before? We then keep a random number in your browser, for 13 months at most. You can take this back at any time."},
		// What the snippet's own banner says.
		{Version: "demo-banner-2-nl", Language: "nl", Body: "Mogen wij met een willekeurig nummer in uw browser zien hoe u deze site gebruikt en of u terugkomt? U kunt dit altijd intrekken."},
		{Version: "demo-banner-2-en", Language: "en", Body: "May we see, by a random number in your browser, how you use this site and whether you return? You can withdraw at any time."},
		{Version: "demo-contact-2-nl", Language: "nl", LinksVisits: true, Body: "Ja, bewaar wat ik hier invul, samen met mijn bezoek aan deze website, zodat u contact met mij kunt opnemen. Ik kan dit op elk moment intrekken."},
		{Version: "demo-contact-2-en", Language: "en", LinksVisits: true, Body: "Yes, keep what I fill in here, together with my visit to this website, so that you can contact me. I can take this back at any time."},
	}
}

func demoForm(origin string) registry.FormPolicy {
	return registry.FormPolicy{
		FormID: "contact",
		Fields: []registry.FormField{
			{Name: "email", Kind: "email", Required: true},
			{Name: "name", Kind: "name"},
			{Name: "company", Kind: "company"},
			{Name: "message", Kind: "text"},
		},
		TextVersions: []string{"demo-contact-2-nl", "demo-contact-2-en"},
		RedirectURLs: []string{origin + "/", origin + "/over-ons"},
	}
}

// demoProperties are those custom events of the demo's pages carry.
func demoProperties() []string { return []string{"plan", "seats"} }

// EnsureConsent makes sure the site has the demo's texts, form and properties; one
// that has them is not changed. origin is where its pages are.
func EnsureConsent(ctx context.Context, store *registry.Store, site registry.Site, origin string) (registry.Site, error) {
	claim, err := tenant.OperatorClaim(site.CompanyID, demoActor)
	if err != nil {
		return registry.Site{}, err
	}
	for _, text := range demoTexts() {
		if site, err = store.AddText(ctx, claim, site.ID, text); err != nil {
			return registry.Site{}, err
		}
	}
	if !slices.Equal(site.CustomProperties, demoProperties()) {
		if site, err = store.SetSite(ctx, claim, site.ID, registry.SiteChange{CustomProperties: demoProperties()}); err != nil {
			return registry.Site{}, err
		}
	}
	return store.SetForm(ctx, claim, site.ID, demoForm(origin))
}
