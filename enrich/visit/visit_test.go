package visit_test

import (
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/metiva-io/metiva/enrich/visit"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// applied is what a reader has after events came in order, each sent at once.
func applied(t *testing.T, s *visit.Set, events ...*metivav1.EnrichedEvent) table {
	t.Helper()
	tb := table{}
	for offset, e := range events {
		s.Apply(e, int64(offset))
		tb.take(t, s.All())
	}
	return tb
}

func TestWhereVisitsEnd(t *testing.T) {
	t.Parallel()
	midnight := 11*60.0 + 59 // a minute to midnight in Amsterdam
	for name, tc := range map[string]struct {
		rules  *metivav1.VisitRules
		events []*metivav1.EnrichedEvent
		want   []uint32 // events of each visit
	}{
		"less than the idle time":      {nil, []*metivav1.EnrichedEvent{page(1, 0), page(2, 29.99)}, []uint32{2}},
		"the idle time":                {nil, []*metivav1.EnrichedEvent{page(1, 0), page(2, 30)}, []uint32{1, 1}},
		"the site's idle time":         {&metivav1.VisitRules{IdleMinutes: 5}, []*metivav1.EnrichedEvent{page(1, 0), page(2, 5)}, []uint32{1, 1}},
		"engaged for longer":           {nil, []*metivav1.EnrichedEvent{page(1, 0), page(2, 50, engagement(50*60_000))}, []uint32{2}},
		"read on after":                {nil, []*metivav1.EnrichedEvent{page(1, 0), page(2, 50, engagement(50*60_000)), page(3, 79)}, []uint32{3}},
		"over midnight":                {nil, []*metivav1.EnrichedEvent{page(1, midnight), page(2, midnight+2)}, []uint32{2}},
		"at midnight":                  {&metivav1.VisitRules{SplitAtMidnight: true}, []*metivav1.EnrichedEvent{page(1, midnight), page(2, midnight+1)}, []uint32{1, 1}},
		"at another midnight":          {&metivav1.VisitRules{SplitAtMidnight: true, TimeZone: "Europe/London"}, []*metivav1.EnrichedEvent{page(1, midnight), page(2, midnight+1)}, []uint32{2}},
		"engaged over midnight":        {&metivav1.VisitRules{SplitAtMidnight: true}, []*metivav1.EnrichedEvent{page(1, midnight), page(2, midnight+9, engagement(9*60_000))}, []uint32{2}},
		"another campaign, no rule":    {nil, []*metivav1.EnrichedEvent{page(1, 0, campaign("a")), page(2, 1, campaign("b"))}, []uint32{2}},
		"another campaign":             {&metivav1.VisitRules{SplitAtCampaign: true}, []*metivav1.EnrichedEvent{page(1, 0, campaign("a")), page(2, 1, campaign("b"))}, []uint32{1, 1}},
		"a campaign after none":        {&metivav1.VisitRules{SplitAtCampaign: true}, []*metivav1.EnrichedEvent{page(1, 0), page(2, 1, campaign("b"))}, []uint32{1, 1}},
		"the same campaign":            {&metivav1.VisitRules{SplitAtCampaign: true}, []*metivav1.EnrichedEvent{page(1, 0, campaign("a")), page(2, 1), page(3, 2, campaign("a"))}, []uint32{3}},
		"a bot's event":                {nil, []*metivav1.EnrichedEvent{page(1, 0), page(2, 1, func(e *metivav1.EnrichedEvent) { e.Bot = metivav1.BotClass_BOT_CLASS_CRAWLER })}, []uint32{1}},
		"another site's":               {nil, []*metivav1.EnrichedEvent{page(1, 0), page(2, 1, func(e *metivav1.EnrichedEvent) { e.SiteId = "sit_b" })}, []uint32{1, 1}},
		"another tenant's":             {nil, []*metivav1.EnrichedEvent{page(1, 0), page(2, 1, func(e *metivav1.EnrichedEvent) { e.CompanyId = "cmp_b" })}, []uint32{1, 1}},
		"a visitor beside a visit key": {nil, []*metivav1.EnrichedEvent{page(1, 0), page(2, 1, visitor("v"))}, []uint32{1, 1}},
		"a visitor over visit keys":    {nil, []*metivav1.EnrichedEvent{page(1, 0, visitor("v")), page(2, 1, visitor("v"), func(e *metivav1.EnrichedEvent) { e.VisitKey = keyOf("next day") })}, []uint32{2}},
		"between two visits":           {nil, []*metivav1.EnrichedEvent{page(1, 0), page(3, 40), page(2, 20)}, []uint32{3}},
	} {
		live := applied(t, newSet(rules(t, tc.rules), visit.Limits{}), tc.events...).live(true)
		got := []uint32{}
		for _, v := range live {
			got = append(got, v.GetEvents())
		}
		if fmt.Sprint(got) != fmt.Sprint(tc.want) {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
}

// TestMidnightOfADayWithoutOne: the day on which clocks go forward is shorter, and
// has one midnight all the same.
func TestMidnightAtTheChangeOfClocks(t *testing.T) {
	t.Parallel()
	r := rules(t, &metivav1.VisitRules{SplitAtMidnight: true})
	at := func(text string) float64 {
		when, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatal(err)
		}
		return float64(when.UnixMilli()-noon) / float64(minute)
	}
	live := applied(t, newSet(r, visit.Limits{}),
		page(1, at("2026-10-25T00:50:00+02:00")), page(2, at("2026-10-25T01:10:00+02:00")), page(3, at("2026-10-25T01:35:00+02:00")),
		page(4, at("2026-10-25T02:00:00+02:00")), page(5, at("2026-10-25T02:20:00+02:00")), page(6, at("2026-10-25T02:45:00+02:00")),
		page(7, at("2026-10-25T02:10:00+01:00"))).live(true)
	if len(live) != 1 || live[0].GetEvents() != 7 {
		t.Errorf("%d visits", len(live))
	}
}

func TestWhatAVisitSays(t *testing.T) {
	t.Parallel()
	of := func(kind metivav1.EventType, detail func(*metivav1.EnrichedEvent)) func(*metivav1.EnrichedEvent) {
		return func(e *metivav1.EnrichedEvent) { e.Type, e.Channel = kind, 0; detail(e) }
	}
	form := func(kind metivav1.FormActionKind) func(*metivav1.EnrichedEvent) {
		return of(metivav1.EventType_EVENT_TYPE_FORM, func(e *metivav1.EnrichedEvent) {
			e.Detail = &metivav1.EnrichedEvent_FormAction{FormAction: &metivav1.FormAction{Kind: kind, FormId: "contact"}}
		})
	}
	click := func(kind metivav1.ClickKind) func(*metivav1.EnrichedEvent) {
		return of(metivav1.EventType_EVENT_TYPE_CLICK, func(e *metivav1.EnrichedEvent) {
			e.Detail = &metivav1.EnrichedEvent_Click{Click: &metivav1.Click{Kind: kind}}
		})
	}
	custom := of(metivav1.EventType_EVENT_TYPE_CUSTOM, func(e *metivav1.EnrichedEvent) {
		e.Detail = &metivav1.EnrichedEvent_Custom{Custom: &metivav1.CustomEvent{Name: "basket"}}
	})
	identified := func(e *metivav1.EnrichedEvent) { e.Consent = metivav1.ConsentState_CONSENT_STATE_IDENTIFIED }
	who := visitor("v")
	live := applied(t, newSet(rules(t, nil), visit.Limits{}),
		page(1, 0, who, campaign("spring")),
		page(2, 1, who, engagement(9_000)),
		page(3, 1, who, account("alpha")),
		page(4, 2, who, click(metivav1.ClickKind_CLICK_KIND_OUTBOUND)),
		page(5, 2, who, click(metivav1.ClickKind_CLICK_KIND_DOWNLOAD)),
		page(6, 3, who, form(metivav1.FormActionKind_FORM_ACTION_KIND_START)),
		page(7, 4, who, form(metivav1.FormActionKind_FORM_ACTION_KIND_SUBMIT), identified),
		page(8, 5, who, custom), page(9, 5, who, custom),
		page(10, 6, who, func(e *metivav1.EnrichedEvent) {
			e.Channel, e.TrafficSource, e.ReferrerHost = metivav1.Channel_CHANNEL_ORGANIC_SEARCH, "google", "www.google.nl"
		}),
		page(11, 7, who, func(e *metivav1.EnrichedEvent) { e.Channel = metivav1.Channel_CHANNEL_DIRECT }),
	).live(true)
	if len(live) != 1 {
		t.Fatalf("%d visits", len(live))
	}
	v := live[0]
	want := &metivav1.Visit{
		VisitId: v.GetVisitId(), CompanyId: company, BrandId: "brd_a", SiteId: site, VisitKey: keyOf("key"), VisitorId: keyOf("v"), Version: 22,
		StartedAtMs: noon, EndedAtMs: noon + 7*minute, DurationMs: uint64(7 * minute), EngagedMs: 9000, PageViews: 4, Events: 11,
		EntryHost: "www.example.nl", EntryPath: "/p1", ExitHost: "www.example.nl", ExitPath: "/p4",
		FirstTouch: &metivav1.VisitTouch{
			Channel: metivav1.Channel_CHANNEL_EMAIL, TrafficSource: "mail", AtMs: noon,
			Campaign: &metivav1.Campaign{Source: "mail", Medium: "email", Name: "spring"},
		},
		LastTouch: &metivav1.VisitTouch{Channel: metivav1.Channel_CHANNEL_ORGANIC_SEARCH, TrafficSource: "google", ReferrerHost: "www.google.nl", AtMs: noon + 6*minute},
		Device:    metivav1.DeviceClass_DEVICE_CLASS_DESKTOP, Country: "NL",
		Resolution: &metivav1.Resolution{Verdict: metivav1.Verdict_VERDICT_COMPANY, AccountId: "alpha", Name: "alpha"},
		Consent:    metivav1.ConsentState_CONSENT_STATE_ANALYTICS, Captured: true,
		Pages: []*metivav1.VisitPage{
			{Host: "www.example.nl", Path: "/p1", Views: 1, FirstAtMs: noon},
			{Host: "www.example.nl", Path: "/p2", EngagedMs: 9000, ScrollPercentMax: 80, FirstAtMs: noon + minute},
			{Host: "www.example.nl", Path: "/p3", Views: 2, FirstAtMs: noon + minute},
			{Host: "www.example.nl", Path: "/p4", Views: 1, FirstAtMs: noon + 7*minute},
		},
		ScrollPercentMax: 80, FormsStarted: 1, FormsSubmitted: 1, SubmittedFormIds: []string{"contact"}, OutboundClicks: 1, Downloads: 1,
		CustomEvents:  []*metivav1.VisitCustomEvent{{Name: "basket", Count: 2}},
		RetentionDays: 30, LastReceivedAtMs: noon + 7*minute + 50,
	}
	if !proto.Equal(v, want) {
		t.Errorf("visit\n%v\nwant\n%v", v, want)
	}
}

func TestBounce(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		events []*metivav1.EnrichedEvent
		want   bool
	}{
		"one page":               {[]*metivav1.EnrichedEvent{page(1, 0)}, true},
		"one page, sent twice":   {[]*metivav1.EnrichedEvent{page(1, 0), page(1, 0)}, true},
		"two pages":              {[]*metivav1.EnrichedEvent{page(1, 0), page(2, 1)}, false},
		"one page, left early":   {[]*metivav1.EnrichedEvent{page(1, 0, visitor("v")), page(2, 0.1, visitor("v"), engagement(9_999))}, true},
		"one page, read":         {[]*metivav1.EnrichedEvent{page(1, 0, visitor("v")), page(2, 0.2, visitor("v"), engagement(10_000))}, false},
		"one page, and a signal": {[]*metivav1.EnrichedEvent{page(1, 0, visitor("v")), page(2, 0.2, visitor("v"), func(e *metivav1.EnrichedEvent) { e.Type = metivav1.EventType_EVENT_TYPE_CLICK })}, false},
	} {
		live := applied(t, newSet(rules(t, nil), visit.Limits{}), tc.events...).live(true)
		if len(live) != 1 || live[0].GetBounce() != tc.want {
			t.Errorf("%s: %v", name, live)
		}
	}
}

// TestAnotherAccount: a late event that names another company takes the visit away
// from the first one's readers.
func TestAnotherAccount(t *testing.T) {
	t.Parallel()
	s := newSet(rules(t, nil), visit.Limits{})
	s.Apply(page(1, 5, account("beta")), 0)
	first := s.All()
	s.Apply(page(2, 0, account("alpha")), 1) // a new first event: another id
	s.Apply(page(3, 3, account("gamma")), 2) // no change of account
	second := s.All()
	if len(first) != 1 || len(second) != 2 || !second[0].GetRemoved() || second[0].GetResolution().GetAccountId() != "beta" ||
		second[0].GetVersion() != first[0].GetVersion()+1 || second[1].GetResolution().GetAccountId() != "alpha" {
		t.Fatalf("%v\n%v", first, second)
	}
	s = newSet(rules(t, nil), visit.Limits{})
	s.Apply(page(1, 0), 0)
	s.Apply(page(2, 5, account("beta")), 1)
	first = s.All()
	s.Apply(page(3, 3, account("alpha")), 2)
	second = s.All()
	if len(second) != 2 || !second[0].GetRemoved() || second[0].GetResolution().GetAccountId() != "beta" || second[0].GetVersion() <= first[0].GetVersion() ||
		second[0].GetVersion() >= second[1].GetVersion() || second[1].GetResolution().GetAccountId() != "alpha" || string(second[0].GetVisitId()) != string(second[1].GetVisitId()) {
		t.Fatalf("%v\n%v", first, second)
	}
}

func TestRulesThatAreNotValid(t *testing.T) {
	t.Parallel()
	for name, m := range map[string]*metivav1.VisitRules{
		"idle":  {IdleMinutes: 241},
		"zone":  {SplitAtMidnight: true, TimeZone: "Europe/Atlantis"},
		"local": {SplitAtMidnight: true, TimeZone: "Local"},
	} {
		if r, err := visit.RulesOf(m); err == nil || r == nil {
			t.Errorf("%s: %v, %v", name, r, err)
		}
	}
	changed := rules(t, &metivav1.VisitRules{IdleMinutes: 5})
	now := rules(t, nil)
	s := visit.NewSet(visit.Limits{}, func(string, string) *visit.Rules { return now })
	s.Apply(page(1, 0), 0)
	s.Apply(page(2, 10), 1)
	now = changed
	s.Apply(page(3, 12), 2) // from the next event on
	tb := table{}
	tb.take(t, s.All())
	if live := tb.live(true); len(live) != 2 || live[1].GetEvents() != 2 {
		t.Errorf("%v", live)
	}
}

// TestResolutionsAreToldApart: no field of a resolution is left out when two are
// compared, so that none is lost by sharing.
func TestResolutionsAreToldApart(t *testing.T) {
	t.Parallel()
	fields := (&metivav1.Resolution{}).ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		changed := &metivav1.Resolution{}
		value := map[protoreflect.Kind]any{
			protoreflect.StringKind: "x", protoreflect.Uint32Kind: uint32(1), protoreflect.Int64Kind: int64(1),
			protoreflect.FloatKind: float32(1), protoreflect.EnumKind: protoreflect.EnumNumber(1),
		}[f.Kind()]
		changed.ProtoReflect().Set(f, protoreflect.ValueOf(value))
		if visit.SameResolution(changed, &metivav1.Resolution{}) || !visit.SameResolution(changed, changed) {
			t.Errorf("%s is not compared", f.Name())
		}
	}
}

// TestAFormConfirmsTheCompany: the visit tells what confirmed its company, and only
// its own.
func TestAFormConfirmsTheCompany(t *testing.T) {
	t.Parallel()
	confirmed := func(e *metivav1.EnrichedEvent) {
		e.Resolution.Confirmation, e.Resolution.Confidence = metivav1.Confirmation_CONFIRMATION_FORM, 0.95
	}
	live := applied(t, newSet(rules(t, nil), visit.Limits{}),
		page(1, 0, account("alpha")), page(2, 1, account("beta"), confirmed), page(3, 2, account("alpha"), confirmed), page(4, 3, account("alpha"))).live(true)
	r := live[0].GetResolution()
	if len(live) != 1 || r.GetAccountId() != "alpha" || r.GetConfirmation() != metivav1.Confirmation_CONFIRMATION_FORM {
		t.Errorf("%v", r)
	}
}
