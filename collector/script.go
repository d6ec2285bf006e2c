package collector

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/andybalholm/brotli"
	"github.com/valyala/fasthttp"

	"github.com/metiva-io/metiva/collector/snippet"
)

// Addresses of the script and of the adapters of consent platforms: the current
// ones, and each version under its own name for pages that pin it with an
// integrity hash. The banner is only loaded by the script, so nobody can pin it.
const (
	PathScript            = "/v1/s.js"
	PathAdapters          = "/v1/cmp.js"
	PathBanner            = "/v1/banner.js"
	scriptVersionPrefix   = "/v1/s."
	adaptersVersionPrefix = "/v1/cmp."
	scriptVersionSuffix   = ".js"
)

const (
	// currentCacheControl lets a new script reach every page within an hour.
	currentCacheControl = "public, max-age=3600"
	// versionCacheControl is for ever: another content has another address.
	versionCacheControl = "public, max-age=31536000, immutable"
)

// coding is a content coding of an answer.
type coding uint8

const (
	codingIdentity coding = iota
	codingGzip
	codingBrotli
	codings // how many there are
)

// encoded is a script in one coding.
type encoded struct {
	name string // of the Content-Encoding
	etag string // strong: each coding is a representation of its own (RFC 9110, section 8.8.3)
	body []byte
}

// script is one version of the snippet with what its answers need.
type script struct {
	version string
	of      [codings]encoded
}

func newScript(body []byte) (*script, error) {
	s := &script{version: snippet.Version(body)}
	var packed, brotlied bytes.Buffer
	gz, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return nil, fmt.Errorf("compressing the snippet: %w", err)
	}
	br := brotli.NewWriterLevel(&brotlied, brotli.BestCompression)
	for _, w := range []interface {
		Write([]byte) (int, error)
		Close() error
	}{gz, br} {
		_, err := w.Write(body)
		if err = errors.Join(err, w.Close()); err != nil {
			return nil, fmt.Errorf("compressing the snippet: %w", err)
		}
	}
	s.of = [codings]encoded{
		codingIdentity: {body: bytes.Clone(body)},
		codingGzip:     {name: "gzip", body: packed.Bytes()},
		codingBrotli:   {name: "br", body: brotlied.Bytes()},
	}
	for i := range s.of {
		s.of[i].etag = strconv.Quote(strings.TrimSuffix(s.version+"-"+s.of[i].name, "-"))
	}
	return s, nil
}

// scripts are the current version and those before it.
type scripts struct {
	current   *script
	byVersion map[string]*script
}

func newScripts(current []byte, released [][]byte) (scripts, error) {
	now, err := newScript(current)
	if err != nil {
		return scripts{}, err
	}
	all := scripts{current: now, byVersion: map[string]*script{now.version: now}}
	for _, body := range released {
		if _, known := all.byVersion[snippet.Version(body)]; known {
			continue
		}
		old, err := newScript(body)
		if err != nil {
			return scripts{}, err
		}
		all.byVersion[old.version] = old
	}
	return all, nil
}

// scriptsAt are the scripts a path asks for a version of, if it does.
func (c *Collector) scriptsAt(path []byte) (of *scripts, version []byte, ok bool) {
	if version, ok = versionOf(path, scriptVersionPrefix); ok {
		return &c.scripts, version, true
	}
	version, ok = versionOf(path, adaptersVersionPrefix)
	return &c.adapters, version, ok
}

// versionOf is the version a path asks for, if it is the path of one.
func versionOf(path []byte, prefix string) (version []byte, ok bool) {
	version, ok = bytes.CutPrefix(path, []byte(prefix))
	if !ok {
		return nil, false
	}
	version, ok = bytes.CutSuffix(version, []byte(scriptVersionSuffix))
	return version, ok && len(version) > 0
}

// serveCurrent is GET /v1/s.js, /v1/cmp.js and /v1/banner.js.
func (s *scripts) serveCurrent(ctx *fasthttp.RequestCtx) {
	if !ctx.IsGet() && !ctx.IsHead() {
		methodNotAllowed(ctx, "GET, HEAD")
		return
	}
	s.current.serve(ctx, currentCacheControl)
}

// serveVersion is GET /v1/s.<version>.js and GET /v1/cmp.<version>.js.
func (s *scripts) serveVersion(ctx *fasthttp.RequestCtx, version []byte) {
	if !ctx.IsGet() && !ctx.IsHead() {
		methodNotAllowed(ctx, "GET, HEAD")
		return
	}
	known := s.byVersion[string(version)]
	if known == nil {
		// A collector that is not updated yet does not know a new page's script:
		// nobody may remember that.
		ctx.Response.Header.Set("Cache-Control", "no-store")
		ctx.SetStatusCode(fasthttp.StatusNotFound)
		return
	}
	known.serve(ctx, versionCacheControl)
}

// serve answers with the script in the coding the client likes best, or with 304
// to one that has it. A Range is ignored, as RFC 9110, section 14.2, allows: a
// whole script is a few kilobytes.
func (s *script) serve(ctx *fasthttp.RequestCtx, cacheControl string) {
	h := &ctx.Response.Header
	h.Set("Vary", "Accept-Encoding")
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	h.Set("X-Content-Type-Options", "nosniff")
	chosen, ok := chooseCoding(ctx.Request.Header.PeekAll("Accept-Encoding"))
	if !ok {
		h.Set("Cache-Control", "no-store")
		ctx.SetStatusCode(fasthttp.StatusNotAcceptable)
		return
	}
	e := &s.of[chosen]
	h.Set("Cache-Control", cacheControl)
	h.Set("ETag", e.etag)
	if matches(ctx.Request.Header.PeekAll("If-None-Match"), e.etag) {
		ctx.SetStatusCode(fasthttp.StatusNotModified)
		return
	}
	if e.name != "" {
		h.Set("Content-Encoding", e.name)
	}
	ctx.SetContentType("text/javascript; charset=utf-8")
	ctx.Response.SetBodyRaw(e.body)
}

// chooseCoding picks the coding of greatest weight, the smallest answer among
// equals (RFC 9110, section 12.5.3). Without the header, or with one that says
// nothing about it, the script goes out as it is; ok is false when even that was
// ruled out.
func chooseCoding(accept [][]byte) (chosen coding, ok bool) {
	const unsaid = -1
	weights, others := [codings]int{unsaid, unsaid, unsaid}, unsaid
	for _, line := range accept {
		for len(line) > 0 {
			var member []byte
			member, line, _ = bytes.Cut(line, []byte{','})
			name, parameters, _ := bytes.Cut(member, []byte{';'})
			weight, readable := weightOf(parameters)
			if !readable {
				continue
			}
			switch name = bytes.TrimSpace(name); {
			case bytes.EqualFold(name, []byte("br")):
				weights[codingBrotli] = weight
			case bytes.EqualFold(name, []byte("gzip")), bytes.EqualFold(name, []byte("x-gzip")):
				weights[codingGzip] = weight
			case bytes.EqualFold(name, []byte("identity")):
				weights[codingIdentity] = weight
			case string(name) == "*":
				others = weight
			}
		}
	}
	best := 0
	for _, c := range [...]coding{codingBrotli, codingGzip, codingIdentity} {
		weight := weights[c]
		if weight == unsaid {
			weight = others
		}
		if weight > best {
			chosen, best = c, weight
		}
	}
	if best > 0 {
		// Identity is acceptable unless it is ruled out, and worth the least.
		return chosen, true
	}
	return codingIdentity, weights[codingIdentity] != 0 && (weights[codingIdentity] > 0 || others != 0)
}

// weightOf reads ";q=0.5" in thousandths; 1000 without it.
func weightOf(parameters []byte) (thousandths int, ok bool) {
	parameters = bytes.TrimSpace(parameters)
	if len(parameters) == 0 {
		return 1000, true
	}
	name, value, _ := bytes.Cut(parameters, []byte{'='})
	if value = bytes.TrimSpace(value); !bytes.EqualFold(bytes.TrimSpace(name), []byte{'q'}) || len(value) == 0 || len(value) > len("0.000") {
		return 0, false
	}
	whole, fraction, dotted := bytes.Cut(value, []byte{'.'})
	if len(whole) != 1 || whole[0] != '0' && whole[0] != '1' || dotted && len(value) == 1 {
		return 0, false
	}
	thousandths = 1000 * int(whole[0]-'0')
	place := 100
	for _, digit := range fraction {
		if digit < '0' || digit > '9' {
			return 0, false
		}
		thousandths += place * int(digit-'0')
		place /= 10
	}
	return thousandths, thousandths <= 1000
}

// matches compares weakly, as If-None-Match asks for (RFC 9110, section 13.1.2).
// The lists are of entity tags, which may hold commas, or one "*".
func matches(lines [][]byte, etag string) bool {
	for _, line := range lines {
		line = bytes.TrimSpace(line)
		if string(line) == "*" {
			return true
		}
		for len(line) > 0 {
			line = bytes.TrimLeft(line, ", \t")
			line = bytes.TrimPrefix(line, []byte("W/"))
			if len(line) == 0 || line[0] != '"' {
				break // no list of entity tags
			}
			end := bytes.IndexByte(line[1:], '"')
			if end < 0 {
				break
			}
			if string(line[:end+2]) == etag {
				return true
			}
			line = line[end+2:]
		}
	}
	return false
}
