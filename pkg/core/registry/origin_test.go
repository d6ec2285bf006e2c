package registry_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/metiva-io/metiva/pkg/core/registry"
)

func TestCanonicalOrigin(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"https://example.com":         "https://example.com",
		" HTTPS://Example.COM/ ":      "https://example.com",
		"https://example.com:443":     "https://example.com",
		"http://example.com:80":       "http://example.com",
		"http://example.com:443":      "http://example.com:443",
		"https://example.com:08443":   "https://example.com:8443",
		"https://bücher.example":      "https://xn--bcher-kva.example",
		"https://BÜCHER.example":      "https://xn--bcher-kva.example",
		"http://localhost:3000":       "http://localhost:3000",
		"http://127.0.0.1:3000":       "http://127.0.0.1:3000",
		"http://[::1]:3000":           "http://[::1]:3000",
		"http://[2001:DB8:0:0::1]":    "http://[2001:db8::1]",
		"":                            "",
		"null":                        "",
		"*":                           "",
		"example.com":                 "",
		"//example.com":               "",
		"https://":                    "",
		"https:example.com":           "",
		"https:///example.com":        "",
		"ftp://example.com":           "",
		"javascript://example.com":    "",
		"https://*.example.com":       "",
		"https://example.com/path":    "",
		"https://example.com?":        "",
		"https://example.com/?q=1":    "",
		"https://example.com#":        "",
		"https://example.com#x":       "",
		"https://user@example.com":    "",
		"https://user:pw@example.com": "",
		"https://example.com:":        "",
		"https://example.com:0":       "",
		"https://example.com:65536":   "",
		"https://example.com:8o":      "",
		"https://exa mple.com":        "",
		"https://example.com\x00":     "",
		"https://-example.com":        "",
		"https://example..com":        "",
		"https://example.com.":        "",
		"https://1.2.3":               "",
		"https://0x7f.1":              "",
		"https://[::ffff:1.2.3.4]":    "",
		"https://[fe80::1%25eth0]":    "",
		"https://[example.com]":       "",
		"https://" + strings.Repeat("a.", 150) + "example": "",
		"https://" + strings.Repeat("a", 64) + ".example":  "",
	} {
		got, err := registry.CanonicalOrigin(in)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: got %q, %v, want %q", in, got, err, want)
		}
	}
}

func FuzzCanonicalOrigin(f *testing.F) {
	for _, s := range []string{"https://example.com", "HTTP://[::1]:80/", "https://bücher.example:8443", "null", "https://a@b", "https://1.2.3.4:5"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		got, err := registry.CanonicalOrigin(in)
		if err != nil {
			if got != "" {
				t.Fatalf("%q with an error", got)
			}
			return
		}
		again, err := registry.CanonicalOrigin(got)
		if err != nil || again != got {
			t.Fatalf("%q became %q, then %q (%v)", in, got, again, err)
		}
		u, err := url.Parse(got)
		if err != nil || u.Scheme+"://"+u.Host != got || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
			t.Fatalf("%q became %q, which is more than an origin (%v)", in, got, err)
		}
		if strings.ToLower(got) != got || len(got) > 300 {
			t.Fatalf("%q became %q", in, got)
		}
		for _, r := range got {
			if r <= ' ' || r > '~' {
				t.Fatalf("%q became %q", in, got)
			}
		}
	})
}
