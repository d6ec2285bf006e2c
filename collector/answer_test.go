package collector

import (
	"net/http"
	"strings"
	"testing"
)

// The answer is written before the records are durable: when one does not become
// so, nothing of it is left.
func TestAnAnswerWrittenTooEarlyIsWrittenAgain(t *testing.T) {
	t.Parallel()
	for _, query := range []string{"", "?r=0"} {
		e := startEdge(t, nil)
		if a := e.do(http.MethodPost, PathEvents+query, e.body(newPage(e)), browserHeaders()); a.status/100 != 2 {
			t.Fatalf("%q: %d %s", query, a.status, a.body)
		}
		e.log.mu.Lock()
		e.log.ackErr = errTest
		e.log.mu.Unlock()
		a := e.do(http.MethodPost, PathEvents+query, e.body(newPage(e), newPage(e)), browserHeaders())
		if a.status != http.StatusServiceUnavailable || a.outcomes() != "retry:unacknowledged retry:unacknowledged" || a.header.Get("Retry-After") == "" {
			t.Errorf("%q: %d %s %v", query, a.status, a.body, a.header)
		}
		a = e.do(http.MethodPost, PathEvents+query, e.body(newPage(e), newPage(e).with("at", "now")), browserHeaders())
		if a.status != http.StatusOK || a.outcomes() != "retry:unacknowledged dropped:malformed" || strings.Contains(string(a.body), "accepted") {
			t.Errorf("%q: %d %s", query, a.status, a.body)
		}
		for _, name := range []string{"Content-Type", "X-Content-Type-Options", "Vary", "Access-Control-Allow-Origin"} {
			if n := len(a.header.Values(name)); n != 1 {
				t.Errorf("%q: %d times %s", query, n, name)
			}
		}
		wantLedger(t, e.stoppedLedger(), map[string]uint64{testCompany + "/none": 1, testCompany + "/unacknowledged": 3, testCompany + "/malformed": 1})
	}
}
