package enrich

import (
	"bytes"

	"github.com/metiva-io/metiva/pkg/seal"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// isCapture checks a capture's own rules: a form, a subject who is the visitor if
// there is one, a consent record, and sealed fields within their limits. Nothing
// of it is opened here, and nothing becomes part of the event's row.
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
