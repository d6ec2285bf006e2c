package enrich

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"

	"github.com/metiva-io/metiva/enrich/person"
	"github.com/metiva-io/metiva/pkg/seal"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// isCapture checks a capture's own rules: a form, a subject who is the visitor if
// there is one, a consent record, and sealed fields within their limits. Nothing
// of it is opened here, and of what is opened later (capture) nothing becomes part of
// the event's row.
func isCapture(c *metivav1.FormCapture, visitorID []byte) bool {
	if !schemas.IsName(c.GetFormId()) || len(c.GetFormId()) > schemas.FormIDBytesMax ||
		len(c.GetSubjectId()) != schemas.IDBytes || len(c.GetConsentRecordId()) != schemas.IDBytes ||
		len(visitorID) > 0 && !bytes.Equal(visitorID, c.GetSubjectId()) ||
		len(c.GetSealedFields()) == 0 || len(c.GetSealedFields()) > schemas.FormFieldsMax {
		return false
	}
	for name, sealed := range c.GetSealedFields() {
		if name == "" || len(name) > schemas.FormFieldNameBytesMax || len(sealed) <= seal.Overhead || len(sealed) > schemas.FormFieldBytesMax+seal.Overhead {
			return false
		}
	}
	return true
}

// subjectOf is whose consent the event rests on: the visitor, or the subject of a
// capture by a visitor who has no id. Nil when it rests on nobody's.
func subjectOf(e *metivav1.CollectedEvent) []byte {
	if len(e.GetVisitorId()) == 0 {
		return e.GetFormCapture().GetSubjectId()
	}
	return e.GetVisitorId()
}

// capture makes the person of a capture; nil for every other event. The reason is why
// there is none after all. What it opened is cleared when it returns.
func (s *steps) capture(sc *scratch, out *metivav1.EnrichedEvent) (*metivav1.Capture, metivav1.Reason) {
	e := &sc.collected.Event
	captured, ok := person.Consented(e)
	if !ok {
		return nil, 0
	}
	if sc.person == nil {
		sc.person = person.NewScratch()
	}
	made, err := s.persons.Capture(sc.person, captured, out)
	if err != nil {
		return nil, reasonOf(err)
	}
	// The steps took their time, and the event may be company level since
	// (applyWithdrawal): a person is only made of what still stands.
	if reason := s.takenBack(e); reason != 0 {
		return nil, reason
	}
	return made, 0
}

// captureKey is the key of a capture's record: of all captures of a subject the same.
func captureKey(c *metivav1.Capture) []byte {
	key := append([]byte(c.GetCompanyId()), '/')
	return hex.AppendEncode(key, c.GetSubjectId())
}

// sendCapture hands a capture to the producer. The batch is committed once it is
// acknowledged, like every other output.
func (p *partition) sendCapture(ctx context.Context, c *metivav1.Capture) error {
	value, err := schemas.Encode(p.encoded[:0], c)
	if err != nil {
		return fmt.Errorf("encoding a capture: %w", errUndecodable)
	}
	p.encoded = value
	key := captureKey(c)
	target, err := p.place(ctx, schemas.TopicCapturesEnriched, key)
	if err != nil {
		return fmt.Errorf("placing a capture: %w", err)
	}
	return p.send(ctx, schemas.TopicCapturesEnriched, target, key, value)
}
