package kms_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/metiva-io/metiva/pkg/seal"
	"github.com/metiva-io/metiva/pkg/seal/kms"
	"github.com/metiva-io/metiva/pkg/seal/kms/kmstest"
)

// logged is a log that a test may read while it is written.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func config(srv *kmstest.Server) kms.Config {
	return kms.Config{URI: srv.URI("metiva"), TokenFile: srv.TokenFile, CAFile: srv.CAFile, Timeout: 10 * time.Second, RetryWait: time.Millisecond}
}

func open(t *testing.T, cfg kms.Config) (*kms.KMS, *logged) {
	t.Helper()
	var out logged
	k, err := kms.New(cfg, slog.New(slog.NewTextHandler(&out, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if strings.Contains(out.String(), kmstest.Token) {
			t.Errorf("the log holds the token: %s", out.String())
		}
	})
	return k, &out
}

// plain makes a set of keys and returns the secret one of a purpose, and its
// bytes as the file has them.
func plain(t *testing.T, purpose string) (seal.KeyMaterial, []byte) {
	t.Helper()
	dir := t.TempDir()
	if err := seal.GenerateProductionKeys(dir); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, seal.KeyFileName(purpose))
	m, err := seal.ReadKeyFile(path, purpose)
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, encoded, _ := strings.Cut(string(content), "\n")
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(encoded))
	if err != nil {
		t.Fatal(err)
	}
	return m, raw
}

// file envelops a key into a file.
func file(t *testing.T, m seal.KeyMaterial, keeper seal.KeyKeeper) string {
	t.Helper()
	closed, err := m.Envelop(t.Context(), keeper)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), seal.KeyFileName(m.Purpose))
	if err := seal.CreateKeyFile(path, closed); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAnEnvelopeOpensThroughTheKMSOnly(t *testing.T) {
	t.Parallel()
	srv := kmstest.Start(t)
	cfg := config(srv)
	cfg.Namespace = "agency/eu"
	k, _ := open(t, cfg)
	for _, purpose := range seal.SecretPurposes() {
		m, raw := plain(t, purpose)
		srv.Fault(nil)
		path := file(t, m, k)
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(content, []byte(base64.StdEncoding.EncodeToString(raw)[:24])) {
			t.Errorf("%s: the file holds the key", purpose)
		}
		closed, err := seal.ReadKeyFile(path, purpose)
		if err != nil || !closed.Enveloped() || closed.Purpose != purpose {
			t.Fatalf("%s: %v", purpose, err)
		}
		if _, err := closed.PrivateKey(); purpose != seal.PurposeConsentToken && purpose != seal.PurposeErasure && !errors.Is(err, seal.ErrEnveloped) {
			t.Errorf("%s: a closed envelope gives a key: %v", purpose, err)
		}
		if closed.Secret() != nil {
			t.Errorf("%s: a closed envelope gives a secret", purpose)
		}
		opened, err := closed.Open(t.Context(), k)
		if err != nil || opened.Enveloped() {
			t.Fatalf("%s: %v", purpose, err)
		}
		again, err := opened.Envelop(t.Context(), k)
		if err != nil {
			t.Fatal(err)
		}
		if reopened, err := again.Open(t.Context(), k); err != nil || !bytes.Equal(reopened.Secret(), m.Secret()) {
			t.Errorf("%s: %v", purpose, err)
		}
		for _, r := range srv.Requests() {
			if strings.Contains(r.Plaintext, string(raw)) {
				t.Errorf("%s: the KMS was sent the key itself", purpose)
			}
			if r.AssociatedData != "metiva key "+purpose || r.Namespace != "agency/eu" {
				t.Errorf("%s: the KMS was told %q in %q", purpose, r.AssociatedData, r.Namespace)
			}
		}
		if len(srv.Requests()) != 6 { // encrypt and one look, open, twice
			t.Errorf("%s: %d requests", purpose, len(srv.Requests()))
		}
	}
}

func TestGeneratedEnvelopesAreASet(t *testing.T) {
	t.Parallel()
	srv := kmstest.Start(t)
	k, _ := open(t, config(srv))
	dir := filepath.Join(t.TempDir(), "keys")
	var wg sync.WaitGroup
	for range 3 { // several starters at once
		wg.Go(func() {
			if err := seal.GenerateEnvelopedKeys(t.Context(), dir, k); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	keys := map[string]seal.KeyMaterial{}
	for _, purpose := range seal.Purposes() {
		m, err := seal.ReadKeyFile(filepath.Join(dir, seal.KeyFileName(purpose)), purpose)
		if err != nil || m.Enveloped() != m.IsSecret() || m.Development {
			t.Fatalf("%s: enveloped is %v, %v", purpose, m.Enveloped(), err)
		}
		if keys[purpose], err = m.Open(t.Context(), k); err != nil {
			t.Fatal(err)
		}
	}
	priv, err := keys[seal.PurposeResolverPrivate].PrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	pub, err := keys[seal.PurposeResolverPublic].PublicKey()
	if err != nil || pub.ID() != priv.Public().ID() {
		t.Errorf("the resolver's keys are not a pair: %v", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != len(seal.Purposes()) {
		t.Errorf("%d files, %v", len(entries), err)
	}
	// Without the KMS nothing is made over them.
	if err := seal.GenerateProductionKeys(dir); !errors.Is(err, seal.ErrEnveloped) {
		t.Errorf("got %v", err)
	}
}

// TestAnEnvelopeIsForItsPurposeAlone also where the engine does not know
// associated_data and takes any: our own binding stands without it.
func TestAnEnvelopeIsForItsPurposeAlone(t *testing.T) {
	t.Parallel()
	m, _ := plain(t, seal.PurposeEdgePrivate)
	for _, ignorant := range []bool{false, true} {
		srv := kmstest.Start(t)
		if ignorant {
			srv.IgnoreAssociatedData()
		}
		k, _ := open(t, config(srv))
		content, err := os.ReadFile(file(t, m, k))
		if err != nil {
			t.Fatal(err)
		}
		head, body, _ := strings.Cut(string(content), "\n")
		digit := map[bool]string{true: "1", false: "0"}[strings.HasSuffix(head, "0")]
		for name, line := range map[string]string{
			"purpose": strings.Replace(head, seal.PurposeEdgePrivate, seal.PurposeResolverPrivate, 1),
			"grade":   strings.Replace(head, "production", "development", 1),
			"key id":  head[:len(head)-1] + digit,
		} {
			path, purpose := filepath.Join(t.TempDir(), "k"), strings.Fields(line)[2]
			if err := os.WriteFile(path, []byte(line+"\n"+body), 0o600); err != nil {
				t.Fatal(err)
			}
			changed, err := seal.ReadKeyFile(path, purpose)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := changed.Open(t.Context(), k); !errors.Is(err, kms.ErrRefused) {
				t.Errorf("%s changed, associated data ignored: %v: %v", name, ignorant, err)
			}
		}
	}
}

// TestAChangedEnvelopeGivesNoOtherKey: the last character of the engine's base64
// has bits that mean nothing, to the engine as well; every other change is refused.
func TestAChangedEnvelopeGivesNoOtherKey(t *testing.T) {
	t.Parallel()
	srv := kmstest.Start(t)
	k, _ := open(t, config(srv))
	m, raw := plain(t, seal.PurposeConsentToken)
	content, err := os.ReadFile(file(t, m, k))
	if err != nil {
		t.Fatal(err)
	}
	head, body, _ := strings.Cut(string(content), "\n")
	sealed, err := base64.StdEncoding.DecodeString(strings.TrimSpace(body))
	if err != nil {
		t.Fatal(err)
	}
	path, same := filepath.Join(t.TempDir(), "k"), 0
	for at := range sealed {
		changed := bytes.Clone(sealed)
		changed[at] ^= 1
		if err := os.WriteFile(path, []byte(head+"\n"+base64.StdEncoding.EncodeToString(changed)), 0o600); err != nil {
			t.Fatal(err)
		}
		closed, err := seal.ReadKeyFile(path, m.Purpose)
		if err != nil {
			t.Fatal(err)
		}
		opened, err := closed.Open(t.Context(), k)
		if err == nil {
			if same++; same > 1 || !bytes.Equal(opened.Secret(), raw) {
				t.Fatalf("byte %d: it opened", at)
			}
			continue
		}
		if !errors.Is(err, kms.ErrRefused) {
			t.Fatalf("byte %d: %v", at, err)
		}
		if strings.Contains(err.Error(), string(raw)) || strings.Contains(err.Error(), kmstest.Token) {
			t.Fatalf("byte %d: the error holds a secret: %v", at, err)
		}
	}
}

func TestThePolicyOfATokenCanNameThePurpose(t *testing.T) {
	t.Parallel()
	srv := kmstest.Start(t)
	k, _ := open(t, config(srv))
	edge, _ := plain(t, seal.PurposeEdgePrivate)
	resolver, _ := plain(t, seal.PurposeResolverPrivate)
	closedEdge, err := edge.Envelop(t.Context(), k)
	if err != nil {
		t.Fatal(err)
	}
	closedResolver, err := resolver.Envelop(t.Context(), k)
	if err != nil {
		t.Fatal(err)
	}
	srv.Only(string(kms.AssociatedData(seal.PurposeResolverPrivate)))
	if _, err := closedResolver.Open(t.Context(), k); err != nil {
		t.Error(err)
	}
	if _, err := closedEdge.Open(t.Context(), k); !errors.Is(err, kms.ErrDenied) {
		t.Errorf("got %v", err)
	}
}

func TestKeyEncryptionKeysRotate(t *testing.T) {
	t.Parallel()
	srv := kmstest.Start(t)
	k, _ := open(t, config(srv))
	m, _ := plain(t, seal.PurposeResolverPrivate)
	first, err := m.Envelop(t.Context(), k)
	if err != nil {
		t.Fatal(err)
	}
	srv.Rotate("metiva")
	if _, err := first.Open(t.Context(), k); err != nil {
		t.Errorf("an envelope of the first version: %v", err)
	}
	second, err := m.Envelop(t.Context(), k)
	if err != nil {
		t.Fatal(err)
	}
	srv.Oldest("metiva", 2)
	if _, err := second.Open(t.Context(), k); err != nil {
		t.Errorf("an envelope of the second version: %v", err)
	}
	if _, err := first.Open(t.Context(), k); !errors.Is(err, kms.ErrRefused) || !strings.Contains(err.Error(), "too old") {
		t.Errorf("got %v", err)
	}
	srv.Rotate("other")
	cfg := config(srv)
	cfg.URI = srv.URI("other")
	other, _ := open(t, cfg)
	if _, err := second.Open(t.Context(), other); !errors.Is(err, kms.ErrRefused) {
		t.Errorf("another key opened it: %v", err)
	}
}

func TestTheEnvironmentOfVaultsToolsChangesNothing(t *testing.T) {
	srv := kmstest.Start(t)
	for name, value := range map[string]string{
		"VAULT_TOKEN": "hvs.other", "VAULT_NAMESPACE": "other", "VAULT_ADDR": "https://127.0.0.1:1", "VAULT_WRAP_TTL": "60s",
		"VAULT_HEADERS": `{"X-Other":"1"}`, "VAULT_MAX_RETRIES": "9", "HTTPS_PROXY": "http://127.0.0.1:1",
	} {
		t.Setenv(name, value)
	}
	k, _ := open(t, config(srv))
	m, _ := plain(t, seal.PurposeConsentToken)
	if _, err := m.Envelop(t.Context(), k); err != nil {
		t.Fatal(err)
	}
	for _, r := range srv.Requests() {
		if r.Namespace != "" || r.Header.Get("X-Other") != "" || r.Header.Get("X-Vault-Wrap-Ttl") != "" || r.Header.Get("X-Vault-Token") != kmstest.Token {
			t.Errorf("sent %v", r.Header)
		}
	}
	srv.Fault(func(_ int, w http.ResponseWriter, _ *http.Request) bool {
		kmstest.Fail(w, http.StatusForbidden, "permission denied")
		return true
	})
	if _, err := m.Envelop(t.Context(), k); !errors.Is(err, kms.ErrDenied) || len(srv.Requests()) != 1 {
		t.Errorf("%v after %d requests", err, len(srv.Requests()))
	}
}
