package form

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

const (
	kindEmail   = metivav1.FieldKind_FIELD_KIND_EMAIL
	kindName    = metivav1.FieldKind_FIELD_KIND_NAME
	kindPhone   = metivav1.FieldKind_FIELD_KIND_PHONE
	kindCompany = metivav1.FieldKind_FIELD_KIND_COMPANY
	kindText    = metivav1.FieldKind_FIELD_KIND_TEXT
)

func origins() []string { return []string{"https://www.example.nl", "http://localhost:8080"} }

func contactRecord() *metivav1.FormPolicy {
	return &metivav1.FormPolicy{
		FormId: "contact",
		Fields: []*metivav1.FormField{
			{Name: "email", Kind: kindEmail, Required: true},
			{Name: "name", Kind: kindName},
			{Name: "phone", Kind: kindPhone},
			{Name: "company", Kind: kindCompany},
			{Name: "message", Kind: kindText},
		},
		TextVersions: []string{"form-1"}, RedirectUrls: []string{"https://www.example.nl/bedankt?from=form", "http://localhost:8080/thanks"},
	}
}

func contact(t testing.TB) *Policy {
	t.Helper()
	p, err := NewPolicy(contactRecord(), origins())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestFaultyPolicies: one fault costs the whole policy, and the error holds
// nothing of it.
func TestFaultyPolicies(t *testing.T) {
	t.Parallel()
	many := func(n int) []*metivav1.FormField {
		out := make([]*metivav1.FormField, n)
		for i := range out {
			out[i] = &metivav1.FormField{Name: fmt.Sprint("f", i), Kind: kindText}
		}
		return out
	}
	field := func(name string) func(*metivav1.FormPolicy) {
		return func(p *metivav1.FormPolicy) { p.Fields[0].Name = name }
	}
	redirect := func(url string) func(*metivav1.FormPolicy) {
		return func(p *metivav1.FormPolicy) { p.RedirectUrls = append(p.RedirectUrls, url) }
	}
	faulty := map[string]func(*metivav1.FormPolicy){
		"no id": func(p *metivav1.FormPolicy) { p.FormId = "" }, "long id": func(p *metivav1.FormPolicy) { p.FormId = strings.Repeat("a", schemas.FormIDBytesMax+1) },
		"id with a slash": func(p *metivav1.FormPolicy) { p.FormId = "a/canary" }, "no fields": func(p *metivav1.FormPolicy) { p.Fields = nil },
		"too many fields": func(p *metivav1.FormPolicy) { p.Fields = many(schemas.FormFieldsMax + 1) },
		"twice the name":  func(p *metivav1.FormPolicy) { p.Fields[1].Name = "email" },
		"no kind":         func(p *metivav1.FormPolicy) { p.Fields[1].Kind = 0 }, "unknown kind": func(p *metivav1.FormPolicy) { p.Fields[1].Kind = 99 },
		"no name": field(""), "long name": field(strings.Repeat("n", schemas.FormFieldNameBytesMax+1)), "name with a space": field("a canary"), "name of ours": field("metiva_site"),
		"password": field("password"), "wachtwoord": field("nieuw_wachtwoord"), "pass word": field("user[pass]"), "pin": field("pin2"), "card": field("creditCardNumber"), "cvc": field("cvc"),
		"iban": field("iban"), "bsn": field("klant-bsn"), "camel": field("userPin"), "csrf": field("csrf_token"),
		"no texts":   func(p *metivav1.FormPolicy) { p.TextVersions = nil },
		"text":       func(p *metivav1.FormPolicy) { p.TextVersions = []string{"a b"} },
		"many texts": func(p *metivav1.FormPolicy) { p.TextVersions = make([]string, schemas.ConsentTextsMax+1) },
		"many redirects": func(p *metivav1.FormPolicy) {
			p.RedirectUrls = slices.Repeat(p.RedirectUrls[:1], schemas.RedirectURLsMax+1)
		},
		"relative": redirect("/canary"), "other origin": redirect("https://canary.example/"), "scheme": redirect("javascript:canary"), "fragment": redirect("https://www.example.nl/#canary"),
		"user": redirect("https://canary@www.example.nl/"), "long": redirect("https://www.example.nl/" + strings.Repeat("a", schemas.RedirectURLBytesMax)),
		"line": redirect("https://www.example.nl/\r\ncanary: x"), "dots": redirect("https://www.example.nl/a/../canary"),
	}
	for name, change := range faulty {
		rec := contactRecord()
		change(rec)
		if p, err := NewPolicy(rec, origins()); err == nil || p != nil {
			t.Errorf("%s: accepted", name)
		} else if strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: the error quotes the policy: %v", name, err)
		}
	}
	for _, name := range []string{"shipping", "email", "Passagiers", "company_name", "user[email]", "pincher", "spinning", "discard", "ccomments"} {
		rec := contactRecord()
		rec.Fields[0].Name = name
		if _, err := NewPolicy(rec, origins()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// redirectTricks are addresses that are not the registered ones, whatever they
// look like.
func redirectTricks() []string {
	return []string{
		"", "/bedankt?from=form", "//www.example.nl/bedankt?from=form", "///www.example.nl/bedankt?from=form", `\\www.example.nl/bedankt?from=form`, "https:/www.example.nl/bedankt?from=form", "https:www.example.nl/bedankt?from=form",
		"https:///www.example.nl/bedankt?from=form", `https:\\www.example.nl/bedankt?from=form`, `https://www.example.nl\bedankt?from=form`, `https://www.example.nl/bedankt\?from=form`,
		"http://www.example.nl/bedankt?from=form", "ftp://www.example.nl/bedankt?from=form", "javascript:alert(1)", "javascript://www.example.nl/bedankt?from=form%0aalert(1)", "data:text/html,x", "view-source:https://www.example.nl/bedankt?from=form",
		"https://evil.example/bedankt?from=form", "https://www.example.nl.evil.example/bedankt?from=form", "https://evilwww.example.nl/bedankt?from=form", "https://www-example.nl/bedankt?from=form", "https://example.nl/bedankt?from=form",
		"https://www.example.nl@evil.example/bedankt?from=form", "https://user@www.example.nl/bedankt?from=form", "https://user:pw@www.example.nl/bedankt?from=form", "https://@www.example.nl/bedankt?from=form", "https://evil.example#@www.example.nl/bedankt?from=form",
		`https://evil.example\@www.example.nl/bedankt?from=form`, "https://www.example.nl:443@evil.example/bedankt?from=form", "https://www.example.nl%40evil.example/bedankt?from=form", "https://www.example.nl%2fevil.example/bedankt?from=form", "https://evil.example%23.www.example.nl/bedankt?from=form",
		"https://www.example.nl./bedankt?from=form", "https://www.example.nl:8443/bedankt?from=form", "https://www.example.nl:0443/bedankt?from=form", "https://www.example.nl:/bedankt?from=form", "https://www.example.nl:443:443/bedankt?from=form", "https://[::1]/bedankt?from=form",
		"https://www.example.nl/bedankt", "https://www.example.nl/bedankt?from=form&x=1", "https://www.example.nl/bedankt?from=form#x", "https://www.example.nl/bedankt?from=form%23", "https://www.example.nl/bedankt/?from=form", "https://www.example.nl/Bedankt?from=form", "https://www.example.nl//bedankt?from=form",
		"https://www.example.nl/./bedankt?from=form", "https://www.example.nl/a/../bedankt?from=form", "https://www.example.nl/%2e/bedankt?from=form", "https://www.example.nl/a/%2e%2E/bedankt?from=form", "https://www.example.nl/bedank%74?from=form", "https://www.example.nl/bedankt%3Ffrom=form",
		" https://www.example.nl/bedankt?from=form", "https://www.example.nl/bedankt?from=form ", "\thttps://www.example.nl/bedankt?from=form", "ht\ntps://www.example.nl/bedankt?from=form", "https://www.example.nl/bedankt?from=form\r\nSet-Cookie: a=b", "https://www.example.nl/bedankt?from=form%0d%0aSet-Cookie:a=b",
		"https://www.example.nl/bedankt?from=form\x00", "https://www.example.nl/bedankt?from=form%00", "https://www.example.nl\u3002/bedankt?from=form", "https://www.example.nl/bedankt?from=f\u00f6rm", "https://www\u2024example.nl/bedankt?from=form", "\ufeffhttps://www.example.nl/bedankt?from=form",
		"https://www.example.nl/bedankt?from=form%", "https://www.example.nl/bedankt?from=form%2", "https://www.example.nl/bedankt?from=form%zz", "https://www.example.nl/bedankt?from=form" + strings.Repeat("a", 2000),
		"http://localhost/thanks", "http://127.0.0.1:8080/thanks", "https://localhost:8080/thanks", "http://localhost:08080/thanks", "http://localhost:80 80/thanks",
	}
}

func TestRedirect(t *testing.T) {
	t.Parallel()
	p := contact(t)
	for asked, want := range map[string]string{
		"https://www.example.nl/bedankt?from=form":     "https://www.example.nl/bedankt?from=form",
		"HTTPS://WWW.Example.NL/bedankt?from=form":     "https://www.example.nl/bedankt?from=form",
		"https://www.example.nl:443/bedankt?from=form": "https://www.example.nl/bedankt?from=form",
		"http://LOCALHOST:8080/thanks":                 "http://localhost:8080/thanks",
	} {
		if got, ok := p.Redirect([]byte(asked)); !ok || got != want {
			t.Errorf("%q: %q, %t", asked, got, ok)
		}
	}
	for _, asked := range redirectTricks() {
		if got, ok := p.Redirect([]byte(asked)); ok || got != "" {
			t.Errorf("%q goes to %q", asked, got)
		}
	}
}

// FuzzRedirect: whatever is asked for, the answer is a registered text or none.
func FuzzRedirect(f *testing.F) {
	for _, asked := range redirectTricks() {
		f.Add(asked)
	}
	f.Add("https://www.example.nl/bedankt?from=form")
	p := contact(f)
	f.Fuzz(func(t *testing.T, asked string) {
		got, ok := p.Redirect([]byte(asked))
		if ok != slices.Contains(contactRecord().GetRedirectUrls(), got) {
			t.Fatalf("%q: %q %t", asked, got, ok)
		}
		if ok && !strings.HasSuffix(got, asked[strings.IndexByte(asked[8:], '/')+8:]) {
			t.Fatalf("%q became %q", asked, got)
		}
	})
}

// encodedPost is a good form post with more pairs behind it.
func encodedPost(more string) string {
	return "metiva_site=pk_a&metiva_form=contact&metiva_consent=on&metiva_text_version=form-1&email=jan%40example.nl" + more
}

func jsonPost(fields string) string {
	return `{"site":"pk_a","form":"contact","id":"x","at":1,"sent_at":2,"url":"u","referrer":"r","consent":{"given":true,"text_version":"form-1","language":"nl"},"token":"t","opt_out":false,"fields":` + fields + `}`
}

// read reads a body of either kind and writes down what is kept of it.
func read(body string, policy *Policy) (string, error) {
	var p Post
	parse := p.ParseEncoded
	if strings.HasPrefix(body, "{") {
		parse = p.ParseJSON
	}
	raw := []byte(body)
	if err := parse(raw); err != nil {
		return "", err
	}
	kept, leftOut, err := p.Fields(policy)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	for _, k := range kept {
		fmt.Fprintf(&out, "%s=%s;", k.Name, k.Value)
	}
	p.Clear()
	return fmt.Sprintf("%s%d", out.String(), leftOut), nil
}

func TestPosts(t *testing.T) {
	t.Parallel()
	policy := contact(t)
	long := strings.Repeat("a", schemas.FormFieldBytesMax)
	for name, c := range map[string]struct {
		body, want string
		err        error
	}{
		"form":                   {body: encodedPost("&name=Jan+de+Vries&message=a%26b%0D%0Ac"), want: "email=jan@example.nl;name=Jan de Vries;message=a&b\r\nc;0"},
		"others are not read":    {body: encodedPost("&password=hunter2&password=x&a[]=%ff&b=%00&a[]"), want: "email=jan@example.nl;0"},
		"empty is absent":        {body: encodedPost("&name=&message=+%09"), want: "email=jan@example.nl;0"},
		"empty pairs":            {body: "&&" + encodedPost("&&"), want: "email=jan@example.nl;0"},
		"name encoded":           {body: encodedPost("&%6eame=Jan"), want: "email=jan@example.nl;name=Jan;0"},
		"semicolons":             {body: encodedPost("&message=a;name=b"), want: "email=jan@example.nl;message=a;name=b;0"},
		"field of 4 KiB":         {body: encodedPost("&message=" + strings.Repeat("a ", schemas.FormFieldBytesMax/2-1) + "aa"), want: "email=jan@example.nl;message=" + strings.Repeat("a ", schemas.FormFieldBytesMax/2-1) + "aa;0"},
		"bsn":                    {body: encodedPost("&message=123456782&phone=0612345678"), want: "email=jan@example.nl;phone=0612345678;1"},
		"card in the name":       {body: encodedPost("&name=4111+1111+1111+1111"), want: "email=jan@example.nl;1"},
		"iban as company":        {body: encodedPost("&company=NL91ABNA0417164300"), want: "email=jan@example.nl;1"},
		"no phone":               {body: encodedPost("&phone=bel+mij"), want: "email=jan@example.nl;1"},
		"bsn as phone":           {body: encodedPost("&phone=123456782"), want: "email=jan@example.nl;1"},
		"no mail":                {body: strings.Replace(encodedPost("&name=Jan"), "%40", "", 1), err: ErrMalformed},
		"required missing":       {body: strings.Replace(encodedPost("&name=Jan"), "email=", "mail=", 1), err: ErrMalformed},
		"field over 4 KiB":       {body: encodedPost("&message=" + long + "b"), err: ErrTooLarge},
		"twice a field":          {body: encodedPost("&name=a&name=b"), err: ErrMalformed},
		"twice, once encoded":    {body: encodedPost("&name=a&n%61me=b"), err: ErrMalformed},
		"twice ours":             {body: encodedPost("&metiva_consent=on"), err: ErrMalformed},
		"ours spelt wrong":       {body: encodedPost("&metiva_consnet=on"), err: ErrMalformed},
		"half an encoding":       {body: encodedPost("&name=a%"), err: ErrMalformed},
		"no encoding":            {body: encodedPost("&name=a%zz"), err: ErrMalformed},
		"name's encoding":        {body: encodedPost("&na%me=a"), err: ErrMalformed},
		"not UTF-8":              {body: encodedPost("&name=%e9"), err: ErrMalformed},
		"overlong UTF-8":         {body: encodedPost("&name=%c0%80"), err: ErrMalformed},
		"null":                   {body: encodedPost("&name=a%00b"), err: ErrMalformed},
		"line in a name":         {body: encodedPost("&name=a%0ab"), err: ErrMalformed},
		"null in a message":      {body: encodedPost("&message=a%00b"), err: ErrMalformed},
		"control of ours":        {body: encodedPost("&metiva_language=nl%0a"), err: ErrMalformed},
		"too many pairs":         {body: encodedPost(strings.Repeat("&a=", PairsMax)), err: ErrTooLarge},
		"json":                   {body: jsonPost(`{"email":"jan@example.nl","name":" Jan ","other":"x"}`), want: "email=jan@example.nl;name=Jan;0"},
		"json escapes":           {body: jsonPost(`{"\u0065mail":"jan\u0040example.nl","message":"a\nb"}`), want: "email=jan@example.nl;message=a\nb;0"},
		"json null":              {body: jsonPost(`{"email":"jan@example.nl","name":null}`), want: "email=jan@example.nl;0"},
		"json of another kind":   {body: jsonPost(`{"email":"jan@example.nl","other":{"password":["x"]}}`), want: "email=jan@example.nl;0"},
		"json number":            {body: jsonPost(`{"email":"jan@example.nl","name":1}`), err: ErrMalformed},
		"json list":              {body: jsonPost(`{"email":["jan@example.nl"]}`), err: ErrMalformed},
		"json twice":             {body: jsonPost(`{"email":"jan@example.nl","name":"a","name":"b"}`), err: ErrMalformed},
		"json twice, unread":     {body: jsonPost(`{"email":"jan@example.nl","x":"a","x":"b"}`), err: ErrMalformed},
		"json twice, escaped":    {body: jsonPost(`{"email":"jan@example.nl","name":"a","n\u0061me":"b"}`), err: ErrMalformed},
		"json null byte":         {body: jsonPost(`{"email":"jan@example.nl","name":"a\u0000"}`), err: ErrMalformed},
		"json lone surrogate":    {body: jsonPost(`{"email":"jan@example.nl","name":"\ud800"}`), err: ErrMalformed},
		"json no fields":         {body: jsonPost(`{}`), err: ErrMalformed},
		"json fields are a list": {body: jsonPost(`[]`), err: ErrMalformed},
		"json twice fields":      {body: jsonPost(`{"email":"jan@example.nl"},"fields":{}`), err: ErrMalformed},
		"json given text":        {body: strings.Replace(jsonPost(`{"email":"jan@example.nl"}`), "true", `"true"`, 1), err: ErrMalformed},
		"json given number":      {body: strings.Replace(jsonPost(`{"email":"jan@example.nl"}`), "true", "1", 1), err: ErrMalformed},
		"json behind it":         {body: jsonPost(`{"email":"jan@example.nl"}`) + "{}", err: ErrMalformed},
	} {
		got, err := read(c.body, policy)
		if got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%s: %q, %v; want %q, %v", name, got, err, c.want, c.err)
		}
	}
}

func TestHeads(t *testing.T) {
	t.Parallel()
	head := func(body string) string {
		var p Post
		parse := p.ParseEncoded
		if strings.HasPrefix(body, "{") {
			parse = p.ParseJSON
		}
		if err := parse([]byte(body)); err != nil {
			return err.Error()
		}
		return fmt.Sprintf("%s %s %s %s %s %s %s %s %s %d %d %t %t %t", p.Site, p.Form, p.ID, p.URL, p.Referrer, p.Token, p.TextVersion, p.Language, p.Redirect, p.AtMs, p.SentAtMs, p.HasAt, p.Given, p.OptOut)
	}
	for body, want := range map[string]string{
		jsonPost("{}"): "pk_a contact x u r t form-1 nl  1 2 true true false",
		`{}`:           "         0 0 false false false",
		`{"site":null,"consent":null,"at":null,"x":[{"given":true}]}`:                                "         0 0 false false false",
		`{"consent":{"given":false},"opt_out":true}`:                                                 "         0 0 false false true",
		`{"given":true,"consent":{}}`:                                                                "         0 0 false false false",
		encodedPost("&metiva_language=nl&metiva_redirect=a%2Fb&metiva_url=c&metiva_id=d&given=true"): "pk_a contact d c   form-1 nl a/b 0 0 false true false",
		"metiva_consent=1":           "         0 0 false true false",
		"metiva_consent=yes":         "         0 0 false true false",
		"metiva_consent=":            "         0 0 false false false",
		"metiva_consent":             "         0 0 false false false",
		"metiva_consent=0":           "         0 0 false false false",
		"metiva_consent=no":          "         0 0 false false false",
		"metiva_consent=on+":         "         0 0 false false false",
		"metiva_consent%00=on":       ErrMalformed.Error(),
		"Metiva_consent=on":          "         0 0 false false false",
		"metiva_consent=on%26x":      "         0 0 false false false",
		"metiva_consent=no&=on":      "         0 0 false false false",
		"metiva_token=t":             ErrMalformed.Error(),
		`{"consent":true}`:           ErrMalformed.Error(),
		`{"consent":["given"]}`:      ErrMalformed.Error(),
		`{"consent":{"given":TRUE}}`: ErrMalformed.Error(),
		`{"site":1}`:                 ErrMalformed.Error(),
		`{"at":"1"}`:                 ErrMalformed.Error(),
		`{"at":1.5}`:                 ErrMalformed.Error(),
		`{"fields":1}`:               ErrMalformed.Error(),
	} {
		if got := head(body); got != want {
			t.Errorf("%s: %q, want %q", body, got, want)
		}
	}
}

// TestClear: nothing a visitor typed stays in the memory of a post.
func TestClear(t *testing.T) {
	t.Parallel()
	for _, body := range []string{encodedPost("&message=canary%21"), jsonPost(`{"email":"jan@example.nl","message":"canary\u0021","x":"canary\u0021"}`)} {
		var p Post
		raw := []byte(body)
		parse := p.ParseEncoded
		if body[0] == '{' {
			parse = p.ParseJSON
		}
		if err := parse(raw); err != nil {
			t.Fatal(err)
		}
		kept, _, err := p.Fields(contact(t))
		if err != nil || string(kept[1].Value) != "canary!" {
			t.Fatalf("%v, %v", kept, err)
		}
		p.Clear()
		if strings.Trim(string(kept[1].Value), "\x00") != "" {
			t.Errorf("%q stays", kept[1].Value)
		}
	}
}

// FuzzPost: whatever is sent, only named fields come out, within their limits,
// and nothing without a body that says so.
func FuzzPost(f *testing.F) {
	f.Add([]byte(encodedPost("&name=Jan&message=x%26y")))
	f.Add([]byte(jsonPost(`{"email":"jan@example.nl","message":"a\nb","x":[1,{"y":null}]}`)))
	f.Add([]byte("metiva_consent=on&email=a%40b.nl&%=%"))
	f.Add([]byte(`{"consent":{"given":true},"fields":{"email":"a@b.nl"}}`))
	policy := contact(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, isJSON := range []bool{true, false} {
			var p Post
			parse := p.ParseEncoded
			if isJSON {
				parse = p.ParseJSON
			}
			if parse(body) != nil {
				continue
			}
			lower := strings.ToLower(string(body))
			if p.Given && !strings.Contains(lower, "true") && !strings.ContainsAny(lower, "1o%y") {
				t.Fatalf("given without a word: %q", body)
			}
			kept, leftOut, err := p.Fields(policy)
			if err != nil {
				continue
			}
			if len(kept) == 0 || len(kept)+leftOut > len(policy.Fields) {
				t.Fatalf("%d kept, %d left out", len(kept), leftOut)
			}
			for _, k := range kept {
				if policy.find([]byte(k.Name)) < 0 || len(k.Value) == 0 || len(k.Value) > schemas.FormFieldBytesMax || strings.ContainsRune(string(k.Value), 0) {
					t.Fatalf("kept %q", k.Name)
				}
			}
			p.Clear()
		}
	})
}

func TestPolicyKeepsNoneOfTheRecord(t *testing.T) {
	t.Parallel()
	rec := contactRecord()
	p, err := NewPolicy(rec, origins())
	if err != nil {
		t.Fatal(err)
	}
	proto.Reset(rec)
	if len(p.Fields) != 5 || p.TextVersions[0] != "form-1" {
		t.Errorf("%+v", p)
	}
}
