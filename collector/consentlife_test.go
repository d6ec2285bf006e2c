package collector

import (
	"net/http"
	"testing"
	"time"

	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// A refused capture costs its network one, as a refused event does.
func TestRefusedCaptureCostsOne(t *testing.T) {
	t.Parallel()
	e := startFormEdge(t, func(c *Config) { c.NetworkEventsPerSecond = 1 }) // and ten at once
	for n := range 12 {
		want := http.StatusBadRequest
		if n >= 10 {
			want = http.StatusTooManyRequests
		}
		if a := e.capture("{"); a.status != want {
			t.Errorf("capture %d: %d %s, want %d", n+1, a.status, a.body, want)
		}
	}
}

// A page that tells of the same choice on every view renews the token, and never
// makes a visitor id live longer than the grant it was made for.
func TestRenewalsDoNotLengthenAnID(t *testing.T) {
	t.Parallel()
	e := startConsentEdge(t, nil)
	a := e.grant()
	first, _ := e.tokens.Read(testSite, []byte(a.Token))
	renew := func() consentAnswered {
		return e.consentCall(http.MethodPost, chooseCall(bannerClaim("granted")).with("token", a.Token))
	}
	for range 8 {
		e.clock.Set(e.clock.Now().Add(20 * 24 * time.Hour))
		a = renew()
		held, ok := e.tokens.Read(testSite, []byte(a.Token))
		if !ok || held.VisitorID != first.VisitorID || held.ExpiresAt.After(first.ExpiresAt) || a.ExpiresAt > first.ExpiresAt.UnixMilli() {
			t.Fatalf("renewed: %d %s, the id until %v, first %v", a.status, a.body, held.ExpiresAt, first.ExpiresAt)
		}
	}
	records := consentRecords(t, e.log)
	if last := records[len(records)-1]; last.GetExpiresAtMs() != first.ExpiresAt.UnixMilli() {
		t.Errorf("recorded until %d, want %d", last.GetExpiresAtMs(), first.ExpiresAt.UnixMilli())
	}
	e.clock.Set(first.ExpiresAt.Add(time.Second))
	if next, ok := e.tokens.Read(testSite, []byte(renew().Token)); !ok || next.VisitorID == first.VisitorID {
		t.Errorf("after its end the id is given again: %v", ok)
	}
}

// What the page says beside a choice is kept in the record, but nothing that
// reads as a person's.
func TestConsentRecordsHoldNoPersonalText(t *testing.T) {
	t.Parallel()
	refused := members{"source": "cmp", "cmp": "cookiebot", "answer": "refused", "made": true}
	for name, call := range map[string]members{
		"variant, telephone":     chooseCall(bannerClaim("refused")).with("ui", "0612345678"),
		"variant, IBAN":          chooseCall(bannerClaim("refused")).with("ui", "NL91ABNA0417164300"),
		"variant, spelt IBAN":    chooseCall(bannerClaim("refused")).with("ui", "a-NL91-ABNA-0417-1643-00"),
		"language, telephone":    chooseCall(bannerClaim("refused").with("text_version", nil)).with("language", "nl-06123456-78"),
		"version, BSN":           chooseCall(bannerClaim("refused").with("text_version", "bsn-111222333")),
		"version, address":       chooseCall(bannerClaim("refused").with("text_version", "ip-192.0.2.77")),
		"version, token":         chooseCall(bannerClaim("refused").with("text_version", "s-8f14e45fceea167a5a36dedd4bea2543")),
		"raw, telephone":         chooseCall(refused.with("raw", "statistics=deny, tel 06 1234 5678")),
		"raw, session":           chooseCall(refused.with("raw", "consentid=8f14e45fceea167a5a36dedd4bea2543")),
		"raw, platform's own id": chooseCall(refused.with("raw", "statistics=deny,stamp=7f3f2f5e-0f1c-4b6e-9c5c-6a4f1a2b3c4d")),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := startConsentEdge(t, nil)
			if a := e.consentCall(http.MethodPost, call); a.status != 200 || a.State != "denied" || a.Receipt == "" {
				t.Fatalf("a refusal counts whatever stands beside it: %d %s", a.status, a.body)
			}
			rec := consentRecords(t, e.log)[0]
			for field, text := range map[string]string{"variant": rec.GetUiVariant(), "language": rec.GetLanguage(), "version": rec.GetTextVersion(), "raw": rec.GetRawSignal()} {
				if holdsPersonal(text) {
					t.Errorf("the %s of the record is %q", field, text)
				}
			}
		})
	}
	t.Run("grant", func(t *testing.T) {
		t.Parallel()
		e := startConsentEdge(t, nil)
		claim := members{"source": "cmp", "cmp": "cookiebot", "answer": "granted", "made": true, "text_version": "bsn-111222333"}
		if a := e.choose(claim); a.Token != "" || len(e.log.of(schemas.TopicConsentRecords)) > 0 {
			t.Errorf("a token carries a personal number: %s", a.body)
		}
	})
	t.Run("what platforms say", func(t *testing.T) {
		t.Parallel()
		for _, raw := range []string{"statistics=allow", "C0001,C0002,C0003", "necessary;preferences;statistics;marketing", "functional=yes,analytics=no", "statistics-anonymous=deny"} {
			e := startConsentEdge(t, nil)
			e.consentCall(http.MethodPost, chooseCall(refused.with("raw", raw)).with("ui", "bottom-2026-05_b").with("language", "de-CH-1996"))
			rec := consentRecords(t, e.log)[0]
			if rec.GetRawSignal() != raw || rec.GetUiVariant() != "bottom-2026-05_b" || rec.GetLanguage() != "de-CH-1996" || rec.GetKind() != metivav1.ConsentKind_CONSENT_KIND_REFUSED {
				t.Errorf("record %v", rec)
			}
		}
	})
}

// holdsPersonal finds what the calls above try to bring in.
func holdsPersonal(text string) bool {
	digits := 0
	for i := range len(text) {
		if text[i] >= '0' && text[i] <= '9' {
			digits++
		}
	}
	return digits >= 8
}
