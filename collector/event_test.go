package collector

import (
	"bytes"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/consent"
	"github.com/metiva-io/metiva/pkg/seal"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

func (e *edge) token(sequence uint64) string {
	e.t.Helper()
	token, err := e.tokens.Issue(testSite, consent.Grant{
		VisitorID: [16]byte{7, 7, 7}, Sequence: sequence, TextVersion: "nl-3", ExpiresAt: e.clock.Now().Add(time.Hour),
	}, e.clock.Now())
	if err != nil {
		e.t.Fatal(err)
	}
	return token
}

func (e *edge) bodyWithToken(token any, pages ...page) map[string]any {
	b := e.body(pages...)
	b["consent"] = token
	return b
}

// only returns the one event produced since the last call's count.
func (e *edge) only(n int) *metivav1.CollectedEvent {
	e.t.Helper()
	events := e.log.events(e.t)
	if len(events) != n {
		e.t.Fatalf("%d events were produced, want %d", len(events), n)
	}
	return events[n-1]
}

func TestAcceptedEvent(t *testing.T) {
	t.Parallel()
	e := startEdge(t, nil)
	p := newPage(e).with("url", testOrigin+"/klant/jan%40example.nl/a?utm_source=nieuws&utm_medium=mail&utm_campaign=lente&gclid=abc#x").
		with("at", e.clock.Now().Add(-90*time.Second).UnixMilli())
	a := e.post(e.body(p))
	if a.status != http.StatusOK || a.outcomes() != "accepted" || a.Results[0].ID != p["id"] {
		t.Fatalf("answered %d %s", a.status, a.body)
	}
	ev := e.only(1)
	network, agent := e.open(ev)
	if network != "145.221.173.0/24" || agent != testAgent {
		t.Errorf("sealed %s and %q", network, agent)
	}
	id := uuid.MustParse(p["id"].(string))
	now := e.clock.Now().UnixMilli()
	want := &metivav1.CollectedEvent{
		EventId: id[:], CompanyId: testCompany, BrandId: "brd_aaaaaaaaaaaaaaaaaaaa", SiteId: testSite, Type: metivav1.EventType_EVENT_TYPE_PAGE_VIEW,
		ReceivedAtMs: now, OccurredAtMs: now - 90_000, ClientAtMs: now - 90_000, Consent: metivav1.ConsentState_CONSENT_STATE_DENIED,
		VisitKey: ev.GetVisitKey(), Host: "www.example.nl", Path: "/klant/:email/a", ReferrerHost: "www.google.com",
		Campaign:      &metivav1.Campaign{Source: "nieuws", Medium: "mail", Name: "lente"},
		SealedAddress: ev.GetSealedAddress(), SealedUserAgent: ev.GetSealedUserAgent(), WriterId: e.WriterID(), RetentionDays: 400,
	}
	if !proto.Equal(ev, want) {
		t.Errorf("produced %v\nwant %v", ev, want)
	}
	rec := e.log.of(schemas.TopicEventsCollected)[0]
	if want := schemas.EventPartition(testCompany, ev.GetVisitKey(), schemas.TenantBuckets); rec.partition != want {
		t.Errorf("partition %d, want %d", rec.partition, want)
	}
	if wantKey := append([]byte{schemas.TenantBucket(testCompany)}, ev.GetVisitKey()...); !bytes.Equal(rec.key, wantKey) {
		t.Errorf("key %x, want %x", rec.key, wantKey)
	}
	if len(ev.GetVisitKey()) != schemas.IDBytes || len(ev.GetSealedAddress()) > schemas.SealedAddressBytesMax || len(ev.GetSealedUserAgent()) > schemas.SealedUserAgentBytesMax {
		t.Error("a field is not of its size")
	}
}

func TestSingleEventAtTopLevel(t *testing.T) {
	t.Parallel()
	e := startEdge(t, nil)
	p := newPage(e).with("site", testKey).with("sent_at", e.clock.Now().UnixMilli())
	if a := e.post(p); a.outcomes() != "accepted" {
		t.Fatalf("answered %d %s", a.status, a.body)
	}
	e.only(1)
}

func TestTimeIsCorrectedBySendTime(t *testing.T) {
	t.Parallel()
	e := startEdge(t, nil)
	now := e.clock.Now()
	for i, tc := range []struct {
		clientAhead, age time.Duration
		wantAge          time.Duration
	}{
		{0, 0, 0},
		{0, time.Minute, time.Minute},
		{300 * 24 * time.Hour, time.Minute, time.Minute}, // a clock that is wrong by months
		{-300 * 24 * time.Hour, time.Hour, time.Hour},
		{0, -time.Minute, 0}, // after its own sending, within the skew
	} {
		b := e.body(newPage(e).with("at", now.Add(tc.clientAhead-tc.age).UnixMilli()))
		b["sent_at"] = now.Add(tc.clientAhead).UnixMilli()
		if a := e.post(b); a.outcomes() != "accepted" {
			t.Fatalf("case %d: %s", i, a.body)
		}
		ev := e.only(i + 1)
		if got := time.Duration(ev.GetReceivedAtMs()-ev.GetOccurredAtMs()) * time.Millisecond; got != tc.wantAge {
			t.Errorf("case %d: age %s, want %s", i, got, tc.wantAge)
		}
		if ev.GetClientAtMs() != now.Add(tc.clientAhead-tc.age).UnixMilli() {
			t.Errorf("case %d: the client's time is not kept", i)
		}
	}
}

func TestConsentStates(t *testing.T) {
	t.Parallel()
	e := startEdge(t, nil)
	forged := e.token(5)
	forged = forged[:len(forged)-4] + "AAAA"
	otherSite, err := e.tokens.Issue("sit_other", consent.Grant{VisitorID: [16]byte{7}, Sequence: 1, TextVersion: "v", ExpiresAt: e.clock.Now().Add(time.Hour)}, e.clock.Now())
	if err != nil {
		t.Fatal(err)
	}
	const denied, analytics, withdrawn = metivav1.ConsentState_CONSENT_STATE_DENIED, metivav1.ConsentState_CONSENT_STATE_ANALYTICS, metivav1.ConsentState_CONSENT_STATE_WITHDRAWN
	keys := map[string]metivav1.ConsentState{}
	n := 0
	check := func(name string, token any, want metivav1.ConsentState, sequence uint64) {
		t.Helper()
		if a := e.post(e.bodyWithToken(token, newPage(e))); a.outcomes() != "accepted" {
			t.Fatalf("%s: %s", name, a.body)
		}
		n++
		ev := e.only(n)
		if ev.GetConsent() != want || ev.GetConsentSeq() != sequence || (len(ev.GetVisitorId()) == 16) != (want == analytics) || (ev.GetConsentTextVersion() != "") != (want == analytics) {
			t.Errorf("%s: %v seq %d visitor %x", name, ev.GetConsent(), ev.GetConsentSeq(), ev.GetVisitorId())
		}
		keys[string(ev.GetVisitKey())] |= want
		if state := keys[string(ev.GetVisitKey())]; state != want && want == analytics {
			t.Errorf("%s: a consented event has the visit key of an anonymous one", name)
		}
	}
	check("no token", nil, denied, 0)
	check("token", e.token(5), analytics, 5)
	check("empty token", "", denied, 0)
	check("a claim", "granted", denied, 0)
	check("an object", map[string]bool{"analytics": true}, denied, 0)
	check("forged", forged, denied, 0)
	check("other site", otherSite, denied, 0)

	value, err := proto.Marshal(&metivav1.Withdrawal{CompanyId: testCompany, SiteId: testSite, SubjectId: append([]byte{7, 7, 7}, make([]byte, 13)...), Sequence: 5})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.ApplyWithdrawal(consent.WithdrawalRecordKey(testCompany, [16]byte{7, 7, 7}), value); err != nil {
		t.Fatal(err)
	}
	check("withdrawn", e.token(5), withdrawn, 0)
	check("granted again", e.token(6), analytics, 6)
	expiring := e.token(7)
	e.clock.Set(e.clock.Now().Add(2 * time.Hour))
	check("expired", expiring, denied, 0)
	if len(keys) != 2 {
		t.Errorf("%d visit keys, want one for the visitor and one for the network", len(keys))
	}
	if a := e.post(e.bodyWithToken(e.token(9), newPage(e)), header("Sec-GPC", "1")); a.outcomes() != "dropped:objected" {
		t.Errorf("an objection against a grant: %s", a.body)
	}
}

func TestVisitKey(t *testing.T) {
	t.Parallel()
	e := startEdge(t, nil)
	second := siteRecord()
	second.SiteId, second.SiteKeys = "sit_bbbbbbbbbbbbbbbbbbbb", []string{"pk_b"}
	e.applySite(second)
	n := 0
	key := func(change ...func(map[string]string)) string {
		t.Helper()
		if a := e.post(e.body(newPage(e)), change...); a.outcomes() != "accepted" {
			t.Fatalf("%s", a.body)
		}
		n++
		return string(e.only(n).GetVisitKey())
	}
	base := key()
	for name, same := range map[string]func(map[string]string){
		"again":             header("Accept", "*/*"),
		"same /24":          header("X-Forwarded-For", "145.221.173.1"),
		"mapped":            header("X-Forwarded-For", "::ffff:145.221.173.2"),
		"other version":     header("User-Agent", strings.ReplaceAll(testAgent, "156", "157")),
		"other system, fam": header("User-Agent", "Mozilla/5.0 (Windows NT 10.0) Chrome/99 Safari/537.36"),
	} {
		if key(same) != base {
			t.Errorf("%s: another visit key", name)
		}
	}
	for name, other := range map[string]func(map[string]string){
		"other /24":     header("X-Forwarded-For", "145.221.174.91"),
		"IPv6":          header("X-Forwarded-For", "2001:db8::1"),
		"other browser": header("User-Agent", testAgent+" Edg/156.0"),
		"no browser":    header("User-Agent", "-"),
	} {
		if key(other) == base {
			t.Errorf("%s: the same visit key", name)
		}
	}
	if key(header("X-Forwarded-For", "2001:db8:0:1::1")) != key(header("X-Forwarded-For", "2001:db8:0:ffff::2")) {
		t.Error("one /48 has two visit keys")
	}
	b := e.body(newPage(e))
	b["site"] = "pk_b"
	if a := e.post(b); a.outcomes() != "accepted" {
		t.Fatalf("%s", a.body)
	}
	n++
	if string(e.only(n).GetVisitKey()) == base {
		t.Error("two sites share a visit key")
	}
	// The next day: no salt yet, so each event is a visit; then a salt, and no
	// key of yesterday.
	e.clock.Set(time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC))
	if one, two := key(), key(); one == two || one == base {
		t.Error("without a salt two events share a visit key")
	}
	e.applySalt(testCompany, "2026-11-23")
	if one, two := key(), key(); one != two || one == base {
		t.Error("the new day's visit key is not its own")
	}
	saltKey, _ := e.saltRecord(testCompany, "2026-11-23")
	if err := e.ApplyKey(saltKey, nil); err != nil {
		t.Fatal(err)
	}
	if one, two := key(), key(); one == two {
		t.Error("a destroyed salt is still used")
	}
}

func TestDataKeyIsPublishedFirstAndRotated(t *testing.T) {
	t.Parallel()
	e := startEdge(t, nil)
	if a := e.post(e.body(newPage(e), newPage(e))); a.outcomes() != "accepted accepted" {
		t.Fatalf("%s", a.body)
	}
	e.clock.Set(time.Date(2026, 11, 23, 0, 0, 1, 0, time.UTC))
	if a := e.post(e.body(newPage(e))); a.outcomes() != "accepted" {
		t.Fatalf("%s", a.body)
	}
	e.log.mu.Lock()
	var topics []string
	for _, r := range e.log.records {
		if r.topic != schemas.TopicLedgerEdge {
			topics = append(topics, r.topic)
		}
	}
	e.log.mu.Unlock()
	const key, event = schemas.TopicControlKeys, schemas.TopicEventsCollected
	if got, want := strings.Join(topics, " "), strings.Join([]string{key, event, event, key, event}, " "); got != want {
		t.Errorf("produced %s, want %s", got, want)
	}
	for _, ev := range e.log.events(t) {
		if network, _ := e.open(ev); network != "145.221.173.0/24" {
			t.Errorf("opened %s", network)
		}
	}
}

func TestUserAgentIsCutAndMayBeAbsent(t *testing.T) {
	t.Parallel()
	e := startEdge(t, nil)
	e.post(e.body(newPage(e)), header("User-Agent", strings.Repeat("x", 600)))
	if _, agent := e.open(e.only(1)); len(agent) != userAgentBytesMax {
		t.Errorf("%d bytes of user agent were sealed", len(agent))
	}
	r := newRequest(e.Collector)
	r.site, r.decision, r.received = e.sites.lookup([]byte(testKey)), consent.Decide(consent.Policy{Mode: metivav1.SiteMode_SITE_MODE_COMPANY}, consent.Signals{}), e.clock.Now()
	r.address = seal.AddressOf(netip.MustParseAddr(testVisitor), r.scratch)
	in := incoming{id: newID(r.received), idOK: true, complete: true, kind: metivav1.EventType_EVENT_TYPE_PAGE_VIEW, url: []byte(testOrigin), atMs: r.received.UnixMilli()}
	var res result
	if r.produce(&res, &in); res.reason != metivav1.Reason_REASON_UNSPECIFIED {
		t.Fatal(res.reason)
	}
	if ev := e.only(2); ev.GetSealedUserAgent() != nil {
		t.Error("an absent user agent was sealed")
	}
}

func TestNoAddress(t *testing.T) {
	t.Parallel()
	e := newEdge(t, nil, nil)
	r := newRequest(e.Collector)
	e.applySite(siteRecord())
	r.site = e.sites.lookup([]byte(testKey))
	r.address = seal.AddressOf(peerAddr(nil), r.scratch)
	if got := r.decide(nil); got != metivav1.Reason_REASON_NO_ADDRESS {
		t.Errorf("without an address: %v", got)
	}
}

func TestOnlyADecisionMakesAnEvent(t *testing.T) {
	t.Parallel()
	e := newEdge(t, nil, nil)
	r := newRequest(e.Collector)
	e.applySite(siteRecord())
	r.site = e.sites.lookup([]byte(testKey))
	for _, d := range []consent.Decision{{}, consent.Decide(consent.Policy{}, consent.Signals{}), consent.Decide(consent.Policy{Mode: metivav1.SiteMode_SITE_MODE_COMPANY}, consent.Signals{GPC: true})} {
		if d.Allows() {
			t.Fatal("the case allows")
		}
		in := incoming{kind: metivav1.EventType_EVENT_TYPE_PAGE_VIEW}
		if reason := r.fill(d, &in, 0); len(r.event.record.eventID) != 0 || reason == 0 || d.Reason() != 0 && d.Reason() != reason {
			t.Errorf("%v made an event", d.State())
		}
	}
}

// TestNothingPersonalIsProduced searches every byte that leaves, and the log.
func TestNothingPersonalIsProduced(t *testing.T) {
	t.Parallel()
	e := startEdge(t, nil)
	addresses := []string{testVisitor, "2001:db8:c0fe:d00d:aaaa:bbbb:cccc:dddd"}
	var needles [][]byte
	for _, a := range addresses {
		ip := netip.MustParseAddr(a)
		b16 := ip.As16()
		needles = append(needles, []byte(a), b16[:], ip.AsSlice())
	}
	for _, text := range []string{
		"145.221.173", "2001:db8:c0fe", "jan@example.nl", "jan%40example.nl", "jan.de.vries", "Chrome/156.0", "X11; Linux", "gclid", "geheim", "123456782",
		"NL91ABNA0417164300", "sessie", "eyJhbGciOi", "secret-cookie", "zoekvraag",
	} {
		needles = append(needles, []byte(text))
	}
	for _, address := range addresses {
		for _, p := range []page{
			newPage(e).with("url", testOrigin+"/u/jan@example.nl/123456782/NL91ABNA0417164300;s=sessie?gclid=abc&q=zoekvraag&utm_source=jan%40example.nl&utm_term=geheim#jan.de.vries"),
			newPage(e).with("referrer", "https://jan.de.vries:geheim@mail.example.nl/inbox?from=jan@example.nl"),
			newPage(e).with("title", "jan@example.nl").with("url", testOrigin+"/r/eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N"),
			newPage(e).with("at", "jan@example.nl"),
			newPage(e).with("id", "jan@example.nl"),
		} {
			e.post(e.bodyWithToken("jan@example.nl", p), header("X-Forwarded-For", address), header("Cookie", "s=secret-cookie"))
		}
		e.post(`{"jan@example.nl`, header("X-Forwarded-For", address))
		e.do(http.MethodGet, PathPixel+"?site=jan@example.nl&u="+address, nil, browserHeaders())
	}
	e.stoppedLedger()
	if len(e.log.events(t)) != 6 {
		t.Fatalf("%d events were produced: the search would prove little", len(e.log.events(t)))
	}
	gathered, err := e.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	places := map[string][]byte{"log": []byte(e.logged.String())}
	for _, family := range gathered {
		places["metrics"] = append(places["metrics"], family.String()...)
	}
	for _, r := range e.log.records {
		places[r.topic] = append(append(places[r.topic], r.key...), r.value...)
	}
	for place, content := range places {
		for _, needle := range needles {
			if bytes.Contains(content, needle) {
				t.Errorf("%s holds %q", place, needle)
			}
		}
	}
}
