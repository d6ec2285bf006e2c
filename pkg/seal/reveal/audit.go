package reveal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Audit makes an entry durable. It returns nil only when the entry will outlive
// a crash of this process and of its host. It must not keep the entry's memory.
type Audit func(ctx context.Context, e Entry) error

// Outcome is what became of an attempt.
type Outcome string

// Outcomes.
const (
	OutcomeGranted Outcome = "granted"
	OutcomeDenied  Outcome = "denied"
	OutcomeFailed  Outcome = "failed"
)

// Cause is why an attempt was denied or failed.
type Cause string

// Causes: of a denial, then of a failure.
const (
	CauseNoGrant    Cause = "no_grant"
	CauseGrantEnded Cause = "grant_ended"
	CauseGrantSpent Cause = "grant_spent"
	CauseClass      Cause = "class_not_granted"
	CauseRequest    Cause = "invalid_request"

	CauseShredded   Cause = "shredded"
	CauseUnknownKey Cause = "unknown_key"
	CauseTampered   Cause = "tampered"
	CauseOther      Cause = "other"
)

// causesOf are the causes an outcome may have.
func causesOf(o Outcome) []Cause {
	switch o {
	case OutcomeGranted:
		return []Cause{""}
	case OutcomeDenied:
		return []Cause{CauseNoGrant, CauseGrantEnded, CauseGrantSpent, CauseClass, CauseRequest}
	case OutcomeFailed:
		return []Cause{CauseShredded, CauseUnknownKey, CauseTampered, CauseOther}
	}
	return nil
}

// Limits of what a person or a caller writes.
const (
	ReasonBytesMax = 500
	IDTextBytesMax = 80  // site and company ids
	FieldBytesMax  = 100 // "form." and a field name
)

// Entry is one record of the audit.
type Entry struct {
	// ID names the attempt, 16 random bytes. A failed attempt has two entries.
	ID      [16]byte
	At      time.Time
	Outcome Outcome
	Cause   Cause // empty when granted

	// CompanyID, Actor and Role are those of the grant; empty without one.
	CompanyID string
	Actor     string
	Role      string

	Reason    string
	SiteID    string
	EventID   [16]byte
	SubjectID [16]byte // zero for what is not a form's value
	Field     string   // as in seal.Binding
}

// Validate reports every fault of an entry. Only a denial may lack something.
func (e Entry) Validate() error {
	var faults []error
	fault := func(bad bool, text string) {
		if bad {
			faults = append(faults, errors.New("reveal: "+text))
		}
	}
	fault(e.ID == [16]byte{}, "the entry has no id")
	fault(e.At.IsZero(), "the entry has no time")
	fault(!slices.Contains(causesOf(e.Outcome), e.Cause), "the cause does not fit the outcome")
	denied := e.Outcome == OutcomeDenied
	for _, part := range []struct {
		name, text string
		bytesMax   int
	}{
		{"company", e.CompanyID, IDTextBytesMax},
		{"actor", e.Actor, IDTextBytesMax + len("operator:")},
		{"role", e.Role, RoleBytesMax},
		{"reason", e.Reason, ReasonBytesMax},
		{"site", e.SiteID, IDTextBytesMax},
		{"field", e.Field, FieldBytesMax},
	} {
		if part.text != "" || !denied {
			faults = append(faults, checkText(part.name, part.text, part.bytesMax))
		}
	}
	fault(!denied && e.EventID == [16]byte{}, "the entry has no event")
	fault(!denied && (ClassOf(e.Field) == ClassForm) == (e.SubjectID == [16]byte{}), "a form's value has a subject, and no other value has")
	return errors.Join(faults...)
}

// checkText refuses text that is blank, too long, not UTF-8 or holds control
// characters. The error does not hold the text.
func checkText(name, text string, bytesMax int) error {
	switch {
	case strings.TrimSpace(text) == "":
		return fmt.Errorf("reveal: the %s is empty", name)
	case len(text) > bytesMax:
		return fmt.Errorf("reveal: the %s is longer than %d bytes", name, bytesMax)
	case !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl):
		return fmt.Errorf("reveal: the %s holds control characters or is not UTF-8", name)
	}
	return nil
}
