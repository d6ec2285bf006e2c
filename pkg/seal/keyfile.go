package seal

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Purposes of a key file. The resolver pair wraps data keys (private key: enrich
// and core; public key: collectors), the edge pair wraps visit salts (private
// key: collectors; public key: core), the consent token key signs consent
// tokens (collectors).
const (
	PurposeResolverPrivate = "resolver-private"
	PurposeResolverPublic  = "resolver-public"
	PurposeEdgePrivate     = "edge-private"
	PurposeEdgePublic      = "edge-public"
	PurposeConsentToken    = "consent-token"
)

// Purposes lists every purpose.
func Purposes() []string {
	return []string{PurposeResolverPrivate, PurposeResolverPublic, PurposeEdgePrivate, PurposeEdgePublic, PurposeConsentToken}
}

const (
	keyFileMagic     = "metiva-key v1"
	gradeDevelopment = "development"
	gradeProduction  = "production"
	keyFileBytesMax  = 16 << 10
)

// KeyFileName is the file of a purpose inside a key directory.
func KeyFileName(purpose string) string { return purpose + ".key" }

// KeyMaterial is one key as read from its file. It prints as ***.
type KeyMaterial struct {
	Purpose string
	// Development marks keys a production process must refuse.
	Development bool
	raw         veiled[[]byte]
	exposed     string
}

func (m KeyMaterial) bytes() []byte {
	if raw := m.raw.get(); raw != nil {
		return *raw
	}
	return nil
}

// Format prints the purpose and *** for every verb.
func (m KeyMaterial) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, m.Purpose+" "+hidden) }

// LogValue prints the purpose and ***.
func (m KeyMaterial) LogValue() slog.Value { return slog.StringValue(m.Purpose + " " + hidden) }

// MarshalText prints the purpose and ***.
func (m KeyMaterial) MarshalText() ([]byte, error) { return []byte(m.Purpose + " " + hidden), nil }

// PublicKey is the key of a "-public" purpose, or the public half of a
// "-private" one.
func (m KeyMaterial) PublicKey() (PublicKey, error) {
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
	return parsePrivateKey(m.bytes())
}

// Secret is the symmetric key of PurposeConsentToken, 32 bytes; nil otherwise.
func (m KeyMaterial) Secret() []byte {
	if m.Purpose != PurposeConsentToken {
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
	case PurposeConsentToken:
		if len(m.bytes()) != keyBytes {
			return fmt.Errorf("it holds %d bytes instead of %d", len(m.bytes()), keyBytes)
		}
		return nil
	}
	return errors.New("its purpose is unknown")
}

// ReadKeyFile reads one key. The file's first line is
// "metiva-key v1 <purpose> <development|production>", its second the key in
// base64. A file of another purpose is an error. Whether others can read it is
// for the caller to ask (Exposed).
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
	m.exposed = exposure(info, purpose, os.Geteuid())
	return m, nil
}

// parseKeyFile never puts bytes of the file into its error: they may be a key.
func parseKeyFile(content []byte) (KeyMaterial, error) {
	if len(content) > keyFileBytesMax {
		return KeyMaterial{}, fmt.Errorf("it is larger than %d bytes", keyFileBytesMax)
	}
	head, body, _ := strings.Cut(string(content), "\n")
	rest, ok := strings.CutPrefix(strings.TrimRight(head, "\r"), keyFileMagic+" ")
	purpose, grade, _ := strings.Cut(rest, " ")
	if !ok || !slices.Contains(Purposes(), purpose) || grade != gradeDevelopment && grade != gradeProduction {
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

// GenerateDevelopmentKeys puts a key of every purpose into dir, marked
// development. It keeps what is there, and several starters may call it at once.
func GenerateDevelopmentKeys(dir string) error { return generateKeys(dir, true) }

// GenerateProductionKeys is GenerateDevelopmentKeys for keys a production
// process accepts; an operator moves each to the processes that need it.
func GenerateProductionKeys(dir string) error { return generateKeys(dir, false) }

func generateKeys(dir string, development bool) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("creating key directory: %w", err)
	}
	for _, pair := range [][2]string{
		{PurposeResolverPrivate, PurposeResolverPublic},
		{PurposeEdgePrivate, PurposeEdgePublic},
	} {
		if err := generatePair(dir, pair[0], pair[1], development); err != nil {
			return err
		}
	}
	_, err := ensureKey(dir, PurposeConsentToken, func() (KeyMaterial, error) {
		raw := make([]byte, keyBytes)
		_, _ = rand.Read(raw) // crypto/rand never returns an error
		return KeyMaterial{Purpose: PurposeConsentToken, Development: development, raw: veilOf(raw)}, nil
	})
	return err
}

// generatePair makes the public file from the private one that won, so that
// two starters agree.
func generatePair(dir, private, public string, development bool) error {
	priv, err := ensureKey(dir, private, func() (KeyMaterial, error) {
		key, err := kem().GenerateKey()
		if err != nil {
			return KeyMaterial{}, fmt.Errorf("generating %s key: %w", private, err)
		}
		raw, err := key.Bytes()
		if err != nil {
			return KeyMaterial{}, fmt.Errorf("generating %s key: %w", private, err)
		}
		return KeyMaterial{Purpose: private, Development: development, raw: veilOf(raw)}, nil
	})
	if err != nil {
		return err
	}
	want, err := priv.PublicKey()
	if err != nil {
		return err
	}
	pub, err := ensureKey(dir, public, func() (KeyMaterial, error) {
		return KeyMaterial{Purpose: public, Development: priv.Development, raw: veilOf(want.key.Bytes())}, nil
	})
	if err != nil {
		return err
	}
	if !bytes.Equal(pub.bytes(), want.key.Bytes()) {
		return fmt.Errorf("the keys %s and %s in %s are not a pair", private, public, dir)
	}
	return nil
}

// ensureKey reads the key of a purpose, or writes what fresh returns.
func ensureKey(dir, purpose string, fresh func() (KeyMaterial, error)) (KeyMaterial, error) {
	path := filepath.Join(dir, KeyFileName(purpose))
	if _, err := os.Stat(path); err == nil {
		return ReadKeyFile(path, purpose)
	}
	m, err := fresh()
	if err != nil {
		return KeyMaterial{}, err
	}
	if err := createKeyFile(path, m); err != nil && !errors.Is(err, fs.ErrExist) {
		return KeyMaterial{}, fmt.Errorf("writing %s key: %w", purpose, err)
	}
	return ReadKeyFile(path, purpose)
}

// createKeyFile writes the whole file beside its place and links it there: it
// appears complete or not at all, and never replaces a key.
func createKeyFile(path string, m KeyMaterial) error {
	file, err := os.CreateTemp(filepath.Dir(path), ".key-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(file.Name()) }()
	grade := gradeProduction
	if m.Development {
		grade = gradeDevelopment
	}
	_, err = fmt.Fprintf(file, "%s %s %s\n%s\n", keyFileMagic, m.Purpose, grade, base64.StdEncoding.EncodeToString(m.bytes()))
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	return os.Link(file.Name(), path)
}
