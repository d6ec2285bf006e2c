package enrich

import (
	"bytes"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/enrich/geo"
	"github.com/metiva-io/metiva/enrich/geo/geotest"
	"github.com/metiva-io/metiva/enrich/source"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

const (
	hostAddr    = "5.9.10.11"
	scannerAddr = "195.140.40.9"
)

// TestSenders: who is filtered, by what, and where the others came from.
func TestSenders(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	databases, err := geo.OpenDatabases(geotest.Small(t, "1.0.2026010203",
		"145.221.0.0,145.221.255.255,15625,ING Bank N.V.",
		"5.9.0.0,5.9.255.255,24940,Hetzner Online GmbH",
		"195.140.40.0,195.140.43.255,48328,retarus GmbH",
	))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = databases.Close() })
	w.deps.Databases = databases
	if w.deps.Sources, err = source.NewTables([]string{"spam.example"}); err != nil {
		t.Fatal(err)
	}
	worker, _, view := w.ready(nil)
	w.goRun(worker.keyTable.Run)
	const (
		none    = metivav1.BotClass_BOT_CLASS_NONE
		company = metivav1.Verdict_VERDICT_COMPANY
		hosting = metivav1.Verdict_VERDICT_HOSTING
		machine = metivav1.Verdict_VERDICT_BOT
		scanner = metivav1.BotClass_BOT_CLASS_LINK_SCANNER
	)
	from := func(referrer string, c *metivav1.Campaign) func(*metivav1.CollectedEvent) {
		return func(e *metivav1.CollectedEvent) { e.ReferrerHost, e.Campaign = referrer, c }
	}
	mailing := &metivav1.Campaign{Source: "klanten", Medium: "email"}
	for name, tc := range map[string]struct {
		address, agent string
		change         func(*metivav1.CollectedEvent)
		bot            metivav1.BotClass
		verdict        metivav1.Verdict
		reason         string
		channel        metivav1.Channel
		source         string
	}{
		"a person":           {ingAddr, agent, from("www.google.nl", nil), none, company, "", metivav1.Channel_CHANNEL_ORGANIC_SEARCH, "google"},
		"by mail":            {ingAddr, agent, from("", mailing), none, company, "", metivav1.Channel_CHANNEL_EMAIL, "klanten"},
		"a page of the site": {ingAddr, agent, from("shop.example.nl", nil), none, company, "", metivav1.Channel_CHANNEL_INTERNAL, ""},
		"by its agent":       {ingAddr, botAgent, from("", nil), metivav1.BotClass_BOT_CLASS_CRAWLER, machine, sourceAgent, metivav1.Channel_CHANNEL_DIRECT, ""},
		"automated": {
			ingAddr, agent, func(e *metivav1.CollectedEvent) { e.Automated, e.Campaign, e.ReferrerHost = true, nil, "" },
			metivav1.BotClass_BOT_CLASS_HEADLESS, machine, sourceAutomation, metivav1.Channel_CHANNEL_DIRECT, "",
		},
		"referrer spam": {
			ingAddr, agent, from("www.spam.example", nil),
			metivav1.BotClass_BOT_CLASS_REFERRER_SPAM, machine, sourceReferrer, metivav1.Channel_CHANNEL_REFERRAL, "spam.example",
		},
		"hosting":            {hostAddr, agent, from("", nil), metivav1.BotClass_BOT_CLASS_HOSTING, hosting, "", metivav1.Channel_CHANNEL_DIRECT, ""},
		"hosting, by mail":   {hostAddr, agent, from("", mailing), scanner, machine, sourceScanner, metivav1.Channel_CHANNEL_EMAIL, "klanten"},
		"hosting, consented": {hostAddr, agent, analytics(random(16), 1), none, hosting, "", metivav1.Channel_CHANNEL_EMAIL, "nieuwsbrief"},
		"a mail gateway":     {scannerAddr, agent, from("", nil), scanner, machine, sourceScanner, metivav1.Channel_CHANNEL_DIRECT, ""},
		"another type": {
			ingAddr, agent, func(e *metivav1.CollectedEvent) {
				analytics(random(16), 1)(e)
				e.Type = metivav1.EventType_EVENT_TYPE_ENGAGEMENT
				e.Detail = &metivav1.CollectedEvent_Engagement{Engagement: &metivav1.Engagement{VisibleMs: 5}}
			}, none, company, "", metivav1.Channel_CHANNEL_UNSPECIFIED, "",
		},
	} {
		value, err := schemas.Encode(nil, w.event(tc.address, tc.agent, tc.change))
		if err != nil {
			t.Fatal(err)
		}
		if err := worker.keyTable.CatchUp(t.Context()); err != nil {
			t.Fatal(err)
		}
		out, err := worker.steps.enrich(newScratch(), view, value, &metivav1.SourceRef{})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		e := out.record.GetEvent()
		r := e.GetResolution()
		if e.GetBot() != tc.bot || r.GetVerdict() != tc.verdict || e.GetChannel() != tc.channel || e.GetTrafficSource() != tc.source {
			t.Errorf("%s: %s %s %s %q", name, e.GetBot(), r.GetVerdict(), e.GetChannel(), e.GetTrafficSource())
		}
		if tc.reason != "" && r.GetSource() != tc.reason {
			t.Errorf("%s: reason %q, want %q", name, r.GetSource(), tc.reason)
		}
		if named := r.GetName() != ""; named != (tc.verdict == company) {
			t.Errorf("%s: named %q", name, r.GetName())
		}
	}
}

func TestSiteHosts(t *testing.T) {
	t.Parallel()
	record := func(change func(*metivav1.SiteRecord)) []byte {
		r := &metivav1.SiteRecord{
			CompanyId: tenant, SiteId: "sit_a", Version: 2,
			AllowedOrigins: []string{"https://www.example.nl", "https://www.example.nl:8443", "https://winkel.example.org"},
		}
		change(r)
		value, err := proto.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
	s := newSiteHosts()
	if err := s.Apply([]byte("sit_a"), record(func(*metivav1.SiteRecord) {})); err != nil {
		t.Fatal(err)
	}
	older := record(func(r *metivav1.SiteRecord) { r.Version, r.AllowedOrigins = 1, nil })
	if err := s.Apply([]byte("sit_a"), older); err != nil {
		t.Fatal(err)
	}
	if got := s.of(tenant, "sit_a"); len(got) != 2 || got[0] != "www.example.nl" || got[1] != "winkel.example.org" {
		t.Errorf("hosts %v", got)
	}
	if got := s.of("cmp_other", "sit_a"); got != nil {
		t.Errorf("another tenant's hosts %v", got)
	}
	for name, value := range map[string][]byte{
		"not a message": []byte("not a message"),
		"another site":  record(func(r *metivav1.SiteRecord) { r.SiteId = "sit_b" }),
		"no tenant":     record(func(r *metivav1.SiteRecord) { r.CompanyId = "" }),
	} {
		if err := s.Apply([]byte("sit_a"), value); err == nil || bytes.Contains([]byte(err.Error()), []byte("example")) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := s.Apply([]byte("sit_a"), nil); err != nil || s.of(tenant, "sit_a") != nil {
		t.Errorf("after the removal: %v, %v", s.of(tenant, "sit_a"), err)
	}
}

// TestOwnHostsOfTheSite: a worker knows the site's other hosts before it takes an
// event.
func TestOwnHostsOfTheSite(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	value, err := proto.Marshal(&metivav1.SiteRecord{CompanyId: tenant, SiteId: "sit_a", AllowedOrigins: []string{"https://winkel.example.org"}})
	if err != nil {
		t.Fatal(err)
	}
	w.send(schemas.TopicControlSites, 0, []byte("sit_a"), value)
	w.put(w.event(ingAddr, agent, func(e *metivav1.CollectedEvent) { e.ReferrerHost, e.Campaign = "winkel.example.org", nil }))
	out := w.outputs()
	w.goRun(w.worker().Run)
	records, _, _ := out.take(1, 0)
	if got := records[0].GetEvent().GetChannel(); got != metivav1.Channel_CHANNEL_INTERNAL {
		t.Errorf("channel %s", got)
	}
}
