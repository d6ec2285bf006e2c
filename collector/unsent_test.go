package collector

import (
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/metiva-io/metiva/collector/spool"
	"github.com/metiva-io/metiva/consent"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// TestSpooledWithdrawalSurvivesRestart: a withdrawal that was answered while Kafka
// was away holds in the process that comes after, before Kafka has it.
func TestSpooledWithdrawalSurvivesRestart(t *testing.T) {
	t.Parallel()
	dir, keys := t.TempDir(), testKeys(t)
	durable := startDurable(t, dir, &fakeKafka{holding: true}, nil)
	before := newEdgeWith(t, durable, keys, nil)
	before.applySite(consentSite())
	before.applySalt(testCompany, "2026-11-22")
	before.CaughtUp()
	before.start()
	grant := consent.Grant{VisitorID: [16]byte{7}, Sequence: 1, TextVersion: testText, ExpiresAt: before.clock.Now().Add(time.Hour)}
	token, err := before.tokens.Issue(testSite, grant, before.clock.Now())
	if err != nil {
		t.Fatal(err)
	}
	if a := before.consentCall(http.MethodDelete, members{"site": testKey, "token": token}); a.status != http.StatusOK || a.State != "withdrawn" {
		t.Fatalf("%d %s", a.status, a.body)
	}
	before.stop()
	_ = durable.stop()

	var unsent Unsent
	log := slog.New(slog.DiscardHandler)
	if _, err := spool.Open(spool.Config{Dir: dir}, spool.Deps{Log: log, Registry: prometheus.NewRegistry(), Now: time.Now, Recovered: unsent.See}); err != nil {
		t.Fatal(err)
	}
	after := newEdgeWith(t, nil, keys, nil)
	after.applySite(consentSite())
	after.applySalt(testCompany, "2026-11-22")
	after.ApplyUnsent(&unsent)
	after.CaughtUp()
	after.start()
	if state := after.stateWith(token); state != metivav1.ConsentState_CONSENT_STATE_WITHDRAWN {
		t.Errorf("after the restart an event with the token is %v", state)
	}
}
