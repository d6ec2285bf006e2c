package collector

import (
	"strings"
	"testing"

	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// TestEachTypeIsItsOwn: an event of one type with the fields of all of them says
// only what its type says, and the one after it nothing of the one before.
func TestEachTypeIsItsOwn(t *testing.T) {
	t.Parallel()
	e := newEdge(t, nil, nil)
	rec := siteRecord()
	rec.CustomProperties = []string{"plan"}
	e.applySite(rec)
	e.applySalt(testCompany, "2026-11-22")
	e.CaughtUp()
	e.start()
	all := newPage(e).with("visible_ms", 7).with("scroll", 8).with("kind", "download").with("target", "https://www.example.nl/a.pdf").
		with("action", "submit").with("form", "contact").with("name", "calculated").with("props", map[string]any{"plan": "Pro"})
	kinds := []string{"custom", "form", "click", "engagement", "page_view"}
	var pages []page
	for _, kind := range kinds {
		bare := newPage(e).with("type", kind)
		if kind == "custom" {
			bare = bare.with("name", "bare")
		}
		pages = append(pages, all.with("id", newPage(e)["id"]).with("type", kind), bare)
	}
	a := e.post(e.bodyWithToken(e.token(1), pages...))
	want := "accepted accepted" + strings.Repeat(" accepted dropped:malformed", 3) + " accepted accepted"
	if a.outcomes() != want {
		t.Fatalf("answered %q, want %q", a.outcomes(), want)
	}
	var kept []string
	for _, ev := range e.log.events(t) {
		if !schemas.DetailFits(ev) {
			t.Errorf("outside of the contract: %v", ev)
		}
		kept = append(kept, schemas.Label(ev.GetType())+": "+detailOf(ev))
	}
	if got, want := strings.Join(kept, ", "), "custom: calculated plan=Pro, custom: bare, form: submit contact, click: download www.example.nl/a.pdf, engagement: 7 ms 8%, page_view: , page_view: "; got != want {
		t.Errorf("kept %q, want %q", got, want)
	}
	// The site takes the property off its list.
	rec.CustomProperties, rec.Version = nil, 2
	e.applySite(rec)
	e.post(e.bodyWithToken(e.token(1), pages[0]))
	events := e.log.events(t)
	if got := detailOf(events[len(events)-1]); got != "calculated" {
		t.Errorf("after the property was taken off: %q", got)
	}
}

func TestPropertyNamesOfARegistration(t *testing.T) {
	t.Parallel()
	var many []string
	for i := range schemas.CustomPropertyNamesMax + 1 {
		many = append(many, strings.Repeat("p", i+1))
	}
	for name, tc := range map[string]struct {
		registered []string
		want       int
	}{
		"none": {nil, 0}, "one twice": {[]string{"a", "a"}, 1}, "too many, and one too long": {many, schemas.CustomPropertyNamesMax},
		"no names": {[]string{"", "a b", "é", "jan@mail.nl", "ok"}, 1},
	} {
		if got := len(newPropertyNames(tc.registered)); got != tc.want {
			t.Errorf("%s: %d names, want %d", name, got, tc.want)
		}
	}
}

// TestDetailsAllocationBudget: a detail costs the strings it keeps, and nothing
// else.
func TestDetailsAllocationBudget(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes pools allocate")
	}
	e := newEdge(t, nil, nil)
	rec := siteRecord()
	rec.CustomProperties = []string{"plan", "seats"}
	e.applySite(rec)
	r := newRequest(e.Collector)
	for _, tc := range []struct {
		event  string
		allocs float64
	}{
		{typeOf("engagement", "visible_ms", "61000", "scroll", "80"), 0},
		{typeOf("click", "kind", `"download"`, "target", `"https://www.example.nl/a.pdf"`), 2},
		{typeOf("form", "action", `"submit"`, "form", `"contact"`), 1},
		{typeOf("custom", "name", `"calculated"`, "props", `{"plan":"Pro","seats":12,"other":"x"}`), 3},
	} {
		body := []byte(batchOf(tc.event))
		run := func() {
			if err := r.batch.Parse(body, 50); err != nil {
				t.Fatal(err)
			}
			r.site = e.sites.lookup(r.batch.Site)
			in := incomingOf(&r.batch.Events[0], r.batch.SentAtMs)
			if reason := r.describe(&in); reason != metivav1.Reason_REASON_UNSPECIFIED {
				t.Fatal(reason)
			}
		}
		run()
		if allocs := testing.AllocsPerRun(500, run); allocs > tc.allocs {
			t.Errorf("%s: %v allocations, the budget is %v", tc.event, allocs, tc.allocs)
		}
	}
}
