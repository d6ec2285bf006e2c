package enrich

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/enrich/company"
	"github.com/metiva-io/metiva/enrich/geo/geotest"
	"github.com/metiva-io/metiva/enrich/reversedns"
	"github.com/metiva-io/metiva/enrich/reversedns/dnstest"
	"github.com/metiva-io/metiva/enrich/source"
	"github.com/metiva-io/metiva/pkg/waittest"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// named is a world whose worker asks a resolver, and where the /24s of 20.0.0.0/16
// belong to nobody known.
func named(t *testing.T, budget time.Duration) (*world, *dnstest.Server) {
	t.Helper()
	w, names := newWorld(t), dnstest.New(t)
	if err := w.deps.Databases.Swap(geotest.Small(t, "1.0.2026010203",
		"20.0.0.0,20.0.255.255,64500,Some Networks GmbH", "77.160.0.0,77.175.255.255,1136,KPN B.V.",
	)); err != nil {
		t.Fatal(err)
	}
	chain, err := company.NewChain(company.Config{Suppressions: []company.Suppression{
		{List: company.ListOptOut, Prefix: netip.MustParsePrefix("20.0.6.0/24")},
		{List: company.ListTenant, CompanyID: tenant, Domain: "example.org"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	w.deps.Chain = chain
	if w.deps.Sources, err = source.NewTables([]string{"spam.example"}); err != nil {
		t.Fatal(err)
	}
	w.asks(reversedns.Config{Resolver: names.Addr.String(), BatchBudget: budget}, w.reg)
	return w, names
}

// asks gives the world's workers a resolver.
func (w *world) asks(cfg reversedns.Config, reg prometheus.Registerer) {
	w.t.Helper()
	cfg.QueryTimeout = 10 * time.Second
	r, err := reversedns.New(cfg, reversedns.Deps{Now: time.Now, Registerer: reg})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = r.Close() })
	w.deps.Reverse = r
}

// office gives every address of a /24 a name.
func office(names *dnstest.Server, third int, domain string) {
	for i := range 256 {
		names.Both(fmt.Sprintf("20.0.%d.%d", third, i), fmt.Sprintf("q%c%c.%s", 'a'+i/26, 'a'+i%26, domain))
	}
}

func questionsAbout(names *dnstest.Server, network string) (n int) {
	for a := netip.MustParseAddr(network); ; a = a.Next() {
		if n += names.Asked(dnstest.ReverseName(a)); a.As4()[3] == 255 {
			return n
		}
	}
}

// TestNamesOfNetworks: whoever has a whole network is named by it; nobody is asked about
// who is known, suppressed or a machine.
func TestNamesOfNetworks(t *testing.T) {
	t.Parallel()
	w, names := named(t, 5*time.Second)
	for third, domain := range map[int]string{1: "canaryoffice.nl", 2: "hetzner.com", 3: "somenetworks.de", 4: "ing.nl", 5: "example.org", 6: "opted-out.nl", 7: "crawled.nl", 9: "spammed.nl"} {
		office(names, third, domain)
	}
	office(names, 8, "customer.nl")
	names.Both("20.0.8.77", "20-0-8-77.line.customer.nl")
	events := map[string]struct {
		agent, source, account string
		verdict                metivav1.Verdict
		asked                  bool
	}{
		"20.0.1.9":    {agent, company.SourceReverseDNS, "canaryoffice.nl", metivav1.Verdict_VERDICT_COMPANY, true},
		"20.0.2.9":    {agent, "asn", "", metivav1.Verdict_VERDICT_UNCLASSIFIED, true}, // a hoster's machines
		"20.0.3.9":    {agent, "asn", "", metivav1.Verdict_VERDICT_UNCLASSIFIED, true}, // the announcer itself
		"20.0.4.9":    {agent, company.SourceReverseDNS, "ing.nl", metivav1.Verdict_VERDICT_COMPANY, true},
		"20.0.5.9":    {agent, company.SourceTenant, "", metivav1.Verdict_VERDICT_SUPPRESSED, true},
		"20.0.6.9":    {agent, company.SourceOptOut, "", metivav1.Verdict_VERDICT_SUPPRESSED, false},
		"20.0.7.9":    {botAgent, sourceAgent, "", metivav1.Verdict_VERDICT_BOT, false},
		"20.0.9.9":    {agent, sourceReferrer, "", metivav1.Verdict_VERDICT_BOT, false},
		"20.0.8.9":    {agent, "asn", "", metivav1.Verdict_VERDICT_UNCLASSIFIED, true},
		"77.161.10.9": {agent, company.SourceASType, "", metivav1.Verdict_VERDICT_ISP, false},
		"9.9.9.9":     {agent, "asn", "", metivav1.Verdict_VERDICT_NOT_FOUND, false},
	}
	byID := make(map[string]string)
	for addr, want := range events {
		e := w.event(addr, want.agent, func(e *metivav1.CollectedEvent) {
			if want.source == sourceReferrer {
				e.ReferrerHost = "www.spam.example"
			}
		})
		byID[string(e.GetEventId())] = addr
		w.put(e)
	}
	w.goRun(w.worker().Run)
	records, _, raw := w.outputs().take(len(events), 0)
	for _, record := range records {
		e := record.GetEvent()
		want, r := events[byID[string(e.GetEventId())]], e.GetResolution()
		if r.GetVerdict() != want.verdict || r.GetSource() != want.source || r.GetAccountId() != want.account {
			t.Errorf("%s: %v", byID[string(e.GetEventId())], r)
		}
		switch want.account {
		case "canaryoffice.nl":
			if r.GetConfidence() != 0.6 || r.GetPrefixBits() != 24 || r.GetName() != want.account || r.GetDomain() != want.account || r.GetDatabaseBuildMs() == 0 {
				t.Errorf("evidence: %v", r)
			}
		case "ing.nl":
			if r.GetName() == want.account || r.GetName() == "" {
				t.Errorf("an organisation of the tables is named %q", r.GetName())
			}
		}
	}
	for addr, want := range events {
		network := netip.PrefixFrom(netip.MustParseAddr(addr), 24).Masked().Addr().String()
		if got := questionsAbout(names, network); (got > 0) != want.asked {
			t.Errorf("%s: %d questions", addr, got)
		}
	}
	for _, r := range raw {
		for _, b := range [][]byte{r.Key, r.Value} {
			if bytes.Contains(b, []byte("20.0.")) || bytes.Contains(b, []byte("line.customer")) || bytes.Contains(b, []byte("qaa.")) {
				t.Error("a record has a network or a name of a machine")
			}
		}
	}
	families, err := w.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	said := [][]byte{w.log.bytes()}
	for _, f := range families {
		said = append(said, []byte(prototext.Format(f)))
	}
	for _, b := range said {
		for _, needle := range []string{"20.0.", "canaryoffice", "customer.nl", "in-addr"} {
			if bytes.Contains(b, []byte(needle)) {
				t.Errorf("a log or metric says %q", needle)
			}
		}
	}
}

// TestNamesThatComeLate: a batch goes on without the names that are not there in time,
// the visit has its company from the event behind them, and a replay counts what it could
// not ask.
func TestNamesThatComeLate(t *testing.T) {
	t.Parallel()
	w, names := named(t, time.Millisecond)
	office(names, 1, "canaryoffice.nl")
	gate := make(chan struct{})
	names.Hold(gate)
	visitor := analytics(random(16), 1)
	first, second := w.event("20.0.1.9", agent, visitor), w.event("20.0.1.9", agent, visitor)
	second.VisitKey = first.GetVisitKey()
	worker, _ := w.visitWorker(0)
	stop := w.start(worker)
	enriched := func(n int) {
		waittest.Until(t, waitMax, "the events", func() bool { return len(w.read(schemas.TopicEventsEnriched)) == n })
	}
	w.put(first)
	enriched(1)
	close(gate)
	w.deps.Reverse.Ask(t.Context(), []netip.Prefix{netip.MustParsePrefix("20.0.1.0/24")}, waitMax)
	w.put(second)
	enriched(2)
	var sources []string
	for _, r := range w.read(schemas.TopicEventsEnriched) {
		m := new(metivav1.EnrichedRecord)
		if err := proto.Unmarshal(r.Value, m); err != nil {
			t.Fatal(err)
		}
		sources = append(sources, m.GetEvent().GetResolution().GetSource())
	}
	if fmt.Sprint(sources) != "[asn reverse_dns]" {
		t.Errorf("sources %v", sources)
	}
	waittest.Until(t, waitMax, "the visit with its company", func() bool {
		visits := w.liveVisits()
		for _, v := range visits {
			if v.GetResolution().GetAccountId() != "canaryoffice.nl" || v.GetPageViews() != 2 {
				return false
			}
		}
		return len(visits) == 1
	})
	stop()

	report, err := w.replay(w.past())
	if err != nil || report.Events != 2 || report.Unanswered != 0 {
		t.Fatalf("%+v, %v", report, err)
	}
	for _, m := range w.marked() {
		if m.GetEvent().GetResolution().GetAccountId() != "canaryoffice.nl" {
			t.Errorf("replayed without its name: %v", m.GetEvent().GetResolution())
		}
	}

	// A resolver that fails takes the name away, and the report says so.
	failed := dnstest.New(t)
	failed.Fail(dnstest.ReverseName(netip.MustParseAddr("20.0.1.0")), dnstest.ServFail)
	w.asks(reversedns.Config{Resolver: failed.Addr.String()}, prometheus.NewRegistry())
	again := w.past()
	again.Restart = true
	if report, err = w.replay(again); err != nil || report.Unanswered != 2 {
		t.Errorf("%+v, %v", report, err)
	}
}
