package orgname_test

import (
	"strings"
	"testing"

	"github.com/metiva-io/metiva/enrich/orgname"
)

func TestLooksLikePerson(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		"Stef Herman Anton Wolters trading as MC-Node": true,
		"Valentino de Vries trading as DirectNode":     true,
		"Jori Vanneste":    true,
		"Job Snijders":     true,
		"Uwe Zeidler":      true,
		"Max Müller e.K.":  true,
		"Fabien Schenkels": true,
		"Jan de Nul N.V.":  false,
		"Bart":             false,
		"Mark Media Group": false,
		"ING Bank N.V.":    false,
		"Deutsche Telekom": false,
		"":                 false,
		"Max-Planck-Gesellschaft zur Forderung der Wissenschaften e.V.":           false,
		"MK Netzdienste Verwaltungs GmbH trading as MK Netzdienste GmbH & Co. KG": false,
		"Computacenter Management GmbH trading as Computacenter AG & Co.oHG":      false,
		"Stichting Sint Jan":     false,
		"Jan Jansen Consultancy": true, "Jansen Consultancy": false, "Jan Jansen Consultancy B.V.": false, "Fatima El Amrani": true,
		"J. de Vries": true, "P.J.M. Bakker": true, "J Jansen": true, "Dhr. Bakker": true, "Familie Peters": true, "Jansen, Jan": true, "Jansen, J.P.": true,
		"Noa van Dijk": true, "Van der Valk": false, "Van Oord": false, "E.ON Digital": false, "S.W.I.F.T. SC": false, "ING Groep": false, "ING Belgium": false,
		"Rotterdam, Port Authority": false, "Universität Leipzig, Jan": false, "Mark Solutions": false, "C. Steinweg N.V.": false, "Bakker & Zonen": false,
	} {
		if got := orgname.LooksLikePerson(name); got != want {
			t.Errorf("%q: got %t", name, got)
		}
	}
}

func TestRegistrable(t *testing.T) {
	t.Parallel()
	for domain, want := range map[string]string{
		"ing.nl": "ing.nl", "WWW.ING.nl.": "ing.nl", " a.b.example.co.uk ": "example.co.uk", "xn--bcher-kva.de": "xn--bcher-kva.de",
		"com": "", "co.uk": "", "": "", "localhost": "", "10.1.2.3": "", "a..nl": "", "-a.nl": "", "a b.nl": "", "ing.nl/x": "",
		"é.nl": "", strings.Repeat("a.", 200) + "nl": "", strings.Repeat("a", 64) + ".nl": "",
	} {
		if got := orgname.Registrable(domain); got != want {
			t.Errorf("%q: got %q, want %q", domain, got, want)
		}
	}
}

func TestKey(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"ING Bank N.V.": "ing-bank", "ING BANK NV": "ing-bank", "Müller & Söhne GmbH & Co. KG": "muller-sohne",
		"Société Générale S.A.": "societe-generale", "Groß AG": "gross", "B.V.": "bv", "": "", "日本": "",
		"d'Ieteren NV": "dieteren", "Cafe\u0301 BV": "cafe",
	} {
		if got := orgname.Key(name); got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
	if long := orgname.Key(strings.Repeat("lang ", 100)); len(long) > 80 || strings.HasSuffix(long, "-") {
		t.Errorf("%d bytes: %q", len(long), long)
	}
	if !orgname.Same("ING Bank N.V.", "ing bank nv") || orgname.Same("ING", "ABN") || orgname.Same("日本", "中国") {
		t.Error("two names compared wrongly")
	}
}

func TestRelated(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		a, b string
		want bool
	}{
		{"ING Bank N.V.", "ING Groep", true},
		{"Exxon Mobil Corporation", "ExxonMobil", true},
		{"NS Groep N.V.", "NS Reizigers", true},
		{"Gemeente Gouda", "Gouda", true},
		{"Gemeente Gouda", "Gemeente Leeuwarden", false},
		{"Deutsche Bank AG", "Deutsche Telekom AG", false},
		{"Deutsche Bank AG", "Deutsche Bank Aktiengesellschaft", true},
		{"Deutsche", "Deutsche Bank", false},
		{"ING Bank N.V.", "Some Hoster B.V.", false},
		{"NS Groep N.V.", "Hansa Telecom", false},
		{"", "ING", false},
	} {
		if got := orgname.Related(orgname.Key(row.a), orgname.Key(row.b)); got != row.want {
			t.Errorf("%q and %q: got %t", row.a, row.b, got)
		}
	}
}

func TestOwnDomain(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, domain string
		want         bool
	}{
		{"Bakkerij Jansen B.V.", "jansen.nl", true},
		{"Bakkerij Jansen B.V.", "www.bakkerij-jansen.nl", true},
		{"Bakkerij Jansen B.V.", "bakkerijjansen.nl", true},
		{"Booking.com BV", "booking.com", true},
		{"Vrije Universiteit Brussel", "vub.be", true},
		{"ING Bank N.V.", "ing.nl", true},
		{"Acme Holding B.V.", "ing.nl", false},
		{"Bakkerij Jansen B.V.", "kpn.net", false},
		{"Bakkerij Jansen B.V.", "glasvezel.net", false},
		{"Bakkerij Jansen B.V.", "jan.nl", false},
		{"Bakkerij Jansen B.V.", "bj.nl", false},
		{"", "jansen.nl", false},
		{"Jansen", "", false},
	} {
		if got := orgname.OwnDomain(row.name, row.domain); got != row.want {
			t.Errorf("%q and %q: got %t", row.name, row.domain, got)
		}
	}
}

// FuzzNames: no name or domain of a database is worse than unknown.
func FuzzNames(f *testing.F) {
	for _, seed := range []string{"ING Bank N.V.", "a.b.co.uk", "\xff.nl", "Jan  trading as ", "Ⅷ", "..", "-"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		orgname.LooksLikePerson(text)
		key := orgname.Key(text)
		if strings.Trim(key, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || orgname.Key(key) != orgname.Key(orgname.Key(key)) {
			t.Errorf("key %q of %q", key, text)
		}
		domain := orgname.Registrable(text)
		if domain != "" && orgname.Registrable(domain) != domain {
			t.Errorf("domain %q of %q", domain, text)
		}
		orgname.OwnDomain(text, text)
	})
}
