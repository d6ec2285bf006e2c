package kms

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/metiva-io/metiva/pkg/secret"
)

// Scheme of the URI of a key in HashiCorp Vault or OpenBao.
const Scheme = "hcvault"

// Config names a key of a KMS and how to reach it.
type Config struct {
	// URI is hcvault://host[:port]/mount/keys/name; port 443 where there is none.
	URI string
	// TokenFile holds the token alone. Others than its owner and group must not be
	// able to read it.
	TokenFile string
	// CAFile holds the PEM certificates of the authorities the KMS's certificate
	// may be signed by; empty for those of the system.
	CAFile string
	// Namespace is sent with each request; empty for none.
	Namespace string
	// Timeout is the longest time for one key, all tries together.
	Timeout time.Duration
	// TryTimeout is the longest time for one try, RetryWait the pause after the
	// first; it doubles up to 16 times that. Zero: 5 s and 500 ms.
	TryTimeout, RetryWait time.Duration
}

const (
	tryTimeoutDefault = 5 * time.Second
	retryWaitDefault  = 500 * time.Millisecond
	tokenBytesMax     = 8 << 10
	caBytesMax        = 1 << 20
)

// Validate joins every fault. It reads the files and does not ask the KMS.
func (c Config) Validate() error {
	_, uriFault := parseURI(c.URI)
	faults := []error{uriFault}
	if _, err := readToken(c.TokenFile); err != nil {
		faults = append(faults, err)
	}
	if _, err := readAuthorities(c.CAFile); err != nil {
		faults = append(faults, err)
	}
	if strings.ContainsFunc(c.Namespace, unicode.IsControl) {
		faults = append(faults, errors.New("the namespace of the KMS has control characters"))
	}
	if c.Timeout <= 0 {
		faults = append(faults, errors.New("the time for opening a key must be longer than zero"))
	}
	if c.TryTimeout < 0 || c.RetryWait < 0 {
		faults = append(faults, errors.New("the time of a try and the pause between two must not be negative"))
	}
	return errors.Join(faults...)
}

// parseURI never repeats the URI: someone may have put a password into it.
func parseURI(uri string) (*url.URL, error) {
	u, err := url.Parse(uri)
	if err != nil || u.Scheme != Scheme || u.Hostname() == "" || u.Opaque != "" {
		return nil, errors.New("the key's URI must be hcvault://host:port/mount/keys/name")
	}
	if u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return nil, errors.New("the key's URI must not have a user, a query or a fragment: the token is in a file")
	}
	parts := strings.Split(u.Path, "/")
	n := len(parts)
	if u.RawPath != "" || n < 4 || parts[n-2] != "keys" || slices.ContainsFunc(parts[1:], badSegment) {
		return nil, errors.New("the path of the key's URI must be /mount/keys/name")
	}
	return u, nil
}

func badSegment(s string) bool {
	return s == "" || s == "." || s == ".." || strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) })
}

// readToken never puts what it read into its error.
func readToken(path string) (secret.Text, error) {
	if path == "" {
		return secret.Text{}, errors.New("the file with the KMS's token is missing")
	}
	file, err := os.Open(path)
	if err != nil {
		return secret.Text{}, fmt.Errorf("reading the KMS's token: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return secret.Text{}, fmt.Errorf("reading the permissions of the KMS's token: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o007 != 0 {
		return secret.Text{}, fmt.Errorf("the file with the KMS's token is open to all users of the machine (mode %04o): run chmod 600 on it", mode)
	}
	content, err := io.ReadAll(io.LimitReader(file, tokenBytesMax+1))
	if err != nil {
		return secret.Text{}, fmt.Errorf("reading the KMS's token: %w", err)
	}
	token := strings.TrimSpace(string(content))
	if token == "" || len(content) > tokenBytesMax || strings.ContainsFunc(token, func(r rune) bool { return r > unicode.MaxASCII || !unicode.IsGraphic(r) || r == ' ' }) {
		return secret.Text{}, errors.New("the file with the KMS's token must hold the token alone")
	}
	return secret.New(token), nil
}

// readAuthorities returns nil, the system's, for an empty path.
func readAuthorities(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading the authorities of the KMS: %w", err)
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, caBytesMax+1))
	if err != nil {
		return nil, fmt.Errorf("reading the authorities of the KMS: %w", err)
	}
	if len(content) > caBytesMax {
		return nil, fmt.Errorf("the file with the authorities of the KMS has more than %d bytes", caBytesMax)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(content) {
		return nil, errors.New("the file with the authorities of the KMS holds no PEM certificate")
	}
	return pool, nil
}
