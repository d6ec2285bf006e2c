package collector

import (
	"bytes"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"os"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/consent"
	"github.com/metiva-io/metiva/pkg/seal"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// TestFormWithoutScript: what a browser sends by itself is captured, and the
// visitor goes back to the registered address.
func TestFormWithoutScript(t *testing.T) {
	t.Parallel()
	e := startFormEdge(t, nil)
	a := e.submit(formBody())
	if a.status != http.StatusSeeOther || a.header.Get("Location") != testRedirect || len(a.body) != 0 || a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("answered %d to %q: %s", a.status, a.header.Get("Location"), a.body)
	}
	ev := e.only(1)
	// The browser named its origin only, and the form no page.
	if ev.GetHost() != "www.example.nl" || ev.GetPath() != "" || ev.GetOccurredAtMs() != e.clock.Now().UnixMilli() || len(ev.GetVisitorId()) != 0 {
		t.Errorf("event %v", ev)
	}
	if got := e.openForm(ev); len(got) != 2 || got["email"] != typedWord+"@example.nl" || got["name"] != "Jan "+typedWord {
		t.Errorf("sealed %q", got)
	}
	body := formBody()
	body.Set("metiva_url", testOrigin+"/over-ons/jan@example.nl?utm_campaign=lente&x="+typedWord)
	body.Set("metiva_id", hostileID)
	e.submit(body)
	if ev := e.only(2); ev.GetPath() != "/over-ons/:email" || ev.GetCampaign().GetName() != "lente" || !bytes.HasPrefix(ev.GetEventId(), []byte{0x01, 0x9a, 0xb0}) {
		t.Errorf("event %v", ev)
	}
	// Without an id of its own, the same post is another capture.
	e.submit(formBody())
	if again := e.only(3); bytes.Equal(again.GetEventId(), ev.GetEventId()) || bytes.Equal(again.GetFormCapture().GetSubjectId(), ev.GetFormCapture().GetSubjectId()) {
		t.Error("two posts have one id")
	}
	e.submit(formBody(), header("Referer", testOrigin+"/contact"))
	if ev := e.only(4); ev.GetPath() != "/contact" {
		t.Errorf("path %q", ev.GetPath())
	}
}

// TestFormPages: without an address to go back to, the visitor sees what became
// of the post, in one of two languages and without anything a page could do.
func TestFormPages(t *testing.T) {
	t.Parallel()
	e := startFormEdge(t, nil)
	for languages, dutch := range map[string]bool{
		"nl": true, "nl-BE, nl;q=0.8": true, "NL": true, "en;q=0.5,nl;q=0.7": true, "de, nl;q=0.2": true, "nl;q=0.1, en;q=0": true,
		"": false, "en": false, "en-GB,nl;q=0.9": false, "de": false, "nl;q=0": false, "nl;q=x": false, "*": false, ",,;q=1": false, "nlx": false,
	} {
		body := formBody()
		body.Del("metiva_redirect")
		a := e.submit(body, header("Accept-Language", languages))
		want := "Thank you"
		if dutch {
			want = "Bedankt"
		}
		if a.status != http.StatusOK || !strings.Contains(string(a.body), "<h1>"+want+"</h1>") || a.header.Get("Content-Type") != "text/html; charset=utf-8" {
			t.Errorf("%q: answered %d %s", languages, a.status, a.body)
		}
		csp := a.header.Get("Content-Security-Policy")
		if !strings.HasPrefix(csp, "default-src 'none'; style-src 'sha256-") || strings.Contains(csp, "unsafe") || strings.Contains(string(a.body), "<script") ||
			a.header.Get("X-Content-Type-Options") != "nosniff" || a.header.Get("Cache-Control") != "no-store" || !strings.Contains(strings.Join(a.header.Values("Vary"), ","), "Accept-Language") {
			t.Errorf("%q: %v", languages, a.header)
		}
	}
}

// TestCaptureFromAScript: a page of an allowed origin may read the answer, and a
// preflight is answered.
func TestCaptureFromAScript(t *testing.T) {
	t.Parallel()
	e := startFormEdge(t, nil)
	a := e.capture(e.captureBody(), header("Content-Type", "application/json"))
	receiptOf(t, a)
	if a.header.Get("Access-Control-Allow-Origin") != testOrigin || a.header.Get("Access-Control-Allow-Credentials") != "" || a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("%v", a.header)
	}
	a = e.do(http.MethodOptions, PathCaptures, nil, map[string]string{"Origin": testOrigin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"})
	if a.status != http.StatusNoContent || a.header.Get("Access-Control-Allow-Origin") != testOrigin || a.header.Get("Access-Control-Max-Age") == "" {
		t.Errorf("preflight: %d %v", a.status, a.header)
	}
	if a = e.capture(e.captureBody(), header("Origin", "https://evil.example")); a.status != http.StatusForbidden || a.header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("foreign: %d %v", a.status, a.header)
	}
}

// TestOneMakerOfCaptures: the message is written in one function, and that one
// takes a consent.Capture.
func TestOneMakerOfCaptures(t *testing.T) {
	t.Parallel()
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	made := map[string]int{}
	for _, entry := range entries {
		if !strings.HasSuffix(entry.Name(), ".go") || strings.HasSuffix(entry.Name(), "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), entry.Name(), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			name := "(outside a function)"
			if f, ok := decl.(*ast.FuncDecl); ok {
				name = f.Name.Name
			}
			ast.Inspect(decl, func(n ast.Node) bool {
				if s, ok := n.(*ast.SelectorExpr); ok && (s.Sel.Name == "FormCapture" || s.Sel.Name == "CollectedEvent_FormCapture") {
					made[name]++
				}
				return true
			})
		}
	}
	if len(made) != 1 || made["eventOf"] != 2 {
		t.Errorf("captures are made in %v", made)
	}
	if _, err := new(capture).eventOf(consent.Capture{}, nil, [16]byte{}, visitKey{}, 0); !errors.Is(err, errNotCapturable) {
		t.Errorf("a capture that is not allowed: %v", err)
	}
}

// TestCaptureThroughKafka reads everything back from a broker: the chain holds,
// the fields open with what is on control.keys, and nowhere else do they.
func TestCaptureThroughKafka(t *testing.T) {
	t.Parallel()
	b := startBrokerEdge(t, nil)
	rec := siteRecord()
	withForm(rec)
	rec.Version = 2
	b.applySite(rec)
	receiptOf(t, b.capture(with(b.captureBody(), "token", b.token(5))))
	if a := b.submit(formBody()); a.status != http.StatusSeeOther {
		t.Fatalf("answered %d %s", a.status, a.body)
	}
	if err := b.stop(); err != nil {
		t.Fatal(err)
	}
	for _, r := range b.readAll(schemas.TopicControlKeys) {
		if err := b.opener.ApplyKey(r.key, r.value); err != nil {
			t.Error(err)
		}
	}
	b.log = &memoryLog{} // openForm reads keys from here; the opener has them already
	var events []*metivav1.CollectedEvent
	for _, r := range b.readAll(schemas.TopicEventsCollected) {
		ev := new(metivav1.CollectedEvent)
		if err := proto.Unmarshal(r.value, ev); err != nil {
			t.Fatal(err)
		}
		if got := b.openForm(ev); got["email"] != typedWord+"@example.nl" || got["name"] != "Jan "+typedWord {
			t.Errorf("sealed %q", got)
		}
		events = append(events, ev)
	}
	records := map[string]bool{}
	for i, r := range b.readAll(schemas.TopicConsentRecords) {
		link, err := consent.ReadRecord(r.value)
		if err != nil || consent.RecordHash(link) != consent.Hash(link.GetRecordSha256()) || link.GetChainPosition() != uint64(i+1) {
			t.Errorf("record %v, %v", link, err)
		}
		records[string(link.GetRecordId())] = true
	}
	if len(events) != 2 || len(records) != 2 || !records[string(events[0].GetFormCapture().GetConsentRecordId())] || !records[string(events[1].GetFormCapture().GetConsentRecordId())] {
		t.Fatalf("%d events rest on %d records", len(events), len(records))
	}
	tryOtherPlaces(t, b.opener, events[0], events[1])
	wantLedger(t, ledgerOf(t, b.readAll(schemas.TopicLedgerEdge)), map[string]uint64{testCompany + "/none": 2})
}

// tryOtherPlaces moves a sealed value to every other place: none opens.
func tryOtherPlaces(t *testing.T, opener *seal.Opener, one, other *metivav1.CollectedEvent) {
	t.Helper()
	sealed := one.GetFormCapture().GetSealedFields()["email"]
	good := bindingOf(one, "email")
	for name, change := range map[string]func(*seal.Binding){
		"field":   func(b *seal.Binding) { b.Field = seal.FormField("name") },
		"event":   func(b *seal.Binding) { b.EventID = [16]byte(other.GetEventId()) },
		"subject": func(b *seal.Binding) { b.SubjectID = [16]byte(other.GetFormCapture().GetSubjectId()) },
		"site":    func(b *seal.Binding) { b.SiteID = "sit_b" },
		"tenant":  func(b *seal.Binding) { b.CompanyID = "cmp_b" },
	} {
		moved := good
		change(&moved)
		if plain, err := opener.OpenField(nil, moved, sealed); err == nil {
			t.Errorf("another %s: opens to %q", name, plain)
		}
	}
	if _, err := opener.OpenField(nil, good, one.GetFormCapture().GetSealedFields()["name"]); !errors.Is(err, seal.ErrTampered) {
		t.Errorf("swapped fields: %v", err)
	}
	if _, err := opener.OpenField(nil, good, sealed); err != nil {
		t.Errorf("in its own place: %v", err)
	}
}
