package collector

import "testing"

// TestAutomatedBrowser: what the page's script says of its browser goes with each
// event of the request and with no other.
func TestAutomatedBrowser(t *testing.T) {
	t.Parallel()
	e := startConsentEdge(t, nil)
	token := e.grant().Token
	for i, c := range []struct {
		automated any
		want      bool
	}{{true, true}, {nil, false}, {true, true}, {false, false}} {
		body := e.bodyWithToken(token, newPage(e))
		body["automated"] = c.automated
		if a := e.post(body); a.outcomes() != "accepted" {
			t.Fatalf("%s", a.body)
		}
		if got := e.only(i + 1).GetAutomated(); got != c.want {
			t.Errorf("automated %v: %v", c.automated, got)
		}
	}
}
