package seal

import (
	"crypto/hpke"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/metiva-io/metiva/schemas/metivav1"
)

// HPKE (RFC 9180) with the post-quantum hybrid MLKEM768-X25519, HKDF-SHA256 and
// AES-256-GCM wraps data keys and salts.
func kem() hpke.KEM { return hpke.MLKEM768X25519() }

const (
	keyBytes  = 32 // AES-256
	saltBytes = 32
)

// PublicKey is what keys are wrapped to: the resolver's or the edge's.
type PublicKey struct {
	key hpke.PublicKey
	id  [8]byte
}

// ID names the key: the first 8 bytes of its SHA-256.
func (k PublicKey) ID() [8]byte { return k.id }

// IsZero reports whether there is no key.
func (k PublicKey) IsZero() bool { return k.key == nil }

func publicKeyOf(key hpke.PublicKey) PublicKey {
	sum := sha256.Sum256(key.Bytes())
	return PublicKey{key: key, id: [8]byte(sum[:8])}
}

func parsePublicKey(raw []byte) (PublicKey, error) {
	key, err := kem().NewPublicKey(raw)
	if err != nil {
		return PublicKey{}, errors.New("not an MLKEM768-X25519 public key")
	}
	return publicKeyOf(key), nil
}

func (k PublicKey) wrap(info, plain []byte) ([]byte, error) {
	if k.IsZero() {
		return nil, errors.New("seal: no public key")
	}
	return hpke.Seal(k.key, hpke.HKDFSHA256(), hpke.AES256GCM(), info, plain)
}

// PrivateKey opens what was wrapped to its public key. It prints as ***.
type PrivateKey struct {
	key veiled[hpke.PrivateKey]
	pub PublicKey
}

// Public is the key to wrap to.
func (k PrivateKey) Public() PublicKey { return k.pub }

// IsZero reports whether there is no key.
func (k PrivateKey) IsZero() bool { return k.key.get() == nil }

// Format prints *** for every verb.
func (k PrivateKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// LogValue prints ***.
func (k PrivateKey) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalText prints ***.
func (k PrivateKey) MarshalText() ([]byte, error) { return []byte(hidden), nil }

func parsePrivateKey(raw []byte) (PrivateKey, error) {
	key, err := kem().NewPrivateKey(raw)
	if err != nil {
		return PrivateKey{}, errors.New("not an MLKEM768-X25519 private key")
	}
	return PrivateKey{key: veilOf(key), pub: publicKeyOf(key.PublicKey())}, nil
}

func (k PrivateKey) unwrap(info, wrapped []byte) ([]byte, error) {
	if k.IsZero() {
		return nil, errors.New("seal: no private key")
	}
	return hpke.Open(*k.key.get(), hpke.HKDFSHA256(), hpke.AES256GCM(), info, wrapped)
}

// dataKeyInfo binds a wrapped data key to everything its record says. The key
// of a subject has a label of its own: it never opens as a day's key.
func dataKeyInfo(rec *metivav1.DataKey) []byte {
	info := appendPart(nil, "metiva data key v1")
	if len(rec.GetSubjectId()) > 0 {
		info = appendPart(appendPart(nil, "metiva subject key v1"), rec.GetSubjectId())
	}
	info = binary.BigEndian.AppendUint64(info, rec.GetKeyId())
	info = appendPart(info, rec.GetCompanyId())
	info = appendPart(info, rec.GetWriterId())
	info = binary.BigEndian.AppendUint64(info, uint64(rec.GetNotBeforeMs()))
	return binary.BigEndian.AppendUint64(info, uint64(rec.GetNotAfterMs()))
}

func saltInfo(companyID, day string) []byte {
	info := appendPart(nil, "metiva visit salt v1")
	info = appendPart(info, companyID)
	return appendPart(info, day)
}

// WrapSalt wraps a visit salt to the collectors' public key. Day is a UTC day,
// 2006-01-02. The wrapping opens for this company and day only.
func WrapSalt(edge PublicKey, companyID, day string, salt [32]byte) (*metivav1.VisitSalt, error) {
	wrapped, err := edge.wrap(saltInfo(companyID, day), salt[:])
	if err != nil {
		return nil, fmt.Errorf("wrapping visit salt: %w", err)
	}
	id := edge.ID()
	return &metivav1.VisitSalt{CompanyId: companyID, Day: day, Wrapped: wrapped, RecipientId: id[:]}, nil
}

// OpenSalt opens a visit salt with the collectors' private key. ErrUnknownKey
// means it is wrapped to another key, ErrTampered that it was changed.
func OpenSalt(edge PrivateKey, rec *metivav1.VisitSalt) ([32]byte, error) {
	if id := edge.Public().ID(); edge.IsZero() || string(rec.GetRecipientId()) != string(id[:]) {
		return [32]byte{}, ErrUnknownKey
	}
	plain, err := edge.unwrap(saltInfo(rec.GetCompanyId(), rec.GetDay()), rec.GetWrapped())
	if err != nil || len(plain) != saltBytes {
		return [32]byte{}, ErrTampered
	}
	return [32]byte(plain), nil
}
