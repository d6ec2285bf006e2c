package mask

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/metiva-io/metiva/schemas"
)

func TestReduce(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string][6]string{
		"https://www.example.nl/":                        {"https://www.example.nl", "www.example.nl", "/"},
		"https://WWW.Example.NL":                         {"https://www.example.nl", "www.example.nl", "/"},
		"HTTPS://example.nl:443/a/b/?x=1#y":              {"https://example.nl", "example.nl", "/a/b/"},
		"http://example.nl:80/":                          {"http://example.nl", "example.nl", "/"},
		"http://example.nl:8443/a":                       {"http://example.nl:8443", "example.nl", "/a"},
		"https://jan:geheim@example.nl/a":                {"https://example.nl", "example.nl", "/a"},
		"https://example.nl?utm_source=x":                {"https://example.nl", "example.nl", "/", "x"},
		"http://127.0.0.1:8080/demo":                     {"http://127.0.0.1:8080", "127.0.0.1", "/demo"},
		"http://[::1]:80/demo":                           {"http://[::1]", "[::1]", "/demo"},
		"https://example.nl/a;jsessionid=8A7F/b":         {"https://example.nl", "example.nl", "/a/b"},
		"https://example.nl/a?gclid=1&utm_medium=cpc":    {"https://example.nl", "example.nl", "/a", "", "cpc"},
		"https://example.nl/?utm_campaign=lente%20actie": {"https://example.nl", "example.nl", "/", "", "", "lente actie"},
		"https://example.nl/?utm_source=a&utm_source=b":  {"https://example.nl", "example.nl", "/", "a"},
		"https://example.nl/?utm_source=jan%40mail.nl&utm_medium=e+mail&utm_campaign=0612345678": {
			"https://example.nl", "example.nl", "/", ":email", "e mail", ":number",
		},
		"https://example.nl/?utm_source=jan%01%40mail.nl&utm_medium=0612%00345678&utm_campaign=%E2%80%AEnews%C2%85": {
			"https://example.nl", "example.nl", "/", ":email", ":number", "news",
		},
		"https://example.nl/?utm_term=jan&utm_content=jan&x=jan": {"https://example.nl", "example.nl", "/"},
	} {
		var p Page
		if err := p.Reduce([]byte(raw)); err != nil {
			t.Errorf("%s: %v", raw, err)
			continue
		}
		got := [6]string{string(p.Origin), string(p.Host), string(p.Path), string(p.Source), string(p.Medium), string(p.Campaign)}
		if got != want {
			t.Errorf("%s\n got %q\nwant %q", raw, got, want)
		}
	}
}

func TestReduceRefuses(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{
		"", "/a", "example.nl/a", "file:///etc/passwd", "javascript:alert(1)", "about:blank", "ftp://example.nl/",
		"https://", "https:///a", "https://exa mple.nl/", "https://example.nl/\x00", "https://example.nl/\n", "https://ex\xffample.nl/",
		"https://example..nl/", "https://.example.nl/", "https://example.nl:99999999/", "https://example.nl:80a/", "https://[::1/", "https://[zz]/",
		"https://exämple.nl/", "https://" + strings.Repeat("a", 254) + "/", "https://example.nl/" + strings.Repeat("a", URLBytesMax), "https://<script>/",
	} {
		var p Page
		if err := p.Reduce([]byte(raw)); err == nil {
			t.Errorf("%.80q was read as %q", raw, p.Origin)
		}
	}
}

func TestPathSegments(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		// what is kept
		"/":                                      "/",
		"//a//":                                  "//a//",
		"/blog/2026/11/22/how-to-count-visitors": "/blog/2026/11/22/how-to-count-visitors",
		"/nieuws/2026-11-22":                     "/nieuws/2026-11-22",
		"/nieuws/20261122":                       "/nieuws/20261122",
		"/product/12345678-a":                    "/product/12345678-a",
		"/iphone-15-pro-max-256gb":               "/iphone-15-pro-max-256gb",
		"/How-To-Count-Visitors-In-2026":         "/How-To-Count-Visitors-In-2026",
		"/c++/@handle/a@":                        "/c++/@handle/a@",
		"/caf%C3%A9/%zz/100%25":                  "/caf%C3%A9/%zz/100%25",
		"/arbeidsongeschiktheidsverzekering":     "/arbeidsongeschiktheidsverzekering",
		"/v/1.2.3":                               "/v/1.2.3",
		"/index.php":                             "/index.php",
		"/a/==":                                  "/a/==",
		"/vestiging-2024%20-%202026":             "/vestiging-2024%20-%202026",
		// e-mail
		"/u/jan@example.nl":                    "/u/:email",
		"/u/jan%40example.nl/x":                "/u/:email/x",
		"/u/jan%2540example.nl":                "/u/:email",
		"/u/jan%252540example.nl":              "/u/:email",
		"/u/JAN.de.Vries+x%40localhost":        "/u/:email",
		"/mailto:jan@example.nl":               "/:email",
		"/r/https%3A%2F%2Fx.nl%2F%3Fe%3Da%40b": "/r/:email",
		"/u/jan%E2%82%AC@example.nl":           "/u/:email",
		"/u/jan.@example.nl":                   "/u/:email",
		"/u/jan!@example.nl":                   "/u/:email",
		"/u/jan%40%40example.nl":               "/u/:email",
		"/u/jan%20@%20example.nl":              "/u/:email",
		"/u/(jan)@example.nl":                  "/u/:email",
		"/u/jan@(example.nl)":                  "/u/:email",
		"/u/jan@.example.nl":                   "/u/:email",
		"/@example":                            "/@example", // a handle
		"/n/123,456,782":                       "/n/:number",
		// characters that are not seen, or look like others
		"/u/jan%00%40example.nl":            "/u/:email",
		"/u/jan@%E2%80%8Bexample.nl":        "/u/:email",
		"/u/jan%EF%BC%A0example.nl":         "/u/:email",
		"/u/jan%EF%B9%ABexample.nl":         "/u/:email",
		"/tel/0612%00345678":                "/tel/:number",
		"/tel/0612%E2%80%8B345678":          "/tel/:number",
		"/tel/06%C2%A012%C2%A034%C2%A05678": "/tel/:number",
		"/tel/06\u201112345678":             "/tel/:number",
		"/tel/\uff10\uff16\uff11\uff12\uff13\uff14\uff15\uff16\uff17\uff18": "/tel/:number",
		"/tel/٠٦١٢٣٤٥٦٧٨":                                                   "/tel/:number",
		"/iban/NL91%C2%A0ABNA%C2%A00417%C2%A01643%C2%A000":                  "/iban/:iban",
		// deeper than is looked
		"/u/jan%25252540example.nl": "/u/:value",
		"/u/%25252541":              "/u/:value",
		// values
		"/search/q%3Djan%20jansen": "/search/:value",
		"/a/naam=jan":              "/a/:value",
		// numbers
		"/klant/123456789":                "/klant/:number",
		"/klant/123456782.html":           "/klant/:number",
		"/klant/1112-22-333":              "/klant/:number",
		"/bsn/11122233":                   "/bsn/11122233", // fails the check: sum is no multiple of 11
		"/bsn/12345672":                   "/bsn/:number",
		"/tel/06-12345678":                "/tel/:number",
		"/tel/%2B31%206%201234%205678":    "/tel/:number",
		"/tel/(020)%20123%204567":         "/tel/:number",
		"/tel/020%20-%20123%2045%2067":    "/tel/:number",
		"/tel/06%2F12345678":              "/tel/:number",
		"/card/4111-1111-1111-1111":       "/card/:number",
		"/card/4111%201111%201111%201111": "/card/:number",
		"/ip/8.8.4.4":                     "/ip/:number",
		"/ip/2001:db8::1":                 "/ip/:number",
		"/ip/2001%3Adb8%3A%3A1":           "/ip/:number",
		// iban
		"/iban/NL91ABNA0417164300":             "/iban/:iban",
		"/iban/nl91%20abna%200417%201643%2000": "/iban/:iban",
		"/pay-NL91ABNA0417164300-x":            "/:iban",
		"/iban/NO9386011117947":                "/iban/:iban",
		// tokens
		"/reset/0197f3a2-5c1e-7b44-9f0a-1d2e3f405162":                                  "/reset/:token",
		"/reset/5f4dcc3b5aa765d61d8327deb882cf99":                                      "/reset/:token",
		"/reset/deadbeef12345678":                                                      "/reset/:token",
		"/reset/dGhpcyBpcyBhIHRva2VuIDEyMzQ1":                                          "/reset/:token",
		"/reset/aB3_xY-9kLm2_Qw7-rT5v":                                                 "/reset/:token",
		"/jwt/eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N": "/jwt/:token",
		"/x/file-5f4dcc3b5aa765d61d8327deb882cf99.pdf":                                 "/x/:token",
	} {
		var d decoder
		if got := string(d.appendPath(nil, []byte(in))); got != want {
			t.Errorf("%s became %s, want %s", in, got, want)
		}
	}
}

func TestLongPathsAreCutWhole(t *testing.T) {
	t.Parallel()
	for _, unit := range []string{"a-", "/ab", "%C3%A9", "é", "%"} {
		for pad := range 4 {
			in := "/" + strings.Repeat("x", pad) + strings.Repeat(unit, schemas.PathBytesMax)
			var d decoder
			got := d.appendPath([]byte("keep"), []byte(in))
			path := string(got[4:])
			if string(got[:4]) != "keep" || len(path) > schemas.PathBytesMax || len(path) < schemas.PathBytesMax-6 || !strings.HasPrefix(in, path) {
				t.Errorf("%q: cut to %d bytes", unit, len(path))
			}
			if !utf8.ValidString(path) || unit == "%C3%A9" && (strings.HasSuffix(path, "%") || strings.HasSuffix(path, "%C")) {
				t.Errorf("%q: cut in the middle: ...%q", unit, path[len(path)-8:])
			}
		}
	}
}

func TestReferrerHost(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                                     "",
		"https://www.Google.com/search?q=x":    "www.google.com",
		"https://user:pw@t.co:8080/x":          "t.co",
		"android-app://com.google.android.gm/": "com.google.android.gm",
		"http://192.168.1.20/intranet":         "",
		"http://0x7f.1/":                       "",
		"http://[2001:db8::1]/":                "",
		"http://2130706433/":                   "",
		"ftp://example.nl/":                    "",
		"about:client":                         "",
		"https://5f4dcc3b5aa765d61d8327deb882cf99.trycloudflare.com/": "masked.trycloudflare.com",
		"https://klant-123456789.example.nl/":                         "masked.example.nl",
		"https://example.nl./":                                        "example.nl",
		"https://jan@example.nl/":                                     "example.nl",
		"https://203.0.113.7.nip.io/":                                 "",
		"https://06.12.34.56.78.example.nl/":                          "",
	} {
		if got := string(AppendReferrerHost(nil, []byte(in))); got != want {
			t.Errorf("%s became %q, want %q", in, got, want)
		}
	}
}

func TestOrigin(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"https://Example.nl": "https://example.nl", "https://example.nl:443": "https://example.nl",
		"http://localhost:3000": "http://localhost:3000", "null": "", "": "", "https://": "",
	} {
		got, ok := AppendOrigin(nil, []byte(in))
		if string(got) != want || ok != (want != "") {
			t.Errorf("%s became %q, %v", in, got, ok)
		}
	}
}

// lookedForAll is found without the look at the features.
func lookedForAll(text []byte) finding {
	switch {
	case hasEmail(text), spellsEmail(text), packsEmail(text):
		return email
	case hasQuery(text):
		return value
	case hasIBAN(text):
		return iban
	case hasToken(text):
		return token
	case hasNumber(text), hasAddress(text):
		return number
	}
	return nothing
}

func FuzzFound(f *testing.F) {
	for _, s := range []string{
		"how-to-count", "jan@example.nl", "q=jan", "NL91ABNA0417164300", "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee", "deadbeefdeadbee1", "aB3_xY-9kLm2_Qw7-rT5v",
		strings.Repeat("x", letterTokenMin), "jan&#64;example.nl", "X0A0Lm00", "12345672", "1.2.3.4", "a::b", "0612345678", strings.Repeat("1", ibanBytesMax),
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if got, want := found(text), lookedForAll(text); got != want {
			t.Fatalf("%q: found %q, all looks find %q", text, got, want)
		}
	})
}

func FuzzReduce(f *testing.F) {
	for _, s := range []string{
		"https://www.example.nl/a/jan%40example.nl/5f4dcc3b5aa765d61d8327deb882cf99?utm_source=a%40b&utm_medium=x#y",
		"http://[::1]:8080/%2525252540?utm_campaign=%ff", "https://a/" + strings.Repeat("%C3%A9", 200), "https://u@h:1/;x/y;z",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		before := bytes.Clone(raw)
		var p Page
		if err := p.Reduce(raw); err != nil {
			return
		}
		if !bytes.Equal(raw, before) {
			t.Fatal("the input was changed")
		}
		if len(p.Path) == 0 || p.Path[0] != '/' || len(p.Path) > schemas.PathBytesMax || len(p.Host) > schemas.HostBytesMax {
			t.Fatalf("path %q host %q", p.Path, p.Host)
		}
		for _, kept := range [][]byte{p.Host, p.Path, p.Source, p.Medium, p.Campaign} {
			if !utf8.Valid(kept) || bytes.ContainsAny(kept, "?#\n\r\x00") && bytes.ContainsAny(p.Path, "?#\n\r\x00") {
				t.Fatalf("kept %q", kept)
			}
		}
		for _, field := range [][]byte{p.Source, p.Medium, p.Campaign} {
			if len(field) > schemas.CampaignFieldBytesMax {
				t.Fatalf("campaign value of %d bytes", len(field))
			}
			if what := found(fold(bytes.Clone(field))); what != nothing {
				t.Fatalf("campaign value %q holds a %s", field, what)
			}
		}
		// Reducing what was kept changes nothing: no finding was left behind.
		var again Page
		rebuilt := append(bytes.Clone(p.Origin), p.Path...)
		if err := again.Reduce(rebuilt); err != nil || !bytes.Equal(again.Path, p.Path) {
			t.Fatalf("%q was reduced to %q, then to %q (%v)", raw, p.Path, again.Path, err)
		}
	})
}

// FuzzSplit holds the short ways to the long ones.
func FuzzSplit(f *testing.F) {
	for _, s := range []string{
		"https://www.example.nl/a?b=c#d", "http://a.nl", "https://a.nl?x/y", "https://a.nl#/x", "https://a.nl:443/", "https://u@a.nl/", "https://a..nl/", "https://.nl/",
		"https://A.nl/", "HTTPS://a.nl/", "https://a.nl\\b", "https://[::1]/", "https:///x", "https://a.b./", "https://1.2.3.4/", "https://\u00e9.nl/", "https://amFuQG1haWwubmw.nl/",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if got, want := isGraphic(raw), !hasControl(raw) && len(raw) == utf8.RuneCount(raw) && utf8.Valid(raw); got != want {
			t.Fatalf("%q: graphic is %v, want %v", raw, got, want)
		}
		got, ok := splitOrdinary(raw)
		if !ok || !isGraphic(raw) {
			return
		}
		origin := string(got.origin)
		got.origin = nil
		if want, ok := splitAny(raw); !ok || !reflect.DeepEqual(got, want) || origin != string(want.appendOrigin(nil)) || string(want.host) != string(appendLower(nil, want.host)) {
			t.Fatalf("%q: split into %q of %s, want %q", raw, got, origin, want)
		}
		if masked := string(appendMaskedHost(nil, got.host)); isOrdinary(got.host) && masked != strings.TrimSuffix(string(got.host), ".") {
			t.Fatalf("%q: ordinary, and masked as %q", got.host, masked)
		}
	})
}

func FuzzReferrerHost(f *testing.F) {
	f.Add([]byte("https://www.google.com/"))
	f.Add([]byte("https://[::1]/"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		host := AppendReferrerHost(nil, raw)
		if bytes.ContainsAny(host, "/?#@:%[]") || !utf8.Valid(host) {
			t.Fatalf("%q became %q", raw, host)
		}
	})
}

func BenchmarkReduce(b *testing.B) {
	raw := []byte("https://www.example.com/articles/2026/11/how-to-count-visitors?utm_source=news&utm_medium=mail&gclid=x")
	var p Page
	b.ReportAllocs()
	for b.Loop() {
		if err := p.Reduce(raw); err != nil {
			b.Fatal(err)
		}
	}
}
