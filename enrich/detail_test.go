package enrich

import (
	"bytes"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/eventwire"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

const (
	granted    = metivav1.ConsentState_CONSENT_STATE_ANALYTICS
	identified = metivav1.ConsentState_CONSENT_STATE_IDENTIFIED
)

// described is a change for each kind of detail, by name.
func described() map[string]func(*metivav1.CollectedEvent) {
	return map[string]func(*metivav1.CollectedEvent){
		"engagement": func(e *metivav1.CollectedEvent) {
			e.Type = metivav1.EventType_EVENT_TYPE_ENGAGEMENT
			e.Detail = &metivav1.CollectedEvent_Engagement{Engagement: &metivav1.Engagement{VisibleMs: 61000, ScrollPercent: 80}}
		},
		"click": func(e *metivav1.CollectedEvent) {
			e.Type = metivav1.EventType_EVENT_TYPE_CLICK
			e.Detail = &metivav1.CollectedEvent_Click{Click: &metivav1.Click{Kind: metivav1.ClickKind_CLICK_KIND_DOWNLOAD, TargetHost: "example.nl", TargetPath: "/a.pdf"}}
		},
		"form": func(e *metivav1.CollectedEvent) {
			e.Type = metivav1.EventType_EVENT_TYPE_FORM
			e.Detail = &metivav1.CollectedEvent_FormAction{FormAction: &metivav1.FormAction{Kind: metivav1.FormActionKind_FORM_ACTION_KIND_START, FormId: "contact"}}
		},
		"custom": func(e *metivav1.CollectedEvent) {
			e.Type = metivav1.EventType_EVENT_TYPE_CUSTOM
			e.Detail = &metivav1.CollectedEvent_Custom{Custom: &metivav1.CustomEvent{Name: "calculated", Properties: map[string]string{"plan": "Pro"}}}
		},
		"capture": func(e *metivav1.CollectedEvent) {
			e.Type = metivav1.EventType_EVENT_TYPE_FORM
			e.Detail = &metivav1.CollectedEvent_FormCapture{FormCapture: &metivav1.FormCapture{
				FormId: "contact", SubjectId: bytes.Repeat([]byte{3}, 16), ConsentRecordId: bytes.Repeat([]byte{8}, 16), SealedFields: map[string][]byte{"email": bytes.Repeat([]byte("CanarySealed"), 4)},
			}}
		},
	}
}

// inState gives the event a consent, and the visitor id that belongs to it.
func inState(e *metivav1.CollectedEvent, state metivav1.ConsentState) {
	e.Consent, e.VisitorId = state, nil
	if state == granted || state == identified {
		e.VisitorId = bytes.Repeat([]byte{3}, 16)
	}
}

// TestADetailNeedsItsConsent: every detail in every state, with every type.
func TestADetailNeedsItsConsent(t *testing.T) {
	t.Parallel()
	valid := map[string]metivav1.ConsentState{"engagement": granted, "click": granted, "form": granted, "custom": granted, "capture": identified}
	for name, describe := range described() {
		for number := range metivav1.ConsentState_name {
			for kind := range metivav1.EventType_name {
				e := validEvent()
				describe(e)
				own := e.GetType()
				inState(e, metivav1.ConsentState(number))
				e.Type = metivav1.EventType(kind)
				value, err := proto.Marshal(e)
				if err != nil {
					t.Fatal(err)
				}
				want := e.GetConsent() == valid[name] && e.GetType() == own
				if got := decode(new(eventwire.Collected), value); got != want {
					t.Errorf("%s as %v under %v: valid is %t", name, e.GetType(), e.GetConsent(), got)
				}
			}
		}
	}
	for _, state := range []metivav1.ConsentState{metivav1.ConsentState_CONSENT_STATE_DENIED, metivav1.ConsentState_CONSENT_STATE_WITHDRAWN, granted, identified} {
		e := validEvent()
		inState(e, state)
		value, err := proto.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		if !decode(new(eventwire.Collected), value) {
			t.Errorf("a page view under %v is refused", state)
		}
	}
}

// TestDetailsThroughTheSteps: each detail arrives as it was collected, a capture
// without what was captured, and none survives its visitor's withdrawal.
func TestDetailsThroughTheSteps(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	worker, _, view := w.ready(nil)
	w.goRun(worker.keyTable.Run)
	gone := random(16)
	revoked := encoded(t, &metivav1.Withdrawal{CompanyId: tenant, SubjectId: gone, Sequence: 3})
	if err := worker.steps.revocations.ApplyWithdrawal([]byte("k"), revoked); err != nil {
		t.Fatal(err)
	}
	sc := newScratch()
	enriched := func(e *metivav1.CollectedEvent) outcome {
		t.Helper()
		if err := worker.keyTable.CatchUp(t.Context()); err != nil {
			t.Fatal(err)
		}
		out, err := worker.steps.enrich(sc, view, encoded(t, e), &metivav1.SourceRef{Partition: 1, Offset: 2})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	for name, describe := range described() {
		of := func(visitor []byte) *metivav1.CollectedEvent {
			return w.event(ingAddr, agent, func(e *metivav1.CollectedEvent) {
				describe(e)
				e.Consent, e.VisitorId, e.ConsentSeq = granted, visitor, 3
				if c := e.GetFormCapture(); c != nil {
					e.Consent, c.SubjectId = identified, visitor
				}
			})
		}
		e := of(random(16))
		if e.GetFormCapture() != nil {
			w.sealForm(e, map[string]string{"email": "CanarySealed@example.nl"})
		}
		got := enriched(e).record.GetEvent()
		if got == nil || !schemas.DetailFits(got) || got.GetType() != e.GetType() ||
			!proto.Equal(got.GetEngagement(), e.GetEngagement()) || !proto.Equal(got.GetClick(), e.GetClick()) || !proto.Equal(got.GetCustom(), e.GetCustom()) ||
			e.GetFormAction() != nil && !proto.Equal(got.GetFormAction(), e.GetFormAction()) {
			t.Errorf("%s: got %v", name, got)
		}
		if name == "capture" && (bytes.Contains(encoded(t, got), e.GetFormCapture().GetSealedFields()["email"]) || got.GetFormAction().GetFormId() != "contact" || bytes.Contains(encoded(t, got), []byte("CanarySealed"))) {
			t.Errorf("a capture left %v", got)
		}
		out := enriched(of(gone))
		if d := out.record.GetDrop(); d.GetReason() != metivav1.Reason_REASON_WITHDRAWN || out.dead {
			t.Errorf("%s of a visitor who withdrew: %v, dead letter %t", name, out.record, out.dead)
		}
	}
}

func encoded(t *testing.T, m proto.Message) []byte {
	t.Helper()
	value, err := schemas.Encode(nil, m)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// TestCopiesOfOneAcceptance: the copy a collector sends from its spool names the
// same acceptance, whatever becomes of either; the client's own repetition another.
func TestCopiesOfOneAcceptance(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, p, _ := w.ready(nil)
	w.goRun(p.w.keyTable.Run)
	<-p.w.keyTable.Ready()
	for name, change := range map[string]func(*metivav1.CollectedEvent){
		"event":   nil,
		"erased":  func(e *metivav1.CollectedEvent) { e.CompanyId = "cmp_erased" },
		"invalid": func(e *metivav1.CollectedEvent) { e.Path = "/?q" },
	} {
		first := w.event(ingAddr, agent, change)
		copied := proto.Clone(first).(*metivav1.CollectedEvent)
		copied.Replayed = true
		again := w.event(ingAddr, agent, func(e *metivav1.CollectedEvent) {
			if change != nil {
				change(e)
			}
			e.EventId = first.GetEventId()
		})
		if name == "erased" {
			if err := p.w.revocations.ApplyErasure([]byte("cmp_erased"), encoded(t, &metivav1.Erasure{CompanyId: "cmp_erased", ErasedAtMs: 1})); err != nil {
				t.Fatal(err)
			}
		}
		ids := make([]string, 3)
		for i, e := range []*metivav1.CollectedEvent{first, copied, again} {
			out, err := p.enrichOne(t, e)
			if err != nil {
				t.Fatal(err)
			}
			id, replayed := out.record.GetEvent().GetAcceptanceId(), out.record.GetEvent().GetReplayed()
			if d := out.record.GetDrop(); d != nil {
				id, replayed = d.GetAcceptanceId(), d.GetReplayed()
			}
			if len(id) != schemas.IDBytes || replayed != (i == 1) || (out.record.GetEvent() != nil) != (name == "event") {
				t.Errorf("%s %d: %v", name, i, out.record)
			}
			ids[i] = string(id)
		}
		if ids[0] != ids[1] || ids[0] == ids[2] {
			t.Errorf("%s: acceptances %x", name, ids)
		}
	}
	if d := dropOf(&metivav1.CollectedEvent{}, &metivav1.SourceRef{}, metivav1.Reason_REASON_INVALID_RECORD); d.GetAcceptanceId() != nil {
		t.Errorf("a record without an address has the acceptance %x", d.GetAcceptanceId())
	}
}

// enrichOne runs the steps on one event as if it were on events.collected.
func (p *partition) enrichOne(t *testing.T, e *metivav1.CollectedEvent) (outcome, error) {
	t.Helper()
	if err := p.w.keyTable.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	view, err := p.w.deps.Databases.View()
	if err != nil {
		t.Fatal(err)
	}
	defer view.Release()
	r := kafka.Record{Topic: schemas.TopicEventsCollected, Value: encoded(t, e)}
	return p.guarded(view, &r, &metivav1.SourceRef{})
}
