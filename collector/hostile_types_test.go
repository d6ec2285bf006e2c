package collector

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/metiva-io/metiva/consent"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// typeRow is one event of another type than a page view, under a grant, and what
// must become of it.
type typeRow struct {
	name, event, outcome string
	kept                 string // of an accepted one, as detailOf writes it
}

// typeOf is an event of a type with some members more: name and JSON text in turn.
func typeOf(kind string, members ...string) string {
	return eventOf(append([]string{"type", text(kind)}, members...)...)
}

// detailOf writes down what an event says by its type.
func detailOf(ev *metivav1.CollectedEvent) string {
	switch d := ev.GetDetail().(type) {
	case *metivav1.CollectedEvent_Engagement:
		return fmt.Sprintf("%d ms %d%%", d.Engagement.GetVisibleMs(), d.Engagement.GetScrollPercent())
	case *metivav1.CollectedEvent_Click:
		return schemas.Label(d.Click.GetKind()) + " " + d.Click.GetTargetHost() + d.Click.GetTargetPath()
	case *metivav1.CollectedEvent_FormAction:
		return schemas.Label(d.FormAction.GetKind()) + " " + d.FormAction.GetFormId()
	case *metivav1.CollectedEvent_Custom:
		out := []string{d.Custom.GetName()}
		for _, name := range slices.Sorted(maps.Keys(d.Custom.GetProperties())) {
			out = append(out, name+"="+d.Custom.GetProperties()[name])
		}
		return strings.Join(out, " ")
	}
	return ""
}

const tooLarge, malformed = "dropped:too_large", "dropped:malformed"

func engagementRows() []typeRow {
	of := func(visible, scroll string) string {
		return typeOf("engagement", "visible_ms", visible, "scroll", scroll)
	}
	return []typeRow{
		{"engagement", of("61000", "80"), "accepted", "61000 ms 80%"},
		{"nothing seen", of("0", "0"), "accepted", "0 ms 0%"},
		{"a day and all of it", of("86400000", "100"), "accepted", "86400000 ms 100%"},
		{"longer than a day", of("86400001", "100"), tooLarge, ""},
		{"over 32 bits", of("4294967296", "100"), tooLarge, ""},
		{"deeper than the page", of("1", "101"), tooLarge, ""},
		{"scroll over 32 bits", of("1", "4294967297"), tooLarge, ""},
		{"negative", of("-1", "0"), malformed, ""},
		{"negative scroll", of("1", "-1"), malformed, ""},
		{"minus zero", of("-0", "0"), malformed, ""},
		{"a fraction", of("1.5", "0"), malformed, ""},
		{"an exponent", of("1e3", "0"), malformed, ""},
		{"a huge number", of(strings.Repeat("9", 400), "0"), malformed, ""},
		{"text", of(text("61000"), "0"), malformed, ""},
		{"true", of("true", "0"), malformed, ""},
		{"a list", of("[61000]", "0"), malformed, ""},
		{"no scroll", of("1", ""), malformed, ""},
		{"no time", of("", "1"), malformed, ""},
		{"null", of("null", "1"), malformed, ""},
		{"with others' fields of any kind", typeOf("engagement", "visible_ms", "1", "scroll", "2", "target", "7", "props", "[]", "form", `{"email":"kanarie@mail.example"}`), "accepted", "1 ms 2%"},
	}
}

func clickRows() []typeRow {
	of := func(kind, target string) string { return typeOf("click", "kind", kind, "target", target) }
	const outbound, download = `"outbound"`, `"download"`
	return []typeRow{
		{"outbound", of(outbound, text("https://Partner.example.org/p/kanarie?kanarie#kanarie")), "accepted", "outbound partner.example.org"},
		{"download", of(download, text("https://www.example.nl/f/price%20list.pdf?sig=eyJhbGciOiJub25lIn0")), "accepted", "download www.example.nl/f/price%20list.pdf"},
		{"a download of somebody", of(download, text("https://www.example.nl/kanarie%40mail.example/123456782/cv.pdf")), "accepted", "download www.example.nl/:email/:number/cv.pdf"},
		{"a download with a session", of(download, text("https://www.example.nl/a;sid=kanarie/b")), "accepted", "download www.example.nl/a/b"},
		{"credentials", of(outbound, text("https://kanarie:kanarie@partner.example.org/")), "accepted", "outbound partner.example.org"},
		{"an address", of(outbound, text("http://145.221.173.91/")), "accepted", "outbound masked"},
		{"an IPv6 address", of(outbound, text("http://[2001:db8:c0fe::1]/")), "accepted", "outbound masked"},
		{"a host with a number", of(outbound, text("https://klant-123456782.example.org/")), "accepted", "outbound masked.example.org"},
		{"a mailbox", of(outbound, text("mailto:kanarie@mail.example")), malformed, ""},
		{"a telephone number", of(outbound, text("tel:0612345678")), malformed, ""},
		{"a script", of(outbound, text("javascript:fetch('/'+'kanarie')")), malformed, ""},
		{"data", of(download, text("data:text/plain,kanarie")), malformed, ""},
		{"a relative address", of(download, text("/files/kanarie.pdf")), malformed, ""},
		{"no scheme", of(outbound, text("//partner.example.org/")), malformed, ""},
		{"a space", of(outbound, text("https://partner.example.org/a b")), malformed, ""},
		{"NUL", of(outbound, `"https://partner.example.org/\u0000"`), malformed, ""},
		{"no host", of(outbound, text("https:///a")), malformed, ""},
		{"a long address", of(outbound, text("https://partner.example.org/"+strings.Repeat("a", 4096))), tooLarge, ""},
		{"a long path", of(download, text("https://www.example.nl/"+strings.Repeat("ab-", 600))), "accepted", "download www.example.nl/" + strings.Repeat("ab-", 600)[:1023]},
		{"an unknown kind", of(`"internal"`, text("https://partner.example.org/")), malformed, ""},
		{"a kind in capitals", of(`"Outbound"`, text("https://partner.example.org/")), malformed, ""},
		{"no kind", of("", text("https://partner.example.org/")), malformed, ""},
		{"no target", of(outbound, ""), malformed, ""},
		{"an empty target", of(outbound, `""`), malformed, ""},
		{"a target that is a list", of(outbound, `["https://partner.example.org/"]`), malformed, ""},
	}
}

func formRows() []typeRow {
	of := func(action, form string, more ...string) string {
		return typeOf("form", append([]string{"action", action, "form", form}, more...)...)
	}
	const start, submit = `"start"`, `"submit"`
	return []typeRow{
		{"start", of(start, text("contact-1")), "accepted", "start contact-1"},
		{"submit", of(submit, text("Contact_form.v2")), "accepted", "submit Contact_form.v2"},
		{"with values", of(submit, text("contact-1"), "fields", `{"email":"kanarie@mail.example"}`, "values", `["0612345678"]`), "accepted", "submit contact-1"},
		{"a form named after an order", of(start, text("order-123456782")), "accepted", "start masked"},
		{"a form named after a session", of(start, text("f-8f14e45f-ceea-467f-9575-1d2e3f405162")), "accepted", "start masked"},
		{"as long as a form's id may be", of(start, text(strings.Repeat("a-", 32))), "accepted", "start " + strings.Repeat("a-", 32)},
		{"longer", of(start, text(strings.Repeat("a-", 32)+"a")), tooLarge, ""},
		{"an e-mail address", of(start, text("kanarie@mail.example")), malformed, ""},
		{"markup", of(start, text("<b>kanarie</b>")), malformed, ""},
		{"a slash", of(start, text("../contact")), malformed, ""},
		{"a letter beyond ASCII", of(start, text("formulär")), malformed, ""},
		{"a line break", of(start, `"contact\n1"`), malformed, ""},
		{"an empty id", of(start, `""`), malformed, ""},
		{"a number", of(start, "1"), malformed, ""},
		{"the form itself", of(submit, `{"name":"kanarie"}`), malformed, ""},
		{"an unknown action", of(`"abandon"`, text("contact-1")), malformed, ""},
		{"no action", of("", text("contact-1")), malformed, ""},
		{"a capture", typeOf("capture", "form", text("contact-1")), malformed, ""},
	}
}

func customRows() []typeRow {
	of := func(name, props string) string { return typeOf("custom", "name", name, "props", props) }
	const name = `"price.calculated"`
	var listed []string
	for i := range schemas.CustomPropertiesMax {
		listed = append(listed, fmt.Sprintf(`"p%d":%d`, i, i))
	}
	return []typeRow{
		{"custom", of(name, `{"plan":"Pro €","seats":12.50,"trial":true,"note":null}`), "accepted", "price.calculated plan=Pro € seats=12.50 trial=true"},
		{"without properties", of(name, ""), "accepted", "price.calculated"},
		{"unlisted properties", of(name, `{"plan":"Pro","email":"kanarie@mail.example","__proto__":"kanarie","Plan":"kanarie","plan ":"kanarie"}`), "accepted", "price.calculated plan=Pro"},
		{"personal values", of(name, `{"plan":"kanarie@mail.example","seats":123456782,"note":"bel 06 12 34 56 78","p1":"NL91ABNA0417164300","p2":"4111 1111 1111 1111","p3":"145.221.173.91"}`), "accepted", "price.calculated note=:number p1=:iban p2=:number p3=:number plan=:email seats=:number"},
		{"encoded personal values", of(name, `{"plan":"kanarie%40mail.example","note":"kanarie\u200b@\u200bmail.example","p1":"a=kanarie"}`), "accepted", "price.calculated note=:email p1=:value plan=:email"},
		{"a personal value behind the cut", of(name, `{"plan":"`+strings.Repeat("a ", 300)+`kanarie@mail.example"}`), "accepted", "price.calculated plan=:email"},
		{"a long value", of(name, `{"plan":"`+strings.Repeat("é ", 300)+`"}`), "accepted", "price.calculated plan=" + strings.Repeat("é ", 85)},
		{"a long number", of(name, `{"seats":`+strings.Repeat("9", 300)+`}`), "accepted", "price.calculated seats=:token"},
		{"characters nobody sees", of(name, `{"plan":"P\u0000r\u202eo\n"}`), "accepted", "price.calculated plan=Pro"},
		{"as many properties as may be", of(name, "{"+strings.Join(listed, ",")+"}"), "accepted", "price.calculated p0=0 p1=1 p10=10 p11=11 p12=12 p13=13 p14=14 p15=15 p2=2 p3=3 p4=4 p5=5 p6=6 p7=7 p8=8 p9=9"},
		{"one more", of(name, "{"+strings.Join(listed, ",")+`,"plan":"Pro"}`), tooLarge, ""},
		{"one more that is unlisted", of(name, "{"+strings.Join(listed, ",")+`,"other":"kanarie"}`), "accepted", "price.calculated p0=0 p1=1 p10=10 p11=11 p12=12 p13=13 p14=14 p15=15 p2=2 p3=3 p4=4 p5=5 p6=6 p7=7 p8=8 p9=9"},
		{"a nested property", of(name, `{"plan":{"email":"kanarie@mail.example"}}`), malformed, ""},
		{"a list property", of(name, `{"other":["kanarie"]}`), malformed, ""},
		{"properties in a list", of(name, `["kanarie"]`), malformed, ""},
		{"properties as text", of(name, `"plan=kanarie"`), malformed, ""},
		{"a name after an order", of(text("order-123456782"), `{}`), "accepted", "masked"},
		{"a name as long as may be", of(text(strings.Repeat("a-", 32)), `{}`), "accepted", strings.Repeat("a-", 32)},
		{"a longer name", of(text(strings.Repeat("a-", 32)+"a"), `{}`), tooLarge, ""},
		{"a name with a space", of(text("price calculated"), `{}`), malformed, ""},
		{"a name that is an e-mail address", of(text("kanarie@mail.example"), `{}`), malformed, ""},
		{"a name with markup", of(text("<script>kanarie</script>"), `{}`), malformed, ""},
		{"an empty name", of(`""`, `{}`), malformed, ""},
		{"a name that is a number", of("7", `{}`), malformed, ""},
		{"no name", of("", `{}`), malformed, ""},
	}
}

func typeRows() []typeRow {
	return slices.Concat(engagementRows(), clickRows(), formRows(), customRows())
}

// TestHostileTypes sends each row alone, with a grant and without one, and all
// of them in batches between good page views.
func TestHostileTypes(t *testing.T) {
	t.Parallel()
	rows := typeRows()
	if len(rows) < 40 {
		t.Errorf("the corpus holds %d events, want 40", len(rows))
	}
	e := newEdge(t, nil, roomyLimits)
	rec := siteRecord()
	rec.CustomProperties = []string{"plan", "seats", "trial", "note", "no such name", ""}
	for i := range schemas.CustomPropertiesMax {
		rec.CustomProperties = append(rec.CustomProperties, fmt.Sprintf("p%d", i))
	}
	e.applySite(rec)
	e.applySalt(testCompany, "2026-11-22")
	e.CaughtUp()
	e.start()
	granted := func(body string) string {
		return strings.Replace(body, `"events"`, `"consent":"`+e.token(1)+`","events"`, 1)
	}
	accepted := 0
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			a := e.post(granted(batchOf(row.event)))
			if a.status != 200 || a.outcomes() != row.outcome {
				t.Errorf("answered %d %q, want %q", a.status, a.outcomes(), row.outcome)
			}
			if row.outcome == "accepted" {
				accepted++
				if kept := detailOf(e.only(accepted)); kept != row.kept {
					t.Errorf("kept %q, want %q", kept, row.kept)
				}
			}
			// Without a grant nothing of a detail is looked at.
			want := "dropped:consent_required"
			if strings.Contains(row.event, `"capture"`) {
				want = malformed
			}
			if a := e.post(batchOf(row.event)); a.outcomes() != want {
				t.Errorf("without a grant: %q, want %q", a.outcomes(), want)
			}
			e.only(accepted)
		})
	}
	for batch := range slices.Chunk(rows, 10) {
		events, want := []string{eventOf()}, []string{"accepted"}
		for _, row := range batch {
			events, want = append(events, row.event, eventOf()), append(want, row.outcome, "accepted")
		}
		if a := e.post(granted(batchOf(events...))); a.outcomes() != strings.Join(want, " ") {
			t.Errorf("a batch was answered %q, want %q", a.outcomes(), want)
		}
	}
	checkTypeRecords(t, e)
}

// checkTypeRecords: every record is within the contract, and nothing personal is
// in any, in the log or in the metrics.
func checkTypeRecords(t *testing.T, e *edge) {
	t.Helper()
	for _, ev := range e.log.events(t) {
		if !schemas.DetailFits(ev) || !consent.Records(ev.GetConsent(), ev.GetType()) || len(ev.GetVisitorId()) != schemas.IDBytes {
			t.Errorf("outside of the contract: %v", ev)
		}
	}
	corpus, err := json.Marshal(typeRows())
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range typeRows() {
		corpus = append(corpus, row.event...)
	}
	for _, personal := range []string{personalWord, "123456782", "NL91ABNA0417164300", "4111", "0612345678", "145.221.173", "2001:db8:c0fe"} {
		if !bytes.Contains(corpus, []byte(personal)) {
			t.Errorf("the corpus does not hold %q", personal)
		}
		for _, r := range e.log.of(schemas.TopicEventsCollected) {
			if bytes.Contains(r.value, []byte(personal)) {
				t.Errorf("a record holds %q", personal)
			}
		}
		if strings.Contains(e.logged.String(), personal) {
			t.Errorf("the log holds %q", personal)
		}
	}
	// Four unlisted ones, one, and of the batches the same again.
	if n := e.metricSums(t)["metiva_collector_custom_properties_left_out_total"]; n != 10 {
		t.Errorf("%v properties were left out, want 10", n)
	}
}
