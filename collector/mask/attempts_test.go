package mask

import (
	"net/url"
	"strings"
	"testing"
)

// TestAttempts: ways of writing what is personal so that it looks like something
// else, in a text, as a campaign value, and as part of a path.
func TestAttempts(t *testing.T) {
	t.Parallel()
	for _, personal := range []string{
		// digits with something nobody sees, or no digit of a script
		"1\ufe0f\u20e32\ufe0f\u20e33\ufe0f\u20e34\ufe0f\u20e35\ufe0f\u20e36\ufe0f\u20e37\ufe0f\u20e38\ufe0f\u20e32\ufe0f\u20e3", // keycaps
		"111\u034f222\u034f333", "111\u2028222\u2029333", "111\u3164222\u3164333", "1\u03012\u03013\u03014\u03015\u03016\u03017\u03018\u03012\u0301",
		"①②③④⑤⑥⑦⑧②", "¹²³⁴⁵⁶⁷⁸²", "₁₂₃₄₅₆₇₈₂", "𝟏𝟐𝟑𝟒𝟓𝟔𝟕𝟖𝟐", "❶❷❸❹❺❻❼❽❷", "⒈⒉⒊⒋⒌⒍⒎⒏⒉",
		// separators
		"123·456·782", "123•456•782", "123’456’782", "123|456|782", "123:456-782", "123*456*782", "123~456~782", "123_456_782", "123'456'782", "123⁄456⁄782", "123、456、782",
		"[123][456][782]", "{123}{456}{782}", "123\\456\\782", "123\"456\"782", "123!456!782", "123,456·782", "1.2.3.4.5.6.7.8.2", "123\u0660456782",
		"123\t456\t782", "06 12\u00a034—56.78", "+31(0)6-12 34 56 78", "(06) - 12345678",
		"NL91·ABNA·0417·1643·00", "NL91:ABNA:0417:1643:00", "NL91/ABNA/0417/1643/00", "ＮＬ９１ＡＢＮＡ０４１７１６４３００", "nl91\u2028abna\u20280417164300",
		"4111:1111:1111:1111", "4111|1111|1111|1111", "4111·1111·1111·1111",
		// e-mail
		"jan\ufe6bmail.nl", "jan\uff20mail.nl", "jan\U000e0040@mail.nl", "jan\u200d@\u200dmail.nl", "jan\u3164@mail.nl", "jan&#64;mail.nl", "jan&#x40;mail.nl", "jan&commat;mail.nl", "jan%u0040mail.nl", "jan\\u0040mail.nl", "jan=40mail.nl", "jan(at)mail.nl", "jan [at] mail.nl", "jan{at}mail.nl", "jan%2640mail.nl@x",
		"\"jan jansen\"@mail.nl", "jan@ [mail.nl]", "<jan@mail.nl>", "jan@münchen.de", "пётр@почта.рф", "jan@mail。nl",
		"amFuQG1haWwubmw=", "amFuQG1haWwubmw", "amFuLmphbnNlbkBtYWlsLm5s",
		// tokens
		"8f14e45f_ceea_467f_9575_1d2e3f405162", "8f14e45f.ceea.467f.9575.1d2e3f405162", "8f14e45f ceea 467f 9575 1d2e3f405162", "8f:14:e4:5f:ce:ea:46:7f", "5f4dcc3b5aa765d6\u200b1d8327deb882cf99",
		"145。221。173。91", "145．221．173．91", "145,221,173,91", "fe80--1ff-fe23-4567-890a.ipv6-literal.net", "[2001:db8::1]",
	} {
		var text Text
		if got := string(text.Append(nil, []byte(personal), 256)); got == "" || got[0] != ':' {
			t.Errorf("the text %q is kept as %q", personal, got)
		}
		var p Page
		escaped := url.PathEscape(personal)
		if err := p.Reduce([]byte("https://example.nl/a/" + escaped + "/b?utm_campaign=" + url.QueryEscape(personal))); err != nil {
			t.Fatal(personal, err)
		}
		if path := string(p.Path); !strings.HasPrefix(path, "/a/:") || len(path) > len("/a/:number/b") {
			t.Errorf("the path %q is kept as %q", escaped, path)
		}
		if p.Campaign[0] != ':' {
			t.Errorf("the campaign %q is kept as %q", personal, p.Campaign)
		}
	}
	for _, plain := range []string{
		"Sale (at home)", "[Attribution] model", "12:30 - 13:30", "€ 12,50 | € 15,00", "iPhone 15 Pro (256 GB)", "Prijs: 1.250,00", "maat 42½", "25 m²", "A&B",
		"Onderhoudscontract-verlengen", "abonnementsvoorwaarden", "QmxvZw==", "C++ & C#", "2026/11/22", "x² + y²", "100% (excl. btw)", "Newsletter", "documentatie_handleiding_2026",
	} {
		var text Text
		if got := string(text.Append(nil, []byte(plain), 256)); got != plain {
			t.Errorf("%q is kept as %q", plain, got)
		}
	}
}

func TestLookingDoesNotAllocate(t *testing.T) {
	var d decoder
	var text Text
	out := make([]byte, 0, 256)
	for _, in := range []string{"diensten-en-producten", "pagina%20met%20spaties", "amFuIGphbnNlbiBpcyBlciBuaWV0", "(at) huis & tuin", "caf\u00e9 12·30"} {
		if n := testing.AllocsPerRun(100, func() {
			out = d.appendPath(out[:0], []byte(in)[:len(in):len(in)])
			out = text.Append(out[:0], []byte(in), 200)
		}); n > 0 {
			t.Errorf("%q costs %v allocations", in, n)
		}
	}
}
