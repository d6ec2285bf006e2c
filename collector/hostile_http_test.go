package collector

import (
	"fmt"
	"net/url"
	"strings"
)

// headerRows are about what stands around a good body.
func headerRows() []hostile {
	good := batchOf(eventOf())
	var rows []hostile
	const (
		unsupported = "415 !unsupported_type"
		foreign     = "403 !origin_not_allowed"
		accepted    = "200 accepted"
		objected    = "200 dropped:objected"
	)
	for _, c := range []struct{ name, header, answer string }{
		{"no type", "Content-Type", unsupported},
		{"an empty type", "Content-Type: ", unsupported},
		{"a form", "Content-Type: application/x-www-form-urlencoded", unsupported},
		{"multipart", "Content-Type: multipart/form-data; boundary=x", unsupported},
		{"multipart without boundary", "Content-Type: multipart/form-data", unsupported},
		{"HTML", "Content-Type: text/html", unsupported},
		{"XML", "Content-Type: application/xml", unsupported},
		{"JSON with a suffix", "Content-Type: application/problem+json", unsupported},
		{"JSON lines", "Content-Type: application/jsonl", unsupported},
		{"a longer word", "Content-Type: application/jsonp", unsupported},
		{"a path in the type", "Content-Type: application/json/x", unsupported},
		{"two types in one", "Content-Type: text/html, application/json", unsupported},
		{"a type behind a semicolon", "Content-Type: ;application/json", unsupported},
		{"a type in quotes", "Content-Type: \"application/json\"", unsupported},
		{"any type", "Content-Type: */*", unsupported},
		{"octets", "Content-Type: application/octet-stream", unsupported},
		{"a personal type", "Content-Type: kanarie@mail.example", unsupported},
		{"JSON before a form", "Content-Type: application/json\r\nContent-Type: application/x-www-form-urlencoded", unsupported},
		{"capitals", "Content-Type: APPLICATION/JSON", accepted},
		{"an odd charset", "Content-Type: application/json; charset=utf-7", accepted},
		{"a charset that is not the body's", "Content-Type: text/plain; charset=\"utf-16\"", accepted},
		{"a charset in quotes without end", "Content-Type: text/plain; charset=\"", accepted},
		{"many parameters", "Content-Type: text/plain" + strings.Repeat("; a=b", 500), accepted},
		{"null origin", "Origin: null", foreign},
		{"no origin", "Origin", foreign},
		{"an empty origin", "Origin: ", foreign},
		{"another origin", "Origin: https://evil.example", foreign},
		{"another scheme", "Origin: http://www.example.nl", foreign},
		{"another port", "Origin: https://www.example.nl:8443", foreign},
		{"the origin as userinfo", "Origin: https://www.example.nl@evil.example", foreign},
		{"the origin as a label", "Origin: https://www.example.nl.evil.example", foreign},
		{"a sub-domain", "Origin: https://x.www.example.nl", foreign},
		{"the parent domain", "Origin: https://example.nl", foreign},
		{"a dot at the end", "Origin: https://www.example.nl.", foreign},
		{"two origins in one", "Origin: https://www.example.nl, https://evil.example", foreign},
		{"two origins with space", "Origin: https://www.example.nl https://evil.example", foreign},
		{"any origin", "Origin: *", foreign},
		{"an extension", "Origin: chrome-extension://abcdefghijklmnop", foreign},
		{"a file", "Origin: file://", foreign},
		{"an origin without scheme", "Origin: www.example.nl", foreign},
		{"an IPv6 origin", "Origin: https://[2001:db8:c0fe:d00d::1]", foreign},
		{"a long origin", "Origin: https://" + strings.Repeat("a", 5000) + ".example", foreign},
		{"an origin of bytes", "Origin: https://\xff\xfe", foreign},
		{"a foreign origin before the site's", "Origin: https://evil.example\r\nOrigin: " + testOrigin, foreign},
		{"an origin in capitals", "Origin: HTTPS://WWW.EXAMPLE.NL", accepted},
		{"an origin with its port", "Origin: https://www.example.nl:443", accepted},
		// No browser writes these; who writes them himself could as well write the
		// plain origin. They are read as the origin they name, the first of several.
		{"a foreign origin behind the site's", "Origin: " + testOrigin + "\r\nOrigin: https://evil.example", accepted},
		{"an origin with a slash", "Origin: https://www.example.nl/", accepted},
		{"an origin with a path", "Origin: https://www.example.nl/kanarie?q=kanarie", accepted},
		{"an origin with credentials", "Origin: https://kanarie:geheim@www.example.nl", accepted},
		{"a signal twice", "Sec-GPC: 0\r\nSec-GPC: 1", objected},
		{"a signal twice, the other way", "Sec-GPC: 1\r\nSec-GPC: 0", objected},
		{"a signal in other letters", "sEC-gpc:1", objected},
		{"a signal with tabs", "Sec-GPC: \t1\t ", objected},
		{"a signal that is none", "Sec-GPC: ?1", accepted},
		{"not to be tracked, twice", "DNT: 0\r\nDNT: 1", objected},
		{"a prefetch in other letters", "sec-purpose: PREFETCH;anonymous-client-ip", "200 dropped:prefetch"},
		{"a prefetch on a second line", "Purpose: navigation\r\nPurpose: prefetch", "200 dropped:prefetch"},
		{"a prefetch behind a navigation", "Purpose: navigation, prefetch", "200 dropped:prefetch"},
		{"no agent", "User-Agent", accepted},
		{"an agent of 5,000 bytes", "User-Agent: " + strings.Repeat("kanarie ", 625), accepted},
		{"an agent of bytes", "User-Agent: \xff\xfe\x80kanarie", accepted},
		{"an agent that is a lookup", "User-Agent: ${jndi:ldap://kanarie.example/a}", accepted},
		{"other headers of addresses", "X-Real-IP: 203.0.113.9\r\nForwarded: for=203.0.113.9\r\nTrue-Client-IP: 203.0.113.9\r\nCF-Connecting-IP: 203.0.113.9", accepted},
		{"headers that name a tenant", "X-Company-Id: cmp_bbbbbbbbbbbbbbbbbbbb\r\nX-Tenant: b", accepted},
		{"another method by header", "X-HTTP-Method-Override: DELETE\r\nX-Method-Override: GET", accepted},
		{"another path by header", "X-Original-URL: /metrics\r\nX-Rewrite-URL: /metrics", accepted},
		{"a hop that takes the proxy's word away", "Connection: close, X-Forwarded-For", accepted},
		{"a hundred headers", strings.Repeat("X-A: kanarie\r\n", 99) + "X-A: kanarie", accepted},
		{"headers over the limit", "X-A: " + strings.Repeat("kanarie ", 1100), "431 !too_large"},
		{"a header name over the limit", strings.Repeat("k", 9000) + ": 1", "431 !too_large"},
	} {
		h := row("header: "+c.name, httpPost(good, c.header), c.answer)
		if c.answer == foreign {
			h = h.counts("tenant/origin_not_allowed=1")
		}
		rows = append(rows, h)
	}
	return append(rows,
		row("header: a referer for the origin", httpPost(good, "Origin", "Referer: https://www.example.nl/kanarie?email=kanarie%40mail.example"), accepted),
		row("header: a foreign referer for the origin", httpPost(good, "Origin", "Referer: https://evil.example/"+testOrigin), foreign).counts("tenant/origin_not_allowed=1"),
		row("header: a null origin and a good referer", httpPost(good, "Origin: null", "Referer: https://www.example.nl/"), foreign).counts("tenant/origin_not_allowed=1"),
		row("header: a site in capitals", httpPost(strings.Replace(good, testKey, strings.ToUpper(testKey), 1)), "403 !unknown_site"),
		row("header: a site with NUL", httpPost(strings.Replace(good, testKey, testKey+`\u0000`, 1)), "403 !unknown_site"),
		row("header: a site of 60,000 bytes", httpPost(strings.Replace(good, testKey, strings.Repeat("k", 60000), 1)), "403 !unknown_site"),
		row("header: a site that is an e-mail address", httpPost(strings.Replace(good, testKey, "kanarie@mail.example", 1)), "403 !unknown_site"),
		row("header: the site's id for its key", httpPost(strings.Replace(good, testKey, testSite, 1)), "403 !unknown_site"),
	)
}

// forwardedRows forge X-Forwarded-For. The collector trusts the peer (loopback)
// and 10.0.0.0/8; whatever cannot be read leaves the last address that could be.
func forwardedRows() []hostile {
	const name = "X-Forwarded-For: "
	var rows []hostile
	for _, c := range [][3]string{
		{"none", "X-Forwarded-For", "127.0.0.0/24"},
		{"empty", name, "127.0.0.0/24"},
		{"one", name + "84.24.10.1", "84.24.10.0/24"},
		{"a claim before the proxy's word", name + "145.221.173.91, 84.24.10.1", "84.24.10.0/24"},
		{"a claim in a header before", name + "145.221.173.91\r\n" + name + "84.24.10.1", "84.24.10.0/24"},
		{"a claim in other letters", "x-forwarded-for: 145.221.173.91\r\nX-FORWARDED-FOR: 84.24.10.1", "84.24.10.0/24"},
		{"a claim that is trusted", name + "10.0.0.1, 84.24.10.1", "84.24.10.0/24"},
		{"a claim to be the loopback", name + "127.0.0.1, 84.24.10.1", "84.24.10.0/24"},
		{"trusted hops behind", name + "145.221.173.91, 84.24.10.1, 10.1.2.3,10.4.5.6", "84.24.10.0/24"},
		{"trusted hops in a header behind", name + "145.221.173.91, 84.24.10.1\r\n" + name + "10.1.2.3", "84.24.10.0/24"},
		{"trusted hops only", name + "10.1.2.3, 10.4.5.6", "10.1.2.0/24"},
		{"a mapped trusted hop", name + "84.24.10.1, ::ffff:10.1.2.3", "84.24.10.0/24"},
		{"a port", name + "84.24.10.1:4711", "84.24.10.0/24"},
		{"a port beyond ports", name + "84.24.10.1:99999", "84.24.10.0/24"},
		{"a port of letters", name + "84.24.10.1:x", "127.0.0.0/24"},
		{"an empty port", name + "84.24.10.1:", "127.0.0.0/24"},
		{"IPv6", name + "2001:db8:c0fe:d00d::1", "2001:db8:c0fe::/48"},
		{"IPv6 in brackets with a port", name + "[2001:db8:c0fe:d00d::1]:443", "2001:db8:c0fe::/48"},
		{"IPv6 with a zone", name + "fe80::1%eth0", "fe80::/48"},
		{"IPv6 mapped", name + "::ffff:84.24.10.1", "84.24.10.0/24"},
		{"IPv6 mapped in hexadecimal", name + "::ffff:5418:0a01", "84.24.10.0/24"},
		{"IPv6 unspecified", name + "::", "127.0.0.0/24"},
		{"brackets left open", name + "[2001:db8::1", "127.0.0.0/24"},
		{"brackets around IPv4", name + "[84.24.10.1]", "127.0.0.0/24"},
		{"brackets around nothing", name + "[]", "127.0.0.0/24"},
		{"unspecified", name + "0.0.0.0", "127.0.0.0/24"},
		{"leading zeroes", name + "084.024.010.001", "127.0.0.0/24"},
		{"hexadecimal", name + "0x54.0x18.0xa.0x1", "127.0.0.0/24"},
		{"one number", name + "1410861569", "127.0.0.0/24"},
		{"three numbers", name + "84.24.10", "127.0.0.0/24"},
		{"five numbers", name + "84.24.10.1.1", "127.0.0.0/24"},
		{"a number too large", name + "84.24.10.256", "127.0.0.0/24"},
		{"a network", name + "84.24.10.0/24", "127.0.0.0/24"},
		{"unknown", name + "145.221.173.91, unknown", "127.0.0.0/24"},
		{"hidden", name + "145.221.173.91, _kanarie, 10.3.3.3", "10.3.3.0/24"},
		{"a name", name + "kanarie.mail.example", "127.0.0.0/24"},
		{"an e-mail address", name + "kanarie@mail.example", "127.0.0.0/24"},
		{"quotes", name + "\"84.24.10.1\"", "127.0.0.0/24"},
		{"a hole", name + "145.221.173.91,, 10.3.3.3", "10.3.3.0/24"},
		{"a comma at the end", name + "145.221.173.91,", "127.0.0.0/24"},
		{"commas only", name + strings.Repeat(",", 4000), "127.0.0.0/24"},
		{"an empty header behind", name + "145.221.173.91\r\n" + name, "127.0.0.0/24"},
		{"spaces for commas", name + "145.221.173.91 84.24.10.1", "127.0.0.0/24"},
		{"semicolons for commas", name + "145.221.173.91;84.24.10.1", "127.0.0.0/24"},
		{"the syntax of Forwarded", name + "for=84.24.10.1;proto=https", "127.0.0.0/24"},
		{"SQL", name + "1' OR '1'='1", "127.0.0.0/24"},
		{"a line of a log", name + "84.24.10.1\tGET /admin", "127.0.0.0/24"},
		{"bytes", name + "\xff\xfe\xfd", "127.0.0.0/24"},
		{"full-width digits", name + "\uff18\uff14.24.10.1", "127.0.0.0/24"},
		{"a long hop", name + "145.221.173.91, " + strings.Repeat("1", 5000), "127.0.0.0/24"},
		{"32 trusted hops", name + "145.221.173.91, " + strings.Repeat("10.1.1.1, ", 31) + "10.2.2.2", "10.1.1.0/24"},
		{"31 trusted hops", name + "84.24.10.1, " + strings.Repeat("10.1.1.1, ", 30) + "10.2.2.2", "84.24.10.0/24"},
		{"500 hops", name + strings.Repeat("145.221.173.91,", 500) + "84.24.10.1", "84.24.10.0/24"},
	} {
		rows = append(rows, row("forwarded: "+c[0], httpPost(batchOf(eventOf()), c[1]), "200 accepted").from(c[2]))
	}
	return rows
}

// framingRows try to make the collector and a proxy before it see different
// requests, or are no HTTP at all. A second answer would be the smuggled one.
func framingRows() []hostile {
	good := batchOf(eventOf())
	smuggled := httpPost(good, "X-Forwarded-For: 203.0.113.9")
	framed := func(body string, headers ...string) string {
		return httpRequest("POST "+PathEvents+" HTTP/1.1", "", headers...) + body
	}
	chunked := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(good), good)
	trailed := func(fields string) string { return strings.TrimSuffix(chunked, "\r\n") + fields + "\r\n\r\n" }
	length := fmt.Sprintf("Content-Length: %d", len(good))
	const te, closed, malformed = "Transfer-Encoding: chunked", "Connection: close", "400 !malformed"
	line := func(s string) string { return httpRequest(s, good) }
	header := func(s string) string { return httpPost(good, s) }
	return []hostile{
		row("framing: two requests", httpPost(good)+httpPost(good), "200 accepted | 200 accepted"),
		row("framing: a request after the last", httpPost(good, closed)+smuggled, "200 accepted"),
		row("framing: a length that is too short", framed(good, fmt.Sprintf("Content-Length: %d", len(good)-1)), "400 !malformed | 400 !malformed"),
		row("framing: a length that is too long", framed(good, fmt.Sprintf("Content-Length: %d", len(good)+1)), malformed),
		row("framing: a length and nothing", framed("", length), malformed),
		row("framing: no length", framed(smuggled), "400 !malformed | 200 accepted"),
		row("framing: length zero", framed(smuggled, "Content-Length: 0"), "400 !malformed | 200 accepted"),
		row("framing: a negative length", framed(good, "Content-Length: -1"), malformed),
		row("framing: a length with a plus", framed(good, fmt.Sprintf("Content-Length: +%d", len(good))), malformed),
		row("framing: a hexadecimal length", framed(good, fmt.Sprintf("Content-Length: 0x%x", len(good))), malformed),
		row("framing: a length with a fraction", framed(good, length+".0"), malformed),
		row("framing: an empty length", framed(smuggled, "Content-Length:"), malformed),
		row("framing: a list of lengths", framed(good, length+fmt.Sprintf(", %d", len(good))), malformed),
		row("framing: a length beyond numbers", framed(good, "Content-Length: 99999999999999999999999"), malformed),
		row("framing: a length beyond memory", framed(good, "Content-Length: 9223372036854775807"), "413 !too_large"),
		row("framing: two lengths, the first longer", framed(good+smuggled, fmt.Sprintf("Content-Length: %d", len(good)+len(smuggled)), length), malformed),
		row("framing: two lengths, the last longer", framed(good+smuggled, length, fmt.Sprintf("Content-Length: %d", len(good)+len(smuggled))), malformed),
		row("framing: a length with space before its colon", framed(good, fmt.Sprintf("Content-Length : %d", len(good))), malformed),
		row("framing: a folded length", framed(good, "Content-Length:\r\n "+fmt.Sprint(len(good))), "200 accepted"),
		row("framing: chunks", framed(chunked, te), "200 accepted"),
		row("framing: chunks and a request behind", framed(chunked+smuggled, te), "200 accepted"),
		row("framing: chunks and a length", framed("0\r\n\r\n"+smuggled, length, te), malformed),
		row("framing: a length and chunks, the other order", framed("0\r\n\r\n"+smuggled, te, length), malformed),
		row("framing: chunks twice", framed(chunked+smuggled, te, te), malformed),
		row("framing: chunks and identity", framed(chunked+smuggled, te, "Transfer-Encoding: identity"), malformed),
		row("framing: chunks in a list", framed(chunked+smuggled, "Transfer-Encoding: chunked, identity"), malformed),
		row("framing: an unknown encoding", framed(chunked+smuggled, "Transfer-Encoding: xchunked"), malformed),
		row("framing: compressed and in chunks", framed(chunked+smuggled, "Transfer-Encoding: gzip, chunked"), malformed),
		row("framing: chunks in other letters", framed(chunked+smuggled, "tRANSFER-eNCODING: CHUNKED"), "200 accepted"),
		row("framing: chunks behind a tab", framed(chunked+smuggled, "Transfer-Encoding:\tchunked"), "200 accepted"),
		row("framing: chunks behind a vertical tab", framed(chunked+smuggled, "Transfer-Encoding: \vchunked"), malformed),
		row("framing: chunks with space before the colon", framed(chunked+smuggled, "Transfer-Encoding : chunked"), malformed),
		row("framing: folded chunks", framed(chunked+smuggled, "Transfer-Encoding:\r\n chunked"), "200 accepted"),
		row("framing: a chunk without size", framed("\r\n"+good+"\r\n0\r\n\r\n", te), malformed),
		row("framing: a negative chunk", framed("-1\r\n"+good+"\r\n0\r\n\r\n", te), malformed),
		row("framing: a chunk that is no number", framed("kanarie\r\n"+good+"\r\n0\r\n\r\n", te), malformed),
		row("framing: a chunk with 0x", framed("0x"+chunked, te), malformed),
		row("framing: a chunk beyond numbers", framed("fffffffffffffffffffff\r\n"+good, te), malformed),
		row("framing: a chunk beyond the limit", framed("7fffffff\r\n"+good, te), "413 !too_large"),
		row("framing: a chunk that is too short", framed("2\r\n"+good+"\r\n0\r\n\r\n", te), malformed),
		row("framing: a chunk without its end", framed(strings.TrimSuffix(chunked, "0\r\n\r\n"), te), "none"),
		row("framing: no end of the last chunk", framed(strings.TrimSuffix(chunked, "\r\n"), te), malformed),
		row("framing: a chunk extension", framed(strings.Replace(chunked, "\r\n", ";kanarie=\"x\"\r\n", 1), te), "200 accepted"),
		row("framing: a trailer", framed(trailed("X-A: kanarie"), te), "200 accepted").from("145.221.173.0/24"),
		row("framing: a trailer with an address", framed(trailed("X-Forwarded-For: 203.0.113.9"), te), malformed),
		row("framing: a trailer with an address in small letters", framed(trailed("x-forwarded-for:203.0.113.9"), te), malformed),
		row("framing: a trailer with an announced address", framed(trailed("X-Forwarded-For: 203.0.113.9"), te, "Trailer: X-Forwarded-For"), malformed),
		row("framing: a trailer with another origin", framed(trailed("Origin: https://evil.example"), te), "200 accepted"),
		row("framing: a trailer with an origin", framed(trailed("Origin: "+testOrigin), te, "Origin"), "403 !origin_not_allowed").counts("tenant/origin_not_allowed=1"),
		row("framing: identity and a length", framed(good+smuggled, "Transfer-Encoding: identity", length), "200 accepted"),
		row("framing: a trailer with a signal taken back", framed(trailed("Sec-GPC: 0"), te, "Sec-GPC: 1"), "200 dropped:objected"),
		row("framing: a trailer with a length", framed(trailed("Content-Length: 5"), te), malformed),
		row("framing: a trailer with an encoding", framed(trailed(te), te), malformed),
		row("framing: a trailer over the limit of headers", framed(trailed(strings.Repeat("X-A: kanarie\r\n", 5000)+"X-A: b"), te), "431 !too_large"),
		row("framing: a body to a pixel", httpRequest("GET "+PathPixel+" HTTP/1.1", smuggled), "200 image").counts("nobody/malformed=1"),
		row("framing: chunks to HTTP/1.0", strings.Replace(framed(chunked, te), "HTTP/1.1", "HTTP/1.0", 1), malformed),
		row("framing: HTTP/1.0", strings.Replace(httpPost(good), "HTTP/1.1", "HTTP/1.0", 1), "200 accepted"),
		row("framing: to be continued", httpPost(good, "Expect: 100-continue"), "100 | 200 accepted"),
		row("framing: another expectation", httpPost(good, "Expect: kanarie"), "200 accepted"),
		row("framing: an upgrade", httpPost(good, "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"), "200 accepted"),
		row("framing: HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00", "404"),
		row("framing: HTTP/0.9", "GET "+PathPixel+"\r\n", malformed),
		row("framing: HTTP/3.0", line("POST "+PathEvents+" HTTP/3.0"), "200 accepted"),
		row("framing: no version", line("POST "+PathEvents), malformed),
		row("framing: a version of its own", line("POST "+PathEvents+" kanarie/1.1"), malformed),
		row("framing: TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", malformed),
		row("framing: a PROXY line", "PROXY TCP4 145.221.173.91 10.0.0.1 1 2\r\n"+httpPost(good), malformed),
		row("framing: SMTP", "EHLO kanarie\r\nMAIL FROM:<kanarie@mail.example>\r\n\r\n", malformed),
		row("framing: Redis", "*1\r\n$4\r\nPING\r\n\r\n", malformed),
		row("framing: NUL bytes", strings.Repeat("\x00", 100)+"\r\n\r\n", malformed),
		row("framing: no method", line(" "+PathEvents+" HTTP/1.1"), malformed),
		row("framing: a method in small letters", line("post "+PathEvents+" HTTP/1.1"), "405"),
		row("framing: a method with NUL", line("PO\x00ST "+PathEvents+" HTTP/1.1"), malformed),
		row("framing: a long method", line(strings.Repeat("K", 9000)+" "+PathEvents+" HTTP/1.1"), "431 !too_large"),
		row("framing: lines without carriage return", strings.ReplaceAll(httpPost(good), "\r\n", "\n"), malformed),
		row("framing: a carriage return in a header", header("X-A: a\rX-Forwarded-For: 203.0.113.9"), malformed),
		row("framing: NUL in a header", header("X-A: a\x00b"), malformed),
		row("framing: NUL in a header's name", header("X-\x00A: b"), malformed),
		row("framing: a header without colon", strings.Replace(httpPost(good), "\r\n", "\r\nkanarie\r\n", 1), malformed),
		row("framing: a header without name", header(": kanarie"), malformed),
		row("framing: a header with a space in its name", header("X A: kanarie"), "200 accepted"),
		row("framing: a header before the first", strings.Replace(httpPost(good), "\r\n", "\r\n X-A: kanarie\r\n", 1), malformed),
		row("framing: a folded header", header("X-A: a\r\n\tkanarie"), "200 accepted"),
		row("framing: an encoding folded away", framed(good+smuggled, length, "X-A: a\r\n Transfer-Encoding: chunked"), "200 accepted | 200 accepted"),
		row("framing: an address folded behind", header("X-Forwarded-For: 145.221.173.91,\r\n 84.24.10.1"), "200 accepted").from("84.24.10.0/24"),
		row("framing: a header beyond ASCII", header("X-\xc3\xa4: kanarie"), malformed),
		row("framing: no host", httpPost(good, "Host"), malformed),
		row("framing: two hosts", httpPost(good, "Host: a.example", "Host: b.example"), malformed),
		row("framing: a host that is none", httpPost(good, "Host: kanarie@mail.example/x?y"), malformed),
		row("framing: half a request line", "POST /v1/ev", malformed),
		row("framing: half the headers", "POST "+PathEvents+" HTTP/1.1\r\nHost: x\r\nX-A: kana", malformed),
		row("framing: nothing", "", "none"),
		row("framing: empty lines", "\r\n\r\n", "none"),
		row("framing: empty lines before", "\r\n\r\n"+httpPost(good), "200 accepted"),
	}
}

// pathRows ask for what is not there, or for what is in another spelling.
func pathRows() []hostile {
	good := batchOf(eventOf())
	var rows []hostile
	for _, c := range [][2]string{
		{"POST / HTTP/1.1", "404"},
		{"POST /v1/events/ HTTP/1.1", "404"},
		{"POST /v1/EVENTS HTTP/1.1", "404"},
		{"POST /v2/events HTTP/1.1", "404"},
		{"POST /v1/events;x HTTP/1.1", "404"},
		{"POST /v1/events%00 HTTP/1.1", "404"},
		{"POST /v1/events%20 HTTP/1.1", "404"},
		{"POST /v1/events%0d%0aX-A:%20b HTTP/1.1", "404"},
		{"POST /v1/events.json HTTP/1.1", "404"},
		{"POST /v1\\events HTTP/1.1", "404"},
		{"POST /v1/events/../../etc/passwd HTTP/1.1", "404"},
		{"POST /v1/%252e%252e/v1/events HTTP/1.1", "404"},
		{"POST /" + strings.Repeat("kanarie/", 500) + " HTTP/1.1", "404"},
		{"POST /" + strings.Repeat("../", 1000) + "etc/passwd HTTP/1.1", "404"},
		{"POST /" + strings.Repeat("kanarie/", 1200) + " HTTP/1.1", "431 !too_large"},
		{"POST /v1/events?site=" + strings.Repeat("k", 9000) + " HTTP/1.1", "431 !too_large"},
		{"GET /metrics HTTP/1.1", "404"},
		{"GET /debug/pprof/heap HTTP/1.1", "404"},
		{"GET /.env HTTP/1.1", "404"},
		{"GET /%c0%ae%c0%ae/etc/passwd HTTP/1.1", "404"},
		{"GET /wp-login.php?user=kanarie@mail.example HTTP/1.1", "404"},
		{"PUT /v1/events HTTP/1.1", "405"},
		{"PATCH /v1/events HTTP/1.1", "405"},
		{"DELETE /v1/events HTTP/1.1", "405"},
		{"GET /v1/events HTTP/1.1", "405"},
		{"TRACE /v1/events HTTP/1.1", "405"},
		{"KANARIE /v1/events HTTP/1.1", "405"},
		{"POST /v1/pixel.gif HTTP/1.1", "405"},
		{"POST /v1/s.js HTTP/1.1", "405"},
		{"CONNECT 203.0.113.9:443 HTTP/1.1", "404"},
		{"POST * HTTP/1.1", "404"},
		// What a proxy may have rewritten is the same path.
		{"POST //v1//events HTTP/1.1", "200 accepted"},
		{"POST /v1/./events HTTP/1.1", "200 accepted"},
		{"POST /x/../v1/events HTTP/1.1", "200 accepted"},
		{"POST /v1/%65vents HTTP/1.1", "200 accepted"},
		{"POST /v1/events?email=kanarie%40mail.example#kanarie HTTP/1.1", "200 accepted"},
		{"POST http://kanarie.example/v1/events HTTP/1.1", "200 accepted"},
	} {
		rows = append(rows, row(fmt.Sprintf("path: %.60s", c[0]), httpRequest(c[0], good), c[1]))
	}
	return rows
}

// pixelRows are the same visitor without script: the image comes in any case.
func pixelRows() []hostile {
	const site = "site=" + testKey
	page := "&u=" + url.QueryEscape(testOrigin+"/a")
	var rows []hostile
	for _, c := range [][3]string{
		{"a page", site + page, "tenant/none=1"},
		{"an e-mail address in the page", site + "&u=" + url.QueryEscape(testOrigin+"/u/kanarie%40mail.example?q=kanarie"), "tenant/none=1"},
		{"nothing", "", "nobody/malformed=1"},
		{"no page", site, "tenant/malformed=1"},
		{"an empty site", "site=" + page, "nobody/malformed=1"},
		{"an unknown site", "site=kanarie@mail.example" + page, "nobody/unknown_site=1"},
		{"two sites", "site=pk_other&" + site + page, "nobody/unknown_site=1"},
		{"a site as a list", "site[]=" + testKey + page, "nobody/malformed=1"},
		{"an encoded site", "site=%70k_aaaaaaaaaaaaaaaaaaaaaaaa" + page, "tenant/none=1"},
		{"another page", site + "&u=https://evil.example/", "tenant/origin_not_allowed=1"},
		{"javascript", site + "&u=javascript:alert(1)", "tenant/malformed=1"},
		{"NUL", site + page + "%00", "tenant/malformed=1"},
		{"bytes", site + page + "%ff%fe", "tenant/malformed=1"},
		{"a percent sign that encodes nothing", site + page + "/100%", "tenant/none=1"},
		{"a long page", site + page + strings.Repeat("k", 5000), "tenant/too_large=1"},
		{"ids of its own", site + page + "&id=" + hostileID + "&company_id=cmp_b&consent=analytics&at=0", "tenant/none=1"},
		{"a thousand parameters", site + page + strings.Repeat("&a", 1000), "tenant/none=1"},
		{"a prototype", site + page + "&__proto__[x]=1&constructor.prototype=1", "tenant/none=1"},
	} {
		send := httpRequest("GET "+PathPixel+"?"+c[1]+" HTTP/1.1", "", "Origin", "Content-Type")
		rows = append(rows, row("pixel: "+c[0], send, "200 image").counts(c[2]))
	}
	get := func(headers ...string) string {
		return httpRequest("GET "+PathPixel+"?"+site+page+" HTTP/1.1", "", append(headers, "Content-Type")...)
	}
	return append(rows,
		row("pixel: null origin", get("Origin: null"), "200 image").counts("tenant/origin_not_allowed=1"),
		row("pixel: another origin", get("Origin: https://evil.example"), "200 image").counts("tenant/origin_not_allowed=1"),
		row("pixel: another referer", get("Origin", "Referer: https://evil.example/"+testOrigin), "200 image").counts("tenant/origin_not_allowed=1"),
		row("pixel: an objection", get("Origin", "Sec-GPC: 1"), "200 image").counts("tenant/objected=1"),
		row("pixel: a prefetch", get("Origin", "X-Moz: prefetch"), "200 image").counts("tenant/prefetch=1"),
		row("pixel: HEAD", strings.Replace(get("Origin"), "GET", "HEAD", 1), "405"),
	)
}

// preflightRows ask for leave; they carry no event.
func preflightRows() []hostile {
	var rows []hostile
	for _, c := range [][3]string{
		{"good", "Origin: " + testOrigin, "204"},
		{"no origin", "Origin", "403"},
		{"null", "Origin: null", "403"},
		{"another", "Origin: https://evil.example", "403"},
		{"any", "Origin: *", "403"},
		{"a label", "Origin: https://www.example.nl.evil.example", "403"},
		{"userinfo", "Origin: https://www.example.nl@evil.example", "403"},
		{"other methods and headers", "Access-Control-Request-Method: DELETE\r\nAccess-Control-Request-Headers: kanarie," + strings.Repeat("x,", 500), "204"},
	} {
		rows = append(rows, row("preflight: "+c[0], httpRequest("OPTIONS "+PathEvents+" HTTP/1.1", "", c[1], "Content-Type"), c[2]))
	}
	return append(rows, row("preflight: everything", httpRequest("OPTIONS * HTTP/1.1", ""), "404"))
}

// slowRows stop in the middle and keep the connection.
func slowRows() []hostile {
	head := strings.TrimSuffix(httpPost("", "Content-Length: 1000"), "\r\n")
	const answer = "408 !malformed"
	return []hostile{
		row("slow: half a method", "PO", answer),
		row("slow: half a request line", "POST /v1/events?kanarie@mail.example", answer),
		row("slow: half the headers", head+"X-A: kanarie", answer),
		row("slow: headers without end", head, answer),
		row("slow: no body", head+"\r\n", answer),
		row("slow: half a body", head+"\r\n{\"site\":\""+testKey+"\",\"email\":\"kanarie@mail.example", answer),
		row("slow: all of a body but a byte", head+"\r\n"+strings.Repeat(" ", 999), answer),
		row("slow: half a chunk", httpPost("", "Transfer-Encoding: chunked")+"ff\r\nkanarie", answer),
		row("slow: chunks without the last", httpPost("", "Transfer-Encoding: chunked")+"2\r\n{}\r\n", answer),
		row("slow: continued and nothing", head+"Expect: 100-continue\r\n\r\n", "100 | 408 !malformed"),
	}
}
