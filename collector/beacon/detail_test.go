package beacon

import (
	"encoding/json"
	"strings"
	"testing"
)

// typed is a body with an event of every type.
const typed = `{"site":"pk_aaaaaaaaaaaaaaaaaaaaaaaa","sent_at":1795320000500,"consent":"AQEBAgM","events":[` +
	`{"id":"i","type":"engagement","at":1,"url":"u","visible_ms":61000,"scroll":80},` +
	`{"id":"i","type":"click","at":1,"url":"u","kind":"download","target":"https://files.example.org/prices\u002epdf"},` +
	`{"id":"i","type":"form","at":1,"url":"u","action":"submit","form":"contact-1"},` +
	`{"props":{"plan":"Pro \u20ac","seats":12.50,"trial":true,"note":null,"old":false,"low":-1e3},"name":"price.calculated","id":"i","type":"custom","at":1,"url":"u"},` +
	`{"id":"i","type":"custom","at":1,"url":"u","name":"bare"}]}`

func propertiesText(properties []Property) string {
	var parts []string
	for _, p := range properties {
		parts = append(parts, string(p.Name)+"="+string(p.Value))
	}
	return strings.Join(parts, " ")
}

func TestParseDetails(t *testing.T) {
	t.Parallel()
	var b Batch
	for range 2 { // the second time with the memory of the first
		if err := b.Parse([]byte(typed), keepMax); err != nil {
			t.Fatal(err)
		}
		for i := range b.Events {
			if !b.Events[i].Complete() {
				t.Errorf("event %d is not complete", i)
			}
		}
		if ms, scroll, ok := b.Events[0].Engagement(); ms != 61000 || scroll != 80 || !ok {
			t.Errorf("engagement %d %d %t", ms, scroll, ok)
		}
		if kind, target, ok := b.Events[1].Click(); string(kind) != "download" || string(target) != "https://files.example.org/prices.pdf" || !ok {
			t.Errorf("click %q %q %t", kind, target, ok)
		}
		if action, form, ok := b.Events[2].FormAction(); string(action) != "submit" || string(form) != "contact-1" || !ok {
			t.Errorf("form %q %q %t", action, form, ok)
		}
		name, properties, ok := b.Events[3].Custom()
		if got := propertiesText(properties); string(name) != "price.calculated" || got != "plan=Pro € seats=12.50 trial=true old=false low=-1e3" || !ok {
			t.Errorf("custom %q %q %t", name, got, ok)
		}
		if name, properties, ok := b.Events[4].Custom(); string(name) != "bare" || len(properties) != 0 || !ok {
			t.Errorf("custom without properties: %q %q %t", name, properties, ok)
		}
	}
	b.Release()
	for _, p := range b.scan.properties[:cap(b.scan.properties)] {
		if p.Name != nil || p.Value != nil {
			t.Fatal("a released batch points into its body")
		}
	}
}

// wholeDetails says which details of an event are whole, by their first letters.
func wholeDetails(e *Event) string {
	var whole strings.Builder
	for _, c := range []struct {
		letter string
		is     func() bool
	}{
		{"e", func() bool { _, _, ok := e.Engagement(); return ok }},
		{"c", func() bool { _, _, ok := e.Click(); return ok }},
		{"f", func() bool { _, _, ok := e.FormAction(); return ok }},
		{"n", func() bool { _, _, ok := e.Custom(); return ok }},
	} {
		if c.is() {
			whole.WriteString(c.letter)
		}
	}
	return whole.String()
}

// TestFaultsStayWithTheirDetail: a field of the wrong kind, or a missing one, is
// nobody's trouble but its own type's; no event is incomplete for it.
func TestFaultsStayWithTheirDetail(t *testing.T) {
	t.Parallel()
	const all = `"visible_ms":1,"scroll":0,"kind":"k","target":"t","action":"a","form":"f","name":"n","props":{"p":"v"}`
	for _, c := range [][2]string{
		{all, "ecfn"},
		{``, ""},
		{`"visible_ms":1,"scroll":0`, "e"},
		{`"visible_ms":1`, ""},
		{strings.Replace(all, `"scroll":0`, `"scroll":null`, 1), "cfn"},
		{strings.Replace(all, `"scroll":0`, `"scroll":"0"`, 1), "cfn"},
		{strings.Replace(all, `"scroll":0`, `"scroll":0.5`, 1), "cfn"},
		{strings.Replace(all, `"scroll":0`, `"scroll":-1`, 1), "cfn"},
		{strings.Replace(all, `"scroll":0`, `"scroll":1e2`, 1), "cfn"},
		{strings.Replace(all, `"scroll":0`, `"scroll":99999999999999999`, 1), "cfn"},
		{strings.Replace(all, `"visible_ms":1`, `"visible_ms":[1]`, 1), "cfn"},
		{strings.Replace(all, `"kind":"k"`, `"kind":1`, 1), "efn"},
		{strings.Replace(all, `"target":"t"`, `"target":{"href":"t"}`, 1), "efn"},
		{strings.Replace(all, `"action":"a"`, `"action":true`, 1), "ecn"},
		{strings.Replace(all, `"form":"f"`, `"form":{"email":"x"}`, 1), "ecn"},
		{strings.Replace(all, `"name":"n"`, `"name":null`, 1), "ecf"},
		{strings.Replace(all, `{"p":"v"}`, `null`, 1), "ecfn"},
		{strings.Replace(all, `{"p":"v"}`, `{}`, 1), "ecfn"},
		{strings.Replace(all, `{"p":"v"}`, `[]`, 1), "ecf"},
		{strings.Replace(all, `{"p":"v"}`, `"p=v"`, 1), "ecf"},
		{strings.Replace(all, `{"p":"v"}`, `{"p":{"q":1}}`, 1), "ecf"},
		{strings.Replace(all, `{"p":"v"}`, `{"p":"v","q":[1]}`, 1), "ecf"},
	} {
		member := strings.Trim(`"id":"i","type":"t","at":1,"url":"u",`+c[0], ",")
		for _, body := range []string{`{"site":"s","events":[{` + member + `}]}`, `{"site":"s",` + member + `}`} {
			var b Batch
			if err := b.Parse([]byte(body), keepMax); err != nil {
				t.Errorf("%s: %v", body, err)
				continue
			}
			if e := &b.Events[0]; !e.Complete() || wholeDetails(e) != c[1] {
				t.Errorf("%s: complete is %t, whole are %q, want %q", body, e.Complete(), wholeDetails(e), c[1])
			}
		}
	}
	// At the top beside a list they are unknown keys, and no event of their own.
	var b Batch
	if err := b.Parse([]byte(`{"site":"s",`+all+`,"kind2":1,"events":[{"id":"i"}]}`), keepMax); err != nil || b.Total != 1 {
		t.Errorf("details beside a list: %v, %d events", err, b.Total)
	}
	if err := b.Parse([]byte(`{"site":"s",`+all+`}`), keepMax); err == nil {
		t.Error("details alone make an event")
	}
}

func TestMalformedProperties(t *testing.T) {
	t.Parallel()
	for _, props := range []string{
		`{"a":1,"a":2}`, `{"a":1,"\u0061":2}`, `{"a":01}`, `{"a":"\x"}`, `{"a":tru}`, `{"a":{"b":1,"b":1}}`, `{"a":1,}`, `{"a"}`, `{a:1}`, `{"a":"`, `{"a":1`,
		`{"a":` + strings.Repeat("[", depthMax) + strings.Repeat("]", depthMax) + `}`, "{\"a\":\"\n\"}", `{"a":NaN}`,
	} {
		var b Batch
		if err := b.Parse([]byte(`{"site":"s","events":[{"id":"i","props":`+props+`}]}`), keepMax); err == nil {
			t.Errorf("%q was read", props)
		}
	}
}

func TestParsingDetailsDoesNotAllocate(t *testing.T) {
	var b Batch
	body := []byte(typed)
	if err := b.Parse(body, keepMax); err != nil {
		t.Fatal(err)
	}
	if allocs := testing.AllocsPerRun(500, func() { _ = b.Parse(body, keepMax) }); allocs != 0 {
		t.Fatalf("%v allocations per body", allocs)
	}
}

// checkDetails compares the details of an event with encoding/json's reading.
func checkDetails(t *testing.T, e *Event, members map[string]json.RawMessage) {
	t.Helper()
	same := func(key string, got []byte) {
		t.Helper()
		var text string
		if json.Unmarshal(members[key], &text) != nil || text != string(got) {
			t.Fatalf("%s is %q, want %q", key, got, members[key])
		}
	}
	if ms, scroll, ok := e.Engagement(); ok {
		for key, got := range map[string]int64{"visible_ms": ms, "scroll": scroll} {
			var n int64
			if json.Unmarshal(members[key], &n) != nil || n != got || got < 0 {
				t.Fatalf("%s is %d, want %s", key, got, members[key])
			}
		}
	}
	if kind, target, ok := e.Click(); ok {
		same("kind", kind)
		same("target", target)
	}
	if action, form, ok := e.FormAction(); ok {
		same("action", action)
		same("form", form)
	}
	if name, properties, ok := e.Custom(); ok {
		same("name", name)
		var want map[string]json.RawMessage
		if raw := members["props"]; raw != nil && json.Unmarshal(raw, &want) != nil {
			t.Fatalf("props are %s", raw)
		}
		for _, p := range properties {
			raw, known := want[string(p.Name)]
			delete(want, string(p.Name))
			text := string(raw)
			if strings.HasPrefix(text, `"`) {
				text = ""
				if json.Unmarshal(raw, &text) != nil {
					t.Fatalf("property %q is %s", p.Name, raw)
				}
			}
			if !known || text != string(p.Value) {
				t.Fatalf("property %q is %q, want %s", p.Name, p.Value, raw)
			}
		}
		for name, raw := range want {
			if string(raw) != "null" {
				t.Fatalf("property %q with %s is lost", name, raw)
			}
		}
	}
}
