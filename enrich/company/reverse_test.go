package company

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/metiva-io/metiva/enrich/geo"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// TestReverseNames: what a network's names may say, and where nobody asks.
func TestReverseNames(t *testing.T) {
	t.Parallel()
	const found = "gevonden.nl"
	unknown := geo.Answer{Outcome: geo.OutcomeFound, ASN: 64500, Organization: "Some Networks GmbH", OrganizationKey: "some-networks", Build: time.UnixMilli(1)}
	change := func(f func(*geo.Answer)) geo.Answer {
		a := unknown
		f(&a)
		return a
	}
	of := func(asn uint32, name, key string) geo.Answer {
		return change(func(a *geo.Answer) { a.ASN, a.Organization, a.OrganizationKey = asn, name, key })
	}
	record := func(r geo.Company) geo.Answer { return change(func(a *geo.Answer) { a.Company = &r }) }
	for name, c := range map[string]struct {
		cfg     Config
		answer  geo.Answer
		domain  string
		verdict string
		asked   bool
	}{
		"nothing else is known":    {Config{}, unknown, found, "company", true},
		"no answer":                {Config{}, unknown, "", "unclassified", true},
		"access provider":          {Config{}, of(1136, "KPN B.V.", "kpn"), found, "isp", false},
		"hosting":                  {Config{}, of(24940, "Hetzner Online GmbH", "hetzner-online"), found, "hosting", false},
		"research network":         {Config{}, of(1103, "SURF B.V.", "surf"), found, "education_network", false},
		"mixed system":             {Config{}, of(20857, "Signet B.V.", "signet"), found, "company", true},
		"organisation":             {Config{}, of(15625, "ING Bank N.V.", "ing-bank"), found, "company", false},
		"not found":                {Config{}, geo.Answer{Outcome: geo.OutcomeNotFound}, found, "not_found", false},
		"divided":                  {Config{}, change(func(a *geo.Answer) { a.Split = true }), found, "ambiguous_truncation", false},
		"a part is hidden":         {Config{}, change(func(a *geo.Answer) { a.Partial = true }), found, "unclassified", false},
		"anonymiser":               {Config{}, change(func(a *geo.Answer) { a.Anonymous = true }), found, "anonymizer", false},
		"mobile":                   {Config{}, change(func(a *geo.Answer) { a.Mobile = true }), found, "mobile", false},
		"a person's":               {Config{}, change(func(a *geo.Answer) { a.Person = true }), found, "sole_trader", false},
		"a database says provider": {Config{}, change(func(a *geo.Answer) { a.SystemKind = geo.KindAccess }), found, "isp", false},
		"a record says provider":   {Config{}, change(func(a *geo.Answer) { a.Company = &geo.Company{Kind: geo.KindAccess} }), found, "unclassified", false},
		"another domain elsewhere": {Config{}, change(func(a *geo.Answer) { a.Domain = "anders.nl" }), found, "unclassified", true},
		"the same elsewhere":       {Config{}, change(func(a *geo.Answer) { a.Domain = found }), found, "company", true},
		"the announcer's own":      {Config{}, unknown, "somenetworks.de", "unclassified", true},
		"the announcer's spelling": {Config{}, unknown, "some-net.de", "unclassified", true},
		"a record's person":        {Config{}, record(geo.Company{Name: "Jan Jansen", Key: "org:jan-jansen", Person: true}), "jansenadvies.nl", "unclassified", false},
		"a record's provider":      {Config{}, record(geo.Company{Name: "KPN", Key: "org:kpn", Provider: true}), found, "unclassified", false},
		"a record's other name":    {Config{}, record(geo.Company{Name: "Iemand Anders B.V.", Key: "org:iemand-anders"}), found, "unclassified", true},
		"a record's same name":     {Config{}, record(geo.Company{Name: "Gevonden B.V.", Key: "org:gevonden"}), found, "company", true},
		"an unknown provider":      {Config{}, record(geo.Company{Name: "Lokaal Net", Key: "org:lokaal-net", Provider: true}), found, "company", true},
		"an unknown provider's":    {Config{}, record(geo.Company{Name: "Gevonden B.V.", Key: "org:gevonden", Provider: true}), found, "unclassified", true},
		"its spelling":             {Config{}, record(geo.Company{Name: "Lokaal Net", Key: "org:lokaal-net", Provider: true}), "lokaalglas.nl", "unclassified", true},
		"its domain":               {Config{}, record(geo.Company{Name: "Lokaal Net", Domain: found, Key: "org:lokaal-net", Provider: true}), found, "unclassified", true},
		"a person's domain":        {Config{}, unknown, "jan-jansen.nl", "unclassified", true},
		"a business of one's name": {Config{}, unknown, "jan-jansen-bv.nl", "company", true},
		"an access provider's":     {Config{}, unknown, "kpn.net", "unclassified", true},
		"a provider by name":       {Config{}, unknown, "ziggo.com", "unclassified", true},
		"a hoster's":               {Config{}, unknown, "your-server.de", "unclassified", true},
		"a hoster by name":         {Config{}, unknown, "hetzner.cloud", "unclassified", true},
		"a higher bar":             {Config{ShowAt: 0.7}, unknown, found, "unclassified", false},
		"suppressed network":       {Config{Suppressions: []Suppression{{Prefix: netip.MustParsePrefix("20.0.4.0/29")}}}, unknown, found, "suppressed", false},
		"suppressed domain":        {Config{Suppressions: []Suppression{{List: ListOptOut, Domain: found}}}, unknown, found, "suppressed", true},
		"a tenant's own domain":    {Config{Suppressions: []Suppression{{List: ListTenant, CompanyID: "cmp_a", Domain: found}}}, unknown, found, "suppressed", true},
		"another tenant's domain":  {Config{Suppressions: []Suppression{{List: ListTenant, CompanyID: "cmp_b", Domain: found}}}, unknown, found, "company", true},
		"operator's row":           {Config{Rows: readRows(t, "20.0.4.0/24,Iemand B.V.,,,list\n")}, unknown, found, "unclassified", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			asked := false
			var r metivav1.Resolution
			q := Query{CompanyID: "cmp_a", Network: netip.MustParsePrefix("20.0.4.0/24"), Answer: c.answer}
			q.Reverse = ReverseFunc(func(netip.Prefix) string { asked = true; return c.domain })
			chain(t, c.cfg).Resolve(&r, q)
			if got := schemas.Label(r.GetVerdict()); got != c.verdict || asked != c.asked {
				t.Errorf("%s, asked %v: %v", got, asked, &r)
			}
			if named := r.GetSource() == SourceReverseDNS; named != (c.verdict == "company" && c.asked) || named && r.GetAccountId() != c.domain {
				t.Errorf("by %s: %v", r.GetSource(), &r)
			}
			q.Reverse = nil
			chain(t, c.cfg).Resolve(&r, q)
			if r.GetSource() == SourceReverseDNS {
				t.Error("named while it is off")
			}
		})
	}
}

func TestSuppressedDomains(t *testing.T) {
	t.Parallel()
	list, err := ReadSuppressions(strings.NewReader("Example.ORG opt_out\nvoorbeeld.nl, cmp_a\n20.0.4.0/24\n"))
	if err != nil || len(list) != 3 || list[0].Domain != "example.org" || list[1].Domain != "voorbeeld.nl" || list[1].CompanyID != "cmp_a" || list[2].Domain != "" {
		t.Fatalf("%+v, %v", list, err)
	}
	for _, bad := range []string{"www.example.org", "com", "exa mple.org x"} {
		if _, err := ReadSuppressions(strings.NewReader(bad)); err == nil || strings.Contains(err.Error(), "example") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	var r metivav1.Resolution
	c := chain(t, Config{Suppressions: []Suppression{{Domain: "ing.nl"}}})
	c.Resolve(&r, Query{Network: netip.MustParsePrefix("145.221.10.0/24"), Answer: geo.Answer{Outcome: geo.OutcomeFound, ASN: 15625, OrganizationKey: "ing-bank"}})
	if r.GetVerdict() != metivav1.Verdict_VERDICT_SUPPRESSED || r.GetSource() != SourceSuppressed || r.GetName()+r.GetDomain()+r.GetAccountId() != "" || r.GetAsn() != 0 {
		t.Errorf("a company whose domain is suppressed: %v", &r)
	}
}
