package kms

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"unicode"

	"github.com/hashicorp/vault/api"

	"github.com/metiva-io/metiva/pkg/secret"
)

var (
	// ErrUnavailable means the KMS gave no answer, or not now.
	ErrUnavailable = errors.New("kms: no answer")
	// ErrUntrusted means the other side did not prove to be the KMS.
	ErrUntrusted = errors.New("kms: the certificate is not trusted")
	// ErrDenied means the token may not use the key, or is not there.
	ErrDenied = errors.New("kms: access denied")
	// ErrNotFound means the KMS has no such key or mount.
	ErrNotFound = errors.New("kms: no such key")
	// ErrRefused means the envelope was changed, is of another purpose, or was made
	// with another key.
	ErrRefused = errors.New("kms: the envelope does not open with this key")
	// ErrAnswer means what answered is not the transit engine of a KMS.
	ErrAnswer = errors.New("kms: not the answer of a transit engine")
	// ErrEnvironment means Vault's client, which reads VAULT_* by itself, ended at
	// one. Its own words are left out: they may be a proxy's password.
	ErrEnvironment = errors.New("kms: a VAULT_* variable of the environment is malformed, or names a file that is not there")
)

// wordsMax is how much of the KMS's own words an error repeats.
const wordsMax = 160

// classify turns what the client reports into one of the errors above. The
// client's own text has several lines and the whole address. What is no answer of
// an engine may be the request itself, data key and token included, and is not
// repeated.
func classify(err error, token secret.Text) error {
	var answered *api.ResponseError
	var untrusted *tls.CertificateVerificationError
	var plaintext tls.RecordHeaderError
	var network *url.Error
	switch {
	case errors.As(err, &answered):
		said := answered.Errors
		if answered.RawError {
			said = []string{"in no words of an engine"}
		}
		return fmt.Errorf("%w: it says %d %s", kindOf(answered), answered.StatusCode, words(said, token))
	case errors.As(err, &untrusted):
		return fmt.Errorf("%w: %s", ErrUntrusted, words([]string{untrusted.Err.Error()}, token))
	case errors.As(err, &plaintext), errors.Is(err, http.ErrSchemeMismatch):
		return fmt.Errorf("%w: it does not speak TLS", ErrUntrusted)
	case errors.As(err, &network):
		return fmt.Errorf("%w: %w", ErrUnavailable, network.Err)
	}
	return fmt.Errorf("%w: %s", ErrAnswer, words([]string{err.Error()}, token))
}

func kindOf(answered *api.ResponseError) error {
	switch code := answered.StatusCode; {
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		return ErrDenied
	case code == http.StatusNotFound, strings.Contains(strings.Join(answered.Errors, " "), "encryption key not found"):
		return ErrNotFound
	case code == http.StatusPreconditionFailed || code == http.StatusTooManyRequests || code >= http.StatusInternalServerError:
		return ErrUnavailable
	case code == http.StatusBadRequest:
		return ErrRefused
	}
	return ErrAnswer
}

// words makes one short printable line of what the other side says, without the
// token.
func words(said []string, token secret.Text) string {
	line := strings.ReplaceAll(strings.Join(said, "; "), token.Reveal(), token.String())
	line = strings.Join(strings.FieldsFunc(line, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }), " ")
	if len(line) > wordsMax {
		line = strings.ToValidUTF8(line[:wordsMax], "") + "…"
	}
	return "(" + line + ")"
}
