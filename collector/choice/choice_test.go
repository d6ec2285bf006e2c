package choice

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/metiva-io/metiva/consent"
)

const whole = `{"site":"pk_a","choice":"0192d4e5-9c1a-7b3f-8a21-5f6e7d8c9b0a","token":"AQ-_9","opt_out":false,"language":"nl-NL","ui":"bar_b",
	"claim":{"source":"cmp","cmp":"cookiebot","raw":"C0001,C0002","answer":"granted","made":true,"implied":false,"text_version":"nl-1.2"},
	"claims":[{"source":"consent_mode","raw":"G111"},{"source":"tcf","raw":"CQ.IA"}]}`

func TestParse(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		body string
		want Call
	}{
		"everything": {whole, Call{
			Site: "pk_a", ID: "0192d4e5-9c1a-7b3f-8a21-5f6e7d8c9b0a", Token: "AQ-_9", Language: "nl-NL", Variant: "bar_b", HasClaim: true,
			Claim: consent.Claim{
				Source: consent.SourceCMP, CMP: consent.CMPCookiebot, Raw: "C0001,C0002", TextVersion: "nl-1.2",
				Choice: consent.Choice{Answer: consent.AnswerGranted, Made: true},
			},
			Others: []consent.Claim{{Source: consent.SourceConsentMode, Raw: "G111"}, {Source: consent.SourceTCF, Raw: "CQ.IA"}},
		}},
		"read back":       {`{"site":"pk_a","read":true,"token":"AQ"}`, Call{Site: "pk_a", Action: ReadBack, Token: "AQ"}},
		"withdraw":        {` {"withdraw" : true, "site":"pk_a","token":"AQ","opt_out":true} `, Call{Site: "pk_a", Action: Withdraw, Token: "AQ", OptOut: true}},
		"null is nothing": {`{"site":"pk_a","token":null,"read":null,"language":null,"opt_out":null}`, Call{Site: "pk_a"}},
		"escapes":         {`{"s\u0069te":"pk\u005fa"}`, Call{Site: "pk_a"}},
	} {
		got, err := Parse([]byte(c.body))
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// malformed bodies, which the fuzz target starts from too.
func malformed() map[string]string {
	claim := func(members string) string { return `{"site":"pk_a","claim":{` + members + `}}` }
	many := strings.Repeat(`{"source":"tcf"},`, ClaimsMax) + `{"source":"tcf"}`
	return map[string]string{
		"empty": "", "space": "  ", "null": "null", "list": "[]", "text": `"x"`, "number": "1", "open": `{"site":"pk_a"`,
		"no site": `{}`, "empty site": `{"site":""}`, "site of another kind": `{"site":1}`, "site nested": `{"site":{"a":1}}`,
		"site twice": `{"site":"pk_a","site":"pk_b"}`, "twice by escape": `{"site":"pk_a","s\u0069te":"pk_b"}`, "other case": `{"Site":"pk_a"}`,
		"unknown member": `{"site":"pk_a","email":"a@b.nl"}`, "prototype": `{"site":"pk_a","__proto__":{}}`,
		"two objects": `{"site":"pk_a"}{}`, "bytes behind": `{"site":"pk_a"}x`, "trailing comma": `{"site":"pk_a",}`, "single quotes": `{'site':'pk_a'}`,
		"invalid UTF-8": "{\"site\":\"pk_\xff\"}", "null byte": `{"site":"pk_\u0000"}`, "raw null byte": "{\"site\":\"pk_a\x00\"}", "surrogate": `{"site":"\ud800"}`,
		"long site": `{"site":"` + strings.Repeat("a", siteKeyBytesMax+1) + `"}`, "long token": `{"site":"pk_a","token":"` + strings.Repeat("a", consent.TokenBytesMax+1) + `"}`,
		"token with markup": `{"site":"pk_a","token":"<b>"}`, "long choice": `{"site":"pk_a","choice":"` + strings.Repeat("a", 37) + `"}`,
		"language": `{"site":"pk_a","language":"Nederlands!"}`, "language of no form": `{"site":"pk_a","language":"nederlands"}`,
		"variant": `{"site":"pk_a","ui":"a@b.nl"}`, "long variant": `{"site":"pk_a","ui":"` + strings.Repeat("a", VariantBytesMax+1) + `"}`,
		"flag as text": `{"site":"pk_a","read":"true"}`, "flag as number": `{"site":"pk_a","withdraw":1}`, "read and withdraw": `{"site":"pk_a","read":true,"withdraw":true}`,
		"withdraw with a claim": `{"site":"pk_a","withdraw":true,"claim":{"source":"banner"}}`, "read with claims": `{"site":"pk_a","read":true,"claims":[{"source":"tcf"}]}`,
		"claim is a list": `{"site":"pk_a","claim":[]}`, "claim is null": `{"site":"pk_a","claim":null}`, "claims is an object": `{"site":"pk_a","claims":{}}`,
		"claim without source": claim(``), "unknown source": claim(`"source":"form"`), "unknown answer": claim(`"source":"banner","answer":"yes"`),
		"unknown platform": claim(`"source":"cmp","cmp":"mine"`), "cmp without platform": claim(`"source":"cmp"`), "platform of a banner": claim(`"source":"banner","cmp":"klaro"`),
		"source twice": claim(`"source":"banner","source":"api"`), "unknown claim member": claim(`"source":"banner","name":"x"`), "deep claim": claim(`"source":{"a":{"b":1}}`),
		"raw with an address": claim(`"source":"cmp","cmp":"klaro","raw":"a@b.nl"`), "raw over its limit": claim(`"source":"tcf","raw":"` + strings.Repeat("A", consent.RawSignalBytesMax+1) + `"`),
		"text version": claim(`"source":"banner","text_version":"nl 1"`), "made as text": claim(`"source":"banner","made":"1"`),
		"too many claims": `{"site":"pk_a","claims":[` + many + `]}`, "deep": `{"site":` + strings.Repeat(`[`, 5000) + strings.Repeat(`]`, 5000) + `}`,
		"deep object": strings.Repeat(`{"site":`, 3000), "huge number": `{"site":1e999999}`,
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for name, body := range malformed() {
		got, err := Parse([]byte(body))
		if !errors.Is(err, ErrMalformed) || err.Error() != ErrMalformed.Error() || !reflect.DeepEqual(got, Call{}) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// FuzzParse: what is accepted has only texts a record may hold.
func FuzzParse(f *testing.F) {
	f.Add([]byte(whole))
	for _, body := range malformed() {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		c, err := Parse(body)
		if err != nil {
			if !reflect.DeepEqual(c, Call{}) {
				t.Fatal("an error with a call")
			}
			return
		}
		if c.Site == "" || len(c.Others) > ClaimsMax || c.Action != Choose && c.HasClaim || c.Language != "" && !consent.IsLanguage(c.Language) {
			t.Fatalf("%+v", c)
		}
		for _, text := range append([]string{c.Site, c.ID, c.Token, c.Language, c.Variant, c.Claim.Raw, c.Claim.TextVersion, string(c.Claim.CMP)}, fmt.Sprint(c.Others)) {
			if strings.ContainsAny(text, "@<>\"\\/\x00\n") || len(text) > 3*consent.RawSignalBytesMax*ClaimsMax {
				t.Fatalf("a text of %d bytes has characters no record may hold", len(text))
			}
		}
	})
}
