package collector

import (
	"bytes"
	"strings"
	"testing"

	"github.com/metiva-io/metiva/collector/choice"
	"github.com/metiva-io/metiva/consent"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// consentPost is a well-formed POST /v1/consent, with headers as httpPost has
// them.
func consentPost(body string, headers ...string) string {
	return httpRequest("POST "+PathConsent+" HTTP/1.1", body, headers...)
}

// consentBody is a good choice with some members replaced or added, as eventOf has
// them.
func consentBody(replaced ...string) string {
	names, values := []string{"site", "choice", "claim"}, map[string]string{"site": text(testKey), "choice": text(hostileID), "claim": claimOf()}
	for i := 0; i < len(replaced); i += 2 {
		if _, known := values[replaced[i]]; !known {
			names = append(names, replaced[i])
		}
		values[replaced[i]] = replaced[i+1]
	}
	var out []string
	for _, name := range names {
		if values[name] != "" {
			out = append(out, text(name)+":"+values[name])
		}
	}
	return "{" + strings.Join(out, ",") + "}"
}

// claimOf is the banner's grant with members added behind it.
func claimOf(added ...string) string {
	members := append([]string{`"source":"banner","answer":"granted","made":true,"text_version":"` + testText + `"`}, added...)
	return "{" + strings.Join(members, ",") + "}"
}

// hostileConsentRows are bodies and headers for the way consent is given and taken
// back.
func hostileConsentRows(t testing.TB) []hostile {
	const malformed, declined = "400 !malformed", "200 !not_granted"
	post := func(name, answer string, replaced ...string) hostile {
		return row("consent: "+name, consentPost(consentBody(replaced...)), answer)
	}
	bare := func(name, body, answer string, headers ...string) hostile {
		return row("consent: "+name, consentPost(body, headers...), answer)
	}
	rows := []hostile{
		post("site twice", malformed, `site","site":"pk_x","x`, text("y")),
		post("unknown member", malformed, "email", text(personalWord+"@example.nl")),
		post("address as a member", malformed, "ip", text(testVisitor)),
		post("prototype", malformed, "__proto__", `{"state":"analytics"}`),
		post("state claimed", malformed, "state", text("analytics")),
		post("visitor id claimed", malformed, "visitor_id", text(strings.Repeat("ab", 16))),
		post("sequence claimed", malformed, "sequence", "9"),
		post("tenant claimed", malformed, "company_id", text("cmp_bbbbbbbbbbbbbbbbbbbb")),
		post("expiry claimed", malformed, "expires_at", "99999999999999"),
		post("site of another tenant's form", "403 !unknown_site", "site", text("pk_"+personalWord)),
		post("site with markup", malformed, "site", text("<script>")),
		post("site with a null byte", malformed, "site", text(`pk\u0000`)),
		post("choice of version 4", malformed, "choice", text("9b2f5c1e-7c1e-4b44-9f0a-1d2e3f405162")),
		post("choice in braces", malformed, "choice", text("{"+hostileID+"}")),
		post("choice as a number", malformed, "choice", "1e999"),
		post("nested token", malformed, "token", `{"token":{"token":"x"}}`),
		post("token with line break", malformed, "token", text(`AA\nAA`)),
		post("long token", malformed, "token", text(strings.Repeat("A", 300))),
		post("variant with an address", malformed, "ui", text(personalWord+"@example.nl")),
		post("language with a name", malformed, "language", text(personalWord+" "+personalWord)),
		post("claim is a text", malformed, "claim", text("granted")),
		post("claim granted by a form", malformed, "claim", `{"source":"form","answer":"granted","made":true}`),
		post("claim of nobody", malformed, "claim", `{"answer":"granted","made":true}`),
		post("claim of two sources", malformed, "claim", claimOf(`"source":"api"`)),
		post("claim with a name", malformed, "claim", claimOf(`"name":"`+personalWord+`"`)),
		post("claim in capitals", malformed, "claim", `{"SOURCE":"banner","ANSWER":"granted","MADE":true}`),
		post("claim with a raw signal", declined, "claim", claimOf(`"raw":"C0002"`)),
		post("raw with an e-mail address", malformed, "claim", `{"source":"tcf","raw":"`+personalWord+`@example.nl"}`),
		post("raw beyond its limit", malformed, "claim", `{"source":"tcf","raw":"`+strings.Repeat("C", consent.RawSignalBytesMax+1)+`"}`),
		post("string of zeroes", declined, "claim", `{"source":"tcf","raw":"`+strings.Repeat("A", consent.RawSignalBytesMax)+`"}`),
		post("string of ranges", declined, "claim", `{"source":"tcf","raw":"C`+strings.Repeat("_", 1000)+`"}`),
		post("made by a number", malformed, "claim", `{"source":"banner","answer":"granted","made":1}`),
		post("five further claims", malformed, "claims", "["+strings.Repeat(`{"source":"tcf"},`, choice.ClaimsMax)+`{"source":"tcf"}]`),
		post("further claims deep", malformed, "claims", strings.Repeat("[", 3000)+strings.Repeat("]", 3000)),
		post("withdrawal with a claim", malformed, "withdraw", "true"),
		post("reading with a claim", malformed, "read", "true"),
		bare("forged withdrawal", `{"site":"`+testKey+`","withdraw":true,"token":"AQ`+strings.Repeat("A", 100)+`"}`, "403 !invalid_token"),
		bare("withdrawal without a token", `{"site":"`+testKey+`","withdraw":true}`, malformed),
		bare("forged reading", `{"site":"`+testKey+`","read":true,"token":"eyJhbGciOiJub25lIn0"}`, "200 !invalid_token"),
		bare("nothing", "", malformed, "Content-Length: 0"),
		bare("list", "["+consentBody()+"]", malformed),
		bare("two bodies", consentBody()+consentBody(), malformed),
		bare("cut", consentBody()[:40], malformed),
		bare("invalid UTF-8", "{\"site\":\"\xff\"}", malformed),
		bare("deep", strings.Repeat(`{"claim":`, 700), malformed),
		bare("large", consentBody("token", text(strings.Repeat("A", consentBodyBytesMax))), "413 !too_large"),
		bare("bomb", string(pack(t, "gzip", bytes.Repeat([]byte{' '}, 1<<20))), "413 !too_large", "Content-Encoding: gzip"),
		bare("half a bomb", string(pack(t, "br", bytes.Repeat([]byte{' '}, consentBodyBytesMax+1))), "413 !too_large", "Content-Encoding: br"),
		bare("not gzip", consentBody(), malformed, "Content-Encoding: gzip"),
		bare("packed twice", consentBody(), "415 !unsupported_type", "Content-Encoding: gzip", "Content-Encoding: gzip"),
		bare("form", "site="+testKey, "415 !unsupported_type", "Content-Type: application/x-www-form-urlencoded"),
		bare("no type", consentBody(), "415 !unsupported_type", "Content-Type"),
		bare("foreign origin", consentBody(), "403 !origin_not_allowed", "Origin: https://evil.example"),
		bare("sandboxed", consentBody(), "403 !origin_not_allowed", "Origin: null"),
		bare("no origin", consentBody(), "403 !origin_not_allowed", "Origin"),
		bare("allowed origin's subdomain", consentBody(), "403 !origin_not_allowed", "Origin: "+testOrigin+".evil.example"),
		bare("objection", consentBody(), "200 !objected", "Sec-GPC: 1"),
		bare("objection twice", consentBody(), "200 !objected", "Sec-GPC: 0", "Sec-GPC: 1"),
		bare("DNT", consentBody(), "200 !objected", "DNT: 1"),
		bare("forged forwarding", consentBody("claim", claimOf(`"implied":true`)), declined, "X-Forwarded-For: "+strings.Repeat("1.1.1.1, ", 40)+testVisitor),
		row("consent: GET with a token", httpRequest("GET "+PathConsent+"?token="+personalWord+" HTTP/1.1", ""), "405"),
		row("consent: DELETE without a body", httpRequest("DELETE "+PathConsent+" HTTP/1.1", ""), malformed),
		row("consent: DELETE with a claim", httpRequest("DELETE "+PathConsent+" HTTP/1.1", consentBody("token", text("AA"))), malformed),
		row("consent: DELETE that reads", httpRequest("DELETE "+PathConsent+" HTTP/1.1", `{"site":"`+testKey+`","read":true,"token":"AA"}`), malformed),
		row("consent: DELETE of a forged token", httpRequest("DELETE "+PathConsent+" HTTP/1.1", `{"site":"`+testKey+`","token":"AA"}`), "403 !invalid_token"),
		row("consent: method in lower case", httpRequest("post "+PathConsent+" HTTP/1.1", consentBody()), "405"),
		row("consent: two requests", consentPost(consentBody("read", "1"))+consentPost(consentBody("withdraw", "1")), malformed+" | "+malformed),
		row("consent: path with a slash", httpRequest("POST "+PathConsent+"/ HTTP/1.1", consentBody()), "404"),
	}
	return rows
}

// TestHostileConsent sends every row, one by one and all at once: none leaves a
// record, a withdrawal, an event or a count of the ledger behind, and nothing
// personal is written.
func TestHostileConsent(t *testing.T) {
	t.Parallel()
	e := startConsentEdge(t, roomyLimits)
	rows := hostileConsentRows(t)
	for _, h := range rows {
		answer, wire, err := e.exchange(h.send, false)
		if err != nil || answer != h.answer {
			t.Errorf("%s: answered %.300q, %v; want %q", h.name, answer, err, h.answer)
		}
		for _, personal := range append(personalValues(), testText) {
			if bytes.Contains(wire, []byte(personal)) {
				t.Errorf("%s: the answer quotes %q", h.name, personal)
			}
		}
	}
	e.sendAtOnce(t, rows)
	if answer, _, err := e.exchange(consentPost(consentBody()), false); answer != "200" || len(consentRecords(t, e.log)) != 1 {
		t.Errorf("a good choice was answered %q, %v", answer, err)
	}
	if n := len(e.log.of(schemas.TopicControlWithdrawals)) + len(e.log.of(schemas.TopicEventsCollected)); n > 0 {
		t.Errorf("%d records", n)
	}
	if rec := consentRecords(t, e.log)[0]; rec.GetKind() != metivav1.ConsentKind_CONSENT_KIND_GIVEN || rec.GetSiteId() != testSite {
		t.Errorf("record %v", rec)
	}
	wantLedger(t, e.stoppedLedger(), nil)
	if n := e.metricSums(t)["metiva_collector_panics_total"]; n != 0 {
		t.Errorf("%v panics", n)
	}
	written := []byte(e.logged.String())
	families, err := e.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		written = append(written, family.String()...)
	}
	for _, r := range e.log.records {
		written = append(append(written, r.key...), r.value...)
	}
	for _, personal := range personalValues() {
		if bytes.Contains(written, []byte(personal)) {
			t.Errorf("the collector wrote %q", personal)
		}
	}
}
