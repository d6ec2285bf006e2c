package reveal

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/metiva-io/metiva/pkg/seal"
	"github.com/metiva-io/metiva/pkg/secret"
)

var (
	// ErrDenied means there was no right to see the value; nothing was opened.
	ErrDenied = errors.New("reveal: denied")
	// ErrNotAudited means the audit did not take the record; nothing was opened.
	ErrNotAudited = errors.New("reveal: not recorded")
)

// denialAuditMax is how long the record of a denial or a failure may take; the
// person who asked may have hung up.
const denialAuditMax = 10 * time.Second

// Opener opens sealed values (seal.Opener).
type Opener interface {
	OpenAddress(b seal.Binding, blob []byte) (seal.Truncated, error)
	OpenBytes(dst []byte, b seal.Binding, blob []byte) ([]byte, error)
	OpenField(dst []byte, b seal.Binding, blob []byte) ([]byte, error)
}

// Config is what a Revealer needs; every part must be set.
type Config struct {
	Opener Opener
	Audit  Audit
	Now    func() time.Time
}

// Validate reports every part that is missing.
func (c Config) Validate() error {
	var faults []error
	if c.Opener == nil {
		faults = append(faults, errors.New("reveal: there is no opener"))
	}
	if c.Audit == nil {
		faults = append(faults, errors.New("reveal: there is no audit"))
	}
	if c.Now == nil {
		faults = append(faults, errors.New("reveal: there is no clock"))
	}
	return errors.Join(faults...)
}

// Revealer opens sealed values for people. It is safe for concurrent use.
type Revealer struct{ cfg Config }

// New returns a Revealer.
func New(cfg Config) (*Revealer, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Revealer{cfg}, nil
}

// Request names one sealed value of the grant's tenant.
type Request struct {
	SiteID    string
	EventID   [16]byte
	SubjectID [16]byte // of a form's value; zero otherwise
	Field     string   // as in seal.Binding
	Sealed    []byte
	// Reason is why the person needs to see it, in their words.
	Reason string
}

// Validate reports every fault.
func (r Request) Validate() error {
	faults := []error{checkText("site", r.SiteID, IDTextBytesMax), checkText("reason", r.Reason, ReasonBytesMax), r.checkField()}
	if r.EventID == [16]byte{} {
		faults = append(faults, errors.New("reveal: the event is missing"))
	}
	if (ClassOf(r.Field) == ClassForm) == (r.SubjectID == [16]byte{}) {
		faults = append(faults, errors.New("reveal: a form's value has a subject, and no other value has"))
	}
	if len(r.Sealed) == 0 {
		faults = append(faults, errors.New("reveal: there is no sealed value"))
	}
	return errors.Join(faults...)
}

func (r Request) checkField() error {
	if ClassOf(r.Field) == "" {
		return errors.New("reveal: there is no such field")
	}
	return checkText("field", r.Field, FieldBytesMax)
}

// Reveal opens one value once the audit has recorded it. The error is ErrDenied,
// ErrNotAudited, or seal's ErrShredded, ErrUnknownKey or ErrTampered; the value
// is then empty.
func (r *Revealer) Reveal(ctx context.Context, grant Grant, req Request) (secret.Text, error) {
	entry := r.entry(grant, req)
	fault := req.Validate()
	entry.Cause = grant.standing(entry.At)
	switch {
	case entry.Cause != "":
	case fault != nil:
		entry.Cause = CauseRequest
	default:
		entry.Cause = grant.take(ClassOf(req.Field))
	}
	if entry.Cause != "" {
		entry.Outcome = OutcomeDenied
		return secret.Text{}, errors.Join(fmt.Errorf("%w: %s", ErrDenied, entry.Cause), fault, r.auditAnyway(ctx, entry))
	}
	entry.Outcome = OutcomeGranted
	if err := r.audit(ctx, entry); err != nil {
		return secret.Text{}, err
	}
	value, err := r.open(grant, req)
	if err != nil {
		entry.At, entry.Outcome, entry.Cause = r.cfg.Now(), OutcomeFailed, causeOf(err)
		return secret.Text{}, errors.Join(fmt.Errorf("revealing a value of class %s: %w", ClassOf(req.Field), err), r.auditAnyway(ctx, entry))
	}
	return value, nil
}

// entry is what is known of the attempt. What is not valid stays out: a denial is
// recorded too, and its record is no place to put things.
func (r *Revealer) entry(grant Grant, req Request) Entry {
	e := Entry{At: r.cfg.Now(), EventID: req.EventID, SubjectID: req.SubjectID}
	_, _ = rand.Read(e.ID[:]) // crypto/rand never returns an error
	if grant.left != nil {
		e.CompanyID, e.Actor, e.Role = grant.claim.CompanyID(), grant.claim.Actor(), grant.terms.Role
	}
	if checkText("reason", req.Reason, ReasonBytesMax) == nil {
		e.Reason = req.Reason
	}
	if checkText("site", req.SiteID, IDTextBytesMax) == nil {
		e.SiteID = req.SiteID
	}
	if req.checkField() == nil {
		e.Field = req.Field
	}
	return e
}

func (r *Revealer) audit(ctx context.Context, e Entry) error {
	if err := e.Validate(); err != nil {
		return errors.Join(ErrNotAudited, err)
	}
	if err := r.cfg.Audit(ctx, e); err != nil {
		return fmt.Errorf("%w: %w", ErrNotAudited, err)
	}
	return nil
}

// auditAnyway records what was refused, also when the caller is gone.
func (r *Revealer) auditAnyway(ctx context.Context, e Entry) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), denialAuditMax)
	defer cancel()
	return r.audit(ctx, e)
}

func (r *Revealer) open(grant Grant, req Request) (secret.Text, error) {
	b := seal.Binding{
		CompanyID: grant.claim.CompanyID(), SiteID: req.SiteID,
		EventID: req.EventID, SubjectID: req.SubjectID, Field: req.Field,
	}
	if ClassOf(req.Field) == ClassAddress {
		truncated, err := r.cfg.Opener.OpenAddress(b, req.Sealed)
		if err != nil {
			return secret.Text{}, err
		}
		return secret.New(truncated.Prefix().String()), nil
	}
	open := r.cfg.Opener.OpenBytes
	if ClassOf(req.Field) == ClassForm {
		open = r.cfg.Opener.OpenField
	}
	plain, err := open(nil, b, req.Sealed)
	if err != nil {
		return secret.Text{}, err
	}
	defer clear(plain)
	return secret.New(string(plain)), nil
}

func causeOf(err error) Cause {
	switch {
	case errors.Is(err, seal.ErrShredded):
		return CauseShredded
	case errors.Is(err, seal.ErrUnknownKey):
		return CauseUnknownKey
	case errors.Is(err, seal.ErrTampered):
		return CauseTampered
	}
	return CauseOther
}
