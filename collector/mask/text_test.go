package mask

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/metiva-io/metiva/schemas"
)

func TestText(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                                       "",
		"Pro":                                    "Pro",
		"Brochure zorg 2026, deel 2":             "Brochure zorg 2026, deel 2",
		"12.50":                                  "12.50",
		"true":                                   "true",
		"20261122":                               "20261122",
		"café €5":                                "café €5",
		"50% off":                                "50% off",
		"a\x00b\u200bc\u202e":                    "abc",
		"jan@mail.nl":                            ":email",
		"vraag van jan@mail.nl":                  ":email",
		"jan%40mail.nl":                          ":email",
		"jan\u200b@\u200bmail.nl":                ":email",
		"bsn 123456782":                          ":number",
		"0612345678":                             ":number",
		"+31 6 12 34 56 78":                      ":number",
		"4111 1111 1111 1111":                    ":number",
		"NL91 ABNA 0417 1643 00":                 ":iban",
		"145.221.173.91":                         ":number",
		"2001:db8::1":                            ":number",
		"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.x": ":token",
		"8f14e45f-ceea-467f-9575-1d2e3f405162":   ":token",
		"https://x.nl/?email=jan":                ":value",
		"１２３４５６７８２":                              ":number",
		strings.Repeat("a ", 200) + "jan@mail.nl": ":email", // beyond the cut
		strings.Repeat("é ", 200):                 strings.Repeat("é ", 85) + "",
	} {
		var text Text
		if got := string(text.Append([]byte("x"), []byte(in), 256)); got != "x"+want {
			t.Errorf("%q is kept as %q, want %q", in, got, "x"+want)
		}
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"price.calculated": "price.calculated", "contact-form_2": "contact-form_2", "order-123456782": "masked", "form-8f14e45f-ceea-467f-9575-1d2e3f405162": "masked",
		"NL91ABNA0417164300": "masked", "wpforms-form-1234": "wpforms-form-1234",
	} {
		var text Text
		if got := string(text.AppendName(nil, []byte(in))); got != want || !schemas.IsName(got) {
			t.Errorf("%q is kept as %q, want %q", in, got, want)
		}
	}
}

func TestTargets(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"https://Shop.Example.org/a/b?c=d#e":                    "shop.example.org /a/b",
		"http://example.org":                                    "example.org /",
		"https://jan:geheim@example.org:8443/":                  "example.org /",
		"https://files.example.org/price%20list.pdf?token=x":    "files.example.org /price%20list.pdf",
		"https://files.example.org/jan%40mail.nl/cv.pdf":        "files.example.org /:email/cv.pdf",
		"https://files.example.org/123456782.pdf":               "files.example.org /:number",
		"https://8f14e45fceea467f95751d2e3f405162.example.org/": "masked.example.org /",
		"https://145.221.173.91/x":                              "masked /x",
		"https://[2001:db8::1]/x":                               "masked /x",
		"https://145-221-173-91.example.net/":                   "masked.example.net /",
	} {
		var target Target
		for _, withPath := range []bool{true, false} {
			host, path, _ := strings.Cut(want, " ")
			if !withPath {
				path = ""
			}
			if err := target.Reduce([]byte(in), withPath); err != nil || string(target.Host) != host || string(target.Path) != path {
				t.Errorf("%q is kept as %q %q, %v, want %q %q", in, target.Host, target.Path, err, host, path)
			}
		}
	}
	for _, in := range []string{
		"", "/a.pdf", "a.pdf", "//example.org/", "mailto:jan@mail.nl", "tel:+31612345678", "javascript:alert(1)", "data:text/plain,jan", "ftp://example.org/", "file:///etc/passwd",
		"android-app://org.example", "https://", "https://a b/", "https://exa mple.org/", "https://example.org/\x00", "blob:https://example.org/1", "https://" + strings.Repeat("a", 5000),
	} {
		var target Target
		if err := target.Reduce([]byte(in), true); err == nil {
			t.Errorf("%.60q is a target: %q %q", in, target.Host, target.Path)
		}
	}
}

func FuzzText(f *testing.F) {
	f.Add([]byte("Brochure jan%40mail.nl \u200b"), 8)
	f.Add([]byte("https://files.example.org/a%2Fb;c?d#e"), 64)
	f.Fuzz(func(t *testing.T, in []byte, bytesMax int) {
		bytesMax = 8 + int(uint8(bytesMax)) // no shorter than a placeholder
		var text Text
		out := text.Append(nil, in, bytesMax)
		if len(out) > bytesMax || !utf8.Valid(out) {
			t.Fatalf("%q is kept as %q", in, out)
		}
		for _, r := range string(out) {
			if r < ' ' {
				t.Fatalf("%q is kept as %q", in, out)
			}
		}
		if name := text.AppendName(nil, in); schemas.IsName(in) && (!schemas.IsName(name) || len(name) > max(len(in), len(maskedName))) {
			t.Fatalf("the name %q is kept as %q", in, name)
		}
		var target Target
		if target.Reduce(in, true) != nil {
			return
		}
		if len(target.Host) == 0 || len(target.Host) > schemas.HostBytesMax || len(target.Path) > schemas.TargetPathBytesMax ||
			target.Path[0] != '/' || strings.ContainsAny(string(target.Path), "?#") || strings.ContainsAny(string(target.Host), "@/?#: ") {
			t.Fatalf("%q is kept as %q %q", in, target.Host, target.Path)
		}
	})
}
