package collector

import (
	"bytes"
	"encoding/json"
	"maps"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/consent"
	"github.com/metiva-io/metiva/pkg/waittest"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

const (
	testText = "nl-2026.1"
	// tcfGrants consents to purposes 1, 8 and 9 and to vendor 2; tcfRefuses to
	// nothing; tcfStale is years old.
	tcfGrants  = "CQp3NcAQsIOsAEsAHBENCOFgAIGAAAAAABpYABEAAAAA.IAFP_AAA"
	tcfRefuses = "CQp3NcAQsIOsAEsAHBENCOFgAAAAAAAAABpYAAAAAAAA.IAFP_AAA"
	tcfStale   = "COsdsoAOsdsoAEsAHBENCOFgAIGAAAAAABpYABEAAAAA.IAFP_AAA"
)

func textSum() []byte { return bytes.Repeat([]byte{0xab}, 32) }

// consentSite takes grants from everything a site can take them from.
func consentSite() *metivav1.SiteRecord {
	rec := siteRecord()
	rec.TcfVendor, rec.Cmp, rec.GrantDays, rec.Version = 2, "cookiebot", 180, 9
	rec.Texts = []*metivav1.ConsentText{{Version: testText, Language: "nl", Sha256: textSum()}}
	return rec
}

func startConsentEdge(t testing.TB, change func(*Config)) *edge {
	t.Helper()
	e := startEdge(t, change)
	e.applySite(consentSite())
	return e
}

// members of a call's body.
type members map[string]any

func (m members) with(name string, value any) members {
	out := maps.Clone(m)
	if out[name] = value; value == nil {
		delete(out, name)
	}
	return out
}

func bannerClaim(answer string) members {
	return members{"source": "banner", "answer": answer, "made": true, "text_version": testText}
}

func chooseCall(claim members) members {
	return members{"site": testKey, "choice": uuid.Must(uuid.NewV7()).String(), "claim": claim}
}

// consentAnswered is an answer of /v1/consent.
type consentAnswered struct {
	answered
	State, Token, Receipt, Reason, Error string
	TextVersion                          string `json:"text_version"`
	Sequence                             uint64
	ExpiresAt                            int64 `json:"expires_at"`
}

func (e *edge) consentCall(method string, body any, change ...func(map[string]string)) consentAnswered {
	e.t.Helper()
	h := browserHeaders()
	for _, f := range change {
		f(h)
	}
	out := consentAnswered{answered: e.do(method, PathConsent, body, h)}
	if len(out.body) > 0 {
		if err := json.Unmarshal(out.body, &out); err != nil {
			e.t.Fatalf("%s: %v", out.body, err)
		}
	}
	return out
}

func (e *edge) choose(claim members, change ...func(map[string]string)) consentAnswered {
	e.t.Helper()
	return e.consentCall(http.MethodPost, chooseCall(claim), change...)
}

// grant gives consent through the banner.
func (e *edge) grant() consentAnswered {
	e.t.Helper()
	a := e.choose(bannerClaim("granted"))
	if a.status != 200 || a.State != "analytics" || a.Token == "" || len(a.Receipt) != 32 {
		e.t.Fatalf("not granted: %d %s", a.status, a.body)
	}
	return a
}

// choicesCounted is the metric of calls.
func (e *edge) choicesCounted() (total float64) {
	e.t.Helper()
	families, err := e.reg.Gather()
	if err != nil {
		e.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "metiva_collector_consent_choices_total" {
			for _, m := range f.GetMetric() {
				total += m.GetCounter().GetValue()
			}
		}
	}
	return total
}

func (e *edge) withdrawalRecords() []*metivav1.Withdrawal {
	e.t.Helper()
	var out []*metivav1.Withdrawal
	for _, r := range e.log.of(schemas.TopicControlWithdrawals) {
		rec := &metivav1.Withdrawal{}
		if err := proto.Unmarshal(r.value, rec); err != nil {
			e.t.Fatal(err)
		}
		if !bytes.Equal(r.key, consent.WithdrawalRecordKey(rec.GetCompanyId(), [16]byte(rec.GetSubjectId()))) {
			e.t.Error("the withdrawal's key is another")
		}
		out = append(out, rec)
	}
	return out
}

// stateWith is the state an event with a token is produced in.
func (e *edge) stateWith(token string) metivav1.ConsentState {
	e.t.Helper()
	before := len(e.log.events(e.t))
	if a := e.post(e.bodyWithToken(token, newPage(e))); a.outcomes() != "accepted" {
		e.t.Fatalf("%s", a.body)
	}
	return e.only(before + 1).GetConsent()
}

func TestGrantIsRecordedAndCounts(t *testing.T) {
	t.Parallel()
	e := startConsentEdge(t, nil)
	call := chooseCall(bannerClaim("granted")).with("ui", "bottom-b").with("language", "en")
	a := e.consentCall(http.MethodPost, call)
	expires := e.clock.Now().Add(180 * 24 * time.Hour).Truncate(time.Second)
	if a.status != 200 || a.State != "analytics" || a.ExpiresAt != expires.UnixMilli() || a.header.Get("Cache-Control") != "no-store" || a.header.Get("Access-Control-Allow-Origin") != testOrigin {
		t.Fatalf("%d %v %s", a.status, a.header, a.body)
	}
	held, ok := e.tokens.Read(testSite, []byte(a.Token))
	if !ok || held.TextVersion != testText || !held.ExpiresAt.Equal(expires) {
		t.Fatalf("token %+v", held)
	}
	records := consentRecords(t, e.log)
	if len(records) != 1 {
		t.Fatalf("%d records", len(records))
	}
	rec := records[0]
	id := uuid.MustParse(call["choice"].(string))
	receipt := uuid.MustParse(a.Receipt)
	want := &metivav1.ConsentRecord{
		RecordId: receipt[:], SchemaVersion: 1, CompanyId: testCompany, SiteId: testSite, SubjectId: held.VisitorID[:], Sequence: held.Sequence,
		State: metivav1.ConsentState_CONSENT_STATE_ANALYTICS, Purposes: []string{"analytics"}, TextVersion: testText, TextSha256: textSum(), Language: "nl",
		Source: "banner", GivenAtMs: e.clock.Now().UnixMilli(), ExpiresAtMs: expires.UnixMilli(), LawfulBasis: "consent",
		Kind: metivav1.ConsentKind_CONSENT_KIND_GIVEN, UiVariant: "bottom-b", PolicyVersion: 9, EvidenceEventId: id[:],
		ChainId: e.WriterID(), ChainPosition: 1, RecordSha256: rec.GetRecordSha256(),
	}
	if !proto.Equal(rec, want) {
		t.Errorf("record %v, want %v", rec, want)
	}
	if state := e.stateWith(a.Token); state != metivav1.ConsentState_CONSENT_STATE_ANALYTICS {
		t.Errorf("an event with the token is %v", state)
	}
	if ev := e.only(1); !bytes.Equal(ev.GetVisitorId(), held.VisitorID[:]) || ev.GetConsentSeq() != held.Sequence || ev.GetConsentTextVersion() != testText {
		t.Errorf("event %v", ev)
	}
	// The same visitor, later: the same id under a later sequence.
	renewed, ok := e.tokens.Read(testSite, []byte(e.consentCall(http.MethodPost, chooseCall(bannerClaim("granted")).with("token", a.Token)).Token))
	if !ok || renewed.VisitorID != held.VisitorID || renewed.Sequence <= held.Sequence {
		t.Errorf("renewed %+v", renewed)
	}
	// Somebody else: another id.
	other, _ := e.tokens.Read(testSite, []byte(e.grant().Token))
	if other.VisitorID == held.VisitorID {
		t.Error("two visitors share an id")
	}
	// The ledger has the event and nothing of the calls.
	wantLedger(t, e.stoppedLedger(), map[string]uint64{testCompany + "/none": 1})
}

// TestEverySourceIsRecorded: grants and refusals through each source.
func TestEverySourceIsRecorded(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		claim                             members
		state, source, cmpID, text, speak string
		hashed                            bool
	}{
		"banner grants":    {bannerClaim("granted"), "analytics", "banner", "", testText, "nl", true},
		"banner refuses":   {bannerClaim("refused"), "denied", "banner", "", testText, "nl", true},
		"refuses any text": {bannerClaim("refused").with("text_version", "v0"), "denied", "banner", "", "v0", "fr", false},
		"refuses no text":  {bannerClaim("refused").with("text_version", nil), "denied", "banner", "", "", "fr", false},
		"script grants":    {bannerClaim("granted").with("source", "api"), "analytics", "api", "", testText, "nl", true},
		"platform grants":  {members{"source": "cmp", "cmp": "cookiebot", "raw": "statistics=allow", "answer": "granted", "made": true, "text_version": "cb-7"}, "analytics", "cmp:cookiebot", "cookiebot", "cb-7", "fr", false},
		"platform refuses": {members{"source": "cmp", "cmp": "klaro", "answer": "refused", "made": true}, "denied", "cmp:klaro", "klaro", "", "fr", false},
		"string grants":    {members{"source": "tcf", "raw": tcfGrants}, "analytics", "tcf", "300", "tcf-5-142-300-7", "en", false},
		"string refuses":   {members{"source": "tcf", "raw": tcfRefuses}, "denied", "tcf", "300", "tcf-5-142-300-7", "en", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := startConsentEdge(t, nil)
			a := e.consentCall(http.MethodPost, chooseCall(c.claim).with("language", "fr"))
			if a.status != 200 || a.State != c.state || (a.Token != "") != (c.state == "analytics") || a.Reason != "" {
				t.Fatalf("%d %s", a.status, a.body)
			}
			rec := consentRecords(t, e.log)[0]
			raw, _ := c.claim["raw"].(string)
			if rec.GetSource() != c.source || rec.GetCmpId() != c.cmpID || rec.GetTextVersion() != c.text || rec.GetLanguage() != c.speak || rec.GetRawSignal() != raw ||
				(len(rec.GetTextSha256()) > 0) != c.hashed || (rec.GetKind() == metivav1.ConsentKind_CONSENT_KIND_GIVEN) != (c.state == "analytics") || (rec.GetExpiresAtMs() > 0) != (c.state == "analytics") {
				t.Errorf("record %v", rec)
			}
		})
	}
}

// TestEveryWayNotToGrant: each leaves nothing behind and says why.
func TestEveryWayNotToGrant(t *testing.T) {
	t.Parallel()
	yes := bannerClaim("granted")
	for name, c := range map[string]struct {
		site    func(*metivav1.SiteRecord)
		call    members
		headers []func(map[string]string)
		status  int
		reason  string
		state   string
	}{
		"site is off":           {site: func(s *metivav1.SiteRecord) { s.Mode = metivav1.SiteMode_SITE_MODE_OFF }, call: chooseCall(yes), status: 200, reason: "nothing_kept", state: "denied"},
		"site counts":           {site: func(s *metivav1.SiteRecord) { s.Mode = metivav1.SiteMode_SITE_MODE_COUNT }, call: chooseCall(yes), status: 200, reason: "nothing_kept", state: "denied"},
		"refusal at a site off": {site: func(s *metivav1.SiteRecord) { s.Mode = metivav1.SiteMode_SITE_MODE_OFF }, call: chooseCall(bannerClaim("refused")), status: 200, reason: "nothing_kept", state: "denied"},
		"GPC":                   {call: chooseCall(yes), headers: []func(map[string]string){header("Sec-GPC", "1")}, status: 200, reason: "objected", state: "objected"},
		"DNT":                   {call: chooseCall(yes), headers: []func(map[string]string){header("DNT", "1")}, status: 200, reason: "objected", state: "objected"},
		"own opt-out":           {call: chooseCall(yes).with("opt_out", true), status: 200, reason: "objected", state: "objected"},
		"refusal with GPC":      {call: chooseCall(bannerClaim("refused")), headers: []func(map[string]string){header("Sec-GPC", "1")}, status: 200, reason: "objected", state: "objected"},
		"platform contradicts":  {call: chooseCall(yes).with("claims", []members{{"source": "cmp", "cmp": "klaro", "answer": "refused", "made": true}}), status: 200, reason: "contradicted", state: "denied"},
		"string contradicts":    {call: chooseCall(yes).with("claims", []members{{"source": "tcf", "raw": tcfRefuses}}), status: 200, reason: "contradicted", state: "denied"},
		"broken string beside":  {call: chooseCall(yes).with("claims", []members{{"source": "tcf", "raw": "x"}}), status: 200, reason: "contradicted", state: "denied"},
		"Consent Mode beside":   {call: chooseCall(yes).with("claims", []members{{"source": "consent_mode", "raw": "G110"}}), status: 200, reason: "contradicted", state: "denied"},
		"Consent Mode":          {call: chooseCall(members{"source": "consent_mode", "raw": "G111"}), status: 422, reason: "source_not_accepted", state: "denied"},
		"other platform":        {call: chooseCall(members{"source": "cmp", "cmp": "klaro", "answer": "granted", "made": true, "text_version": "1"}), status: 422, reason: "source_not_accepted", state: "denied"},
		"no platform":           {site: func(s *metivav1.SiteRecord) { s.Cmp = "" }, call: chooseCall(members{"source": "cmp", "cmp": "cookiebot", "answer": "granted", "made": true, "text_version": "1"}), status: 422, reason: "source_not_accepted", state: "denied"},
		"no vendor":             {site: func(s *metivav1.SiteRecord) { s.TcfVendor = 0 }, call: chooseCall(members{"source": "tcf", "raw": tcfGrants}), status: 422, reason: "source_not_accepted", state: "denied"},
		"stale string":          {call: chooseCall(members{"source": "tcf", "raw": tcfStale}), status: 200, reason: "not_granted", state: "denied"},
		"unreadable string":     {call: chooseCall(members{"source": "tcf", "raw": "CQ"}), status: 200, reason: "not_granted", state: "denied"},
		"nothing chosen":        {call: chooseCall(yes.with("made", false)), status: 200, reason: "not_granted", state: "denied"},
		"refusal not chosen":    {call: chooseCall(bannerClaim("refused").with("made", nil)), status: 200, reason: "not_granted", state: "denied"},
		"implied":               {call: chooseCall(yes.with("implied", true)), status: 200, reason: "not_granted", state: "denied"},
		"no answer":             {call: chooseCall(yes.with("answer", nil)), status: 200, reason: "not_granted", state: "denied"},
		"unknown text":          {call: chooseCall(yes.with("text_version", "nl-2026.2")), status: 422, reason: "unknown_text", state: "denied"},
		"no text":               {call: chooseCall(yes.with("text_version", nil)), status: 422, reason: "unknown_text", state: "denied"},
		"platform without text": {call: chooseCall(members{"source": "cmp", "cmp": "cookiebot", "answer": "granted", "made": true}), status: 422, reason: "unknown_text", state: "denied"},
		"no choice id":          {call: chooseCall(yes).with("choice", nil), status: 400, reason: "malformed"},
		"random choice id":      {call: chooseCall(yes).with("choice", "9b2f5c1e-7c1e-4b44-9f0a-1d2e3f405162"), status: 400, reason: "malformed"},
		"no claim":              {call: chooseCall(yes).with("claim", nil), status: 400, reason: "malformed"},
		"unknown site":          {call: chooseCall(yes).with("site", "pk_other"), status: 403, reason: "unknown_site"},
		"inactive site":         {site: func(s *metivav1.SiteRecord) { s.Active = false }, call: chooseCall(yes), status: 403, reason: "unknown_site"},
		"foreign origin":        {call: chooseCall(yes), headers: []func(map[string]string){header("Origin", "https://evil.example")}, status: 403, reason: "origin_not_allowed"},
		"no origin":             {call: chooseCall(yes), headers: []func(map[string]string){header("Origin", "")}, status: 403, reason: "origin_not_allowed"},
		"form post":             {call: chooseCall(yes), headers: []func(map[string]string){header("Content-Type", "application/x-www-form-urlencoded")}, status: 415, reason: "unsupported_type"},
		"encoding":              {call: chooseCall(yes), headers: []func(map[string]string){header("Content-Encoding", "rot13")}, status: 415, reason: "unsupported_type"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := startConsentEdge(t, nil)
			if rec := consentSite(); c.site != nil {
				c.site(rec)
				e.applySite(rec)
			}
			a := e.consentCall(http.MethodPost, c.call, c.headers...)
			if a.status != c.status || a.Reason != c.reason || a.State != c.state || a.Token != "" || a.Receipt != "" {
				t.Errorf("%d %s", a.status, a.body)
			}
			if n := len(e.log.of(schemas.TopicConsentRecords)) + len(e.withdrawalRecords()); n > 0 {
				t.Errorf("%d records", n)
			}
			if n := e.choicesCounted(); n != 1 {
				t.Errorf("%g outcomes are counted", n)
			}
			wantLedger(t, e.stoppedLedger(), nil)
		})
	}
}

func TestWithdrawal(t *testing.T) {
	t.Parallel()
	call := func(token string) members { return members{"site": testKey, "token": token} }
	for name, withdraw := range map[string]func(*edge, string) consentAnswered{
		"DELETE": func(e *edge, token string) consentAnswered { return e.consentCall(http.MethodDelete, call(token)) },
		"POST": func(e *edge, token string) consentAnswered {
			return e.consentCall(http.MethodPost, call(token).with("withdraw", true))
		},
		"later refusal": func(e *edge, token string) consentAnswered {
			return e.consentCall(http.MethodPost, chooseCall(bannerClaim("refused")).with("token", token))
		},
		"with GPC": func(e *edge, token string) consentAnswered {
			return e.consentCall(http.MethodDelete, call(token), header("Sec-GPC", "1"))
		},
		"refusal and GPC": func(e *edge, token string) consentAnswered {
			return e.consentCall(http.MethodPost, chooseCall(bannerClaim("refused")).with("token", token), header("Sec-GPC", "1"))
		},
		"after expiry": func(e *edge, token string) consentAnswered {
			e.clock.Set(e.clock.Now().Add(400 * 24 * time.Hour))
			return e.consentCall(http.MethodDelete, call(token))
		},
		"site turned off": func(e *edge, token string) consentAnswered {
			rec := consentSite()
			rec.Mode = metivav1.SiteMode_SITE_MODE_OFF
			e.applySite(rec)
			defer e.applySite(consentSite())
			return e.consentCall(http.MethodDelete, call(token))
		},
		"with a choice id": func(e *edge, token string) consentAnswered {
			return e.consentCall(http.MethodDelete, call(token).with("choice", uuid.Must(uuid.NewV7()).String()))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := startConsentEdge(t, nil)
			token := e.grant().Token
			later := e.consentCall(http.MethodPost, chooseCall(bannerClaim("granted")).with("token", token)).Token // another tab
			held, _ := e.tokens.Read(testSite, []byte(token))
			a := withdraw(e, token)
			if a.status != 200 || a.State != "withdrawn" || a.Receipt == "" || a.Token != "" {
				t.Fatalf("%d %s", a.status, a.body)
			}
			w := e.withdrawalRecords()
			if len(w) != 1 || !bytes.Equal(w[0].GetSubjectId(), held.VisitorID[:]) || w[0].GetWithdrawnAtMs() != e.clock.Now().UnixMilli() || w[0].GetSiteId() != testSite {
				t.Fatalf("withdrawals %v", w)
			}
			records := consentRecords(t, e.log)
			rec := records[len(records)-1]
			if rec.GetKind() != metivav1.ConsentKind_CONSENT_KIND_WITHDRAWN || rec.GetState() != metivav1.ConsentState_CONSENT_STATE_WITHDRAWN || rec.GetWithdrawalChannel() != "page" ||
				!bytes.Equal(rec.GetSubjectId(), held.VisitorID[:]) || rec.GetSequence() <= held.Sequence || rec.GetTextVersion() != testText {
				t.Errorf("record %v", rec)
			}
			if name != "after expiry" {
				for _, old := range []string{token, later} {
					if state := e.stateWith(old); state != metivav1.ConsentState_CONSENT_STATE_WITHDRAWN {
						t.Errorf("an event after it is %v", state)
					}
				}
			}
			// Again: the same answer.
			if again := e.consentCall(http.MethodDelete, call(token)); again.status != 200 || again.State != "withdrawn" {
				t.Errorf("again: %d %s", again.status, again.body)
			}
			// Consent can be given again, by a visitor who is new to us.
			fresh, ok := e.tokens.Read(testSite, []byte(e.consentCall(http.MethodPost, chooseCall(bannerClaim("granted")).with("token", token)).Token))
			if !ok || fresh.VisitorID == held.VisitorID {
				t.Errorf("the withdrawn id is given again: %v", ok)
			}
		})
	}
}

// TestForeignTokens: a token we did not issue for the site withdraws nothing and
// carries nothing over.
func TestForeignTokens(t *testing.T) {
	t.Parallel()
	e := startConsentEdge(t, nil)
	token := e.grant().Token
	g := consent.Grant{VisitorID: [16]byte{9}, Sequence: 1, TextVersion: testText, ExpiresAt: e.clock.Now().Add(time.Hour)}
	elsewhere, err := e.tokens.Issue("sit_bbbbbbbbbbbbbbbbbbbb", g, e.clock.Now())
	if err != nil {
		t.Fatal(err)
	}
	records := len(consentRecords(t, e.log))
	for name, foreign := range map[string]string{"another site's": elsewhere, "cut": token[:len(token)-1], "changed": "B" + token[1:], "no token": "abc"} {
		if a := e.consentCall(http.MethodDelete, members{"site": testKey, "token": foreign}); a.status != 403 || a.Reason != "invalid_token" || a.Error == "" {
			t.Errorf("%s withdraws: %d %s", name, a.status, a.body)
		}
		if a := e.consentCall(http.MethodPost, members{"site": testKey, "token": foreign, "read": true}); a.status != 200 || a.State != "denied" || a.Reason != "invalid_token" || a.Sequence != 0 {
			t.Errorf("%s is read: %d %s", name, a.status, a.body)
		}
		// A refusal beside it is a refusal of nobody we know.
		if a := e.consentCall(http.MethodPost, chooseCall(bannerClaim("refused")).with("token", foreign)); a.State != "denied" || a.Receipt == "" {
			t.Errorf("%s and a refusal: %d %s", name, a.status, a.body)
		}
		if held, ok := e.tokens.Read(testSite, []byte(e.consentCall(http.MethodPost, chooseCall(bannerClaim("granted")).with("token", foreign)).Token)); !ok || held.VisitorID == g.VisitorID {
			t.Errorf("%s carries its id over", name)
		}
	}
	if len(e.withdrawalRecords()) != 0 || len(consentRecords(t, e.log)) != records+8 {
		t.Error("a foreign token withdrew")
	}
	if a := e.consentCall(http.MethodDelete, members{"site": testKey}); a.status != 400 {
		t.Errorf("no token: %d", a.status)
	}
}

func TestReadBack(t *testing.T) {
	t.Parallel()
	e := startConsentEdge(t, nil)
	granted := e.grant()
	read := func(change ...func(map[string]string)) consentAnswered {
		return e.consentCall(http.MethodPost, members{"site": testKey, "token": granted.Token, "read": true}, change...)
	}
	held, _ := e.tokens.Read(testSite, []byte(granted.Token))
	if a := read(); a.status != 200 || a.State != "analytics" || a.Sequence != held.Sequence || a.TextVersion != testText || a.ExpiresAt != granted.ExpiresAt || a.Token != "" {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := read(header("Sec-GPC", "1")); a.State != "objected" {
		t.Errorf("with GPC: %s", a.body)
	}
	e.consentCall(http.MethodDelete, members{"site": testKey, "token": granted.Token})
	if a := read(); a.State != "withdrawn" || a.Sequence != held.Sequence {
		t.Errorf("withdrawn: %s", a.body)
	}
	e.clock.Set(e.clock.Now().Add(400 * 24 * time.Hour))
	if a := read(); a.State != "denied" || a.ExpiresAt != granted.ExpiresAt {
		t.Errorf("expired: %s", a.body)
	}
	if n := len(consentRecords(t, e.log)); n != 2 {
		t.Errorf("reading made records: %d", n)
	}
}

// TestUndurableChoiceIsAnsweredRetry: no answer before the record is durable, and
// the repetition carries the same evidence.
func TestUndurableChoiceIsAnsweredRetry(t *testing.T) {
	t.Parallel()
	for _, topic := range []string{schemas.TopicConsentRecords, schemas.TopicControlWithdrawals} {
		e := newEdge(t, nil, func(c *Config) { c.AckTimeout = 200 * time.Millisecond })
		e.applySite(consentSite())
		e.CaughtUp()
		e.start()
		token := e.grant().Token
		away := make(chan struct{})
		e.log.mu.Lock()
		e.log.refuse = func(to string) error {
			select {
			case <-away:
			default:
				if to == topic {
					return errTest
				}
			}
			return nil
		}
		e.log.mu.Unlock()
		calls := map[string]members{http.MethodDelete: {"site": testKey, "token": token}}
		if topic == schemas.TopicConsentRecords {
			calls[http.MethodPost] = chooseCall(bannerClaim("granted"))
		}
		for method, call := range calls {
			if a := e.consentCall(method, call); a.status != 503 || a.Reason != "unacknowledged" || a.header.Get("Retry-After") == "" || a.Token != "" {
				t.Errorf("%s without %s: %d %s", method, topic, a.status, a.body)
			}
		}
		// The withdrawal counts here already.
		if held, _ := e.tokens.Read(testSite, []byte(token)); !e.withdrawals.Withdrawn(testCompany, held.VisitorID, held.Sequence) {
			t.Error("a withdrawal waits for Kafka")
		}
		close(away)
		for method, call := range calls {
			waittest.Until(t, 20*time.Second, method+" is answered 200", func() bool { return e.consentCall(method, call).status == 200 })
		}
		if err := e.stop(); err != nil {
			t.Error(err)
		}
		v := consent.NewVerifier()
		v.Complete = true
		for _, rec := range consentRecords(t, e.log) {
			v.Add(rec)
		}
		if report := v.Report(time.Time{}); !report.OK || len(report.Chains) != 1 {
			t.Errorf("the chain has faults: %+v", report)
		}
	}
}

func TestConsentLimits(t *testing.T) {
	t.Parallel()
	e := startConsentEdge(t, func(c *Config) { c.TenantEventsPerMinute = 2 })
	token := e.grant().Token
	e.grant()
	if a := e.choose(bannerClaim("granted")); a.status != 429 || a.Reason != "rate_limited" || a.header.Get("Retry-After") == "" {
		t.Errorf("over the tenant's quota: %d %s", a.status, a.body)
	}
	if a := e.consentCall(http.MethodDelete, members{"site": testKey, "token": token}); a.status != 200 {
		t.Errorf("the tenant's quota keeps from withdrawing: %d %s", a.status, a.body)
	}
	narrow := startConsentEdge(t, func(c *Config) { c.NetworkEventsPerSecond = 1 })
	statuses := map[int]int{}
	token = narrow.grant().Token
	for range burstSeconds {
		statuses[narrow.consentCall(http.MethodDelete, members{"site": testKey, "token": token}).status]++
	}
	if statuses[200] != burstSeconds-1 || statuses[429] != 1 {
		t.Errorf("of one network: %v", statuses)
	}
	// Calls that leave nothing behind cost their network as much.
	for name, call := range map[string]any{
		"reading": members{"site": testKey, "token": token, "read": true}, "forged": members{"site": testKey, "token": "AA", "withdraw": true},
		"no grant": chooseCall(bannerClaim("granted").with("made", false)), "malformed": "{", "unknown site": chooseCall(bannerClaim("granted")).with("site", "pk_x"),
	} {
		e := startConsentEdge(t, func(c *Config) { c.NetworkEventsPerSecond = 1 })
		for i := range burstSeconds + 1 {
			if a := e.consentCall(http.MethodPost, call); (a.status == 429) != (i == burstSeconds) || a.status == 429 && a.header.Get("Retry-After") == "" {
				t.Errorf("%s, call %d: %d %s", name, i+1, a.status, a.body)
			}
		}
		if a := e.choose(bannerClaim("granted"), header("Sec-GPC", "1")); a.status != 200 || a.Reason != "objected" {
			t.Errorf("%s: an objection is limited: %d %s", name, a.status, a.body)
		}
	}
}

func TestConsentPreflightAndMethods(t *testing.T) {
	t.Parallel()
	e := startConsentEdge(t, nil)
	a := e.do(http.MethodOptions, PathConsent, nil, map[string]string{"Origin": testOrigin, "Access-Control-Request-Method": "DELETE"})
	if a.status != 204 || a.header.Get("Access-Control-Allow-Methods") != "POST, DELETE" || a.header.Get("Access-Control-Allow-Origin") != testOrigin {
		t.Errorf("preflight: %d %v", a.status, a.header)
	}
	if a := e.do(http.MethodOptions, PathConsent, nil, map[string]string{"Origin": "https://evil.example"}); a.status != 403 || a.header.Get("Access-Control-Allow-Methods") != "" {
		t.Errorf("foreign preflight: %d %v", a.status, a.header)
	}
	for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodPatch, http.MethodHead} {
		if a := e.do(method, PathConsent, nil, browserHeaders()); a.status != 405 || a.header.Get("Allow") != "POST, DELETE, OPTIONS" {
			t.Errorf("%s: %d %v", method, a.status, a.header)
		}
	}
	late := newEdge(t, nil, nil)
	late.start()
	if a := late.choose(bannerClaim("granted")); a.status != 503 || a.Reason != "not_ready" || a.header.Get("Retry-After") == "" {
		t.Errorf("before the sites are read: %d %s", a.status, a.body)
	}
}

// TestPageThatRefusesLowersAToken: the page's claim beside a valid token is as
// good as a refusal, for these events alone.
func TestPageThatRefusesLowersAToken(t *testing.T) {
	t.Parallel()
	e := startConsentEdge(t, nil)
	token := e.grant().Token
	for i, c := range []struct {
		refused any
		want    metivav1.ConsentState
	}{
		{true, metivav1.ConsentState_CONSENT_STATE_DENIED}, {false, metivav1.ConsentState_CONSENT_STATE_ANALYTICS}, {nil, metivav1.ConsentState_CONSENT_STATE_ANALYTICS},
	} {
		body := e.bodyWithToken(token, newPage(e))
		body["refused"] = c.refused
		if a := e.post(body); a.outcomes() != "accepted" {
			t.Fatalf("%s", a.body)
		}
		if ev := e.only(i + 1); ev.GetConsent() != c.want {
			t.Errorf("refused %v: %v", c.refused, ev.GetConsent())
		}
	}
}

// TestNoCallsMakeAnalyticsWithoutAGrant: whatever is called in whatever order, an
// event is analytics only with a token of a grant that was not taken back.
func TestNoCallsMakeAnalyticsWithoutAGrant(t *testing.T) {
	t.Parallel()
	e := startConsentEdge(t, func(c *Config) { roomyLimits(c) })
	for seed := range uint64(12) {
		r := rand.New(rand.NewPCG(seed, 7))
		var tokens []string // every token-like text there has been
		withdrawn := map[[16]byte]bool{}
		pick := func() string {
			if len(tokens) == 0 || r.IntN(5) == 0 {
				return strings.Repeat("A", r.IntN(90))
			}
			token := []byte(tokens[r.IntN(len(tokens))])
			if r.IntN(4) == 0 { // another token, and not something no token can be
				i := r.IntN(len(token))
				if token[i] == 'A' {
					token[i] = 'B'
				} else {
					token[i] = 'A'
				}
			}
			return string(token)
		}
		for range 25 {
			var headers []func(map[string]string)
			if r.IntN(4) == 0 {
				headers = append(headers, header("Sec-GPC", "1"))
			}
			token := pick()
			held, ours := e.tokens.Read(testSite, []byte(token))
			switch r.IntN(4) {
			case 0: // grant, or try to
				claim := bannerClaim([]string{"granted", "refused"}[r.IntN(2)]).with("made", r.IntN(3) > 0).with("source", []string{"banner", "api", "tcf", "consent_mode"}[r.IntN(4)])
				call := chooseCall(claim)
				if token != "" {
					call["token"] = token
				}
				a := e.consentCall(http.MethodPost, call, headers...)
				if a.State == "withdrawn" && ours {
					withdrawn[held.VisitorID] = true
				}
				granted := claim["answer"] == "granted" && claim["made"] == true && len(headers) == 0 && (claim["source"] == "banner" || claim["source"] == "api")
				if (a.Token != "") != granted {
					t.Fatalf("seed %d: claim %v is answered %s", seed, claim, a.body)
				}
				if a.Token != "" {
					fresh, _ := e.tokens.Read(testSite, []byte(a.Token))
					if withdrawn[fresh.VisitorID] {
						t.Fatalf("seed %d: a withdrawn id is given again", seed)
					}
					tokens = append(tokens, a.Token)
				}
			case 1:
				if a := e.consentCall(http.MethodDelete, members{"site": testKey, "token": token}, headers...); ours && a.State == "withdrawn" {
					withdrawn[held.VisitorID] = true
				} else if ours != (a.status == 200) {
					t.Fatalf("seed %d: withdrawing answers %d", seed, a.status)
				}
			case 2:
				e.consentCall(http.MethodPost, members{"site": testKey, "token": token, "read": true}, headers...)
			default:
				before := len(e.log.events(t))
				e.post(e.bodyWithToken(token, newPage(e)), headers...)
				for _, ev := range e.log.events(t)[before:] {
					if analytics := ev.GetConsent() == metivav1.ConsentState_CONSENT_STATE_ANALYTICS; analytics != (ours && !withdrawn[held.VisitorID]) || analytics != (len(ev.GetVisitorId()) > 0) {
						t.Fatalf("seed %d: an event is %v", seed, ev.GetConsent())
					}
				}
			}
		}
	}
	// Nothing of it stands in the log.
	for _, r := range e.log.of(schemas.TopicConsentRecords) {
		rec, err := consent.ReadRecord(r.value)
		if err != nil {
			t.Fatal(err)
		}
		if logged := e.logged.String(); strings.Contains(logged, string(rec.GetSubjectId())) || strings.Contains(logged, "token") {
			t.Error("the log names a subject or a token")
		}
	}
}

// TestConsentKeepsSecrets: no token, address or user agent in a record, a log, a metric or a
// refusal.
func TestConsentKeepsSecrets(t *testing.T) {
	t.Parallel()
	e := startConsentEdge(t, nil)
	token := e.grant().Token
	var answers bytes.Buffer
	for _, body := range []any{
		chooseCall(bannerClaim("refused")).with("token", token),
		members{"site": testKey, "token": token},
		members{"site": testKey, "token": token + "x", "withdraw": true},
		members{"site": "pk_x", "token": token, "read": true},
		`{"site":"` + testKey + `","token":"` + token + `","email":"` + personalWord + `@example.nl"}`,
		`{"site":"` + testKey + `","claim":{"source":"` + personalWord + `"}}`, `{"token":"` + token,
	} {
		for _, method := range []string{http.MethodPost, http.MethodDelete} {
			_, _ = answers.Write(e.consentCall(method, body).body)
		}
	}
	if err := e.stop(); err != nil {
		t.Fatal(err)
	}
	families, err := e.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	places := map[string]string{"answers": answers.String(), "log": e.logged.String()}
	for _, f := range families {
		places["metrics"] += f.String()
	}
	e.log.mu.Lock()
	defer e.log.mu.Unlock()
	for _, r := range e.log.records {
		places["records"] += string(r.key) + string(r.value)
	}
	for where, text := range places {
		for _, secret := range []string{token, personalWord, testVisitor, "145.221", testAgent, "Mozilla"} {
			if strings.Contains(text, secret) {
				t.Errorf("%s hold %q", where, secret)
			}
		}
	}
}
