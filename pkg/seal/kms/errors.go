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
)

// wordsMax is how much of the KMS's own words an error repeats.
const wordsMax = 160

// classify turns what the client reports into one of the errors above. The
// client's own text has several lines and the whole address.
func classify(err error) error {
	var answered *api.ResponseError
	var untrusted *tls.CertificateVerificationError
	var plaintext tls.RecordHeaderError
	var network *url.Error
	switch {
	case errors.As(err, &answered):
		return fmt.Errorf("%w: it says %d %s", kindOf(answered), answered.StatusCode, words(answered.Errors))
	case errors.As(err, &untrusted):
		return fmt.Errorf("%w: %w", ErrUntrusted, untrusted.Err)
	case errors.As(err, &plaintext), errors.Is(err, http.ErrSchemeMismatch):
		return fmt.Errorf("%w: it does not speak TLS", ErrUntrusted)
	case errors.As(err, &network):
		return fmt.Errorf("%w: %w", ErrUnavailable, network.Err)
	}
	return fmt.Errorf("%w: %s", ErrAnswer, words([]string{err.Error()}))
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

// words makes one short printable line of what the KMS says.
func words(said []string) string {
	line := strings.Join(strings.FieldsFunc(strings.Join(said, "; "), func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }), " ")
	if len(line) > wordsMax {
		line = strings.ToValidUTF8(line[:wordsMax], "") + "…"
	}
	return "(" + line + ")"
}
