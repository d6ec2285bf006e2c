package seal

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"
)

// subjectKeyLifetime is how long a subject key may seal: it is made for one
// capture, which is sealed at once.
const subjectKeyLifetime = 10 * time.Minute

// SubjectKey seals the form values of one capture of one subject. Destroying
// the subject's keys makes them unreadable. It is safe for concurrent use, and
// prints as ***.
type SubjectKey struct {
	sealer    *Sealer
	companyID string
	subjectID [16]byte
	key       atomic.Pointer[dataKey]
}

// NewSubjectKey makes a fresh key for one capture of a subject, wraps it and
// publishes it; it returns when the publication is acknowledged. ErrBinding
// means that tenant or subject is missing or cannot name a record. Call Forget
// once the capture is sealed.
func (s *Sealer) NewSubjectKey(ctx context.Context, companyID string, subjectID [16]byte) (*SubjectKey, error) {
	if companyID == "" || strings.Contains(companyID, "/") || subjectID == [16]byte{} {
		return nil, ErrBinding
	}
	now := s.now().UTC()
	key, rec, err := s.newKey(companyID, subjectID[:], now, now.Add(subjectKeyLifetime))
	if err != nil {
		return nil, err
	}
	if err := s.publish(ctx, rec); err != nil {
		return nil, fmt.Errorf("publishing subject key: %w", err)
	}
	k := &SubjectKey{sealer: s, companyID: companyID, subjectID: subjectID}
	k.key.Store(key)
	return k, nil
}

// SealField appends a form's value, sealed, to dst: Overhead more bytes. The
// binding names the key's tenant and subject and a FormField: ErrField or
// ErrBinding otherwise. ErrNoKey means the key was forgotten or is older than
// ten minutes. It does not allocate when dst has the capacity. Plaintext must
// not overlap dst.
func (k *SubjectKey) SealField(dst []byte, b Binding, plaintext []byte) ([]byte, error) {
	if !b.ofForm() {
		return dst, ErrField
	}
	if b.CompanyID != k.companyID || b.SubjectID != k.subjectID {
		return dst, ErrBinding
	}
	key := k.key.Load()
	if !k.sealer.usable(key) {
		return dst, ErrNoKey
	}
	return k.sealer.sealUnder(key, dst, &b, plaintext)
}

// Forget drops the key; nothing can be sealed with it, or opened in this
// process, from then on. Its bytes were cleared when it was made; the cipher
// made from them is left to the garbage collector.
func (k *SubjectKey) Forget() { k.key.Store(nil) }

// Format prints *** for every verb.
func (k *SubjectKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// LogValue prints ***.
func (k *SubjectKey) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalText prints ***.
func (k *SubjectKey) MarshalText() ([]byte, error) { return []byte(hidden), nil }
