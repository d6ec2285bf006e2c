package collector

import (
	"bufio"
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"
)

// ordinaryPost is a request as a browser sends it for the snippet. A header given as
// "Name: value" replaces the usual one of that name, a name alone removes it, and any
// other comes behind them.
func ordinaryPost(body string, headers ...string) string {
	usual := []string{
		"Host: 127.0.0.1:4711", "Connection: keep-alive", "Content-Length: " + strconv.Itoa(len(body)),
		`sec-ch-ua: "Chromium";v="141", "Google Chrome";v="141", "Not?A_Brand";v="24"`, "sec-ch-ua-mobile: ?0", `sec-ch-ua-platform: "Windows"`,
		"User-Agent: " + testAgent, "Content-Type: text/plain;charset=UTF-8", "Accept: */*", "Origin: " + testOrigin,
		"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty", "Referer: " + testOrigin + "/",
		"Accept-Encoding: gzip, deflate, br, zstd", "Accept-Language: nl-NL,nl;q=0.9", "X-Forwarded-For: " + testVisitor,
	}
	for _, h := range headers {
		name, _, added := strings.Cut(h, ":")
		usual = slices.DeleteFunc(usual, func(known string) bool {
			given, _, _ := strings.Cut(known, ":")
			return strings.EqualFold(given, name)
		})
		if added {
			usual = append(usual, h)
		}
	}
	return ordinaryLine + strings.Join(usual, "\r\n") + "\r\n\r\n" + body
}

// TestOrdinary says what is left to the server.
func TestOrdinary(t *testing.T) {
	t.Parallel()
	good := ordinaryPost("{}")
	for name, c := range map[string]struct {
		raw  string
		want bool
	}{
		"as a browser sends it":      {good, true},
		"names in small letters":     {strings.ToLower(good[len(ordinaryLine):len(good)-2]) + "{}", false}, // no first line
		"origin in capitals":         {strings.Replace(good, "Origin:", "ORIGIN:", 1), true},
		"an unknown header":          {ordinaryPost("{}", "X-Whatever-2: \"a\" ~"), true},
		"an unknown header, empty":   {ordinaryPost("{}", "X-Whatever:"), true},
		"spaces around a value":      {ordinaryPost("{}", "Content-Type:   text/plain  "), true},
		"no space before a value":    {ordinaryPost("{}", "Content-Type:text/plain"), true},
		"json":                       {ordinaryPost("{}", "Content-Type: application/json"), true},
		"signals":                    {ordinaryPost("{}", "DNT: 1", "Sec-GPC: 1"), true},
		"no user agent":              {ordinaryPost("{}", "User-Agent"), true},
		"no connection header":       {ordinaryPost("{}", "Connection"), true},
		"keep-alive in capitals":     {ordinaryPost("{}", "Connection: Keep-Alive"), true},
		"host without a port":        {ordinaryPost("{}", "Host: c.example.nl"), true},
		"two hops":                   {ordinaryPost("{}", "X-Forwarded-For: 10.0.0.1, 10.0.0.2"), true},
		"hops in two headers":        {strings.Replace(good, "Accept:", "x-forwarded-for: 10.0.0.1\r\nAccept:", 1), true},
		"nothing":                    {"", false},
		"another method":             {strings.Replace(good, "POST", "PUT", 1), false},
		"another version":            {strings.Replace(good, "HTTP/1.1", "HTTP/1.0", 1), false},
		"results wanted":             {strings.Replace(good, "?r=0", "", 1), false},
		"an absolute target":         {strings.Replace(good, "POST /", "POST http://x/", 1), false},
		"a line break alone":         {strings.Replace(good, "\r\nAccept:", "\nAccept:", 1), false},
		"a folded header":            {strings.Replace(good, "\r\nAccept:", "\r\n Accept:", 1), false},
		"a line without a colon":     {strings.Replace(good, "Accept:", "Accept", 1), false},
		"a line without a name":      {strings.Replace(good, "Accept:", ":", 1), false},
		"a space in a name":          {strings.Replace(good, "Accept:", "Acc ept:", 1), false},
		"a space behind a name":      {strings.Replace(good, "Accept:", "Accept :", 1), false},
		"an underscore in a name":    {strings.Replace(good, "Accept:", "Ac_cept:", 1), false},
		"a tab in a value":           {ordinaryPost("{}", "X-A: a\tb"), false},
		"a null byte in a value":     {ordinaryPost("{}", "X-A: a\x00b"), false},
		"a delete in a long value":   {ordinaryPost("{}", "X-A: abcdefghijklmnop\x7fqrstuvwxyz"), false},
		"more than ASCII in a value": {ordinaryPost("{}", "X-A: é"), false},
		"no host":                    {ordinaryPost("{}", "Host"), false},
		"two hosts":                  {strings.Replace(good, "Accept:", "host: a\r\nAccept:", 1), false},
		"an odd host":                {ordinaryPost("{}", "Host: a@b"), false},
		"a host in brackets":         {ordinaryPost("{}", "Host: [::1]:80"), false},
		"an odd port":                {ordinaryPost("{}", "Host: a:b"), false},
		"two colons in a host":       {ordinaryPost("{}", "Host: a:1:2"), false},
		"no origin":                  {ordinaryPost("{}", "Origin"), false},
		"two origins":                {strings.Replace(good, "Accept:", "Origin: https://b.nl\r\nAccept:", 1), false},
		"no type":                    {ordinaryPost("{}", "Content-Type"), false},
		"a form":                     {ordinaryPost("{}", "Content-Type: application/x-www-form-urlencoded"), false},
		"two types":                  {strings.Replace(good, "Accept:", "Content-Type: text/plain\r\nAccept:", 1), false},
		"two user agents":            {strings.Replace(good, "Accept:", "User-Agent: b\r\nAccept:", 1), false},
		"no length":                  {ordinaryPost("{}", "Content-Length"), false},
		"an empty length":            {ordinaryPost("{}", "Content-Length:"), false},
		"a length with a sign":       {ordinaryPost("{}", "Content-Length: +2"), false},
		"a length with a zero":       {ordinaryPost("{}", "Content-Length: 02"), false},
		"a length in two":            {ordinaryPost("{}", "Content-Length: 2, 2"), false},
		"a huge length":              {ordinaryPost("{}", "Content-Length: 18446744073709551618"), false},
		"two lengths":                {strings.Replace(good, "Accept:", "Content-Length: 2\r\nAccept:", 1), false},
		"nothing in it":              {ordinaryPost(""), false},
		"less than its length":       {good[:len(good)-1], false},
		"more than its length":       {good + "x", false},
		"half of its headers":        {good[:len(good)/2], false},
		"an encoded transfer":        {ordinaryPost("{}", "Transfer-Encoding: identity"), false},
		"a trailer":                  {ordinaryPost("{}", "Trailer: Origin"), false},
		"an upgrade":                 {ordinaryPost("{}", "Upgrade: h2c"), false},
		"an expectation":             {ordinaryPost("{}", "Expect: 100-continue"), false},
		"an encoded body":            {ordinaryPost("{}", "Content-Encoding: gzip"), false},
		"a connection that ends":     {ordinaryPost("{}", "Connection: close"), false},
		"two connection headers":     {strings.Replace(good, "Accept:", "Connection: keep-alive\r\nAccept:", 1), false},
		"a prefetch":                 {ordinaryPost("{}", "Sec-Purpose: prefetch"), false},
		"an older prefetch":          {ordinaryPost("{}", "Purpose: prefetch"), false},
		"an odd prefetch":            {ordinaryPost("{}", "X-Moz: prefetch"), false},
		"another odd prefetch":       {ordinaryPost("{}", "X-Purpose: preview"), false},
	} {
		var o ordinary
		var h headers
		if got := o.read([]byte(c.raw), &h); got != c.want {
			t.Errorf("%s: ordinary %v", name, got)
		}
		if c.want {
			checkOrdinary(t, []byte(c.raw))
		}
	}
}

// checkOrdinary compares what was read of a request with what the server reads of it;
// one that is not ordinary says nothing.
func checkOrdinary(t *testing.T, raw []byte) {
	t.Helper()
	var o ordinary
	var h headers
	if !o.read(raw, &h) {
		return
	}
	var ctx fasthttp.RequestCtx
	from := bufio.NewReaderSize(bytes.NewReader(raw), max(16, len(raw)))
	if err := ctx.Request.Read(from); err != nil || from.Buffered() != 0 {
		t.Fatalf("the server reads %v and leaves %d bytes of %q", err, from.Buffered(), raw)
	}
	req := &ctx.Request
	var uri fasthttp.URI
	if err := uri.Parse(req.Header.Host(), req.RequestURI()); err != nil { // the server refuses it then
		t.Errorf("the server reads %v of %q", err, raw)
	}
	if string(req.Header.Method()) != "POST" || string(ctx.Path()) != PathEvents || !wantsNoResults(&ctx) {
		t.Errorf("the server reads %s %s", req.Header.Method(), req.RequestURI())
	}
	if req.MayContinue() || req.Header.ConnectionClose() || hasTransferEncoding(&req.Header) || !isReadable(req.Header.ContentType()) {
		t.Errorf("the server would do otherwise with %q", raw)
	}
	var theirs headers
	theirs.read(&req.Header)
	h.origin, h.sawOrigin = o.origin, true
	h.referer, h.sawReferer = theirs.referer, theirs.sawReferer // of no account beside an origin
	if got, want := fmt.Sprintf("%q", []any{h, o.userAgent, o.body}), fmt.Sprintf("%q", []any{theirs, req.Header.UserAgent(), req.Body()}); got != want {
		t.Errorf("of %q\nread %s\nwant %s", raw, got, want)
	}
}

// FuzzOrdinary: whatever is taken for an ordinary request means the same to the server.
func FuzzOrdinary(f *testing.F) {
	f.Add([]byte(ordinaryPost("{}")))
	f.Add([]byte(ordinaryPost(`{"a":1}`, "X-Forwarded-For: 10.0.0.1, 10.0.0.2", "x-forwarded-for:", "DNT: 1", "sec-gpc: 1 ", "Connection", "User-Agent")))
	for _, h := range hostileRows() {
		if len(h.send) < 16<<10 {
			f.Add([]byte(unasked(h.send)))
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) { checkOrdinary(t, raw) })
}

// unasked is a request for events whose client asks for no results.
func unasked(send string) string {
	return strings.Replace(send, "POST "+PathEvents+" HTTP/1.1\r\n", ordinaryLine, 1)
}

func TestIsPrintable(t *testing.T) {
	t.Parallel()
	for length := range 40 {
		b := bytes.Repeat([]byte{'a'}, length)
		for at := range b {
			for c := range 256 {
				if b[at] = byte(c); isPrintable(b) != (c >= ' ' && c <= '~') {
					t.Fatalf("byte %#x at %d of %d", c, at, length)
				}
			}
			b[at] = 'a'
		}
	}
}
