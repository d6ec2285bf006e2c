package collector

import (
	"net/http"
	"strings"
	"testing"
)

// TestBotsMayChoose: a consent call is not an event, and is answered whoever sends
// it; what it grants makes nobody a person.
func TestBotsMayChoose(t *testing.T) {
	t.Parallel()
	e := startConsentEdge(t, nil)
	granted := e.consentCall(http.MethodPost, chooseCall(bannerClaim("granted")), header("User-Agent", testBot))
	if granted.status != http.StatusOK || granted.Token == "" {
		t.Fatalf("answered %d %q", granted.status, granted.Reason)
	}
	body := e.body(newPage(e))
	body["consent"] = granted.Token
	if a := e.post(body, header("User-Agent", testBot)); a.outcomes() != "dropped:bot" {
		t.Errorf("answered %q", a.outcomes())
	}
	if a := e.consentCall(http.MethodDelete, members{"site": testKey, "token": granted.Token}, header("User-Agent", testBot)); a.status != http.StatusOK {
		t.Errorf("a withdrawal is answered %d %q", a.status, a.Reason)
	}
}

// TestBotsLeaveNothing: of the agent nothing stays, not even sealed.
func TestBotsLeaveNothing(t *testing.T) {
	t.Parallel()
	e := startEdge(t, nil)
	e.post(e.body(newPage(e)), header("User-Agent", "KanarieBot/1.0"))
	wantLedger(t, e.stoppedLedger(), map[string]uint64{testCompany + "/bot": 1})
	if len(e.log.events(t)) != 0 {
		t.Error("an event was produced")
	}
	if strings.Contains(e.logged.String(), "Kanarie") {
		t.Error("the log quotes the agent")
	}
}

func TestBotsSetting(t *testing.T) {
	t.Parallel()
	for setting, valid := range map[string]bool{"": true, BotsRefuse: true, BotsPass: true, "Refuse": false, "off": false} {
		c := DefaultConfig()
		c.Bots = setting
		if err := c.Validate(); (err == nil) != valid {
			t.Errorf("%q: %v", setting, err)
		}
	}
}
