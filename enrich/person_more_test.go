package enrich

import (
	"bytes"
	"maps"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/pkg/seal"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// TestFreeMailIsNoCompany: whatever network it comes from, an address of a mail service
// confirms nothing, and one of a company names none the network does not.
func TestFreeMailIsNoCompany(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.register(tenant, "sit_a", 1, true)
	x := w.enrichment()
	for name, c := range map[string]struct {
		address, email string
		domain         metivav1.MailDomain
		verdict        metivav1.Verdict
		confirmed      bool
	}{
		"gmail from ING":     {ingAddr, "jan@gmail.com", metivav1.MailDomain_MAIL_DOMAIN_FREE, metivav1.Verdict_VERDICT_COMPANY, false},
		"ING from ING":       {ingAddr, "jan@ING.nl", metivav1.MailDomain_MAIL_DOMAIN_CONFIRMED, metivav1.Verdict_VERDICT_COMPANY, true},
		"ASML from ING":      {ingAddr, "jan@asml.com", metivav1.MailDomain_MAIL_DOMAIN_OTHER, metivav1.Verdict_VERDICT_COMPANY, false},
		"ING from KPN":       {kpnAddr, "jan@ing.nl", metivav1.MailDomain_MAIL_DOMAIN_OTHER, metivav1.Verdict_VERDICT_ISP, false},
		"kpnmail from KPN":   {kpnAddr, "jan@kpnmail.nl", metivav1.MailDomain_MAIL_DOMAIN_FREE, metivav1.Verdict_VERDICT_ISP, false},
		"ING from a network": {"10.1.2.3", "jan@ing.nl", metivav1.MailDomain_MAIL_DOMAIN_OTHER, metivav1.Verdict_VERDICT_RESERVED, false},
	} {
		p := newPost()
		p.address, p.values = c.address, map[string]string{"email": c.email}
		e := w.post(p)
		x.take(e)
		r := w.outcomes()[string(e.GetEventId())].GetEvent().GetResolution()
		if r.GetVerdict() != c.verdict || (r.GetConfirmation() != 0) != c.confirmed || (r.GetConfidence() == 0.98) != c.confirmed && c.verdict == metivav1.Verdict_VERDICT_COMPANY {
			t.Errorf("%s: resolution %v", name, r)
		}
		if c.verdict != metivav1.Verdict_VERDICT_COMPANY && r.GetAccountId() != "" {
			t.Errorf("%s: a company came of an address: %v", name, r)
		}
		var got *metivav1.Capture
		for _, capture := range w.captures() {
			if bytes.Equal(capture.GetEventId(), e.GetEventId()) {
				got = capture
			}
		}
		if got.GetMailDomain() != c.domain || (got.GetAccountId() != "") != c.confirmed {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestRepetitions: an event that comes twice, from the same record and from another,
// gives captures of the same identity, which open to the same values.
func TestRepetitions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.register(tenant, "sit_a", 1, true)
	e := w.post(newPost())
	x := w.enrichment()
	x.take(e, e)
	x.take(e)
	captures := w.captures()
	if len(captures) != 3 {
		t.Fatalf("%d captures", len(captures))
	}
	if captures[0].GetSource().GetOffset() != 0 || captures[2].GetSource().GetOffset() != 1 {
		t.Errorf("sources %v and %v", captures[0].GetSource(), captures[2].GetSource())
	}
	bare := func(c *metivav1.Capture) *metivav1.Capture {
		c = proto.CloneOf(c)
		c.SealedFields, c.Source, c.EnrichedAtMs = nil, nil, 0
		return c
	}
	for _, c := range captures {
		if !proto.Equal(bare(c), bare(captures[0])) || !maps.Equal(w.open(c), wantOpened()) {
			t.Errorf("a repetition is another capture: %v", c)
		}
	}
	if bytes.Equal(captures[0].GetSealedFields()["email"], captures[1].GetSealedFields()["email"]) {
		t.Error("two seals are the same bytes: a nonce was used twice")
	}
}

// TestRemovedForm: the values of a form that is no longer registered are kept as typed,
// and nothing is said of them; the same for a site that is gone.
func TestRemovedForm(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.register(tenant, "sit_a", 1, true)
	x := w.enrichment()
	form, site := newPost(), newPost()
	site.site = "sit_gone"
	events := []*metivav1.CollectedEvent{w.post(form), w.post(site)}
	w.register(tenant, "sit_a", 2, false)
	x.take(events...)
	captures := w.captures()
	if len(captures) != 2 {
		t.Fatalf("%d captures", len(captures))
	}
	for _, c := range captures {
		got := w.open(c)
		if got["email"] != "Canary.Jan@ING.nl" || got["phone"] != "06-98765432" || c.GetLinkedVisitor() != nil || c.GetMailDomain() != 0 || c.GetAccountId() != "" {
			t.Errorf("%q, %v", got, c)
		}
		for _, f := range c.GetFields() {
			if f.GetKind() != 0 || f.GetForm() != metivav1.FieldForm_FIELD_FORM_AS_GIVEN {
				t.Errorf("field %v", f)
			}
		}
	}
}

// TestASilentText: without a text that says so, nothing leads to the visitor's visits,
// though the visitor is known.
func TestASilentText(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.register(tenant, "sit_a", 1, true)
	silent, receipt := newPost(), newPost()
	silent.text = "silent"
	receipt.visitor, receipt.sequence = nil, 0
	w.enrichment().take(w.post(silent), w.post(receipt))
	captures := w.captures()
	if len(captures) != 2 {
		t.Fatalf("%d captures", len(captures))
	}
	for _, c := range captures {
		if c.GetLinkedVisitor() != nil {
			t.Errorf("linked: %v", c)
		}
		if bytes.Equal(c.GetSubjectId(), receipt.subject) && len(c.GetVisitorId()) != 0 {
			t.Errorf("a person without a grant has a visitor id: %v", c)
		}
	}
}

// TestKeyOfACapture: a key that is late is waited for; one that does not come, or is
// older than captures may be, is a dead letter that a replay with the key cures.
func TestKeyOfACapture(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.register(tenant, "sit_a", 1, true)
	x := w.enrichment()
	late := w.post(newPost()) // its key is on the topic, and may not be applied yet
	if err := x.p.process(t.Context(), w.batch(late)); err != nil {
		t.Fatal(err)
	}
	if len(w.captures()) != 1 {
		t.Fatal("a capture did not wait for its key")
	}
	old := w.post(newPost())
	now := w.deps.Now
	w.deps.Now = func() time.Time { return now().Add(subjectKeyAgeDefault + time.Minute) }
	w.keysAnew()
	tooLate := w.enrichment()
	tooLate.take(old)
	if d := w.outcomes()[string(old.GetEventId())].GetDrop(); d.GetReason() != metivav1.Reason_REASON_UNKNOWN_KEY {
		t.Errorf("a capture with a key that is not held: %v", d)
	}
	if len(w.captures()) != 1 || len(w.all(schemas.TopicEventsDead)) != 1 {
		t.Error("it is not a dead letter, or it left all the same")
	}
	w.deps.Now = now
	w.keysAnew()
	again := w.enrichment()
	again.take(old)
	if len(w.captures()) != 2 {
		t.Error("the replay of a dead letter made no capture")
	}
}

// keysAnew is a process that starts again: it knows no key yet.
func (w *world) keysAnew() {
	w.opener = seal.NewOpener(w.private)
	w.deps.Opener = w.opener
}
