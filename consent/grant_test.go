package consent

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/metiva-io/metiva/consent/tcf"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

func bannerYes() Claim {
	return Claim{Source: SourceBanner, Choice: chosen(AnswerGranted), TextVersion: "nl-3"}
}

func TestGrantableKeepsTheClaim(t *testing.T) {
	t.Parallel()
	now := testNow()
	policy := companyPolicy()
	policy.GrantAge = 180 * 24 * time.Hour
	for name, c := range map[string]struct {
		claim Claim
		want  Basis
	}{
		"banner": {bannerYes(), Basis{Source: "banner", TextVersion: "nl-3", ExpiresAt: now.Add(policy.GrantAge)}},
		"script": {
			Claim{Source: SourceAPI, Choice: chosen(AnswerGranted), TextVersion: "v1.2"},
			Basis{Source: "api", TextVersion: "v1.2", ExpiresAt: now.Add(policy.GrantAge)},
		},
		"platform": {
			Claim{Source: SourceCMP, CMP: CMPCookiebot, Choice: chosen(AnswerGranted), Raw: "necessary,statistics", TextVersion: "7"},
			Basis{Source: "cmp:cookiebot", RawSignal: "necessary,statistics", TextVersion: "7", CMPID: "cookiebot", ExpiresAt: now.Add(policy.GrantAge)},
		},
		"tcf": {
			Claim{Source: SourceTCF, Raw: tcString(t, "grant through both"), TextVersion: "not this"},
			Basis{Source: "tcf", RawSignal: tcString(t, "grant through both"), TextVersion: "tcf-5-142-300-7", CMPID: "300", CMPVersion: "7", Language: "en", ExpiresAt: now.Add(policy.GrantAge)},
		},
		"tcf that ends sooner": {
			Claim{Source: SourceTCF, Raw: tcString(t, "oldest that counts")},
			Basis{Source: "tcf", RawSignal: tcString(t, "oldest that counts"), TextVersion: "tcf-5-142-300-7", CMPID: "300", CMPVersion: "7", Language: "en", ExpiresAt: time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)},
		},
	} {
		c.want.GivenAt = now
		got, err := Grantable(policy, Signals{}, c.claim, now)
		if err != nil || got != c.want {
			t.Errorf("%s: %+v, %v, want %+v", name, got, err, c.want)
			continue
		}
		tokens := newTokens(t, 1)
		token, err := tokens.Issue(site, got.Grant([IDBytes]byte{5}, 2), now)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		d := Decide(policy, Signals{Proof: tokens.Verify(site, []byte(token), now)}.With(c.claim, policy, now))
		if id, ok := d.VisitorID(); !ok || id != [IDBytes]byte{5} || d.Sequence() != 2 || d.TextVersion() != c.want.TextVersion {
			t.Errorf("%s: the token decides %v", name, d.State())
		}
	}
}

func TestGrantableRefuses(t *testing.T) {
	t.Parallel()
	change := func(f func(*Policy)) Policy {
		p := companyPolicy()
		f(&p)
		return p
	}
	policy := companyPolicy()
	tc := func(name string) Claim { return Claim{Source: SourceTCF, Raw: tcString(t, name)} }
	text := func(version string) Claim {
		c := bannerYes()
		c.TextVersion = version
		return c
	}
	platform := Claim{Source: SourceCMP, CMP: CMPCookiebot, Choice: chosen(AnswerGranted), TextVersion: "7"}
	for name, c := range map[string]struct {
		policy  Policy
		signals Signals
		claim   Claim
		want    error
	}{
		"site off":              {change(func(p *Policy) { p.Mode = metivav1.SiteMode_SITE_MODE_OFF }), Signals{}, bannerYes(), ErrNothingKept},
		"site counts":           {change(func(p *Policy) { p.Mode = metivav1.SiteMode_SITE_MODE_COUNT }), Signals{}, bannerYes(), ErrNothingKept},
		"zero policy":           {Policy{}, Signals{}, bannerYes(), ErrNothingKept},
		"gpc":                   {policy, Signals{GPC: true}, bannerYes(), ErrObjected},
		"dnt":                   {policy, Signals{DNT: true}, bannerYes(), ErrObjected},
		"opt-out":               {policy, Signals{OptOut: true}, bannerYes(), ErrObjected},
		"no source":             {policy, Signals{}, Claim{}, ErrSourceNotAccepted},
		"no such source":        {policy, Signals{}, Claim{Source: 99, Choice: chosen(AnswerGranted)}, ErrSourceNotAccepted},
		"consent mode":          {policy, Signals{}, Claim{Source: SourceConsentMode, Raw: "G111", Choice: chosen(AnswerGranted), TextVersion: "1"}, ErrSourceNotAccepted},
		"another platform":      {change(func(p *Policy) { p.CMP = CMPDidomi }), Signals{}, platform, ErrSourceNotAccepted},
		"no platform":           {change(func(p *Policy) { p.CMP = "" }), Signals{}, Claim{Source: SourceCMP, Choice: chosen(AnswerGranted), TextVersion: "1"}, ErrSourceNotAccepted},
		"platform not known":    {change(func(p *Policy) { p.CMP = "mine" }), Signals{}, Claim{Source: SourceCMP, CMP: "mine", Choice: chosen(AnswerGranted), TextVersion: "1"}, ErrSourceNotAccepted},
		"no vendor":             {change(func(p *Policy) { p.TCFVendor = 0 }), Signals{}, tc("grant through both"), ErrSourceNotAccepted},
		"consent mode refuses":  {policy, Signals{ConsentMode: AnswerRefused}, bannerYes(), ErrContradicted},
		"a tc string refuses":   {policy, Signals{TCF: AnswerRefused}, bannerYes(), ErrContradicted},
		"a platform refuses":    {policy, Signals{CMP: 77}, bannerYes(), ErrContradicted},
		"the banner refuses":    {policy, Signals{Page: AnswerRefused}, tc("grant through both"), ErrContradicted},
		"a no":                  {policy, Signals{}, Claim{Source: SourceBanner, Choice: chosen(AnswerRefused), TextVersion: "1"}, ErrNotGranted},
		"no choice":             {policy, Signals{}, Claim{Source: SourceBanner, Choice: Choice{Answer: AnswerGranted}, TextVersion: "1"}, ErrNotGranted},
		"implied":               {policy, Signals{}, Claim{Source: SourceCMP, CMP: CMPCookiebot, Choice: Choice{Answer: AnswerGranted, Made: true, Implied: true}, TextVersion: "1"}, ErrNotGranted},
		"raw too long":          {policy, Signals{}, Claim{Source: SourceTCF, Raw: tcString(t, "grant through both") + strings.Repeat("A", RawSignalBytesMax)}, ErrNotGranted},
		"tcf before a choice":   {policy, Signals{}, Claim{Source: SourceTCF}, ErrNotGranted},
		"tcf garbage":           {policy, Signals{}, Claim{Source: SourceTCF, Raw: "CAAA"}, tcf.ErrTruncated},
		"tcf golden":            {policy, Signals{}, tc("golden of the specification"), tcf.ErrPolicyVersion},
		"tcf stale":             {policy, Signals{}, tc("stale"), tcf.ErrStale},
		"tcf refused":           {policy, Signals{}, tc("refused"), tcf.ErrPurposes},
		"tcf without the other": {policy, Signals{}, tc("disclosed to others"), tcf.ErrNotDisclosed},
		"no text":               {policy, Signals{}, text(""), ErrTextVersion},
		"a long text":           {policy, Signals{}, text(strings.Repeat("v", TextVersionBytesMax+1)), ErrTextVersion},
		"a text with markup":    {policy, Signals{}, text("<b>"), ErrTextVersion},
		"a text with an e-mail": {policy, Signals{}, text("a@example.org"), ErrTextVersion},
	} {
		basis, err := Grantable(c.policy, c.signals, c.claim, testNow())
		if !errors.Is(err, c.want) || basis != (Basis{}) {
			t.Errorf("%s: %+v, %v, want %v", name, basis, err, c.want)
		}
		if err != nil && c.claim.Raw != "" && strings.Contains(err.Error(), c.claim.Raw) {
			t.Errorf("%s: the error shows the claim", name)
		}
		if strings.HasPrefix(name, "tcf ") && !errors.Is(err, ErrNotGranted) {
			t.Errorf("%s: %v is not ErrNotGranted", name, err)
		}
	}
	if _, err := Grantable(policy, Signals{DNT: true, Proof: Proof{status: proofWithdrawn}}, bannerYes(), testNow()); !errors.Is(err, ErrObjected) {
		t.Errorf("withdrawn and DNT: %v", err)
	}
	noDNT := change(func(p *Policy) { p.HonourDNT = false })
	if _, err := Grantable(noDNT, Signals{DNT: true}, bannerYes(), testNow()); err != nil {
		t.Errorf("DNT where the site does not honour it: %v", err)
	}
	if _, err := Grantable(policy, Signals{Proof: Proof{status: proofWithdrawn}}, bannerYes(), testNow()); err != nil {
		t.Errorf("given again after a withdrawal: %v", err)
	}
}

func TestGrantAgeIsBounded(t *testing.T) {
	t.Parallel()
	for age, want := range map[time.Duration]time.Duration{
		0: GrantAgeDefault, -time.Hour: GrantAgeDefault, time.Hour: time.Hour, 10 * GrantAgeMax: GrantAgeMax,
	} {
		policy := companyPolicy()
		policy.GrantAge = age
		basis, err := Grantable(policy, Signals{}, bannerYes(), testNow())
		if err != nil || basis.ExpiresAt.Sub(testNow()) != want {
			t.Errorf("%v: %v, %v", age, basis.ExpiresAt.Sub(testNow()), err)
		}
	}
}
