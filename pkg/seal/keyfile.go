package seal

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
)

// Purposes of a key file. The resolver pair wraps data keys (private key: enrich
// and core; public key: collectors), the edge pair wraps visit salts (private
// key: collectors; public key: core), the consent token key signs consent
// tokens (collectors), the erasure key signs certificates of erasure (operators).
const (
	PurposeResolverPrivate = "resolver-private"
	PurposeResolverPublic  = "resolver-public"
	PurposeEdgePrivate     = "edge-private"
	PurposeEdgePublic      = "edge-public"
	PurposeConsentToken    = "consent-token"
	PurposeErasure         = "erasure"
)

// Purposes lists every purpose.
func Purposes() []string {
	return []string{PurposeResolverPrivate, PurposeResolverPublic, PurposeEdgePrivate, PurposeEdgePublic, PurposeConsentToken, PurposeErasure}
}

const (
	keyFileMagic     = "metiva-key v1"
	gradeDevelopment = "development"
	gradeProduction  = "production"
	keyFileBytesMax  = 16 << 10
	envelopeBytesMax = 8 << 10
)

// KeyFileName is the file of a purpose inside a key directory.
func KeyFileName(purpose string) string { return purpose + ".key" }

// KeyMaterial is one key as read from its file: the key itself, or its envelope
// until Open. It prints as ***.
type KeyMaterial struct {
	Purpose string
	// Development marks keys a production process must refuse.
	Development bool
	raw         veiled[[]byte]
	envelope    *envelope // raw is empty while this is set
	exposed     string
}

func (m KeyMaterial) bytes() []byte {
	if raw := m.raw.get(); raw != nil {
		return *raw
	}
	return nil
}

func (m KeyMaterial) grade() string {
	if m.Development {
		return gradeDevelopment
	}
	return gradeProduction
}

func isGrade(s string) bool { return s == gradeDevelopment || s == gradeProduction }

// Format prints the purpose and *** for every verb.
func (m KeyMaterial) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, m.Purpose+" "+hidden) }

// LogValue prints the purpose and ***.
func (m KeyMaterial) LogValue() slog.Value { return slog.StringValue(m.Purpose + " " + hidden) }

// MarshalText prints the purpose and ***.
func (m KeyMaterial) MarshalText() ([]byte, error) { return []byte(m.Purpose + " " + hidden), nil }

// PublicKey is the key of a "-public" purpose, or the public half of a
// "-private" one.
func (m KeyMaterial) PublicKey() (PublicKey, error) {
	if m.Enveloped() {
		return PublicKey{}, ErrEnveloped
	}
	switch m.Purpose {
	case PurposeResolverPublic, PurposeEdgePublic:
		return parsePublicKey(m.bytes())
	case PurposeResolverPrivate, PurposeEdgePrivate:
		priv, err := parsePrivateKey(m.bytes())
		return priv.Public(), err
	}
	return PublicKey{}, fmt.Errorf("a %s key has no public key", m.Purpose)
}

// PrivateKey is the key of a "-private" purpose.
func (m KeyMaterial) PrivateKey() (PrivateKey, error) {
	if m.Purpose != PurposeResolverPrivate && m.Purpose != PurposeEdgePrivate {
		return PrivateKey{}, fmt.Errorf("a %s key is not a private key", m.Purpose)
	}
	if m.Enveloped() {
		return PrivateKey{}, ErrEnveloped
	}
	return parsePrivateKey(m.bytes())
}

// isSeed reports whether the key of a purpose is 32 random bytes.
func isSeed(purpose string) bool { return purpose == PurposeConsentToken || purpose == PurposeErasure }

// Secret is the symmetric key of PurposeConsentToken, or the Ed25519 seed of
// PurposeErasure, 32 bytes; nil otherwise, and while it is in its envelope.
func (m KeyMaterial) Secret() []byte {
	if !isSeed(m.Purpose) || m.Enveloped() {
		return nil
	}
	return bytes.Clone(m.bytes())
}

// check parses the bytes as what the purpose says.
func (m KeyMaterial) check() error {
	switch m.Purpose {
	case PurposeResolverPrivate, PurposeEdgePrivate:
		_, err := m.PrivateKey()
		return err
	case PurposeResolverPublic, PurposeEdgePublic:
		_, err := m.PublicKey()
		return err
	case PurposeConsentToken, PurposeErasure:
		if len(m.bytes()) != keyBytes {
			return fmt.Errorf("it holds %d bytes instead of %d", len(m.bytes()), keyBytes)
		}
		return nil
	}
	return errors.New("its purpose is unknown")
}

// ReadKeyFile reads one key. The file's first line is
// "metiva-key v1 <purpose> <development|production>", its second the key in
// base64; an envelope begins with "metiva-envelope v1" and ends with a key id
// (envelope.go) and is returned closed. A file of another purpose is an error.
// Whether others can read it is for the caller to ask (Exposed).
func ReadKeyFile(path, purpose string) (KeyMaterial, error) {
	file, err := os.Open(path)
	if err != nil {
		return KeyMaterial{}, fmt.Errorf("reading %s key: %w", purpose, err)
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, keyFileBytesMax+1))
	if err != nil {
		return KeyMaterial{}, fmt.Errorf("reading %s key: %w", purpose, err)
	}
	m, err := parseKeyFile(content)
	if err != nil {
		return KeyMaterial{}, fmt.Errorf("reading %s key from %s: %w", purpose, path, err)
	}
	if m.Purpose != purpose {
		return KeyMaterial{}, fmt.Errorf("reading %s key from %s: it is a %s key", purpose, path, m.Purpose)
	}
	info, err := file.Stat()
	if err != nil {
		return KeyMaterial{}, fmt.Errorf("reading the permissions of the %s key: %w", purpose, err)
	}
	m.exposed = exposure(info, m.IsSecret() && !m.Enveloped(), os.Geteuid())
	return m, nil
}

// parseKeyFile never puts bytes of the file into its error: they may be a key.
func parseKeyFile(content []byte) (KeyMaterial, error) {
	if len(content) > keyFileBytesMax {
		return KeyMaterial{}, fmt.Errorf("it is larger than %d bytes", keyFileBytesMax)
	}
	head, body, _ := strings.Cut(string(content), "\n")
	head = strings.TrimRight(head, "\r")
	if strings.HasPrefix(head, envelopeMagic+" ") {
		return parseEnvelope(head, body)
	}
	rest, ok := strings.CutPrefix(head, keyFileMagic+" ")
	purpose, grade, _ := strings.Cut(rest, " ")
	if !ok || !slices.Contains(Purposes(), purpose) || !isGrade(grade) {
		return KeyMaterial{}, fmt.Errorf("the first line must be %q, a purpose, and development or production", keyFileMagic)
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(strings.TrimSpace(body))
	if err != nil {
		return KeyMaterial{}, errors.New("the second line must be the key in base64")
	}
	m := KeyMaterial{Purpose: purpose, Development: grade == gradeDevelopment, raw: veilOf(raw)}
	if err := m.check(); err != nil {
		return KeyMaterial{}, err
	}
	return m, nil
}
