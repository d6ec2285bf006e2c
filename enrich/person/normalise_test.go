package person

import (
	"bytes"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/metiva-io/metiva/schemas"
)

const refused = "-"

func TestEmail(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 63)
	for in, want := range map[string]string{
		"jan@example.nl":                        "jan@example.nl",
		" Jan.de.Vries@Example.NL ":             "Jan.de.Vries@example.nl",
		"jan+nieuws@example.nl":                 "jan+nieuws@example.nl",
		"JAN@MAIL.EXAMPLE.CO.UK":                "JAN@mail.example.co.uk",
		"o'neill@example.ie":                    "o'neill@example.ie",
		"jan@bücher.example":                    "jan@xn--bcher-kva.example",
		"jan@BÜCHER.example":                    "jan@xn--bcher-kva.example",
		"jan@xn--BCHER-kva.example":             "jan@xn--bcher-kva.example",
		"jan@straße.example":                    "jan@xn--strae-oqa.example",
		"jan@ｅｘａｍｐｌｅ.nl":                        "jan@example.nl",
		"用户@例子.中国":                              "用户@xn--fsqu00a.xn--fiqs8s",
		"josé@example.nl":                       "josé@example.nl",
		"\u00a0jan@example.nl\u2003":            "jan@example.nl",
		strings.Repeat("a", 64) + "@b.nl":       strings.Repeat("a", 64) + "@b.nl",
		"a@" + long + "." + long + ".nl":        "a@" + long + "." + long + ".nl",
		strings.Repeat("a", 65) + "@b.nl":       refused,
		"a@" + long + "a.nl":                    refused,
		"a@" + strings.Repeat("a.", 126) + "nl": refused,
		"":                                      refused,
		"jan":                                   refused,
		"@example.nl":                           refused,
		"jan@":                                  refused,
		"jan@localhost":                         refused,
		"jan@example.nl.":                       refused,
		"jan@.example.nl":                       refused,
		"jan@example..nl":                       refused,
		"jan@-example.nl":                       refused,
		"jan@example-.nl":                       refused,
		"jan@exa_mple.nl":                       refused,
		"jan@192.0.2.1":                         refused,
		"jan@[192.0.2.1]":                       refused,
		".jan@example.nl":                       refused,
		"jan.@example.nl":                       refused,
		"jan..v@example.nl":                     refused,
		"jan v@example.nl":                      refused,
		`"jan"@example.nl`:                      refused,
		"a@b@example.nl":                        refused,
		"jan\x00@example.nl":                    refused,
		"jan\u202e@b.nl":                        refused,
		"jan\xff@example.nl":                    refused,
		"jan@exa\xffmple.nl":                    refused,
		"jan@a\u200b.nl\u200b\u200b.":           refused,
		"<jan@example.nl>":                      refused,
		"jan@example.nl, piet@example.nl":       refused,
	} {
		got, ok := AppendEmail([]byte("dst:"), []byte(in))
		if text := strings.TrimPrefix(string(got), "dst:"); ok != (want != refused) || ok && text != want || !ok && text != "" {
			t.Errorf("%q: %q %t, want %q", in, text, ok, want)
		}
	}
}

func TestPhone(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ region, in, want string }{
		{"NL", "06 12345678", "+31612345678"},
		{"NL", "06-12 34 56 78", "+31612345678"},
		{"NL", "(020) 123 45 67", "+31201234567"},
		{"NL", "+31 (0)6 12345678", "+31612345678"},
		{"NL", "+31 06 12345678", "+31612345678"},
		{"NL", "+31612345678", "+31612345678"},
		{"NL", "0031 6 12 34 56 78", "+31612345678"},
		{"NL", "0031(0)201234567", "+31201234567"},
		{"NL", "+32 (0)2 555 12 12", "+3225551212"},
		{"NL", "+39 06 1234567", "+39061234567"},
		{"NL", "+1 (212) 555-0100", "+12125550100"},
		{"BE", "0475 12 34 56", "+32475123456"},
		{"BE", "02/555.12.12", "+3225551212"},
		{"BE", "0031 6 12345678", "+31612345678"},
		{"NL", "0475 12 34 5", refused},
		{"NL", "612345678", refused},
		{"NL", "020-1234567/8", refused},
		{"NL", "00 12", refused},
		{"NL", "000612345678", refused},
		{"NL", "+0612345678", refused},
		{"NL", "+31 00612345678", refused},
		{"NL", "+31 0", refused},
		{"NL", "++31612345678", refused},
		{"NL", "06+12345678", refused},
		{"NL", "+1234567890123456", refused},
		{"NL", "06 12345678 toestel 3", refused},
		{"NL", "12345678901234567890123", refused},
		{"NL", "", refused},
		{"NL", "+", refused},
		{"NL", "٠٦١٢٣٤٥٦٧٨", refused},
		{"BE", "06 12345678", refused},
		{"BE", "04 12 34 56 7", refused},
		{"DE", "030 1234567", refused},
		{"", "0612345678", refused},
		{"DE", "+49 (0)30 1234567", "+49301234567"},
	} {
		got, ok := AppendPhone([]byte("dst:"), []byte(c.in), c.region)
		if text := strings.TrimPrefix(string(got), "dst:"); ok != (c.want != refused) || ok && text != c.want || !ok && text != "" {
			t.Errorf("%s %q: %q %t, want %q", c.region, c.in, text, ok, c.want)
		}
	}
}

func TestLine(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"Jan de Vries":                   "Jan de Vries",
		"  Jan \t de\n\u00a0Vries\u3000": "Jan de Vries",
		"Jose\u0301":                     "José",
		"\ufb01":                         "\ufb01", // NFC keeps what NFKC would change
		"van der \u202eA\u202c\u200b":    "van der A",
		"\ufeffJan\x00\x07":              "Jan",
		"Jan\xff\xfe Vries":              "Jan Vries",
		"नमस\u200dत":                     "नमस\u200dत",
		"\u200b \u00ad":                  "",
		"McDONALD":                       "McDONALD",
		"\u212b":                         "Å",
	} {
		got, cut := AppendLine([]byte("dst:"), []byte(in), nil)
		if text := strings.TrimPrefix(string(got), "dst:"); text != want || cut {
			t.Errorf("%q: %q %t, want %q", in, text, cut, want)
		}
	}
	for in, want := range map[string]string{
		strings.Repeat("a", 300):                         strings.Repeat("a", 256),
		strings.Repeat("a", 255) + "é":                   strings.Repeat("a", 255),
		strings.Repeat("a", 255) + " b":                  strings.Repeat("a", 255),
		strings.Repeat("a", 254) + "x\u0323\u0302\u0301": strings.Repeat("a", 254),
	} {
		if got, cut := AppendLine(nil, []byte(in), nil); string(got) != want || !cut {
			t.Errorf("%d bytes: %q %t, want %q", len(in), got, cut, want)
		}
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"een\r\ntwee\rdrie\nvier\tvijf": "een\ntwee\ndrie\nvier\tvijf",
		"\n\n  hallo  \n":               "hallo",
		"a  b":                          "a  b",
		"e\u0301\x00\x1b[31m\u202e":     "é[31m",
		"\xffx":                         "x",
	} {
		if got, cut := AppendText(nil, []byte(in), nil); string(got) != want || cut {
			t.Errorf("%q: %q %t, want %q", in, got, cut, want)
		}
	}
	long := strings.Repeat("\u0958", schemas.FormFieldBytesMax/3) // longer in NFC
	if got, cut := AppendText(nil, []byte(long), nil); !cut || len(got) > schemas.FormFieldBytesMax || !utf8.Valid(got) {
		t.Errorf("%d bytes became %d, cut %t", len(long), len(got), cut)
	}
}

func FuzzEmail(f *testing.F) {
	for _, s := range []string{"jan@example.nl", "Jan+x@BÜCHER.example", "用户@例子.中国", "a@b", "\"a\"@b.nl", "a@xn--a.nl", "a@ß.nl\u3002x"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		once, ok := AppendEmail(nil, in)
		if !ok {
			if len(once) != 0 {
				t.Fatalf("%q left %q", in, once)
			}
			return
		}
		twice, ok := AppendEmail(nil, once)
		if !ok || !bytes.Equal(once, twice) {
			t.Fatalf("%q: %q, then %q %t", in, once, twice, ok)
		}
		local, _, _ := bytes.Cut(bytes.TrimSpace(in), []byte("@"))
		domain := domainOf(once)
		if len(once) > emailBytesMax || !bytes.HasPrefix(once, append(local, '@')) || bytes.IndexFunc(domain, func(r rune) bool { return r > unicode.MaxASCII || unicode.IsUpper(r) }) >= 0 {
			t.Fatalf("%q: %q", in, once)
		}
	})
}

func FuzzPhone(f *testing.F) {
	for _, s := range []string{"06 12345678", "+31 (0)6 12345678", "0031612345678", "+39 06 1", "(0)(0)+", "00(0)31"} {
		f.Add([]byte(s), "NL")
		f.Add([]byte(s), "BE")
	}
	f.Fuzz(func(t *testing.T, in []byte, region string) {
		once, ok := AppendPhone(nil, in, region)
		if !ok {
			if len(once) != 0 {
				t.Fatalf("%q left %q", in, once)
			}
			return
		}
		if len(once) < phoneDigitsMin+1 || len(once) > phoneDigitsMax+1 || once[0] != '+' || once[1] == '0' || bytes.ContainsFunc(once[1:], func(r rune) bool { return r < '0' || r > '9' }) {
			t.Fatalf("%q: %q", in, once)
		}
		for _, other := range []string{"", regionNL, regionBE} {
			if twice, ok := AppendPhone(nil, once, other); !ok || !bytes.Equal(once, twice) {
				t.Fatalf("%q: %q, then %q %t", in, once, twice, ok)
			}
		}
	})
}

func FuzzName(f *testing.F) {
	for _, s := range []string{"Jan de Vries", "Jose\u0301", " \u200d ", "\xff\u0301", strings.Repeat("\u0344", 90), strings.Repeat("a\u0301", 200), "a\r\n\rb"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) > schemas.FormFieldBytesMax {
			return
		}
		for name, c := range map[string]struct {
			bytesMax int
			do       func(dst, value, temp []byte) ([]byte, bool)
		}{"line": {lineBytesMax, AppendLine}, "text": {schemas.FormFieldBytesMax, AppendText}} {
			once, _ := c.do(nil, in, nil)
			twice, cut := c.do(nil, once, nil)
			if cut || !bytes.Equal(once, twice) {
				t.Fatalf("%s %q: %q, then %q %t", name, in, once, twice, cut)
			}
			if len(once) > c.bytesMax || !utf8.Valid(once) || !norm.NFC.IsNormal(once) || !bytes.Equal(once, bytes.TrimSpace(once)) {
				t.Fatalf("%s %q: %q", name, in, once)
			}
			// What grows fits the memory it is given: none of it is left behind.
			memory, temp := make([]byte, 0, nfcGrowthMax*schemas.FormFieldBytesMax), make([]byte, 0, schemas.FormFieldBytesMax)
			if out, _ := c.do(memory, in, temp); len(out) > 0 && &out[0] != &memory[:1][0] {
				t.Fatalf("%s of %d bytes outgrew its memory", name, len(in))
			}
		}
	})
}

func TestMailServices(t *testing.T) {
	t.Parallel()
	m, err := NewMailServices()
	if err != nil {
		t.Fatal(err)
	}
	if len(m.domains) < 14_000 {
		t.Errorf("%d domains", len(m.domains))
	}
	for _, domain := range []string{
		"gmail.com", "hotmail.nl", "outlook.com", "ziggo.nl", "kpnmail.nl", "planet.nl", "xs4all.nl", "hccnet.nl", "telenet.be", "proximus.be",
		"t-online.de", "web.de", "gmx.de", "icloud.com", "privaterelay.appleid.com", "proton.me", "tutanota.com", "mail.ziggo.nl", "yopmail.com",
		"ziggomail.com", "hetnet.nl", "home.nl", "chello.nl", "caiway.nl", "zeelandnet.nl", "lijbrandt.nl", "tiscali.nl", "vodafone.de", "zohomail.eu",
	} {
		if !m.Has([]byte(domain)) {
			t.Errorf("%s is not known as a mail service", domain)
		}
	}
	for _, domain := range []string{"ing.nl", "asml.com", "rabobank.nl", "uva.nl", "rijksoverheid.nl", "example.nl", "notgmail.com", "com", "nl", ""} {
		if m.Has([]byte(domain)) {
			t.Errorf("%s is taken for a mail service", domain)
		}
	}
}
