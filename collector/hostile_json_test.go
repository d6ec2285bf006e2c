package collector

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/metiva-io/metiva/collector/mask"
	"github.com/metiva-io/metiva/schemas"
)

// hostileRows is the whole corpus but for what takes time (slowRows).
func hostileRows() []hostile {
	var rows []hostile
	for _, group := range [][]hostile{
		malformedRows(), toleratedRows(), eventRows(), timeRows(), urlRows(), personalRows(), batchRows(), consentRows(),
		headerRows(), forwardedRows(), framingRows(), pathRows(), pixelRows(), preflightRows(),
	} {
		rows = append(rows, group...)
	}
	return rows
}

// text is s as JSON writes it, with nothing escaped: s may hold escapes itself.
func text(s string) string { return `"` + s + `"` }

// withMember is a body of one good event with a member more at its top.
func withMember(name, value string) string {
	return `{"site":"` + testKey + `","` + name + `":` + value + `,"events":[` + eventOf() + `]}`
}

// malformedRows are bodies that are not one JSON object, or one that two readers
// could read differently: 400, and nobody's, since the site is not known.
func malformedRows() []hostile {
	var many strings.Builder
	for i := range 65 {
		fmt.Fprintf(&many, `,"k%d":1`, i)
	}
	good := batchOf(eventOf())
	var rows []hostile
	for _, c := range [][2]string{
		{"space only", " \r\n\t "},
		{"null", "null"},
		{"true", "true"},
		{"a number", "1"},
		{"a string", `"` + personalWord + `"`},
		{"an empty list", "[]"},
		{"a list of batches", "[" + good + "]"},
		{"an open brace", "{"},
		{"a closed brace", "}"},
		{"an empty object", "{}"},
		{"two objects", good + good},
		{"two lines of JSON", good + "\n" + good},
		{"something after the object", good + personalWord},
		{"a comma after the object", good + ","},
		{"NUL after the object", good + "\x00"},
		{"NUL before the object", "\x00" + good},
		{"a comma at the end of an object", strings.Replace(good, "}]}", ",}]}", 1)},
		{"a comma at the end of a list", strings.Replace(good, "}]}", "},]}", 1)},
		{"a comma at the start", strings.Replace(good, "{", "{,", 1)},
		{"no colon", strings.Replace(good, `"site":`, `"site" `, 1)},
		{"two colons", strings.Replace(good, `"site":`, `"site"::`, 1)},
		{"no comma", strings.Replace(good, `,"sent_at"`, `"sent_at"`, 1)},
		{"a semicolon for a comma", strings.Replace(good, `,"sent_at"`, `;"sent_at"`, 1)},
		{"no value", withMember("x", "")},
		{"a key without quotes", strings.Replace(good, `"site"`, `site`, 1)},
		{"a number for a key", withMember("x", `{1:2}`)},
		{"single quotes", strings.ReplaceAll(good, `"`, `'`)},
		{"typographic quotes", strings.ReplaceAll(good, `"`, "”")},
		{"a block comment", "/* " + personalWord + " */" + good},
		{"a line comment", "// x\n" + good},
		{"a hash comment", "# x\n" + good},
		{"the guard of JSON APIs", ")]}',\n" + good},
		{"a callback", "cb(" + good + ")"},
		{"an anonymous function", "(function(){})()"},
		{"XML", `<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><x>&e;</x>`},
		{"a form", "site=" + testKey + "&email=" + personalWord + "%40mail.example"},
		{"multipart", "--b\r\nContent-Disposition: form-data; name=\"site\"\r\n\r\n" + testKey + "\r\n--b--\r\n"},
		{"MessagePack", "\x81\xa4site\xa3pk_"},
		{"CBOR", "\xa1\x64site\x63pk_"},
		{"a gzip header without its name", "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03"},
		{"a byte order mark", "\xef\xbb\xbf" + good},
		{"UTF-16, little end first", "\xff\xfe{\x00}\x00"},
		{"UTF-16, big end first", "\xfe\xff\x00{\x00}"},
		{"UTF-32", "{\x00\x00\x00}\x00\x00\x00"},
		{"NaN", withMember("x", "NaN")},
		{"Infinity", withMember("x", "Infinity")},
		{"minus Infinity", withMember("x", "-Infinity")},
		{"undefined", withMember("x", "undefined")},
		{"a leading zero", withMember("x", "01")},
		{"a leading minus zero", withMember("x", "-01")},
		{"a leading plus", withMember("x", "+1")},
		{"no digit before the point", withMember("x", ".5")},
		{"no digit after the point", withMember("x", "1.")},
		{"no digit in the exponent", withMember("x", "1e")},
		{"a sign in the exponent only", withMember("x", "1e+")},
		{"two exponents", withMember("x", "1e1e1")},
		{"a minus only", withMember("x", "-")},
		{"two minuses", withMember("x", "--1")},
		{"a hexadecimal number", withMember("x", "0x10")},
		{"a number with underscores", withMember("x", "1_000")},
		{"a bigint", withMember("x", "1n")},
		{"a number in Arabic digits", withMember("x", "١٢")},
		{"True", withMember("x", "True")},
		{"a cut literal", withMember("x", "nul")},
		{"a long literal", withMember("x", "nulll")},
		{"a vertical tab for space", strings.Replace(good, ":", "\v:", 1)},
		{"a form feed for space", strings.Replace(good, ":", "\f:", 1)},
		{"a no-break space", strings.Replace(good, ":", "\u00a0:", 1)},
		{"a line separator for space", strings.Replace(good, ":", "\u2028:", 1)},
		{"a newline in a string", withMember("x", "\"a\nb\"")},
		{"a tab in a string", withMember("x", "\"a\tb\"")},
		{"NUL in a string", withMember("x", "\"a\x00b\"")},
		{"NUL in a key", withMember("a\x00b", "1")},
		{"an escape in a string", withMember("x", "\"\x1b[2J\"")},
		{"an unknown escape", withMember("x", `"\x41"`)},
		{"an escaped quote mark", withMember("x", `"\'"`)},
		{"a capital escape", withMember("x", `"\U00000041"`)},
		{"a short escape", withMember("x", `"\u12"`)},
		{"an escape in braces", withMember("x", `"\u{41}"`)},
		{"an escape that is no number", withMember("x", `"\u12g4"`)},
		{"an escape with a sign", withMember("x", `"\u+123"`)},
		{"a lone high surrogate", withMember("x", `"\ud800"`)},
		{"a lone low surrogate", withMember("x", `"\udc00"`)},
		{"surrogates the wrong way round", withMember("x", `"\udc00\ud800"`)},
		{"two high surrogates", withMember("x", `"\ud800\ud800"`)},
		{"a high surrogate and a letter", withMember("x", `"\ud800\u0041"`)},
		{"a lone surrogate in a key", withMember(`\udfff`, "1")},
		{"a byte that is not UTF-8", withMember("x", "\"\xff\"")},
		{"a byte that is not UTF-8, in a key", withMember("\xff", "1")},
		{"an overlong slash", withMember("x", "\"\xc0\xaf\"")},
		{"an overlong NUL", withMember("x", "\"\xc0\x80\"")},
		{"a surrogate in UTF-8", withMember("x", "\"\xed\xa0\x80\"")},
		{"beyond Unicode", withMember("x", "\"\xf4\x90\x80\x80\"")},
		{"five bytes for a character", withMember("x", "\"\xf8\x88\x80\x80\x80\"")},
		{"half a character", withMember("x", "\"\xe2\x82\"")},
		{"a string without end", `{"site":"` + testKey},
		{"a string that ends in a backslash", `{"site":"` + testKey + `\`},
		{"an escaped end", `{"site":"` + testKey + `\"}`},
		{"a list without end", strings.TrimSuffix(good, "]}")},
		{"an object without end", strings.TrimSuffix(good, "}")},
		{"brackets crossed", strings.Replace(good, "}]}", "]}}", 1)},
		{"17 lists deep", withMember("x", strings.Repeat("[", 17)+strings.Repeat("]", 17))},
		{"17 objects deep", withMember("x", strings.Repeat(`{"x":`, 17)+"1"+strings.Repeat("}", 17))},
		{"30,000 lists deep", withMember("x", strings.Repeat("[", 30000)+strings.Repeat("]", 30000))},
		{"60,000 lists without end", strings.Repeat("[", 60000)},
		{"10,000 objects without end", strings.Repeat(`{"x":`, 10000)},
		{"depth in an event", batchOf(eventOf("x", strings.Repeat("[", 20)+strings.Repeat("]", 20)))},
		{"the same site twice", withMember("site", text(testKey))},
		{"another site, the key escaped", withMember(`s\u0069te`, `"pk_b"`)},
		{"the same id twice", batchOf(strings.Replace(eventOf(), "{", `{"id":"x",`, 1))},
		{"the same id twice, once escaped", batchOf(strings.Replace(eventOf(), "{", `{"\u0069d":"x",`, 1))},
		{"a key twice in what is ignored", withMember("x", `{"a":1,"\u0061":2}`)},
		{"__proto__ twice", withMember("x", `{"__proto__":1,"__proto__":2}`)},
		{"events twice", withMember("events", "["+eventOf()+"]")},
		{"an empty key twice", withMember("x", `{"":1,"":2}`)},
		{"65 keys", withMember("x", "{"+many.String()[1:]+"}")},
		{"no site", `{"events":[` + eventOf() + `]}`},
		{"an empty site", `{"site":"","events":[` + eventOf() + `]}`},
		{"a site that is a number", `{"site":1,"events":[` + eventOf() + `]}`},
		{"a site that is null", `{"site":null,"events":[` + eventOf() + `]}`},
		{"a site that is an object", `{"site":{"$ne":""},"events":[` + eventOf() + `]}`},
		{"a site that is a list", `{"site":["` + testKey + `"],"events":[` + eventOf() + `]}`},
		{"another case of site", `{"Site":"` + testKey + `","events":[` + eventOf() + `]}`},
		{"a sending time that is text", withMember("sent_at", `"1795348830000"`)},
		{"a negative sending time", withMember("sent_at", "-1")},
		{"a sending time with a fraction", withMember("sent_at", "1795348830000.5")},
		{"a sending time with an exponent", withMember("sent_at", "1e12")},
		{"a sending time of 17 digits", withMember("sent_at", "17953488300000000")},
		{"a sending time of 5,000 digits", withMember("sent_at", strings.Repeat("9", 5000))},
		{"a sending time that is a list", withMember("sent_at", "[]")},
		{"an opt-out that is text", withMember("opt_out", `"true"`)},
		{"an opt-out that is a number", withMember("opt_out", "1")},
		{"no events", batchOf()},
		{"events that are null", `{"site":"` + testKey + `","events":null}`},
		{"events that are an object", `{"site":"` + testKey + `","events":{"0":` + eventOf() + `}}`},
		{"events that are text", `{"site":"` + testKey + `","events":"[]"}`},
		{"neither events nor an event", `{"site":"` + testKey + `"}`},
		{"events and an event", withMember("id", text(hostileID))},
	} {
		rows = append(rows, row("malformed: "+c[0], httpPost(c[1]), "400 !malformed"))
	}
	return rows
}

// toleratedRows carry what nobody asked for, and change nothing by it.
func toleratedRows() []hostile {
	var rows []hostile
	for _, c := range [][2]string{
		{"__proto__", withMember("__proto__", `{"company_id":"cmp_other","analytics":true}`)},
		{"constructor", withMember("constructor", `{"prototype":{"allowed":true}}`)},
		{"prototype keys in the event", batchOf(eventOf("__proto__", `{"id":"x"}`, "toString", "null", "hasOwnProperty", "1", "__defineGetter__", "{}"))},
		{"a tenant of its own", withMember("company_id", `"cmp_bbbbbbbbbbbbbbbbbbbb"`)},
		{"a tenant of its own in the event", batchOf(eventOf("company_id", `"cmp_bbbbbbbbbbbbbbbbbbbb"`, "site_id", `"sit_b"`, "brand_id", `"brd_b"`))},
		{"a consent state of its own", batchOf(eventOf("consent", `"analytics"`, "visitor_id", `"`+personalWord+`"`, "visit_key", `"x"`))},
		{"an address of its own", batchOf(eventOf("ip", text(testVisitor), "user_agent", text(personalWord), "email", text(personalWord+"@mail.example")))},
		{"a reception of its own", batchOf(eventOf("received_at", "1", "occurred_at", "1", "retention_days", "99999"))},
		{"an empty key", withMember("", "1")},
		{"an escaped NUL in what is ignored", withMember(`\u0000`, `"\u0000"`)},
		{"a huge number that is ignored", withMember("x", "1e999999999")},
		{"5,000 digits that are ignored", withMember("x", strings.Repeat("7", 5000))},
		{"minus zero", withMember("x", "-0")},
		{"14 lists deep", withMember("x", strings.Repeat("[", 14)+strings.Repeat("]", 14))},
		{"a long ignored text", withMember("title", text(strings.Repeat(personalWord+" ", 5000)))},
		{"a long ignored key", withMember(strings.Repeat("k", 50000), "1")},
		{"escaped keys", strings.NewReplacer(`"site"`, `"\u0073\u0069te"`, `"id"`, `"\u0069d"`).Replace(batchOf(eventOf()))},
		{"an emoji by surrogates", withMember("x", `"\ud83d\ude00"`)},
		{"a noncharacter", withMember("x", `"\uffff"`)},
		{"much space", strings.Replace(batchOf(eventOf()), ":", strings.Repeat(" \r\n\t", 5000)+":", 1)},
		{"an opt-out that is null", withMember("opt_out", "null")},
		{"an opt-out taken back", withMember("opt_out", "false")},
		{"another case of events", strings.Replace(withMember("x", "1"), `"x":1`, `"EVENTS":[1,2,3]`, 1)},
		{"a referrer that is null", batchOf(eventOf("referrer", "null"))},
	} {
		rows = append(rows, row("tolerated: "+c[0], httpPost(c[1]), "200 accepted").keeps("/a").from("145.221.173.0/24"))
	}
	return append(rows, row("tolerated: an event at the top, and a key of its own",
		httpPost(strings.Replace(eventOf(), "{", `{"site":"`+testKey+`","__proto__":null,`, 1)), "200 accepted").keeps("/a"))
}

// eventRows hold one event that is at fault: its own result says so.
func eventRows() []hostile {
	const id, kind, url, referrer = "id", "type", "url", "referrer"
	var rows []hostile
	for _, c := range []struct{ name, member, value, outcome string }{
		{"UUID version 1", id, `"6ba7b810-9dad-11d1-80b4-00c04fd430c8"`, "dropped:malformed"},
		{"UUID version 4", id, `"9b2f5c1e-7c1e-4b44-9f0a-1d2e3f405162"`, "dropped:malformed"},
		{"UUID version 6", id, `"1ec9414c-232a-6b00-b3c8-9e6bdeced846"`, "dropped:malformed"},
		{"UUID version 8", id, `"019ab0c0-7c00-8000-8000-0000000000aa"`, "dropped:malformed"},
		{"UUID of the NCS variant", id, `"019ab0c0-7c00-7000-0000-0000000000aa"`, "dropped:malformed"},
		{"UUID of the Microsoft variant", id, `"019ab0c0-7c00-7000-c000-0000000000aa"`, "dropped:malformed"},
		{"UUID of the reserved variant", id, `"019ab0c0-7c00-7000-e000-0000000000aa"`, "dropped:malformed"},
		{"UUID in capitals", id, `"019AB0C0-7C00-7000-8000-0000000000AA"`, "accepted"},
		{"UUID of the far future", id, `"ffffffff-ffff-7fff-bfff-ffffffffffff"`, "accepted"},
		{"nil UUID", id, `"00000000-0000-0000-0000-000000000000"`, "dropped:malformed"},
		{"max UUID", id, `"ffffffff-ffff-ffff-ffff-ffffffffffff"`, "dropped:malformed"},
		{"UUID in braces", id, text("{" + hostileID + "}"), "dropped:malformed"},
		{"UUID as URN", id, text("urn:uuid:" + hostileID), "dropped:malformed"},
		{"UUID without dashes", id, text(strings.ReplaceAll(hostileID, "-", "")), "dropped:malformed"},
		{"UUID with dashes elsewhere", id, `"019ab0c07-c00-7000-8000-0000000000aa"`, "dropped:malformed"},
		{"UUID one short", id, text(hostileID[:35]), "dropped:malformed"},
		{"UUID one long", id, text(hostileID + "a"), "dropped:malformed"},
		{"UUID with space around it", id, text(" " + hostileID + " "), "dropped:malformed"},
		{"UUID with a newline", id, text(hostileID + `\n`), "dropped:malformed"},
		{"UUID with NUL", id, text(hostileID[:35] + `\u0000`), "dropped:malformed"},
		{"UUID with a letter", id, text(hostileID[:35] + "g"), "dropped:malformed"},
		{"UUID in full-width digits", id, text(hostileID[:33] + "\uff11"), "dropped:malformed"},
		{"UUID with dashes for digits", id, `"-19ab0c0-7c00-7000-8000-0000000000aa"`, "dropped:malformed"},
		{"an id that is an e-mail address", id, text(personalWord + "@mail.example"), "dropped:malformed"},
		{"an id that is a script", id, `"</script><script>alert(1)//0123456789"`, "dropped:malformed"},
		{"an id that breaks the answer", id, `"\"},{\"outcome\":\"accepted\",\"id\":\"012"`, "dropped:malformed"},
		{"an id that is SQL", id, `"'; DROP TABLE events; --abcdefghijklm"`, "dropped:malformed"},
		{"an id of 60,000 characters", id, text(strings.Repeat("a", 60000)), "dropped:malformed"},
		{"an empty id", id, `""`, "dropped:malformed"},
		{"no id", id, "", "dropped:malformed"},
		{"an id that is null", id, "null", "dropped:malformed"},
		{"an id that is a number", id, "7", "dropped:malformed"},
		{"an id that is a list", id, `["` + hostileID + `"]`, "dropped:malformed"},
		{"an id that is an object", id, `{"$oid":"x"}`, "dropped:malformed"},
		{"an unknown type", kind, `"video"`, "dropped:malformed"},
		{"a type in capitals", kind, `"PAGE_VIEW"`, "dropped:malformed"},
		{"a type with NUL", kind, `"page_view\u0000"`, "dropped:malformed"},
		{"a type with space", kind, `"page_view "`, "dropped:malformed"},
		{"a type by its number", kind, "1", "dropped:malformed"},
		{"a type that is true", kind, "true", "dropped:malformed"},
		{"a type that is prototype", kind, `"__proto__"`, "dropped:malformed"},
		{"an empty type", kind, `""`, "dropped:malformed"},
		{"no type", kind, "", "dropped:malformed"},
		{"no url", url, "", "dropped:malformed"},
		{"a url that is null", url, "null", "dropped:malformed"},
		{"a url that is a number", url, "1e3", "dropped:malformed"},
		{"a url that is a list", url, `["` + testOrigin + `/"]`, "dropped:malformed"},
		{"a url that is an object", url, `{"href":"` + testOrigin + `/"}`, "dropped:malformed"},
		{"a referrer that is an object", referrer, `{}`, "dropped:malformed"},
		{"a referrer that is false", referrer, `false`, "dropped:malformed"},
	} {
		rows = append(rows, row("event: "+c.name, httpPost(batchOf(eventOf(c.member, c.value))), "200 "+c.outcome))
	}
	return append(rows, row("event: another case of id", httpPost(batchOf(eventOf(id, "", "ID", text(hostileID)))), "200 dropped:malformed"))
}

// timeRows are about the clock of the client, with and without a sending time.
func timeRows() []hostile {
	const day = 24 * 60 * 60 * 1000
	at := func(ms int) string { return strconv.Itoa(ms) }
	var rows []hostile
	for _, c := range []struct{ name, sentAt, at, outcome string }{
		{"the oldest", at(hostileNow), at(hostileNow - day), "accepted"},
		{"older than the oldest", at(hostileNow), at(hostileNow - day - 1), "dropped:too_old"},
		{"the farthest future", at(hostileNow), at(hostileNow + 300_000), "accepted"},
		{"beyond the farthest future", at(hostileNow), at(hostileNow + 300_001), "dropped:future"},
		{"1970", at(hostileNow), "0", "dropped:too_old"},
		{"seconds for milliseconds", at(hostileNow), at(hostileNow / 1000), "dropped:too_old"},
		{"microseconds for milliseconds", at(hostileNow), at(hostileNow * 1000), "dropped:malformed"},
		{"the last time", at(hostileNow), "4102444800000", "dropped:future"},
		{"past the last time", at(hostileNow), "4102444800001", "dropped:malformed"},
		{"16 digits", at(hostileNow), "9999999999999999", "dropped:malformed"},
		{"17 digits", at(hostileNow), "17953488300000000", "dropped:malformed"},
		{"beyond 64 bits", at(hostileNow), "18446744073709551616", "dropped:malformed"},
		{"1,000 digits", at(hostileNow), strings.Repeat("1", 1000), "dropped:malformed"},
		{"an exponent", at(hostileNow), "1e400", "dropped:malformed"},
		{"a fraction", at(hostileNow), at(hostileNow) + ".0", "dropped:malformed"},
		{"negative", at(hostileNow), "-1", "dropped:malformed"},
		{"minus zero", at(hostileNow), "-0", "dropped:malformed"},
		{"text", at(hostileNow), text(at(hostileNow)), "dropped:malformed"},
		{"an e-mail address", at(hostileNow), text(personalWord + "@mail.example"), "dropped:malformed"},
		{"a date", at(hostileNow), `"2026-11-22T12:00:30Z"`, "dropped:malformed"},
		{"null", at(hostileNow), "null", "dropped:malformed"},
		{"true", at(hostileNow), "true", "dropped:malformed"},
		{"a list", at(hostileNow), "[" + at(hostileNow) + "]", "dropped:malformed"},
		{"absent", at(hostileNow), "", "dropped:malformed"},
		{"sent in 1970", "1", at(hostileNow), "dropped:future"},
		{"sent at zero is not said", "0", at(hostileNow), "accepted"},
		{"sent at null is not said", "null", at(hostileNow), "accepted"},
		{"sent at the last time", "4102444800000", at(hostileNow), "dropped:too_old"},
	} {
		body := `{"site":"` + testKey + `","sent_at":` + c.sentAt + `,"events":[` + eventOf("at", c.at) + `]}`
		rows = append(rows, row("time: "+c.name, httpPost(body), "200 "+c.outcome))
	}
	for name, sentAt := range map[string]string{"past the last time": "4102444800001", "in the year 318857": "9999999999999999"} {
		body := `{"site":"` + testKey + `","sent_at":` + sentAt + `,"events":[` + eventOf("at", sentAt) + `]}`
		rows = append(rows, row("time: sent "+name, httpPost(body), "400 !malformed").counts("/malformed=1"))
	}
	return rows
}

// batchRows are about the number and the size of events.
func batchRows() []hostile {
	good, accepted := eventOf(), " accepted"
	list := func(event string, n int) string {
		return `{"site":"` + testKey + `","events":[` + strings.TrimSuffix(strings.Repeat(event+",", n), ",") + `]}`
	}
	filled := func(n int) string {
		body := withMember("x", `""`)
		return strings.Replace(body, `""`, `"`+strings.Repeat("x", n-len(body))+`"`, 1)
	}
	return []hostile{
		row("batch: 50 events", httpPost(list(good, 50)), "200"+strings.Repeat(accepted, 50)),
		row("batch: 51 events", httpPost(list(good, 51)), "413 !too_large").counts("tenant/too_large=51"),
		row("batch: 10,000 empty events", httpPost(list("{}", 10000)), "413 !too_large").counts("tenant/too_large=10000"),
		row("batch: 10,000 numbers", httpPost(list("1", 10000)), "413 !too_large").counts("tenant/too_large=10000"),
		row("batch: 10,000 events for a site that is not there", httpPost(strings.Replace(list("1", 10000), testKey, "pk_none", 1)), "403 !unknown_site").counts("nobody/unknown_site=10000"),
		row("batch: 10,000 events of another origin", httpPost(list("[]", 10000), "Origin: https://evil.example"), "403 !origin_not_allowed").counts("tenant/origin_not_allowed=10000"),
		row("batch: 50 faulty events", httpPost(list(`{"id":[[[]]]}`, 50)), "200"+strings.Repeat(" dropped:malformed", 50)),
		row("batch: 10,000 events and no end", httpPost(strings.TrimSuffix(list("{}", 10000), "]}")), "400 !malformed"),
		row("batch: one of every fault among good ones", httpPost(batchOf(good, "null", good, "7", `"x"`, "[]", "{}", eventOf("at", "0"), eventOf("url", `"https://evil.example/"`), good)),
			"200 accepted dropped:malformed accepted dropped:malformed dropped:malformed dropped:malformed dropped:malformed dropped:too_old dropped:origin_not_allowed accepted"),
		row("batch: the same id ten times", httpPost(list(good, 10)), "200"+strings.Repeat(accepted, 10)),
		row("batch: exactly the limit of bytes", httpPost(filled(64<<10)), "200 accepted"),
		row("batch: one byte over the limit", httpPost(filled(64<<10+1)), "413 !too_large"),
		row("batch: a megabyte", httpPost(filled(1<<20)), "413 !too_large"),
		row("batch: an opt-out for all", httpPost(`{"site":"`+testKey+`","opt_out":true,"events":[`+good+`,7,`+good+`]}`), "200 dropped:objected dropped:objected dropped:objected"),
	}
}

// consentRows carry tokens that prove nothing. That no event of the corpus has a
// visitor id, or a state above denied, is looked at in the end.
func consentRows() []hostile {
	var rows []hostile
	for _, c := range [][2]string{
		{"empty", `""`},
		{"a word", `"analytics"`},
		{"true", "true"},
		{"a number", "1"},
		{"null", "null"},
		{"an object", `{"analytics":true,"__proto__":{"granted":true}}`},
		{"a list", `["analytics"]`},
		{"an unsigned JSON web token", `"eyJhbGciOiJub25lIn0.eyJhbmFseXRpY3MiOnRydWV9."`},
		{"a TCF string", `"CPXxRfAPXxRfAAfKABENB-CgAAAAAAAAAAYgAAAAAAAA"`},
		{"zeroes", text(strings.Repeat("A", 86))},
		{"the right version and nothing else", `"AQ"`},
		{"as long as a token may be", text(strings.Repeat("AQEB", 64))},
		{"longer than a token may be", text(strings.Repeat("AQEB", 65))},
		{"60,000 characters", text(strings.Repeat("AQEB", 15000))},
		{"not base64", `"!!!!` + personalWord + `@mail.example"`},
		{"escaped NUL", `"AQEB\u0000"`},
		{"letters beyond ASCII", `"ÄÖÜ"`},
	} {
		rows = append(rows, row("consent: "+c[0], httpPost(withMember("consent", c[1])), "200 accepted"))
	}
	return rows
}

// urlRows are pages that are none, are elsewhere, or are the site's own in an
// odd spelling.
func urlRows() []hostile {
	long := func(n int) string { return testOrigin + "/" + strings.Repeat("ab-", n)[:n-len(testOrigin)-1] }
	var rows []hostile
	for _, c := range []struct{ name, url, outcome, kept string }{
		{"javascript", "javascript:alert('" + personalWord + "')", "malformed", ""},
		{"javascript with slashes", "javascript://www.example.nl/%0aalert(1)", "malformed", ""},
		{"data", "data:text/html,<script>alert(1)</script>", "malformed", ""},
		{"file", "file:///etc/passwd", "malformed", ""},
		{"ftp", "ftp://www.example.nl/", "malformed", ""},
		{"websocket", "wss://www.example.nl/", "malformed", ""},
		{"blob", "blob:" + testOrigin + "/x", "malformed", ""},
		{"view-source", "view-source:" + testOrigin + "/", "malformed", ""},
		{"about", "about:blank", "malformed", ""},
		{"an extension", "chrome-extension://abcdefghijklmnop/x.html", "malformed", ""},
		{"an app", "android-app://www.example.nl/", "malformed", ""},
		{"no scheme", "//www.example.nl/", "malformed", ""},
		{"a path", "/a", "malformed", ""},
		{"empty", "", "malformed", ""},
		{"one slash", "https:/www.example.nl/", "malformed", ""},
		{"no host", "https:///a", "malformed", ""},
		{"userinfo only", "https://" + personalWord + "@/", "malformed", ""},
		{"a space", testOrigin + "/a b", "malformed", ""},
		{"a space before", " " + testOrigin + "/", "malformed", ""},
		{"a newline", testOrigin + `/a\nb`, "malformed", ""},
		{"a tab in the scheme", `ht\ttps://www.example.nl/`, "malformed", ""},
		{"NUL", testOrigin + `/\u0000`, "malformed", ""},
		{"DEL", testOrigin + `/\u007f`, "malformed", ""},
		{"a percent sign in the host", "https://www.example.nl%00.evil.example/", "malformed", ""},
		{"an encoded dot in the host", "https://www%2eexample.nl/", "malformed", ""},
		{"letters beyond ASCII in the host", "https://www.exämple.nl/", "malformed", ""},
		{"full-width letters in the host", "https://\uff57\uff57\uff57.example.nl/", "malformed", ""},
		{"two dots", "https://www..example.nl/", "malformed", ""},
		{"a host of 254 bytes", "https://" + strings.Repeat("a", 254) + "/", "malformed", ""},
		{"a host of 253 bytes", "https://" + strings.Repeat("a", 253) + "/", "origin_not_allowed", ""},
		{"a port of letters", testOrigin + ":x/", "malformed", ""},
		{"a port of six digits", testOrigin + ":000443/", "malformed", ""},
		{"a port beyond ports", testOrigin + ":65536/", "origin_not_allowed", ""},
		{"port 0", testOrigin + ":0/", "origin_not_allowed", ""},
		{"another port", testOrigin + ":8443/", "origin_not_allowed", ""},
		{"another scheme", "http://www.example.nl/", "origin_not_allowed", ""},
		{"the scheme's own port", testOrigin + ":443/a", "", "/a"},
		{"an empty port", testOrigin + ":/a", "", "/a"},
		{"capitals", "HTTPS://WWW.EXAMPLE.NL/A", "", "/A"},
		{"a dot at the end of the host", "https://www.example.nl./", "origin_not_allowed", ""},
		{"the host as a label", "https://www.example.nl.evil.example/", "origin_not_allowed", ""},
		{"the host as userinfo", "https://www.example.nl@evil.example/", "origin_not_allowed", ""},
		{"the host after a fragment", "https://evil.example#@www.example.nl/", "origin_not_allowed", ""},
		{"the host after a query", "https://evil.example?@www.example.nl/", "origin_not_allowed", ""},
		{"the host after a backslash", `https://evil.example\\@www.example.nl/`, "origin_not_allowed", ""},
		{"punycode", "https://xn--www-exmple-y5a.nl/", "origin_not_allowed", ""},
		{"an IPv4 host", "https://145.221.173.91/", "origin_not_allowed", ""},
		{"a hexadecimal host", "https://0x91ddad5b/", "origin_not_allowed", ""},
		{"an IPv6 host", "https://[2001:db8:c0fe:d00d::1]/", "origin_not_allowed", ""},
		{"a mapped host", "https://[::ffff:145.221.173.91]:443/", "origin_not_allowed", ""},
		{"an IPv6 host with zone", "https://[fe80::1%25eth0]/", "malformed", ""},
		{"an open bracket", "https://[::1/", "malformed", ""},
		{"a bracket and more", "https://[::1].example.nl/", "malformed", ""},
		{"userinfo before the host", "https://" + personalWord + ":geheim@www.example.nl/a", "", "/a"},
		{"two at signs", "https://a@b:" + personalWord + "@www.example.nl/a", "", "/a"},
		{"a backslash for the path", `https://www.example.nl\\@evil.example/a`, "", `/\@evil.example/a`},
		{"climbing", testOrigin + "/../../etc/passwd", "", "/../../etc/passwd"},
		{"encoded climbing", testOrigin + "/%2e%2e%2fetc", "", "/%2e%2e%2fetc"},
		{"encoded controls", testOrigin + "/a%00%0d%0aSet-Cookie:x", "", "/a%00%0d%0aSet-Cookie:x"},
		{"bytes that are no characters", testOrigin + "/%ff%fe%c0%af", "", "/%ff%fe%c0%af"},
		{"a percent sign that encodes nothing", testOrigin + "/%zz/%", "", "/%zz/%"},
		{"a script", testOrigin + "/<script>alert(1)</script>", "", "/<script>alert(1)</script>"},
		{"the longest", long(mask.URLBytesMax), "", ""},
		{"one over the longest", long(mask.URLBytesMax + 1), "too_large", ""},
		{"60,000 bytes", long(60000), "too_large", ""},
		{"the longest path", testOrigin + "/" + strings.Repeat("a/", schemas.PathBytesMax)[:schemas.PathBytesMax-1], "", "/" + strings.Repeat("a/", schemas.PathBytesMax)[:schemas.PathBytesMax-1]},
		{"one over the longest path", testOrigin + "/" + strings.Repeat("a/", schemas.PathBytesMax)[:schemas.PathBytesMax], "", "/" + strings.Repeat("a/", schemas.PathBytesMax)[:schemas.PathBytesMax-1]},
		{"2,000 segments", testOrigin + strings.Repeat("/a", 2000), "", strings.Repeat("/a", schemas.PathBytesMax/2)},
	} {
		outcome := "accepted"
		if c.outcome != "" {
			outcome = "dropped:" + c.outcome
		}
		rows = append(rows, row("url: "+c.name, httpPost(batchOf(eventOf("url", text(c.url)))), "200 "+outcome).keeps(c.kept))
	}
	return rows
}

// personalRows hold what must not be kept, in the places it comes in.
func personalRows() []hostile {
	var rows []hostile
	for _, c := range []struct{ name, path, referrer, kept string }{
		{"an e-mail address", "/u/kanarie@mail.example", "", "/u/:email"},
		{"an encoded e-mail address", "/u/kanarie%40mail.example", "", "/u/:email"},
		{"an e-mail address encoded twice", "/u/%6banarie%2540mail.example/kanarie%2540localhost", "", "/u/:email/:email"},
		{"an e-mail address encoded three times", "/u/kanarie%252540mail.example", "", "/u/:email"},
		{"an e-mail address encoded four times", "/u/kanarie%25252540mail.example", "", "/u/:value"},
		{"an e-mail address all encoded", "/u/%6b%61%6e%61%72%69%65%40mail.example", "", "/u/:email"},
		{"an e-mail address with a full-width sign", "/u/kanarie\uff20mail.example", "", "/u/:email"},
		{"an e-mail address with a zero-width space", "/u/kanarie@\u200bmail.example", "", "/u/:email"},
		{"an e-mail address with encoded NUL", "/u/kanarie%00%40mail.example", "", "/u/:email"},
		{"an e-mail address by JSON escapes", `/u/kanarie\u0040mail.example`, "", "/u/:email"},
		{"a query inside the path", "/zoek/q%3Dkanarie", "", "/zoek/:value"},
		{"parameters of the path", "/a;sessie=kanarie/b", "", "/a/b"},
		{"a BSN", "/klant/123456782", "", "/klant/:number"},
		{"a BSN with encoded digits", "/klant/%31%32%33456782", "", "/klant/:number"},
		{"a BSN in Arabic digits", "/klant/١٢٣٤٥٦٧٨٢", "", "/klant/:number"},
		{"a telephone number", "/tel/06%2012%2034%2056%2078/0612345678", "", "/tel/:number/:number"},
		{"a card", "/card/4111111111111111/4111-1111-1111-1111", "", "/card/:number/:number"},
		{"an IBAN", "/iban/NL91ABNA0417164300/nl91%20abna%200417%201643%2000", "", "/iban/:iban/:iban"},
		{"an address", "/ip/145.221.173.91/2001:db8:c0fe::1", "", "/ip/:number/:number"},
		{"a token", "/r/eyJhbGciOiJub25lIn0.eyJzdWIiOiJrYW5hcmllIn0", "", "/r/:token"},
		{"a query", "/a?email=kanarie%40mail.example&token=eyJhbGciOiJub25lIn0&utm_term=kanarie", "", "/a"},
		{"a fragment", "/a#access_token=eyJhbGciOiJub25lIn0&kanarie", "", "/a"},
		{"a query that is not split", "/a?kanarie@mail.example?utm_source=kanarie", "", "/a"},
		{"campaign values", "/a?utm_source=kanarie%40mail.example&utm_medium=0612345678&utm_campaign=NL91ABNA0417164300", "", "/a ? :email|:number|:iban"},
		{"campaign values encoded thrice", "/a?utm_source=kanarie%252540mail.example&utm_medium=%30%36%31%32345678", "", "/a ? :email|:number|"},
		{"campaign names encoded or in capitals", "/a?utm%5fsource=kanarie&UTM_MEDIUM=kanarie&utm_campaign[]=kanarie", "", "/a"},
		{"a campaign value of controls", "/a?utm_source=%00%1b%5b2Jx%0d%0a&utm_medium=%ff", "", "/a ? [2Jx||"},
		{"a campaign value over its limit", "/a?utm_source=" + strings.Repeat("ab%20", 100), "", "/a ? " + strings.Repeat("ab ", 100)[:128] + "||"},
		{"a referrer with all of it", "/a", "https://kanarie:geheim@zoek.example/kanarie@mail.example?q=kanarie#kanarie", "/a <- zoek.example"},
		{"a referrer that is an address", "/a", "http://145.221.173.91/", "/a"},
		{"a referrer that is an IPv6 address", "/a", "http://[2001:db8:c0fe::1]/", "/a"},
		{"a referrer with a number for a label", "/a", "https://klant-123456782.example.nl/", "/a <- masked.example.nl"},
		{"a referrer that is javascript", "/a", "javascript:kanarie", "/a"},
		{"a referrer that is data", "/a", "data:text/html,kanarie", "/a"},
		{"a referrer that is a word", "/a", "kanarie", "/a"},
		{"a referrer with NUL", "/a", `https://zoek.example/\u0000kanarie`, "/a"},
		{"a referrer in punycode", "/a", "https://xn--exmple-cua.nl:8443/kanarie", "/a <- xn--exmple-cua.nl"},
		{"a referrer that is an app", "/a", "android-app://com.example.mail/kanarie", "/a <- com.example.mail"},
		{"a referrer of 4,096 bytes", "/a", "https://zoek.example/" + strings.Repeat("k", 4075), "/a <- zoek.example"},
	} {
		event := eventOf("url", text(testOrigin+c.path), "referrer", text(c.referrer))
		rows = append(rows, row("personal: "+c.name, httpPost(batchOf(event)), "200 accepted").keeps(c.kept))
	}
	return append(rows, row("personal: a referrer of 4,097 bytes",
		httpPost(batchOf(eventOf("referrer", text("https://zoek.example/"+strings.Repeat("k", 4076))))), "200 dropped:too_large"))
}
