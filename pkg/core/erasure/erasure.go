package erasure

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/metiva-io/metiva/pkg/core/analytics"
	"github.com/metiva-io/metiva/pkg/core/registry"
	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/pkg/tenant"
	"github.com/metiva-io/metiva/schemas"
)

// Kind is what is erased.
type Kind string

// The kinds. A contact is a visitor of whom forms were captured; what is done is the
// same, and which word was used stands in the certificate.
const (
	Visitor Kind = "visitor"
	Contact Kind = "contact"
	Tenant  Kind = "tenant"
)

// Subject is who is erased. ID is zero for a tenant.
type Subject struct {
	Kind Kind
	ID   [schemas.IDBytes]byte
}

var (
	// ErrInvalid is returned for a subject that is none.
	ErrInvalid = errors.New("invalid subject of an erasure")
	// ErrHasClients is returned for an agency's tenant while the agency has others.
	ErrHasClients = errors.New("the agency has clients that are not erased")
	// ErrRowsRemain is returned when rows keep coming while they are deleted.
	ErrRowsRemain = errors.New("rows of the erased subject keep appearing")
	// ErrNotFound is returned for an erasure that was never asked for.
	ErrNotFound = errors.New("no such erasure")
)

func (s Subject) validate() error {
	zero := s.ID == [schemas.IDBytes]byte{}
	switch s.Kind {
	case Tenant:
		if !zero {
			return fmt.Errorf("%w: a tenant has no subject id", ErrInvalid)
		}
	case Visitor, Contact:
		if zero {
			return fmt.Errorf("%w: the id is zero, which is every visitor without consent", ErrInvalid)
		}
	default:
		return fmt.Errorf("%w: unknown kind", ErrInvalid)
	}
	return nil
}

// bytes is the subject id as records carry it: none for a tenant.
func (s Subject) bytes() []byte {
	if s.Kind == Tenant {
		return []byte{}
	}
	return s.ID[:]
}

// State is the step that was finished last.
type State string

// The states, in order.
const (
	Requested     State = "requested"
	Tombstoned    State = "tombstoned"
	KeysDestroyed State = "keys_destroyed"
	RowsDeleted   State = "rows_deleted"
	Verified      State = "verified"
	Certified     State = "certified"
)

// Erasure is one erasure as it stands.
type Erasure struct {
	ID          string    `json:"id"`
	CompanyID   string    `json:"company_id"`
	Kind        Kind      `json:"kind"`
	State       State     `json:"state"`
	Round       int       `json:"round"`
	RequestedBy string    `json:"requested_by"`
	RequestedAt time.Time `json:"requested_at"`
	// ErasedAt is the moment on the tombstone.
	ErasedAt time.Time `json:"erased_at"`
	// Found counts what was found over all rounds, by "clickhouse.<table>",
	// "postgres.<table>", "kafka.<topic>" and "keys". What an attempt has counted and not
	// yet deleted is in it.
	Found map[string]uint64 `json:"found"`
	// Certificate is set once State is Certified.
	Certificate json.RawMessage `json:"certificate,omitempty"`

	subject Subject
	// before is Found when the round began, reopened when a later one did.
	before   map[string]uint64
	reopened time.Time
}

// Since is when the round was asked for.
func (e *Erasure) Since() time.Time {
	if e.Round > 1 && !e.reopened.IsZero() {
		return e.reopened
	}
	return e.RequestedAt
}

// Subject is who was erased.
func (e Erasure) Subject() Subject { return e.subject }

// Config is what an Eraser works with. All but Settle and Signer are needed.
type Config struct {
	Pool     *tenant.Pool
	Worker   *tenant.Worker
	Registry *registry.Store
	// Client and Producer reach Kafka; the producer runs.
	Client   *kafka.Client
	Producer *kafka.Producer
	// Rows makes the eraser of ClickHouse's rows (analytics.NewEraser).
	Rows func(claim analytics.VerifiedTenant, visitorID []byte) (Rows, error)
	// Settle returns once the sinks have written what was on its way before the
	// tombstone (Settled); nil does not wait.
	Settle func(ctx context.Context) error
	// Signer signs certificates; without one no erasure gets beyond Verified.
	Signer Signer
	Log    *slog.Logger
	Now    func() time.Time
}

// Rows counts and deletes rows of ClickHouse (analytics.Eraser).
type Rows interface {
	Count(ctx context.Context) (map[string]uint64, error)
	MarkDropped(ctx context.Context) error
	// Begun are the tables in which deletions with the mark were begun.
	Begun(ctx context.Context, mark string) (map[string]bool, error)
	Delete(ctx context.Context, since time.Time, mark string) error
	Proof(ctx context.Context) (analytics.Proof, error)
}

// Validate reports every part that is missing.
func (c Config) Validate() error {
	var faults []error
	for name, missing := range map[string]bool{
		"Pool": c.Pool == nil, "Worker": c.Worker == nil, "Registry": c.Registry == nil, "Client": c.Client == nil,
		"Producer": c.Producer == nil, "Rows": c.Rows == nil, "Log": c.Log == nil, "Now": c.Now == nil,
	} {
		if missing {
			faults = append(faults, fmt.Errorf("an eraser needs %s", name))
		}
	}
	return errors.Join(faults...)
}

// Eraser erases. It keeps nothing between two erasures; several may run. Of one subject
// one works at a time, and where the lock between them is lost, no harm is done.
type Eraser struct {
	cfg Config
	// probe is called between and inside steps; a test ends the work there.
	probe func(point string) error
}

// New makes an eraser.
func New(cfg Config) (*Eraser, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Eraser{cfg: cfg, probe: func(string) error { return nil }}, nil
}

// ErrNoSigner is returned by Erase without a key to sign the certificate with.
var ErrNoSigner = errors.New("there is no key to sign a certificate with")

// Erase erases the subject, or goes on with an erasure of it that was interrupted, and
// returns it certified. It waits while another process is at work on it. An error leaves
// it where it was: call Erase again.
func (e *Eraser) Erase(ctx context.Context, claim tenant.Claim, subject Subject) (Erasure, error) {
	if e.cfg.Signer.IsZero() {
		return Erasure{}, ErrNoSigner
	}
	if err := subject.validate(); err != nil {
		return Erasure{}, err
	}
	if subject.Kind == Tenant {
		if err := e.closeAgency(ctx, claim); err != nil {
			return Erasure{}, err
		}
	}
	w, err := e.ask(ctx, claim, subject)
	if err != nil {
		return Erasure{}, err
	}
	release, err := e.cfg.Worker.Lock(ctx, lockNumber(w.is.ID))
	if err != nil {
		return w.is, err
	}
	defer release()
	return w.finish(ctx, w.remains)
}

// Resume goes on with an erasure that was interrupted, and looks at the rows of one that
// is certified again. It asks for none, and does not wait: tenant.ErrLocked when another
// process is at work on it. Without a Signer it ends at Verified.
func (e *Eraser) Resume(ctx context.Context, claim tenant.Claim, is Erasure) (Erasure, error) {
	release, err := e.cfg.Worker.TryLock(ctx, lockNumber(is.ID))
	if err != nil {
		return is, err
	}
	defer release()
	rows, err := e.cfg.Rows(claim, is.subject.bytes())
	if err != nil {
		return is, err
	}
	w := &work{e: e, claim: claim, rows: rows, is: is}
	return w.finish(ctx, w.left)
}

// lockNumber is the lock of one erasure.
func lockNumber(id string) int64 {
	sum := sha256.Sum256([]byte("metiva erasure " + id))
	return int64(binary.BigEndian.Uint64(sum[:]))
}

// finish takes the steps that are left. One that is certified begins anew when there is
// something to erase.
func (w *work) finish(ctx context.Context, anything func(context.Context) (uint64, error)) (Erasure, error) {
	err := w.load(ctx, w.is.ID, nil)
	if err == nil && w.is.State == Certified {
		err = w.reopen(ctx, anything)
	}
	if err != nil {
		return w.is, err
	}
	if err := w.run(ctx); err != nil {
		return w.is, fmt.Errorf("erasing (%s is %s): %w", w.is.ID, w.is.State, err)
	}
	return w.is, nil
}

// verifyRounds is how often rows that came while others were deleted are deleted again.
const verifyRounds = 3

// work is one erasure at work.
type work struct {
	e     *Eraser
	claim tenant.Claim
	rows  Rows
	is    Erasure
}

// run takes the steps that are left.
func (w *work) run(ctx context.Context) error {
	deleted := 0
	for w.is.State != Certified && (w.is.State != Verified || !w.e.cfg.Signer.IsZero()) {
		if err := w.e.probe("after " + string(w.is.State)); err != nil {
			return err
		}
		var err error
		switch w.is.State {
		case Requested:
			err = w.tombstone(ctx)
		case Tombstoned:
			err = w.destroyKeys(ctx)
		case KeysDestroyed:
			if deleted++; deleted > verifyRounds {
				return ErrRowsRemain
			}
			err = w.deleteRows(ctx)
		case RowsDeleted:
			err = w.verify(ctx)
		case Verified:
			err = w.certify(ctx)
		default:
			err = fmt.Errorf("unknown state %q", w.is.State)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// deleteRows waits for what is on its way, counts what is there, and deletes it.
func (w *work) deleteRows(ctx context.Context) error {
	if w.e.cfg.Settle != nil {
		if err := w.e.cfg.Settle(ctx); err != nil {
			return err
		}
	}
	pass, err := w.beginPass(ctx)
	if err != nil {
		return err
	}
	for _, step := range []struct {
		point string
		do    func(context.Context) error
	}{
		{"rows counted", w.rows.MarkDropped},
		{"events marked", func(ctx context.Context) error { return w.rows.Delete(ctx, w.is.Since(), pass) }},
		{"clickhouse rows deleted", w.endPass},
		{"pass ended", w.sweepTopics},
		{"topics swept", w.deleteTenant},
	} {
		if err := w.e.probe(step.point); err != nil {
			return err
		}
		if err := step.do(ctx); err != nil {
			return err
		}
	}
	return w.advance(ctx, RowsDeleted)
}

// verify goes on when nothing is left, and back when something came.
func (w *work) verify(ctx context.Context) error {
	left, err := w.left(ctx)
	if err != nil {
		return err
	}
	if left > 0 {
		w.e.cfg.Log.Warn("rows came while they were deleted, deleting again", "erasure", w.is.ID, "rows", left)
		return w.advance(ctx, KeysDestroyed)
	}
	if _, err := w.proof(ctx); err != nil {
		return err
	}
	return w.advance(ctx, Verified)
}

// openMax is how long a deletion may be under way that another process began, here or
// before a crash.
const openMax = 2 * time.Minute

// proof waits for deletions that are under way.
func (w *work) proof(ctx context.Context) (analytics.Proof, error) {
	waiting, cancel := context.WithTimeout(ctx, openMax)
	defer cancel()
	for {
		p, err := w.rows.Proof(ctx)
		if !errors.Is(err, analytics.ErrMutations) || pause(waiting, pollEvery) != nil {
			return p, err
		}
	}
}
