package collector

import (
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"encoding/base64"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"

	"github.com/metiva-io/metiva/collector/snippet"
)

const (
	olderScript   = "older();"
	olderAdapters = "older adapters();"
)

// decoded undoes the coding of an answer.
func decoded(t *testing.T, a answered) string {
	t.Helper()
	var r io.Reader = bytes.NewReader(a.body)
	switch a.header.Get("Content-Encoding") {
	case "gzip":
		z, err := gzip.NewReader(r)
		if err != nil {
			t.Fatal(err)
		}
		r = z
	case "br":
		r = brotli.NewReader(r)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func scriptAt(version string) string { return "/v1/s." + version + ".js" }

func adaptersAt(version string) string { return "/v1/cmp." + version + ".js" }

func TestScriptInEachCoding(t *testing.T) {
	t.Parallel()
	e := startEdge(t, nil)
	etags := map[string]string{}
	for path, want := range map[string]string{
		PathScript: "snippet();", scriptAt(snippet.Version([]byte("snippet();"))): "snippet();", scriptAt(snippet.Version([]byte(olderScript))): olderScript,
		PathBanner: "banner();", PathAdapters: "adapters();", adaptersAt(snippet.Version([]byte("adapters();"))): "adapters();", adaptersAt(snippet.Version([]byte(olderAdapters))): olderAdapters,
	} {
		for accept, coding := range map[string]string{"identity": "", "gzip": "gzip", "gzip, deflate, br, zstd": "br"} {
			a := e.do(http.MethodGet, path, nil, map[string]string{"Accept-Encoding": accept, "Range": "bytes=0-3", "Origin": testOrigin})
			if a.status != 200 || a.header.Get("Content-Encoding") != coding || decoded(t, a) != want {
				t.Errorf("%s as %s: %d in %q: %q", path, accept, a.status, a.header.Get("Content-Encoding"), a.body)
			}
			cache := currentCacheControl
			if !slices.Contains([]string{PathScript, PathAdapters, PathBanner}, path) {
				cache = "public, max-age=31536000, immutable"
			}
			for name, value := range map[string]string{
				"Cache-Control": cache, "Vary": "Accept-Encoding", "Access-Control-Allow-Origin": "*", "Cross-Origin-Resource-Policy": "cross-origin",
				"X-Content-Type-Options": "nosniff", "Content-Type": "text/javascript; charset=utf-8", "Accept-Ranges": "", "Set-Cookie": "",
			} {
				if got := a.header.Get(name); got != value {
					t.Errorf("%s as %s: %s is %q, want %q", path, accept, name, got, value)
				}
			}
			etag := a.header.Get("ETag")
			if strings.HasPrefix(etag, "W/") || !strings.HasPrefix(etag, `"`) {
				t.Errorf("%s as %s: etag %q is not strong", path, accept, etag)
			}
			if other, seen := etags[etag]; seen && other != want+coding {
				t.Errorf("%s stands for two representations", etag)
			}
			etags[etag] = want + coding
			head := e.do(http.MethodHead, path, nil, map[string]string{"Accept-Encoding": accept})
			if head.status != 200 || len(head.body) != 0 || head.header.Get("Content-Length") != a.header.Get("Content-Length") || head.header.Get("ETag") != etag {
				t.Errorf("HEAD %s as %s: %d %v", path, accept, head.status, head.header)
			}
			again := e.do(http.MethodGet, path, nil, map[string]string{"Accept-Encoding": accept, "If-None-Match": etag})
			if again.status != 304 || len(again.body) != 0 || again.header.Get("ETag") != etag || again.header.Get("Vary") != "Accept-Encoding" || again.header.Get("Cache-Control") != cache {
				t.Errorf("again %s as %s: %d %v", path, accept, again.status, again.header)
			}
		}
	}
	for _, path := range []string{scriptAt("0123456789abcdef"), scriptAt("x"), scriptAt("../s"), scriptAt(snippet.Version([]byte(olderAdapters))), adaptersAt(snippet.Version([]byte(olderScript))), scriptAt(strings.ToUpper(snippet.Version([]byte(olderScript))))} {
		if a := e.do(http.MethodGet, path, nil, nil); a.status != 404 || strings.Contains(a.header.Get("Cache-Control"), "public") {
			t.Errorf("%s: %d %v", path, a.status, a.header)
		}
	}
	if a := e.do(http.MethodGet, scriptAt("0123456789abcdef"), nil, nil); a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("an unknown version may be cached: %v", a.header)
	}
	for _, path := range []string{PathScript, PathAdapters, PathBanner, scriptAt("0123456789abcdef"), adaptersAt("0123456789abcdef")} {
		if a := e.do(http.MethodPost, path, nil, nil); a.status != 405 || a.header.Get("Allow") != "GET, HEAD" {
			t.Errorf("POST %s: %d %v", path, a.status, a.header)
		}
	}
	if a := e.do(http.MethodGet, PathScript, nil, map[string]string{"Accept-Encoding": "identity;q=0, *;q=0"}); a.status != 406 || a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("nothing acceptable: %d %v", a.status, a.header)
	}
}

func TestChooseCoding(t *testing.T) {
	t.Parallel()
	const none = coding(99)
	for accept, want := range map[string]coding{
		"": codingIdentity, "identity": codingIdentity, "gzip": codingGzip, "br": codingBrotli, "gzip, deflate, br, zstd": codingBrotli,
		"BR": codingBrotli, "GZip": codingGzip, "x-gzip": codingGzip, "deflate": codingIdentity, "zstd, compress": codingIdentity,
		"br;q=0": codingIdentity, "br;q=0, gzip": codingGzip, "br;q=0.000,gzip;q=0.0": codingIdentity, "br;q=0.1, gzip;q=0.9": codingGzip, "br ; q = 0.5 , gzip ; q=0.5": codingBrotli,
		"*": codingBrotli, "*;q=0.1": codingBrotli, "br;q=0, *": codingGzip, "br;q=0, gzip;q=0, *": codingIdentity, "gzip;q=0.2, *;q=0.1": codingGzip,
		"*;q=0": none, "identity;q=0": none, "identity;q=0, *": codingBrotli, "identity;q=0, gzip": codingGzip, "gzip, *;q=0": codingGzip, "*;q=0, identity": codingIdentity,
		"*;q=0, identity;q=0.1": codingIdentity, "identity;q=1, br;q=0.5": codingIdentity,
		"br;q=2": codingIdentity, "br;q=": codingIdentity, "br;q=1.001": codingIdentity, "br;q=0.1234, gzip": codingGzip, "br;level=3, gzip": codingGzip, "br;q=-1": codingIdentity,
		",,, gzip ,": codingGzip, ";;": codingIdentity, "brotli": codingIdentity, "br;q=1.000": codingBrotli, "br;q=.5, gzip;q=0.1": codingGzip, "br;q=1., gzip": codingBrotli,
	} {
		got, ok := chooseCoding([][]byte{[]byte(accept)})
		if !ok {
			got = none
		}
		if got != want {
			t.Errorf("%q: coding %d, want %d", accept, got, want)
		}
	}
	if got, ok := chooseCoding(nil); got != codingIdentity || !ok {
		t.Errorf("no header: %d %v", got, ok)
	}
	if got, ok := chooseCoding([][]byte{[]byte("gzip"), []byte("br;q=0.5")}); got != codingGzip || !ok {
		t.Errorf("two lines: %d %v", got, ok)
	}
}

func TestMatches(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]bool{
		`"a"`: true, `W/"a"`: true, `"b", "a"`: true, `"b" , W/"a"`: true, `*`: true, ` * `: true, `"b,c", "a"`: true, `,,"a"`: true,
		``: false, `a`: false, `"b"`: false, `"aa"`: false, `"a`: false, `w/"a"`: false, `"b", a`: false, `"*"`: false, `"b,"a"`: false,
	} {
		if got := matches([][]byte{[]byte(header)}, `"a"`); got != want {
			t.Errorf("%s: %v", header, got)
		}
	}
	if !matches([][]byte{[]byte(`"b"`), []byte(`"a"`)}, `"a"`) {
		t.Error("the second line is not read")
	}
}

func FuzzScriptHeaders(f *testing.F) {
	for _, seed := range []string{"", "br;q=0.5, gzip", "*;q=0", `W/"a", "b"`, "identity;q=0.001", `"`, ";q=1.", ",;,"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		lines := [][]byte{[]byte(header)}
		if chosen, ok := chooseCoding(lines); chosen >= codings || !ok && chosen != codingIdentity {
			t.Errorf("coding %d, %v", chosen, ok)
		}
		matches(lines, `"a"`)
	})
}

// TestIntegrityIsThatOfTheBytes checks the hash a page pins against the bytes it
// gets, in each coding, for the scripts that are really shipped.
func TestIntegrityIsThatOfTheBytes(t *testing.T) {
	t.Parallel()
	released, err := snippet.Released()
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range append(released, snippet.Script()) {
		s, err := newScript(body)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha512.Sum384(body)
		if got := snippet.Integrity(body); got != "sha384-"+base64.StdEncoding.EncodeToString(sum[:]) {
			t.Errorf("%s: integrity %s", s.version, got)
		}
		br, gz := len(s.of[codingBrotli].body), len(s.of[codingGzip].body)
		if br >= gz || gz >= len(body) {
			t.Errorf("%s: %d bytes, gzip %d, br %d", s.version, len(body), gz, br)
		}
	}
}
