package kms

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/metiva-io/metiva/pkg/seal"
)

// FuzzAnswer: whatever answers, an envelope stays closed with one of the errors of
// this package, on one short line without the token.
func FuzzAnswer(f *testing.F) {
	const token = "hvs.fuzz-canary"
	for _, seed := range []struct {
		status         int
		location, body string
	}{
		{200, "", `{"data":{"plaintext":"AAAA"}}`},
		{200, "", `{"data":{"ciphertext":"vault:v1:AAAA","plaintext":1}}`},
		{200, "", `{"data":{"plaintext":"GhCo` + strings.Repeat("A", 24) + `"},"warnings":["x"]}`},
		{307, "https://other.example/", ""},
		{302, "", ""},
		{301, "http://[::1", ""},
		{403, "", `{"errors":["permission denied ` + token + `"]}`},
		{404, "", ""},
		{404, "", `{"data":{"plaintext":"AAAA"}}`},
		{400, "", "<p>" + token},
		{503, "", `{"errors":null}`},
		{204, "", ""},
	} {
		f.Add(seed.status, seed.location, []byte(seed.body))
	}
	path := filepath.Join(f.TempDir(), "token")
	if err := os.WriteFile(path, []byte(token), 0o600); err != nil {
		f.Fatal(err)
	}
	k, err := New(Config{URI: "hcvault://v.example/transit/keys/metiva", TokenFile: path, Timeout: time.Millisecond, RetryWait: time.Second}, slog.New(slog.DiscardHandler))
	if err != nil {
		f.Fatal(err)
	}
	// Four bytes of length, and an encrypted data key of as many.
	sealed := append([]byte{0, 0, 0, 12}, "vault:v1:AAAAxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"...)
	f.Fuzz(func(t *testing.T, status int, location string, body []byte) {
		if status < 200 || status > 599 {
			return
		}
		k.vault.transport = roundTrip(func(req *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: status, Header: http.Header{"Location": {location}}, Body: io.NopCloser(bytes.NewReader(body)), Request: req}, nil
		})
		out, err := k.DecryptKey(context.Background(), seal.PurposeConsentToken, sealed, nil)
		if err == nil {
			t.Fatalf("%d bytes came out of an answer", len(out))
		}
		known := false
		for _, kind := range []error{ErrUnavailable, ErrDenied, ErrNotFound, ErrRefused, ErrAnswer} {
			known = known || errors.Is(err, kind)
		}
		if text := err.Error(); !known || strings.Contains(text, token) || len(text) > 600 || strings.ContainsFunc(text, unicode.IsControl) {
			t.Fatalf("got %q", text)
		}
	})
}
