package collector

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/consent"
	"github.com/metiva-io/metiva/pkg/waittest"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// TestWithdrawalReachesEveryCollector: consent given at one collector counts at
// another, taken back at one it is taken back at the other within a second, and
// stays so when both start anew.
func TestWithdrawalReachesEveryCollector(t *testing.T) {
	t.Parallel()
	const rounds, withinASecond = 5, time.Second
	broker, keys, site := startBroker(t), testKeys(t), consentSite()
	a, b := joinBroker(t, broker, keys, site, nil), joinBroker(t, broker, keys, site, nil)

	want := map[string]metivav1.ConsentState{} // by event id
	send := func(e *edge, token string, state metivav1.ConsentState) {
		t.Helper()
		p := newPage(e)
		if got := e.post(e.bodyWithToken(token, p)); got.outcomes() != "accepted" {
			t.Fatalf("%d %s", got.status, got.body)
		}
		want[p["id"].(string)] = state
	}
	const analytics, withdrawn = metivav1.ConsentState_CONSENT_STATE_ANALYTICS, metivav1.ConsentState_CONSENT_STATE_WITHDRAWN
	state := func(e *edge, token string) string {
		return e.consentCall(http.MethodPost, members{"site": testKey, "token": token, "read": true}).State
	}
	var old []string
	quickest := time.Hour
	for range rounds {
		token := a.grant().Token
		send(a.edge, token, analytics)
		send(b.edge, token, analytics)
		began := time.Now()
		if got := a.consentCall(http.MethodDelete, members{"site": testKey, "token": token}); got.State != "withdrawn" {
			t.Fatalf("%d %s", got.status, got.body)
		}
		answered := time.Since(began)
		waittest.Until(t, 20*time.Second, "the other collector knows", func() bool { return state(b.edge, token) == "withdrawn" })
		took := time.Since(began)
		t.Logf("withdrawn at one collector after %s, at the other after %s", answered, took)
		quickest = min(quickest, took)
		send(a.edge, token, withdrawn)
		send(b.edge, token, withdrawn)
		old = append(old, token)
	}
	if quickest >= withinASecond {
		t.Errorf("a withdrawal takes %s at the quickest, more than a second", quickest)
	}
	for _, e := range []*brokerEdge{a, b} {
		if err := e.stop(); err != nil {
			t.Fatal(err)
		}
		e.stopIO()
	}
	a, b = joinBroker(t, broker, keys, site, nil), joinBroker(t, broker, keys, site, nil)
	for _, token := range old {
		for _, e := range []*brokerEdge{a, b} {
			if got := state(e.edge, token); got != "withdrawn" {
				t.Errorf("after a restart a withdrawn token is %s", got)
			}
			send(e.edge, token, withdrawn)
		}
	}
	fresh := b.consentCall(http.MethodPost, chooseCall(bannerClaim("granted")).with("token", old[0])).Token
	send(a.edge, fresh, analytics)
	send(b.edge, fresh, analytics)

	for _, r := range a.readAll(schemas.TopicEventsCollected) {
		var ev metivav1.CollectedEvent
		if err := proto.Unmarshal(r.value, &ev); err != nil {
			t.Fatal(err)
		}
		if id := uuid.UUID(ev.GetEventId()).String(); ev.GetConsent() != want[id] || (len(ev.GetVisitorId()) > 0) != (want[id] == analytics) {
			t.Errorf("an event is %v, want %v", ev.GetConsent(), want[id])
		} else {
			delete(want, id)
		}
	}
	if len(want) > 0 {
		t.Errorf("%d events are missing", len(want))
	}
	v := consent.NewVerifier()
	v.Complete = true
	for _, r := range a.readAll(schemas.TopicConsentRecords) {
		rec, err := consent.ReadRecord(r.value)
		if err != nil {
			t.Fatal(err)
		}
		v.Add(rec)
	}
	// A gave and took back in its first run, B gave in its second.
	if report := v.Report(time.Time{}); !report.OK || len(report.Chains) != 2 || report.Records != 2*rounds+1 {
		t.Errorf("%+v", report)
	}
}
