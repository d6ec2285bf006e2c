package seal

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// KeyKeeper encrypts keys for key files and decrypts them. pkg/seal/kms has the
// one whose key never leaves a KMS.
//
// Purpose is the purpose of the key; binding is what the encryption must be bound
// to as associated data, the purpose included.
type KeyKeeper interface {
	EncryptKey(ctx context.Context, purpose string, key, binding []byte) ([]byte, error)
	DecryptKey(ctx context.Context, purpose string, sealed, binding []byte) ([]byte, error)
}

// ErrEnveloped means a key was asked for that is still in its envelope.
var ErrEnveloped = errors.New("seal: the key is in an envelope that was not opened")

const envelopeMagic = "metiva-envelope v1"

// envelope is an encrypted key, as its file has it.
type envelope struct {
	keyID  [8]byte
	sealed []byte
}

// Enveloped reports whether the key is in an envelope that is not open yet. Such
// a key has a purpose and nothing else.
func (m KeyMaterial) Enveloped() bool { return m.envelope != nil }

// IsSecret reports whether the key must be kept from others: all but public keys.
func (m KeyMaterial) IsSecret() bool { return isSecret(m.Purpose) }

// id names a key without telling anything of it: the id of a pair is that of its
// public key, as records carry it.
func (m KeyMaterial) id() ([8]byte, error) {
	if isSeed(m.Purpose) {
		label := map[string]string{PurposeConsentToken: "consent token", PurposeErasure: "erasure"}[m.Purpose]
		sum := sha256.Sum256(append([]byte("metiva "+label+" key id\x00"), m.bytes()...))
		return [8]byte(sum[:8]), nil
	}
	pub, err := m.PublicKey()
	return pub.ID(), err
}

// binding is the associated data of the envelope: everything its first line says.
func (m KeyMaterial) binding() []byte {
	out := appendPart(nil, envelopeMagic)
	out = appendPart(out, m.Purpose)
	out = appendPart(out, m.grade())
	return appendPart(out, string(m.envelope.keyID[:]))
}

// Envelop encrypts a secret key. What it returns was opened again before: nobody
// is left with an envelope that does not open.
func (m KeyMaterial) Envelop(ctx context.Context, keeper KeyKeeper) (KeyMaterial, error) {
	switch {
	case m.Enveloped():
		return KeyMaterial{}, fmt.Errorf("enveloping %s key: it is in one already", m.Purpose)
	case !isSecret(m.Purpose):
		return KeyMaterial{}, fmt.Errorf("enveloping %s key: a public key needs no envelope", m.Purpose)
	}
	id, err := m.id()
	if err != nil {
		return KeyMaterial{}, fmt.Errorf("enveloping %s key: %w", m.Purpose, err)
	}
	out := KeyMaterial{Purpose: m.Purpose, Development: m.Development, envelope: &envelope{keyID: id}}
	if out.envelope.sealed, err = keeper.EncryptKey(ctx, m.Purpose, m.bytes(), out.binding()); err != nil {
		return KeyMaterial{}, fmt.Errorf("enveloping %s key: %w", m.Purpose, err)
	}
	if len(out.envelope.sealed) > envelopeBytesMax {
		return KeyMaterial{}, fmt.Errorf("enveloping %s key: the envelope is larger than %d bytes", m.Purpose, envelopeBytesMax)
	}
	opened, err := out.Open(ctx, keeper)
	if err != nil {
		return KeyMaterial{}, err
	}
	if !bytes.Equal(opened.bytes(), m.bytes()) {
		return KeyMaterial{}, fmt.Errorf("enveloping %s key: another key came out", m.Purpose)
	}
	return out, nil
}

// Open decrypts an enveloped key; another is returned as it is. ErrTampered means
// that what came out is not the key the file names; a file that was changed or
// filed under another purpose is refused by the keeper already. Errors name the
// key id, which is on the first line of the file: former keys have the same purpose.
func (m KeyMaterial) Open(ctx context.Context, keeper KeyKeeper) (KeyMaterial, error) {
	if !m.Enveloped() {
		return m, nil
	}
	raw, err := keeper.DecryptKey(ctx, m.Purpose, m.envelope.sealed, m.binding())
	if err != nil {
		return KeyMaterial{}, fmt.Errorf("opening the envelope of the %s key %x: %w", m.Purpose, m.envelope.keyID, err)
	}
	out := KeyMaterial{Purpose: m.Purpose, Development: m.Development, raw: veilOf(raw), exposed: m.exposed}
	// What a faulty key says about itself is no help here, and may be about its bytes.
	id, err := out.id()
	if out.check() != nil || err != nil || id != m.envelope.keyID {
		return KeyMaterial{}, fmt.Errorf("opening the envelope of the %s key %x: %w", m.Purpose, m.envelope.keyID, ErrTampered)
	}
	return out, nil
}

// parseEnvelope reads "metiva-envelope v1 <purpose> <grade> <key id>" and the
// encrypted key in base64. It never puts bytes of the file into its error.
func parseEnvelope(head, body string) (KeyMaterial, error) {
	parts := strings.Split(strings.TrimPrefix(head, envelopeMagic+" "), " ")
	if len(parts) != 3 || !slices.Contains(Purposes(), parts[0]) || !isSecret(parts[0]) || !isGrade(parts[1]) {
		return KeyMaterial{}, fmt.Errorf("the first line must be %q, the purpose of a secret key, development or production, and a key id", envelopeMagic)
	}
	id, err := hex.DecodeString(parts[2])
	if err != nil || len(id) != 8 || strings.ToLower(parts[2]) != parts[2] {
		return KeyMaterial{}, errors.New("the key id must be 16 hexadecimal digits")
	}
	sealed, err := base64.StdEncoding.Strict().DecodeString(strings.TrimSpace(body))
	if err != nil || len(sealed) == 0 {
		return KeyMaterial{}, errors.New("the second line must be the encrypted key in base64")
	}
	if len(sealed) > envelopeBytesMax {
		return KeyMaterial{}, fmt.Errorf("the encrypted key is larger than %d bytes", envelopeBytesMax)
	}
	return KeyMaterial{Purpose: parts[0], Development: parts[1] == gradeDevelopment, envelope: &envelope{keyID: [8]byte(id), sealed: sealed}}, nil
}

// content is the key's file.
func (m KeyMaterial) content() string {
	if m.Enveloped() {
		return fmt.Sprintf("%s %s %s %x\n%s\n", envelopeMagic, m.Purpose, m.grade(), m.envelope.keyID, base64.StdEncoding.EncodeToString(m.envelope.sealed))
	}
	return fmt.Sprintf("%s %s %s\n%s\n", keyFileMagic, m.Purpose, m.grade(), base64.StdEncoding.EncodeToString(m.bytes()))
}
