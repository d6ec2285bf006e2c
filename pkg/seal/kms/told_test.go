package kms_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/metiva-io/metiva/pkg/seal"
	"github.com/metiva-io/metiva/pkg/seal/kms"
	"github.com/metiva-io/metiva/pkg/seal/kms/kmstest"
)

// TestAnEchoIsNotRepeated: what stands before a KMS may answer a refused request
// with that request. Only words of the engine itself are repeated, and never the
// token.
func TestAnEchoIsNotRepeated(t *testing.T) {
	t.Parallel()
	srv := kmstest.Start(t)
	k, out := open(t, config(srv))
	m, _ := plain(t, seal.PurposeConsentToken)
	for name, answer := range map[string]func(token, body string) string{
		"a page":      func(token, body string) string { return "<p>blocked: x-vault-token " + token + " " + body },
		"the request": func(_, body string) string { return "cannot read " + body },
		"the engine's form": func(token, _ string) string {
			b, _ := json.Marshal([]string{"blocked: " + token})
			return `{"errors":` + string(b) + `}`
		},
	} {
		var dataKey string
		srv.Fault(func(_ int, w http.ResponseWriter, r *http.Request) bool {
			dataKey = base64.StdEncoding.EncodeToString([]byte(srv.Requests()[0].Plaintext))
			body, _ := json.Marshal(map[string]string{"plaintext": dataKey})
			return send(http.StatusForbidden, answer(r.Header.Get("X-Vault-Token"), string(body)))(0, w, r)
		})
		_, err := m.Envelop(t.Context(), k)
		if !errors.Is(err, kms.ErrDenied) || !strings.Contains(err.Error(), "403") {
			t.Fatalf("%s: got %v", name, err)
		}
		if said := err.Error() + out.String(); strings.Contains(said, kmstest.Token) || strings.Contains(said, dataKey) {
			t.Errorf("%s: the answer is repeated: %v", name, err)
		}
	}
}

// TestNamesOfACertificateAreOneLine: whoever takes the KMS's place chooses the
// names in a certificate; the error goes to a terminal.
func TestNamesOfACertificateAreOneLine(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "x"}, NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"a\x1b[2J\nlevel=INFO msg=all.well", strings.Repeat("b", 5000)},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	other := httptest.NewUnstartedServer(http.NotFoundHandler())
	other.Config.ErrorLog = log.New(io.Discard, "", 0)
	other.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{cert}, PrivateKey: key}}, MinVersion: tls.VersionTLS13}
	other.StartTLS()
	t.Cleanup(other.Close)
	srv := kmstest.Start(t)
	cfg := config(srv)
	cfg.URI = "hcvault://localhost:" + other.Listener.Addr().String()[strings.LastIndex(other.Listener.Addr().String(), ":")+1:] + "/transit/keys/metiva"
	k, _ := open(t, cfg)
	m, _ := plain(t, seal.PurposeConsentToken)
	_, err = m.Envelop(t.Context(), k)
	if !errors.Is(err, kms.ErrUntrusted) || strings.ContainsAny(err.Error(), "\x1b\n") || len(err.Error()) > 600 {
		t.Errorf("got %.800q", err)
	}
}

// TestAMalformedVariableOfVaultIsNamed: Vault's client reads VAULT_* itself and
// ends at one it does not understand. The error says so, and not what is in it.
func TestAMalformedVariableOfVaultIsNamed(t *testing.T) {
	srv := kmstest.Start(t)
	k, _ := open(t, config(srv))
	m, _ := plain(t, seal.PurposeConsentToken)
	for name, value := range map[string]string{
		"VAULT_PROXY_ADDR": "http://user:canary-9f@proxy:%zz", "VAULT_MAX_RETRIES": "canary-9f", "VAULT_HEADERS": "canary-9f", "VAULT_CACERT": "/nowhere/canary-9f",
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, value)
			_, err := m.Envelop(t.Context(), k)
			if !errors.Is(err, kms.ErrEnvironment) || !strings.Contains(err.Error(), "VAULT_") || strings.Contains(err.Error(), "canary") {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestTooManyAuthorities: a file that is larger than may be read is refused; the
// authority wanted may stand in what would be left out.
func TestTooManyAuthorities(t *testing.T) {
	t.Parallel()
	srv := kmstest.Start(t)
	cfg := config(srv)
	one := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: selfSigned(t)})
	cfg.CAFile = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(cfg.CAFile, []byte(strings.Repeat(string(one), 1<<20/len(one)+1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), "more than 1048576 bytes") {
		t.Errorf("got %v", err)
	}
}
