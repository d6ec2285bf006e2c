package enrich

import (
	"bytes"
	"strconv"
	"strings"
	"testing"

	"github.com/metiva-io/metiva/pkg/seal"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/eventwire"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

func captured(visitor, subject []byte) *metivav1.CollectedEvent {
	e := validEvent()
	e.Type, e.Consent, e.VisitorId = metivav1.EventType_EVENT_TYPE_FORM, identified, visitor
	e.Detail = &metivav1.CollectedEvent_FormCapture{FormCapture: &metivav1.FormCapture{
		FormId: "contact", SubjectId: subject, ConsentRecordId: bytes.Repeat([]byte{8}, 16),
		SealedFields: map[string][]byte{"email": bytes.Repeat([]byte("s"), seal.Overhead+1)},
	}}
	return e
}

func TestCaptureEnvelope(t *testing.T) {
	t.Parallel()
	subject := bytes.Repeat([]byte{7}, 16)
	fields := func(n, nameBytes, sealedBytes int) map[string][]byte {
		out := map[string][]byte{}
		for i := range n {
			name := strconv.Itoa(i)
			out[name+strings.Repeat("n", nameBytes-len(name))] = make([]byte, sealedBytes)
		}
		return out
	}
	check := func(e *metivav1.CollectedEvent) bool { return decode(new(eventwire.Collected), encoded(t, e)) }
	largest := captured(nil, subject)
	largest.GetFormCapture().SealedFields = fields(15, schemas.FormFieldNameBytesMax, schemas.FormFieldBytesMax+seal.Overhead)
	if size := len(encoded(t, largest)); size < schemas.RecordBytesMax || size > schemas.CaptureBytesMax {
		t.Fatalf("the large capture has %d bytes", size)
	}
	for name, e := range map[string]*metivav1.CollectedEvent{"receipt": captured(nil, subject), "visitor": captured(subject, subject), "large": largest} {
		if !check(e) {
			t.Errorf("%s: refused", name)
		}
	}
	for name, change := range map[string]func(*metivav1.CollectedEvent, *metivav1.FormCapture){
		"another visitor":   func(e *metivav1.CollectedEvent, _ *metivav1.FormCapture) { e.VisitorId = bytes.Repeat([]byte{6}, 16) },
		"half a visitor":    func(e *metivav1.CollectedEvent, _ *metivav1.FormCapture) { e.VisitorId = subject[:8] },
		"no subject":        func(_ *metivav1.CollectedEvent, c *metivav1.FormCapture) { c.SubjectId = nil },
		"no consent record": func(_ *metivav1.CollectedEvent, c *metivav1.FormCapture) { c.ConsentRecordId = nil },
		"no form":           func(_ *metivav1.CollectedEvent, c *metivav1.FormCapture) { c.FormId = "" },
		"form":              func(_ *metivav1.CollectedEvent, c *metivav1.FormCapture) { c.FormId = "a b" },
		"no fields":         func(_ *metivav1.CollectedEvent, c *metivav1.FormCapture) { c.SealedFields = nil },
		"fields": func(_ *metivav1.CollectedEvent, c *metivav1.FormCapture) {
			c.SealedFields = fields(schemas.FormFieldsMax+1, 8, 60)
		},
		"name": func(_ *metivav1.CollectedEvent, c *metivav1.FormCapture) {
			c.SealedFields = fields(1, schemas.FormFieldNameBytesMax+1, 60)
		},
		"empty value": func(_ *metivav1.CollectedEvent, c *metivav1.FormCapture) {
			c.SealedFields = fields(1, 8, seal.Overhead)
		},
		"long value": func(_ *metivav1.CollectedEvent, c *metivav1.FormCapture) {
			c.SealedFields = fields(1, 8, schemas.FormFieldBytesMax+seal.Overhead+1)
		},
		"too large": func(_ *metivav1.CollectedEvent, c *metivav1.FormCapture) {
			c.SealedFields = fields(16, 8, schemas.FormFieldBytesMax)
		},
		"analytics": func(e *metivav1.CollectedEvent, _ *metivav1.FormCapture) { e.Consent, e.VisitorId = granted, subject },
		"denied": func(e *metivav1.CollectedEvent, _ *metivav1.FormCapture) {
			e.Consent = metivav1.ConsentState_CONSENT_STATE_DENIED
		},
		"page view": func(e *metivav1.CollectedEvent, _ *metivav1.FormCapture) {
			e.Type = metivav1.EventType_EVENT_TYPE_PAGE_VIEW
		},
		"no capture": func(e *metivav1.CollectedEvent, _ *metivav1.FormCapture) { e.Detail = nil },
	} {
		e := captured(nil, subject)
		change(e, e.GetFormCapture())
		if check(e) {
			t.Errorf("%s: accepted", name)
		}
	}
	// Only a capture may be larger than other events.
	long := validEvent()
	long.ProtoReflect().SetUnknown(append([]byte{0xfa, 0x07, 0xff, 0x7f}, make([]byte, 0x3fff)...))
	if check(long) {
		t.Error("a page view as large as a capture was accepted")
	}
}

// TestCaptureOfAnErasedSubject: the subject of a capture without a visitor id is
// looked for among those erased and withdrawn too.
func TestCaptureOfAnErasedSubject(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, p, _ := w.ready(nil)
	w.goRun(p.w.keyTable.Run)
	<-p.w.keyTable.Ready()
	kept, erased, withdrawn := random(16), random(16), random(16)
	if err := p.w.revocations.ApplyErasure([]byte("k"), encoded(t, &metivav1.Erasure{CompanyId: tenant, SubjectId: erased, ErasedAtMs: 1})); err != nil {
		t.Fatal(err)
	}
	if err := p.w.revocations.ApplyWithdrawal([]byte("k"), encoded(t, &metivav1.Withdrawal{CompanyId: tenant, SubjectId: withdrawn, Sequence: 1 << 60})); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		subject []byte
		want    metivav1.Reason
	}{"kept": {kept, 0}, "erased": {erased, metivav1.Reason_REASON_ERASED}, "withdrawn": {withdrawn, metivav1.Reason_REASON_WITHDRAWN}} {
		e := w.event(ingAddr, agent, func(e *metivav1.CollectedEvent) {
			e.Type, e.Consent, e.Detail = metivav1.EventType_EVENT_TYPE_FORM, identified, captured(nil, c.subject).GetDetail()
		})
		w.sealForm(e, map[string]string{"email": "a@b.nl"})
		out, err := p.enrichOne(t, e)
		if (out.capture != nil) != (c.want == 0) {
			t.Errorf("%s: capture %v", name, out.capture)
		}
		if err != nil || out.record.GetDrop().GetReason() != c.want || (out.record.GetEvent() != nil) != (c.want == 0) {
			t.Errorf("%s: %v, %v", name, out.record, err)
		}
		if e := out.record.GetEvent(); e != nil && (len(e.GetVisitorId()) != 0 || e.GetType() != metivav1.EventType_EVENT_TYPE_FORM || bytes.Contains(encoded(t, e), c.subject)) {
			t.Errorf("the row says %v", e)
		}
	}
}
