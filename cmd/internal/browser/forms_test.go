package browser

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

const formText = "demo-contact-2-en"

// secrets are what the visitor types or the page hides in fields that are marked
// and must never be read.
func secrets() map[string]string {
	return map[string]string{
		`[name="company"]`: "w4chtwoord-geheim", `[name="card"]`: "4111111111111111",
		`[name="iban"]`: "NL91ABNA0417164300", `[name="bsn"]`: "111222333", `[name="note"]`: "not-marked",
	}
}

// fillForm fills every field of the marked form.
func (b *tab) fillForm() {
	b.t.Helper()
	b.fill(`[name="email"]`, "jan@example.nl")
	b.fill(`[name="full-name"]`, "Jan Jansen")
	b.fill(`[name="message"]`, "Graag een offerte.")
	for selector, value := range secrets() {
		b.fill(selector, value)
	}
}

// noSecrets fails when anything the browser sent holds a value it must not read.
func (s *site) noSecrets(t *testing.T, more ...string) {
	t.Helper()
	private := append([]string{"hidden-value"}, more...)
	for _, value := range secrets() {
		private = append(private, value)
	}
	for _, p := range s.edge.list("/") {
		for _, value := range private {
			if strings.Contains(p.Body, value) {
				t.Errorf("%s carries %q: %s", p.Path, value, p.Body)
			}
		}
	}
}

func TestFormWithoutItsBox(t *testing.T) {
	s, b := visit(t)
	b.open("/test/form")
	b.sent(1)
	b.fillForm()
	b.click(`form button`)
	b.until(`location.pathname === '/test/form/sent'`)
	b.sent(2)
	b.leave()
	s.holds(t, "page_view /test/form denied", "page_view /test/form/sent denied")
	s.noSecrets(t, "jan@example.nl", "Jansen", "offerte")
	s.noCapture(t)
	s.consentsHold(t)
}

func TestFormWithItsBox(t *testing.T) {
	s, b := visit(t)
	b.open("/test/form")
	b.sent(1)
	b.fillForm()
	b.click(`[data-visitor-consent]`)
	b.click(`form button`)
	b.until(`location.pathname === '/test/form/sent'`)
	b.sent(3)
	b.leave()
	rows := s.holds(t, "page_view /test/form denied", "form /test/form identified submit contact", "page_view /test/form/sent denied")
	for _, r := range rows {
		if r.Visitor != "" && r.Consent != "identified" {
			t.Errorf("a form's consent reached another event: %+v", r)
		}
	}
	s.captureHolds(t, map[string]string{"email": "jan@example.nl", "name": "Jan Jansen", "message": "Graag een offerte."})
	s.consentsHold(t, "given identified form "+formText)
	s.noSecrets(t)
	b.nothingOfTheFormIn(s)
}

// nothingOfTheFormIn fails when ClickHouse has what was typed.
func (b *tab) nothingOfTheFormIn(s *site) {
	b.t.Helper()
	h, err := shared.rows.look(b.t.Context(), s.ID)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, r := range h.events {
		for _, value := range []string{"jan@", "Jansen", "offerte"} {
			if strings.Contains(r.Detail+r.Path+r.Referrer, value) {
				b.t.Errorf("ClickHouse has %q: %+v", value, r)
			}
		}
	}
}

// TestFormUnderAGrant: who agreed to analytics before is the same visitor.
func TestFormUnderAGrant(t *testing.T) {
	s, b := visit(t)
	b.open("/test/consent")
	b.sent(1)
	b.agree()
	b.open("/test/form")
	b.sent(3)
	b.fillForm()
	b.click(`[data-visitor-consent]`)
	b.click(`form button`)
	b.until(`location.pathname === '/test/form/sent'`)
	b.leave()
	rows := s.holds(t, "page_view /test/consent denied", "engagement /test/consent analytics",
		"page_view /test/form analytics", "form /test/form analytics start contact", "form /test/form analytics submit contact",
		"form /test/form identified submit contact", "engagement /test/form analytics",
		"page_view /test/form/sent analytics", "engagement /test/form/sent analytics")
	visitor := rows[len(rows)-1].Visitor
	for _, r := range rows {
		if r.Consent != "denied" && r.Visitor != visitor {
			t.Errorf("another visitor: %+v", r)
		}
	}
	s.captureHolds(t, map[string]string{"email": "jan@example.nl", "name": "Jan Jansen", "message": "Graag een offerte."})
	s.noSecrets(t)
}

// TestTypedSecrets: what a visitor types into a free field is left out when it
// reads as a bank account or a number of a citizen.
func TestTypedSecrets(t *testing.T) {
	for name, value := range map[string]string{"iban": "NL91ABNA0417164300", "bsn": "111222333", "card": "4111 1111 1111 1111"} {
		t.Run(name, func(t *testing.T) {
			s, b := visit(t)
			b.open("/test/form")
			b.sent(1)
			b.fill(`[name="email"]`, "jan@example.nl")
			b.fill(`[name="message"]`, value)
			b.click(`[data-visitor-consent]`)
			b.click(`form button`)
			b.until(`location.pathname === '/test/form/sent'`)
			b.sent(3)
			b.leave()
			s.holds(t, "page_view /test/form denied", "form /test/form identified submit contact", "page_view /test/form/sent denied")
			s.captureHolds(t, map[string]string{"email": "jan@example.nl"})
		})
	}
}

// TestTickedByThePage: a box the page has ticked is nobody's consent.
func TestTickedByThePage(t *testing.T) {
	s, b := visit(t)
	b.open("/test/form")
	b.sent(1)
	b.js(`document.querySelector('[data-visitor-consent]').defaultChecked = true`)
	b.fillForm()
	b.click(`form button`)
	b.until(`location.pathname === '/test/form/sent'`)
	b.sent(2)
	b.leave()
	s.holds(t, "page_view /test/form denied", "page_view /test/form/sent denied")
	s.noSecrets(t, "jan@example.nl")
	s.noCapture(t)
}

func TestFormSentByScript(t *testing.T) {
	for name, agrees := range map[string]bool{"with its box": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			s, b := visit(t)
			b.open("/test/form/fetch")
			b.sent(1)
			b.fill(`[name="email"]`, "jan@example.nl")
			b.fill(`[name="message"]`, "Graag een offerte.")
			want := []string{"page_view /test/form/fetch denied"}
			if agrees {
				b.click(`[name="agree"]`)
				want = append(want, "form /test/form/fetch identified submit contact")
			}
			b.click(`form button`)
			b.until(`document.getElementById('sent').textContent !== ''`)
			b.sent(len(want))
			b.leave()
			s.holds(t, want...)
			if agrees {
				s.captureHolds(t, map[string]string{"email": "jan@example.nl", "message": "Graag een offerte."})
				s.consentsHold(t, "given identified form "+formText)
			} else {
				s.noCapture(t)
				s.consentsHold(t)
			}
		})
	}
}

// TestFormWithoutScript: the browser posts to the collector and comes back.
func TestFormWithoutScript(t *testing.T) {
	for name, agrees := range map[string]bool{"with its box": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			s, b := visit(t)
			call(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
			b.open("/test/form/plain")
			b.run(chromedp.SendKeys(chromedp.CSS(`[name="email"]`), "jan@example.nl"))
			b.run(chromedp.SendKeys(chromedp.CSS(`[name="message"]`), "Graag een offerte."))
			if agrees {
				b.click(`[name="metiva_consent"]`)
			}
			b.click(`form button`)
			got := s.edge.until(t, "/v1/captures", 1)
			if got[0].Status != http.StatusSeeOther {
				t.Errorf("answered %d", got[0].Status)
			}
			b.run(chromedp.WaitVisible(chromedp.CSS(`.hero`)))
			if agrees {
				s.holds(t, "form /test/form/plain identified submit contact")
				s.captureHolds(t, map[string]string{"email": "jan@example.nl", "message": "Graag een offerte."})
			} else {
				s.holds(t)
				s.edgeHolds(t, "consent_required", 1)
				s.noCapture(t)
			}
		})
	}
}

// TestFormWhenWeFail: the site's form arrives at once and whole, whatever becomes
// of us.
func TestFormWhenWeFail(t *testing.T) {
	t.Parallel()
	const delayMax = 300 * time.Millisecond
	for name, fail := range map[string]func(s *site, release <-chan struct{}){
		"the collector hangs": func(s *site, release <-chan struct{}) {
			s.edge.replace(func(*http.Request, []byte) (int, http.Header) { <-release; return http.StatusServiceUnavailable, nil })
		},
		"the collector is away": func(s *site, _ <-chan struct{}) { s.edge.setDown(true) },
		"the collector fails": func(s *site, _ <-chan struct{}) {
			s.edge.replace(func(*http.Request, []byte) (int, http.Header) { return http.StatusInternalServerError, nil })
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, b := visit(t)
			posts := make(chan string, 1)
			s.pages.HandleFunc("POST /test/form/sent", func(w http.ResponseWriter, r *http.Request) {
				posts <- r.FormValue("email") + " " + r.FormValue("note")
				w.WriteHeader(http.StatusNoContent) // the page stays, and can be asked
			})
			release := make(chan struct{})
			defer close(release)
			b.open("/test/form")
			b.sent(1)
			fail(s, release)
			best := time.Hour
			for range 3 {
				b.js(`document.forms[0].reset()`)
				b.fill(`[name="email"]`, "jan@example.nl")
				b.fill(`[name="note"]`, "ours")
				b.click(`[data-visitor-consent]`)
				b.js(`addEventListener('submit', () => { window.submittedAt = Date.now() }, {capture: true, once: true})`)
				b.click(`form button`)
				got := <-posts
				arrived := time.Now()
				if got != "jan@example.nl ours" {
					t.Errorf("the site got %q", got)
				}
				best = min(best, arrived.Sub(time.UnixMilli(ask[int64](b, `window.submittedAt`))))
			}
			if best > delayMax {
				t.Errorf("the site's form was held up for %s", best)
			}
		})
	}
}
