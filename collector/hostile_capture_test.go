package collector

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// captureRow is one hostile or odd capture and what must become of it.
type captureRow struct {
	name, send string
	// answer is the status, and then where it sends the visitor ("303 <address>"),
	// which page it shows ("200 page dropped") or what the JSON says ("200
	// accepted", "200 dropped:malformed", "400 !malformed").
	answer string
	// counted is "tenant/reason" or "nobody/reason"; empty when nothing is.
	counted string
	// kept are the fields of an accepted capture, as "name=value;".
	kept string
}

const (
	encodedType = "Content-Type: application/x-www-form-urlencoded"
	jsonType    = "Content-Type: application/json"
	heads       = "metiva_site=" + testKey + "&metiva_form=contact&metiva_text_version=" + testFormText
	back        = "&metiva_redirect=https%3A%2F%2Fwww.example.nl%2Fbedankt%3Fvia%3Dformulier"
	ticked      = "&metiva_consent=on"
	typed       = "&email=" + typedWord + "%40example.nl"
	toThanks    = "303 " + testRedirect
	keptEmail   = "email=" + typedWord + "@example.nl;"
)

func formPost(body string, headers ...string) string {
	return httpRequest("POST "+PathCaptures+" HTTP/1.1", body, append([]string{encodedType}, headers...)...)
}

func jsonCapture(body string, headers ...string) string {
	return httpRequest("POST "+PathCaptures+" HTTP/1.1", body, append([]string{jsonType}, headers...)...)
}

// captureOf is a good capture in JSON with some members replaced: name and JSON
// text in turn. An empty text leaves the member out.
func captureOf(replaced ...string) string {
	members := map[string]string{
		"site": strconv.Quote(testKey), "form": `"contact"`, "id": strconv.Quote(hostileID), "at": strconv.Itoa(hostileNow), "url": strconv.Quote(testOrigin + "/contact"),
		"consent": `{"given":true,"text_version":"` + testFormText + `"}`, "fields": `{"email":"` + typedWord + `@example.nl"}`,
	}
	for i := 0; i < len(replaced); i += 2 {
		members[replaced[i]] = replaced[i+1]
	}
	var texts []string
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if members[name] != "" {
			texts = append(texts, strconv.Quote(name)+":"+members[name])
		}
	}
	return "{" + strings.Join(texts, ",") + "}"
}

// formRedirectRows ask to be sent elsewhere, in every disguise.
func formRedirectRows() []captureRow {
	var out []captureRow
	for _, asked := range []string{
		"https://evil.example/", "//evil.example/", "///evil.example/", `\\evil.example/`, "/bedankt?via=formulier", "bedankt", "javascript:alert(1)", "data:text/html,x", "https:evil.example", `https:\\evil.example`,
		"https://www.example.nl@evil.example/bedankt?via=formulier", "https://kanarie:x@www.example.nl/bedankt?via=formulier", "https://www.example.nl.evil.example/bedankt?via=formulier", `https://evil.example\@www.example.nl/bedankt?via=formulier`,
		"https://www.example.nl./bedankt?via=formulier", "https://www.example.nl:444/bedankt?via=formulier", "http://www.example.nl/bedankt?via=formulier", "https://www.example.nl/bedankt", "https://www.example.nl/bedankt?via=formulier#kanarie",
		"https://www.example.nl/bedankt?via=formulier&to=//evil.example", "https://www.example.nl/x/../bedankt?via=formulier", "https://www.example.nl/%2e%2e/bedankt?via=formulier", "https://www.example.nl//bedankt?via=formulier", "https://www.example.nl/Bedankt?via=formulier",
		"https://www.example.nl/bedankt?via=formulier%0d%0aSet-Cookie:a=b", "https://www.example.nl/bedankt?via=formulier%00", " https://www.example.nl/bedankt?via=formulier", "https://www.example.nl/bedankt?via=formulier ", "https://www。example.nl/bedankt?via=formulier",
		"https://www.example.nl/bedankt?via=formulier" + strings.Repeat("a", 4000), "https://[::1]/", "https://0x7f.1/",
	} {
		out = append(out, captureRow{
			name: "redirect " + asked[:min(len(asked), 60)], answer: "200 page dropped", counted: "tenant/redirect_not_allowed",
			send: formPost(heads + ticked + typed + "&metiva_redirect=" + percentAll(asked)),
		})
	}
	// Encoded line ends decode to control characters, which no value of ours holds.
	for _, asked := range []string{"%0d%0aSet-Cookie:a=b", "%00", "%0a"} {
		out = append(out, captureRow{name: "redirect with " + asked, send: formPost(heads + ticked + typed + back + asked), answer: "400 page dropped", counted: "nobody/malformed"})
	}
	return append(out,
		captureRow{name: "redirect twice", send: formPost(heads + ticked + typed + back + "&metiva_redirect=https://evil.example/"), answer: "400 page dropped", counted: "nobody/malformed"},
		captureRow{name: "redirect of an unknown form", send: formPost("metiva_site=" + testKey + "&metiva_form=x" + ticked + typed + back), answer: "200 page dropped", counted: "tenant/unknown_form"},
		captureRow{name: "redirect without a site", send: formPost("metiva_form=contact" + ticked + typed + back), answer: "400 page dropped", counted: "nobody/malformed"},
		captureRow{name: "redirect of an unknown site", send: formPost("metiva_site=pk_x&metiva_form=contact" + ticked + typed + back), answer: "403 page dropped", counted: "nobody/unknown_site"},
		captureRow{name: "redirect from elsewhere", send: formPost(heads+ticked+typed+back, "Origin: https://evil.example"), answer: "403 page dropped", counted: "tenant/origin_not_allowed"},
		captureRow{name: "redirect in another spelling", send: formPost(heads + ticked + typed + "&metiva_redirect=HTTPS%3A%2F%2FWWW.EXAMPLE.NL%3A443%2Fbedankt%3Fvia%3Dformulier"), answer: toThanks, counted: "tenant/none", kept: keptEmail},
		captureRow{name: "redirect in JSON is none", send: jsonCapture(captureOf("redirect", `"https://evil.example/"`)), answer: "200 accepted", counted: "tenant/none", kept: keptEmail},
	)
}

// percentAll encodes every byte, as no form does.
func percentAll(text string) string {
	var b strings.Builder
	for i := range len(text) {
		fmt.Fprintf(&b, "%%%02x", text[i])
	}
	return b.String()
}

func formPostRows() []captureRow {
	good := heads + ticked + typed
	dropped := func(name, body, reason string) captureRow {
		return captureRow{name: name, send: formPost(body), answer: "200 page dropped", counted: "tenant/" + reason}
	}
	unread := func(name, body, status, reason string) captureRow {
		return captureRow{name: name, send: formPost(body), answer: status + " page dropped", counted: "nobody/" + reason}
	}
	accepted := func(name, body, kept string) captureRow {
		return captureRow{name: name, send: formPost(body), answer: "200 page accepted", counted: "tenant/none", kept: kept}
	}
	return []captureRow{
		accepted("form", good, keptEmail),
		{name: "form and back", send: formPost(good + back), answer: toThanks, counted: "tenant/none", kept: keptEmail},
		accepted("password beside it", good+"&password="+typedWord+"&password="+typedWord+"&cvc=123", keptEmail),
		accepted("unread rubbish", good+"&%ff=%ff&x=%00&y=%c0%80&[]=&__proto__=x&constructor=y", keptEmail),
		accepted("names like ours", good+"&metiva=x&METIVA_CONSENT=no&xmetiva_consent=no", keptEmail),
		accepted("names by hand", strings.ReplaceAll(good, "email", "%65m%61il"), keptEmail),
		accepted("card", good+"&message=4111+1111+1111+1111", keptEmail),
		accepted("iban", good+"&message=NL91ABNA0417164300", keptEmail),
		accepted("bsn", good+"&name=123456782", keptEmail),
		accepted("bsn in other digits", good+"&name=%EF%BC%91%EF%BC%92%EF%BC%93%EF%BC%94%EF%BC%95%EF%BC%96%EF%BC%97%EF%BC%98%EF%BC%92", keptEmail),
		accepted("card encoded twice", good+"&message=%2534111111111111111", keptEmail),
		accepted("token", good+"&message=eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJqYW4ifQ.abcdefghijklmnopqrst12345", keptEmail),
		accepted("phone that is text", good+"&phone="+typedWord, keptEmail),
		accepted("plus and percent", good+"&name=a+b%2Bc", keptEmail+"name=a b+c;"),
		accepted("semicolon", good+"&message=a;email=b%40c.nl", keptEmail+"message=a;email=b@c.nl;"),
		accepted("markup stays a value", good+"&name=%3Cscript%3Ealert(1)%3C%2Fscript%3E", keptEmail+"name=<script>alert(1)</script>;"),
		accepted("only ampersands beside", "&&&"+good+"&&&", keptEmail),
		dropped("no box", heads+typed, "consent_required"),
		dropped("box off", heads+typed+"&metiva_consent=off", "consent_required"),
		dropped("box empty", heads+typed+"&metiva_consent=", "consent_required"),
		dropped("box null", heads+typed+"&metiva_consent=null", "consent_required"),
		dropped("box in full width", heads+typed+"&metiva_consent=%EF%BD%8F%EF%BD%8E", "consent_required"),
		dropped("box in capitals", heads+typed+"&Metiva_Consent=on", "consent_required"),
		dropped("box in a value", heads+typed+"&name=a%26metiva_consent%3Don", "consent_required"),
		dropped("given of JSON", heads+typed+"&given=true&consent=true", "consent_required"),
		dropped("text in capitals", strings.Replace(good, testFormText, strings.ToUpper(testFormText), 1), "unknown_text"),
		dropped("text with a space", strings.Replace(good, testFormText, testFormText+"+", 1), "unknown_text"),
		dropped("language", good+"&metiva_language=nl-BE", "unknown_text"),
		dropped("field twice", good+"&email=x%40example.nl", "malformed"),
		dropped("field twice, encoded", good+"&%65mail=x%40example.nl", "malformed"),
		dropped("latin-1", good+"&name=%e9&_charset_=iso-8859-1", "malformed"),
		dropped("utf-16", good+"&name=%00j%00a%00n", "malformed"),
		dropped("surrogate", good+"&name=%ed%a0%80", "malformed"),
		dropped("overlong", good+"&name=%c0%ae", "malformed"),
		dropped("null byte", good+"&name=jan%00", "malformed"),
		dropped("raw null byte", good+"&name=jan\x00", "malformed"),
		dropped("line in a name", good+"&name=jan%0d%0aBcc:x", "malformed"),
		dropped("half an encoding", good+"&name=%4", "malformed"),
		dropped("no encoding", good+"&name=%u0041", "malformed"),
		dropped("long field", good+"&message="+strings.Repeat("a", schemas.FormFieldBytesMax+1), "too_large"),
		dropped("id", good+"&metiva_id=1", "malformed"),
		dropped("id of version 4", good+"&metiva_id=9b2f5c1e-7c1e-4b44-9f0a-1d2e3f405162", "malformed"),
		dropped("page elsewhere", good+"&metiva_url=https%3A%2F%2Fevil.example%2F", "origin_not_allowed"),
		dropped("page is a file", good+"&metiva_url=file%3A%2F%2F%2Fetc%2Fpasswd", "malformed"),
		dropped("no mail", heads+ticked+"&email="+typedWord, "malformed"),
		dropped("mail is a list", heads+ticked+"&email[]=a%40b.nl", "malformed"),
		unread("10,000 fields", good+strings.Repeat("&a=b", 10_000), "413", "too_large"),
		unread("misspelt", good+"&metiva_consnet=on", "400", "malformed"),
		unread("box twice", good+"&metiva_consent=on", "400", "malformed"),
		unread("box hidden and ticked", heads+typed+"&metiva_consent=0&metiva_consent=1", "400", "malformed"),
		unread("site twice", good+"&metiva_site=pk_x", "400", "malformed"),
		unread("name's encoding", good+"&na%me=x", "400", "malformed"),
		unread("null in ours", good+"&metiva_language=nl%00", "400", "malformed"),
		unread("empty", "", "400", "malformed"),
		unread("JSON in a form", captureOf(), "400", "malformed"),
		unread("one letter", "a", "400", "malformed"),
		unread("binary", "\x00\x01\x02\xff", "400", "malformed"),
		{name: "too large a body", send: formPost(good + "&message=" + strings.Repeat("a", 64<<10)), answer: "413 !too_large", counted: "nobody/too_large"},
	}
}

func jsonCaptureRows() []captureRow {
	malformed := func(name, body string) captureRow {
		return captureRow{name: name, send: jsonCapture(body), answer: "400 !malformed", counted: "nobody/malformed"}
	}
	dropped := func(name, body, reason string) captureRow {
		return captureRow{name: name, send: jsonCapture(body), answer: "200 dropped:" + reason, counted: "tenant/" + reason}
	}
	accepted := func(name, body, kept string) captureRow {
		return captureRow{name: name, send: jsonCapture(body), answer: "200 accepted", counted: "tenant/none", kept: kept}
	}
	fields := func(more string) string { return captureOf("fields", `{"email":"`+typedWord+`@example.nl",`+more+`}`) }
	deep := strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40)
	return []captureRow{
		accepted("json", captureOf(), keptEmail),
		accepted("unknown members", captureOf("__proto__", `{"given":false}`, "constructor", "[1]", "company_id", `"cmp_b"`), keptEmail),
		accepted("unread fields", fields(`"password":"`+typedWord+`","x":{"y":[null]}`), keptEmail),
		accepted("escaped", fields(`"name":"\u004aan"`), keptEmail+"name=Jan;"),
		accepted("withheld", fields(`"name":"123456782","message":"NL91 ABNA 0417 1643 00"`), keptEmail),
		accepted("forged token", captureOf("token", `"AAAA.BBBB"`), keptEmail),
		dropped("no consent", captureOf("consent", ""), "consent_required"),
		dropped("given elsewhere", captureOf("consent", "", "given", "true"), "consent_required"),
		dropped("given among the fields", captureOf("consent", "{}", "fields", `{"email":"a@b.nl","given":true}`), "consent_required"),
		dropped("given false", captureOf("consent", `{"given":false,"text_version":"`+testFormText+`"}`), "consent_required"),
		dropped("given null", captureOf("consent", `{"given":null,"text_version":"`+testFormText+`"}`), "consent_required"),
		dropped("Given", captureOf("consent", `{"Given":true,"text_version":"`+testFormText+`"}`), "consent_required"),
		dropped("another tenant's text", captureOf("consent", `{"given":true,"text_version":"x"}`), "unknown_text"),
		dropped("no fields", captureOf("fields", ""), "malformed"),
		dropped("fields empty", captureOf("fields", "{}"), "malformed"),
		dropped("a field is a number", fields(`"name":1`), "malformed"),
		dropped("a field is true", fields(`"name":true`), "malformed"),
		dropped("a field is a list", fields(`"name":["a"]`), "malformed"),
		dropped("a field is an object", fields(`"name":{"toString":"x"}`), "malformed"),
		dropped("null byte in a field", fields(`"name":"a\u0000b"`), "malformed"),
		dropped("long", fields(`"message":"`+strings.Repeat("é", schemas.FormFieldBytesMax/2+1)+`"`), "too_large"),
		dropped("id with a null", captureOf("id", `"`+hostileID[:35]+`\u0000"`), "malformed"),
		dropped("old", captureOf("at", "1"), "too_old"),
		dropped("far", captureOf("at", "4102444799999"), "future"),
		malformed("further than any clock", captureOf("at", "4102444800001")),
		dropped("opt-out", captureOf("opt_out", "true"), "objected"),
		malformed("given 1", captureOf("consent", `{"given":1}`)),
		malformed("given text", captureOf("consent", `{"given":"true"}`)),
		malformed("given list", captureOf("consent", `{"given":[true]}`)),
		malformed("given twice", captureOf("consent", `{"given":false,"given":true,"text_version":"`+testFormText+`"}`)),
		malformed("consent twice", strings.Replace(captureOf(), `"form":`, `"consent":{"given":true},"form":`, 1)),
		malformed("consent true", captureOf("consent", "true")),
		malformed("consent list", captureOf("consent", `[{"given":true}]`)),
		malformed("fields list", captureOf("fields", `[{"email":"a@b.nl"}]`)),
		malformed("field twice", fields(`"name":"a","name":"b"`)),
		malformed("field twice, escaped", fields(`"name":"a","n\u0061me":"b"`)),
		malformed("unread field twice", fields(`"x":"a","x":"b"`)),
		malformed("deep", fields(`"x":`+deep)),
		malformed("many fields", fields(`"f0":0`+func() string {
			var s strings.Builder
			for i := range 5_000 {
				fmt.Fprintf(&s, `,"f%d":0`, i+1)
			}
			return s.String()
		}())),
		malformed("at text", captureOf("at", `"1"`)),
		malformed("at huge", captureOf("at", "1e400")),
		malformed("at negative", captureOf("at", "-1")),
		malformed("site number", captureOf("site", "1")),
		malformed("no site", captureOf("site", "")),
		malformed("cut", captureOf()[:100]),
		malformed("behind it", captureOf()+"x"),
		malformed("two", captureOf()+captureOf()),
		malformed("list", "["+captureOf()+"]"),
		malformed("text", `"`+typedWord+`"`),
		malformed("byte order mark", "\ufeff"+captureOf()),
		malformed("utf-16", "{\x00\"\x00s\x00"),
		malformed("not UTF-8", fields("\"name\":\"\xff\"")),
		malformed("lone surrogate", fields(`"name":"\udc00"`)),
		malformed("raw line", fields("\"name\":\"a\nb\"")),
		malformed("comment", strings.Replace(captureOf(), "{", "{/*x*/", 1)),
		malformed("single quotes", strings.ReplaceAll(captureOf(), `"`, `'`)),
		malformed("form as JSON", heads+ticked+typed),
	}
}

func captureHTTPRows() []captureRow {
	good := heads + ticked + typed
	unsupported := func(name, contentType string) captureRow {
		return captureRow{name: name, send: httpRequest("POST "+PathCaptures+" HTTP/1.1", good, contentType), answer: "415 !unsupported_type", counted: "nobody/unsupported_type"}
	}
	line := func(name, method, answer string) captureRow {
		return captureRow{name: name, send: httpRequest(method+" "+PathCaptures+"?"+good+" HTTP/1.1", ""), answer: answer}
	}
	const parts = "--x\r\nContent-Disposition: form-data; name=\"email\"\r\n\r\n" + typedWord + "@example.nl\r\n--x--\r\n"
	return []captureRow{
		line("GET", "GET", "405"), line("HEAD", "HEAD", "405"), line("preflight", "OPTIONS", "204"),
		{name: "PUT", send: httpRequest("PUT "+PathCaptures+" HTTP/1.1", good, encodedType), answer: "405"},
		{name: "DELETE", send: httpRequest("DELETE "+PathCaptures+" HTTP/1.1", good, encodedType), answer: "405"},
		{name: "strange preflight", send: httpRequest("OPTIONS "+PathCaptures+" HTTP/1.1", "", "Origin: https://evil.example"), answer: "403"},
		{name: "in the query", send: httpRequest("POST "+PathCaptures+"?"+good+" HTTP/1.1", "", encodedType, "Content-Length: 0"), answer: "400 page dropped", counted: "nobody/malformed"},
		{name: "multipart", send: httpRequest("POST "+PathCaptures+" HTTP/1.1", parts, "Content-Type: multipart/form-data; boundary=x"), answer: "415 !unsupported_type", counted: "nobody/unsupported_type"},
		unsupported("html", "Content-Type: text/html"), unsupported("no type", "Content-Type"), unsupported("two in one", encodedType+", text/plain"), unsupported("almost", encodedType+"x"),
		unsupported("utf-7", encodedType+"; charset=utf-7"), unsupported("utf-16", encodedType+"; charset=UTF-16"), unsupported("latin-1", encodedType+`; charset="iso-8859-1"`), unsupported("two charsets", encodedType+"; charset=utf-8; charset=utf-7"),
		{name: "utf-8", send: formPost(good, strings.ToUpper(encodedType[:13])+encodedType[13:]+`; Charset="UTF-8"`), answer: "200 page accepted", counted: "tenant/none", kept: keptEmail},
		{name: "capitals", send: httpRequest("POST "+PathCaptures+" HTTP/1.1", good, "Content-Type: Application/X-WWW-Form-URLEncoded"), answer: "200 page accepted", counted: "tenant/none", kept: keptEmail},
		{name: "JSON as text", send: httpRequest("POST "+PathCaptures+" HTTP/1.1", captureOf()), answer: "200 accepted", counted: "tenant/none", kept: keptEmail},
		{name: "gzip that is none", send: formPost(good, "Content-Encoding: gzip"), answer: "400 page dropped", counted: "nobody/malformed"},
		{name: "unknown encoding", send: formPost(good, "Content-Encoding: x"), answer: "415 page dropped", counted: "nobody/unsupported_type"},
		{name: "origin null", send: formPost(good, "Origin: null"), answer: "403 page dropped", counted: "tenant/origin_not_allowed"},
		{name: "no origin", send: formPost(good, "Origin"), answer: "403 page dropped", counted: "tenant/origin_not_allowed"},
		{name: "referer for origin", send: formPost(good, "Origin", "Referer: "+testOrigin+"/contact"), answer: "200 page accepted", counted: "tenant/none", kept: keptEmail},
		{name: "origin's subdomain", send: formPost(good, "Origin: https://x.www.example.nl"), answer: "403 page dropped", counted: "tenant/origin_not_allowed"},
		{name: "origin null in JSON", send: jsonCapture(captureOf(), "Origin: null"), answer: "403 !origin_not_allowed", counted: "tenant/origin_not_allowed"},
		{name: "gpc", send: formPost(good+back, "Sec-GPC: 1"), answer: toThanks, counted: "tenant/objected"},
		{name: "dnt in JSON", send: jsonCapture(captureOf(), "DNT: 1"), answer: "200 dropped:objected", counted: "tenant/objected"},
		{name: "prefetch", send: formPost(good, "Sec-Purpose: prefetch"), answer: "200 page dropped", counted: "tenant/prefetch"},
		{name: "languages", send: formPost(good, "Accept-Language: "+strings.Repeat("nl;q=NaN,", 200)), answer: "200 page accepted", counted: "tenant/none", kept: keptEmail},
	}
}

// sendCapture sends one row on a connection of its own and writes down the answer.
func (e *edge) sendCapture(send string) (answer string, wire []byte, err error) {
	conn, err := net.Dial("tcp", strings.TrimPrefix(e.url, "http://"))
	if err != nil {
		return "", nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return "", nil, err
	}
	if _, err := io.WriteString(conn, send); err == nil {
		_ = conn.(*net.TCPConn).CloseWrite()
	}
	if wire, err = io.ReadAll(conn); err != nil && len(wire) == 0 {
		return "", nil, err
	}
	method, _, _ := strings.Cut(send, " ")
	res, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(wire)), &http.Request{Method: method})
	if err != nil {
		return "", wire, fmt.Errorf("reading %.200q: %w", wire, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return "", wire, err
	}
	return e.describeAnswer(res, body), wire, nil
}

func (e *edge) describeAnswer(res *http.Response, body []byte) string {
	out := strconv.Itoa(res.StatusCode)
	if where := res.Header.Get("Location"); where != "" {
		return out + " " + where
	}
	for i := range e.pages.dutch {
		if bytes.Equal(body, e.pages.dutch[i]) || bytes.Equal(body, e.pages.english[i]) {
			return out + " page " + outcome(i).String()
		}
	}
	text := string(body)
	reason := between(text, `"reason":"`, `"`)
	switch {
	case strings.HasPrefix(text, `{"error":`):
		return out + " !" + reason
	case strings.HasPrefix(text, `{"outcome":`):
		return out + " " + strings.TrimSuffix(between(text, `{"outcome":"`, `"`)+":"+reason, ":")
	}
	return out
}

func between(text, before, after string) string {
	_, text, _ = strings.Cut(text, before)
	text, _, _ = strings.Cut(text, after)
	return text
}

func hostileCaptures() []captureRow {
	return slices.Concat(formRedirectRows(), formPostRows(), jsonCaptureRows(), captureHTTPRows())
}

// TestHostileCaptures sends every row and looks for what it may have left behind.
func TestHostileCaptures(t *testing.T) {
	t.Parallel()
	rows := hostileCaptures()
	if len(rows) < 60 {
		t.Errorf("the corpus holds %d captures", len(rows))
	}
	e := startFormEdge(t, nil)
	want, accepted := map[string]uint64{}, 0
	for _, h := range rows {
		answer, wire, err := e.sendCapture(h.send)
		if err != nil || answer != h.answer {
			t.Errorf("%s: answered %.300q, %v; want %q", h.name, answer, err, h.answer)
		}
		if bytes.Contains(wire, []byte(typedWord)) || bytes.Contains(wire, []byte("evil.example")) || bytes.Contains(wire, []byte("Set-Cookie")) {
			t.Errorf("%s: the answer quotes what was sent: %s", h.name, wire)
		}
		if who, reason, counted := strings.Cut(h.counted, "/"); counted {
			want[map[string]string{"tenant": testCompany}[who]+"/"+reason]++
		}
		if h.counted == "tenant/none" {
			accepted++
		}
		events := e.log.events(t)
		if len(events) != accepted {
			t.Fatalf("%s: %d events, want %d", h.name, len(events), accepted)
		}
		if h.kept != "" {
			fields := e.openForm(events[accepted-1])
			var kept strings.Builder
			for _, name := range []string{"email", "name", "phone", "message"} {
				if value, ok := fields[name]; ok {
					kept.WriteString(name + "=" + value + ";")
				}
			}
			if kept.String() != h.kept {
				t.Errorf("%s: kept %q, want %q", h.name, kept.String(), h.kept)
			}
		}
	}
	if n := len(e.consentRecords()); n != accepted || accepted == 0 {
		t.Errorf("%d consent records of %d captures", n, accepted)
	}
	wantLedger(t, e.stoppedLedger(), want)
	e.checkTyped(t)
	if n := e.metricSums(t)["metiva_collector_panics_total"]; n != 0 {
		t.Errorf("%v panics", n)
	}
	t.Logf("%d captures, %d of them accepted", len(rows), accepted)
}

// checkTyped looks for what visitors typed in everything the collector wrote.
func (e *edge) checkTyped(t *testing.T) {
	t.Helper()
	families, err := e.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	written := map[string][]byte{"log": []byte(e.logged.String())}
	for _, family := range families {
		written["metrics"] = append(written["metrics"], family.String()...)
	}
	for _, r := range e.log.records {
		written[r.topic] = append(append(written[r.topic], r.key...), r.value...)
	}
	if len(written[schemas.TopicEventsCollected]) == 0 || len(written[schemas.TopicConsentRecords]) == 0 || len(written[schemas.TopicControlKeys]) == 0 {
		t.Error("nothing was written")
	}
	for place, content := range written {
		for _, needle := range []string{typedWord, "example.nl;", "123456782", "NL91", "41111111", "bel mij"} {
			if bytes.Contains(content, []byte(needle)) {
				t.Errorf("%s holds %q", place, needle)
			}
		}
	}
}

// TestNoCaptureWithoutABox: of every combination of bodies, no event has a
// capture unless the box was ticked and a registered text named.
func TestNoCaptureWithoutABox(t *testing.T) {
	t.Parallel()
	e := startFormEdge(t, nil)
	consents := []string{
		"", "null", "{}", `{"given":null}`, `{"given":false}`, `{"text_version":"` + testFormText + `"}`, `{"given":false,"text_version":"` + testFormText + `"}`, `{"given":null,"text_version":"` + testFormText + `"}`,
		`{"given":true}`, `{"given":true,"text_version":"x"}`, `{"given":true,"text_version":null}`, `{"given":"true","text_version":"` + testFormText + `"}`, `{"GIVEN":true,"text_version":"` + testFormText + `"}`,
	}
	boxes := []string{"", "&metiva_consent", "&metiva_consent=", "&metiva_consent=0", "&metiva_consent=false", "&metiva_consent=no", "&metiva_consent=off", "&consent=on", "&given=true", "&metiva_consent=on&metiva_text_version=x"}
	tokens := []string{"", strconv.Quote(e.token(5)), "null"}
	var sends []string
	for _, consent := range consents {
		for _, token := range tokens {
			for _, extra := range []string{"", "true", `{"given":true}`} {
				sends = append(sends, jsonCapture(captureOf("consent", consent, "token", token, "given", extra)))
			}
		}
	}
	for _, box := range boxes {
		for _, more := range []string{"", back, "&metiva_language=nl"} {
			sends = append(sends, formPost("metiva_site="+testKey+"&metiva_form=contact"+typed+box+more))
		}
	}
	for _, send := range sends {
		if answer, _, err := e.sendCapture(send); err != nil || strings.Contains(answer, "accepted") {
			t.Errorf("%.400q: answered %s, %v", send, answer, err)
		}
	}
	// Events never bring a capture, whatever they hold.
	e.post(e.bodyWithToken(e.token(5), newPage(e).with("type", "form").with("form_capture", object{"given": true}).with("fields", object{"email": typedWord}).with("consent", object{"given": true})))
	for _, ev := range e.log.events(t) {
		if ev.GetFormCapture() != nil || ev.GetConsent() == metivav1.ConsentState_CONSENT_STATE_IDENTIFIED {
			t.Errorf("an event with a capture: %v", ev)
		}
	}
	if n := len(e.log.of(schemas.TopicConsentRecords)); n != 0 {
		t.Errorf("%d consent records", n)
	}
}
