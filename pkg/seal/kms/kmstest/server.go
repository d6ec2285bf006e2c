package kmstest

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// Token opens a Server.
const Token = "hvs.kmstest-canary"

// Request is one call the server got.
type Request struct {
	Path, Namespace string
	Header          http.Header
	// Plaintext and AssociatedData are decoded.
	Plaintext, AssociatedData string
}

// Server is a transit engine at the mount "transit" with the key "metiva".
type Server struct {
	// Host is 127.0.0.1:port; CAFile and TokenFile are for the client.
	Host, CAFile, TokenFile string

	t        testing.TB
	mu       sync.Mutex
	keys     map[string]*key
	fault    func(n int, w http.ResponseWriter, r *http.Request) bool
	only     string
	ignore   bool
	requests []Request
}

// key has versions from 1 on.
type key struct {
	versions []cipher.AEAD
	oldest   int
}

// Start serves until the test ends.
func Start(t testing.TB) *Server {
	t.Helper()
	s := &Server{t: t, keys: map[string]*key{}}
	s.Rotate("metiva")
	srv := httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	// A client that does not trust the server is part of the tests.
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.EnableHTTP2 = true
	srv.StartTLS()
	t.Cleanup(srv.Close)
	dir := t.TempDir()
	s.Host = srv.Listener.Addr().String()
	s.CAFile, s.TokenFile = filepath.Join(dir, "ca.pem"), filepath.Join(dir, "token")
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	for path, content := range map[string]string{s.CAFile: string(authority), s.TokenFile: Token + "\n"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// URI names a key of the server.
func (s *Server) URI(name string) string { return "hcvault://" + s.Host + "/transit/keys/" + name }

// Rotate gives a key a new version; the first makes the key.
func (s *Server) Rotate(name string) {
	raw := make([]byte, 32)
	_, _ = rand.Read(raw)
	block, err := aes.NewCipher(raw)
	if err != nil {
		s.t.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		s.t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.keys[name] == nil {
		s.keys[name] = &key{oldest: 1}
	}
	s.keys[name].versions = append(s.keys[name].versions, gcm)
}

// Oldest sets the oldest version that still decrypts.
func (s *Server) Oldest(name string, version int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys[name].oldest = version
}

// Only lets the token use one associated data, as a policy with allowed_parameters
// does.
func (s *Server) Only(associatedData string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.only = associatedData
}

// IgnoreAssociatedData makes the engine one that does not know associated_data.
func (s *Server) IgnoreAssociatedData() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ignore = true
}

// Fault answers requests instead of the engine where f returns true; n counts
// them from 1.
func (s *Server) Fault(f func(n int, w http.ResponseWriter, r *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault, s.requests = f, nil
}

// Requests are those since the last Fault.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Request(nil), s.requests...)
}

// Fail answers as the engine does.
func Fail(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string][]string{"errors": {message}})
}

type call struct {
	Plaintext      string `json:"plaintext"`
	Ciphertext     string `json:"ciphertext"`
	AssociatedData string `json:"associated_data"`
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	var c call
	malformed := json.NewDecoder(r.Body).Decode(&c) != nil
	plain, _ := base64.StdEncoding.DecodeString(c.Plaintext)
	associated, associatedErr := base64.StdEncoding.DecodeString(c.AssociatedData)
	s.mu.Lock()
	s.requests = append(s.requests, Request{r.URL.Path, r.Header.Get("X-Vault-Namespace"), r.Header.Clone(), string(plain), string(associated)})
	fault, n := s.fault, len(s.requests)
	s.mu.Unlock()
	if fault != nil && fault(n, w, r) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ignore {
		associated, associatedErr = nil, nil
	}
	action, name, ok := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v1/transit/"), "/")
	switch {
	case r.Header.Get("X-Vault-Request") != "true" || malformed || r.Method != http.MethodPut && r.Method != http.MethodPost:
		Fail(w, http.StatusBadRequest, "bad request")
	case r.Header.Get("X-Vault-Token") != Token, s.only != "" && s.only != string(associated):
		Fail(w, http.StatusForbidden, "1 error occurred:\n\t* permission denied\n\n")
	case !ok || !strings.HasPrefix(r.URL.Path, "/v1/transit/"):
		Fail(w, http.StatusNotFound, "no handler for route \""+r.URL.Path+"\". route entry not found.")
	case s.keys[name] == nil:
		Fail(w, http.StatusBadRequest, "encryption key not found")
	case associatedErr != nil:
		Fail(w, http.StatusInternalServerError, "unable to get associated_data/additional_data from factory[0]: "+associatedErr.Error())
	case action == "encrypt":
		version := len(s.keys[name].versions)
		s.answer(w, map[string]any{"ciphertext": s.keys[name].encrypt(plain, associated), "key_version": version})
	case action == "decrypt":
		opened, fault := s.keys[name].decrypt(c.Ciphertext, associated)
		if fault != "" {
			Fail(w, http.StatusBadRequest, fault)
			return
		}
		s.answer(w, map[string]any{"plaintext": base64.StdEncoding.EncodeToString(opened)})
	default:
		Fail(w, http.StatusNotFound, "unsupported path")
	}
}

func (s *Server) answer(w http.ResponseWriter, data map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{
		"request_id": "5b1f2e6c-0000-4000-8000-000000000000", "lease_id": "", "renewable": false, "lease_duration": 0,
		"data": data, "wrap_info": nil, "warnings": nil, "auth": nil, "mount_type": "transit",
	})
}

func (k *key) encrypt(plain, associated []byte) string {
	version := len(k.versions)
	gcm := k.versions[version-1]
	nonce := make([]byte, gcm.NonceSize())
	_, _ = rand.Read(nonce)
	return fmt.Sprintf("vault:v%d:%s", version, base64.StdEncoding.EncodeToString(gcm.Seal(nonce, nonce, plain, associated)))
}

// decrypt returns the plaintext, or what the engine says is wrong.
func (k *key) decrypt(ciphertext string, associated []byte) ([]byte, string) {
	if ciphertext == "" {
		return nil, "missing ciphertext to decrypt"
	}
	rest, ok := strings.CutPrefix(ciphertext, "vault:v")
	if !ok {
		return nil, "invalid ciphertext: no prefix"
	}
	number, encoded, _ := strings.Cut(rest, ":")
	version, err := strconv.Atoi(number)
	if err != nil {
		return nil, "invalid ciphertext: version number could not be decoded"
	}
	if version > len(k.versions) {
		return nil, "invalid ciphertext: version is too new"
	}
	if version < k.oldest {
		return nil, "ciphertext or signature version is disallowed by policy (too old)"
	}
	raw, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return nil, "invalid ciphertext: could not decode base64"
	}
	gcm := k.versions[version-1]
	if len(raw) < gcm.NonceSize()+gcm.Overhead() {
		return nil, "invalid ciphertext length"
	}
	plain, err := gcm.Open(nil, raw[:gcm.NonceSize()], raw[gcm.NonceSize():], associated)
	if err != nil {
		return nil, err.Error()
	}
	return plain, ""
}
