package beacon

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"math/bits"
	"strings"
	"testing"
	"unicode/utf8"
)

const keepMax = 50

const sample = `{"site":"pk_aaaaaaaaaaaaaaaaaaaaaaaa","sent_at":1795320000500,"consent":"AQEBAgM","events":[` +
	`{"id":"0197f3a2-5c1e-7b44-9f0a-1d2e3f405162","type":"page_view","at":1795320000123,` +
	`"url":"https://www.example.com/articles/2026/11/how-to-count-visitors?utm_source=news&utm_medium=mail",` +
	`"referrer":"https://news.example.org/today","title":"How to count visitors \u2013 Example","screen":{"w":1920,"h":1080}}]}`

func TestParse(t *testing.T) {
	t.Parallel()
	var b Batch
	if err := b.Parse([]byte(sample), keepMax); err != nil {
		t.Fatal(err)
	}
	if string(b.Site) != "pk_aaaaaaaaaaaaaaaaaaaaaaaa" || b.SentAtMs != 1795320000500 || string(b.Consent) != "AQEBAgM" || b.Total != 1 {
		t.Errorf("batch: site %q, sent %d, consent %q, %d events", b.Site, b.SentAtMs, b.Consent, b.Total)
	}
	e := b.Events[0]
	if !e.Complete() || string(e.ID) != "0197f3a2-5c1e-7b44-9f0a-1d2e3f405162" || string(e.Type) != "page_view" || e.AtMs != 1795320000123 ||
		!strings.HasSuffix(string(e.URL), "utm_medium=mail") || string(e.Referrer) != "https://news.example.org/today" {
		t.Errorf("event: %q %q %d %q %q", e.ID, e.Type, e.AtMs, e.URL, e.Referrer)
	}
	// The same Batch again: nothing of the first body is left.
	if err := b.Parse([]byte(` { "id":"i" , "type":"t","at":0,"url":"\u0068ttps:\/\/\ud83d\ude00\n" } `), keepMax); err != nil {
		t.Fatal(err)
	}
	if b.Site != nil || b.Consent != nil || b.SentAtMs != 0 || b.Total != 1 || len(b.Events) != 1 {
		t.Errorf("left over: %+v", b)
	}
	if e := b.Events[0]; !e.Complete() || string(e.URL) != "https://😀\n" || e.Referrer != nil {
		t.Errorf("single event: %q", e.URL)
	}
}

func TestMalformedBodies(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat(`{"a":`, depthMax) + "1" + strings.Repeat("}", depthMax)
	var many strings.Builder
	many.WriteString(`{"id":"x"`)
	for i := range membersMax {
		many.WriteString(`,"k` + string(rune('0'+i/10)) + string(rune('0'+i%10)) + `":1`)
	}
	many.WriteString("}")
	for _, body := range []string{
		``, ` `, `null`, `1`, `"x"`, `[]`, `{`, `{}`, `{"id":"x"}x`, `{"id":"x"}{}`, `{"id":"x",}`, `{"id" "x"}`, `{"id":}`, `{id:"x"}`, `{'id':'x'}`,
		`{"id":"x","id":"y"}`, `{"id":"x","\u0069d":"y"}`, `{"id":"x","z":{"a":1,"a":2}}`, `{"events":[{"id":"x","id":"x"}]}`, `{"events":[1],"events":[2]}`,
		`{"id":"x","n":01}`, `{"id":"x","n":1.}`, `{"id":"x","n":.5}`, `{"id":"x","n":+1}`, `{"id":"x","n":-}`, `{"id":"x","n":1e}`, `{"id":"x","n":0x10}`, `{"id":"x","n":NaN}`,
		"{\"id\":\"a\nb\"}", "{\"id\":\"a\x00b\"}", `{"id":"\x"}`, `{"id":"\u12"}`, `{"id":"\u12g4"}`, `{"id":"\ud800"}`, `{"id":"\ud800\u0041"}`, `{"id":"\udc00\ud800"}`, `{"id":"x\"}`, `{"id":"x`,
		"{\"id\":\"\xff\"}", "{\"id\":\"\xc0\xaf\"}", "{\"id\":\"\xed\xa0\x80\"}", "\xef\xbb\xbf{\"id\":\"x\"}",
		`{"site":1,"id":"x"}`, `{"site":null,"id":"x"}`, `{"sent_at":"1","id":"x"}`, `{"sent_at":-1,"id":"x"}`, `{"sent_at":1.5,"id":"x"}`, `{"sent_at":99999999999999999,"id":"x"}`, `{"opt_out":"yes","id":"x"}`, `{"refused":1,"id":"x"}`, `{"refused":"true","id":"x"}`, `{"automated":1,"id":"x"}`,
		`{"events":{}}`, `{"events":[]}`, `{"events":[{}],"id":"x"}`, `{"events":[{}`, `{"events":[{},]}`, `{"events":null}`, `{"site":"pk_x"}`,
		`{"id":"x","a":truE}`, `{"id":"x","a":nul}`, `{"id":"x","a":tru`, `{"id":"x","d":` + deep + `}`, `{"id":"x","d":` + strings.Repeat("[", 40000) + `}`, many.String(),
	} {
		var b Batch
		if err := b.Parse([]byte(body), keepMax); !errors.Is(err, ErrSyntax) {
			t.Errorf("%.60q was read: %+v", body, b)
		}
	}
}

func TestFaultsStayWithTheirEvent(t *testing.T) {
	t.Parallel()
	const good = `{"id":"i","type":"t","at":1,"url":"u"}`
	for name, bad := range map[string]string{
		"no object": `7`, "null": `null`, "list": `[{}]`, "empty": `{}`,
		"id number": `{"id":1,"type":"t","at":1,"url":"u"}`, "id null": `{"id":null,"type":"t","at":1,"url":"u"}`,
		"at text": `{"id":"i","type":"t","at":"1","url":"u"}`, "at fraction": `{"id":"i","type":"t","at":1.5,"url":"u"}`, "at negative": `{"id":"i","type":"t","at":-1,"url":"u"}`,
		"at huge": `{"id":"i","type":"t","at":1e400,"url":"u"}`, "no url": `{"id":"i","type":"t","at":1}`, "referrer object": `{"id":"i","type":"t","at":1,"url":"u","referrer":{}}`,
	} {
		var b Batch
		if err := b.Parse([]byte(`{"site":"s","events":[`+good+`,`+bad+`,`+good+`]}`), keepMax); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !b.Events[0].Complete() || b.Events[1].Complete() || !b.Events[2].Complete() {
			t.Errorf("%s: complete are %v %v %v", name, b.Events[0].Complete(), b.Events[1].Complete(), b.Events[2].Complete())
		}
	}
	var b Batch
	if err := b.Parse([]byte(`{"id":"i","type":"t","at":1,"url":"u","referrer":null,"consent":{"x":1}}`), keepMax); err != nil || !b.Events[0].Complete() || b.Consent != nil {
		t.Errorf("null referrer or a consent that is no text: %v", err)
	}
	if err := b.Parse([]byte(`{"id":"i","opt_out":false,"refused":true}`), keepMax); err != nil || b.OptOut || !b.Refused {
		t.Errorf("%v, refused %v", err, b.Refused)
	}
	if err := b.Parse([]byte(`{"id":"i","automated":true}`), keepMax); err != nil || !b.Automated || b.Refused {
		t.Errorf("%v, automated %v", err, b.Automated)
	}
	if err := b.Parse([]byte(`{"id":"i","opt_out":true}`), keepMax); err != nil || !b.OptOut || b.Refused || b.Automated {
		t.Errorf("opt-out: %v", err)
	}
}

func TestOnlyTheFirstEventsAreKept(t *testing.T) {
	t.Parallel()
	var b Batch
	body := []byte(`{"site":"s","events":[` + strings.Repeat(`{},`, 9999) + `{}]}`)
	if err := b.Parse(body, keepMax); err != nil || b.Total != 10000 || len(b.Events) != keepMax {
		t.Fatalf("%v: %d of %d events", err, len(b.Events), b.Total)
	}
}

func TestParseDoesNotAllocate(t *testing.T) {
	var b Batch
	body := []byte(sample)
	if err := b.Parse(body, keepMax); err != nil {
		t.Fatal(err)
	}
	if allocs := testing.AllocsPerRun(500, func() { _ = b.Parse(body, keepMax) }); allocs != 0 {
		t.Fatalf("%v allocations per body", allocs)
	}
}

// oracle reads the body with encoding/json, strict about duplicate keys.
func oracle(body []byte) (top map[string]json.RawMessage, ok bool) {
	tokens := json.NewDecoder(bytes.NewReader(body))
	tokens.UseNumber() // a float cannot hold every number
	if !json.Valid(body) || !utf8.Valid(body) || hasDuplicate(tokens) {
		return nil, false
	}
	return top, json.Unmarshal(body, &top) == nil
}

func hasDuplicate(d *json.Decoder) bool {
	type frame struct {
		keys map[string]bool
		key  bool
	}
	var stack []frame
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			return false
		}
		if err != nil {
			return true
		}
		if n := len(stack); n > 0 && stack[n-1].keys != nil {
			f := &stack[n-1]
			if name, isText := tok.(string); isText && f.key {
				if f.keys[name] {
					return true
				}
				f.keys[name], f.key = true, false
				continue
			}
			f.key = true
		}
		switch tok {
		case json.Delim('{'):
			stack = append(stack, frame{keys: map[string]bool{}, key: true})
		case json.Delim('['):
			stack = append(stack, frame{})
		case json.Delim('}'), json.Delim(']'):
			stack = stack[:len(stack)-1]
		}
	}
}

func TestEndsOfText(t *testing.T) {
	t.Parallel()
	var eight [8]byte
	for before := range 256 {
		for c := range 256 {
			for at := range 8 {
				for i := range eight {
					eight[i] = 'x'
				}
				if at > 0 {
					eight[at-1] = byte(before)
				}
				eight[at] = byte(c)
				want := 8
				for i, c := range eight {
					if c == '"' || c == '\\' || c < ' ' {
						want = i
						break
					}
				}
				if got := bits.TrailingZeros64(endsOfText(binary.LittleEndian.Uint64(eight[:]))) / 8; got != want {
					t.Fatalf("%q: ends at %d, want %d", eight, got, want)
				}
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(sample))
	f.Add([]byte(typed))
	f.Add([]byte(`{"id":"x","name":"n","props":{"a":1e400,"b":[],"c":"\u0000"},"visible_ms":null,"scroll":7,"kind":{},"target":"t"}`))
	for _, s := range []string{`{"id":"x","a":[1,2,{"b":null}],"c":-1.5e+3}`, `{"events":[{},1,[[]],{"id":"\ud83d\ude00","at":1}]}`, `{"site":"s","sent_at":5,"opt_out":true,"consent":"t","url":"\u0068"}`, `{"id":"x","\u0069d":1}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		before := bytes.Clone(body)
		var b Batch
		err := b.Parse(body, keepMax)
		if !bytes.Equal(before, body) {
			t.Fatal("the body was changed")
		}
		if err != nil {
			return
		}
		top, ok := oracle(body)
		if !ok {
			t.Fatalf("accepted %q", body)
		}
		var want struct {
			Site string
		}
		if raw := top["site"]; raw != nil {
			if json.Unmarshal(raw, &want.Site) != nil || want.Site != string(b.Site) {
				t.Fatalf("site %q, want %q", b.Site, want.Site)
			}
		}
		var list []json.RawMessage
		if raw, listed := top["events"]; listed {
			if json.Unmarshal(raw, &list) != nil || len(list) != b.Total {
				t.Fatalf("%d events, want %d", b.Total, len(list))
			}
		} else {
			list = []json.RawMessage{body}
		}
		for i, e := range b.Events {
			if !e.Complete() {
				continue
			}
			var members map[string]json.RawMessage
			if json.Unmarshal(list[i], &members) != nil {
				t.Fatalf("complete, but no object: %q", list[i])
			}
			for key, got := range map[string][]byte{"id": e.ID, "type": e.Type, "url": e.URL} {
				var text string
				if json.Unmarshal(members[key], &text) != nil || text != string(got) {
					t.Fatalf("%s is %q, want %q", key, got, text)
				}
			}
			var at int64
			if json.Unmarshal(members["at"], &at) != nil || at != e.AtMs {
				t.Fatalf("at is %d, want %d", e.AtMs, at)
			}
			checkDetails(t, &e, members)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	body := []byte(sample)
	var batch Batch
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if err := batch.Parse(body, keepMax); err != nil {
			b.Fatal(err)
		}
	}
}
