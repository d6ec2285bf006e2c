package seal

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// shelf is a keeper in memory; pkg/seal/kms has the tests with a KMS.
type shelf struct{ gcm cipher.AEAD }

func newShelf(t testing.TB) shelf {
	t.Helper()
	block, err := aes.NewCipher(make([]byte, keyBytes))
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		t.Fatal(err)
	}
	return shelf{gcm}
}

func (s shelf) EncryptKey(_ context.Context, _ string, key, binding []byte) ([]byte, error) {
	return s.gcm.Seal(nil, nil, key, binding), nil
}

func (s shelf) DecryptKey(_ context.Context, _ string, sealed, binding []byte) ([]byte, error) {
	return s.gcm.Open(nil, nil, sealed, binding)
}

// liar returns another key than it was given.
type liar struct {
	shelf
	other []byte
}

func (l liar) DecryptKey(context.Context, string, []byte, []byte) ([]byte, error) {
	return l.other, nil
}

func consentKey(t testing.TB) KeyMaterial {
	t.Helper()
	return KeyMaterial{Purpose: PurposeConsentToken, raw: veilOf(bytes.Repeat([]byte{7}, keyBytes))}
}

func TestEnvelopeFiles(t *testing.T) {
	t.Parallel()
	keeper, path := newShelf(t), filepath.Join(t.TempDir(), "consent-token.key")
	m := consentKey(t)
	if err := CreateKeyFile(path, m); err != nil {
		t.Fatal(err)
	}
	closed, err := m.Envelop(t.Context(), keeper)
	if err != nil {
		t.Fatal(err)
	}
	if err := CreateKeyFile(path, closed); !errors.Is(err, os.ErrExist) {
		t.Fatalf("a key was replaced: %v", err)
	}
	if err := ReplaceKeyFile(path, closed); err != nil {
		t.Fatal(err)
	}
	// An envelope may be read by others, not changed by them.
	for mode, exposed := range map[os.FileMode]bool{0o600: false, 0o644: false, 0o664: true} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		got, err := ReadKeyFile(path, PurposeConsentToken)
		if err != nil || !got.Enveloped() || (got.Exposed() != nil) != exposed {
			t.Errorf("mode %o: %v, %v", mode, err, got.Exposed())
		}
	}
	got, err := ReadKeyFile(path, PurposeConsentToken)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := got.Open(t.Context(), keeper)
	if err != nil || !bytes.Equal(opened.Secret(), m.Secret()) {
		t.Fatal(err)
	}
	if same, err := opened.Open(t.Context(), nil); err != nil || same.Enveloped() {
		t.Errorf("an open key needs no keeper: %v", err)
	}
	if _, err := ReadKeyFile(path, PurposeEdgePrivate); err == nil {
		t.Error("the envelope was read as that of another purpose")
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
		t.Errorf("%d files are left, %v", len(entries), err)
	}
}

func TestWhatCannotBeEnveloped(t *testing.T) {
	t.Parallel()
	keeper := newShelf(t)
	m := consentKey(t)
	closed, err := m.Envelop(t.Context(), keeper)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		m      KeyMaterial
		keeper KeyKeeper
		want   string
	}{
		"an envelope":           {closed, keeper, "in one already"},
		"a public key":          {KeyMaterial{Purpose: PurposeEdgePublic}, keeper, "needs no envelope"},
		"no key":                {KeyMaterial{Purpose: PurposeEdgePrivate}, keeper, "not an MLKEM768"},
		"a keeper with another": {m, liar{keeper, bytes.Repeat([]byte{8}, keyBytes)}, "does not belong here"},
		"a keeper with none":    {m, liar{keeper, nil}, "does not belong here"},
		"a keeper with a piece": {m, liar{keeper, m.bytes()[:5]}, "does not belong here"},
	} {
		if _, err := c.m.Envelop(t.Context(), c.keeper); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

func TestBrokenEnvelopes(t *testing.T) {
	t.Parallel()
	const good = "metiva-envelope v1 consent-token production 0123456789abcdef\nAAAA\n"
	if _, err := parseKeyFile([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"other version":   strings.Replace(good, "v1", "v2", 1),
		"public":          strings.Replace(good, "consent-token", "edge-public", 1),
		"unknown purpose": strings.Replace(good, "consent-token", "consent", 1),
		"other grade":     strings.Replace(good, "production", "test", 1),
		"no id":           strings.Replace(good, " 0123456789abcdef", "", 1),
		"short id":        strings.Replace(good, "0123", "", 1),
		"capitals":        strings.Replace(good, "abcdef", "ABCDEF", 1),
		"two spaces":      strings.Replace(good, " production", "  production", 1),
		"more":            strings.Replace(good, "abcdef", "abcdef x", 1),
		"no key":          strings.Replace(good, "AAAA", "", 1),
		"not base64":      strings.Replace(good, "AAAA", "AAA!", 1),
		"loose base64":    strings.Replace(good, "AAAA", "AAB=", 1),
		"too large":       strings.Replace(good, "AAAA", strings.Repeat("AAAA", envelopeBytesMax/3+1), 1),
	} {
		if m, err := parseKeyFile([]byte(content)); err == nil {
			t.Errorf("%s was read as %v", name, m)
		} else if strings.Contains(err.Error(), "AAA") {
			t.Errorf("%s: the error repeats the file: %v", name, err)
		}
	}
}

// FuzzEnvelope: an envelope that is read is written back as it was, gives no key
// while it is closed, and opens only if it was made here.
func FuzzEnvelope(f *testing.F) {
	keeper := newShelf(f)
	closed, err := consentKey(f).Envelop(context.Background(), keeper)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(closed.content()))
	f.Add([]byte("metiva-envelope v1 resolver-private production 0123456789abcdef\r\nAAAA"))
	f.Add([]byte("metiva-envelope v1 edge-private development 0123456789abcdef\n" + strings.Repeat("A", 64)))
	f.Fuzz(func(t *testing.T, content []byte) {
		m, err := parseKeyFile(content)
		if err != nil || !m.Enveloped() {
			return
		}
		again, err := parseKeyFile([]byte(m.content()))
		if err != nil || again.Purpose != m.Purpose || again.Development != m.Development || again.envelope.keyID != m.envelope.keyID || !bytes.Equal(again.envelope.sealed, m.envelope.sealed) {
			t.Fatalf("read %q as %q: %v", content, m.content(), err)
		}
		if _, err := m.PrivateKey(); err == nil || m.Secret() != nil {
			t.Fatal("a closed envelope gives a key")
		}
		if _, err := m.PublicKey(); !errors.Is(err, ErrEnveloped) {
			t.Fatalf("a closed envelope gives a public key: %v", err)
		}
		if opened, err := m.Open(context.Background(), keeper); err == nil && !bytes.Equal(opened.Secret(), consentKey(t).Secret()) {
			t.Fatalf("%q opened", content)
		}
	})
}
