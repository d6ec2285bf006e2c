package visit

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/metiva-io/metiva/schemas/metivav1"
)

// everyEntry has a value of its own in every field.
func everyEntry(n int) *Entry {
	text := func(name string) string { return fmt.Sprint(name, n%3) }
	return &Entry{
		ID: ID{byte(n), 1}, VisitKey: ID{2, byte(n % 2)}, AtMs: int64(1000 * n), ReceivedMs: int64(1000*n - 7), Offset: int64(n + 40),
		Type: metivav1.EventType(1), Consent: 2, Channel: 3, Click: 1, Form: 2, Device: 4, VisibleMs: 5, ScrollPercent: 6, RetentionDays: 7,
		Host: text("host"), Path: text("path"), Referrer: text("ref"), Source: text("src"), Name: text("name"),
		Campaign: Campaign{text("cs"), text("cm"), text("cn")}, Browser: text("b"), System: text("s"), Country: text("c"), Region: text("r"),
		Resolution: &metivav1.Resolution{Verdict: 1, AccountId: text("acc"), Confidence: 0.5, Asn: 9},
	}
}

func everyJournal(t *testing.T, entriesMax int) *journal {
	t.Helper()
	r, err := RulesOf(nil)
	if err != nil {
		t.Fatal(err)
	}
	j := &journal{
		who: Identity{CompanyID: "cmp_a", BrandID: "brd_a", SiteID: "sit_a", Key: ID{2}, IsVisitor: true}, applied: 77, consentSeq: 8, lastReceivedMs: 9,
	}
	j.id = j.who.journalID()
	for n := range 12 {
		if got := j.take(r, everyEntry(n+1)); got != added {
			t.Fatalf("entry %d: %d", n, got)
		}
	}
	j.fold(r, entriesMax, nil)
	return j
}

// TestAJournalIsItsMessage: every field of the contract has what it is named after, in
// the journal's record as the generated code reads it, and no field is left out.
func TestAJournalIsItsMessage(t *testing.T) {
	t.Parallel()
	for _, entriesMax := range []int{100, 8} {
		j := everyJournal(t, entriesMax)
		value, _, err := j.pack(nil)
		if err != nil {
			t.Fatal(err)
		}
		var state metivav1.VisitState
		if err := proto.Unmarshal(value, &state); err != nil {
			t.Fatal(err)
		}
		m := state.GetJournal()
		want := &metivav1.VisitJournal{
			CompanyId: "cmp_a", BrandId: "brd_a", SiteId: "sit_a", Key: j.who.Key[:], VisitorId: j.who.Key[:], ConsentSeq: 8, AppliedOffset: 77, LastReceivedAtMs: 9,
			Rules: j.rules, Texts: m.GetTexts(), Resolutions: m.GetResolutions(), Folded: m.GetFolded(), FoldedCampaign: m.GetFoldedCampaign(),
		}
		if (entriesMax == 8) != (m.GetFolded() != nil) {
			t.Fatalf("folded: %v", m.GetFolded())
		}
		if j.folded != nil {
			want.FoldedToMs, want.FoldedToId, want.FoldedVisibleToMs = j.foldedTo.atMs, j.foldedTo.id[:], j.folded.tail.visibleToMs
		}
		for _, sp := range j.spans {
			want.Spans = append(want.Spans, &metivav1.VisitSpan{Entries: uint32(sp.n), Offset: sp.offset})
		}
		number := func(text string) uint32 {
			for i, known := range m.GetTexts() {
				if known == text {
					return uint32(i + 1)
				}
			}
			t.Fatalf("%q is none of %q", text, m.GetTexts())
			return 0
		}
		for i := 12 - len(j.entries); i < 12; i++ {
			e := everyEntry(i + 1)
			entry := &metivav1.VisitEntry{
				EventId: e.ID[:], OccurredAtMs: e.AtMs, ReceivedAfterMs: e.ReceivedMs - e.AtMs, Offset: e.Offset, Type: e.Type, Consent: e.Consent,
				Host: number(e.Host), Path: number(e.Path), ReferrerHost: number(e.Referrer), Channel: e.Channel, TrafficSource: number(e.Source),
				CampaignSource: number(e.Campaign.Source), CampaignMedium: number(e.Campaign.Medium), CampaignName: number(e.Campaign.Name),
				VisibleMs: e.VisibleMs, ScrollPercent: e.ScrollPercent, Click: e.Click, FormAction: e.Form, Name: number(e.Name),
				Device: e.Device, BrowserFamily: number(e.Browser), SystemFamily: number(e.System), Country: number(e.Country), Region: number(e.Region),
				RetentionDays: e.RetentionDays,
			}
			for k, r := range m.GetResolutions() {
				if proto.Equal(r, e.Resolution) {
					entry.Resolution = uint32(k + 1)
				}
			}
			if e.VisitKey != j.who.Key {
				entry.VisitKey = e.VisitKey[:]
			}
			want.Entries = append(want.Entries, entry)
		}
		if !proto.Equal(m, want) {
			t.Errorf("the record says\n%v\nwant\n%v", m, want)
		}
		for _, message := range []protoreflect.Message{m.ProtoReflect(), m.GetEntries()[1].ProtoReflect(), m.GetSpans()[0].ProtoReflect()} {
			fields := message.Descriptor().Fields()
			for i := range fields.Len() {
				f := fields.Get(i)
				if !message.Has(f) && (m.GetFolded() != nil || !isOfFolded(f)) && f.Name() != "visit_key" {
					t.Errorf("%s is not written", f.FullName())
				}
			}
		}
	}
}

func isOfFolded(f protoreflect.FieldDescriptor) bool {
	switch f.Name() {
	case "folded", "folded_to_ms", "folded_to_id", "folded_visible_to_ms", "folded_campaign":
		return true
	}
	return false
}

// TestAJournalIsReadBack: as it was, from what this code writes, from what the generated
// code writes, and with fields that are not known in between.
func TestAJournalIsReadBack(t *testing.T) {
	t.Parallel()
	for _, entriesMax := range []int{100, 8} {
		value, _, err := everyJournal(t, entriesMax).pack(nil)
		if err != nil {
			t.Fatal(err)
		}
		var state metivav1.VisitState
		if err := proto.Unmarshal(value, &state); err != nil {
			t.Fatal(err)
		}
		state.GetJournal().ProtoReflect().SetUnknown([]byte{0xf8, 0x07, 1})
		state.GetJournal().GetEntries()[0].ProtoReflect().SetUnknown([]byte{0xfa, 0x07, 1, 'x'})
		generated, err := proto.Marshal(&state)
		if err != nil {
			t.Fatal(err)
		}
		for name, from := range map[string][]byte{"hand": value, "generated": generated} {
			j, err := unpack(from)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			again, _, err := j.pack(nil)
			if err != nil || string(again) != string(value) {
				t.Errorf("%s: %d bytes, want %d, %v", name, len(again), len(value), err)
			}
		}
	}
}

// TestDamagedJournals: whatever this code reads, the generated code reads too, and both
// find the same in it.
func TestDamagedJournals(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 2))
	read := 0
	var whole [2][]byte
	for i, entriesMax := range []int{100, 8} {
		var err error
		if whole[i], _, err = everyJournal(t, entriesMax).pack(nil); err != nil {
			t.Fatal(err)
		}
	}
	for round := range 5000 {
		value := slices.Clone(whole[round%2])
		for range 1 + rnd.IntN(3) {
			value[rnd.IntN(len(value))] ^= 1 << rnd.IntN(8)
		}
		j, err := unpack(value)
		if err != nil {
			continue
		}
		read++
		var state metivav1.VisitState
		if err := proto.Unmarshal(value, &state); err != nil {
			t.Fatalf("the generated code says %v of %x", err, value)
		}
		m := state.GetJournal()
		if len(m.GetEntries()) != len(j.entries) || len(m.GetTexts()) != len(j.ends) || m.GetAppliedOffset() != j.applied || m.GetRules() != j.rules {
			t.Fatalf("another journal in %x", value)
		}
		for i, e := range m.GetEntries() {
			r := &j.entries[i]
			if ID(e.GetEventId()) != r.id || e.GetOccurredAtMs() != r.atMs || e.GetOffset() != r.offset || e.GetPath() != uint32(r.texts[textPath]) || e.GetType() != r.kind ||
				e.GetVisibleMs() != r.visibleMs || e.GetResolution() != uint32(r.resolution) {
				t.Fatalf("another entry %d in %x", i, value)
			}
		}
	}
	if read == 0 {
		t.Error("every damage is noticed, so nothing was compared")
	}
}
